"""The memory of a loader: what a budget buys, and the units that are open in it."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits
from zarrts.ordering.order import UNITS_PER_PART, filled_units
from zarrts.sizes import format_budget
from zarrts.storage.chunks import ChunkReader
from zarrts.storage.readers import InputReaders, Readers
from zarrts.types import AnyArray, IntArray

_ALIGNMENT = 64  # TensorFlow and JAX take aligned arrays without a copy
_SHARE_OF_UNITS = 0.8  # of the budget; the rest is for batches on their way
_MAX_AHEAD, _MAX_STEPS, _MAX_READY = 16, 8, 16
_MIN_SLOTS, _FEW_SLOTS = 3, 24
_CHUNKS_PER_HEAD = 10  # of a unit, for each that is read with it: a tenth more than has to be
_OVERHEAD_BYTES = 32 << 20
_FEW_BYTES = 8 << 20
_SHARE_OF_LABELS, _MAX_LABEL_BYTES = 1 / 32, 16 << 20


@dataclass(frozen=True)
class MemoryPlan:
    """The shares of a memory budget.

    They depend on the budget and the size of a unit alone; and, where a batch takes more than a
    tenth of the budget or a chunk a large part of it, on the sizes of these.

    Attributes
    ----------
    slots : int
        Units that fit into the memory of open units.
    span : int
        Units that a step of the order draws from.
    max_steps : int
        Steps that are gathered at once.
    batch_bytes : int
        What is left for batches on their way.
    label_bytes : int
        Of that, what may be taken to keep the labels of all units.
    """

    slots: int
    span: int
    max_steps: int
    batch_bytes: int
    label_bytes: int

    @staticmethod
    def of(memory_bytes: int, unit_bytes: int, reserved_bytes: int = 0) -> "MemoryPlan":
        """Share out a budget.

        Parameters
        ----------
        reserved_bytes : int
            What units may not take of the budget, where that is more than a fifth of it, and more
            than a few MiB: the batch that is made, the one that was handed out before it, and what
            a thread works with.

        Raises
        ------
        SampleError
            If it does not hold three units.

        Examples
        --------
        Of 128 MiB, four fifths hold open units of 1 MiB; some of them are read ahead, and the
        span is what is left:

        >>> plan = MemoryPlan.of(128 << 20, 1 << 20)
        >>> plan.slots, plan.span, plan.max_steps
        (102, 84, 6)
        """
        of_units = int(memory_bytes * _SHARE_OF_UNITS)
        if reserved_bytes <= _FEW_BYTES:
            reserved_bytes = 0
        of_units = min(of_units, memory_bytes - reserved_bytes)
        slots = of_units // unit_bytes
        if slots < _MIN_SLOTS:
            needed = max(
                int(_MIN_SLOTS * unit_bytes / _SHARE_OF_UNITS) + 1,
                _MIN_SLOTS * unit_bytes + reserved_bytes,
            )
            kept = ""
            if reserved_bytes > memory_bytes * (1 - _SHARE_OF_UNITS):
                kept = f" and needs {format_budget(reserved_bytes)} beside {_MIN_SLOTS} of them"
            raise SampleError(
                f"memory={format_budget(memory_bytes)} is too little for this store, which is "
                f"read in pieces of {format_budget(unit_bytes)}{kept}; raise memory to at least "
                f"{format_budget(needed)}."
            )
        ahead = max(1, min(_MAX_AHEAD, slots // 8))
        max_steps = max(1, min(_MAX_STEPS, slots // 16))
        return MemoryPlan(
            slots=slots,
            span=max(2, (slots - ahead - max_steps + 1) // 2 * 2),
            max_steps=max_steps,
            batch_bytes=memory_bytes - slots * unit_bytes,
            label_bytes=min(int(memory_bytes * _SHARE_OF_LABELS), _MAX_LABEL_BYTES),
        )

    @staticmethod
    def run(memory_bytes: int, units: ChunkUnits, row_bytes: int) -> int:
        """Return of how many consecutive chunks a unit should be.

        What follows a unit is read with it, for the samples that end there. In a random order
        that is read again with the unit that it belongs to, and costs less the longer units are;
        but so few of them fit into memory that samples are mixed badly.
        """
        return _run(memory_bytes, units.head_chunks, units.chunk_rows * row_bytes)

    @property
    def fetched_bytes(self) -> int:
        """Bytes of a remote store that may be asked for ahead, of those left for batches."""
        return self.batch_bytes // 3

    def count_ready(self, batch_bytes: int, is_remote: bool = False, thread_bytes: int = 0) -> int:
        """Return how many batches may be on their way at once, beside one that was handed out.

        Parameters
        ----------
        thread_bytes : int
            Memory that a thread works with.

        Raises
        ------
        SampleError
            If not even one fits into what the budget leaves for batches.
        """
        ready = self.batch_bytes // max(1, batch_bytes)
        if ready < 1:
            needed = format_budget(int(batch_bytes / (1 - _SHARE_OF_UNITS)) + 1)
            raise SampleError(
                f"One batch takes {format_budget(batch_bytes)}, but the memory budget leaves "
                f"{format_budget(self.batch_bytes)} for batches; raise memory to at least "
                f"{needed}, or lower batch_size."
            )
        # Buffers of the threads and the order take room as well.
        overhead = min(_OVERHEAD_BYTES, self.batch_bytes // 2)
        spare = self.batch_bytes - max(overhead, batch_bytes + thread_bytes)
        spare -= self.fetched_bytes if is_remote else 0
        return max(1, min(spare // max(1, batch_bytes), _MAX_READY))

    def count_threads(self, n_ready: int, batch_bytes: int, thread_bytes: int) -> int:
        """Return how many threads may work at once beside batches, at least 1; see `count_ready`.

        Some are let pass where all that they work with is a few MiB.
        """
        left = self.batch_bytes - (n_ready + 1) * batch_bytes
        return max(1, max(left, _FEW_BYTES) // max(1, thread_bytes))


def window_amplification(memory_bytes: int, chunk_bytes: int) -> float:
    """Return bytes decoded over bytes of the rows, of windows in a random order.

    Windows are of at most one row more than a chunk has, and more than fit into memory.
    """
    return 1 + 1 / _run(memory_bytes, 1, chunk_bytes)


def amplification(units: ChunkUnits) -> float:
    """Return bytes decoded over bytes used, at least 1, of one pass over the selected samples.

    Chunks are decoded whole: a selection that takes single samples of many pays for the others.
    Rows that are in several samples are used once.
    """
    if len(units.selection) == 0:
        return 1.0
    filled = filled_units(units)
    decoded = 0
    for start in range(0, len(filled), UNITS_PER_PART):
        some = filled[start : start + UNITS_PER_PART].astype("int64")
        decoded += int(units.rows_read(some).sum())
    return decoded / units.index.count_rows(units.selection.starts, units.selection.stops)


def _run(memory_bytes: int, head_chunks: int, chunk_bytes: int) -> int:
    wanted = max(1, _CHUNKS_PER_HEAD * head_chunks)
    held = int(memory_bytes * _SHARE_OF_UNITS) // (_FEW_SLOTS * chunk_bytes)
    return max(1, min(wanted, held - head_chunks))


def aligned_empty(shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
    """Return an uninitialised C-contiguous array that starts on a 64-byte boundary."""
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    return _aligned_part(memory, n_bytes).view(dtype).reshape(shape)


def _aligned_part(memory: AnyArray, n_bytes: int) -> AnyArray:
    # Five times as fast as `memory.ctypes`, and this is done twice for each batch.
    start = -memory.__array_interface__["data"][0] % _ALIGNMENT
    return memory[start : start + n_bytes]


def _count_references(blocks: Sequence[AnyArray], index: int) -> int:
    return sys.getrefcount(blocks[index])


_NO_OTHERS = _count_references([np.empty(1)], 0)
# Without the GIL a count is out of date by the time it is read.
_COUNTS_ARE_EXACT = getattr(sys, "_is_gil_enabled", lambda: True)()


class BatchMemory:
    """Memory for batches, used again once nothing refers to the batch that lay in it.

    Fresh memory costs more to touch than a batch takes to gather. Every view of an array, and
    everything that shares its memory, holds a reference to the array that owns the memory: while
    there is one, the batch is somebody's and is left alone. Calls are not thread-safe.
    """

    def __init__(self, max_kept: int) -> None:
        self._max_kept = max_kept
        self._blocks: list[AnyArray] = []
        self._block_bytes = 0

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
        """Return an uninitialised array, as `aligned_empty` does."""
        n_bytes = math.prod(shape) * dtype.itemsize
        block = self._unused_block(n_bytes + _ALIGNMENT)
        return _aligned_part(block, n_bytes).view(dtype).reshape(shape)

    def _unused_block(self, n_bytes: int) -> AnyArray:
        if n_bytes > self._block_bytes:
            self._blocks, self._block_bytes = [], n_bytes
        # In a fixed order, so that as few as possible are in turn, and stay in the cache.
        for index in range(len(self._blocks)):
            if _count_references(self._blocks, index) == _NO_OTHERS:
                return self._blocks[index]
        block = np.empty(self._block_bytes, np.uint8)
        if len(self._blocks) < self._max_kept and _COUNTS_ARE_EXACT:
            self._blocks.append(block)
        return block


class UnitMemory:
    """Memory for open units; `held` says which unit each slot holds (-1: none, or half-written).

    Where all units of a selection fit, each has a slot of its own and stays there from epoch to
    epoch; otherwise slots are used in turn. `damaged` are units that could not be read; `inputs`
    those that are read of x.
    """

    def __init__(
        self,
        units: ChunkUnits,
        readers: Readers,
        slots: int,
        label_bytes: int,
        *,
        inputs: Sequence[InputReaders],
        has_labels: bool = True,
    ) -> None:
        self.rows = units.rows
        self._units = units
        self._filled: IntArray | None = None
        if units.n_units <= slots or self._count_filled(slots) <= slots:
            self._filled = filled_units(units).astype(np.int64)
            slots = len(self._filled)
        self.slots = slots
        self.inputs = {
            it.name: aligned_empty((slots, self.rows, *spec.row_shape), spec.dtype)
            for it in inputs
            for spec in [it.held[0].spec]
        }
        self._inputs = inputs
        self.labels = LabelMemory(units, readers, slots, label_bytes) if has_labels else None
        self.held = np.full(slots, -1, np.int64)
        self.damaged: frozenset[int] = frozenset()

    def _count_filled(self, limit: int) -> int:
        """Return how many units hold selected samples, or more than `limit` if that is so."""
        count, step = 0, 1 << 20
        for start in range(0, self._units.n_units, step):
            stop = min(start + step, self._units.n_units)
            edges = self._units.edges(np.arange(start, stop + 1))
            count += int(np.count_nonzero(np.diff(edges)))
            if count > limit:
                break
        return count

    @property
    def keeps_all(self) -> bool:
        """Whether every unit of the selection has a slot of its own."""
        return self._filled is not None

    def rows_of(self, name: str) -> AnyArray:
        """Return the rows of an input in all slots, one after the other."""
        memory = self.inputs[name]
        return memory.reshape(-1, *memory.shape[2:])

    def read_x(self, segment: int, chunk: int, n_chunks: int, slot: int, at: int) -> None:
        """Read consecutive chunks of every input into a slot, from row `at` of it on."""
        for it in self._inputs:
            _read_chunks(it.held[segment], chunk, n_chunks, self.inputs[it.name][slot, at:])

    def slots_of(self, places: IntArray, units: IntArray) -> IntArray:
        """Return the slots of the units at some places."""
        if self._filled is None:
            return places % self.slots
        return np.searchsorted(self._filled, units)


class LabelMemory:
    """Labels of the units that are open; where they take little, of all units, for good.

    Reading the few labels of a chunk costs a tenth of reading its samples.
    """

    def __init__(self, units: ChunkUnits, readers: Readers, slots: int, max_bytes: int) -> None:
        spec = readers.y[0].spec
        self._rows = units.rows
        self._keeps_all = units.n_units * self._rows * spec.row_bytes <= max_bytes
        n_parts = units.n_units if self._keeps_all else slots
        self._is_held = np.zeros(n_parts, bool)
        self.y = aligned_empty((n_parts * self._rows, *spec.row_shape), spec.dtype)

    def read(
        self, reader: ChunkReader, chunk: int, n_chunks: int, unit: int, slot: int, at: int
    ) -> None:
        """Read the labels of a unit, unless they are there already."""
        part = unit if self._keeps_all else slot
        if self._keeps_all and self._is_held[part]:
            return
        spec = reader.spec
        labels = np.empty((n_chunks * spec.chunk_rows, *spec.row_shape), spec.dtype)
        _read_chunks(reader, chunk, n_chunks, labels)
        # Copied, because another thread may be reading, or taking, the labels of the same unit:
        # what lies there is overwritten by what it is already.
        start = part * self._rows + at
        self.y[start : start + len(labels)] = labels
        self._is_held[part] = True

    def has(self, unit: int) -> bool:
        """Return whether the labels of a unit are there for good."""
        return self._keeps_all and bool(self._is_held[unit])

    def rows(self, units: IntArray, slots: IntArray, inside: IntArray) -> IntArray:
        """Return where in `y` the labels of some samples are, by their place inside the unit."""
        return (units if self._keeps_all else slots) * self._rows + inside


def _read_chunks(reader: ChunkReader, first: int, n_chunks: int, out: AnyArray) -> None:
    rows = reader.spec.chunk_rows
    for number in range(n_chunks):
        reader.read_into(first + number, out[number * rows : (number + 1) * rows])
