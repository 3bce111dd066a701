"""The batches of any epoch, from one budget of memory."""

import math
import threading
import weakref
from functools import cached_property
from typing import Any

import numpy as np

from zarrts.batch import Batch
from zarrts.errors import AccessError, ReadError
from zarrts.indexing.cuts import Fit
from zarrts.loading.gathering import batch_of
from zarrts.loading.options import BatchOptions
from zarrts.loading.postprocessing import lengthened
from zarrts.loading.resources import Resources
from zarrts.loading.settings import Settings
from zarrts.loading.stream import BatchStream, join_all
from zarrts.ordering.order import Batching, Order, SourceOrder, filled_units
from zarrts.ordering.rolling import RollingOrder
from zarrts.ordering.uniform import UniformOrder
from zarrts.reading.memory import BatchMemory, UnitMemory, aligned_empty
from zarrts.reading.memory_plan import MemoryPlan
from zarrts.reading.selection import Selection
from zarrts.types import IntArray, Labels

_SOURCE_ORDER_SLOTS = 32
# Most that a consumer was seen to hold at once: TensorFlow's queues, and what it learns from. They
# are used again; memory for more than it does hold is never taken.
_HELD_BATCHES = 8
_KEPT_SHARE, _LITTLE_BYTES = 16, 1 << 20


