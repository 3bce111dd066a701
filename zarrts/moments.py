"""Count, mean, variance and range per channel, in one pass, and merged without another."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.types import AnyArray, IntArray

FloatArray = NDArray[np.float64]

_VALUES_PER_PIECE = 1 << 18
_ROWS_PER_FOLD = 32
_MAX_CANCELLED = 1e3  # digits that a difference of sums may lose


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Running statistics, one entry a channel (and, with leading axes, a recording).

    Attributes
    ----------
    count, nan_count : int64
        Values that are numbers, and values that are not (NaN).
    mean, m2 : float64
        Mean, and sum of squared deviations from it, of the numbers.
    min, max : float64
        Their range; +inf and -inf where there is none.
    """

    count: IntArray
    mean: FloatArray
    m2: FloatArray
    min: FloatArray
    max: FloatArray
    nan_count: IntArray

    @staticmethod
    def empty(*shape: int) -> "Moments":
        """Return the statistics of nothing."""
        return Moments(
            count=np.zeros(shape, np.int64),
            mean=np.zeros(shape),
            m2=np.zeros(shape),
            min=np.full(shape, np.inf),
            max=np.full(shape, -np.inf),
            nan_count=np.zeros(shape, np.int64),
        )

    @staticmethod
    def of(values: AnyArray) -> "Moments":
        """Return the statistics of an array (..., channel), in float64 throughout."""
        n_channels = values.shape[-1] if values.ndim else 1
        rows = values.reshape(-1, n_channels)
        if len(rows) == 0:
            return Moments.empty(n_channels)
        step = max(1, _VALUES_PER_PIECE // n_channels)
        pieces = [_of_piece(rows[start : start + step]) for start in range(0, len(rows), step)]
        return pieces[0] if len(pieces) == 1 else _pool(Moments.stack(pieces))

    def merge(self, other: "Moments") -> "Moments":
        """Return the statistics of both (Chan, Golub and LeVeque, 1983)."""
        count = self.count + other.count
        weight = other.count / np.maximum(count, 1)
        with np.errstate(invalid="ignore"):  # of infinities
            delta = other.mean - self.mean
            mean = self.mean + delta * weight
            m2 = self.m2 + other.m2 + delta**2 * (self.count * weight)
        return Moments(
            count=count,
            mean=mean,
            m2=m2,
            min=np.minimum(self.min, other.min),
            max=np.maximum(self.max, other.max),
            nan_count=self.nan_count + other.nan_count,
        )

    @property
    def std(self) -> FloatArray:
        """Population standard deviation, as NumPy's; 0 where there are no numbers, or all alike."""
        # The mean of equal numbers is rounded, and their deviations from it are not quite 0.
        spread = np.where(self.min == self.max, 0, self.m2)
        return np.asarray(np.sqrt(spread / np.maximum(self.count, 1)))

    def row(self, index: int) -> "Moments":
        """Return one entry of the leading axis."""
        return Moments(**{name: getattr(self, name)[index] for name in STATISTICS})

    @staticmethod
    def stack(rows: Sequence["Moments"]) -> "Moments":
        """Return several statistics of one shape with a new leading axis."""
        return Moments(
            **{name: np.stack([getattr(row, name) for row in rows]) for name in STATISTICS}
        )


STATISTICS = ("count", "mean", "m2", "min", "max", "nan_count")


def measure(samples: AnyArray) -> Moments:
    """Return the statistics of samples (sample, ..., channel); single values are one channel."""
    return Moments.of(samples if samples.ndim > 1 else samples[:, None])


def measure_repeated(rows: AnyArray, counts: IntArray) -> Moments:
    """Return the statistics of rows (row, ..., channel) of which row i occurs counts[i] times."""
    n_channels = rows.shape[-1] if rows.ndim > 1 else 1
    used = counts > 0
    values = rows[used].reshape(int(used.sum()), -1, n_channels).astype(np.float64)
    weights = np.broadcast_to(counts[used][:, None, None], values.shape)
    is_nan = np.isnan(values)
    numbers = np.where(is_nan, 0, weights)
    count = numbers.sum(axis=(0, 1))
    with np.errstate(invalid="ignore"):  # of infinities
        # Differences are summed, because values far away from 0 would lose digits.
        base = np.where(is_nan[0, 0], 0, values[0, 0])
        deviations = np.where(is_nan, 0, values - base)
        shift = (numbers * deviations).sum(axis=(0, 1)) / np.maximum(count, 1)
        deviations = np.where(is_nan, 0, deviations - shift)
        residue = (numbers * deviations).sum(axis=(0, 1)) / np.maximum(count, 1)
        m2 = (numbers * deviations**2).sum(axis=(0, 1)) - count * residue**2
    return Moments(
        count=count,
        mean=np.where(count > 0, base + shift + residue, 0),
        m2=np.maximum(m2, 0),
        min=np.where(is_nan, np.inf, values).min(axis=(0, 1)),
        max=np.where(is_nan, -np.inf, values).max(axis=(0, 1)),
        nan_count=np.where(is_nan, weights, 0).sum(axis=(0, 1)),
    )


def merge_all(parts: Sequence[Moments]) -> Moments:
    """Return the statistics of all parts, merged from the first to the last."""
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    return total


def _pool(parts: Moments) -> Moments:
    """Return the statistics of all entries of the leading axis, at once."""
    count = parts.count.sum(axis=0)
    # Differences between means are summed, because the means themselves may be 1e8 and more
    # deviations away from 0, and their sum would lose the digits that tell them apart.
    base = parts.mean[0]
    with np.errstate(invalid="ignore"):  # of infinities
        mean = base + ((parts.mean - base) * (parts.count / np.maximum(count, 1))).sum(axis=0)
        m2 = (parts.m2 + parts.count * (parts.mean - mean) ** 2).sum(axis=0)
    return Moments(
        count=count,
        mean=mean,
        m2=m2,
        min=parts.min.min(axis=0),
        max=parts.max.max(axis=0),
        nan_count=parts.nan_count.sum(axis=0),
    )


def _of_rows(rows: AnyArray) -> Moments:
    """Return the statistics of rows, one entry a column.

    Sums are of deviations from the first row, or from the mean where the first row is far out.
    """
    n_rows = len(rows)
    base = rows[0].astype(np.float64)
    numbers = _scratch(rows.shape)
    np.copyto(numbers, rows)
    with np.errstate(invalid="ignore"):  # infinities of both signs
        numbers -= base
        total = numbers.sum(axis=0)
    if rows.dtype.kind == "f" and not np.isfinite(total).all():
        return _of_rows_with_nan(rows.astype(np.float64))
    squares = np.einsum("ij,ij->j", numbers, numbers)
    m2 = squares - total**2 / n_rows
    if (squares > _MAX_CANCELLED * m2).any():
        numbers -= total / n_rows
        # Zero but for rounding, which this corrects (Chan, Golub and LeVeque, 1983).
        residue = numbers.sum(axis=0)
        total += residue
        m2 = np.einsum("ij,ij->j", numbers, numbers) - residue**2 / n_rows
    return Moments(
        count=np.full(rows.shape[1], n_rows, np.int64),
        mean=base + total / n_rows,
        m2=np.maximum(m2, 0),
        min=rows.min(axis=0).astype(np.float64),
        max=rows.max(axis=0).astype(np.float64),
        nan_count=np.zeros(rows.shape[1], np.int64),
    )


_local = threading.local()


def _scratch(shape: tuple[int, ...]) -> FloatArray:
    """Return memory that this thread's next call uses again: fresh memory is slow to touch."""
    size = math.prod(shape)
    memory: FloatArray | None = getattr(_local, "memory", None)
    if memory is None or memory.size < size:
        memory = _local.memory = np.empty(size)
    return memory[:size].reshape(shape)


def _of_rows_with_nan(numbers: FloatArray) -> Moments:
    """Return the statistics of rows that hold NaN or infinities."""
    is_nan = np.isnan(numbers)
    count = len(numbers) - is_nan.sum(axis=0, dtype=np.int64)
    with np.errstate(invalid="ignore"):  # infinities have no mean, and get NaN
        mean = np.where(is_nan, 0, numbers).sum(axis=0) / np.maximum(count, 1)
        deviations = np.where(is_nan, 0, numbers - mean)
        residue = deviations.sum(axis=0) / np.maximum(count, 1)
        m2 = np.maximum(np.square(deviations).sum(axis=0) - residue**2 * count, 0)
    return Moments(
        count=count,
        mean=mean + residue,
        m2=m2,
        min=np.where(is_nan, np.inf, numbers).min(axis=0),
        max=np.where(is_nan, -np.inf, numbers).max(axis=0),
        nan_count=len(numbers) - count,
    )


def _of_piece(rows: AnyArray) -> Moments:
    # Sums of long rows run at the speed of the cache, of 6 channels they do not: many rows are
    # laid side by side, and what belongs to one channel is pooled at the end.
    n_channels = rows.shape[1]
    folds = max(1, min(len(rows) // _ROWS_PER_FOLD, 2048 // n_channels))
    whole = len(rows) // folds * folds
    columns = _of_rows(rows[:whole].reshape(-1, folds * n_channels))
    piece = _pool(
        Moments(**{name: getattr(columns, name).reshape(folds, n_channels) for name in STATISTICS})
    )
    return piece if whole == len(rows) else piece.merge(_of_rows(rows[whole:]))
