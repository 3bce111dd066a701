"""Rows and labels at another rate.

Each row of the result is a sum over the same rows of the source in the same order, whatever range
is asked for, so that no frames are needed.
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from zarrts.loops.resampling import weighted_sums
from zarrts.sources.rows.label_rows import RepeatedRows
from zarrts.sources.rows.records import NamedRows
from zarrts.sources.rows.views import DerivedRows
from zarrts.sources.steps.filters import branches_of, n_resampled
from zarrts.sources.steps.runs import cuts_in, extended, runs_in
from zarrts.types import AnyArray, RowReader

_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Stretches:
    """The stretches of consecutive rows of a recording, before and after it is resampled.

    Attributes
    ----------
    before, after : tuple of int
        The rows where stretches begin, and the number of rows.
    """

    ratio: Fraction
    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, bounds: tuple[int, ...], ratio: Fraction) -> "Stretches":
        """Return stretches of a recording; the first row of each stays in its place."""
        after = [0]
        for start, stop in itertools.pairwise(bounds):
            after.append(after[-1] + n_resampled(stop - start, ratio))
        return cls(ratio, bounds, tuple(after))

    def parts(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return (stretch, first row, end) of the stretches in a range of the resampled rows.

        Rows are counted from the first of the stretch.
        """
        low = int(np.searchsorted(self.after, start, "right")) - 1
        found = []
        for number in range(low, len(self.after) - 1):
            first, end = self.after[number], self.after[number + 1]
            if first >= stop:
                break
            if end > max(first, start):
                found.append((number, max(start, first) - first, min(stop, end) - first))
        return found

    def sources(self, start: int, stop: int) -> AnyArray:
        """Return the row of the source that covers the time of each of some resampled rows."""
        up, down = self.ratio.numerator, self.ratio.denominator
        rows = [
            self.before[number] + np.arange(first, end, dtype=np.int64) * down // up
            for number, first, end in self.parts(start, stop)
        ]
        return np.concatenate([np.empty(0, np.int64), *rows])

    def moved(self, row: int) -> int:
        """Return the first resampled row whose time is not before that of a row of the source."""
        number = min(int(np.searchsorted(self.before, row, "right")) - 1, len(self.before) - 2)
        if number < 0:
            return 0
        return self.after[number] + n_resampled(row - self.before[number], self.ratio)


@dataclass(frozen=True)
class ResampledRows(DerivedRows):
    """Rows at another rate."""

    stretches: Stretches

    label = "resampled rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other rows, with another number of rows."""
        return (self.stretches.after[-1], *self.rows.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    @property
    def block_rows(self) -> int:
        """Those of the other rows, in time."""
        return max(1, min(self.shape[0], int(self.rows.block_rows * self.stretches.ratio)))

    @property
    def reach(self) -> int:
        """Rows of the source, to each side, that a row is made of."""
        ratio = self.stretches.ratio
        return int(branches_of(ratio.numerator, ratio.denominator).shape[1] // 2)

    @property
    def working_bytes(self) -> int:
        """Bytes for the calculation of a block."""
        return 4 * _BLOCK_BYTES

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, *self.shape[1:]))
        row_bytes = max(1, self.shape[1]) * 8
        ratio = self.stretches.ratio
        step = max(1, int(_BLOCK_BYTES / row_bytes * min(1.0, float(ratio))))
        done = 0
        for number, first, end in self.stretches.parts(start, stop):
            for low in range(first, end, step):
                high = min(end, low + step)
                out[done : done + high - low] = self._block(number, low, high)
                done += high - low
        return out

    def _block(self, number: int, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` of a stretch."""
        up, down = self.stretches.ratio.numerator, self.stretches.ratio.denominator
        begin, end = self.stretches.before[number : number + 2]
        branches, reach = branches_of(up, down), self.reach
        low = max(0, start * down // up - reach)
        high = min(end - begin, (stop - 1) * down // up + reach + 1)
        window = self.rows.read(begin + low, begin + high).astype(np.float64, copy=False)
        out = np.full((stop - start, *window.shape[1:]), np.nan)
        for run in runs_in(window, cuts_in((0, end - begin), low, high)):
            # Rows that lie at or after the first row of the run, and before the end of its last.
            first = max(start, n_resampled(low + run.start, self.stretches.ratio))
            last = min(stop, n_resampled(low + run.stop, self.stretches.ratio))
            if first >= last:
                continue
            positions = np.arange(first, last, dtype=np.int64) * down
            bases = positions // up - low
            needed = slice(
                max(run.start, int(bases[0]) - reach), min(run.stop, int(bases[-1]) + reach + 1)
            )
            n_before = needed.start - (int(bases[0]) - reach)
            n_after = int(bases[-1]) + reach + 1 - needed.stop
            source = extended(window[needed, run.columns], n_before, n_after)
            found = weighted_sums(source, branches, positions % up, bases - bases[0])
            out[first - start : last - start, run.columns] = found
        return out


@dataclass(frozen=True)
class ResampledLabels(DerivedRows):
    """Labels of rows at another rate: each row has that of the source row that covers its time."""

    stretches: Stretches

    label = "labels of resampled rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other labels, with another number of rows."""
        return (self.stretches.after[-1], *self.rows.shape[1:])

    @property
    def block_rows(self) -> int:
        """Those of the other labels, in time."""
        return max(1, min(self.shape[0], int(self.rows.block_rows * self.stretches.ratio)))

    def _read(self, start: int, stop: int) -> AnyArray:
        if start == stop:
            return self.rows.read(0, 0)
        rows = self.stretches.sources(start, stop)
        first, last = int(rows[0]), int(rows[-1])
        return np.ascontiguousarray(self.rows.read(first, last + 1)[rows - first])


def resampled_labels(labels: RowReader, stretches: Stretches) -> RowReader:
    """Return the labels of rows at another rate."""
    if isinstance(labels, NamedRows):
        readers = tuple(resampled_labels(it, stretches) for it in labels.readers)
        return NamedRows(labels.names, readers)
    ratio = stretches.ratio
    if isinstance(labels, RepeatedRows) and len(stretches.before) == 2:
        every = labels.every * ratio
        if every.denominator == 1:  # a label is for whole rows still, and is said to be
            return RepeatedRows(labels.rows, int(every), stretches.after[-1])
    return ResampledLabels(labels, stretches)
