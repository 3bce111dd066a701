"""A uniformly random order of all samples: the exact shuffle, at the price of a read per sample."""

from collections.abc import Iterator

import numpy as np

from zarrts.indexing.units import ChunkUnits
from zarrts.keyed import derive_key
from zarrts.loops.permuting import permute
from zarrts.ordering.order import Batching, Piece, filled_units
from zarrts.types import IntArray

_STREAM = 5
_SAMPLES_PER_BLOCK, _MOST_SAMPLES = 1 << 13, 1 << 20


class UniformOrder:
    """Every order of the samples is as likely as any other, whatever fits into memory.

    Where units do not stay, a place is a sample: its unit is read for that one sample, and an epoch
    reads as many units as there are samples. Where they stay, a place is a unit, in the order in
    which the epoch first draws from them; so the first batch waits for few of them.

    Parameters
    ----------
    units : ChunkUnits
    batching : Batching
    seed, epoch : int
        Not negative.
    max_samples : int, or None
        A piece draws from at most so many units; None: all units stay in memory.
    """

    def __init__(
        self,
        units: ChunkUnits,
        batching: Batching,
        *,
        seed: int,
        epoch: int,
        max_samples: int | None,
    ) -> None:
        self.batching = batching
        self._units = units
        self._key = derive_key(seed, epoch, _STREAM)
        self._latest: tuple[int, IntArray] | None = None
        self._n_samples = batching.stop - batching.start
        self._max_samples = max_samples or self._n_samples
        self._in_turn: IntArray | None = None
        if max_samples is None:
            filled = filled_units(units).astype(np.int64)
            self._in_turn = self._units_in_turn(filled)
            self._by_unit = np.argsort(self._in_turn)

    @property
    def n_places(self) -> int:
        """Number of samples of this rank, or of units where these stay."""
        return self._n_samples if self._in_turn is None else len(self._in_turn)

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        if self._in_turn is not None:
            return self._in_turn[start:stop]
        return self._units.unit_of_number(self._numbers(start, stop))

    def _units_in_turn(self, filled: IntArray) -> IntArray:
        """Return the units that this rank draws from, in the order of their first samples.

        Those that none of the first million samples is in are last, as they lie in the store.
        """
        in_turn: IntArray = np.zeros(0, np.int64)
        most = min(self._n_samples, _MOST_SAMPLES)
        for start in range(0, most, _SAMPLES_PER_BLOCK):
            numbers = self._numbers(start, min(start + _SAMPLES_PER_BLOCK, most))
            drawn = np.concatenate([in_turn, self._units.unit_of_number(numbers)])
            _, first = np.unique(drawn, return_index=True)
            in_turn = drawn[np.sort(first)]
            if len(in_turn) == len(filled):
                return in_turn
        if most == self._n_samples:
            return in_turn
        return np.concatenate([in_turn, np.setdiff1d(filled, in_turn, assume_unique=True)])

    def _numbers(self, start: int, stop: int) -> IntArray:
        """Return which samples are drawn as the `start`-th and so on, before the `stop`-th."""
        first, last = start // _SAMPLES_PER_BLOCK, -(-stop // _SAMPLES_PER_BLOCK)
        blocks = [self._block(number) for number in range(first, last)]
        offset = first * _SAMPLES_PER_BLOCK
        drawn = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return drawn[start - offset : stop - offset]

    def _block(self, number: int) -> IntArray:
        # Many samples at once, because work on a few costs as much; the last ones are kept for the
        # next batch. Read once and assigned once, so that threads may ask for different ones.
        latest = self._latest
        if latest is None or latest[0] != number:
            start = number * _SAMPLES_PER_BLOCK
            stop = min(start + _SAMPLES_PER_BLOCK, self._n_samples)
            places = np.arange(self.batching.start + start, self.batching.start + stop)
            latest = self._latest = number, permute(places, self.batching.n_samples, self._key)
        return latest[1]

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the samples of a batch, at most `max_samples` at a time."""
        start, _ = self.batching.bounds(batch)
        for low, high in self.batching.parts(batch, self._max_samples):
            numbers, places = self._numbers(low, high), np.arange(low, high)
            first, last = low, high
            if self._in_turn is not None:
                units = self._units.unit_of_number(numbers)
                found = np.searchsorted(self._in_turn, units, sorter=self._by_unit)
                places = self._by_unit[found]
                first, last = 0, int(places.max()) + 1
            yield Piece(
                batch=batch,
                start=low - start,
                stop=high - start,
                places=places,
                numbers=numbers,
                low=first,
                high=last,
            )
