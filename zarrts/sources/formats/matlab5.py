"""MATLAB files of versions 5 to 7: variables one after the other, compressed or not.

The format is that of "MAT-File Format", The MathWorks: elements of a type, a length and content;
a variable is an element whose content is elements again (flags, sizes, name, values by columns).
Headers are read; values stay where they are, and compressed ones are unpacked by pieces.
"""

import io
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats import matlab_words as words
from zarrts.sources.formats.array_names import listed
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.rows.array_checks import MAX_AXES, check_array, check_rows
from zarrts.sources.rows.compressed import (
    Inflated,
    InflatedMember,
    SpooledRows,
    StreamedRows,
    exactly,
)
from zarrts.sources.rows.files import SourceFile, Stamp
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.sources.rows.views import CastRows, ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import RowReader, SeriesList

VERSIONS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
"""Bytes 124 to 127 of a file, and its byte order."""

MAX_SMALL_BYTES = 64 << 20
"""Of text and of compressed cells, which are held in memory."""

_MATRIX, _COMPRESSED = 14, 15
_TYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2"},
}
_CLASSES = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2"},
    **{12: "i4", 13: "u4", 14: "i8", 15: "u8"},
}
_NAMES = {
    **{1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse"},
    **{16: "function", 17: "object"},
}
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
_IS_COMPLEX, _IS_LOGICAL = 0x800, 0x200
_MAX_NAME = 1024


@dataclass(frozen=True)
class _Variable:
    """One array; where its values are counts from the first byte of what holds it.

    Attributes
    ----------
    name : str
    number : int
        Of its class.
    flags : int
    dims : tuple of int
    values : int
        Where they start, for numbers and text; for cells, where the first one starts.
    n_bytes : int
        Of the values; for cells, of all that follows.
    type : int
        In which numbers are stored.
    of_class : str
        Name of the class of an object.
    """

    name: str
    number: int
    flags: int
    dims: tuple[int, ...]
    values: int
    n_bytes: int
    type: int
    of_class: str = ""

    @property
    def kind(self) -> str:
        if self.of_class:
            return self.of_class
        if self.flags & _IS_COMPLEX:
            return "complex"
        return _NAMES.get(self.number) or np.dtype(_CLASSES.get(self.number, "V1")).name


@dataclass(frozen=True)
class _Place:
    """Place of a variable in the file.

    Attributes
    ----------
    start, n_bytes : int
        Of the element's content.
    is_compressed : bool
    """

    start: int
    n_bytes: int
    is_compressed: bool


class Variables:
    """The variables of an open file; used within one `with` block."""

    def __init__(self, file: SourceFile, stamp: Stamp, stream: BinaryIO, version: bytes) -> None:
        self.file, self.stamp = file, stamp
        self._stream, self._order = stream, VERSIONS[version]
        self.variables: dict[str, tuple[_Place, _Variable]] = {}
        start = 128
        while start < stamp.size:
            start = self._add(start)

    def _add(self, start: int) -> int:
        origin = self.file.origin
        self._stream.seek(start)
        kind, n_bytes = self._tag(self._stream.read)
        end = start + 8 + n_bytes
        if kind not in (_MATRIX, _COMPRESSED) or end > self.stamp.size:
            raise SourceError(
                f"{origin}: holds an element of type {kind} and {n_bytes:,} bytes at byte "
                f"{start:,} of {self.stamp.size:,}; copy or save it again."
            )
        place = _Place(start + 8, n_bytes, kind == _COMPRESSED)
        if place.is_compressed:
            unpacked = Inflated(self._stream, n_bytes)
            inner, n_inner = self._tag(unpacked.read)
            if inner != _MATRIX:
                raise SourceError(f"{origin}: a compressed element is not an array; save it again.")
            variable = self._variable(unpacked.read, n_inner, 8)
        else:
            variable = self._variable(self._stream.read, n_bytes, 0)
        if variable.name:  # without a name it is what functions remember
            if variable.name in self.variables:
                raise SourceError(f"{origin}: holds {variable.name!r} twice; save it again.")
            self.variables[variable.name] = place, variable
        return end

    def _tag(self, read: Callable[[int], bytes]) -> tuple[int, int]:
        kind, n_bytes = struct.unpack(f"{self._order}II", exactly(read, 8))
        return kind, n_bytes

    def _element(self, read: Callable[[int], bytes]) -> tuple[int, int, bytes | None, int]:
        """Return type and size of a small part, its content if it is in the tag, and its length."""
        raw = exactly(read, 8)
        (first,) = struct.unpack(f"{self._order}I", raw[:4])
        if first >> 16:
            n_bytes = min(first >> 16, 4)
            return first & 0xFFFF, n_bytes, raw[4 : 4 + n_bytes], 8
        (n_bytes,) = struct.unpack(f"{self._order}I", raw[4:])
        return first, n_bytes, None, 8

    def _small(self, read: Callable[[int], bytes], most: int) -> tuple[bytes, int]:
        """Return the content of a part of at most `most` bytes, and how many bytes it took."""
        _, n_bytes, content, taken = self._element(read)
        if content is not None:
            return content, taken
        if n_bytes > most:
            raise ValueError(f"a header of {n_bytes:,} bytes")
        padded = -(-n_bytes // 8) * 8
        return exactly(read, padded)[:n_bytes], taken + padded

    def _variable(self, read: Callable[[int], bytes], n_bytes: int, start: int) -> _Variable:
        flags_bytes, n_flags = self._small(read, 8)
        (flags,) = struct.unpack(f"{self._order}I", flags_bytes[:4])
        number = flags & 0xFF
        if number == _OPAQUE:
            # Its name, the system that it is of ("MCOS"), and its class; other parts follow.
            parts = [self._small(read, _MAX_NAME)[0].decode("latin-1") for _ in range(3)]
            return _Variable(parts[0], number, flags, (), 0, 0, 0, parts[2])
        dims_bytes, n_dims = self._small(read, 4 * MAX_AXES)
        dims = struct.unpack(f"{self._order}{len(dims_bytes) // 4}i", dims_bytes)
        name, n_name = self._small(read, _MAX_NAME)
        if len(dims) < 2 or any(length < 0 for length in dims):
            raise ValueError(f"an array of shape {dims}")
        used = n_flags + n_dims + n_name
        text = name.decode("latin-1")
        if number == _CELL or number not in (*_CLASSES, _CHAR):
            return _Variable(text, number, flags, dims, start + used, n_bytes - used, 0)
        kind, n_values, content, taken = self._element(read)
        at = start + used + (4 if content is not None else taken)
        if used + taken + (0 if content is not None else n_values) > n_bytes:
            raise ValueError(f"{text!r} has more values than room")
        return _Variable(text, number, flags, dims, at, n_values, kind)

    # What is in them ---------------------------------------------------------------------------

    def contents(self) -> Contents:
        """Return the arrays by name."""
        self._refuse_structs_alone()
        return Contents(
            names=tuple(self.variables),
            found=f"a MATLAB file of {len(self.variables)} variables",
            shape=lambda name: self.variables[name][1].dims,
            summary=self.summary,
            reader=self.reader,
            description=undescribed,
        )

    def summary(self, name: str) -> str:
        """See `Contents`."""
        place, variable = self.variables[name]
        if variable.number == _STRUCT:
            return f"{name} {variable.dims} struct"
        if variable.number == _CELL and 0 not in variable.dims:
            more = " of structs" if self._are_structs(place, variable) else ""
            return f"{name} {variable.dims} cell{more}"
        return f"{name} {variable.dims} {variable.kind}"

    def _refuse_structs_alone(self) -> None:
        """Raise SourceError where variables are structs, and nothing else could be asked for."""
        if not self.variables or not all(self._are_structs(*it) for it in self.variables.values()):
            return
        name, (place, variable) = next(iter(self.variables.items()))
        where = f"{self.file.origin}: variable {name!r}"
        if variable.number == _CELL:
            self._cell(place, variable, "x", SourceOptions(), where)
        raise SourceError(words.of_struct(where, name))

    def _are_structs(self, place: _Place, variable: _Variable) -> bool:
        """Return whether it is a struct, or a cell whose first item is one, as far as is seen."""
        if variable.number != _CELL:
            return variable.number == _STRUCT
        try:
            items = self._items(place, variable, variable.name)[2]
        except (SourceError, zlib.error, struct.error):
            return False
        return bool(items) and items[0].number == _STRUCT

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        """See `Contents`."""
        place, variable = self.variables[name]
        where = f"{self.file.origin}: variable {name!r}"
        if variable.number == _CELL:
            return self._cell(place, variable, role, options, where)
        if variable.number == _CHAR and role == "y":
            return ValueRows(np.array(self._lines(self._content(place, variable), variable, where)))
        layout, cast = self._layout(variable, role, options, where)
        label = f"{self.stamp.path}{where.removeprefix(self.file.origin)}"
        rows: RowReader
        if place.is_compressed:
            member = InflatedMember(
                self.stamp, place.start, place.n_bytes, variable.values, layout.total_bytes, label
            )
            rows = (StreamedRows if layout.is_rows_first else SpooledRows)(member, layout)
        else:
            rows = StridedRows(self.stamp, place.start + variable.values, layout, label)
        return rows if rows.dtype == cast else CastRows(rows, cast)

    def _layout(
        self, variable: _Variable, role: Role, options: SourceOptions, where: str
    ) -> tuple[ByteLayout, np.dtype[Any]]:
        if variable.number not in _CLASSES or variable.flags & _IS_COMPLEX:
            kind = variable.kind
            remedy = words.remedy(kind, variable.name or "x")
            raise SourceError(f"{where}: is {kind}, which cannot be read; {remedy}.")
        stored = np.dtype(self._order + _TYPES.get(variable.type, "V1"))
        cast = np.dtype(bool if variable.flags & _IS_LOGICAL else _CLASSES[variable.number])
        if not np.can_cast(stored, cast, "same_kind") and cast.kind != "b":
            raise SourceError(f"{where}: is stored as {stored} for {cast}; save it again.")
        dims = variable.dims
        if role == "y" and len(dims) == 2 and 1 in dims:
            dims = (math.prod(dims),)  # a row or a column; MATLAB has no arrays of one axis
        check_array(stored, dims, role, where)
        order = options.order(role, dims, where)
        layout = ByteLayout.of(stored, dims, is_fortran=True, order=order)
        check_rows(layout.shape, where)
        if layout.total_bytes != variable.n_bytes:
            raise SourceError(
                f"{where}: declares the shape {variable.dims} of {stored} ({layout.total_bytes:,} "
                f"bytes), but {variable.n_bytes:,} bytes are there; save it again."
            )
        return layout, cast

    def _content(self, place: _Place, variable: _Variable) -> bytes:
        where = f"{self.file.origin}: variable {variable.name!r}"
        if variable.n_bytes > MAX_SMALL_BYTES:
            raise SourceError(
                f"{where}: {variable.n_bytes:,} bytes of {variable.kind} are more than the "
                f"{MAX_SMALL_BYTES:,} that are held in memory; save it with '-v7.3'."
            )
        self._stream.seek(place.start + (0 if place.is_compressed else variable.values))
        if not place.is_compressed:
            return exactly(self._stream.read, variable.n_bytes)
        unpacked = Inflated(self._stream, place.n_bytes)
        left = variable.values
        while left:
            left -= len(exactly(unpacked.read, min(left, 1 << 20)))
        content = exactly(unpacked.read, variable.n_bytes)
        unpacked.check_end()
        return content

    def _lines(self, content: bytes, variable: _Variable, where: str) -> list[str]:
        """Return the lines of a char array; MATLAB fills short ones up with spaces."""
        kinds = {1: "utf-8", 2: "utf-8", 16: "utf-8", 4: "utf-16", 17: "utf-16"}
        coding = kinds.get(variable.type)
        if not math.prod(variable.dims):
            return [""]
        if coding is None or len(variable.dims) != 2:
            raise SourceError(f"{where}: holds text of shape {variable.dims}; save one line each.")
        suffix = {"<": "-le", ">": "-be"}[self._order] if coding == "utf-16" else ""
        text = content.decode(coding + suffix)
        n_lines, length = variable.dims
        if len(text) != n_lines * length:
            if n_lines != 1:
                raise SourceError(f"{where}: holds damaged text; save it again.")
            return [text.rstrip(" \0")]
        return [text[line::n_lines].rstrip(" \0") for line in range(n_lines)]

    def _cell(
        self, place: _Place, cell: _Variable, role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
        content, (stream, base), items = self._items(place, cell, where)
        if any(item.number == _STRUCT for item in items):
            first = next(item for item in items if item.number == _STRUCT)
            fields = listed(self._fields(stream, base, first))
            raise SourceError(words.of_structs(where, len(items), fields))
        return self._series_of(content, stream, base, cell, items, role, options, where)

    def _fields(self, stream: BinaryIO, base: int, struct_: _Variable) -> list[str]:
        """Return the names of the fields of a struct in a cell."""
        stream.seek(base + struct_.values)
        (width,) = struct.unpack(f"{self._order}i", self._small(stream.read, 4)[0])
        names, _ = self._small(stream.read, MAX_SMALL_BYTES)
        parts = (names[i : i + width] for i in range(0, len(names), max(1, width)))
        return [part.partition(b"\0")[0].decode("latin-1") for part in parts]

    def _items(
        self, place: _Place, cell: _Variable, where: str
    ) -> tuple[bytes | None, tuple[BinaryIO, int], list[_Variable]]:
        """Return the content where it was unpacked, a stream and where it starts, and the cells."""
        n_cells = math.prod(cell.dims)
        content = self._content(place, cell) if place.is_compressed else None
        items = []
        start, end = cell.values, cell.values + cell.n_bytes
        stream: BinaryIO = self._stream if content is None else io.BytesIO(content)
        base = place.start if content is None else -cell.values
        for number in range(1, n_cells + 1):
            if start + 8 > end:
                raise SourceError(f"{where}: {number - 1:,} of its {n_cells:,} cells are there.")
            stream.seek(base + start)
            kind, n_bytes = self._tag(stream.read)
            if kind != _MATRIX or start + 8 + n_bytes > end:
                raise SourceError(f"{where}: cell {number} is damaged; save it again.")
            items.append(self._variable(stream.read, n_bytes, start + 8))
            start += 8 + n_bytes
        return content, (stream, base), items

    def _series_of(
        self,
        content: bytes | None,
        stream: BinaryIO,
        base: int,
        cell: _Variable,
        items: list[_Variable],
        role: Role,
        options: SourceOptions,
        where: str,
    ) -> RowReader | SeriesList:
        place = self.variables[cell.name][0]
        if role == "y" and items and all(item.number == _CHAR for item in items):
            return ValueRows(np.array([self._line(stream, base, item, where) for item in items]))
        readers = []
        for number, item in enumerate(items, start=1):
            layout, cast = self._layout(item, role, options, f"{where}, cell {number}")
            label = f"{self.stamp.path}: {cell.name}, cell {number}"
            rows: RowReader
            if content is None:
                rows = StridedRows(self.stamp, place.start + item.values, layout, label)
            else:
                at = item.values - cell.values
                buffer = np.frombuffer(content, np.uint8, item.n_bytes, at).copy()
                rows = ValueRows(layout.arrange(buffer, layout.n_rows, label))
            readers.append(rows if rows.dtype == cast else CastRows(rows, cast))
        if role == "y" and readers and all(it.shape == (1,) for it in readers):
            return ValueRows(np.concatenate([it.read(0, 1) for it in readers]))
        return SeriesList(tuple(readers))

    def _line(self, stream: BinaryIO, base: int, item: _Variable, where: str) -> str:
        stream.seek(base + item.values)
        if item.n_bytes > _MAX_NAME * 4:
            raise SourceError(f"{where}: a label of {item.n_bytes:,} bytes is too long.")
        lines = self._lines(exactly(stream.read, item.n_bytes), item, where)
        if len(lines) != 1:
            raise SourceError(f"{where}: has a cell of several lines; a label is one line.")
        return lines[0]
