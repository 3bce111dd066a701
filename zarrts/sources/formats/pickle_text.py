"""Arrays that Python 2 or old protocols of pickle wrote as text, unpacked by pieces."""

import codecs
from dataclasses import dataclass
from typing import BinaryIO

from zarrts.sources.rows.compressed import PackedStream
from zarrts.sources.rows.files import Stamp


@dataclass(frozen=True)
class TextMember:
    """One array as UTF-8 text whose characters, all below 256, are its bytes.

    Attributes
    ----------
    stamp : Stamp
    offset, n_bytes : int
        Where the text lies.
    label : str
        Name of the array in errors.
    """

    stamp: Stamp
    offset: int
    n_bytes: int
    label: str

    def open(self) -> PackedStream:
        """Open the array at its first byte."""
        file = self.stamp.open()
        return PackedStream(_Encoder(file, self.offset, self.n_bytes), file.close)


class _Encoder:
    """Gives the bytes that a part of a file means, in order."""

    def __init__(self, file: BinaryIO, offset: int, n_bytes: int) -> None:
        self._file, self._left = file, n_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ready = b""
        file.seek(offset)

    def read(self, n_bytes: int) -> bytes:
        """Return at most `n_bytes` bytes, and none only at the end."""
        while not self._ready and self._left:
            piece = self._file.read(min(n_bytes, self._left))
            if not piece:
                raise EOFError("the file ends inside the array")
            self._left -= len(piece)
            self._ready = self._decoder.decode(piece, final=not self._left).encode("latin-1")
        part, self._ready = self._ready[:n_bytes], self._ready[n_bytes:]
        return part
