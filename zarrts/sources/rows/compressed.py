"""Readers of arrays that can only be unpacked from the start, such as compressed ones."""

import contextlib
import os
import struct
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Protocol, Self

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.files import FileStamp, Stamp
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.types import AnyArray

try:
    from lzma import LZMAError as _LZMAError
except ImportError:  # Python can be built without lzma; zipfile then refuses such members.
    _LZMAError = zlib.error  # type: ignore[misc, assignment]

PIECE_BYTES = 1024 * 1024
"""The most that is decompressed at once, whatever the file declares."""

PACKED_ERRORS: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    _LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    OverflowError,
    struct.error,
)
"""Errors that unpacking raises where bytes are damaged or of a kind that is not supported."""


class Packed(Protocol):
    """One array that has to be unpacked from its first byte on."""

    @property
    def stamp(self) -> Stamp:
        """Stamp of the file that it is in."""
        ...

    @property
    def label(self) -> str:
        """Name of the array in errors."""
        ...

    def open(self) -> "PackedStream":
        """Open the array at its first byte."""
        ...


class _Readable(Protocol):
    def read(self, n_bytes: int, /) -> bytes: ...


@dataclass(frozen=True)
class PackedStream:
    """An array that is being unpacked."""

    stream: _Readable
    close: Callable[[], None]

    def fill(self, target: memoryview) -> None:
        """Fill `target` with the next bytes; EOFError where there are not enough."""
        done = 0
        while done < len(target):
            piece = self.stream.read(min(PIECE_BYTES, len(target) - done))
            if not piece:
                raise EOFError(f"the member ends {len(target) - done:,} bytes early")
            target[done : done + len(piece)] = piece
            done += len(piece)

    def skip(self, n_bytes: int) -> None:
        """Pass over `n_bytes` bytes, which are decompressed and dropped piece by piece."""
        while n_bytes:
            piece = self.stream.read(min(PIECE_BYTES, n_bytes))
            if not piece:
                raise EOFError(f"the member ends {n_bytes:,} bytes early")
            n_bytes -= len(piece)

    def finish(self) -> None:
        """Check that nothing follows; zipfile compares the checksum when it meets the end."""
        if self.stream.read(1):
            raise zipfile.BadZipFile("bytes follow the array")


class _CompressedRows(Rows):
    """Base of the readers of compressed arrays: the member, its layout, and a lock.

    Only the member and the layout are pickled.
    """

    def __init__(self, member: Packed, layout: ByteLayout) -> None:
        self._member, self._layout, self.label = member, layout, member.label
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return self._layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype, in native byte order."""
        return self._layout.dtype

    @property
    def block_rows(self) -> int:
        """See `ByteLayout.block_rows`."""
        return self._layout.block_rows

    def __reduce__(self) -> tuple[type[Self], tuple[Packed, ByteLayout]]:
        return type(self), (self._member, self._layout)


class StreamedRows(_CompressedRows):
    """Rows of a compressed member in which consecutive rows are consecutive bytes.

    Reading forward continues where the last read ended; reading backwards starts again. The
    read that reaches the last row has seen every byte and has compared the checksum; rows
    before it are only as good as that read's outcome.

    The lock guards the open stream and its position, and is held while reading, since a stream
    has one position. A copy made by pickling has its own.
    """

    def __init__(self, member: Packed, layout: ByteLayout) -> None:
        super().__init__(member, layout)
        self._open: PackedStream | None = None
        self._next_row = 0

    @property
    def is_sequential(self) -> bool:
        """Always: the stream only runs forward."""
        return True

    def _read(self, start: int, stop: int) -> AnyArray:
        layout = self._layout
        buffer = np.empty((stop - start) * layout.run_row_bytes, np.uint8)
        if buffer.size:
            with self._lock:
                try:
                    self._fill(start, stop, buffer.data)
                except SourceError:
                    self._drop()
                    raise
                except PACKED_ERRORS as error:
                    self._drop()
                    raise damaged(self._member, error) from error
        return layout.arrange(buffer, stop - start, self.label)

    def _fill(self, start: int, stop: int, target: memoryview) -> None:
        if start < self._next_row:
            self._drop()
        if self._open is None:
            self._open = self._member.open()
        stream, row_bytes = self._open, self._layout.run_row_bytes
        stream.skip((start - self._next_row) * row_bytes)
        stream.fill(target)
        self._next_row = stop
        if stop == self._layout.n_rows:
            stream.finish()
            self._drop()

    def _drop(self) -> None:
        stream, self._open, self._next_row = self._open, None, 0
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Close the stream; a later `read` opens it again."""
        with self._lock:
            self._drop()