class EpochLoader:
    """Makes the batches of any epoch; at most one stream of it runs at a time.

    `close` gives back files and memory; a later call takes them again.
    """

    def __init__(
        self, selection: Selection, options: BatchOptions, *, weighs_missing: bool = False
    ) -> None:
        selection = selection.choosing(options.inputs)
        reader = selection.reader
        run = MemoryPlan.run(options.memory_bytes, reader.units, reader.unit_row_bytes)
        reader = reader.with_run(run)
        self._reader, self._units, self._options = reader, reader.units, options
        self.settings = Settings.of(selection, options, reader, weighs_missing=weighs_missing)
        self._finish = self.settings.processing
        self.target = self._finish.target
        rank, world_size = options.place
        n_samples, budget = len(selection), options.memory_bytes
        if self.settings.sampling is not None:
            n_samples = self.settings.sampling.n_samples(world_size)
            kept = self.settings.sampling.kept_bytes
            # What is little is among what the budget leaves beside units, as the order always is.
            budget -= kept if kept > max(budget // _KEPT_SHARE, _LITTLE_BYTES) else 0
        self.batching = Batching(
            n_samples=n_samples,
            batch_size=options.batch_size,
            drop_last=options.drop_last,
            rank=rank,
            world_size=world_size,
        )
        per_sample, is_remote = self._sample_bytes(), reader.readers.is_remote
        start, stop = self.batching.bounds(self.n_batches - 1)
        batch_bytes = max(min(options.batch_size, stop), stop - start) * per_sample
        # Or it is refused, with the size of a batch.
        MemoryPlan.of(budget, reader.unit_bytes).count_ready(batch_bytes, is_remote)
        thread_bytes = self._thread_bytes()
        # The same on all ranks, whose last batches may differ by a sample.
        usual = min(options.batch_size, n_samples) * per_sample
        self.plan = MemoryPlan.of(budget, reader.unit_bytes, 2 * usual + thread_bytes)
        self._max_ready = self.plan.count_ready(batch_bytes, is_remote, thread_bytes)
        most = self.plan.count_threads(self._max_ready, batch_bytes, thread_bytes)
        self._n_threads = min(options.n_threads, most)
        self._memory: UnitMemory | None = None
        self._batch_memory = self._empty_batches()
        self._order: tuple[int, Order] | None = None
        self._stream: weakref.ref[BatchStream] | None = None
        self._threads: tuple[threading.Thread, ...] = ()
        self._n_streams = 0  # since memory was taken

    def _empty_batches(self) -> tuple[BatchMemory, ...]:
        return tuple(BatchMemory(self._max_ready + _HELD_BATCHES) for _ in self._reader.inputs)

    @cached_property
    def _longest(self) -> Fit | None:
        """The greatest length that a sample may get, where they are of unequal lengths."""
        lengths = self._finish.lengths
        if lengths is None:
            return None
        longest = int(self._reader.lengths_of_store.max())
        return Fit(lengths=np.ones(1, np.int64), n_steps=lengths.most(longest))

    def _sample_bytes(self) -> int:
        """Return the most memory that a sample takes in a batch, with its labels."""
        most = self._longest
        x_bytes = sum(
            math.prod(it.shape_of(most)) * self._finish.inputs[it.name].dtype.itemsize
            for it in self._reader.inputs
        )
        labels, y_dtype = math.prod(self._reader.y_shape(most)), self._reader.y_step[1]
        return x_bytes + labels * y_dtype.itemsize

    def _thread_bytes(self) -> int:
        """Return the most memory that a thread works with: a compressed chunk, and some values."""
        chunk = max(it.held[0].spec.chunk_bytes for it in self._reader.inputs_read)
        if not all(it.held[0].is_direct for it in self._reader.inputs_read):
            chunk *= 2  # which zarr-python decodes into memory of its own
        values = (
            self._finish.inputs[it.name].work_bytes(
                math.prod(it.shape_of(self._longest)), it.held[0].spec.dtype
            )
            for it in self._reader.inputs
        )
        return chunk + max(values)

    @property
    def input_names(self) -> list[str] | None:
        """Names of the inputs of a batch, with those of their masks; None where x is one array."""
        reader, has_masks = self._reader, self._options.mask
        if isinstance(reader.chosen, str) or not reader.inputs[0].name:
            return None
        masks = [f"{it.name}_mask" for it in reader.inputs if has_masks and it.steps]
        return [*(it.name for it in reader.inputs), *masks]

    @property
    def n_batches(self) -> int:
        """Number of batches of an epoch."""
        return self.batching.n_batches

    @property
    def has_equal_batches(self) -> bool:
        """Whether all batches have as many samples."""
        start, stop = self.batching.bounds(self.n_batches - 1)
        can_differ = self._options.on_error == "skip" or self._options.transform is not None
        return stop - start == self.batching.batch_size and not can_differ

    def targets_of(self, stored: Any, ids: IntArray) -> Labels:
        """Return the targets of stored labels of some samples; there have to be targets."""
        return self._finish.target_of(stored, ids)

    @property
    def keeps_all(self) -> bool:
        """Whether all samples fit into the memory budget, and are decoded only once."""
        return self._unit_memory().keeps_all

    def order(self, epoch: int) -> Order:
        """Return the order of an epoch; the last one is kept."""
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._make_order(epoch))
        return self._order[1]

    def _make_order(self, epoch: int) -> Order:
        options = self._options
        if self.settings.sampling is not None:
            memory = self._unit_memory()
            return self.settings.sampling.order(
                self._units,
                self.batching,
                slots=None if memory.keeps_all else memory.slots,
                seed=options.seed,
                epoch=epoch,
            )
        if not options.shuffle:
            return SourceOrder(self._units, self.batching, max_units=self.plan.max_steps)
        if options.shuffle == "global":
            max_samples = max(1, self.plan.slots // 2)
            return UniformOrder(
                self._units,
                self.batching,
                seed=options.seed,
                epoch=epoch,
                max_samples=None if self._unit_memory().keeps_all else max_samples,
            )
        n_units = self._units.n_units
        span = 2 * n_units if self._unit_memory().keeps_all else self.plan.span
        return RollingOrder(
            self._units,
            self.batching,
            span=span,
            seed=options.seed,
            epoch=epoch,
            max_steps=self.plan.max_steps,
        )

    def _unit_memory(self) -> UnitMemory:
        if self._memory is None:
            slots = self.plan.slots
            if self._is_in_source_order and not self._keeps_source_order:
                slots = min(slots, _SOURCE_ORDER_SLOTS)
            self._memory = UnitMemory(
                self._units,
                self._reader.readers,
                slots,
                self.plan.label_bytes,
                inputs=self._reader.inputs_read,
                has_labels=self._reader.has_row_labels,
            )
        return self._memory

    @property
    def _is_in_source_order(self) -> bool:
        return not self._options.shuffle and self.settings.sampling is None

    @property
    def _keeps_source_order(self) -> bool:
        """Whether samples in source order are kept in memory from now on.

        One pass is fastest through few slots, which stay in the cache. Who comes again is likely to
        come each epoch, as a validation does, and decodes once more at most.
        """
        return self._n_streams > 1 and len(filled_units(self._units)) <= self.plan.slots

    def stream(self, epoch: int, first_batch: int = 0) -> BatchStream:
        """Return the batches of an epoch from some batch on; ends the stream before."""
        self._end_stream()
        self._n_streams += 1
        if self._n_streams == 2 and self._is_in_source_order and self._keeps_source_order:
            self._memory = None  # for one in which all units stay
        resources = Resources(
            reader=self._reader,
            memory=self._unit_memory(),
            batches=self._batch_memory,
            finish=self._finish,
            n_threads=self._n_threads,
            max_ready=self._max_ready,
            fetched_bytes=self.plan.fetched_bytes,
            skips_damage=self._options.on_error == "skip",
        )
        stream = BatchStream(resources, self.order(epoch), epoch=epoch, first_batch=first_batch)
        self._stream, self._threads = weakref.ref(stream), stream.threads
        stream.start()
        return stream

    def batch(self, epoch: int, index: int) -> Batch:
        """Return one batch by itself: the same as in the stream, without its speed."""
        every = self._ids_of(epoch, index)
        return self._batch_of(every, self._readable(every), epoch, index)

    def _batch_of(self, every: IntArray, ids: IntArray, epoch: int, index: int) -> Batch:
        finish, reader = self._finish, self._reader
        # Of all of the batch, so that what is left of it has the same length.
        fit = None if finish.lengths is None else finish.lengths.fit(reader.lengths(every))
        if fit is not None:
            fit = fit[np.isin(every, ids)]
        x = {}
        held = reader.fetch_x(ids, fit, as_held=True)
        for one, stored in zip(reader.inputs, held.values(), strict=True):
            treatment = finish.inputs[one.name]
            x[one.name] = aligned_empty(stored.shape, treatment.dtype)
            own = None if one.cut.is_of_equal_lengths else fit
            treatment.turn_into(stored, x[one.name], ids, own)
            if own is not None:
                one.by_row(x[one.name], own)[own.is_behind] = finish.pad_value
        batch = batch_of(reader, x, ids, None if fit is None else fit.kept)
        y = ids  # of no labels
        if finish.target is not None:
            y = reader.cut.reduced(reader.fetch_y(ids, fit))
        return finish.complete(batch, y, epoch, index)

    def example(self) -> Batch:
        """Return a batch of one sample: what batches look like, without the time to read one."""
        ids = self._ids_of(0, 0)[:1]
        return self._batch_of(ids, ids, 0, 0)

    def first_batch(self) -> Batch:
        """Return the first batch of which a sample can be read, by itself.

        Raises
        ------
        ReadError
            If there is none.
        """
        for index in range(self.n_batches):
            if len(self._readable(self._ids_of(0, index))):
                return self.batch(0, index)
        raise ReadError("None of these samples can be read: repair the store.")

    def _ids_of(self, epoch: int, index: int) -> IntArray:
        pieces = self.order(epoch).pieces(index)
        return self._units.selection.ids(np.concatenate([it.numbers for it in pieces]))

    def unlike_batches(self) -> list[Batch]:
        """Return a batch, and the same with one step more, if batches differ in length."""
        lengths = self._finish.lengths
        if lengths is None or len(lengths.choices) == 1:
            return []
        batch = self.first_batch()
        return [batch, lengthened(batch, has_step_labels=self._finish.has_step_labels)]

    def _readable(self, ids: IntArray) -> IntArray:
        """Return the ids that can be read, where others are to be skipped; else all."""
        if self._options.on_error == "raise":
            return ids
        of_unit = self._units.unit_of(ids)
        damaged = []
        for unit in np.unique(of_unit):
            try:
                self._read(unit)
            except AccessError:
                raise
            except ReadError:
                damaged.append(unit)
        return ids[~np.isin(of_unit, damaged)]

    def _read(self, unit: int) -> None:
        """Read all that a stream reads of a unit, and drop it."""
        segment, chunk, n_chunks, _ = (int(it) for it in self._units.chunks(np.array(unit)))
        has_labels = self._finish.target is not None and self._reader.has_row_labels
        readers = [it.readers[segment] for it in self._reader.inputs_read]
        for reader in (*readers, *([self._reader.readers.y[segment]] * has_labels)):
            rows = np.empty(reader.spec.chunk_shape, reader.spec.dtype)
            for number in range(chunk, chunk + n_chunks):
                reader.read_into(number, rows)

    def _end_stream(self) -> None:
        stream = None if self._stream is None else self._stream()
        if stream is not None:
            stream.close()
        # Nobody waited for those of a stream that was dropped, and their memory is used again.
        join_all(self._threads)
        self._stream, self._threads = None, ()

    def close(self) -> None:
        """End the stream, close the files and free the memory."""
        self._end_stream()
        self._memory = self._order = None
        self._n_streams = 0
        self._batch_memory = self._empty_batches()
        self._reader.readers.close()
