"""Align several inputs of each recording on one timeline, and its labels with them.

A row of the timeline is the shortest time that is a whole number of steps of every input: of 50 Hz
and 1 Hz, a second, which is 50 steps of one and a step of the other. So a window of whole rows is
one of whole steps in every input, and all that is said of rows of one input holds for several.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from zarrts.errors import SourceError
from zarrts.sizes import format_count
from zarrts.sources.rows.inputs import GroupedRows, InputRows, WorstOfRows, records_of
from zarrts.sources.rows.label_rows import RepeatedRows
from zarrts.sources.rows.views import PartOfRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.steps.cleaning import JoinedMasks
from zarrts.sources.study.common_time import (
    Grid,
    are_same,
    as_fraction,
    common_rate,
    shared_rate,
)
from zarrts.sources.study.fixed import fixed_inputs, inputs_of, n_samples_of, names_of
from zarrts.sources.study.label_every import seconds_of_label
from zarrts.sources.study.ragged import is_unlabelled
from zarrts.sources.study.timed_inputs import Said, aligned_in_time
from zarrts.timeline import Gaps, part_of_gaps
from zarrts.types import Description, RowReader, SourceRecording


def align(
    recordings: Sequence[SourceRecording],
    description: Description,
    options: SourceOptions,
    steps: Mapping[str, int],
) -> tuple[list[SourceRecording], tuple[str, ...], tuple[str, ...]]:
    """Return recordings whose inputs are records of one timeline; notes, and problems of others.

    Parameters
    ----------
    steps : mapping of str to int
        Of each input in a row, where it is known, as of new data for a network; empty otherwise.
    """
    several = [it for it in recordings if isinstance(it.x, InputRows)]
    usual = names_of(several[0])
    unlike = tuple(
        f"{it.origin}: has {listed_inputs(names_of(it))}, but {several[0].origin} has "
        f"{listed_inputs(usual)}; all recordings need the same inputs: name those that all have "
        "with x=."
        for it in recordings
        if names_of(it) != usual
    )
    if unlike:
        return [], (), unlike
    try:
        if steps:
            grid = _grid_like(steps, several, description, options)
        else:
            fixed = fixed_inputs(several)
            _refuse_ambiguous(several, fixed, options)
            grid = _grid_of(several, fixed, description, options)
    except SourceError as error:
        return [], (), (str(error),)
    aligned, said, problems = [], Said(), []
    for it in several:
        try:
            if _has_times(it):
                aligned.append(aligned_in_time(it, grid, said))
            else:
                aligned.append(_aligned_like(it, grid) if steps else _aligned(it, grid))
        except SourceError as error:
            problems.append(str(error))
    return aligned, said.notes(), tuple(problems)


def _has_times(recording: SourceRecording) -> bool:
    return isinstance(recording.x, InputRows) and bool(recording.x.times)


def choose_inputs(recording: SourceRecording, names: Sequence[str]) -> SourceRecording:
    """Return a recording with some of its inputs, as a network was trained with.

    Raises
    ------
    SourceError
        If one is not there; names both sides.
    """
    known = recording.x.by_name if isinstance(recording.x, InputRows) else {}
    if not {*names} <= {*known}:
        raise SourceError(
            f"{recording.origin}: has {listed_inputs([*known])}, but the network was trained with "
            f"{listed_inputs(names)}; name them with x=, or as a dictionary of a Recording."
        )
    assert isinstance(recording.x, InputRows)
    return replace(recording, x=recording.x.some(names))


def _grid_like(
    steps: Mapping[str, int],
    recordings: Sequence[SourceRecording],
    description: Description,
    options: SourceOptions,
) -> Grid:
    """Return the grid of rows of which it is known what each input has in one."""
    known = ((description.parts[name].rate_hz, it) for name, it in steps.items() if it)
    rates = [as_fraction(rate) / it for rate, it in known if rate is not None]
    it = recordings[0]
    if not rates or it.labels_per != "row" or is_unlabelled(it.y):
        return Grid(rates[0] if rates else None, steps, None)
    label_rate = _said_label_rate(recordings, description.rate_hz, options)
    if label_rate is None and not _has_times(it):
        label_rate = _label_rate(recordings, {name: rates[0] * n for name, n in steps.items() if n})
    is_faster = label_rate is not None and label_rate > rates[0]
    if is_faster and common_rate([rates[0], label_rate or rates[0]]) != rates[0]:
        raise SourceError(
            f"{it.origin}: has labels at {float(label_rate or 0):g} Hz, of which no whole number "
            f"is in a row of {float(1 / rates[0]):g} s, as the network was trained with."
        )
    return Grid(rates[0], steps, label_rate)


def _aligned_like(recording: SourceRecording, grid: Grid) -> SourceRecording:
    """Return inputs as records of a timeline of which it is known what each has in a row."""
    inputs, steps = inputs_of(recording), grid.steps
    rows = {name: inputs[name].shape[0] // it for name, it in steps.items() if it}
    n_rows = min(rows.values())
    if max(rows.values()) - n_rows > (max(steps.values()) > 1):
        shown = ", ".join(f"{inputs[name].shape[0]:,} in {name}" for name in rows)
        each = ", ".join(f"{it:,} of {name}" for name, it in steps.items() if it)
        raise SourceError(
            f"{recording.origin}: its inputs are not equally long: {shown}, of which {each} belong "
            "together; cut what is longer."
        )
    y, label_steps = recording.y, 1
    if grid.label_rate is not None:
        y, label_steps = _aligned_labels(recording, grid, n_rows)
    mask = _aligned_mask(recording, steps, n_rows)
    gaps = _aligned_gaps(recording, steps, n_rows)
    x = records_of(inputs, steps, n_rows)
    return replace(recording, x=x, y=y, label_steps=label_steps, mask=mask, gaps=gaps)


def listed_inputs(names: Sequence[str]) -> str:
    """Return the names of inputs as part of a sentence."""
    return f"the inputs {', '.join(names)}" if names else "one input without a name"


def _refuse_ambiguous(
    recordings: Sequence[SourceRecording], fixed: Collection[str], options: SourceOptions
) -> None:
    """Refuse inputs of which each row could be a sample, or a step in time."""
    if options.kind != "auto" or recordings[0].labels_per != "sample":
        return
    moving = {
        name: it for one in recordings for name, it in inputs_of(one).items() if name not in fixed
    }
    if all(len(it.shape) == 2 for it in moving.values()):
        shown = ", ".join(f"{name} {it.shape}" for name, it in moving.items())
        raise SourceError(
            f"{recordings[0].origin}: {shown} can be read in two ways. If each row is a "
            "sample, say kind='dense' (--kind dense). If rows are consecutive in time, say "
            "kind='ragged' (--kind ragged)."
        )


# One timeline -------------------------------------------------------------------------------------


def _grid_of(
    recordings: Sequence[SourceRecording],
    fixed: Collection[str],
    description: Description,
    options: SourceOptions,
) -> Grid:
    names = [name for name in names_of(recordings[0]) if name not in fixed]
    known = {name: description.parts[name].rate_hz for name in names}
    is_dense = recordings[0].labels_per == "sample"
    are_alike = all(len({inputs_of(it)[name].shape[0] for name in names}) == 1 for it in recordings)
    said = {rate for rate in known.values() if rate is not None}
    of_labels = _said_label_rate(recordings, description.rate_hz, options)
    has_own_labels = of_labels is not None and not any(
        are_same(of_labels, as_fraction(it)) for it in said
    )
    has_times = any(_has_times(it) for it in recordings)
    if has_times and is_dense:
        raise SourceError(
            f"{recordings[0].origin}: its inputs have times of their own, but its rows are "
            "samples; if rows follow in time, say kind='ragged' (--kind ragged)."
        )
    is_one_rate = are_alike and len(said) <= 1 and not (said and has_own_labels)
    if is_dense or (is_one_rate and not has_times):
        rate = None if is_dense or not said else as_fraction(said.pop())
        return Grid(rate, dict.fromkeys(names, 1) | dict.fromkeys(fixed, 0), None)
    unknown = [name for name, rate in known.items() if rate is None]
    if unknown:
        it = recordings[0]
        shown = ", ".join(f"{inputs_of(it)[name].shape[0]:,} in {name}" for name in names)
        raise SourceError(
            f"{it.origin}: its inputs have as many rows as follows: {shown}; say how many of each "
            f"are a second, with rate_hz={{{', '.join(f'{name!r}: ...' for name in names)}}}."
        )
    rates_hz = {name: rate for name, rate in known.items() if rate is not None}
    rate = shared_rate([*rates_hz.values()])
    rates = {name: rate * round(it / rate) for name, it in rates_hz.items()}
    label_rate = of_labels or _label_rate(recordings, rates)
    if label_rate is not None:  # of an input, as that is
        label_rate = next((it for it in rates.values() if are_same(it, label_rate)), label_rate)
    if label_rate is not None and label_rate > rate:
        rate = common_rate([rate, label_rate])
    steps = {name: round(of_input / rate) for name, of_input in rates.items()}
    return Grid(rate, steps | dict.fromkeys(fixed, 0), label_rate)


def _said_label_rate(
    recordings: Sequence[SourceRecording], said_hz: float | None, options: SourceOptions
) -> Fraction | None:
    """Return how many labels are for a second, where that is said."""
    if recordings[0].labels_per == "recording":
        return None
    if isinstance(options.rate_hz, Mapping) and "y" in options.rate_hz:
        return as_fraction(options.rate_hz["y"])
    if said_hz is not None:  # such as of annotations, whatever label_every= says of others
        return as_fraction(said_hz)
    if options.label_every is not None:
        return 1 / as_fraction(seconds_of_label(options.label_every))
    return None


def _label_rate(
    recordings: Sequence[SourceRecording], rates: Mapping[str, Fraction]
) -> Fraction | None:
    """Return the same, where it follows; None where a label is for all of a recording."""
    if recordings[0].labels_per == "recording":
        return None
    found: set[Fraction] = set(rates.values())
    for it in recordings:
        found &= {
            rates[name]
            for name, reader in inputs_of(it).items()
            if name in rates and reader.shape[0] == it.y.shape[0]
        }
    if len(found) == 1:
        return found.pop()
    it = recordings[0]
    shown = ", ".join(
        f"{reader.shape[0]:,} in {name}" for name, reader in inputs_of(it).items() if name in rates
    )
    raise SourceError(
        f"{it.origin}: {it.y.shape[0]:,} labels in {it.y_name!r}, but its inputs have as many rows "
        f"as follows: {shown}; say how many labels are for a second, with "
        "rate_hz={..., 'y': ...}, or for which time one is, with label_every=."
    )


# Each recording -----------------------------------------------------------------------------------


def _aligned(recording: SourceRecording, grid: Grid) -> SourceRecording:
    inputs = inputs_of(recording)
    moving = {name: it for name, it in inputs.items() if name not in grid.fixed}
    _refuse_flat_series(recording, moving)
    rows = {name: it.shape[0] // grid.steps[name] for name, it in moving.items()}
    n_rows = min(rows.values())
    _refuse_unequal(recording, moving, rows, grid)
    x = records_of(inputs, grid.steps, n_rows)
    y, label_steps = _aligned_labels(recording, grid, n_rows)
    mask = _aligned_mask(recording, grid.steps, n_rows)
    gaps = _aligned_gaps(recording, grid.steps, n_rows)
    return replace(recording, x=x, y=y, label_steps=label_steps, mask=mask, gaps=gaps)


def _aligned_mask(
    recording: SourceRecording, every: Mapping[str, int], n_rows: int
) -> RowReader | None:
    """Return the mask of rows, of which one is no good where a step of an input is not.

    Parameters
    ----------
    every : mapping of str to int
        Steps of each input in a row.
    """
    assert isinstance(recording.x, InputRows)
    masks = [(it, every[name]) for name, it in recording.x.masks.items()]
    if recording.mask is not None and not masks:  # as it was given: of the fastest input
        masks = [(recording.mask, max(every.values()))]
    joined: RowReader | None = None
    for mask, steps in masks:
        own = mask if steps == 1 else WorstOfRows(GroupedRows(mask, steps))
        part = PartOfRows(own, 0, n_rows)
        joined = part if joined is None else JoinedMasks(joined, part)
    return joined


def _aligned_gaps(recording: SourceRecording, every: Mapping[str, int], n_rows: int) -> Gaps | None:
    """Return the rows before which something is missing, from those of the fastest input."""
    assert isinstance(recording.x, InputRows)
    fastest = max(every, key=lambda name: every[name])
    gaps, steps = recording.x.gaps.get(fastest, recording.gaps), every[fastest]
    if gaps is None or steps == 1:
        return part_of_gaps(gaps, 0, n_rows)
    within = [row for row in gaps.rows.tolist() if row % steps]
    if within:
        raise SourceError(
            f"{recording.origin}: something is missing before step {within[0]:,} of its fastest "
            f"input, within a row of {steps:,} of its steps, which all inputs share; cut the "
            "recording there into two."
        )
    return part_of_gaps(Gaps.of(gaps.rows // steps, gaps.seconds), 0, n_rows)


def _refuse_flat_series(recording: SourceRecording, moving: Mapping[str, RowReader]) -> None:
    flat = [name for name, it in moving.items() if len(it.shape) < 2]
    if flat and recording.labels_per != "sample":
        raise SourceError(
            f"{recording.origin}: {', '.join(flat)}: a series is (time, channel); for a single "
            "channel, save x[:, None]."
        )


def _refuse_unequal(
    recording: SourceRecording,
    moving: Mapping[str, RowReader],
    rows: Mapping[str, int],
    grid: Grid,
) -> None:
    """Refuse inputs that do not last equally long, but for a part of a row at their ends."""
    if grid.rate is None:
        if len({*rows.values()}) > 1 or recording.labels_per == "sample":
            n_samples = n_samples_of(recording) if recording.labels_per == "sample" else None
            if {*rows.values()} != {n_samples}:
                shown = ", ".join(f"{count:,} in {name}" for name, count in rows.items())
                labels = "" if n_samples is None else f", and {n_samples:,} labels"
                raise SourceError(
                    f"{recording.origin}: {shown}{labels}: its inputs have not as many samples "
                    "each; save one of each for every label."
                )
        return
    row_s = 1 / grid.rate
    lasting = {name: Fraction(it.shape[0], grid.steps[name]) * row_s for name, it in moving.items()}
    shown = ", ".join(f"{name} {float(it):g} s" for name, it in lasting.items())
    if max(lasting.values()) - min(lasting.values()) >= row_s:
        raise SourceError(
            f"{recording.origin}: its inputs are not equally long: {shown}; they may differ by "
            f"less than {float(row_s):g} s, which is a whole number of steps of each. Cut what is "
            "longer, correct rate_hz=, or say when each starts, start_s=: what all have is kept."
        )
    if min(rows.values()) == 0 < max(it.shape[0] for it in moving.values()):
        raise SourceError(
            f"{recording.origin}: lasts {shown}, less than {float(row_s):g} s, the shortest time "
            "that is a whole number of steps of each input; leave it out, or resample an input."
        )


def _aligned_labels(recording: SourceRecording, grid: Grid, n_rows: int) -> tuple[RowReader, int]:
    """Return the labels of the rows, and how many are in a row."""
    y = recording.y
    if recording.labels_per != "row" or grid.label_rate is None or grid.rate is None:
        return y, 1
    n_labels = y.shape[0]
    row_s = 1 / grid.rate
    needed = n_rows * row_s * grid.label_rate
    if not needed <= n_labels < needed + grid.label_rate * row_s + 1:
        raise SourceError(
            f"{recording.origin}: {format_count(n_labels, 'label')} in {recording.y_name!r} at "
            f"{float(grid.label_rate):g} Hz, but its inputs last {float(n_rows * row_s):g} s, "
            f"which needs {math.ceil(needed):,}; correct the rate of the labels, or what is saved."
        )
    if grid.label_rate < grid.rate:
        every = grid.rate / grid.label_rate
        if every.denominator > 1:
            raise SourceError(
                f"{recording.origin}: a label is for {float(1 / grid.label_rate):g} s, but a "
                f"row of its inputs is {float(row_s):g} s, the shortest time that is a whole "
                "number of steps of each; resample an input."
            )
        return RepeatedRows(y, int(every), n_rows), 1
    steps = int(grid.label_rate / grid.rate)
    if steps > 1:
        return GroupedRows(PartOfRows(y, 0, n_rows * steps), steps), steps
    return PartOfRows(y, 0, n_rows), 1
