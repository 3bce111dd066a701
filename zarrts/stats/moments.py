"""Count, mean, variance and range per channel, in one pass, and merged without another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.loops.sums import (
    PlainSums,
    deviation_sums,
    exact_sum,
    number_sums,
    plain_sums,
)
from zarrts.types import AnyArray, IntArray

FloatArray = NDArray[np.float64]

VALUES_PER_PIECE = 1 << 18
"""Values that are summed before sums are merged."""

_ROWS_PER_FOLD = 32
_ENTRIES_PER_PART = 1024
_MAX_CANCELLED = 1e3  # digits that a difference of sums may lose
_MAX_CANCELLED_PLAIN = 1e5  # the same where none are differences: means 300 deviations from 0


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
    mean_rest : float64
        What rounding took from the mean: of values far away from 0, what is left of a mean would
        not tell apart parts that are merged.
    """

    count: IntArray
    mean: FloatArray
    m2: FloatArray
    min: FloatArray
    max: FloatArray
    nan_count: IntArray
    mean_rest: FloatArray

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
            mean_rest=np.zeros(shape),
        )

    @staticmethod
    def of(values: AnyArray) -> "Moments":
        """Return the statistics of an array (..., channel), in float64 throughout."""
        n_channels = values.shape[-1] if values.ndim else 1
        rows = values.reshape(-1, n_channels)
        if len(rows) == 0:
            return Moments.empty(n_channels)
        step = max(1, VALUES_PER_PIECE // n_channels)
        pieces = [_of_piece(rows[start : start + step]) for start in range(0, len(rows), step)]
        return pieces[0] if len(pieces) == 1 else pool(Moments.stack(pieces))

    def merge(self, other: "Moments") -> "Moments":
        """Return the statistics of both (Chan, Golub and LeVeque, 1983)."""
        return pool(Moments.stack([self, other]))

    @property
    def std(self) -> FloatArray:
        """Population standard deviation, as NumPy's; 0 where there are no numbers, or all alike."""
        # The mean of equal numbers is rounded, and their deviations from it are not quite 0.
        spread = np.where(self.min == self.max, 0, self.m2)
        return np.asarray(np.sqrt(spread / np.maximum(self.count, 1)))

    def row(self, index: int | IntArray) -> "Moments":
        """Return one entry, or some, of the leading axis."""
        return Moments(**{name: getattr(self, name)[index] for name in STATISTICS})

    def channels(self, some: slice) -> "Moments":
        """Return some entries of the last axis."""
        return Moments(**{name: getattr(self, name)[..., some] for name in STATISTICS})

    @staticmethod
    def stack(rows: Sequence["Moments"]) -> "Moments":
        """Return several statistics of one shape with a new leading axis."""
        return Moments(
            **{name: np.stack([getattr(row, name) for row in rows]) for name in STATISTICS}
        )

    @staticmethod
    def joined(parts: Sequence["Moments"]) -> "Moments":
        """Return several statistics, one after the other along their leading axis."""
        return Moments(
            **{name: np.concatenate([getattr(it, name) for it in parts]) for name in STATISTICS}
        )

    @staticmethod
    def beside(parts: Sequence["Moments"]) -> "Moments":
        """Return the statistics of several inputs with the channels of one after the other's."""
        return Moments(
            **{
                name: np.concatenate([getattr(it, name) for it in parts], axis=-1)
                for name in STATISTICS
            }
        )


class MomentsList:
    """Statistics of one shape that come one by one; small arrays each would take much memory."""

    def __init__(self) -> None:
        self._joined: list[Moments] = []
        self._some: list[Moments] = []

    def append(self, moments: Moments) -> None:
        """Add an entry."""
        self._some.append(moments)
        if len(self._some) == _ENTRIES_PER_PART:
            self._join()

    def stacked(self) -> Moments:
        """Return all entries, at least one, along a leading axis."""
        self._join()
        return Moments.joined(self._joined)

    def _join(self) -> None:
        if self._some:
            self._joined.append(Moments.stack(self._some))
            self._some.clear()


STATISTICS = ("count", "mean", "m2", "min", "max", "nan_count", "mean_rest")


def count_channels(row_shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return how many channels rows have; of records, those of all fields."""
    if dtype.names is not None:
        fields = (dtype[name] for name in dtype.names)
        return sum(count_channels(it.shape, it.base) for it in fields)
    return row_shape[-1] if row_shape else 1


def measure(samples: AnyArray) -> Moments:
    """Return the statistics of samples (sample, ..., channel); single values are one channel.

    Of records, those of each field, with its channels after those of the fields before.
    """
    if samples.dtype.names is not None:
        return Moments.beside([measure(samples[name]) for name in samples.dtype.names])
    return Moments.of(samples if samples.ndim > 1 else samples[:, None])


def measure_repeated(rows: AnyArray, counts: IntArray) -> Moments:
    """Return the statistics of rows (row, ..., channel) of which row i occurs counts[i] times."""
    if len(rows) and counts.min() == counts.max() <= 1:
        return measure(rows if counts[0] else rows[:0])
    n_channels = rows.shape[-1] if rows.ndim > 1 else 1
    used = np.flatnonzero(counts)
    per_row = max(1, math.prod(rows.shape[1:]))
    step = max(1, VALUES_PER_PIECE // per_row)
    pieces = []
    for start in range(0, len(used), step):
        some = used[start : start + step]
        values = rows[some].reshape(-1, n_channels)
        pieces.append(_of_weighted(values, np.repeat(counts[some], per_row // n_channels)))
    return pool(Moments.stack(pieces)) if pieces else Moments.empty(n_channels)


def _of_weighted(values: AnyArray, weights: IntArray) -> Moments:
    """Return the statistics of values (n, channel), of which value i occurs weights[i] times."""
    numbers = values.astype(np.float64)
    is_nan = np.isnan(numbers)
    has_nan = bool(is_nan.any())
    occurs = np.where(is_nan, 0, weights[:, None]) if has_nan else weights[:, None]
    count = np.broadcast_to(occurs.sum(axis=0), numbers.shape[1:])
    with np.errstate(invalid="ignore"):  # of infinities
        # Differences are summed, because values far away from 0 would lose digits.
        base = np.where(is_nan[0], 0, numbers[0])
        numbers -= base
        if has_nan:
            numbers[is_nan] = 0
        shift = (occurs * numbers).sum(axis=0) / np.maximum(count, 1)
        numbers -= shift
        if has_nan:
            numbers[is_nan] = 0
        residue = (occurs * numbers).sum(axis=0) / np.maximum(count, 1)
        np.square(numbers, out=numbers)
        m2 = (occurs * numbers).sum(axis=0) - count * residue**2
        mean, rest = exact_sum(base, shift + residue)
    low = np.where(is_nan, np.inf, values) if has_nan else values
    high = np.where(is_nan, -np.inf, values) if has_nan else values
    return Moments(
        count=count.copy(),
        mean=np.where(count > 0, mean, 0),
        m2=np.maximum(m2, 0),
        min=low.min(axis=0).astype(np.float64),
        max=high.max(axis=0).astype(np.float64),
        nan_count=np.where(is_nan, weights[:, None], 0).sum(axis=0),
        mean_rest=np.where(count > 0, rest, 0),
    )


def merge_all(parts: Sequence[Moments]) -> Moments:
    """Return the statistics of all parts, at least one."""
    return parts[0] if len(parts) == 1 else pool(Moments.stack(parts))


def pool(parts: Moments) -> Moments:
    """Return the statistics of all entries of the leading axis, at once."""
    count = parts.count.sum(axis=0)
    # Differences between means are summed, because the means themselves may be 1e8 and more
    # deviations away from 0, and their sum would lose the digits that tell them apart.
    first = (parts.count > 0).argmax(axis=0)[None]
    base = np.take_along_axis(parts.mean, first, 0)[0]
    weights = parts.count / np.maximum(count, 1)
    with np.errstate(invalid="ignore"):  # of infinities
        deviations = (parts.mean - base) + parts.mean_rest
        shift = (np.where(parts.count > 0, deviations, 0) * weights).sum(axis=0)
        mean, rest = exact_sum(base, shift)
        m2 = (parts.m2 + parts.count * (deviations - shift) ** 2).sum(axis=0)
    return Moments(
        count=count,
        mean=mean,
        m2=m2,
        min=parts.min.min(axis=0),
        max=parts.max.max(axis=0),
        nan_count=parts.nan_count.sum(axis=0),
        mean_rest=rest,
    )


def pool_by(parts: Moments, groups: IntArray) -> Moments:
    """Return the statistics of each group of entries, with the groups as leading axis.

    Parameters
    ----------
    groups : int64, shape (n_entries,)
        The group of each entry: 0 .. n_groups - 1, each of which occurs.
    """
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    starts = np.cumsum(sizes) - sizes
    pooled = Moments.empty(len(sizes), *parts.count.shape[1:])
    for size in np.unique(sizes):  # groups of as many entries are pooled at once
        some = np.flatnonzero(sizes == size)
        found = pool(parts.row(order[starts[some] + np.arange(size)[:, None]]))
        for name in STATISTICS:
            getattr(pooled, name)[some] = getattr(found, name)
    return pooled


def _of_rows(rows: AnyArray) -> Moments:
    """Return the statistics of rows, one entry a column.

    Sums are of deviations from the first row, or from the mean where the first row is far out.
    """
    return _of_columns(rows, plain_sums(rows))


def _of_columns(rows: AnyArray, plain: PlainSums) -> Moments:
    """Return the same, where plain sums of the rows are known."""
    n_rows = len(rows)
    base = rows[0].astype(np.float64)
    is_float = rows.dtype.kind == "f"
    if is_float and np.isnan(plain.total).any():
        return _of_rows_with_nan(rows)
    total, squares = deviation_sums(rows, base)
    if is_float and not np.isfinite(total).all():
        return _of_rows_with_nan(rows)
    m2 = squares - total**2 / n_rows
    if (squares > _MAX_CANCELLED * m2).any():
        residue, squares = deviation_sums(rows, base, total / n_rows)
        # Zero but for rounding, which this corrects (Chan, Golub and LeVeque, 1983).
        total += residue
        m2 = squares - residue**2 / n_rows
    mean, rest = exact_sum(base, total / n_rows)
    return Moments(
        count=np.full(rows.shape[1], n_rows, np.int64),
        mean=mean,
        m2=np.maximum(m2, 0),
        min=_as_ends(plain.low),
        max=_as_ends(plain.high),
        nan_count=np.zeros(rows.shape[1], np.int64),
        mean_rest=rest,
    )


def _of_rows_with_nan(rows: AnyArray) -> Moments:
    """Return the statistics of rows that hold NaN or infinities."""
    sums = number_sums(rows, np.zeros(rows.shape[1]))
    count = sums.count
    with np.errstate(invalid="ignore"):  # infinities have no mean, and get NaN
        mean = sums.total / np.maximum(count, 1)
        around = number_sums(rows, mean)
        residue = around.total / np.maximum(count, 1)
        m2 = np.maximum(around.squares - residue**2 * count, 0)
        mean, rest = exact_sum(mean, residue)
    return Moments(
        count=count,
        mean=_as_one_nan(mean),
        m2=_as_one_nan(m2),
        min=_as_ends(sums.low),
        max=_as_ends(sums.high),
        nan_count=len(rows) - count,
        mean_rest=rest,
    )


def _as_ends(values: AnyArray) -> FloatArray:
    """Return least or largest values as float64; of zeros, whose sign is chance, without sign."""
    return np.asarray(values.astype(np.float64) + 0.0)


def _as_one_nan(values: FloatArray) -> FloatArray:
    """Return values with NaN that are alike: their sign depends on the processor."""
    return np.where(np.isnan(values), np.nan, values)


def _of_piece(rows: AnyArray) -> Moments:
    # Sums of long rows run at the speed of the cache, of 6 channels they do not: many rows are
    # laid side by side, and what belongs to one channel is pooled at the end.
    n_channels = rows.shape[1]
    folds = max(1, min(len(rows) // _ROWS_PER_FOLD, 2048 // n_channels))
    whole = len(rows) // folds * folds
    piece = _of_side_by_side(rows[:whole].reshape(-1, folds * n_channels), folds)
    return piece if whole == len(rows) else piece.merge(_of_rows(rows[whole:]))


def _of_side_by_side(rows: AnyArray, folds: int) -> Moments:
    """Return the statistics of rows that hold `folds` values of each channel."""
    plain = plain_sums(rows)
    near = _near_zero(plain, len(rows), folds)
    if near is not None:
        return near
    columns = _of_columns(rows, plain)
    return pool(Moments(**{name: getattr(columns, name).reshape(folds, -1) for name in STATISTICS}))


def _near_zero(plain: PlainSums, n_rows: int, folds: int) -> Moments | None:
    """Return the statistics from plain sums, or None where these would lose digits.

    That is where a mean is hundreds of deviations from 0, or values are NaN or infinite.
    """
    count = n_rows * folds
    with np.errstate(invalid="ignore", over="ignore"):
        total = plain.total.reshape(folds, -1).sum(axis=0)
        squares = plain.squares.reshape(folds, -1).sum(axis=0)
        m2 = squares - total**2 / count
    if not (squares <= _MAX_CANCELLED_PLAIN * m2).all():
        return None
    return Moments(
        count=np.full(len(total), count, np.int64),
        mean=total / count,
        m2=m2,
        min=_as_ends(plain.low.reshape(folds, -1).min(axis=0)),
        max=_as_ends(plain.high.reshape(folds, -1).max(axis=0)),
        nan_count=np.zeros(len(total), np.int64),
        mean_rest=np.zeros(len(total)),
    )
