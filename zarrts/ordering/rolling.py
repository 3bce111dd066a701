"""The rolling, stratified order: a shuffle that reads each unit once, and batch i on demand."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.indexing.units import ChunkUnits
from zarrts.keyed import derive_key, keyed_bits, keyed_fractions
from zarrts.loops.permuting import permute
from zarrts.ordering.order import UNITS_PER_PART, Batching, Piece, filled_units, unit_sizes
from zarrts.types import IntArray

_PLACES_PER_SUM = 1024
_SAMPLES_PER_BLOCK, _MAX_STEPS_PER_BLOCK = 8192, 128
_STREAM_UNITS, _STREAM_GROUPS, _STREAM_OFFSETS, _STREAM_WITHIN, _STREAM_STEP = range(5)


class RollingOrder:
    """Units in random order, every subject evenly spread; each shares its samples out in time.

    The unit at place p spreads its samples, in random equal parts, over the steps
    p - span/2 .. p + span/2 - 1, reflected at both ends; the samples of a step are permuted.
    So a step reads from `span` units, each unit is read once, and batches are as good as those
    of a full shuffle from a span of about 128 on (and less noisy in what is spread evenly:
    subjects, and classes where the store is sorted by class).

    Parameters
    ----------
    units : ChunkUnits
    batching : Batching
    span : int
        How many units are open at once, at least 2. From twice the number of units on, every
        unit is spread over the whole epoch: a full shuffle.
    seed, epoch : int
        Not negative.
    max_steps : int
        A piece draws from at most so many steps, and so from span + max_steps - 1 units.

    Examples
    --------
    Six units of four samples; with a span of 2, each step draws from two units that stand side
    by side, and every sample comes once:

    >>> from zarrts.indexing.units import ChunkUnits, Ranges, SegmentGrid
    >>> every = Ranges.of_bounds(np.array([0]), np.array([24]))
    >>> one_subject = np.array([0]), np.array([0])
    >>> units = ChunkUnits([SegmentGrid(n_rows=24, chunk_rows=4)], every, one_subject)
    >>> batching = Batching(n_samples=24, batch_size=4)
    >>> order = RollingOrder(units, batching, span=2, seed=0, epoch=0)
    >>> places = {unit: place for place, unit in enumerate(order.units(0, 6).tolist())}
    >>> pieces = [piece for batch in range(6) for piece in order.pieces(batch)]
    >>> sorted(number for piece in pieces for number in piece.numbers.tolist()) == list(range(24))
    True
    >>> all(
    ...     piece.low <= places[number // 4] < piece.high <= piece.low + 2
    ...     for piece in pieces
    ...     for number in piece.numbers.tolist()
    ... )
    True
    """

    def __init__(
        self,
        units: ChunkUnits,
        batching: Batching,
        *,
        span: int,
        seed: int,
        epoch: int,
        max_steps: int = 1,
    ) -> None:
        self.batching = batching
        self._units = units
        self._order = unit_order(filled_units(units), units.groups(), seed, epoch)
        self._sums = _sums_of_parts(units, self._order)
        self._first = self._place_of(batching.start)
        self._count = self._place_of(batching.stop - 1) + 1 - self._first
        self._half = max(1, min(span // 2, self._count))
        self._max_steps = max_steps
        self._offset_key = derive_key(seed, epoch, _STREAM_OFFSETS)
        self._within_key = derive_key(seed, epoch, _STREAM_WITHIN)
        self._step_key = derive_key(seed, epoch, _STREAM_STEP)
        typical = max(1, (batching.stop - batching.start) // self._count)
        self._steps_per_block = min(_MAX_STEPS_PER_BLOCK, max(1, _SAMPLES_PER_BLOCK // typical))
        self._latest: _Block | None = None

    @property
    def n_places(self) -> int:
        """Number of units that hold samples of this rank."""
        return self._count

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        return self._order[self._first + start : self._first + stop].astype(np.int64)

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the samples of a batch, at most `max_steps` steps at a time."""
        start, stop = self.batching.bounds(batch)
        block = self._block_with(start)
        done = start
        while True:
            yield from self._pieces_of_block(block, batch, start, done, stop)
            done = block.start + len(block.places)
            if done >= stop:
                return
            block = self._block(block.index + 1, done)

    def _pieces_of_block(
        self, block: "_Block", batch: int, batch_start: int, start: int, stop: int
    ) -> Iterator[Piece]:
        low = start - block.start
        last = min(stop - block.start, len(block.places))
        while low < last:
            step = bisect_right(block.offsets, low) - 1
            end_step = min(step + self._max_steps, len(block.offsets) - 1)
            high = min(block.offsets[end_step], last)
            final_step = bisect_left(block.offsets, high) - 1
            yield Piece(
                batch=batch,
                start=block.start + low - batch_start,
                stop=block.start + high - batch_start,
                places=block.places[low:high],
                numbers=block.numbers[low:high],
                low=max(0, block.first_step + step - self._half + 1),
                high=min(self._count, block.first_step + final_step + self._half + 1),
            )
            low = high

    # Where units and steps stand ---------------------------------------------------------

    def _before_place(self, place: int) -> int:
        """Return how many samples of all ranks lie before a place among all ranks."""
        part = place // _PLACES_PER_SUM
        some = self._order[part * _PLACES_PER_SUM : place]
        return int(self._sums[part]) + int(unit_sizes(self._units, some).sum())

    def _prefix(self, place: int) -> int:
        """Return how many samples of this rank lie in the units before a place."""
        total = self._before_place(self._first + place)
        return min(max(total, self.batching.start), self.batching.stop) - self.batching.start

    def _place_of(self, sample: int) -> int:
        """Return the place, among all ranks, of the unit that holds a sample of the epoch."""
        part = int(np.searchsorted(self._sums, sample, "right")) - 1
        some = self._order[part * _PLACES_PER_SUM : (part + 1) * _PLACES_PER_SUM]
        ends = self._sums[part] + np.cumsum(unit_sizes(self._units, some))
        return part * _PLACES_PER_SUM + int(np.searchsorted(ends, sample, "right"))

    def _shares(self, start: int, stop: int) -> "_Shares":
        """Return what the units at places start to stop have to share out."""
        places = np.arange(start, stop)
        units = self.units(start, stop)
        edges = self._units.edges(units)
        sizes = self._units.edges(units + 1) - edges
        first = np.zeros(len(places), np.int64)
        counts = sizes.copy()
        # A unit on the border of two ranks gives its first samples, as permuted, to the lower.
        if start == 0 < stop:
            first[0] = self.batching.start - self._before_place(self._first)
            counts[0] -= first[0]
        if stop == self._count > start:
            counts[-1] -= self._before_place(self._first + self._count) - self.batching.stop
        return _Shares(
            places=places,
            edges=edges,
            sizes=sizes,
            first=first,
            counts=counts,
            offsets=keyed_fractions(self._offset_key, units),
            keys=keyed_bits(self._within_key, units),
            half=self._half,
        )

    def _before(self, step: int) -> int:
        """Return how many samples are drawn before a step."""
        half, count = self._half, self._count
        low, high = max(0, step - half), min(count, step + half)
        drawn = self._prefix(low) + int(self._shares(low, high).before(step).sum())
        # Steps below 0 fall on -1 - step, steps beyond the last on 2 · count - 1 - step.
        if step < half:
            drawn -= int(self._shares(0, min(count, half - step)).before(-step).sum())
        if step > count - half:
            tail = self._shares(max(0, 2 * count - step - half), count)
            drawn += int((tail.counts - tail.before(2 * count - step)).sum())
        return drawn

    # What a step draws -------------------------------------------------------------------

    def _block_with(self, sample: int) -> "_Block":
        """Return the block of steps that draws a sample of this rank."""
        latest = self._latest
        if latest is not None and latest.start <= sample:
            if sample < latest.start + len(latest.places):
                return latest
            if sample == latest.start + len(latest.places):
                return self._block(latest.index + 1, sample)
        low, high = 0, -(-self._count // self._steps_per_block)
        while high - low > 1:
            middle = (low + high) // 2
            if self._before(middle * self._steps_per_block) <= sample:
                low = middle
            else:
                high = middle
        block = self._block(low, self._before(low * self._steps_per_block))
        while sample >= block.start + len(block.places):  # steps may be empty
            block = self._block(block.index + 1, block.start + len(block.places))
        return block

    def _block(self, index: int, start: int) -> "_Block":
        first_step = index * self._steps_per_block
        last_step = min(first_step + self._steps_per_block, self._count)
        steps = np.arange(first_step, last_step)
        shares = self._shares(
            max(0, first_step - self._half + 1), min(self._count, last_step + self._half)
        )
        drawn = [shares.drawn(first_step, steps)]
        if first_step < self._half:
            drawn.append(shares.drawn(-last_step, steps[::-1]))
        if last_step > self._count - self._half:
            drawn.append(shares.drawn(2 * self._count - last_step, steps[::-1]))
        which, of_step, nth = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        within = permute(nth + shares.first[which], shares.sizes[which], shares.keys[which])
        numbers = shares.edges[which] + within
        order = self._shuffled(of_step - first_step, numbers)
        counts = np.bincount(of_step - first_step, minlength=len(steps))
        self._latest = _Block(
            index=index,
            start=start,
            first_step=first_step,
            places=shares.places[which[order]],
            numbers=numbers[order],
            offsets=[0, *np.cumsum(counts).tolist()],
        )
        return self._latest

    def _shuffled(self, of_step: IntArray, numbers: IntArray) -> IntArray:
        """Return where the samples of a block go: step by step, in random order in each.

        Sorting words that hold step, random bits and index takes a fifth of a lexsort's time.
        """
        index_bits = max(1, len(numbers).bit_length())
        step_shift = np.uint64(64 - _MAX_STEPS_PER_BLOCK.bit_length())
        drawn = keyed_bits(self._step_key, numbers) >> (np.uint64(64) - step_shift)
        index_mask = np.uint64((1 << index_bits) - 1)
        words = (of_step.astype(np.uint64) << step_shift) | (drawn & ~index_mask)
        words |= np.arange(len(numbers), dtype=np.uint64)
        words.sort()
        return (words & index_mask).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """The samples that some consecutive steps draw, in order; `start` counts those before."""

    index: int
    start: int
    first_step: int
    places: IntArray
    numbers: IntArray
    offsets: list[int]


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """The shares of units at some places over steps; all arrays have one entry a place.

    Of the `counts` samples of place p, sample j (as permuted, from `first` on) is drawn at step
    p - half + floor((j + offset) · 2 · half / count), before reflection.
    """

    places: IntArray
    edges: IntArray
    sizes: IntArray
    first: IntArray
    counts: IntArray
    offsets: NDArray[np.float64]
    keys: NDArray[np.uint64]
    half: int

    def before(self, step: int | IntArray) -> IntArray:
        """Return how many samples of each place are drawn before a step; (places, steps)."""
        steps = np.atleast_1d(step)
        since = steps[None, :] - self.places[:, None] + self.half
        drawn = np.ceil(since * self.counts[:, None] / (2 * self.half) - self.offsets[:, None])
        clipped = np.clip(drawn, 0, self.counts[:, None]).astype(np.int64)
        # The first share starts at sample 0, whatever the offset; the last ends at the last.
        clipped = np.where(since <= 0, 0, clipped)
        return np.where(since >= 2 * self.half, self.counts[:, None], clipped)

    def drawn(self, first: int, steps: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Return (index of place, step, nth sample) of what is drawn from some step on.

        `steps` are those that the virtual steps `first`, `first` + 1, ... fall on.
        """
        low, high = self.before(np.array([first, first + len(steps)])).T
        counts = high - low
        which = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(len(which)) + (low - np.cumsum(counts) + counts)[which]
        scale = 2 * self.half / np.maximum(self.counts, 1)
        since = ((nth + self.offsets[which]) * scale[which]).astype(np.int64)
        # Rounding must not move a sample out of reach of its unit, or out of these steps.
        virtual = self.places[which] - self.half + np.minimum(since, 2 * self.half - 1)
        return which, steps[np.clip(virtual - first, 0, len(steps) - 1)], nth


def _sums_of_parts(units: ChunkUnits, order: NDArray[np.uint32]) -> IntArray:
    """Return how many samples lie before every 1,024th place and, last, in all."""
    starts = np.arange(0, len(order), _PLACES_PER_SUM)
    sums = np.zeros(len(starts) + 1, np.int64)
    for start in range(0, len(order), UNITS_PER_PART):
        sizes = unit_sizes(units, order[start : start + UNITS_PER_PART])
        own = starts[start // _PLACES_PER_SUM : (start + UNITS_PER_PART) // _PLACES_PER_SUM]
        first = start // _PLACES_PER_SUM + 1
        sums[first : first + len(own)] = np.add.reduceat(sizes, own - start)
    return np.cumsum(sums)


def unit_order(
    filled: NDArray[np.uint32], groups: tuple[IntArray, IntArray], seed: int, epoch: int
) -> NDArray[np.uint32]:
    """Return the units in random order, the units of each group evenly spread.

    The k-th of the n units of a group, in random order, stands at (k + u) / n of the epoch,
    with one random u for each group. Sorting 64-bit words that hold key and unit, in place,
    takes a third of the memory and time of an argsort.
    """
    n_units = len(filled)
    unit_bits = max(1, (n_units - 1).bit_length())
    unit_mask = np.uint64((1 << unit_bits) - 1)
    first_units, codes = groups
    _, ranks = np.unique(codes, return_inverse=True)
    lengths = np.diff(np.append(np.searchsorted(filled, first_units), n_units))
    sizes = np.bincount(ranks, weights=lengths).astype(np.int64)
    group_starts = np.cumsum(sizes) - sizes
    group_shift = np.uint64(64 - max(1, (len(sizes) - 1).bit_length()))
    rank_of_unit = np.repeat(ranks.astype(np.min_scalar_type(len(sizes))), lengths)
    unit_key = derive_key(seed, epoch, _STREAM_UNITS)
    offsets = keyed_fractions(derive_key(seed, epoch, _STREAM_GROUPS), np.arange(len(sizes)))

    words = np.empty(n_units, np.uint64)
    parts = [
        slice(start, min(start + UNITS_PER_PART, n_units))
        for start in range(0, n_units, UNITS_PER_PART)
    ]
    for part in parts:
        index = np.arange(part.start, part.stop, dtype=np.uint64)
        drawn = keyed_bits(unit_key, index) >> (np.uint64(64) - group_shift)
        words[part] = (drawn & ~unit_mask) | index
        words[part] |= rank_of_unit[part].astype(np.uint64) << group_shift
    del rank_of_unit
    words.sort()
    key_bits = min(52, 64 - unit_bits)
    for part in parts:
        rank = (words[part] >> group_shift).astype(np.int64)
        nth = np.arange(part.start, part.stop) - group_starts[rank]
        fraction = (nth + offsets[rank]) / sizes[rank]
        key = np.minimum(fraction * 2.0**key_bits, 2.0**key_bits - 1).astype(np.uint64)
        words[part] = (key << np.uint64(unit_bits)) | (words[part] & unit_mask)
    # The units of each group are in order already: a sort that merges runs is done soon.
    words.sort(kind="stable")
    order = np.empty(n_units, np.uint32)
    for part in parts:
        order[part] = filled[words[part] & unit_mask]
    return order
