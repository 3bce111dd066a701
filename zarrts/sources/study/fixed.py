"""Tell the inputs of recordings that do not change in time from those that do."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from zarrts.sources.rows.inputs import InputRows
from zarrts.sources.rows.views import OneSample
from zarrts.types import RowReader, SourceRecording


def names_of(recording: SourceRecording) -> tuple[str, ...]:
    """Return the names of several inputs; none where there is one."""
    return recording.x.names if isinstance(recording.x, InputRows) else ()


def inputs_of(recording: SourceRecording) -> dict[str, RowReader]:
    """Return the reader of each of several inputs."""
    assert isinstance(recording.x, InputRows)
    return recording.x.by_name


def n_samples_of(recording: SourceRecording) -> int:
    """Return how many samples a dense recording has: as many as labels."""
    return recording.y.shape[0] if recording.labels_per == "sample" else recording.x.shape[0]


def with_values(
    recordings: Sequence[SourceRecording], rates_hz: Mapping[str, float | None]
) -> list[SourceRecording]:
    """Return recordings in which what does not change in time is known, and an array of one row.

    Parameters
    ----------
    rates_hz : mapping
        The rate of each input, where it is known.
    """
    several = [it for it in recordings if isinstance(it.x, InputRows)]
    if len(several) < len(recordings) or len({names_of(it) for it in several}) > 1:
        return list(recordings)  # which is said later
    fixed = frozenset(_fixed_inputs(several, rates_hz))

    def as_rows(name: str, reader: RowReader) -> RowReader:
        return OneSample(reader) if name in fixed and len(reader.shape) == 1 else reader

    found = []
    for it in several:
        assert isinstance(it.x, InputRows)
        x = it.x.each({name: as_rows(name, of) for name, of in it.x.by_name.items()})
        found.append(replace(it, x=replace(x, fixed=fixed)))
    return found


def fixed_inputs(recordings: Sequence[SourceRecording]) -> frozenset[str]:
    """Return the inputs that have a value for all of a recording, of `with_values`."""
    known = (it.x.fixed for it in recordings if isinstance(it.x, InputRows))
    return frozenset().union(*filter(None, known))


def _fixed_inputs(
    recordings: Sequence[SourceRecording], rates_hz: Mapping[str, float | None]
) -> Iterable[str]:
    """Return the inputs that have a value for all of a recording: no axis of time or samples.

    Of recordings of stores, it is known. Else, of samples, those of one axis or one row that has
    not as many entries as there are samples in any recording; of series, those of one axis in any
    recording, or of one row in all of them.
    """
    if any(isinstance(it.x, InputRows) and it.x.fixed is not None for it in recordings):
        return fixed_inputs(recordings)
    found = {
        name
        for name in names_of(recordings[0])
        if (
            any(_is_value(it, name) for it in recordings)
            if recordings[0].labels_per == "sample"
            else _is_value_of_series([inputs_of(it)[name] for it in recordings])
        )
    }
    if recordings[0].labels_per != "sample":
        found -= {it for it in found if _is_a_step(recordings, it, found, rates_hz)}
    return found if found != {*names_of(recordings[0])} else ()


def _is_value(recording: SourceRecording, name: str) -> bool:
    """Return whether an input is for all samples of a recording."""
    shape = inputs_of(recording)[name].shape
    return (len(shape) == 1 or shape[0] == 1) and shape[0] != n_samples_of(recording)


def _is_value_of_series(readers: Sequence[RowReader]) -> bool:
    # A short recording may have one step of an input that changes in others.
    return any(len(it.shape) == 1 for it in readers) or all(it.shape[0] == 1 for it in readers)


def _is_a_step(
    recordings: Sequence[SourceRecording],
    name: str,
    values: Collection[str],
    rates_hz: Mapping[str, float | None],
) -> bool:
    """Return whether the only row of an input is a step in time: as long as others of a rate."""
    rate_hz = rates_hz.get(name)
    if rate_hz is None:
        return False
    lasting_s = [
        reader.shape[0] / other
        for it in recordings
        for of, reader in inputs_of(it).items()
        if of not in values and (other := rates_hz.get(of)) is not None
    ]
    return bool(lasting_s) and max(lasting_s) < 2 / rate_hz
