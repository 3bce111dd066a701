"""MATLAB files of versions 5 to 7: variables one after the other, compressed or not.

The format is that of "MAT-File Format", The MathWorks: elements of a type, a length and content;
a variable is an element whose content is elements again (flags, sizes, name, values by columns).
Headers are read; values stay where they are, and compressed ones are unpacked by pieces.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats import matlab_words as words
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.matlab5_elements import (
    CELL,
    CHAR,
    CLASSES,
    COMPRESSED,
    IS_COMPLEX,
    IS_LOGICAL,
    MATRIX,
    MAX_NAME,
    STRUCT,
    TYPES,
    Elements,
    Place,
    Variable,
)
from zarrts.sources.formats.matlab5_structs import Cursor, Field, fields_of
from zarrts.sources.rows.array_checks import check_array, check_rows
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


class Variables:
    """The variables of an open file; used within one `with` block."""

    def __init__(self, file: SourceFile, stamp: Stamp, stream: BinaryIO, version: bytes) -> None:
        self.file, self.stamp = file, stamp
        self._stream, self._order = stream, VERSIONS[version]
        self._elements = Elements(self._order)
        self.variables: dict[str, tuple[Place, Variable]] = {}
        start = 128
        while start < stamp.size:
            start = self._add(start)

    def _add(self, start: int) -> int:
        origin = self.file.origin
        self._stream.seek(start)
        kind, n_bytes = self._elements.tag(self._stream.read)
        end = start + 8 + n_bytes
        if kind not in (MATRIX, COMPRESSED) or end > self.stamp.size:
            raise SourceError(
                f"{origin}: holds an element of type {kind} and {n_bytes:,} bytes at byte "
                f"{start:,} of {self.stamp.size:,}; copy or save it again."
            )
        place = Place(start + 8, n_bytes, kind == COMPRESSED)
        if place.is_compressed:
            unpacked = Inflated(self._stream, n_bytes)
            inner, n_inner = self._elements.tag(unpacked.read)
            if inner != MATRIX:
                raise SourceError(f"{origin}: a compressed element is not an array; save it again.")
            variable = self._elements.variable(unpacked.read, n_inner, 8)
        else:
            variable = self._elements.variable(self._stream.read, n_bytes, 0)
        if variable.name:  # without a name it is what functions remember
            if variable.name in self.variables:
                raise SourceError(f"{origin}: holds {variable.name!r} twice; save it again.")
            self.variables[variable.name] = place, variable
        return end

    # What is in them ---------------------------------------------------------------------------

    def contents(self) -> Contents:
        """Return the arrays by name; fields of structs as "EEG.data"."""
        fields = self._fields()
        plain = [name for name in self.variables if not self._is_of_structs(name, fields)]
        names = (*plain, *(name for name in fields if name not in self.variables))

        def first(name: str) -> Variable:
            return self.variables[name][1] if name in self.variables else fields[name].items[0]

        def summary(name: str) -> str:
            many = f" of {len(fields[name].items):,}" if name in fields else ""
            listed = name in fields and fields[name].is_list
            return f"{name} {first(name).dims} {first(name).kind}{many if listed else ''}"

        def reader(name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
            where = f"{self.file.origin}: variable {name!r}"
            if name in self.variables:
                return self._reader(*self.variables[name], role, options, where)
            return self._field(fields[name], role, options, where)

        return Contents(
            names=names or tuple(self.variables),
            found=f"a MATLAB file of {len(self.variables)} variables",
            shape=lambda name: first(name).dims,
            summary=summary,
            reader=reader,
            description=undescribed,
        )

    def _is_of_structs(self, name: str, fields: Mapping[str, Field]) -> bool:
        return any(it.top == name for it in fields.values())

    def _fields(self) -> dict[str, Field]:
        """Return the fields of all structs, and of structs in cells, by their paths."""
        found: dict[str, Field] = {}
        for name, (place, variable) in self.variables.items():
            if variable.number in (STRUCT, CELL):
                cursor = self._cursor(place)
                cursor.skip_to(variable.values)
                found |= fields_of(self._elements, cursor, variable, name)
        return found

    def _cursor(self, place: Place) -> Cursor:
        self._stream.seek(place.start)
        if place.is_compressed:
            return Cursor(Inflated(self._stream, place.n_bytes).read)
        stream, start = self._stream, place.start
        return Cursor(stream.read, lambda position: stream.seek(start + position))

    def _field(
        self, field: Field, role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
        place, top = self.variables[field.top]
        if not field.is_list:
            return self._reader(place, field.items[0], role, options, where)
        content = self._content(place, top) if place.is_compressed else None
        stream: BinaryIO = self._stream if content is None else io.BytesIO(content)
        base = place.start if content is None else -top.values
        return self._series_of(content, stream, base, place, top, field.items, role, options, where)

    def _reader(
        self, place: Place, variable: Variable, role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
        if variable.number == CELL:
            return self._cell(place, variable, role, options, where)
        if variable.number == CHAR and role == "y":
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
        self, variable: Variable, role: Role, options: SourceOptions, where: str
    ) -> tuple[ByteLayout, np.dtype[Any]]:
        if variable.number not in CLASSES or variable.flags & IS_COMPLEX:
            kind = variable.kind
            remedy = words.remedy(kind, variable.name or "x")
            raise SourceError(f"{where}: is {kind}, which cannot be read; {remedy}.")
        stored = np.dtype(self._order + TYPES.get(variable.type, "V1"))
        cast = np.dtype(bool if variable.flags & IS_LOGICAL else CLASSES[variable.number])
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

    def _content(self, place: Place, variable: Variable) -> bytes:
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

    def _lines(self, content: bytes, variable: Variable, where: str) -> list[str]:
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
        self, place: Place, cell: Variable, role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
        content, (stream, base), items = self._items(place, cell, where)
        return self._series_of(content, stream, base, place, cell, items, role, options, where)

    def _items(
        self, place: Place, cell: Variable, where: str
    ) -> tuple[bytes | None, tuple[BinaryIO, int], list[Variable]]:
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
            kind, n_bytes = self._elements.tag(stream.read)
            if kind != MATRIX or start + 8 + n_bytes > end:
                raise SourceError(f"{where}: cell {number} is damaged; save it again.")
            items.append(self._elements.variable(stream.read, n_bytes, start + 8))
            start += 8 + n_bytes
        return content, (stream, base), items

    def _series_of(
        self,
        content: bytes | None,
        stream: BinaryIO,
        base: int,
        place: Place,
        cell: Variable,
        items: Sequence[Variable],
        role: Role,
        options: SourceOptions,
        where: str,
    ) -> RowReader | SeriesList:
        if role == "y" and items and all(item.number == CHAR for item in items):
            return ValueRows(np.array([self._line(stream, base, item, where) for item in items]))
        readers = []
        for number, item in enumerate(items, start=1):
            layout, cast = self._layout(item, role, options, f"{where}, cell {number}")
            label = f"{self.stamp.path}{where.removeprefix(self.file.origin)}, cell {number}"
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

    def _line(self, stream: BinaryIO, base: int, item: Variable, where: str) -> str:
        stream.seek(base + item.values)
        if item.n_bytes > MAX_NAME * 4:
            raise SourceError(f"{where}: a label of {item.n_bytes:,} bytes is too long.")
        lines = self._lines(exactly(stream.read, item.n_bytes), item, where)
        if len(lines) != 1:
            raise SourceError(f"{where}: has a cell of several lines; a label is one line.")
        return lines[0]
