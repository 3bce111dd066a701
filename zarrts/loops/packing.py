"""Floats as 16-bit counts: x = float32(count * gain + offset), computed in float64."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.loops.gathering import Affine, FloatArray, Gathering
from zarrts.loops.library import NO_COUNT, compiled_for
from zarrts.loops.scratch import scratch
from zarrts.loops.sums import exact_sum
from zarrts.types import AnyArray

MISSING = -(1 << 15)
"""The count that stands for NaN, where one does."""

_LEAST_LANES = 128
_BLOCK_VALUES = 1 << 15
_FLOAT64 = np.dtype(np.float64)
_MOST = float((1 << 15) - 1)
_SPLITTER = float((1 << 27) + 1)


def pack(
    values: NDArray[np.float32],
    gain: AnyArray,
    offset: AnyArray,
    *,
    tolerance: float = 0.0,
    missing: int | None = None,
) -> tuple[NDArray[np.int16], int | None]:
    """Return the counts of values, and the position of the first value that has none.

    Every value is unpacked again and compared. With a tolerance of 0 it has to be equal (-0.0
    equals the 0.0 that it becomes).

    Parameters
    ----------
    values : float32, shape (..., n_channels)
    gain, offset : float64, shape (n_channels,)
        No gain is 0.
    tolerance : float
        The largest error, in the unit of the values.
    missing : int, optional
        `MISSING`: NaN get this count, and no value does; without it a NaN does not fit.

    Returns
    -------
    counts : int16, shape of values
        Where a value does not fit, only those in front of it are counts.
    unfit : int, or None
        Position of the first value that does not fit, in the flattened array.
    """
    if missing not in (None, MISSING):
        raise ValueError(f"missing={missing}: only {MISSING} can stand for NaN")
    if values.dtype != np.float32:
        raise ValueError(f"values are {values.dtype}, not float32")
    n_channels = values.shape[-1]
    gain, offset = (np.asarray(it, np.float64).reshape(n_channels) for it in (gain, offset))
    counts = np.empty(values.shape, np.int16)
    if values.size == 0:
        return counts, None
    folds = min(values.size // n_channels, -(-_LEAST_LANES // n_channels))
    gain, inverse, offset = (np.tile(it, folds) for it in (gain, 1 / gain, offset))
    compiled = compiled_for(values)
    if compiled is None:
        unfit = _pack(
            values.reshape(-1), counts.reshape(-1), gain, inverse, offset, tolerance, missing
        )
    else:
        none = NO_COUNT if missing is None else missing
        unfit = compiled.pack(
            values, counts, values.size, len(gain), gain, inverse, offset, tolerance, none
        )
    return counts, None if unfit < 0 else int(unfit)


def unpacking(
    gain: AnyArray,
    offset: AnyArray,
    *,
    dtype: np.dtype[Any],
    missing: int | None = None,
) -> Gathering:
    """Return what turns counts back into values, while gathering them.

    Parameters
    ----------
    gain, offset : float64, shape (n_channels,), or (n_tables, n_channels)
    missing : int, optional
        The count that becomes NaN.
    """
    gain, offset = (np.atleast_2d(np.asarray(it, np.float64)) for it in (gain, offset))
    change = Affine(np.zeros(gain.shape), gain, offset)
    return Gathering(dtype=dtype, n_channels=gain.shape[1], change=change, missing=missing)


def scaled_unpacking(
    gain: AnyArray,
    offset: AnyArray,
    shift: AnyArray,
    spread: AnyArray,
    *,
    dtype: np.dtype[Any],
    missing: int | None = None,
    fill: AnyArray | None = None,
) -> Gathering:
    """Return what turns counts into (value - shift) / spread, while gathering them.

    An integer near the shift is subtracted first, so that small signals on large offsets keep
    their digits: the result is within two float32 roundings of the exact one.

    Parameters
    ----------
    gain, offset, shift, spread : float64, shape (n_channels,), or (n_tables, n_channels)
    missing : int, optional
        The count that becomes NaN, or `fill`.
    fill : shape (n_channels,), or (n_tables, n_channels), optional
        After scaling.
    """
    some = (np.atleast_2d(np.asarray(it, np.float64)) for it in (gain, offset, shift, spread))
    gain, offset, shift, spread = np.broadcast_arrays(*some)
    origin = np.clip(np.rint((shift - offset) / gain), MISSING, _MOST)
    # The large parts cancel; what rounding took from them is what is left.
    product, lost = _exact_product(origin, gain)
    difference, also_lost = exact_sum(offset, -shift)
    rest = (difference + product) + (lost + also_lost)
    change = Affine(origin, gain / spread, rest / spread)
    if fill is not None:
        fill = np.broadcast_to(np.atleast_2d(np.asarray(fill, np.float64)), gain.shape)
    return Gathering(
        dtype=dtype, n_channels=gain.shape[1], change=change, fill=fill, missing=missing
    )


def _exact_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a product, and what rounding took from it (Dekker, 1971)."""

    def halves(it: FloatArray) -> tuple[FloatArray, FloatArray]:
        scaled = it * _SPLITTER
        high = scaled - (scaled - it)
        return high, it - high

    product = a * b
    (a_high, a_low), (b_high, b_low) = halves(a), halves(b)
    rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, rest


def _pack(
    values: NDArray[np.float32],
    counts: NDArray[np.int16],
    gain: AnyArray,
    inverse: AnyArray,
    offset: AnyArray,
    tolerance: float,
    missing: int | None,
) -> int:
    """Fill `counts`; return the position of the first value that does not fit, or -1."""
    lanes = len(gain)
    lowest = float(MISSING if missing is None else MISSING + 1)
    step = max(1, _BLOCK_VALUES // lanes) * lanes
    for start in range(0, len(values), step):
        some = values[start : start + step]
        n_laid = -(-len(some) // lanes) * lanes
        given, found, back = (
            scratch(f"pack{i}", (n_laid // lanes, lanes), _FLOAT64) for i in range(3)
        )
        given.reshape(-1)[: len(some)] = some
        given.reshape(-1)[len(some) :] = np.nan
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(given, offset, out=found)
            found *= inverse
            np.rint(found, out=found)
            np.fmax(found, lowest, out=found)  # of NaN, too
            np.fmin(found, _MOST, out=found)
            np.multiply(found, gain, out=back)
            back += offset
            back[...] = back.astype(np.float32)
            back -= given
            fits = (np.abs(back, out=back) <= tolerance).reshape(-1)[: len(some)]
        counts[start : start + step] = found.reshape(-1)[: len(some)]
        if missing is not None:
            is_nan = np.isnan(some)
            counts[start : start + step][is_nan] = missing
            fits |= is_nan
        if not fits.all():
            return start + int(fits.argmin())
    return -1
