"""A uniformly random order of all samples: the exact shuffle, at the price of a read per sample."""

from collections.abc import Iterator

import numpy as np

from zarrts.indexing.units import ChunkUnits
from zarrts.keyed import derive_key, permute
from zarrts.ordering.order import Batching, Piece
from zarrts.types import IntArray

_STREAM = 5


class UniformOrder:
    """Every order of the samples is as likely as any other.

    A place is a sample here: its unit is read for that one sample, so that unless all units fit
    into memory, an epoch reads as many units as there are samples.

    Parameters
    ----------
    units : ChunkUnits
    batching : Batching
    seed, epoch : int
        Not negative.
    max_samples : int
        A piece draws from at most so many units.
    """

    def __init__(
        self, units: ChunkUnits, batching: Batching, *, seed: int, epoch: int, max_samples: int
    ) -> None:
        self.batching = batching
        self._units = units
        self._key = derive_key(seed, epoch, _STREAM)
        self._max_samples = max_samples

    @property
    def n_places(self) -> int:
        """Number of samples of this rank."""
        return self.batching.stop - self.batching.start

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        return self._units.unit_of_number(self._numbers(start, stop))

    def _numbers(self, start: int, stop: int) -> IntArray:
        places = np.arange(self.batching.start + start, self.batching.start + stop)
        return permute(places, self.batching.n_samples, self._key)

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the samples of a batch, at most `max_samples` at a time."""
        start, _ = self.batching.bounds(batch)
        for low, high in self.batching.parts(batch, self._max_samples):
            yield Piece(
                batch=batch,
                start=low - start,
                stop=high - start,
                places=np.arange(low, high),
                numbers=self._numbers(low, high),
                low=low,
                high=high,
            )
