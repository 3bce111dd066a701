"""Rows of the arrays of a store that is a source of another one."""

import threading
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from zarrts.errors import ReadError, SourceError
from zarrts.labels.scheme import LabelScheme
from zarrts.sources.rows.counted import Counted
from zarrts.sources.rows.inputs import StepsOfRows, input_rows
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import native_dtype
from zarrts.sources.rows.views import DerivedRows
from zarrts.storage.chunks import ChunkReader, open_chunks, read_rows
from zarrts.storage.location import Location
from zarrts.storage.readers import open_input, open_labels
from zarrts.storage.segments import Segment
from zarrts.storage.table import RecordingTable
from zarrts.types import AnyArray, ArraySpec, RowReader

_Which = Literal["x", "counts", "y", "mask"]


class SegmentArrays:
    """The arrays of a segment; opened at the first read, and again after they were closed.

    `_lock` guards the readers. What is pickled are the places.
    """

    def __init__(
        self, root: Location, segment: Segment, labels: LabelScheme, table: RecordingTable
    ) -> None:
        self.root, self.segment, self.labels, self.table = root, segment, labels, table
        self._lock = threading.Lock()
        self._readers: dict[tuple[_Which, str], ChunkReader] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Of the table, reading needs no more than where recordings begin, and their gains.
        table = replace(self.table, sketch=None, read_sketch=None, gaps=None)
        return SegmentArrays, (self.root, self.segment, self.labels, table)

    def reader(self, which: _Which, name: str) -> ChunkReader:
        """Return what reads an array; `name` is that of the input that it is."""
        with self._lock:
            if (which, name) not in self._readers:
                self._readers[which, name] = self._open(which, name)
            return self._readers[which, name]

    def _open(self, which: _Which, name: str) -> ChunkReader:
        if which == "y":
            return open_labels(self.root, self.segment)
        if which == "x":
            return open_input(self.root, self.segment, name, lambda: self.table)
        return open_chunks(self.root, self.spec(which, name))

    def spec(self, which: _Which, name: str) -> ArraySpec:
        """Return what is known of an array, which `reader` reads."""
        if which == "y":
            return self.segment.y
        if which == "mask":
            assert self.segment.mask is not None
            return self.segment.mask
        stored = self.segment.inputs[name].spec
        return stored.of_values if which == "x" else stored

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            readers, self._readers = self._readers, {}
        for it in readers.values():
            it.close()


@dataclass(frozen=True, eq=False)
class StoreRows(Rows):
    """Consecutive rows of an array of a store; labels that are text as text.

    Attributes
    ----------
    arrays : SegmentArrays
    which : str
    start, stop : int
        Rows of the array.
    label : str
        Name of the store in errors.
    name : str
        Of the input, where `which` is "x" or "counts".
    """

    arrays: SegmentArrays
    which: _Which
    start: int
    stop: int
    label: str = field(default="")
    name: str = ""

    @property
    def _spec(self) -> ArraySpec:
        return self.arrays.spec(self.which, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return (self.stop - self.start, *self._spec.row_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored; of labels that are stored as codes, text."""
        if self.which != "y":
            return native_dtype(self._spec.dtype)
        return _dtype_of(self.arrays.labels, self._spec.dtype)

    @property
    def counted(self) -> Counted | None:
        """The counts that are stored, where x is packed: they are stored again as they are."""
        packing = self.arrays.table.packing.get(self.name)
        if self.which != "x" or packing is None:
            return None
        starts = self.arrays.table.starts
        number = int(np.searchsorted(starts, self.start, "right")) - 1
        return Counted(
            replace(self, which="counts"),
            tuple(packing.gain[number].tolist()),
            tuple(packing.offset[number].tolist()),
            packing.packed.missing,
            packing.packed.error,
        )

    @property
    def block_rows(self) -> int:
        """Rows of a chunk."""
        return max(1, min(self._spec.chunk_rows, self.stop - self.start))

    def _read(self, start: int, stop: int) -> AnyArray:
        try:
            reader = self.arrays.reader(self.which, self.name)
            stored = read_rows(reader, self.start + start, self.start + stop)
        except ReadError as error:
            raise SourceError(f"{self.label}: {error}") from error
        return _named(self.arrays.labels, stored) if self.which == "y" else stored

    def close(self) -> None:
        """Close the files of the segment; a later read opens them again."""
        self.arrays.close()


@dataclass(frozen=True)
class FirstRow(DerivedRows):
    """The first row of another reader, whose rows are all the same; of none, a row of zeros."""

    label = "a value"

    @property
    def shape(self) -> tuple[int, ...]:
        """One row."""
        return (1, *self.rows.shape[1:])

    @property
    def block_rows(self) -> int:
        """1: there is one row."""
        return 1

    def _read(self, start: int, stop: int) -> AnyArray:
        if self.rows.shape[0]:
            return self.rows.read(start, stop)
        return np.zeros((stop - start, *self.rows.shape[1:]), self.rows.dtype)


def inputs_of(arrays: SegmentArrays, start: int, stop: int, label: str) -> RowReader:
    """Return the inputs of some rows of a segment as a source has them.

    Several are each of their own steps in time, so that whatever is done with those of files can be
    done with them.
    """
    found: dict[str, RowReader] = {}
    for name, it in arrays.segment.inputs.items():
        rows = StoreRows(arrays, "x", start, stop, label, name)
        found[name] = FirstRow(rows) if not it.steps else as_steps(rows, it.steps)
    if "" in found:
        return found[""]
    fixed = frozenset(name for name, it in arrays.segment.inputs.items() if not it.steps)
    return replace(input_rows(found, label), fixed=fixed)


def as_steps(rows: RowReader, steps: int) -> RowReader:
    """Return what has several steps on axis 1 of a row as one row for each of them."""
    return StepsOfRows(rows) if steps > 1 else rows


def _dtype_of(labels: LabelScheme, stored: np.dtype[Any]) -> np.dtype[Any]:
    if labels.parts:
        return np.dtype(
            [
                (name, _dtype_of(part, stored[name].base), stored[name].shape)
                for name, part in labels.parts.items()
            ]
        )
    return _texts_of(labels).dtype if labels.encoding == "codes" else native_dtype(stored)


def _texts_of(labels: LabelScheme) -> AnyArray:
    # A label that is missing is -1, and takes the last.
    return np.array([*map(str, labels.class_names or ()), ""], np.str_)


def _named(labels: LabelScheme, stored: AnyArray) -> AnyArray:
    """Return labels as they were in the source: names in the place of codes."""
    if labels.parts:
        records = np.empty(stored.shape, _dtype_of(labels, stored.dtype))
        for name, part in labels.parts.items():
            records[name] = _named(part, stored[name])
        return records
    return _texts_of(labels)[stored] if labels.encoding == "codes" else stored
