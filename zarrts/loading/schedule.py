"""The jobs of a stream, and which unit is decoded at which place."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zarrts.indexing.cuts import Fit
from zarrts.indexing.padding import BatchLengths
from zarrts.ordering.order import Order, Piece, Seated
from zarrts.reading.memory import PlacedUnit, UnitMemory
from zarrts.reading.sample_reader import SampleReader
from zarrts.types import IntArray

_PLACES_PER_BLOCK = 256


@dataclass(frozen=True)
class Gather:
    """A piece, the units that it is in, and where in memory its samples start.

    Attributes
    ----------
    rows : int64, shape (n_samples,)
        First row of each sample in the memory of open units.
    label_rows : int64, shape (n_samples,)
        The same in the memory of labels; the recordings, where labels are per recording.
    fit : Fit, or None
        How samples of unequal lengths are brought to the length of their batch.
    """

    piece: Piece
    units: IntArray
    rows: IntArray
    label_rows: IntArray
    ids: IntArray
    fit: Fit | None
    n_batch: int


@dataclass(frozen=True, slots=True)
class Decode:
    """Units to be decoded by one thread, one after the other."""

    units: tuple[PlacedUnit, ...]


@dataclass(frozen=True, slots=True)
class PlanBatches:
    """The pieces of batches `start` to `stop` to be worked out, by one thread at a time."""

    start: int
    stop: int


Job = Gather | Decode | PlanBatches


class Schedule:
    """The jobs of an epoch, place by place: units to decode, and pieces to gather.

    Decoding is asked for by one thread at a time, and so is gathering.
    """

    def __init__(
        self,
        order: Order,
        reader: SampleReader,
        memory: UnitMemory,
        lengths: BatchLengths | None = None,
    ) -> None:
        self._order, self._units, self._memory = order, reader.units, memory
        self._reader, self._lengths = reader, lengths
        self._seated = order if isinstance(order, Seated) else None
        self._blocks: dict[int, list[PlacedUnit]] = {}

    def __getitem__(self, place: int) -> PlacedUnit:
        block, inside = divmod(place, _PLACES_PER_BLOCK)
        if block not in self._blocks:
            self._blocks = {k: v for k, v in self._blocks.items() if k == block - 1}
            self._blocks[block] = self._work_out(block * _PLACES_PER_BLOCK)
        return self._blocks[block][inside]

    def _work_out(self, start: int) -> list[PlacedUnit]:
        places = np.arange(start, min(start + _PLACES_PER_BLOCK, self._order.n_places))
        units = self._order.units(start, start + len(places))
        slots = self._slots_of(places, units)
        columns = (places, units, slots, *self._units.chunks(units))
        return [PlacedUnit(*row) for row in zip(*(it.tolist() for it in columns), strict=True)]

    def _slots_of(self, places: IntArray, units: IntArray) -> IntArray:
        slots = None if self._seated is None else self._seated.slots(places)
        return self._memory.slots_of(places, units) if slots is None else slots

    def gathers(self, start: int, stop: int) -> list[Gather]:
        """Return the pieces of batches `start` to `stop`, in order."""
        pieces = [piece for batch in range(start, stop) for piece in self._order.pieces(batch)]
        places = np.concatenate([piece.places for piece in pieces])
        numbers = np.concatenate([piece.numbers for piece in pieces])
        low = min(piece.low for piece in pieces)
        high = max(piece.high for piece in pieces)
        units = self._order.units(low, high)[places - low]
        ids = self._units.selection.ids(numbers)
        slots = self._slots_of(places, units)
        firsts = self._units.index.first_rows(ids)
        inside = firsts - self._units.starts(units)
        rows = slots * self._memory.rows + inside
        label_rows = rows
        if self._memory.labels is not None:
            label_rows = self._memory.labels.rows(units, slots, inside)
        elif self._reader.cut.y_of == "recording":
            label_rows = self._reader.recordings(firsts)
        elif self._reader.cut.y_of == "sample":
            label_rows = ids
        fits = self._fits(pieces, ids)
        found, done = [], 0
        for piece, fit in zip(pieces, fits, strict=True):
            part = slice(done, done + len(piece.places))
            first, last = self._order.batching.bounds(piece.batch)
            found.append(
                Gather(
                    piece,
                    units[part],
                    rows[part],
                    label_rows[part],
                    ids[part],
                    fit,
                    last - first,
                )
            )
            done = part.stop
        return found

    def _fits(self, pieces: Sequence[Piece], ids: IntArray) -> Iterator[Fit | None]:
        """Yield for each piece how its samples get the length of the batch that it is in."""
        if self._lengths is None:
            yield from (None for _ in pieces)
            return
        lengths = self._reader.lengths(ids)
        done = 0
        for _, of_batch in itertools.groupby(pieces, key=lambda piece: piece.batch):
            sizes = [len(piece.places) for piece in of_batch]
            fit = self._lengths.fit(lengths[done : done + sum(sizes)])
            start = 0
            for size in sizes:
                yield fit[start : start + size]
                start += size
            done += start
