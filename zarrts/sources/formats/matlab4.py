"""MATLAB files of version 4: matrices one after the other, each with a header of 20 bytes.

The format is that of "MAT-File Format", The MathWorks, Level 4.
"""

import math
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.compressed import exactly
from zarrts.sources.rows.files import SourceFile, Stamp
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.sources.rows.views import ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import RowReader

_TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
_NUMERIC, _TEXT, _SPARSE = 0, 1, 2
_MAX_NAME, _MAX_TEXT = 1024, 1 << 20


@dataclass(frozen=True)
class _Matrix:
    """A matrix whose values begin at byte `start`."""

    dtype: np.dtype[np.generic]
    kind: int
    dims: tuple[int, int]
    is_complex: bool
    start: int

    @property
    def n_bytes(self) -> int:
        return math.prod(self.dims) * self.dtype.itemsize * (2 if self.is_complex else 1)


class Variables:
    """The matrices of an open file; used within one `with` block."""

    def __init__(self, file: SourceFile, stamp: Stamp, stream: BinaryIO) -> None:
        self.file, self.stamp, self._stream = file, stamp, stream
        self.matrices: dict[str, _Matrix] = {}
        start = 0
        while start < stamp.size:
            start = self._add(start)
        if not self.matrices:
            raise self._other(0)

    def _other(self, start: int) -> SourceError:
        return SourceError(
            f"{self.file.origin}: is not a MATLAB file, or is damaged at byte {start:,}; save it "
            "again with save(file, 'x', 'y', '-v7.3')."
        )

    def _add(self, start: int) -> int:
        self._stream.seek(start)
        head = self._stream.read(20)
        order = next((it for it in "<>" if _is_header(head, it)), None)
        if order is None:
            raise self._other(start)
        code, n_rows, n_columns, is_complex, n_name = struct.unpack(f"{order}5i", head)
        name = exactly(self._stream.read, n_name).partition(b"\0")[0].decode("latin-1")
        dtype = np.dtype(order + _TYPES[code // 10 % 10])
        dims = (n_rows, n_columns)
        matrix = _Matrix(dtype, code % 10, dims, bool(is_complex), start + 20 + n_name)
        end = matrix.start + matrix.n_bytes
        if end > self.stamp.size:
            raise SourceError(
                f"{self.file.origin}: {name!r} declares {matrix.n_bytes:,} bytes, but "
                f"{self.stamp.size - matrix.start:,} are there; copy or save it again."
            )
        if name in self.matrices:
            raise SourceError(f"{self.file.origin}: holds {name!r} twice; save it again.")
        self.matrices[name] = matrix
        return end

    def contents(self) -> Contents:
        """Return the matrices by name."""
        return Contents(
            names=tuple(self.matrices),
            found=f"a MATLAB 4 file of {len(self.matrices)} variables",
            shape=lambda name: self.matrices[name].dims,
            summary=lambda name: f"{name} {self.matrices[name].dims} {self.matrices[name].dtype}",
            reader=self.reader,
            description=undescribed,
        )

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader:
        """See `Contents`."""
        matrix, where = self.matrices[name], f"{self.file.origin}: variable {name!r}"
        if matrix.kind == _SPARSE:
            raise SourceError(
                f"{where}: is sparse; save it as a full array: {name} = full({name})."
            )
        if matrix.is_complex:
            raise SourceError(f"{where}: is complex, which cannot be read; save its parts.")
        if matrix.kind == _TEXT:
            return ValueRows(np.array(self._lines(matrix, role, where), np.str_))
        dims: tuple[int, ...] = matrix.dims
        if role == "y" and 1 in dims:
            dims = (math.prod(dims),)  # a row or a column; MATLAB has no arrays of one axis
        check_array(matrix.dtype, dims, role, where)
        order = options.order(role, dims, where)
        layout = ByteLayout.of(matrix.dtype, dims, is_fortran=True, order=order)
        check_rows(layout.shape, where)
        label = f"{self.stamp.path}{where.removeprefix(self.file.origin)}"
        return StridedRows(self.stamp, matrix.start, layout, label)

    def _lines(self, matrix: _Matrix, role: Role, where: str) -> list[str]:
        if role == "x":
            raise SourceError(f"{where}: is text, but x must be numbers.")
        if matrix.n_bytes > _MAX_TEXT:
            raise SourceError(f"{where}: {matrix.n_bytes:,} bytes of text are too long for labels.")
        self._stream.seek(matrix.start)
        codes = np.frombuffer(exactly(self._stream.read, matrix.n_bytes), matrix.dtype)
        table = codes.reshape(matrix.dims[::-1]).T.astype(np.uint32)
        return ["".join(map(chr, line)).rstrip(" \0") for line in table.tolist()]


def _is_header(head: bytes, order: str) -> bool:
    """Return whether these are the first bytes of a matrix, in one byte order."""
    if len(head) < 20:
        return False
    code, n_rows, n_columns, is_complex, n_name = struct.unpack(f"{order}5i", head)
    machine, zero, type_, kind = code // 1000, code // 100 % 10, code // 10 % 10, code % 10
    return bool(
        0 <= code < 2000
        and machine == "<>".index(order)
        and zero == 0
        and type_ < len(_TYPES)
        and kind <= _SPARSE
        and n_rows >= 0
        and n_columns >= 0
        and is_complex in (0, 1)
        and 0 < n_name <= _MAX_NAME
    )
