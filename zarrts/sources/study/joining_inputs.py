"""Bring recordings of one input or several together: each input by itself, then on one timeline.

Labels of time steps belong to the input that has as many rows, and go with it where that is
resampled; masks are those of the rows of each input, and gaps are the same time in all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sizes import format_count
from zarrts.sources.rows.inputs import InputRows, InputTime
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.step_lists import of_input
from zarrts.sources.step_options import Resample
from zarrts.sources.study.aligning import align, choose_inputs
from zarrts.sources.study.fixed import fixed_inputs, names_of, with_values
from zarrts.sources.study.joining import Joined, join
from zarrts.sources.study.meaning import check_named
from zarrts.sources.study.standards import Reference
from zarrts.timeline import Gaps
from zarrts.types import Description, RowReader, SourceRecording

_WHOLE = 1e-6
"""Of a row: what is nearer to a whole number of them is one."""


def join_all(
    recordings: Sequence[SourceRecording], options: SourceOptions, reference: Reference | None
) -> Joined:
    """Return recordings whose columns and rows mean the same, after the steps of the options.

    Raises
    ------
    SourceError
        If what is said by the name of an input, or of all, cannot be meant so.
    """
    if not any(isinstance(it.x, InputRows) for it in recordings):
        return join(recordings, options, reference)
    steps = {} if reference is None else reference.steps
    chosen = [choose_inputs(it, [*steps]) for it in recordings] if steps else recordings
    fixed = with_values(chosen, _rates_hz(chosen, options, reference))
    names = {names_of(it) for it in fixed}
    if len(names) > 1:
        aligned, _, problems = align(fixed, Description.unknown(), options, steps)
        return _joined(aligned, Description.unknown(), problems=problems)
    each = names.pop()
    check_named(options, each)
    if options.steps:
        problems = (*_on_fixed(fixed, options), *_of_no_input(fixed))
        if problems:
            return _joined((), Description.unknown(), problems=problems)
    parts = _parts(fixed, each, options, reference)
    label_rates = {it.description.rate_hz for it in fixed} - {None}
    description = replace(
        Description.unknown(),
        parts={name: it.description for name, it in parts.items()},
        rate_hz=label_rates.pop() if len(label_rates) == 1 else None,
    )
    problems = tuple(text for it in parts.values() for text in it.problems)
    together = _together(fixed, parts, description, has_steps=bool(options.steps))
    if not together:
        return _joined((), description, parts, problems, has_steps=bool(options.steps))
    aligned, told, more = align(together, description, options, steps)
    has_steps = bool(options.steps)
    found = _joined(aligned, description, parts, (*problems, *more), has_steps=has_steps)
    return replace(found, notes=(*found.notes, *told))


def _rates_hz(
    recordings: Sequence[SourceRecording], options: SourceOptions, reference: Reference | None
) -> dict[str, float | None]:
    """Return the rate of each input, where anybody says it: who looks at it later compares them."""
    found: dict[str, float | None] = {}
    for it in recordings:
        for name in names_of(it):
            own = it.description.of_inputs.get(name)
            said = [options.of_input(name).rate_hz, own and own.rate_hz]
            said.append(reference and reference.of_input(name).description.rate_hz)
            found[name] = found.get(name) or next(filter(None, said), None)
    return found


def _joined(
    recordings: Sequence[SourceRecording],
    description: Description,
    parts: Mapping[str, Joined] | None = None,
    problems: tuple[str, ...] = (),
    *,
    has_steps: bool = False,
) -> Joined:
    """Return what was brought together of each input, as of all."""
    parts = parts or {}
    before = {name: it.before or it.description for name, it in parts.items()}
    return Joined(
        recordings=tuple(recordings),
        description=description,
        problems=problems,
        notes=tuple(
            f"{name}: {text}" if text in it.steps else text
            for name, it in parts.items()
            for text in it.notes
        ),
        warnings=tuple(text for it in parts.values() for text in it.warnings),
        steps=tuple(f"{name}: {text}" for name, it in parts.items() for text in it.steps),
        before=replace(Description.unknown(), parts=before) if has_steps else None,
    )


def _on_fixed(recordings: Sequence[SourceRecording], options: SourceOptions) -> tuple[str, ...]:
    """Return a sentence for each step on an input that does not change in time."""
    fixed = fixed_inputs(recordings)
    return tuple(
        f"steps= takes {it.name} on {it.input}, which does not change in time; leave it out."
        for it in options.steps
        if it.input in fixed
    )


def _of_no_input(recordings: Sequence[SourceRecording]) -> tuple[str, ...]:
    """Return a sentence for each mask that could be that of several inputs, which start apart."""
    found = []
    for it in recordings:
        assert isinstance(it.x, InputRows)
        like = _when_of(it, [name for name in it.x.names if _is_as_long(it, name, it.mask)])
        if it.mask is not None and len({*like.values()}) > 1:
            found.append(
                f"{it.origin}: its mask could be that of the steps of {' or of '.join(like)}, "
                "which start at other times; give each input to a recording without a mask, and "
                "mask its time steps with NaN."
            )
    return tuple(found)


def _parts(
    recordings: Sequence[SourceRecording],
    names: Sequence[str],
    options: SourceOptions,
    reference: Reference | None,
) -> dict[str, Joined]:
    """Return recordings of each input by itself, after its steps."""
    owner = _owner_of_labels(recordings, names, options)
    found = {}
    for name in names:
        own = [_of_input(it, name, options, is_owner=name == owner) for it in recordings]
        found[name] = join(own, options.of_input(name), reference and reference.of_input(name))
    return found


def _of_input(
    recording: SourceRecording, name: str, options: SourceOptions, *, is_owner: bool
) -> SourceRecording:
    """Return a recording with one of its inputs, and what belongs to the rows of that."""
    assert isinstance(recording.x, InputRows)
    rows, per = recording.x.by_name[name], recording.labels_per
    own = replace(
        recording,
        origin=f"{recording.origin}: {name}",
        x=rows,
        description=recording.description.of_inputs.get(name, recording.description),
        labels_per="recording" if per == "row" and not is_owner else per,
        mask=recording.mask if name == _longest(recording) else None,
        gaps=None if (own_time := recording.x.times.get(name)) is None else own_time.gaps,
        steps_taken=of_input(recording.steps_taken, name),
    )
    if recording.gaps is None or not options.of_input(name).steps:
        return own
    return replace(own, gaps=_own_gaps(recording, name))


def _longest(recording: SourceRecording) -> str:
    """Return the input that masks and gaps are counted in rows of."""
    assert isinstance(recording.x, InputRows)
    shape = recording.x.shape
    return next(name for name, it in recording.x.by_name.items() if it.shape == shape)


def _own_gaps(recording: SourceRecording, name: str) -> Gaps | None:
    """Return the rows of an input before which something is missing.

    Raises
    ------
    SourceError
        If that is within one of its rows.
    """
    assert isinstance(recording.x, InputRows)
    inputs, longest = recording.x.by_name, _longest(recording)
    n_rows, n_all = inputs[name].shape[0], inputs[longest].shape[0]
    gaps = recording.gaps
    if gaps is None or n_rows == n_all:
        return gaps
    rates = {it: recording.description.of_inputs[it].rate_hz for it in (name, longest)}
    share = n_rows / n_all
    if rates[name] and rates[longest]:
        share = (rates[name] or 1.0) / (rates[longest] or 1.0)
    rows = gaps.rows * share
    whole = np.rint(rows).astype(np.int64)
    if (np.abs(rows - whole) > _WHOLE).any():
        raise SourceError(
            f"{recording.origin}: something is missing within a row of {name}, before step "
            f"{gaps.rows[np.abs(rows - whole) > _WHOLE][0]:,} of {longest}, so that no step can "
            f"be taken on {name}; cut the recording there into two."
        )
    return Gaps.of(whole, gaps.seconds)


def _owner_of_labels(
    recordings: Sequence[SourceRecording], names: Sequence[str], options: SourceOptions
) -> str | None:
    """Return the input whose rows have labels; None where these have a rate of their own."""
    is_said = options.label_every is not None or any(it.description.rate_hz for it in recordings)
    if isinstance(options.rate_hz, Mapping) and "y" in options.rate_hz:
        is_said = True
    if recordings[0].labels_per != "row" or is_said:
        return None
    fitting = [
        name
        for name in names
        if all(_is_as_long(it, name, it.y) and _starts_as_labels(it, name) for it in recordings)
    ]
    for it in recordings:
        like = _when_of(it, fitting)
        if options.steps and len({*like.values()}) > 1:
            raise SourceError(
                f"{it.origin}: {format_count(it.y.shape[0], 'label')} in {it.y_name!r} could be "
                f"those of the steps of {' or of '.join(like)}, which start at other times; say "
                "when they start, with start_s={..., 'y': ...}."
            )
    resampled = {it.input for it in options.steps if isinstance(it, Resample)}
    fitting.sort(key=lambda it: it in resampled)  # labels stay as they are, where they can
    return fitting[0] if fitting else None


def _is_as_long(recording: SourceRecording, name: str, rows: RowReader | None) -> bool:
    """Return whether there is an entry for each step of an input."""
    assert isinstance(recording.x, InputRows)
    return rows is not None and recording.x.by_name[name].shape[0] == rows.shape[0]


def _starts_as_labels(recording: SourceRecording, name: str) -> bool:
    """Return whether labels start with an input, where it is said when they start."""
    assert isinstance(recording.x, InputRows)
    times = recording.x.times
    return "y" not in times or times["y"] == times.get(name)


def _when_of(recording: SourceRecording, names: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Return when some inputs start, and their rates, of a recording whose inputs have times."""
    assert isinstance(recording.x, InputRows)
    times, described = recording.x.times, recording.description.of_inputs
    return {it: (times[it].start_s, described[it].rate_hz) for it in names if it in times}


