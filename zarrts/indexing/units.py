"""Sets of sample ids, and where samples lie in the chunks of a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.indexes import RowIndex, SampleIndex
from zarrts.lists import listed
from zarrts.types import IntArray

_MAX_RANGES = 8


@dataclass(frozen=True)
class Ranges:
    """A set of sample ids as sorted half-open ranges that do not touch.

    Whole subjects are a handful of ranges however many samples they have; single samples cost
    16 bytes each.

    Attributes
    ----------
    starts, stops : int64, shape (n_ranges,)
        starts[i] < stops[i] < starts[i + 1].
    """

    starts: IntArray
    stops: IntArray

    @staticmethod
    def of_ids(ids: IntArray) -> "Ranges":
        """Return the set of some sample ids, in any order; doubles count once.

        Raises
        ------
        SampleError
            If they are not whole numbers, such as a mask.
        """
        if ids.ndim != 1:
            raise SampleError("Sample ids are a list of whole numbers, such as samples.ids[:3].")
        if len(ids) and ids.dtype.kind not in "iu":
            raise SampleError(
                f"Sample ids are whole numbers, not {ids.dtype}; instead of a mask, give "
                "samples.ids[mask]."
            )
        ids = np.unique(np.asarray(ids, np.int64))
        breaks = np.flatnonzero(np.diff(ids) != 1) + 1
        firsts = np.concatenate([[0], breaks]) if len(ids) else np.zeros(0, np.int64)
        lasts = np.concatenate([breaks, [len(ids)]]) - 1 if len(ids) else np.zeros(0, np.int64)
        return Ranges(ids[firsts.astype(np.int64)], ids[lasts.astype(np.int64)] + 1)

    @staticmethod
    def of_bounds(starts: IntArray, stops: IntArray) -> "Ranges":
        """Return the union of sorted half-open ranges; empty ones vanish, touching ones join."""
        starts, stops = np.asarray(starts, np.int64), np.asarray(stops, np.int64)
        filled = stops > starts
        starts, stops = starts[filled], stops[filled]
        if len(starts) == 0:
            return Ranges(starts, stops)
        begins = np.concatenate([[True], starts[1:] > stops[:-1]])
        ends = np.concatenate([begins[1:], [True]])
        return Ranges(starts[begins], stops[ends])

    @cached_property
    def _before(self) -> IntArray:
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @property
    def sizes(self) -> IntArray:
        """Number of ids of each range."""
        return self.stops - self.starts

    def __len__(self) -> int:
        return int(self._before[-1])

    def ids(self, numbers: IntArray) -> IntArray:
        """Return the ids with some numbers, counted from 0 along the set."""
        numbers = np.asarray(numbers, np.int64)
        if len(self.starts) == 1:
            return np.asarray(numbers + self.starts[0])
        which = np.searchsorted(self._before, numbers, "right") - 1
        return np.asarray(self.starts[which] + numbers - self._before[which])

    def count_below(self, ids: IntArray) -> IntArray:
        """Return how many members are smaller than each id, member or not."""
        ids = np.asarray(ids, np.int64)
        if len(self.starts) == 0:
            return np.zeros(ids.shape, np.int64)
        if len(self.starts) == 1:
            start, stop = self.starts[0], self.stops[0]
            return np.asarray(np.minimum(np.maximum(ids, start), stop) - start)
        which = np.maximum(np.searchsorted(self.starts, ids, "right") - 1, 0)
        inside = np.clip(ids - self.starts[which], 0, self.stops[which] - self.starts[which])
        return np.asarray(self._before[which] + inside)

    def __and__(self, other: "Ranges") -> "Ranges":
        """Return the ids that are in both sets."""
        edges = np.unique(np.concatenate([self.starts, self.stops, other.starts, other.stops]))
        starts, stops = edges[:-1], edges[1:]
        both = self._holds(starts) & other._holds(starts)
        return Ranges.of_bounds(starts[both], stops[both])

    def __or__(self, other: "Ranges") -> "Ranges":
        """Return the ids that are in either of two sets."""
        return Ranges.union([self, other])

    @staticmethod
    def union(sets: "Sequence[Ranges]") -> "Ranges":
        """Return the ids that are in any of some sets, at least one."""
        starts = np.concatenate([it.starts for it in sets])
        stops = np.concatenate([it.stops for it in sets])
        order = np.argsort(starts, kind="stable")
        # One that lies within another does not end later than it.
        return Ranges.of_bounds(starts[order], np.maximum.accumulate(stops[order]))

    def _holds(self, ids: IntArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        if len(self.starts) == 0:
            return np.zeros(ids.shape, bool)
        which = np.maximum(np.searchsorted(self.starts, ids, "right") - 1, 0)
        return np.asarray((ids >= self.starts[which]) & (ids < self.stops[which]))


def format_ids(ids: IntArray) -> str:
    """Return sample ids, ascending, as people read them: "3, 7 to 12"."""
    ranges = Ranges.of_ids(ids)
    words = [
        f"{start:,}" if stop == start + 1 else f"{start:,} to {stop - 1:,}"
        for start, stop in zip(ranges.starts.tolist(), ranges.stops.tolist(), strict=True)
    ]
    return listed(words, _MAX_RANGES, what="ranges")


@dataclass(frozen=True, kw_only=True)
class SegmentGrid:
    """The rows of one segment, cut into chunks of `chunk_rows`; the last may be short."""

    n_rows: int
    chunk_rows: int


class ChunkUnits:
    """Runs of consecutive chunks as the units of an order.

    A sample belongs to the unit that its first row is in. Where samples are longer than a row, a
    unit is read together with the head of what follows, for those that end behind it.

    Parameters
    ----------
    grids : sequence of SegmentGrid
        In the order of the store; rows count through them.
    selection : Ranges
        Of sample ids.
    groups : (int64, int64), each of shape (n_runs,)
        First row and group (subject) of every run of rows of one group, ascending.
    index : SampleIndex, optional
        Which rows the samples are; by default each row is one.
    run : int
        Chunks of a unit; the last of a segment may have fewer.
    """

    def __init__(
        self,
        grids: Sequence[SegmentGrid],
        selection: Ranges,
        groups: tuple[IntArray, IntArray],
        index: SampleIndex | None = None,
        run: int = 1,
    ) -> None:
        self.selection = selection
        self.run = run
        self._grids = grids
        self._chunk_rows = np.array([grid.chunk_rows for grid in grids], np.int64)
        self._unit_rows = self._chunk_rows * run
        n_rows = np.array([grid.n_rows for grid in grids], np.int64)
        self._first_units = np.concatenate([[0], np.cumsum(-(-n_rows // self._unit_rows))])
        self._first_rows = np.concatenate([[0], np.cumsum(n_rows)])
        self.index: SampleIndex = index or RowIndex(int(self._first_rows[-1]))
        self._groups = groups

    @property
    def n_units(self) -> int:
        """Number of units in the store."""
        return int(self._first_units[-1])

    def with_run(self, run: int) -> "ChunkUnits":
        """Return units of another number of chunks, of the same samples."""
        return ChunkUnits(self._grids, self.selection, self._groups, self.index, run)

    def segment_of(self, units: IntArray) -> IntArray:
        """Return the segment of some units."""
        return np.searchsorted(self._first_units[1:], units, "right")

    def first_row_of(self, segment: int) -> int:
        """Return how many rows lie in the segments before one."""
        return int(self._first_rows[segment])

    @property
    def chunk_rows(self) -> int:
        """Most rows of a chunk."""
        return int(self._chunk_rows.max())

    @property
    def head_chunks(self) -> int:
        """Most chunks behind a unit that are read with it; 0 where samples are rows."""
        return int((-(-(self.index.max_rows - 1) // self._chunk_rows)).max())

    @property
    def rows(self) -> int:
        """Most rows that are read of a unit, in whole chunks."""
        head = -(-(self.index.max_rows - 1) // self._chunk_rows) * self._chunk_rows
        return int((self._unit_rows + head).max())

    def starts(self, units: IntArray) -> IntArray:
        """Return the first row of each unit; of `n_units`, the number of rows."""
        if len(self._unit_rows) == 1:
            return np.asarray(np.minimum(units * self._unit_rows[0], self._first_rows[1]))
        segment = np.minimum(self.segment_of(units), len(self._unit_rows) - 1)
        inside = units - self._first_units[segment]
        rows = self._first_rows[segment] + inside * self._unit_rows[segment]
        return np.asarray(np.minimum(rows, self._first_rows[segment + 1]))

    def edges(self, units: IntArray) -> IntArray:
        """Return the number of the first selected sample at or after each unit's start."""
        return self.selection.count_below(self.index.count_before(self.starts(units)))

    def chunks(self, units: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Return what has to be read of units that hold selected samples.

        Returns
        -------
        segment, first chunk, number of chunks, and the row of the unit where the first one starts
        """
        segment = self.segment_of(units)
        first = (units - self._first_units[segment]) * self.run
        if self.run == 1 and self.index.max_rows == 1:
            return segment, first, np.ones_like(first), np.zeros_like(first)
        chunk_rows, before = self._chunk_rows[segment], self._first_rows[segment]
        low = self.selection.ids(self.edges(units))
        high = self.selection.ids(self.edges(units + 1) - 1)
        start = self.index.first_rows(low) - before
        stop = self.index.first_rows(high) + self.index.n_rows(high) - before
        needed = start // chunk_rows
        n_chunks = -(-stop // chunk_rows) - needed
        return segment, needed, n_chunks, (needed - first) * chunk_rows

    def rows_read(self, units: IntArray) -> IntArray:
        """Return how many rows are read of units that hold selected samples."""
        segment, first, n_chunks, _ = self.chunks(units)
        chunk_rows = self._chunk_rows[segment]
        n_rows = self._first_rows[segment + 1] - self._first_rows[segment]
        return np.asarray(np.minimum((first + n_chunks) * chunk_rows, n_rows) - first * chunk_rows)

    def unit_of_number(self, numbers: IntArray) -> IntArray:
        """Return the unit that holds each of the selected samples."""
        return self.unit_of(self.selection.ids(numbers))

    def groups(self) -> tuple[IntArray, IntArray]:
        """Return (first unit, group) of every run of units of one group, units ascending.

        A unit belongs to the group of its first selected sample.
        """
        rows, codes = self._groups
        first_numbers = self.selection.count_below(self.index.count_before(rows))
        filled = np.diff(np.append(first_numbers, len(self.selection))) > 0
        codes, first_numbers = codes[filled], first_numbers[filled]
        units = self.unit_of(self.selection.ids(first_numbers))
        # A run that starts inside a unit owns it only if no earlier selected sample is there.
        owned = units + (self.edges(units) < first_numbers)
        last = np.append(owned[1:], self.n_units)
        kept = owned < last
        return owned[kept], codes[kept]

    def group_of(self, ids: IntArray) -> IntArray:
        """Return the group of each sample id."""
        rows, codes = self._groups
        return np.asarray(codes[np.searchsorted(rows, self.index.first_rows(ids), "right") - 1])

    def unit_of(self, ids: IntArray) -> IntArray:
        """Return the unit that holds each sample id."""
        rows = self.index.first_rows(ids)
        segment = np.searchsorted(self._first_rows[1:], rows, "right")
        inside = (rows - self._first_rows[segment]) // self._unit_rows[segment]
        return np.asarray(self._first_units[segment] + inside)
