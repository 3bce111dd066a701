"""Cut an epoch into batches; define what an order says of each; give the order of the source.

Pure functions of (selection, batch size, span, seed, epoch, rank): batch i is computed without
walking the batches before it.

A *unit* is what is read at once, a chunk. Selected samples are numbered 0 .. n - 1 in source
order ("positions" would be ambiguous here: a *place* is where a unit stands in the order of the
epoch, a *step* is a point in time on the same axis), and unit u holds the consecutive numbers
edges(u) .. edges(u + 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits
from zarrts.types import IntArray

UNITS_PER_PART = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Batching:
    """The cut of an epoch into batches for each rank.

    Every rank gets `n_batches` batches; rank r draws from the samples
    n·r // world_size to n·(r + 1) // world_size of the epoch.
    """

    n_samples: int
    batch_size: int
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SampleError(f"batch_size is {self.batch_size}; it has to be at least 1.")
        if not 0 <= self.rank < self.world_size:
            raise SampleError(
                f"rank is {self.rank}, but with world_size={self.world_size} it has to lie "
                f"between 0 and {self.world_size - 1}."
            )
        if self.n_samples == 0:
            raise SampleError("The selection holds no samples; choose other subjects or classes.")
        if self.n_samples < self.world_size:
            raise SampleError(
                f"{self.n_samples} samples cannot be shared by {self.world_size} processes; "
                "use fewer processes."
            )
        if self.n_batches == 0:
            raise SampleError(
                f"With drop_last=True, {self.n_samples // self.world_size} samples make no batch "
                f"of {self.batch_size}; lower batch_size."
            )

    @cached_property
    def start(self) -> int:
        """First sample of this rank, counted along the epoch's units."""
        return self.n_samples * self.rank // self.world_size

    @cached_property
    def stop(self) -> int:
        """One after the last sample of this rank."""
        return self.n_samples * (self.rank + 1) // self.world_size

    @cached_property
    def n_batches(self) -> int:
        """Number of batches, the same on every rank."""
        per_rank = self.n_samples // self.world_size
        if self.drop_last:
            return per_rank // self.batch_size
        return max(1, -(-per_rank // self.batch_size))

    def bounds(self, batch: int) -> tuple[int, int]:
        """Return where a batch starts and stops among the samples of this rank."""
        if not 0 <= batch < self.n_batches:
            raise IndexError(f"batch {batch} of {self.n_batches}")
        start = batch * self.batch_size
        is_last = batch == self.n_batches - 1 and not self.drop_last
        # A rank with one sample more than the others gives it in its last batch.
        return start, self.stop - self.start if is_last else start + self.batch_size

    def parts(self, batch: int, max_samples: int) -> Iterator[tuple[int, int]]:
        """Yield where parts of a batch start and stop, each of at most so many samples."""
        start, stop = self.bounds(batch)
        for low in range(start, stop, max_samples):
            yield low, min(low + max_samples, stop)


@dataclass(frozen=True)
class Piece:
    """Samples of one batch that can be gathered once some places are open.

    Attributes
    ----------
    batch : int
    start, stop : int
        Where in the batch they go.
    places : int64, shape (stop - start,)
        Place in the order of the epoch of the unit that holds each.
    numbers : int64, shape (stop - start,)
        Which of the selected samples.
    low, high : int
        This piece reads places below `high`; it and all later ones read none below `low`.
    limit : int, or None
        Places below may be opened while this piece is drawn from, once all before it are done;
        None: as many from `low` on as fit.
    """

    batch: int
    start: int
    stop: int
    places: IntArray
    numbers: IntArray
    low: int
    high: int
    limit: int | None = None


class Order(Protocol):
    """An order, as the loader asks it."""

    batching: Batching

    @property
    def n_places(self) -> int:
        """Number of units that hold samples of this rank."""
        ...

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        ...

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the pieces of a batch, in order."""
        ...


@runtime_checkable
class Seated(Protocol):
    """An order that says which slot of memory each place has, instead of all in turn."""

    def slots(self, places: IntArray) -> IntArray | None:
        """Return the slots of units at some places; None if each unit has its own."""
        ...


class SourceOrder:
    """Samples one after the other, as they lie in the store.

    Parameters
    ----------
    units : ChunkUnits
    batching : Batching
    max_units : int
        A piece is from at most so many units.
    """

    def __init__(self, units: ChunkUnits, batching: Batching, *, max_units: int = 1) -> None:
        self.batching = batching
        self._max_units = max_units
        starts = filled_units(units).astype(np.int64)
        edges = units.edges(starts)
        first = np.searchsorted(edges, batching.start, "right") - 1
        last = np.searchsorted(edges, batching.stop, "left")
        self._starts = starts[first:last]
        self._edges = np.append(edges[first:last], batching.stop)

    @property
    def n_places(self) -> int:
        """Number of units that hold samples of this rank."""
        return len(self._starts)

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        return self._starts[start:stop]

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the samples of a batch, of at most `max_units` units at a time."""
        start, stop = self.batching.bounds(batch)
        offset = self.batching.start
        first = int(np.searchsorted(self._edges, offset + start, "right")) - 1
        last = int(np.searchsorted(self._edges, offset + stop, "left"))
        for low in range(first, last, self._max_units):
            high = min(low + self._max_units, last)
            edges = np.clip(self._edges[low : high + 1], offset + start, offset + stop)
            yield Piece(
                batch=batch,
                start=int(edges[0]) - offset - start,
                stop=int(edges[-1]) - offset - start,
                places=np.repeat(np.arange(low, high), np.diff(edges)),
                numbers=np.arange(edges[0], edges[-1]),
                low=low,
                high=high,
            )


def unit_sizes(units: ChunkUnits, some: NDArray[Any]) -> IntArray:
    """Return how many selected samples some units hold."""
    some = some.astype(np.int64)
    return units.edges(some + 1) - units.edges(some)


def filled_units(units: ChunkUnits) -> NDArray[np.uint32]:
    """Return the units that hold selected samples, ascending."""
    parts = []
    for start in range(0, units.n_units, UNITS_PER_PART):
        stop = min(start + UNITS_PER_PART, units.n_units)
        edges = units.edges(np.arange(start, stop + 1))
        parts.append((start + np.flatnonzero(np.diff(edges))).astype(np.uint32))
    return np.concatenate(parts) if parts else np.zeros(0, np.uint32)
