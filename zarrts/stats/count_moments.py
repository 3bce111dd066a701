"""Statistics of 16-bit counts, which are exact, and of the values that they stand for."""

import numpy as np

from zarrts.loops.sums import CountSums, count_sums, exact_sum
from zarrts.stats.moments import VALUES_PER_PIECE, FloatArray, Moments, merge_all
from zarrts.types import AnyArray

_ROWS_PER_FOLD = 32
_MAX_LANES = 2048
_MOST_ROWS = 1 << 22  # whose squares add up to an integer that float64 holds


class CountMoments:
    """Statistics of counts that come in parts.

    Sums are of integers, and exact: nothing cancels, however far counts are from 0, and parts are
    merged without rounding as long as they can be.

    Parameters
    ----------
    n_channels : int
    missing : int, optional
        The count that stands for NaN.
    """

    def __init__(self, n_channels: int, missing: int | None = None) -> None:
        self._n_channels, self._missing = n_channels, missing
        self._n_rows = 0
        self._sums: CountSums | None = None  # of so many rows
        self._moments: list[Moments] = []  # of those before

    def add(self, counts: AnyArray) -> None:
        """Add int16 counts (..., channel)."""
        rows = counts.reshape(-1, self._n_channels)
        step = max(1, VALUES_PER_PIECE // self._n_channels)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            sums = _sums_of(some, self._missing)
            if self._n_rows + len(some) > _MOST_ROWS:
                self._round()
            self._sums = sums if self._sums is None else _added(self._sums, sums)
            self._n_rows += len(some)

    def moments(self) -> Moments:
        """Return the statistics of all that was added."""
        self._round()
        return merge_all(self._moments) if self._moments else Moments.empty(self._n_channels)

    def _round(self) -> None:
        if self._sums is not None:
            self._moments.append(_moments_of(self._sums, self._n_rows))
        self._sums, self._n_rows = None, 0


def of_values(counted: Moments, gain: AnyArray, offset: AnyArray) -> Moments:
    """Return the statistics of float32(count * gain + offset), from those of the counts.

    Means and deviations are those of the exact values, the range is that of the rounded ones.

    Parameters
    ----------
    gain, offset : float64, shape (n_channels,), or that of the statistics
    """
    gain, offset = (np.broadcast_to(it, counted.mean.shape) for it in (gain, offset))
    is_none = counted.count == 0
    mean, rest = exact_sum(offset + counted.mean * gain, counted.mean_rest * gain)
    low, high = (
        _value(np.where(is_none, 0, it), gain, offset) for it in (counted.min, counted.max)
    )
    return Moments(
        count=counted.count,
        mean=np.where(is_none, 0, mean),
        m2=counted.m2 * gain**2,
        min=np.where(is_none, np.inf, np.minimum(low, high)),  # a gain may be below 0
        max=np.where(is_none, -np.inf, np.maximum(low, high)),
        nan_count=counted.nan_count,
        mean_rest=np.where(is_none, 0, rest),
    )


def _value(count: FloatArray, gain: FloatArray, offset: FloatArray) -> FloatArray:
    rounded = (count * gain + offset).astype(np.float32)
    return np.asarray(rounded.astype(np.float64) + 0.0)


def _sums_of(rows: AnyArray, missing: int | None) -> CountSums:
    """Return the sums of each channel of rows of at most `VALUES_PER_PIECE` counts."""
    n_rows, n_channels = rows.shape
    folds = max(1, min(n_rows // _ROWS_PER_FOLD, _MAX_LANES // n_channels))
    whole = n_rows // folds * folds
    found = count_sums(rows[:whole].reshape(-1, folds * n_channels), missing)
    if folds > 1:
        found = CountSums(
            found.total.reshape(-1, n_channels).sum(axis=0),
            found.squares.reshape(-1, n_channels).sum(axis=0),
            found.n_missing.reshape(-1, n_channels).sum(axis=0),
            found.low.reshape(-1, n_channels).min(axis=0),
            found.high.reshape(-1, n_channels).max(axis=0),
        )
    return _added(found, count_sums(rows[whole:], missing)) if whole < n_rows else found


def _added(one: CountSums, other: CountSums) -> CountSums:
    # Integers below 2 ** 53: exact, in any order.
    return CountSums(
        one.total + other.total,
        one.squares + other.squares,
        one.n_missing + other.n_missing,
        np.minimum(one.low, other.low),
        np.maximum(one.high, other.high),
    )


def _moments_of(sums: CountSums, n_rows: int) -> Moments:
    """Return the statistics of `n_rows` counts of each channel, at most `_MOST_ROWS`."""
    total, squares, n_missing = sums.total, sums.squares, sums.n_missing
    count = n_rows - n_missing
    some = np.maximum(count, 1)
    base = np.rint(total / some)
    rest = total - base * some
    m2 = (squares - 2 * base * total + base * base * count) - rest * rest / some
    is_none = count == 0
    mean, mean_rest = exact_sum(base, rest / some)
    return Moments(
        count=count,
        mean=np.where(is_none, 0, mean),
        m2=np.where(is_none, 0, m2),
        min=np.where(is_none, np.inf, sums.low),
        max=np.where(is_none, -np.inf, sums.high),
        nan_count=n_missing,
        mean_rest=np.where(is_none, 0, mean_rest),
    )
