"""Tell the inputs of recordings that do not change in time from those that do."""

from collections.abc import Sequence
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


def with_values(recordings: Sequence[SourceRecording]) -> list[SourceRecording]:
    """Return recordings in which what does not change in time is an array of one row."""
    several = [it for it in recordings if isinstance(it.x, InputRows)]
    if len(several) < len(recordings) or len({names_of(it) for it in several}) > 1:
        return list(recordings)  # which is said later
    fixed = fixed_inputs(several)

    def as_rows(name: str, reader: RowReader) -> RowReader:
        return OneSample(reader) if name in fixed and len(reader.shape) == 1 else reader

    return [
        replace(it, x=it.x.each({name: as_rows(name, of) for name, of in it.x.by_name.items()}))
        for it in several
        if isinstance(it.x, InputRows)
    ]


def fixed_inputs(recordings: Sequence[SourceRecording]) -> set[str]:
    """Return the inputs that have a value for all of a recording: no axis of time or samples.

    Of series, those of one axis or one row. Of samples, those of one axis or one row that has not
    as many entries as there are samples in any recording.
    """
    found = set()
    for it in recordings:
        n_rows = it.x.shape[0] if it.labels_per != "sample" else n_samples_of(it)
        for name, reader in inputs_of(it).items():
            shape = reader.shape
            is_value = len(shape) == 1 or shape[0] == 1
            if is_value and (it.labels_per != "sample" or shape[0] != n_rows):
                found.add(name)
    if all({*inputs_of(it)} == found for it in recordings):
        return set()
    return found
