"""Take a step on recordings: rows, labels and descriptions after it, and what changes in words."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sizes import format_count, rows_of_time
from zarrts.sources.rows.views import CastRows, ValueRows
from zarrts.sources.step_options import Clean, Filter, Map, Notch, Pick, Resample, Step, Stored
from zarrts.sources.step_records import band, faults
from zarrts.sources.steps.cleaning import FaultyRows, JoinedMasks, ResampledMask
from zarrts.sources.steps.filtering import FirRows, IirRows
from zarrts.sources.steps.filters import Response, n_resampled, ratio_of, refuse_beyond, response_of
from zarrts.sources.steps.frames import FrameCache, Place
from zarrts.sources.steps.mapping import MappedRows, WholeMappedRows
from zarrts.sources.steps.per_sample import PerSampleRows
from zarrts.sources.steps.picking import PickedRows, picked_from
from zarrts.sources.steps.resampling import ResampledRows, Stretches, resampled_labels
from zarrts.timeline import Gaps
from zarrts.types import Description, RowReader, SourceRecording

_MAX_NAMES = 6
_MAX_SHOWN = 4
_SAME_RATE = 2e-6
"""Rates that differ by less, relatively, differ by rounding; see `study.standards`."""


@dataclass(frozen=True)
class Taken:
    """Recordings after a step.

    Attributes
    ----------
    problems : tuple of str
        A sentence for each recording that the step cannot be taken on; it is not among the others.
    lines : tuple of str
        What changes, in words.
    notes : tuple of str
        Which recordings lack something.
    """

    recordings: tuple[SourceRecording, ...]
    problems: tuple[str, ...]
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def take(
    step: Step,
    number: int,
    recordings: Sequence[SourceRecording],
    cache: FrameCache,
    name_of: Callable[[SourceRecording], str] = lambda it: f"{it.subject} {it.origin}",
) -> Taken:
    """Take one step, the one of some number, on all recordings.

    `name_of` gives each recording a name in the cache that no other has.
    """
    if isinstance(step, Pick):
        return _pick(step, recordings)
    if isinstance(step, Stored):
        dtype = np.dtype(step.dtype)
        rounded = (replace(it, x=CastRows(it.x, dtype)) for it in recordings)
        return Taken(tuple(rounded), (), (f"stored as {dtype.name}",))
    found, problems = [], []
    for it in recordings:
        place = Place(name_of(it), number, cache)
        try:
            found.append(_taken(step, it, place))
        except SourceError as error:
            text = str(error).removesuffix(".")
            where = "" if text.startswith(it.origin) else f"{it.origin}: "
            problems.append(f"{where}{text}.")
    return Taken(tuple(found), tuple(problems), tuple(_lines(step, recordings, found)))


# Channels ----------------------------------------------------------------------------------------


def _pick(step: Pick, recordings: Sequence[SourceRecording]) -> Taken:
    found, problems = [], []
    absent: dict[str, list[SourceRecording]] = {}
    left_out = []
    for it in recordings:
        try:
            n_columns = it.x.shape[-1] if len(it.x.shape) > 1 else 0
            picked = picked_from(step, it.description, n_columns, it.origin)
        except SourceError as error:
            problems.append(str(error))
            continue
        if picked.absent and step.absent == "error":
            has = ", ".join((it.description.channels or ())[:_MAX_NAMES])
            problems.append(
                f"{it.origin}: has no channel {', '.join(picked.absent)}, but {has}; name what it "
                "is called there, as {'NAME': ['OTHER NAME']}, or say absent='nan' or "
                "'drop-recording'."
            )
            continue
        for name in picked.absent:
            absent.setdefault(name, []).append(it)
        if picked.absent and step.absent == "drop-recording":
            left_out.append(it)
            continue
        rows = PickedRows(it.x, picked.plus, picked.minus, step.reference is not None)
        same = rows.is_plain and picked.plus == tuple(range(n_columns))
        x = it.x if same else rows
        found.append(replace(it, x=x, description=picked.description))
    if recordings and not found and not problems:
        problems.append(
            f"pick: no recording is left, because none has all of {_names(step)}; correct the "
            "names, or say absent='nan'."
        )
    counts = sorted({it.x.shape[-1] for it in recordings if it.x.shape})
    of = f" of {', '.join(map(str, counts))}" if counts else ""
    reference = ", minus their mean" if step.reference else ""
    line = f"pick {len(step.columns)}{of} channels: {_names(step)}{reference}"
    notes = []
    for name, lacking in absent.items():
        shown = listed((it.origin for it in lacking), _MAX_SHOWN)
        what = "is NaN there" if step.absent == "nan" else "these are left out"
        notes.append(f"no {name} in {shown}: {what}")
    return Taken(tuple(found), tuple(problems), (line,), tuple(notes))


def _names(step: Pick) -> str:
    names = [
        it.name if not it.minus or "-" in it.name else f"{it.name} ({it.of[0]} - {it.minus[0]})"
        for it in step.columns
    ]
    return listed(names, _MAX_NAMES)


# Rows ----------------------------------------------------------------------------------------


def _taken(
    step: Clean | Filter | Map | Notch | Resample, it: SourceRecording, place: Place
) -> SourceRecording:
    if it.x.dtype.kind not in "biuf":
        raise SourceError(f"{step.name}: its inputs are {it.x.dtype}, not numbers")
    is_dense = it.labels_per == "sample"
    shape = it.x.shape[1:] if is_dense else it.x.shape
    if len(shape) != 2:
        what = "samples" if is_dense else "rows"
        raise SourceError(
            f"{step.name}: needs series (time, channel), but its {what} have shape "
            f"{it.x.shape[1:]}" + ("; say kind='ragged' if rows follow in time" if is_dense else "")
        )
    rate_hz = it.description.rate_hz
    if rate_hz is None and _needs_rate(step):
        raise SourceError(f"{step.name}: its rate is not known; say it with rate_hz= (--rate-hz)")
    if isinstance(step, Resample) and _is_same_rate(step, it):
        return it
    if isinstance(step, Clean):
        return _cleaned(step, it, rate_hz)
    make = _maker(step, rate_hz, it.origin)
    bounds = (0, *([] if it.gaps is None else it.gaps.rows.tolist()), shape[0])
    description = _described(step, it.description)
    if is_dense:
        after = _sample_shape(step, shape, rate_hz)
        x: RowReader = PerSampleRows(it.x, partial(_of_sample, make), after)
        return replace(it, x=x, description=description)
    x = make(it.x, bounds, place)
    if not isinstance(step, Resample):
        return replace(it, x=x, description=description)
    assert isinstance(x, ResampledRows)
    is_one_label = it.labels_per == "recording"
    return replace(
        it,
        x=x,
        y=it.y if is_one_label else resampled_labels(it.y, x.stretches),
        mask=None if it.mask is None else ResampledMask(it.mask, x.stretches),
        gaps=_moved_gaps(it.gaps, x.stretches, rate_hz, step.rate_hz),
        description=description,
        first_row=n_resampled(it.first_row, x.stretches.ratio),
    )


def _moved_gaps(
    gaps: Gaps | None, stretches: Stretches, rate_hz: float | None, to_hz: float
) -> Gaps | None:
    """Return gaps at another rate, so long that what is behind them stays at its time."""
    if gaps is None:
        return None
    assert rate_hz is not None
    before = np.diff(stretches.before[:-1]) / rate_hz
    after = np.diff(stretches.after[:-1]) / to_hz
    # Of a gap of unknown length, nothing is known afterwards either.
    seconds = np.where(gaps.seconds > 0, np.maximum(gaps.seconds + before - after, 0), 0)
    return Gaps.of(np.array(stretches.after[1:-1]), seconds)


def _needs_rate(step: Step) -> bool:
    if isinstance(step, Map):
        return isinstance(step.halo, str)
    if isinstance(step, Clean):
        return isinstance(step.flat, str) or isinstance(step.around, str)
    return True


def _cleaned(step: Clean, it: SourceRecording, rate_hz: float | None) -> SourceRecording:
    if it.labels_per == "sample":
        raise SourceError(
            "clean: masks time steps of series, but its rows are samples; say kind='ragged' where "
            "rows follow in time"
        )
    try:
        flat = rows_of_time("flat", 0 if step.flat is None else step.flat, rate_hz)
        around = rows_of_time("around", step.around, rate_hz)
    except ValueError as error:
        raise SourceError(f"clean: {error}") from error
    mask: RowReader = FaultyRows(it.x, flat, step.amplitude, step.nan, around)
    return replace(it, mask=mask if it.mask is None else JoinedMasks(mask, it.mask))


_Make = Callable[[RowReader, tuple[int, ...], Place], RowReader]


def _maker(step: Filter | Map | Notch | Resample, rate_hz: float | None, origin: str) -> _Make:
    """Return the function that makes rows after a step.

    Raises
    ------
    SourceError
        If the step cannot be taken at that rate.
    """
    if isinstance(step, Map):
        if step.whole:
            return partial(_whole_mapped, step, origin)
        try:
            halo = rows_of_time("halo", step.halo, rate_hz)
        except ValueError as error:
            raise SourceError(f"map: {error}") from error
        return partial(_mapped, step, halo, origin)
    assert rate_hz is not None
    if isinstance(step, Resample):
        return partial(_resampled, ratio_of(rate_hz, step.rate_hz))
    if isinstance(step, Filter) and step.method == "iir":
        edges = [it for it in (step.low_hz, step.high_hz) if it is not None]
        refuse_beyond("filter", edges, rate_hz)
        return partial(_iir, step, rate_hz)
    return partial(_fir, response_of(step, rate_hz))


def _whole_mapped(
    step: Map, origin: str, rows: RowReader, bounds: tuple[int, ...], place: Place
) -> RowReader:
    return WholeMappedRows(rows, place, bounds, step, origin)


def _mapped(
    step: Map, halo: int, origin: str, rows: RowReader, bounds: tuple[int, ...], place: Place
) -> RowReader:
    return MappedRows(rows, place, step, halo, bounds, origin)


def _resampled(
    ratio: Fraction, rows: RowReader, bounds: tuple[int, ...], place: Place
) -> RowReader:
    return ResampledRows(rows, Stretches.of(bounds, ratio))


def _iir(
    step: Filter, rate_hz: float, rows: RowReader, bounds: tuple[int, ...], place: Place
) -> RowReader:
    return IirRows(rows, place, bounds, step, rate_hz)


def _fir(response: Response, rows: RowReader, bounds: tuple[int, ...], place: Place) -> RowReader:
    return FirRows(rows, place, response, bounds)


def _of_sample(make: _Make, rows: RowReader) -> RowReader:
    return make(rows, (0, rows.shape[0]), Place("", 0))


def _sample_shape(step: Step, shape: tuple[int, ...], rate_hz: float | None) -> tuple[int, ...]:
    n_rows, n_columns = shape
    if isinstance(step, Resample):
        assert rate_hz is not None
        n_rows = n_resampled(n_rows, ratio_of(rate_hz, step.rate_hz))
    if isinstance(step, Map) and step.channels is not None:
        n_columns = len(step.channels)
    return n_rows, n_columns


def _described(step: Step, before: Description) -> Description:
    if isinstance(step, Resample):
        return replace(before, rate_hz=step.rate_hz, by_hand=before.by_hand - {"rate_hz"})
    if isinstance(step, Map) and step.channels is not None:
        return replace(before, channels=step.channels, units=None)
    return before


def _is_same_rate(step: Resample, it: SourceRecording) -> bool:
    rate_hz = it.description.rate_hz or 0.0
    return abs(rate_hz - step.rate_hz) <= _SAME_RATE * step.rate_hz


# In words ------------------------------------------------------------------------------------


def _lines(
    step: Step, before: Sequence[SourceRecording], after: Sequence[SourceRecording]
) -> Iterator[str]:
    if isinstance(step, Resample):
        rates = Counter(it.description.rate_hz or 0.0 for it in before)
        changed = {it.subject for it in before if not _is_same_rate(step, it)}
        n_all = len({it.subject for it in before})
        shown = ", ".join(f"{rate:g}" for rate in sorted(rates)[:_MAX_NAMES])
        subjects = f"{len(changed)} of {format_count(n_all, 'subject')}"
        yield f"resample {shown} Hz -> {step.rate_hz:g} Hz; {subjects}"
    elif isinstance(step, Filter):
        how = "IIR, forward and backward, whole recordings" if step.method == "iir" else ""
        yield f"filter {band(step.low_hz, step.high_hz)} ({how or _length(after)})"
    elif isinstance(step, Notch):
        shown = ", ".join(f"{it:g}" for it in step.frequencies_hz)
        yield f"notch {shown} Hz ({_length(after)})"
    elif isinstance(step, Map):
        if step.whole:
            how = "whole recordings"
        elif step.halo in (0, "0"):
            how = "blocks of rows"
        else:
            unit = "" if isinstance(step.halo, str) else " rows"
            how = f"blocks with {step.halo}{unit} on each side"
        channels = f" -> {len(step.channels)} channels" if step.channels is not None else ""
        yield f"map {step.function.path} ({how}){channels}"
    elif isinstance(step, Clean):
        yield f"clean {faults(vars(step))}: masked, and x stays as it is"


def _length(recordings: Sequence[SourceRecording]) -> str:
    """Return how long the filters of recordings are, and which recordings are shorter."""
    lengths, n_short = set(), 0
    for it in recordings:
        rows = it.x
        if isinstance(rows, PerSampleRows):
            sample = np.broadcast_to(np.zeros(()), rows.rows.shape[1:])
            rows = rows.make(ValueRows(sample))
        if isinstance(rows, FirRows):
            rate_hz = it.description.rate_hz or 1.0
            lengths.add(round(rows.response.n_taps / 2 / rate_hz, 2))
            n_short += rows.shape[0] < rows.response.n_taps
    shown = ", ".join(f"{it:g}" for it in sorted(lengths)[:_MAX_SHOWN]) or "0"
    short = f"; {format_count(n_short, 'series', 'series')} shorter than that" if n_short else ""
    return f"FIR of zero phase, {shown} s to each side{short}"
