"""Windows at events: which rows they are, and which event each is of."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.timeline import Gaps, Timeline
from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True, eq=False)
class EventIndex:
    """Windows of one length that begin anywhere, no two of them at the same row.

    Attributes
    ----------
    starts : int64, shape (n_samples,)
        First row of each, ascending. No window crosses from one recording into the next.
    max_rows : int
        Rows that each window needs.

    Examples
    --------
    Windows of four rows; the second and the third overlap:

    >>> windows = EventIndex(np.array([0, 10, 12, 30]), 4)
    >>> windows.first_sharing(np.arange(4)).tolist(), windows.last_sharing(np.arange(4)).tolist()
    ([0, 1, 1, 3], [0, 2, 2, 3])
    """

    starts: IntArray
    max_rows: int

    @property
    def n_samples(self) -> int:
        """Number of windows."""
        return len(self.starts)

    def first_sharing(self, ids: IntArray) -> IntArray:
        """Return the first window that shares a row with each of some windows."""
        return np.searchsorted(self.starts, self.starts[ids] - self.max_rows, "right")

    def last_sharing(self, ids: IntArray) -> IntArray:
        """Return the last window that shares a row with each of some windows."""
        return np.searchsorted(self.starts, self.starts[ids] + self.max_rows, "left") - 1

    def first_rows(self, ids: IntArray) -> IntArray:
        """Return the first row of some windows."""
        return np.asarray(self.starts[ids])

    def n_rows(self, ids: IntArray) -> IntArray:
        """Return how many rows some windows need: all the same."""
        return np.full(np.shape(ids), self.max_rows, np.int64)

    def count_before(self, rows: IntArray) -> IntArray:
        """Return how many windows start below each row."""
        return np.searchsorted(self.starts, rows, "left")

    @cached_property
    def _own_before(self) -> IntArray:
        own = np.minimum(np.diff(self.starts), self.max_rows)
        return np.concatenate([[0], np.cumsum(own)]).astype(np.int64)

    def count_rows(self, starts: IntArray, stops: IntArray) -> int:
        """Return how many rows the windows of some ranges have, each row counted once.

        Ranges count as if none of their windows overlapped those of another range.
        """
        filled = stops > starts
        low, high = starts[filled], stops[filled]
        inner = self._own_before[high - 1] - self._own_before[low]
        return int(inner.sum()) + self.max_rows * len(low)


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events of one recording.

    Attributes
    ----------
    rows : int64, shape (n_events,)
        Counted in the recording; in any order, and perhaps outside of it.
    labels : array, shape (n_events,), or None
        Text or numbers.
    """

    rows: IntArray
    labels: AnyArray | None = None


class LazyRows:
    """Rows of a recording that are read when they are sliced."""

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[int, int], AnyArray]
    ) -> None:
        self.shape, self.dtype, self._read = shape, dtype, read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> AnyArray:
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise IndexError("rows of a recording are sliced in steps of 1")
        return self._read(start, max(start, stop))


@dataclass(frozen=True, kw_only=True, eq=False)
class EventRecording:
    """A recording in which a function looks for events.

    Attributes
    ----------
    subject : str, or None
        None of new data that say nothing of it.
    source : str
        The file.
    rate_hz : float, or None
    x : array-like, shape (time, channel)
        Values as stored, read where it is sliced.
    labels : function, or None
        Returns the labels of its rows as (first row of each run, label).
    gaps : Gaps, or None
    """

    subject: str | None
    source: str
    rate_hz: float | None
    x: LazyRows
    labels: Callable[[], tuple[IntArray, AnyArray]] | None = None
    gaps: Gaps | None = None

    @property
    def n_rows(self) -> int:
        """Number of time steps."""
        return len(self.x)

    def rows_at(self, seconds: AnyArray) -> IntArray:
        """Return the row at each of some times, in seconds from the first row.

        Raises
        ------
        SampleError
            If the rate is not known.
        """
        if self.rate_hz is None:
            raise SampleError(
                f"{self.source}: events are given in seconds, but the rate is not known; give rows "
                "in a column `row`, or convert with rate_hz=."
            )
        time = Timeline(rate_hz=self.rate_hz, gaps=self.gaps)
        return time.rows(np.asarray(seconds, np.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class EventWindows:
    """Windows at the events of some recordings.

    Attributes
    ----------
    index : EventIndex
    labels : array, shape (n_windows,), or None
        Of the event of each.
    n_left_out : int
        Events too near to the start or end of a recording, or to a gap.
    """

    index: EventIndex
    labels: AnyArray | None
    n_left_out: int

    @property
    def key(self) -> str:
        """A digest of where the windows begin, and of their labels."""
        digest = hashlib.blake2b(self.index.starts.astype("<i8").tobytes(), digest_size=16)
        if self.labels is not None:
            digest.update(repr(self.labels.dtype).encode() + np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


def windows_at(
    events: Sequence[Events],
    offsets: IntArray,
    breaks: IntArray,
    names: Sequence[str],
    *,
    before: int,
    n_rows: int,
) -> EventWindows:
    """Return the windows of all events that lie wholly in a stretch of their recording.

    Parameters
    ----------
    events : sequence of Events
        Of each recording.
    offsets : int64, shape (n_recordings + 1,)
        First row of each recording, and the number of rows.
    breaks : int64
        Rows before which something is missing, counted as `offsets` are.
    names : sequence of str
        Of the recordings, for messages.
    before, n_rows : int
        Rows from the first of a window to its event, and of a window.

    Raises
    ------
    SampleError
        If two events of one recording are at the same row, and their labels differ; or some have
        labels and some not.
    """
    if len({it.labels is None for it in events if len(it.rows)}) > 1:
        raise SampleError("at=: some events have labels and some have none; give all alike.")
    edges = np.union1d(offsets, breaks)
    starts, labels, n_left_out = [], [], 0
    for number, it in enumerate(events):
        order = np.argsort(it.rows, kind="stable")
        rows = np.asarray(it.rows, np.int64)[order]
        own = None if it.labels is None else it.labels[order]
        same = np.flatnonzero(rows[1:] == rows[:-1])
        if own is not None and len(differ := same[own[same] != own[same + 1]]):
            at = int(differ[0])
            raise SampleError(
                f"at=: {names[number]} has the events {own[at]!s} and {own[at + 1]!s} at the same "
                f"row {rows[at]:,}, and a window has one label; leave one of them out."
            )
        is_first = np.ones(len(rows), bool)
        is_first[same + 1] = False
        begin, end = int(offsets[number]), int(offsets[number + 1])
        first = rows + begin - before
        inside = is_first & (first >= begin) & (first + n_rows <= end)
        stretch = np.searchsorted(edges, first, "right")
        inside &= stretch == np.searchsorted(edges, first + n_rows - 1, "right")
        n_left_out += int((is_first & ~inside).sum())
        starts.append(first[inside])
        if own is not None and len(rows):
            labels.append(own[inside])
    index = EventIndex(np.concatenate([np.zeros(0, np.int64), *starts]), n_rows)
    of_windows = np.concatenate(labels) if labels else None
    return EventWindows(index=index, labels=of_windows, n_left_out=n_left_out)
