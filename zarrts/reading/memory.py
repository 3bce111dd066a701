"""The memory of a loader: the units that are open, their labels, and batches."""

import math
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.indexing.units import ChunkUnits
from zarrts.ordering.order import filled_units
from zarrts.storage.chunks import ChunkReader, can_read_at_once, read_first
from zarrts.storage.readers import InputReaders, Readers
from zarrts.types import AnyArray, ArraySpec, IntArray

_ALIGNMENT = 64  # TensorFlow and JAX take aligned arrays without a copy
_FEW_BYTES = 4 << 10


@dataclass(frozen=True, slots=True)
class PlacedUnit:
    """The chunks of a unit that has a place in an order, and the slot that they are decoded into.

    Attributes
    ----------
    at : int
        The row of the slot where the first one starts.
    """

    place: int
    unit: int
    slot: int
    segment: int
    chunk: int
    n_chunks: int
    at: int


def aligned_empty(shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
    """Return an uninitialised C-contiguous array that starts on a 64-byte boundary."""
    memory = np.empty(math.prod(shape) * dtype.itemsize + _ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, _first_boundary(memory))


def labels_empty(shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
    """Return the same for labels, but a few KiB start anywhere.

    To copy them takes less time than to find a boundary.
    """
    if math.prod(shape) * dtype.itemsize < _FEW_BYTES:
        return np.empty(shape, dtype)
    return aligned_empty(shape, dtype)


def _first_boundary(memory: AnyArray) -> int:
    # Five times as fast as `memory.ctypes`.
    return int(-memory.__array_interface__["data"][0] % _ALIGNMENT)


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
        self._boundaries: list[int] = []  # of each block
        self._block_bytes = 0

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
        """Return an uninitialised array that starts on a 64-byte boundary."""
        n_bytes = math.prod(shape) * dtype.itemsize
        block, boundary = self._unused_block(n_bytes + _ALIGNMENT)
        return np.ndarray(shape, dtype, block, boundary)

    def _unused_block(self, n_bytes: int) -> tuple[AnyArray, int]:
        if n_bytes > self._block_bytes:
            self._blocks, self._boundaries, self._block_bytes = [], [], n_bytes
        # In a fixed order, so that as few as possible are in turn, and stay in the cache.
        for index in range(len(self._blocks)):
            if _count_references(self._blocks, index) == _NO_OTHERS:
                return self._blocks[index], self._boundaries[index]
        block = np.empty(self._block_bytes, np.uint8)
        boundary = _first_boundary(block)
        if len(self._blocks) < self._max_kept and _COUNTS_ARE_EXACT:
            self._blocks.append(block)
            self._boundaries.append(boundary)
        return block, boundary


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

    @property
    def reads_at_once(self) -> bool:
        """Whether `read_first` is likely to read something."""
        return all(can_read_at_once(it.held[0]) for it in self._inputs)

    def read_first(self, units: Sequence[PlacedUnit], y: Sequence[ChunkReader] | None) -> int:
        """Read every input of some units, and their labels, in one go, as far as that can be done.

        Parameters
        ----------
        y : sequence of ChunkReader, or None
            Those of labels, by segment; None where labels are not needed.

        Returns
        -------
        int
            How many of the first were read; of the others anything may be in the slots.
        """
        found: list[tuple[ChunkReader, int, AnyArray]] = []
        ends, labels = [0], self.labels
        for unit in units:
            found += self._chunks_of(unit)
            ends.append(len(found))
        missing: list[AnyArray | None] = [None for _ in units]
        if y is not None and labels is not None:
            missing = [labels.missing(y[it.segment].spec, it) for it in units]
            ends = ends[-1:]
            for unit, rows in zip(units, missing, strict=True):
                if rows is not None:
                    found += _chunks_of(y[unit.segment], unit.chunk, unit.n_chunks, rows)
                ends.append(len(found))
        direct = [(it, chunk, out) for it, chunk, out in found if can_read_at_once(it)]
        if len(direct) < len(found):
            return 0
        n_units = max(0, bisect_right(ends, read_first(direct)) - 1)
        for unit, rows in zip(units[:n_units], missing, strict=False):
            if rows is not None and labels is not None:
                labels.keep(unit, rows)
        return n_units

    def read_x(self, unit: PlacedUnit) -> None:
        """Read every input of a unit, chunk by chunk.

        Raises
        ------
        ReadError
            If one is missing or damaged.
        """
        for reader, chunk, out in self._chunks_of(unit):
            reader.read_into(chunk, out)

    def _chunks_of(self, unit: PlacedUnit) -> Iterator[tuple[ChunkReader, int, AnyArray]]:
        for it in self._inputs:
            slot = self.inputs[it.name][unit.slot, unit.at :]
            yield from _chunks_of(it.held[unit.segment], unit.chunk, unit.n_chunks, slot)

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

    def read(self, reader: ChunkReader, unit: PlacedUnit) -> None:
        """Read the labels of a unit, unless they are there already."""
        labels = self.missing(reader.spec, unit)
        if labels is not None:
            for each, number, out in _chunks_of(reader, unit.chunk, unit.n_chunks, labels):
                each.read_into(number, out)
            self.keep(unit, labels)

    def missing(self, spec: ArraySpec, unit: PlacedUnit) -> AnyArray | None:
        """Return memory for the labels of a unit, or None where they are there already."""
        if self.has(unit.unit):
            return None
        return np.empty((unit.n_chunks * spec.chunk_rows, *spec.row_shape), spec.dtype)

    def keep(self, unit: PlacedUnit, labels: AnyArray) -> None:
        """Copy the labels of a unit to their place.

        Another thread may be doing that, or taking them: what lies there is overwritten by what it
        is already.
        """
        part = unit.unit if self._keeps_all else unit.slot
        start = part * self._rows + unit.at
        self.y[start : start + len(labels)] = labels
        self._is_held[part] = True

    def has(self, unit: int) -> bool:
        """Return whether the labels of a unit are there for good."""
        return self._keeps_all and bool(self._is_held[unit])

    def rows(self, units: IntArray, slots: IntArray, inside: IntArray) -> IntArray:
        """Return where in `y` the labels of some samples are, by their place inside the unit."""
        return (units if self._keeps_all else slots) * self._rows + inside


def _chunks_of(
    reader: ChunkReader, first: int, n_chunks: int, out: AnyArray
) -> Iterator[tuple[ChunkReader, int, AnyArray]]:
    """Yield each of some consecutive chunks with the part of `out` that its rows are."""
    rows = reader.spec.chunk_rows
    for number in range(n_chunks):
        yield reader, first + number, out[number * rows : (number + 1) * rows]
