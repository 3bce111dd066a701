"""Sums over rows, one for each column ("lane"), in the order of the rows, in float64.

The order is part of what is promised: sums have the same bits with and without the compiled
library, and on every processor. So squares are summed by `np.square` and `sum`, not by
`np.einsum`, which fuses both where a processor can.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.loops.library import NO_COUNT, code_of, compiled_for
from zarrts.loops.scratch import scratch
from zarrts.types import AnyArray, IntArray

FloatArray = NDArray[np.float64]

_LANES_OF_EINSUM, _ROWS_OF_EINSUM = 2, 4
_MAX_EXACT_ROWS = 1 << 22  # sums of squares of so many 16-bit integers are exact in float64


@dataclass(frozen=True, eq=False)
class PlainSums:
    """Of each lane: sums of values and of their squares, and the range, in the rows' dtype.

    NaN spoil at least the sums.
    """

    total: FloatArray
    squares: FloatArray
    low: AnyArray
    high: AnyArray


@dataclass(frozen=True, eq=False)
class NumberSums:
    """Of each lane: sums of deviations and of their squares, how many numbers, and their range.

    The range is +inf and -inf where there is no number.
    """

    total: FloatArray
    squares: FloatArray
    count: IntArray
    low: AnyArray
    high: AnyArray


@dataclass(frozen=True, eq=False)
class CountSums:
    """Of each lane: exact sums, how many counts stand for NaN, and the range of the others."""

    total: FloatArray
    squares: FloatArray
    n_missing: IntArray
    low: NDArray[np.int16]
    high: NDArray[np.int16]


def plain_sums(rows: AnyArray) -> PlainSums:
    """Return sums of values and of their squares, in one pass.

    Parameters
    ----------
    rows : shape (n_rows, n_lanes), at least one row
    """
    n_rows, n_lanes = rows.shape
    compiled = _compiled_for(rows)
    if compiled is not None:
        total, squares = np.empty(n_lanes), np.empty(n_lanes)
        low, high = np.empty(n_lanes, rows.dtype), np.empty(n_lanes, rows.dtype)
        compiled.plain_sums(code_of(rows.dtype), rows, n_rows, n_lanes, total, squares, low, high)
    else:
        numbers = _in_float64(rows)
        with np.errstate(invalid="ignore", over="ignore"):
            total, squares = _sums(numbers)
            low, high = rows.min(axis=0), rows.max(axis=0)
    return PlainSums(total, squares, low, high)


def deviation_sums(
    rows: AnyArray, base: FloatArray, shift: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return sums of the deviations from `base`, and of these from `shift`, and of their squares.

    Parameters
    ----------
    rows : shape (n_rows, n_lanes)
    base, shift : float64, shape (n_lanes,)
        Are subtracted one after the other, so that a small signal on a large offset keeps digits.
    """
    n_rows, n_lanes = rows.shape
    shift = np.zeros(n_lanes) if shift is None else shift
    compiled = _compiled_for(rows)
    if compiled is not None:
        total, squares = np.empty(n_lanes), np.empty(n_lanes)
        compiled.deviation_sums(
            code_of(rows.dtype), rows, n_rows, n_lanes, base, shift, total, squares
        )
        return total, squares
    numbers = _in_float64(rows)
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs
        numbers -= base
        numbers -= shift
        return _sums(numbers)


def number_sums(rows: AnyArray, base: FloatArray) -> NumberSums:
    """Return sums of the deviations of numbers from `base`; NaN are left out.

    Parameters
    ----------
    rows : floats, shape (n_rows, n_lanes)
    base : float64, shape (n_lanes,)
    """
    n_rows, n_lanes = rows.shape
    compiled = _compiled_for(rows)
    if compiled is not None:
        total, squares, count = (np.empty(n_lanes) for _ in range(3))
        low = np.full(n_lanes, np.inf, rows.dtype)
        high = np.full(n_lanes, -np.inf, rows.dtype)
        compiled.number_sums(
            code_of(rows.dtype), rows, n_rows, n_lanes, base, total, squares, count, low, high
        )
        return NumberSums(total, squares, count.astype(np.int64), low, high)
    is_nan = np.isnan(rows)
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = rows.astype(np.float64) - base
        numbers[is_nan] = 0
        total = numbers.sum(axis=0)
        np.square(numbers, out=numbers)
        squares = numbers.sum(axis=0)
    return NumberSums(
        total + 0.0,
        squares,
        n_rows - is_nan.sum(axis=0, dtype=np.int64),
        np.where(is_nan, np.inf, rows).min(axis=0, initial=np.inf),
        np.where(is_nan, -np.inf, rows).max(axis=0, initial=-np.inf),
    )


