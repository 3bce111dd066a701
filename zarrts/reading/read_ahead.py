"""Ask for chunks before they are decoded, where each read waits for a network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from zarrts.ordering.order import filled_units
from zarrts.reading.sample_reader import SampleReader
from zarrts.storage.chunks import ChunkReader
from zarrts.types import IntArray

_MAX_ASKED = 64


class Chunks(Protocol):
    """Consecutive chunks of a segment."""

    @property
    def segment(self) -> int:
        """Number of the segment."""
        ...

    @property
    def chunk(self) -> int:
        """The first chunk."""
        ...

    @property
    def n_chunks(self) -> int:
        """Their number."""
        ...


def ask_together(
    readers: Sequence[ChunkReader], wanted: Sequence[tuple[int, int, int]]
) -> list[object]:
    """Ask for chunks of segments, neighbours with one call; return for each what keeps it.

    Parameters
    ----------
    readers : sequence of ChunkReader
        Of each segment.
    wanted : sequence of (segment, first chunk, number of chunks)
    """
    asked: list[object] = []
    first = 0
    for number in range(1, len(wanted) + 1):
        segment, chunk, n_chunks = wanted[number - 1]
        if number < len(wanted) and wanted[number][:2] == (segment, chunk + n_chunks):
            continue
        start = wanted[first][1]
        kept = readers[segment].will_need(start, chunk + n_chunks - start)
        asked += [kept] * (number - first)
        first = number
    return asked


class PlacesAhead:
    """Asks for the chunks of the next places of an order. Calls are not thread-safe.

    Parameters
    ----------
    readers : sequence of sequence of ChunkReader
        Of each input, and then of y; of each, those of all segments.
    n_places : int
        Of the order.
    n_bytes : int
        Of what is asked for and not decoded yet, if no chunk is larger than decoded.
    """

    def __init__(
        self, readers: Sequence[Sequence[ChunkReader]], n_places: int, n_bytes: int
    ) -> None:
        self._readers, self._n_places, self._n_bytes = readers, n_places, n_bytes
        self._asked_to = -1
        self._kept: dict[int, list[object]] = {}

    def next_places(self, place: int, n_chunks: int) -> range:
        """Return the places that are due to be asked for before `place` is decoded.

        Many at a time, so that neighbours are asked for together.
        """
        *inputs, _ = self._readers
        unit_bytes = n_chunks * sum(it[0].spec.chunk_bytes for it in inputs)
        n_ahead = max(2, min(_MAX_ASKED, self._n_bytes // unit_bytes))
        start = max(place, self._asked_to)
        if start - place > n_ahead // 2:
            return range(0)
        self._asked_to = min(place + n_ahead, self._n_places)
        return range(start, self._asked_to)

    def ask_inputs(self, places: Mapping[int, Chunks]) -> None:
        """Ask for the inputs at some places."""
        for readers in self._readers[:-1]:
            self._ask(readers, places)

    def ask_labels(self, places: Mapping[int, Chunks]) -> None:
        """Ask for the labels at some places."""
        self._ask(self._readers[-1], places)

    def _ask(self, readers: Sequence[ChunkReader], places: Mapping[int, Chunks]) -> None:
        wanted = [(it.segment, it.chunk, it.n_chunks) for it in places.values()]
        asked = ask_together(readers, wanted)
        for place, kept in zip(places, asked, strict=True):
            self._kept.setdefault(place, []).append(kept)

    def forget(self, place: int) -> None:
        """Drop what was asked for at a place: it is decoded."""
        self._kept.pop(place, None)


def units_ahead(
    reader: SampleReader, readers: Sequence[Sequence[ChunkReader]], n_bytes: int
) -> Iterator[int]:
    """Yield the units that hold samples, in order, while those after them are asked for.

    Parameters
    ----------
    readers : sequence of sequence of ChunkReader
        What is read of each unit, as for `PlacesAhead`.
    n_bytes : int
        As for `PlacesAhead`.
    """
    filled = filled_units(reader.units).astype(np.int64)
    step = max(1, min(_MAX_ASKED, n_bytes // max(1, reader.unit_bytes)) // 2)
    blocks = [filled[start : start + step] for start in range(0, len(filled), step)]

    def ask(block: IntArray) -> object:
        columns = (it.tolist() for it in reader.units.chunks(block)[:3])
        wanted = list(zip(*columns, strict=True))
        return [ask_together(it, wanted) for it in readers]

    coming = ask(blocks[0]) if blocks else None
    for number, block in enumerate(blocks):
        kept = coming
        coming = ask(blocks[number + 1]) if number + 1 < len(blocks) else None
        yield from block.tolist()
        del kept  # which kept what was asked for of this block
