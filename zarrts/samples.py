"""Which samples are selected, and where they lie in the chunks of a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zarrts.errors import SampleError
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
            If they are no whole numbers, such as a mask.
        """
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
        """How many ids each range holds."""
        return self.stops - self.starts

    def __len__(self) -> int:
        return int(self._before[-1])

    def ids(self, numbers: IntArray) -> IntArray:
        """Return the ids with some numbers, counted from 0 along the set."""
        numbers = np.asarray(numbers, np.int64)
        which = np.searchsorted(self._before, numbers, "right") - 1
        return np.asarray(self.starts[which] + numbers - self._before[which])

    def count_below(self, ids: IntArray) -> IntArray:
        """Return how many members are smaller than each id, member or not."""
        ids = np.asarray(ids, np.int64)
        if len(self.starts) == 0:
            return np.zeros(ids.shape, np.int64)
        which = np.maximum(np.searchsorted(self.starts, ids, "right") - 1, 0)
        inside = np.clip(ids - self.starts[which], 0, self.stops[which] - self.starts[which])
        return np.asarray(self._before[which] + inside)

    def __and__(self, other: "Ranges") -> "Ranges":
        """Return the ids that are in both sets."""
        edges = np.unique(np.concatenate([self.starts, self.stops, other.starts, other.stops]))
        starts, stops = edges[:-1], edges[1:]
        both = self._holds(starts) & other._holds(starts)
        return Ranges.of_bounds(starts[both], stops[both])

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
    more = f" and {len(words) - _MAX_RANGES} more ranges" if len(words) > _MAX_RANGES else ""
    return ", ".join(words[:_MAX_RANGES]) + more


@dataclass(frozen=True, kw_only=True)
class SegmentGrid:
    """How the samples of one segment are cut into chunks of `chunk_rows`; the last may be short."""

    n_samples: int
    chunk_rows: int

    @property
    def n_chunks(self) -> int:
        """Number of chunks on axis 0."""
        return -(-self.n_samples // self.chunk_rows)


class ChunkUnits:
    """The chunks of all segments as the units of an order.

    Parameters
    ----------
    grids : sequence of SegmentGrid
        In the order of the store; sample ids count through them.
    selection : Ranges
        Of sample ids.
    groups : (int64, int64), each of shape (n_runs,)
        First sample id and group (subject) of every run of samples of one group, ascending.
    """

    def __init__(
        self, grids: Sequence[SegmentGrid], selection: Ranges, groups: tuple[IntArray, IntArray]
    ) -> None:
        self.selection = selection
        self._rows = np.array([grid.chunk_rows for grid in grids], np.int64)
        self._first_units = np.cumsum([0, *(grid.n_chunks for grid in grids)])
        self._first_ids = np.cumsum([0, *(grid.n_samples for grid in grids)])
        self._groups = groups

    @property
    def n_units(self) -> int:
        """Number of chunks in the store."""
        return int(self._first_units[-1])

    def segments(self, units: IntArray) -> tuple[IntArray, IntArray]:
        """Return (segment, chunk within it) of some units."""
        segment = np.searchsorted(self._first_units[1:], units, "right")
        return segment, units - self._first_units[segment]

    def starts(self, units: IntArray) -> IntArray:
        """Return the first sample id of each unit; of `n_units`, the number of samples."""
        segment = np.minimum(
            np.searchsorted(self._first_units[1:], units, "right"), len(self._rows) - 1
        )
        chunk = units - self._first_units[segment]
        ids = self._first_ids[segment] + chunk * self._rows[segment]
        return np.asarray(np.minimum(ids, self._first_ids[segment + 1]))

    def edges(self, units: IntArray) -> IntArray:
        """Return the number of the first selected sample at or after each unit's start."""
        return self.selection.count_below(self.starts(units))

    def unit_of_number(self, numbers: IntArray) -> IntArray:
        """Return the unit that holds each of the selected samples."""
        return self.unit_of(self.selection.ids(numbers))

    def groups(self) -> tuple[IntArray, IntArray]:
        """Return (first unit, group) of every run of units of one group, units ascending.

        A unit belongs to the group of its first selected sample.
        """
        ids, codes = self._groups
        first_numbers = self.selection.count_below(ids)
        filled = np.diff(np.append(first_numbers, len(self.selection))) > 0
        ids, codes, first_numbers = ids[filled], codes[filled], first_numbers[filled]
        units = self.unit_of(self.selection.ids(first_numbers))
        # A run that starts inside a unit owns it only if no earlier selected sample is there.
        owned = units + (self.edges(units) < first_numbers)
        last = np.append(owned[1:], self.n_units)
        kept = owned < last
        return owned[kept], codes[kept]

    def unit_of(self, ids: IntArray) -> IntArray:
        """Return the unit that holds each sample id."""
        segment = np.searchsorted(self._first_ids[1:], ids, "right")
        inside = (ids - self._first_ids[segment]) // self._rows[segment]
        return np.asarray(self._first_units[segment] + inside)