class SpooledRows(_CompressedRows):
    """Rows of a compressed member in which a row is scattered over the whole stream.

    The first read decompresses the member once, piece by piece, into a temporary file (in
    `tempfile.gettempdir()`, as large as the array, its checksum compared), which later reads
    use and which goes away on `close`, with the object, or when the interpreter exits.

    The lock guards the temporary file, and is held while reading, so that `close` in one thread
    cannot take the file from under another. A copy made by pickling makes its own.
    """

    def __init__(self, member: Packed, layout: ByteLayout) -> None:
        super().__init__(member, layout)
        self._rows: StridedRows | None = None
        self._remove: Callable[[], object] | None = None

    def _read(self, start: int, stop: int) -> AnyArray:
        layout = self._layout
        if start == stop or not layout.total_bytes:
            return layout.arrange(np.empty(0, np.uint8), stop - start, self.label)
        with self._lock:
            if self._rows is None:
                self._rows = self._spool()
            return self._rows.read(start, stop)

    def _spool(self) -> StridedRows:
        try:
            handle, path = tempfile.mkstemp(prefix="zarrts-")
        except OSError as error:
            raise SourceError(f"{self.label}: no temporary file can be made ({error}).") from error
        remove = weakref.finalize(self, _remove_file, path)
        try:
            with open(handle, "wb", buffering=0) as target:
                self._copy_to(target)
            with open(path, "rb") as file:
                stamp = FileStamp.of(path, file)
        except BaseException:
            remove()
            raise
        self._remove = remove
        return StridedRows(stamp, 0, self._layout, self.label)

    def _copy_to(self, target: IO[bytes]) -> None:
        left = self._layout.total_bytes
        piece = memoryview(bytearray(min(PIECE_BYTES, left)))
        try:
            stream = self._member.open()
        except PACKED_ERRORS as error:
            raise damaged(self._member, error) from error
        with contextlib.closing(stream):
            while left:
                part = piece[: min(len(piece), left)]
                try:
                    stream.fill(part)
                    left -= len(part)
                    if not left:
                        stream.finish()
                except PACKED_ERRORS as error:
                    raise damaged(self._member, error) from error
                self._write(target, part)

    def _write(self, target: IO[bytes], part: memoryview) -> None:
        try:
            while part:
                part = part[target.write(part) :]
        except OSError as error:
            raise SourceError(
                f"{self.label}: its {self._layout.total_bytes:,} bytes do not fit the "
                f"temporary folder {tempfile.gettempdir()} ({error}); make room there, or set "
                "TMPDIR to another folder."
            ) from error

    def close(self) -> None:
        """Delete the temporary file; a later `read` makes it again."""
        with self._lock:
            remove, self._remove, self._rows = self._remove, None, None
            if remove is not None:
                remove()


def damaged(packed: Packed, error: Exception) -> SourceError:
    """Return the error to raise where packed bytes turned out to be damaged."""
    return SourceError(
        f"{packed.label}: the compressed bytes are damaged or cannot be read ({error!r}); "
        "copy or save the file again."
    )


def _remove_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Inflated:
    """Gives the bytes that a compressed part of a file unpacks to, in order."""

    def __init__(self, stream: BinaryIO, n_bytes: int) -> None:
        self._stream, self._left = stream, n_bytes
        self._unpack = zlib.decompressobj()

    def read(self, n_bytes: int) -> bytes:
        """Return at most `n_bytes` bytes, and none only at the end."""
        n_bytes = min(n_bytes, PIECE_BYTES)
        while n_bytes and not self._unpack.eof:
            packed = self._unpack.unconsumed_tail
            if not packed:
                packed = self._stream.read(min(self._left, PIECE_BYTES))
                self._left -= len(packed)
                if not packed:
                    raise zlib.error("the compressed bytes end early")
            part = self._unpack.decompress(packed, n_bytes)
            if part:
                return part
        return b""

    def check_end(self) -> None:
        """Read to the end, where the checksum is compared."""
        while self.read(PIECE_BYTES):
            pass


class _Limited:
    """The first bytes of a stream; whoever asks for more has its checksum compared."""

    def __init__(self, stream: Inflated, n_bytes: int) -> None:
        self._stream, self._left = stream, n_bytes

    def read(self, n_bytes: int) -> bytes:
        if not self._left:
            self._stream.check_end()
            return b""
        part = self._stream.read(min(n_bytes, self._left))
        self._left -= len(part)
        return part


@dataclass(frozen=True)
class InflatedMember:
    """One array in a compressed part of a file.

    Attributes
    ----------
    stamp : Stamp
    start, n_packed : int
        Where the compressed part lies.
    offset, n_bytes : int
        Where the array lies in what it unpacks to.
    label : str
        Name of the array in errors.
    """

    stamp: Stamp
    start: int
    n_packed: int
    offset: int
    n_bytes: int
    label: str

    def open(self) -> PackedStream:
        """Open the array at its first byte."""
        file = self.stamp.open()
        try:
            file.seek(self.start)
            unpacked = Inflated(file, self.n_packed)
            whole = PackedStream(unpacked, file.close)
            whole.skip(self.offset)
            return PackedStream(_Limited(unpacked, self.n_bytes), file.close)
        except BaseException:
            file.close()
            raise


def exactly(read: Callable[[int], bytes], n_bytes: int) -> bytes:
    """Return the next `n_bytes` bytes; zlib.error where there are fewer."""
    parts = []
    while n_bytes:
        part = read(n_bytes)
        if not part:
            raise zlib.error("the file ends early")
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)
