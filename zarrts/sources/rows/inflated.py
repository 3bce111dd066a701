"""A part of a file that is compressed with zlib, unpacked by pieces."""

import zlib
from dataclasses import dataclass
from typing import BinaryIO

from zarrts.sources.rows.compressed import PIECE_BYTES, PackedStream
from zarrts.sources.rows.files import Stamp


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
        How errors name the array.
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
