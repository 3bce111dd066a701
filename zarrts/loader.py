"""The batches of any epoch, from one budget of memory."""

import weakref
from dataclasses import dataclass

import numpy as np

from zarrts.finish import Finish
from zarrts.memory import MemoryPlan, Readers, UnitMemory, aligned_empty, fetch
from zarrts.order import Batching, Order, SourceOrder
from zarrts.rolling import RollingOrder
from zarrts.samples import ChunkUnits
from zarrts.stream import BatchStream
from zarrts.types import Batch

_SOURCE_ORDER_SLOTS = 32


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """What fixes the batches of every epoch, and the resources that make them."""

    batching: Batching
    memory_bytes: int
    shuffle: bool = True
    seed: int = 0
    finish: Finish
    n_threads: int = 2


class EpochLoader:
    """Makes the batches of any epoch; at most one stream of it runs at a time.

    `close` gives back files and memory; a later call takes them again.
    """

    def __init__(self, readers: Readers, units: ChunkUnits, options: LoaderOptions) -> None:
        self._readers, self._units, self._options = readers, units, options
        self.plan = MemoryPlan.of(options.memory_bytes, readers.unit_bytes)
        self._max_ready = self.plan.count_ready(self._batch_bytes())
        self._memory: UnitMemory | None = None
        self._order: tuple[int, Order] | None = None
        self._stream: weakref.ref[BatchStream] | None = None

    def _batch_bytes(self) -> int:
        x, y = self._readers.x[0].spec, self._readers.y[0].spec
        values = x.row_bytes // x.dtype.itemsize
        per_sample = values * self._options.finish.dtype.itemsize + y.row_bytes
        start, stop = self.batching.bounds(self.n_batches - 1)
        return max(min(self.batching.batch_size, stop), stop - start) * per_sample

    @property
    def batching(self) -> Batching:
        """How the samples are cut into batches."""
        return self._options.batching

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch."""
        return self._options.batching.n_batches

    def order(self, epoch: int) -> Order:
        """Return the order of an epoch; the last one is kept."""
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._make_order(epoch))
        return self._order[1]

    def _make_order(self, epoch: int) -> Order:
        options = self._options
        if not options.shuffle:
            return SourceOrder(self._units, options.batching)
        n_units = self._units.n_units
        span = 2 * n_units if self._unit_memory().keeps_all else self.plan.span
        return RollingOrder(
            self._units,
            options.batching,
            span=span,
            seed=options.seed,
            epoch=epoch,
            max_steps=self.plan.max_steps,
        )

    def _unit_memory(self) -> UnitMemory:
        if self._memory is None:
            slots = self.plan.slots
            if not self._options.shuffle:
                slots = min(slots, _SOURCE_ORDER_SLOTS)
            self._memory = UnitMemory(self._units, self._readers, slots)
        return self._memory

    def stream(self, epoch: int, first_batch: int = 0) -> BatchStream:
        """Return the batches of an epoch from some batch on; ends the stream before."""
        self._end_stream()
        stream = BatchStream(
            self.order(epoch),
            self._units,
            self._readers,
            self._unit_memory(),
            self._options.finish,
            epoch=epoch,
            first_batch=first_batch,
            max_ready=self._max_ready,
            n_threads=self._options.n_threads,
        )
        self._stream = weakref.ref(stream)
        return stream

    def batch(self, epoch: int, index: int) -> Batch:
        """Return one batch by itself: the same as in the stream, without its speed."""
        order = self.order(epoch)
        numbers = np.concatenate([piece.numbers for piece in order.pieces(index)])
        ids = self._units.selection.ids(numbers)
        stored, y = fetch(self._readers, self._units, ids)
        finish = self._options.finish
        x = aligned_empty(stored.shape, finish.dtype)
        finish.scale_into(stored, x)
        return finish.complete(Batch(x, None, ids), y, epoch, index)

    def _end_stream(self) -> None:
        stream = None if self._stream is None else self._stream()
        if stream is not None:
            stream.close()
        self._stream = None

    def close(self) -> None:
        """End the stream, close the files and free the memory."""
        self._end_stream()
        self._memory = self._order = None
        self._readers.close()
