"""Find grids that all values of an input lie on, by a trial of a few blocks of each recording."""

import math
from collections.abc import Sequence

import numpy as np

from zarrts.conversion.casting import cast_rows
from zarrts.conversion.counting import Counting
from zarrts.conversion.grids import MOST_STEPS, Grid, grid_of
from zarrts.loops.packing import MISSING, pack
from zarrts.sources import counted_of
from zarrts.stats.moments import FloatArray
from zarrts.storage.packing import Packing
from zarrts.types import AnyArray, Packed, SourceRecording

VALUES = np.dtype(np.float32)
"""The dtype of values that may be stored as counts."""

_N_PIECES = 4  # of a recording
_LEAST_TRIAL_BYTES, _TRIAL_BYTES, _ALL_TRIAL_BYTES = 1 << 16, 1 << 20, 1 << 28
_SEVERAL = 4
_ROOM = 1 << 12  # counts that a trial leaves free on either side, where it can
_STEP_SHARE = 1 - 2**-7  # of twice the largest error: rounding to float32 takes the rest


def from_trials(
    recordings: Sequence[SourceRecording], n_channels: int, tolerance: float
) -> Counting | None:
    """Return grids that all values of some blocks of each recording lie on, or None."""
    n_bytes = max(_LEAST_TRIAL_BYTES, min(_TRIAL_BYTES, _ALL_TRIAL_BYTES // len(recordings)))
    pairs: list[tuple[FloatArray, FloatArray]] = []
    is_certain = tolerance > 0
    for it in recordings:
        try:
            trial = _trial(it, n_bytes, n_channels)
        finally:
            it.x.close()
        before = pairs[-1] if pairs else None
        found = _of_recording(trial, before, counted_gains(it), tolerance)
        if found is None:
            return None
        pairs.append(found)
        is_certain = is_certain or _has_several(trial)
    if not is_certain:
        return None
    gain, offset = (np.stack(some) for some in zip(*pairs, strict=True))
    return Counting(packing=Packing(Packed(VALUES, MISSING, tolerance), gain, offset))


def _has_several(trial: AnyArray) -> bool:
    """Return whether a channel has so many values that a grid which holds them is no accident.

    Any two values lie on some grid.
    """
    return any(len(np.unique(column[~np.isnan(column)])) >= _SEVERAL for column in trial.T)


def counted_gains(recording: SourceRecording) -> tuple[FloatArray, FloatArray] | None:
    """Return gains and offsets that the header of a recording names, though others may not."""
    found = counted_of(recording.x)
    return None if found is None else (np.array(found.gain), np.array(found.offset))


def _trial(recording: SourceRecording, n_bytes: int, n_channels: int) -> AnyArray:
    """Return values (n, n_channels) of a few pieces of a recording."""
    rows = recording.x
    n_rows, row_bytes = rows.shape[0], max(1, math.prod(rows.shape[1:]) * VALUES.itemsize)
    # A stream gives no others cheaply than the first rows, and an address each with a request.
    n_pieces = 1 if rows.is_sequential or recording.is_remote else _N_PIECES
    length = min(n_rows, max(1, n_bytes // n_pieces // row_bytes, rows.block_rows))
    if n_pieces * length >= n_rows:
        n_pieces, length = 1, min(n_rows, n_pieces * length)
    starts = np.linspace(0, n_rows - length, n_pieces).astype(np.int64)
    parts = [
        _values(rows.read(start, start + length), recording.origin) for start in starts.tolist()
    ]
    return np.concatenate([it.reshape(-1, n_channels) for it in parts])


def _values(rows: AnyArray, origin: str) -> AnyArray:
    return np.ascontiguousarray(cast_rows(rows, VALUES, origin))


def _of_recording(
    trial: AnyArray,
    before: tuple[FloatArray, FloatArray] | None,
    header: tuple[FloatArray, FloatArray] | None,
    tolerance: float,
) -> tuple[FloatArray, FloatArray] | None:
    """Return gain and offset of each channel that a trial fits, or None.

    Parameters
    ----------
    before : pair of float64, shape (n_channels,), or None
        Of the recording before, which is usually of the same device.
    header : pair of float64, shape (n_channels,), or None
        What the recording's header says.
    """
    for known in (header, before):
        if known is not None and _has_room(trial, *known) and _fits(trial, *known, tolerance):
            return known
    grids: list[Grid] = []
    for channel in range(trial.shape[1]):
        found = _of_channel(trial[:, channel], grids[-1:])
        if found is None and tolerance:
            return _rounded(trial, tolerance)
        if found is None:
            return None
        grids.append(found)
    pairs = [_centred(it) for it in grids]
    gain, offset = (np.array(some, np.float64) for some in zip(*pairs, strict=True))
    if _fits(trial, gain, offset, tolerance):
        return gain, offset
    return _rounded(trial, tolerance) if tolerance else None


def _of_channel(values: AnyArray, before: Sequence[Grid]) -> Grid | None:
    """Return the grid of a channel: that of the one before, if it fits."""
    for known in before:
        numbers = values[~np.isnan(values)].astype(np.float64)
        if len(numbers) == 0 or not np.isfinite(numbers).all():
            break
        counts = np.rint((numbers - known.offset) / known.gain)
        same = (counts * known.gain + known.offset).astype(np.float32) == numbers
        if same.all() and np.ptp(counts) <= MOST_STEPS // 2:
            return Grid(known.gain, known.offset, int(counts.min()), int(counts.max()))
    return grid_of(values)


def _centred(grid: Grid) -> tuple[float, float]:
    """Return gain and offset that bring the counts of a grid into 16 bits, with room around."""
    half = MOST_STEPS // 2
    if -half + _ROOM <= grid.low and grid.high <= half - _ROOM:
        return grid.gain, grid.offset
    if grid.low >= 0 and grid.high <= MOST_STEPS:  # of a converter without a sign
        return grid.gain, grid.offset + half * grid.gain
    middle = (grid.low + grid.high) // 2
    return grid.gain, grid.offset + middle * grid.gain


def _rounded(trial: AnyArray, tolerance: float) -> tuple[FloatArray, FloatArray] | None:
    """Return steps that leave no error above a tolerance."""
    gain = np.full(trial.shape[1], 2 * tolerance * _STEP_SHARE)
    low, high = (
        np.array([it(column[~np.isnan(column)], initial=0) for column in trial.T], np.float64)
        for it in (_least, _greatest)
    )
    middle = np.rint((low + high) / 2 / gain)
    is_far = np.maximum(np.abs(low), np.abs(high)) / gain > MOST_STEPS // 2 - _ROOM
    offset = np.where(is_far, middle, 0) * gain
    return (gain, offset) if _fits(trial, gain, offset, tolerance) else None


def _least(values: AnyArray, initial: float) -> float:
    return float(values.min()) if len(values) else initial


def _greatest(values: AnyArray, initial: float) -> float:
    return float(values.max()) if len(values) else initial


def _has_room(trial: AnyArray, gain: FloatArray, offset: FloatArray) -> bool:
    """Return whether a trial's counts leave some of 16 bits free on either side."""
    with np.errstate(invalid="ignore", over="ignore"):
        counts = np.abs((trial - offset) / gain)
    return not (counts > MOST_STEPS // 2 - _ROOM).any()


def _fits(trial: AnyArray, gain: FloatArray, offset: FloatArray, tolerance: float) -> bool:
    return pack(trial, gain, offset, tolerance=tolerance, missing=MISSING)[1] is None