def count_sums(rows: NDArray[np.int16], missing: int | None = None) -> CountSums:
    """Return exact sums of counts; of at most 2 ** 22 rows, beyond which they would be rounded.

    Parameters
    ----------
    rows : int16, shape (n_rows, n_lanes)
    missing : int, optional
        The count that stands for NaN.
    """
    n_rows, n_lanes = rows.shape
    compiled = compiled_for(rows)
    if compiled is not None and rows.dtype == np.int16:
        total, squares = np.empty(n_lanes), np.empty(n_lanes)
        missed = np.empty(n_lanes, np.int32)
        low, high = np.empty(n_lanes, np.int16), np.empty(n_lanes, np.int16)
        none = NO_COUNT if missing is None else missing
        compiled.count_sums(rows, n_rows, n_lanes, none, total, squares, missed, low, high)
        return CountSums(total, squares, missed.astype(np.int64), low, high)
    numbers = _in_float64(rows)
    ends = np.iinfo(np.int16)
    least = most = rows
    n_missing = np.zeros(n_lanes, np.int64)
    if missing is not None:
        is_missing = rows == missing
        numbers[is_missing] = 0
        n_missing = is_missing.sum(axis=0, dtype=np.int64)
        least = np.where(is_missing, np.int16(ends.max), rows)
        most = np.where(is_missing, np.int16(ends.min), rows)
    total = numbers.sum(axis=0)
    np.square(numbers, out=numbers)
    return CountSums(
        total + 0.0,
        numbers.sum(axis=0),
        n_missing,
        least.min(axis=0, initial=ends.max),
        most.max(axis=0, initial=ends.min),
    )


def exact_sum(large: FloatArray, small: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a sum, and what rounding took from it (Knuth, 1969)."""
    total = large + small
    part = total - large
    rest = (large - (total - part)) + (small - part)
    return total, np.where(np.isfinite(rest), rest, 0)


def _compiled_for(rows: AnyArray) -> Any:
    # A single lane NumPy sums in an order of its own, as stores have it; there are few such rows.
    # The library adds small integers in any order, which is exact for so many.
    is_usual = rows.shape[1] > 1 and len(rows) <= _MAX_EXACT_ROWS
    return compiled_for(rows) if is_usual else None


def _sums(numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sums of numbers and of their squares over axis 0; the numbers are overwritten."""
    total = numbers.sum(axis=0)
    np.square(numbers, out=numbers)
    if numbers.shape[1] == 1:
        numbers = _as_einsum_sums(numbers)
    squares = numbers.sum(axis=0)
    # -0.0 depends on what a sum begins with.
    return total + 0.0, squares[:1] + squares[1:] if total.shape != squares.shape else squares


def _as_einsum_sums(numbers: FloatArray) -> FloatArray:
    """Return a single lane as the two lanes, and the order of rows, in which einsum sums it.

    Stores have had such sums from the beginning. Four pairs at a time are added backwards.
    """
    n_at_once = _LANES_OF_EINSUM * _ROWS_OF_EINSUM
    whole = len(numbers) // n_at_once * n_at_once
    head = numbers[:whole].reshape(-1, _ROWS_OF_EINSUM, _LANES_OF_EINSUM)[:, ::-1]
    tail = np.zeros(-(-(len(numbers) - whole) // _LANES_OF_EINSUM) * _LANES_OF_EINSUM)
    tail[: len(numbers) - whole] = numbers[whole:, 0]
    return np.concatenate([head.reshape(-1, _LANES_OF_EINSUM), tail.reshape(-1, _LANES_OF_EINSUM)])


def _in_float64(rows: AnyArray) -> FloatArray:
    numbers = scratch("sums", rows.shape, np.dtype(np.float64))
    np.copyto(numbers, rows)
    return numbers
