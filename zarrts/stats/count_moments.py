"""Statistics of 16-bit counts, which are exact, and of the values that they stand for."""

from collections.abc import Callable

import numpy as np

from zarrts.loops.sums import count_sums, exact_sum
from zarrts.stats.moments import VALUES_PER_PIECE, FloatArray, Moments, merge_all
from zarrts.types import AnyArray

_ROWS_PER_FOLD = 32
_MAX_LANES = 2048


def measure_counts(counts: AnyArray, missing: int | None = None) -> Moments:
    """Return the statistics of an array (..., channel) of counts.

    Sums are of integers, and exact: nothing cancels, however far counts are from 0.

    Parameters
    ----------
    counts : int16
    missing : int, optional
        The count that stands for NaN.
    """
    n_channels = counts.shape[-1] if counts.ndim else 1
    rows = counts.reshape(-1, n_channels)
    step = max(1, VALUES_PER_PIECE // n_channels)
    pieces = [_of_piece(rows[start : start + step], missing) for start in range(0, len(rows), step)]
    return merge_all(pieces) if pieces else Moments.empty(n_channels)


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


def _of_piece(rows: AnyArray, missing: int | None) -> Moments:
    """Return the statistics of rows of counts, of at most `VALUES_PER_PIECE` values."""
    n_rows, n_channels = rows.shape
    folds = max(1, min(n_rows // _ROWS_PER_FOLD, _MAX_LANES // n_channels))
    whole = n_rows // folds * folds
    parts = [count_sums(rows[:whole].reshape(-1, folds * n_channels), missing)]
    parts += [count_sums(rows[whole:], missing)] if whole < n_rows else []

    def of_channels(name: str, reduce: Callable[..., AnyArray]) -> AnyArray:
        lanes = [getattr(part, name).reshape(-1, n_channels) for part in parts]
        return np.asarray(reduce(np.concatenate(lanes), axis=0))

    # All of these are integers below 2 ** 53, in any order.
    total, squares = of_channels("total", np.sum), of_channels("squares", np.sum)
    n_missing = of_channels("n_missing", np.sum)
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
        min=np.where(is_none, np.inf, of_channels("low", np.min)),
        max=np.where(is_none, -np.inf, of_channels("high", np.max)),
        nan_count=n_missing,
        mean_rest=np.where(is_none, 0, mean_rest),
    )
