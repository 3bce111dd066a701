"""Which units are open while one block of draws after the other is drawn from them."""

from dataclasses import dataclass

import numpy as np

from zarrts.types import IntArray


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which units are opened one after the other, and what each block of draws finds where.

    Draws are shuffled in blocks, and again in blocks that lie `shift` draws before those. Phase
    p, a block of the second shuffle, draws from the blocks p - 1 and p of the first.

    Attributes
    ----------
    block, shift : int
        Draws in a block, and by how many the blocks of the second shuffle lie before those.
    is_spread : bool
        Where not all samples are drawn: some of every unit, instead of all of some units.
    units : int64, shape (n_places,)
    first_places : int64
        Of each block, the first place that it opens.
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
    first_places: IntArray
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
        kept: int,
        is_spread: bool,
    ) -> "Layout":
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
        kept : int
            For how many more blocks a unit stays open, if all of these draw from it. Units that
            stay open for long stand in the way of those that come.
        """
        is_drawn = first <= last
        low, high = first[is_drawn] // block, last[is_drawn] // block
        counts = high - low + 1
        blocks = np.arange(counts.sum()) + np.repeat(low - np.cumsum(counts) + counts, counts)
        # What a unit is open for: once in a block, whatever the strata.
        uses = np.unique(np.repeat(units[is_drawn], counts) * (1 << 32) + blocks)
        units, blocks = uses >> 32, uses & ((1 << 32) - 1)
        is_start = (np.diff(units, prepend=-1) != 0) | (np.diff(blocks, prepend=-2) != 1)
        starts = np.flatnonzero(is_start)
        inside = np.arange(len(uses)) - np.repeat(starts, np.diff(np.append(starts, len(uses))))
        inside %= kept + 1
        opens = np.flatnonzero(inside == 0)
        n_uses = np.diff(np.append(opens, len(uses)))
        # What is open for long comes last, so that the places before it are soon free.
        opened = np.lexsort((rank[units[opens]], n_uses, blocks[opens]))
        place_of_open = np.empty(len(opens), np.int64)
        place_of_open[opened] = np.arange(len(opens))
        places = np.repeat(place_of_open, n_uses)
        opens = opens[opened]
        n_blocks = -(-n_draws // block)
        lowest = np.full(n_blocks + 1, len(opens))
        np.minimum.at(lowest, blocks, places)
        by_block = np.lexsort((units, blocks))
        return Layout(
            block=block,
            shift=block // 2 if n_blocks > 1 else 0,
            is_spread=is_spread,
            units=units[opens],
            first_places=np.searchsorted(blocks[opens], np.arange(n_blocks + 2)),
            lowest_places=np.minimum.accumulate(lowest[::-1])[::-1],
            keys=blocks[by_block] * len(rank) + units[by_block],
            places=places[by_block],
            n_units=len(rank),
        )

    @property
    def n_places(self) -> int:
        """Number of times that a unit is opened."""
        return len(self.units)

    @property
    def most_needed(self) -> int:
        """Most places from the lowest to the highest that a phase needs."""
        stops = self.first_places[1:]
        lowest = self.lowest_places[np.maximum(np.arange(len(stops)) - 1, 0)]
        return int((stops - lowest).max())

    def lowest(self, phase: int) -> int:
        """Return the lowest place that a phase, or one that follows, may need."""
        return int(self.lowest_places[max(0, phase - 1)])

    def places_of(self, blocks: IntArray, units: IntArray) -> IntArray:
        """Return where units that blocks draw from are open."""
        return self.places[np.searchsorted(self.keys, blocks * self.n_units + units)]