def _together(
    recordings: Sequence[SourceRecording],
    parts: Mapping[str, Joined],
    description: Description,
    *,
    has_steps: bool,
) -> list[SourceRecording]:
    """Return recordings with all of their inputs, of those that no step left out."""
    of_parts = {
        name: dict(zip(it.numbers, it.recordings, strict=True)) for name, it in parts.items()
    }
    found = []
    for number, recording in enumerate(recordings):
        own = {name: it[number] for name, it in of_parts.items() if number in it}
        if len(own) < len(parts):
            continue
        assert isinstance(recording.x, InputRows)
        x = recording.x.each({name: it.x for name, it in own.items()})
        found.append(replace(recording, x=x, description=description))
        if has_steps:
            masks = {name: it.mask for name, it in own.items() if it.mask is not None}
            gaps = {name: it.gaps for name, it in own.items() if it.gaps is not None}
            owners = [it for it in own.values() if it.labels_per == "row"]
            y = owners[0].y if owners else recording.y
            times = _times_after(recording, own)
            x = replace(x, masks=masks, gaps=gaps, times=times)
            found[-1] = replace(found[-1], x=x, y=y)
    return found


def _times_after(
    recording: SourceRecording, own: Mapping[str, SourceRecording]
) -> dict[str, InputTime]:
    """Return when inputs with times of their own are after their steps, which may move gaps."""
    assert isinstance(recording.x, InputRows)
    before = recording.x.times
    times = {
        name: replace(time, gaps=own[name].gaps) if name in own else time
        for name, time in before.items()
    }
    like = [name for name in own if "y" in before and before.get(name) == before["y"]]
    # Labels that had the times of an input are still those of its steps, or as many as they were.
    like.sort(
        key=lambda it: (own[it].labels_per != "row", own[it].x.shape[0] != recording.y.shape[0])
    )
    return times | ({"y": times[like[0]]} if like else {})
