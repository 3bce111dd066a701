"""Indexes from samples to rows of a store: one row, a recording, or a window of one.

Rows are counted through all segments of a store, and samples through all samples of the store,
selected or not, in the order of their first rows. No two that are selected have the same.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from zarrts.types import IntArray


class SampleIndex(Protocol):
    """The rows of the samples of a store; takes as many numbers as recordings, or fewer."""

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        ...

    @property
    def max_rows(self) -> int:
        """Most rows that a sample needs, from its first row on."""
        ...

    def first_sharing(self, ids: IntArray) -> IntArray:
        """Return the first sample that shares a row with each of some samples; itself if none."""
        ...

    def last_sharing(self, ids: IntArray) -> IntArray:
        """Return the last sample that shares a row with each of some samples; itself if none."""
        ...

    def first_rows(self, ids: IntArray) -> IntArray:
        """Return the first row of some samples."""
        ...

    def n_rows(self, ids: IntArray) -> IntArray:
        """Return how many rows some samples need."""
        ...

    def count_before(self, rows: IntArray) -> IntArray:
        """Return how many samples have a first row below each row."""
        ...

    def count_rows(self, starts: IntArray, stops: IntArray) -> int:
        """Return how many rows the samples of some ranges of ids have, each row counted once."""
        ...


@dataclass(frozen=True)
class RowIndex:
    """Every row is a sample."""

    n_samples: int

    @property
    def max_rows(self) -> int:
        """1."""
        return 1

    def first_sharing(self, ids: IntArray) -> IntArray:
        """Return the ids: no two share rows."""
        return ids

    def last_sharing(self, ids: IntArray) -> IntArray:
        """Return the ids: no two share rows."""
        return ids

    def first_rows(self, ids: IntArray) -> IntArray:
        """Return the ids: sample i is row i."""
        return ids

    def n_rows(self, ids: IntArray) -> IntArray:
        """Return ones."""
        return np.ones(np.shape(ids), np.int64)

    def count_before(self, rows: IntArray) -> IntArray:
        """Return the rows: as many samples are below."""
        return rows

    def count_rows(self, starts: IntArray, stops: IntArray) -> int:
        """Return how many samples the ranges hold."""
        return int((stops - starts).sum())


@dataclass(frozen=True, eq=False)
class RecordingIndex:
    """Every recording has an id; one without rows is not a sample, and must not be selected.

    Attributes
    ----------
    starts, stops : int64, shape (n_samples,)
        starts[i] <= stops[i] <= starts[i + 1].
    """

    starts: IntArray
    stops: IntArray

    @staticmethod
    def of(offsets: IntArray) -> "RecordingIndex":
        """Return the index of recordings that lie one after the other.

        Parameters
        ----------
        offsets : int64, shape (n_recordings + 1,)
            Row where each starts; the last entry is the total.
        """
        return RecordingIndex(offsets[:-1], offsets[1:])

    @property
    def n_samples(self) -> int:
        """Number of recordings."""
        return len(self.starts)

    @cached_property
    def max_rows(self) -> int:
        """Rows of the longest recording."""
        return int((self.stops - self.starts).max(initial=1))

    def first_sharing(self, ids: IntArray) -> IntArray:
        """Return the ids: no two share rows."""
        return ids

    def last_sharing(self, ids: IntArray) -> IntArray:
        """Return the ids: no two share rows."""
        return ids

    def first_rows(self, ids: IntArray) -> IntArray:
        """Return the first row of some recordings."""
        return self.starts[ids]

    def n_rows(self, ids: IntArray) -> IntArray:
        """Return how many rows some recordings have."""
        return np.asarray(self.stops[ids] - self.starts[ids])

    def count_before(self, rows: IntArray) -> IntArray:
        """Return how many recordings start below each row."""
        return np.searchsorted(self.starts, rows, "left")

    def count_rows(self, starts: IntArray, stops: IntArray) -> int:
        """Return how many rows the recordings of some ranges have."""
        before = np.concatenate([[0], np.cumsum(self.stops - self.starts)])
        return int((before[stops] - before[starts]).sum())


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """Windows of one length, cut from stretches of rows; none crosses the end of a stretch.

    Window k of a stretch starts at its row k · stride. A billion windows take no more memory than
    a few.

    Attributes
    ----------
    starts, counts : int64, shape (n_stretches,)
        First row of each stretch, ascending, and how many windows it holds, at least 1.
    max_rows : int
        Rows that each window needs.
    stride : int
        Rows from one window to the next, at least 1.
    """

    starts: IntArray
    counts: IntArray
    max_rows: int
    stride: int

    @staticmethod
    def of(starts: IntArray, stops: IntArray, n_rows: int, stride: int) -> "WindowIndex":
        """Return all windows of `n_rows` rows of some stretches, ascending and disjoint.

        Examples
        --------
        Recordings of ten and five rows; no window of four crosses from one into the other:

        >>> windows = WindowIndex.of(np.array([0, 10]), np.array([10, 15]), n_rows=4, stride=3)
        >>> windows.first_rows(np.arange(windows.n_samples)).tolist()
        [0, 3, 6, 10]
        """
        counts = np.maximum((stops - starts - n_rows) // stride + 1, 0)
        filled = counts > 0
        return WindowIndex(starts[filled], counts[filled], n_rows, stride)

    @cached_property
    def first_ids(self) -> IntArray:
        """Id of the first window of each stretch, and the number of windows."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @property
    def n_samples(self) -> int:
        """Number of windows."""
        return int(self.first_ids[-1])

    def first_sharing(self, ids: IntArray) -> IntArray:
        """Return the first window of its stretch that overlaps each of some windows."""
        which = np.searchsorted(self.first_ids, ids, "right") - 1
        return np.asarray(np.maximum(ids - self._n_sharing, self.first_ids[which]))

    def last_sharing(self, ids: IntArray) -> IntArray:
        """Return the last window of its stretch that overlaps each of some windows."""
        which = np.searchsorted(self.first_ids, ids, "right") - 1
        return np.asarray(np.minimum(ids + self._n_sharing, self.first_ids[which + 1] - 1))

    @property
    def _n_sharing(self) -> int:
        return (self.max_rows - 1) // self.stride

    def first_rows(self, ids: IntArray) -> IntArray:
        """Return the first row of some windows."""
        which = np.searchsorted(self.first_ids, ids, "right") - 1
        return np.asarray(self.starts[which] + (ids - self.first_ids[which]) * self.stride)

    def n_rows(self, ids: IntArray) -> IntArray:
        """Return how many rows some windows need: all the same."""
        return np.full(np.shape(ids), self.max_rows, np.int64)

    def count_before(self, rows: IntArray) -> IntArray:
        """Return how many windows start below each row."""
        if len(self.starts) == 0:
            return np.zeros(np.shape(rows), np.int64)
        which = np.maximum(np.searchsorted(self.starts, rows, "left") - 1, 0)
        started = -(-(rows - self.starts[which]) // self.stride)
        return np.asarray(self.first_ids[which] + np.clip(started, 0, self.counts[which]))

    def count_rows(self, starts: IntArray, stops: IntArray) -> int:
        """Return how many rows the windows of some ranges have.

        Ranges of one stretch count as if none of their windows overlapped those of another range.
        """
        n_windows = int((stops - starts).sum())
        # Of a run of windows, each has as many rows of its own as the stride; the last has all.
        own = min(self.stride, self.max_rows)
        inner = self.first_ids[1:-1]
        n_inner = np.searchsorted(inner, stops, "left") - np.searchsorted(inner, starts, "right")
        n_runs = len(starts) + int(n_inner.sum())
        return n_windows * own + n_runs * (self.max_rows - own)
