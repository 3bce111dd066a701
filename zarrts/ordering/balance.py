"""The balanced order: equal quotas in every batch, a shuffle that still reads units one by one.

Samples fall into strata, such as classes or subjects. An epoch makes as many draws of each: as
many as the largest stratum has samples, and the samples of others come again; or as many as the
smallest has, and of others only some come. Sample x of the epoch is draw x // n_strata of the
stratum at x % n_strata, so that in any run of samples the numbers of two strata differ by one at
most, and batch i is computed without walking the batches before it.

The draws of a stratum follow one order of units that is common to all, so that strata that lie in
the same units are drawn while these are open. Draws are shuffled within blocks, and again within
blocks that lie half a block further on; so a draw moves by a block and a half at most, and what
is drawn at a time comes from two blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits
from zarrts.keyed import derive_key, keyed_bits, keyed_fractions
from zarrts.loops.permuting import permute
from zarrts.ordering.blocks import BlockPlan
from zarrts.ordering.order import Batching, Piece, filled_units
from zarrts.ordering.rolling import unit_order
from zarrts.ordering.strata import Strata
from zarrts.types import IntArray

MAX_DRAWN = 1 << 20
"""Samples that are worked out at once."""

_STREAM_TURNS, _STREAM_FIRST, _STREAM_SECOND, _STREAM_CHOICE = range(6, 10)


def draws_per_rank(sizes: IntArray, world_size: int, *, repeats: bool) -> int:
    """Return how many draws each rank makes of each stratum in an epoch.

    With `repeats`, every sample is drawn at least once by some rank; without, none twice (unless
    a stratum has fewer samples than there are ranks).
    """
    if repeats:
        return -(-int(sizes.max()) // world_size)
    return max(1, int(sizes.min()) // world_size)


class BalancedOrder:
    """Every run of samples has equally many of each stratum, give or take one.

    Of n samples of a stratum with t draws in all, each is drawn t // n times or once more; if t
    is below n, t different ones are drawn, others in each epoch.

    Parameters
    ----------
    units : ChunkUnits
    batching : Batching
        Of n_strata · draws · world_size samples.
    strata : Strata
    slots : int, or None
        How many units may be open at once; None if all fit.
    seed, epoch : int
    max_drawn : int
        How many samples are worked out at once; of more, the epoch is cut into blocks.

    Raises
    ------
    SampleError
        If fewer units fit into memory than a draw of each stratum needs.
    """

    def __init__(
        self,
        units: ChunkUnits,
        batching: Batching,
        strata: Strata,
        *,
        slots: int | None,
        seed: int,
        epoch: int,
        max_drawn: int = MAX_DRAWN,
    ) -> None:
        self.batching = batching
        self._strata, self._slots, self._max_drawn = strata, slots, max_drawn
        n_strata = len(strata.sizes)
        self._draws = (batching.stop - batching.start) // n_strata
        self._all_draws = self._draws * batching.world_size
        self._first_key = derive_key(seed, epoch, _STREAM_FIRST)
        self._second_key = derive_key(seed, epoch, _STREAM_SECOND)
        self._choice_key = derive_key(seed, epoch, _STREAM_CHOICE)
        turns_key = derive_key(seed, epoch, _STREAM_TURNS)
        self._turns = permute(np.arange(n_strata), n_strata, turns_key)  # whose turn is when

        order = unit_order(filled_units(units), units.groups(), seed, epoch).astype(np.int64)
        self._rank = np.zeros(units.n_units, np.int64)
        self._rank[order] = np.arange(len(order))
        pairs = np.lexsort((self._rank[strata.unit], strata.stratum))
        self._first, self._unit = strata.first[pairs], strata.unit[pairs]
        self._edges = np.concatenate([[0], np.cumsum(strata.count[pairs])])
        self._stratum = strata.stratum[pairs]
        self._layout = self._best_layout(range(self._all_draws))
        if batching.world_size > 1:
            # All ranks spread their draws alike, or one would draw what is another's.
            mine = range(self._draws * batching.rank, self._draws * (batching.rank + 1))
            self._layout = self._fitting(mine, is_spread=self._layout.is_spread)
        if not self._fits(self._layout):
            needed = self._layout.most_needed / (slots or 1)
            raise SampleError(
                f"balance= has {n_strata:,} groups, more than memory holds parts of the store to "
                f"mix them; raise memory {needed:.2f} times, or balance by fewer groups."
            )
        self._slot_of, self._busy_until = None, None
        if slots is not None:
            self._slot_of, self._busy_until = self._layout.slots(slots)
        self._latest: _Phase | None = None
        self._blocks: dict[int, IntArray] = {}

    @property
    def n_places(self) -> int:
        """Number of times that a unit is read."""
        return self._layout.n_places

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        return self._layout.units[start:stop]

    def slots(self, places: IntArray) -> IntArray | None:
        """Return the slots of memory of units at some places; None if each has its own."""
        return None if self._slot_of is None else self._slot_of[places]

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the samples of a batch, those of one phase at a time."""
        start, stop = self.batching.bounds(batch)
        done = start
        while done < stop:
            phase = self._phase_of(done // len(self._turns))
            inside = done - phase.start
            end = min(inside + stop - done, len(phase.numbers))
            part = slice(inside, end)
            yield Piece(
                batch=batch,
                start=done - start,
                stop=done - start + end - inside,
                places=phase.places[part],
                numbers=phase.numbers[part],
                low=self._layout.lowest(phase.index),
                high=int(phase.places[part].max()) + 1,
                limit=self._limit(phase.index),
            )
            done += end - inside

    def _limit(self, phase: int) -> int | None:
        """Return the first place whose slot is still in use in a phase."""
        if self._busy_until is None:
            return None
        return int(np.searchsorted(self._busy_until, phase, "left"))

    # Which sample a draw is --------------------------------------------------------------

    def _phase_of(self, draw: int) -> "_Phase":
        """Return the phase with a draw of this rank; the last one is kept."""
        index = (draw + self._layout.shift) // self._layout.block
        latest = self._latest
        if latest is None or latest.index != index:
            latest = self._latest = self._work_out(index)
        return latest

    def _work_out(self, index: int) -> "_Phase":
        layout = self._layout
        if layout.shift:
            start = max(index * layout.block - layout.shift, 0)
            stop = min((index + 1) * layout.block - layout.shift, self._draws)
            blocks = range(start // layout.block, (stop - 1) // layout.block + 1)
            drawn = np.concatenate([self._block(it) for it in blocks], axis=2)
            start_inside = start - blocks[0] * layout.block
            drawn = drawn[:, :, start_inside : start_inside + stop - start]
            drawn = self._spread(drawn, self._second_key, index)
        else:
            start, drawn = index * layout.block, self._block(index)
        members, pairs, block_of = drawn
        numbers = self._strata.members[self._first[pairs] + members - self._edges[pairs]]
        places = layout.places_of(block_of, self._unit[pairs])
        return _Phase(
            index=index,
            start=start * len(self._turns),
            numbers=numbers.T.astype(np.int64).ravel(),
            places=places.T.ravel(),
        )

    def _block(self, index: int) -> IntArray:
        """Return what a block of the first shuffle draws: member, pair, block; (3, turn, draw)."""
        kept = self._blocks.get(index)
        if kept is not None:
            return kept
        start = index * self._layout.block
        draws = np.arange(start, min(start + self._layout.block, self._draws))
        draws = draws[None, :] + self._draws * self.batching.rank
        stratum = self._turns[:, None]
        members = self._strata.starts[stratum] + self._sample_of(stratum, draws)
        pairs = np.searchsorted(self._edges, members, "right") - 1
        drawn = np.stack([members, pairs, np.full(members.shape, index)])
        drawn = self._spread(drawn, self._first_key, index)
        self._blocks = {**{k: it for k, it in self._blocks.items() if k == index - 1}, index: drawn}
        return drawn

    def _spread(self, drawn: IntArray, key: np.uint64, index: int) -> IntArray:
        """Return draws in random order, those of each pair spread evenly; shape (3, turn, draw).

        Of the n draws of a pair, in random order, the k-th stands at (k + u) / n of the way, with
        one random u for each pair. So a few batches that follow each other have about the same
        share of every unit that is open, which makes them less alike than chance would.
        """
        pairs = drawn[1]
        n_draws = pairs.shape[1]
        bits = keyed_bits(key, np.arange(pairs.size) + (index << 32)).reshape(pairs.shape)
        order = np.lexsort((bits.ravel(), pairs.ravel()))
        ordered = pairs.ravel()[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        counts = np.diff(np.append(starts, len(ordered)))
        nth = np.arange(len(ordered)) - np.repeat(starts, counts)
        offsets = np.repeat(keyed_fractions(key ^ np.uint64(index), ordered[starts]), counts)
        at = np.empty(len(ordered))
        at[order] = (nth + offsets) / np.repeat(counts, counts)
        index_bits = max(1, (n_draws - 1).bit_length())
        words = (at * 2.0**52).astype(np.uint64).reshape(pairs.shape) << np.uint64(12)
        mask = np.uint64((1 << index_bits) - 1)
        words = (words & ~mask) | np.arange(n_draws, dtype=np.uint64)
        words.sort(axis=1)
        return np.take_along_axis(drawn, (words & mask).astype(np.int64)[None], axis=2)

    def _sample_of(self, stratum: IntArray, draws: IntArray) -> IntArray:
        """Return which sample of its stratum, in the order of units, a draw is."""
        sizes = self._strata.sizes[stratum]
        low = draws * sizes // self._all_draws
        is_partial = sizes > self._all_draws
        if not is_partial.any():
            return low
        if not self._layout.is_spread:
            return np.where(is_partial, draws, low)
        width = (draws + 1) * sizes // self._all_draws - low
        drawn = keyed_bits(self._choice_key, (stratum << 40) + draws) >> np.uint64(32)
        chosen = (drawn.astype(np.int64) * np.maximum(width, 1)) >> 32
        return low + np.where(is_partial, chosen, 0)

    # Which units are open when -----------------------------------------------------------

    def _best_layout(self, draws: range) -> BlockPlan:
        """Return the layout that reads least of those that fit, else the one that needs least."""
        found = [self._fitting(draws, is_spread=True)]
        if (self._strata.sizes > self._all_draws).any():
            found.append(self._fitting(draws, is_spread=False))
        fitting = [it for it in found if self._fits(it)]
        if fitting:
            return min(fitting, key=lambda it: it.n_places)
        return min(found, key=lambda it: it.most_needed)

    def _fits(self, layout: BlockPlan) -> bool:
        return self._slots is None or layout.most_needed <= self._slots

    def _fitting(self, draws: range, *, is_spread: bool) -> BlockPlan:
        """Return the layout with the longest blocks whose units fit into memory, or the shortest.

        Longer blocks mix better, and take less work to plan.
        """
        first, last = self._draws_of_pairs(draws, is_spread)

        def layout(block: int) -> BlockPlan:
            return BlockPlan.of(
                first,
                last,
                self._unit,
                self._rank,
                n_draws=len(draws),
                block=block,
                is_spread=is_spread,
            )

        n_blocks = -(-len(draws) * len(self._turns) // self._max_drawn)
        block = -(-len(draws) // n_blocks)
        if self._slots is None:
            return layout(block)
        # An eighth is for the units of the next phase, read while one is drawn.
        wanted = self._slots - self._slots // 8
        found, too_long = layout(block), block
        while found.most_needed > wanted and block > 1:
            too_long, block = block, block // 2
            found = layout(block)
        while too_long - block > max(1, block // 16):
            middle = (block + too_long) // 2
            longer = layout(middle)
            if longer.most_needed > wanted:
                too_long = middle
            else:
                found, block = longer, middle
        return found

    def _draws_of_pairs(self, draws: range, is_spread: bool) -> tuple[IntArray, IntArray]:
        """Return the first and last of some draws, from 0 on, that can be of each pair."""
        low = self._edges[:-1] - self._strata.starts[self._stratum]
        high = self._edges[1:] - self._strata.starts[self._stratum]
        sizes, n_draws = self._strata.sizes[self._stratum], self._all_draws
        first = np.minimum(-(-low * n_draws // sizes), ((low + 1) * n_draws - 1) // sizes)
        last = (high * n_draws - 1) // sizes
        if not is_spread:
            is_partial = sizes > n_draws
            first = np.where(is_partial, low, first)
            last = np.where(is_partial, np.minimum(high, n_draws) - 1, last)
        return np.maximum(first - draws.start, 0), np.minimum(last - draws.start, len(draws) - 1)


@dataclass(frozen=True, kw_only=True)
class _Phase:
    """The samples of a phase, in order, and where they are; `start` counts those before."""

    index: int
    start: int
    numbers: IntArray
    places: IntArray
