"""A mask of rows that are no good: flat lines, large amplitudes, missing values."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.rows.views import DerivedRows
from zarrts.sources.steps.resampling import Stretches
from zarrts.types import AnyArray, IntArray, RowReader

NAN, AMPLITUDE, FLAT = 1, 2, 4
"""The numbers in the mask for each thing that is wrong with a row; several are added."""


@dataclass(frozen=True)
class FaultyRows(DerivedRows):
    """A number for each row of others: 0 where it is good, else the sum of what is wrong with it.

    Attributes
    ----------
    flat : int
        Rows of one value in a channel from which on they are flat; 0: none are.
    amplitude : float, or None
        Values beyond it, of either sign, are too large.
    nan : bool
        Whether missing values count.
    around : int
        Rows before and after those that are no good, which are none either.
    """

    flat: int
    amplitude: float | None
    nan: bool
    around: int

    label = "a mask"

    @property
    def shape(self) -> tuple[int, ...]:
        """One number a row."""
        return self.rows.shape[:1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def _read(self, start: int, stop: int) -> AnyArray:
        if start == stop:
            return np.zeros(0, np.uint8)
        reach = max(0, self.flat - 1) + self.around
        low, high = max(0, start - reach), min(self.shape[0], stop + reach)
        block = self.rows.read(low, high)
        found = np.zeros(len(block), np.uint8)
        if self.nan and block.dtype.kind == "f":
            found |= _spread(_any(np.isnan(block)), self.around) * np.uint8(NAN)
        if self.amplitude is not None:
            with np.errstate(invalid="ignore"):
                beyond = _any(np.abs(block.astype(np.float64)) > self.amplitude)
            found |= _spread(beyond, self.around) * np.uint8(AMPLITUDE)
        if self.flat:
            found |= _spread(_is_flat(block, self.flat), self.around) * np.uint8(FLAT)
        return found[start - low : stop - low]


def _any(is_so: AnyArray) -> AnyArray:
    """Return the rows in which it is so in any channel."""
    return np.asarray(is_so.any(axis=1))


def _is_flat(block: AnyArray, n_rows: int) -> AnyArray:
    """Return which rows lie in `n_rows` or more of one value, in any channel."""
    found = np.zeros(len(block), bool)
    for column in block.T:
        edges = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1], [True]]))
        for first, length in zip(edges[:-1], np.diff(edges), strict=True):
            if length >= n_rows and column[first] == column[first]:
                found[first : first + length] = True
    return found


def _spread(is_bad: AnyArray, around: int) -> AnyArray:
    """Return which rows are bad, or have a bad one within some rows."""
    if not around or not is_bad.any():
        return is_bad
    total = np.concatenate([[0], np.cumsum(is_bad)])
    rows = np.arange(len(is_bad))
    low, high = np.maximum(rows - around, 0), np.minimum(rows + around + 1, len(is_bad))
    return np.asarray(total[high] > total[low])


@dataclass(frozen=True)
class JoinedMasks(DerivedRows):
    """Two masks of the same rows: what either says."""

    other: RowReader

    label = "a mask"

    def _read(self, start: int, stop: int) -> AnyArray:
        return np.asarray(self.rows.read(start, stop) | self.other.read(start, stop))

    def close(self) -> None:
        """Release what both hold."""
        self.rows.close()
        self.other.close()


@dataclass(frozen=True)
class ResampledMask(DerivedRows):
    """A mask at another rate: of each row, what any row says that begins in its time, or covers it.

    Attributes
    ----------
    stretches : Stretches
    """

    stretches: Stretches

    label = "a mask of resampled rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """One number a row."""
        return (self.stretches.after[-1],)

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.zeros(stop - start, np.uint8)
        done = 0
        up, down = self.stretches.ratio.numerator, self.stretches.ratio.denominator
        for number, first, end in self.stretches.parts(start, stop):
            begin, last = self.stretches.before[number : number + 2]
            edges: IntArray = np.arange(first, end + 1, dtype=np.int64) * down // up
            low, high = int(edges[0]), min(max(int(edges[-1]), int(edges[-2]) + 1), last - begin)
            mask = self.rows.read(begin + low, begin + high)
            out[done : done + end - first] = np.bitwise_or.reduceat(mask, edges[:-1] - low)
            done += end - first
        return out
