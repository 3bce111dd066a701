"""Read the arrays of all segments of a store; several arrays of labels as one of records."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from zarrts.errors import StoreError
from zarrts.storage.chunks import ChunkReader, open_chunks
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.location import Location
from zarrts.storage.packing import PackedRows, Packing, ValueReader
from zarrts.storage.segments import Segment, label_name
from zarrts.storage.still_there import StillThere
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import RecordingTable
from zarrts.types import AnyArray


class Tables:
    """The tables of recordings of a store, read when they are first asked for.

    Parameters
    ----------
    still_there : StillThere, optional
        Asked where one cannot be read.
    """

    def __init__(self, root: Location, header: StoreHeader, still_there: StillThere | None) -> None:
        self._root, self._header, self._still_there = root, header, still_there

    @cached_property
    def every(self) -> tuple[RecordingTable, ...]:
        """Those of all segments, in their order."""
        try:
            return tuple(read_tables(self._root, self._header).values())
        except StoreError:
            if self._still_there is not None:
                for segment in self._header.segments:
                    self._still_there.check(segment.name)
            raise

    @cached_property
    def packing(self) -> Packing:
        """How the counts of all recordings stand for values, where all x is counts."""
        return Packing.joined([it.packing for it in self.every if it.packing is not None])


@dataclass(frozen=True)
class Readers:
    """Readers of the arrays of every segment, in the order of the store.

    Attributes
    ----------
    x, y : tuple of ChunkReader
        Of values, whatever is stored.
    mask : tuple of ChunkReader or None
        None of a segment whose rows are all good.
    tables : Tables
    are_counts : bool
        All of x is stored as counts, in which NaN are the same count.
    """

    x: tuple[ChunkReader, ...]
    y: tuple[ChunkReader, ...]
    mask: tuple[ChunkReader | None, ...]
    tables: Tables
    still_there: StillThere | None = None
    are_counts: bool = False

    @staticmethod
    def of(root: Location, header: StoreHeader) -> "Readers":
        """Return the readers of a store; no file is opened before it is read."""
        segments = header.segments
        there = StillThere(root, {it.name: it.write_id for it in segments}, header.write_id)
        tables = Tables(root, header, there)
        packed = {it.x.packed and replace(it.x.packed, error=0.0) for it in segments}
        return Readers(
            x=tuple(
                open_values(root, segment, partial(_numbered, tables, number), there)
                for number, segment in enumerate(segments)
            ),
            y=tuple(open_labels(root, segment, there) for segment in segments),
            mask=tuple(open_mask(root, segment, there) for segment in segments),
            tables=tables,
            still_there=there,
            are_counts=len(packed) == 1 and None not in packed,
        )

    @property
    def held(self) -> tuple[ChunkReader, ...]:
        """Readers of x as the memory of open chunks holds it: counts, where all of it is counts."""
        if not self.are_counts:
            return self.x
        return tuple(it.counts if isinstance(it, ValueReader) else it for it in self.x)

    @property
    def is_remote(self) -> bool:
        """Whether the store is read through a network."""
        return any(it.is_remote for it in self.x)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in (*self.x, *self.y, *filter(None, self.mask)):
            reader.close()


def _numbered(tables: Tables, number: int) -> RecordingTable:
    return tables.every[number]


def open_values(
    root: Location,
    segment: Segment,
    table: Callable[[], RecordingTable],
    still_there: StillThere | None = None,
) -> ChunkReader:
    """Return what reads the values of x of a segment, whether it holds these or counts.

    Parameters
    ----------
    table : callable
        Returns the table of recordings of the segment.
    """
    reader = open_chunks(root, segment.x, still_there)
    if segment.x.packed is None:
        return reader

    def rows() -> PackedRows:
        found = table()
        assert found.packing is not None
        return PackedRows(found.packing, found.starts)

    return ValueReader(reader, rows)


def open_labels(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader:
    """Return what reads the labels of a segment, whether they are one array or several."""
    if segment.y.dtype.names is None:
        return open_chunks(root, segment.y, still_there)
    readers = {
        label_name(array): open_chunks(root, spec, still_there)
        for array, spec in segment.labels.items()
    }
    return JoinedReader(segment, readers)


def open_mask(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader | None:
    """Return what reads the mask of a segment, if it has one."""
    return None if segment.mask is None else open_chunks(root, segment.mask, still_there)


class JoinedReader:
    """Reads the chunks of several arrays with the same rows; see `ChunkReader`."""

    def __init__(self, segment: Segment, readers: dict[str, ChunkReader]) -> None:
        self.spec = segment.y
        self._readers = readers

    @property
    def is_direct(self) -> bool:
        """Whether all of them are."""
        return all(it.is_direct for it in self._readers.values())

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk of records."""
        for name, reader in self._readers.items():
            rows = np.empty(reader.spec.chunk_shape, reader.spec.dtype)
            reader.read_into(chunk, rows)
            out[name] = rows

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network."""
        return any(it.is_remote for it in self._readers.values())

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Ask for consecutive chunks of each to be read soon; see `ChunkReader`."""
        return [reader.will_need(chunk, n_chunks) for reader in self._readers.values()]

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in self._readers.values():
            reader.close()
