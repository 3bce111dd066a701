"""Layouts of arrays in bytes, and the reader of arrays that lie uncompressed in a file."""

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zarrts.buckets.remote_file import RemoteStream
from zarrts.errors import SourceError
from zarrts.sources.rows.files import Stamp
from zarrts.sources.rows.reader import Rows
from zarrts.types import AnyArray

RUN_BYTES = 16 * 1024
"""Shorter runs cost more in calls than in bytes; `block_rows` asks for at least this much."""


@dataclass(frozen=True)
class ByteLayout:
    """Places of the values of an array in storage, and the order in which they come out.

    Attributes
    ----------
    stored_dtype : numpy.dtype
        As in the file, in either byte order.
    stored_shape : tuple of int
        Slowest axis first, as the bytes lie; for Fortran order the reverse of the array's shape.
    axes : tuple of int
        Axis i of the result is axis `axes[i]` of `stored_shape`; rows are `axes[0]`.
    """

    stored_dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    axes: tuple[int, ...]

    @classmethod
    def of(
        cls,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        *,
        is_fortran: bool,
        order: tuple[int, ...] | None = None,
    ) -> "ByteLayout":
        """Return the layout of an array of `shape` whose axes are to come out in `order`."""
        order = tuple(range(len(shape))) if order is None else order
        if not is_fortran:
            return cls(dtype, shape, order)
        last = len(shape) - 1
        return cls(dtype, shape[::-1], tuple(last - axis for axis in order))

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result, rows first."""
        return tuple(self.stored_shape[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the result: native byte order, and text ("U") for bytes ("S")."""
        return native_dtype(self.stored_dtype)

    @property
    def n_rows(self) -> int:
        """Length of the result's axis 0."""
        return self.stored_shape[self.axes[0]]

    @property
    def n_runs(self) -> int:
        """Number of separate places in storage that hold a part of each row."""
        return math.prod(self.stored_shape[: self.axes[0]])

    @property
    def run_row_bytes(self) -> int:
        """Bytes of one row that lie together in one run."""
        return math.prod(self.stored_shape[self.axes[0] + 1 :]) * self.stored_dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole array in storage."""
        return math.prod(self.stored_shape) * self.stored_dtype.itemsize

    @property
    def is_rows_first(self) -> bool:
        """Whether consecutive rows are consecutive bytes."""
        return self.n_runs == 1

    @property
    def block_rows(self) -> int:
        """1 where rows lie together; else as many as make a run of `RUN_BYTES`, at most all."""
        if self.is_rows_first or not self.run_row_bytes:
            return 1
        return max(1, min(self.n_rows, -(-RUN_BYTES // self.run_row_bytes)))

    def arrange(self, buffer: NDArray[np.uint8], n_rows: int, label: str) -> AnyArray:
        """Turn the bytes of `n_rows` rows, as they lie in storage, into the result's array.

        The result is C-contiguous and native; it shares memory with `buffer` where nothing
        had to be moved. `label` names the source in errors.
        """
        shape = list(self.stored_shape)
        shape[self.axes[0]] = n_rows
        rows = buffer.view(self.stored_dtype).reshape(shape).transpose(self.axes)
        return to_native(rows, label)


def native_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return `dtype` in native byte order; text ("U") of as many characters for bytes ("S")."""
    if dtype.kind == "S":
        return np.dtype(f"U{dtype.itemsize}")
    return dtype.newbyteorder("=")


def to_native(rows: AnyArray, label: str) -> AnyArray:
    """Return `rows` C-contiguous, in `native_dtype`; bytes are read as UTF-8 text."""
    dtype = native_dtype(rows.dtype)
    if rows.dtype.kind == "S":
        try:
            rows = np.char.decode(rows, "utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{label}: holds text that is not UTF-8 ({error}); save it as str (NumPy dtype U)."
            ) from error
    native: AnyArray = np.ascontiguousarray(rows, dtype=dtype)
    if dtype.kind == "U" and native.size:
        codes = native.reshape(-1).view(np.uint32)
        if bool(np.any((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF)))):
            raise SourceError(f"{label}: holds text that is not valid Unicode; save it again.")
    return native


def _read_at(file: BinaryIO, offset: int, target: memoryview) -> int:
    """Read once at `offset` into `target`; return the number of bytes, 0 at the file's end.

    The one place that knows of a Unix-only call. `file` belongs to a single `read`, so the
    position that the other branch moves is seen by nobody else.
    """
    stream = getattr(file, "raw", file)  # of a buffer, which stays where it is
    if isinstance(stream, RemoteStream):
        return stream.read_at(offset, target)
    preadv: Callable[[int, list[memoryview], int], int] | None = getattr(os, "preadv", None)
    if preadv is not None:
        return preadv(file.fileno(), [target], offset)
    file.seek(offset)
    n_bytes: int | None = file.readinto(target)  # type: ignore[attr-defined]
    return n_bytes or 0


def fill_from(file: BinaryIO, offset: int, target: memoryview, label: str) -> None:
    """Fill `target` with the bytes of `file` at `offset`; SourceError where there are fewer."""
    done = 0
    while done < len(target):
        try:
            n_bytes = _read_at(file, offset + done, target[done:])
        except OSError as error:
            raise SourceError(f"{label}: cannot be read ({error}).") from error
        if not n_bytes:
            raise SourceError(
                f"{label}: truncated while being read (nothing at byte {offset + done:,}); start "
                "again once it is whole."
            )
        done += n_bytes


def fill_all_from(file: BinaryIO, parts: Sequence[tuple[int, memoryview]], label: str) -> None:
    """Fill targets with the bytes at their offsets; those of a remote file a few at once."""
    if isinstance(file, RemoteStream):
        file.file.fill_all(parts)
        return
    for offset, target in parts:
        fill_from(file, offset, target, label)


@dataclass(frozen=True)
class StridedRows(Rows):
    """Rows of an uncompressed array at a byte offset of a file.

    Every `read` opens the file, checks that it is the one seen before, and closes it: no file
    stays open, threads need no lock, and 100,000 readers cost no file descriptor. Never a
    memory map, which kills the process where a file is cut short meanwhile.

    Attributes
    ----------
    stamp : Stamp
        Of the file.
    offset : int
        Of the array's first byte.
    layout : ByteLayout
        How the array lies there.
    label : str
        Name of the array in errors.
    """

    stamp: Stamp
    offset: int
    layout: ByteLayout
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype, in native byte order."""
        return self.layout.dtype

    @property
    def block_rows(self) -> int:
        """See `ByteLayout.block_rows`."""
        return self.layout.block_rows

    def _read(self, start: int, stop: int) -> AnyArray:
        layout = self.layout
        n_rows = stop - start
        run_bytes = n_rows * layout.run_row_bytes
        stride = layout.n_rows * layout.run_row_bytes
        buffer = np.empty(layout.n_runs * run_bytes, np.uint8)
        if buffer.size:
            target = buffer.data
            with self.stamp.open() as file:
                if n_rows == layout.n_rows:
                    fill_from(file, self.offset, target, self.label)
                else:
                    first = self.offset + start * layout.run_row_bytes
                    runs = [
                        (first + run * stride, target[run * run_bytes : (run + 1) * run_bytes])
                        for run in range(layout.n_runs)
                    ]
                    fill_all_from(file, runs, self.label)
        return layout.arrange(buffer, n_rows, self.label)
