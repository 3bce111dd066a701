"""Read the arrays of all segments of a store; several of a kind by themselves, and as records."""

from collections.abc import Callable, Mapping
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
from zarrts.types import AnyArray, ArraySpec, Packed


@dataclass(frozen=True, kw_only=True)
class InputReaders:
    """The readers of one input in every segment, in the order of the store.

    Attributes
    ----------
    name : str
        "" of the only one.
    readers : tuple of ChunkReader
        Of values, whatever is stored.
    held : tuple of ChunkReader
        As the memory of open chunks holds them: counts, where all of it is counts.
    steps : int
        As in `InputArray`.
    are_counts : bool
        All of it is stored as counts, in which NaN are the same count.
    """

    name: str
    readers: tuple[ChunkReader, ...]
    held: tuple[ChunkReader, ...]
    steps: int
    are_counts: bool = False

    @property
    def spec(self) -> ArraySpec:
        """The array of values in the first segment; rows and dtype are those of all."""
        return self.readers[0].spec


class Tables:
    """The tables of recordings of a store, read when they are first asked for.

    Parameters
    ----------
    still_there : StillThere, optional
        Asked where one cannot be read.
    """

    def __init__(self, root: Location, header: StoreHeader, still_there: StillThere | None) -> None:
        self._root, self._header, self._still_there = root, header, still_there
        self._packing: dict[str, Packing] = {}  # two threads may both make one: the same

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

    def packing(self, name: str) -> Packing:
        """Return the packing of an input in all recordings.

        It has to be stored as counts throughout.
        """
        if name not in self._packing:
            self._packing[name] = Packing.joined([it.packing[name] for it in self.every])
        return self._packing[name]


@dataclass(frozen=True)
class Readers:
    """Readers of the arrays of every segment, in the order of the store.

    Attributes
    ----------
    inputs : tuple of InputReaders
        Each array of x by itself.
    x, y : tuple of ChunkReader
        Of values, whatever is stored; several arrays read as one of records.
    mask : tuple of ChunkReader or None
        None of a segment whose rows are all good.
    tables : Tables
    label_steps : int
        As in `Segment`.
    """

    inputs: tuple[InputReaders, ...]
    x: tuple[ChunkReader, ...]
    y: tuple[ChunkReader, ...]
    mask: tuple[ChunkReader | None, ...]
    tables: Tables
    still_there: StillThere | None = None
    label_steps: int = 1

    @staticmethod
    def of(root: Location, header: StoreHeader) -> "Readers":
        """Return the readers of a store; no file is opened before it is read."""
        segments = header.segments
        there = StillThere(root, {it.name: it.write_id for it in segments}, header.write_id)
        tables = Tables(root, header, there)
        of_segments = [
            _values_of_each(root, segment, partial(_numbered, tables, number), there)
            for number, segment in enumerate(segments)
        ]
        inputs = []
        for name, array in segments[0].inputs.items():
            values = tuple(it[name] for it in of_segments)
            held = tuple(it.counts if isinstance(it, ValueReader) else it for it in values)
            packed = {_exact(it.inputs[name].spec.packed) for it in segments}
            are_counts = len(packed) == 1 and None not in packed
            inputs.append(
                InputReaders(
                    name=name,
                    readers=values,
                    held=held if are_counts else values,
                    steps=array.steps,
                    are_counts=are_counts,
                )
            )
        return Readers(
            inputs=tuple(inputs),
            x=tuple(
                _joined(segment.x_values, each)
                for segment, each in zip(segments, of_segments, strict=True)
            ),
            y=tuple(open_labels(root, segment, there) for segment in segments),
            mask=tuple(open_mask(root, segment, there) for segment in segments),
            tables=tables,
            still_there=there,
            label_steps=segments[0].label_steps,
        )

    @property
    def is_remote(self) -> bool:
        """Whether the store is read through a network."""
        return any(it.is_remote for it in self.x)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in (*self.x, *self.y, *filter(None, self.mask)):
            reader.close()


def _exact(packed: Packed | None) -> Packed | None:
    """Return the meaning of counts, whatever rounding to them lost."""
    return packed and replace(packed, error=0.0)


def open_inputs(root: Location, segment: Segment) -> ChunkReader:
    """Return what reads the inputs of a segment as they are stored, one array or several."""
    readers = {name: open_chunks(root, it.spec) for name, it in segment.inputs.items()}
    return _joined(segment.x, readers)


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
    return _joined(segment.x_values, _values_of_each(root, segment, table, still_there))


def _values_of_each(
    root: Location,
    segment: Segment,
    table: Callable[[], RecordingTable],
    still_there: StillThere | None,
) -> dict[str, ChunkReader]:
    return {name: open_input(root, segment, name, table, still_there) for name in segment.inputs}


def open_input(
    root: Location,
    segment: Segment,
    name: str,
    table: Callable[[], RecordingTable],
    still_there: StillThere | None = None,
) -> ChunkReader:
    """Return what reads the values of one input of a segment; see `open_values`."""
    spec = segment.inputs[name].spec
    stored = open_chunks(root, spec, still_there)
    if spec.packed is None:
        return stored

    def rows() -> PackedRows:
        found = table()
        return PackedRows(found.packing[name], found.starts)

    return ValueReader(stored, rows)


def open_labels(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader:
    """Return what reads the labels of a segment, whether they are one array or several."""
    readers = {
        label_name(array): open_chunks(root, spec, still_there)
        for array, spec in segment.labels.items()
    }
    return _joined(segment.y, readers)


def _joined(spec: ArraySpec, readers: Mapping[str, ChunkReader]) -> ChunkReader:
    """Return what reads arrays as one; the one without a name is that already."""
    return readers[""] if "" in readers else JoinedReader(spec, readers)


def open_mask(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader | None:
    """Return what reads the mask of a segment, if it has one."""
    return None if segment.mask is None else open_chunks(root, segment.mask, still_there)


class JoinedReader:
    """Reads the chunks of several arrays with the same rows; see `ChunkReader`."""

    def __init__(self, spec: ArraySpec, readers: Mapping[str, ChunkReader]) -> None:
        self.spec = spec
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
