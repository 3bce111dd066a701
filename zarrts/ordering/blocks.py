"""Plan the units that are open while blocks of draws are taken from them, one after the other."""

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zarrts.types import IntArray


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """The units that are opened one after the other, and where each block of draws finds its own.

    Draws are shuffled in blocks, and again in blocks that lie `shift` draws before those. Phase
    p, a block of the second shuffle, draws from the blocks p - 1 and p of the first.

    A unit is open from the first of some consecutive blocks that draw from it to the last; places
    count the openings. Units of small strata stay open for long, others are soon done with: so
    each gets a slot of memory that is free then, whichever that is.

    Attributes
    ----------
    block, shift : int
        Draws in a block, and by how many the blocks of the second shuffle lie before those.
    is_spread : bool
        Where not all samples are drawn: some of every unit, instead of all of some units.
    units : int64, shape (n_places,)
    first_phases, last_phases : int64, shape (n_places,)
        The phases in which each place is open; the first ones ascend.
    lowest_places : int64
        Of each block, the lowest place that it, or one that follows, draws from.
    keys, places : int64
        For each block and unit that it draws from, sorted by both, the place where it is open.
    n_units : int
        In the store.
    """

    block: int
    shift: int
    is_spread: bool
    units: IntArray
    first_phases: IntArray
    last_phases: IntArray
    lowest_places: IntArray
    keys: IntArray
    places: IntArray
    n_units: int

    @staticmethod
    def of(
        first: IntArray,
        last: IntArray,
        units: IntArray,
        rank: IntArray,
        *,
        n_draws: int,
        block: int,
        is_spread: bool,
    ) -> "BlockPlan":
        """Lay out units for blocks of draws.

        Parameters
        ----------
        first, last : int64, shape (n_pairs,)
            Which draws may need what a unit holds; none if first > last.
        units : int64, shape (n_pairs,)
            Which unit that is.
        rank : int64, shape (n_units,)
            Where each unit stands in the order in which they are opened.
        n_draws : int
            In all.
        """
        is_drawn = first <= last
        low, high = first[is_drawn] // block, last[is_drawn] // block
        counts = high - low + 1
        blocks = np.arange(counts.sum()) + np.repeat(low - np.cumsum(counts) + counts, counts)
        # What a unit is open for: once in a block, whatever the strata.
        uses = np.unique(np.repeat(units[is_drawn], counts) * (1 << 32) + blocks)
        units, blocks = uses >> 32, uses & ((1 << 32) - 1)
        is_start = (np.diff(units, prepend=-1) != 0) | (np.diff(blocks, prepend=-2) != 1)
        opens = np.flatnonzero(is_start)
        n_uses = np.diff(np.append(opens, len(uses)))
        opened = np.lexsort((rank[units[opens]], blocks[opens]))
        place_of_open = np.empty(len(opens), np.int64)
        place_of_open[opened] = np.arange(len(opens))
        places = np.repeat(place_of_open, n_uses)
        opens, n_uses = opens[opened], n_uses[opened]
        n_blocks = -(-n_draws // block)
        shift = block // 2 if n_blocks > 1 else 0
        lowest = np.full(n_blocks + 1, len(opens))
        np.minimum.at(lowest, blocks, places)
        by_block = np.lexsort((units, blocks))
        return BlockPlan(
            block=block,
            shift=shift,
            is_spread=is_spread,
            units=units[opens],
            first_phases=blocks[opens],
            last_phases=blocks[opens] + n_uses - 1 + (n_blocks > 1),
            lowest_places=np.minimum.accumulate(lowest[::-1])[::-1],
            keys=blocks[by_block] * len(rank) + units[by_block],
            places=places[by_block],
            n_units=len(rank),
        )

    @property
    def n_places(self) -> int:
        """Number of times that a unit is opened."""
        return len(self.units)

    @cached_property
    def most_needed(self) -> int:
        """Most units that are open in one phase."""
        change = np.bincount(self.first_phases, minlength=int(self.last_phases.max()) + 2)
        change[: self.last_phases.max() + 2] -= np.bincount(self.last_phases + 1)
        return int(np.cumsum(change).max())

    def lowest(self, phase: int) -> int:
        """Return the lowest place that a phase, or one that follows, may need."""
        return int(self.lowest_places[max(0, phase - 1)])

    def places_of(self, blocks: IntArray, units: IntArray) -> IntArray:
        """Return where units that blocks draw from are open."""
        return self.places[np.searchsorted(self.keys, blocks * self.n_units + units)]

    def slots(self, n_slots: int) -> tuple[IntArray, IntArray]:
        """Return the slot of each place, and the phase until which that holds another unit.

        Parameters
        ----------
        n_slots : int
            At least `most_needed`.

        Returns
        -------
        slots, busy_phases : int64, shape (n_places,)
            -1 for a slot that was never used; these phases ascend.
        """
        slots = np.empty(self.n_places, np.int64)
        busy = np.empty(self.n_places, np.int64)
        closed = np.argsort(self.last_phases, kind="stable").tolist()
        last = self.last_phases.tolist()
        free = deque((slot, -1) for slot in range(n_slots))
        done = 0
        for place, phase in enumerate(self.first_phases.tolist()):
            while last[closed[done]] < phase:
                free.append((int(slots[closed[done]]), last[closed[done]]))
                done += 1
            slots[place], busy[place] = free.popleft()
        return slots, busy
