"""The jobs of a stream, and which unit is decoded at which place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.memory import UnitMemory
from zarrts.order import Order, Piece
from zarrts.samples import ChunkUnits
from zarrts.types import AnyArray, IntArray

_PLACES_PER_BLOCK = 256


@dataclass
class Building:
    """A batch of which some pieces are gathered; `is_read` says which samples could be read."""

    ids: IntArray
    x: AnyArray
    y: AnyArray
    is_read: NDArray[np.bool_]
    missing: int


@dataclass(frozen=True)
class Gather:
    """A piece, the units that it is in, and the rows of the unit memory that it takes."""

    piece: Piece
    units: IntArray
    rows: IntArray
    label_rows: IntArray
    ids: IntArray
    n_batch: int


@dataclass(frozen=True, slots=True)
class Decode:
    """A unit to be decoded into its slot."""

    place: int
    unit: int
    slot: int
    segment: int
    chunk: int


class Plan:
    """A turn to work out the pieces of the next batches; only one thread has it at a time."""


Job = Gather | Decode | Plan


class Schedule:
    """What is decoded at each place, and what batches take, many at a time.

    Decoding is asked for by one thread at a time, and so is gathering.
    """

    def __init__(self, order: Order, units: ChunkUnits, memory: UnitMemory) -> None:
        self._order, self._units, self._memory = order, units, memory
        self._blocks: dict[int, list[Decode]] = {}

    def __getitem__(self, place: int) -> Decode:
        block, inside = divmod(place, _PLACES_PER_BLOCK)
        if block not in self._blocks:
            self._blocks = {k: v for k, v in self._blocks.items() if k == block - 1}
            self._blocks[block] = self._work_out(block * _PLACES_PER_BLOCK)
        return self._blocks[block][inside]

    def _work_out(self, start: int) -> list[Decode]:
        places = np.arange(start, min(start + _PLACES_PER_BLOCK, self._order.n_places))
        units = self._order.units(start, start + len(places))
        slots = self._memory.slots_of(places, units)
        segments, chunks = self._units.segments(units)
        columns = (places, units, slots, segments, chunks)
        return [Decode(*row) for row in zip(*(it.tolist() for it in columns), strict=True)]

    def gathers(self, start: int, stop: int) -> list[Gather]:
        """Return the pieces of batches `start` to `stop`, in order."""
        pieces = [piece for batch in range(start, stop) for piece in self._order.pieces(batch)]
        places = np.concatenate([piece.places for piece in pieces])
        numbers = np.concatenate([piece.numbers for piece in pieces])
        low = min(piece.low for piece in pieces)
        high = max(piece.high for piece in pieces)
        units = self._order.units(low, high)[places - low]
        ids = self._units.selection.ids(numbers)
        slots = self._memory.slots_of(places, units)
        inside = ids - self._units.starts(units)
        rows = slots * self._memory.rows + inside
        label_rows = self._memory.labels.rows(units, slots, inside)
        found, done = [], 0
        for piece in pieces:
            part = slice(done, done + len(piece.places))
            first, last = self._order.batching.bounds(piece.batch)
            found.append(
                Gather(piece, units[part], rows[part], label_rows[part], ids[part], last - first)
            )
            done = part.stop
        return found
