"""The header of an `.npy` array, in a file of its own or inside another."""

import functools
import io
import math
import re
import struct
import tokenize
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.array_checks import check_array
from zarrts.sources.source_options import Role

SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
"""NumPy's own limit: parsing a longer literal can exhaust the interpreter's stack."""

_OLD_ALIAS = re.compile(rb"""['"][<>=|]?a\d*['"]""")
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)


@dataclass(frozen=True)
class ArrayHeader:
    """Header of an `.npy` array.

    Attributes
    ----------
    dtype : numpy.dtype
        In the file's byte order.
    shape : tuple of int
        None negative.
    is_fortran : bool
        The first axis varies fastest.
    offset : int
        Of the first byte after the header.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    offset: int

    @property
    def data_bytes(self) -> int:
        """Bytes of the whole array, as declared."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


def read_header(stream: IO[bytes], where: str) -> ArrayHeader:
    """Read the header at the stream's position; nothing of the array is read.

    The format is that of NEP 1 and `numpy.lib.format`, versions 1.0 to 3.0, which differ in the
    width of the length and in the text's encoding. The text is parsed as a literal, not run.

    Raises
    ------
    SourceError
        If there is no such header.
    """
    start = stream.read(len(MAGIC) + 2)
    if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 2:
        seen = "it is empty" if not start else f"it starts with {start[:6]!r}"
        raise SourceError(f"{where}: is not an .npy array ({seen}); save it with np.save.")
    major, minor = start[len(MAGIC) :]
    if major not in (1, 2, 3) or minor != 0:
        raise SourceError(
            f"{where}: has .npy format version {major}.{minor}, and versions 1.0 to 3.0 are "
            "known; save it again with this NumPy."
        )
    width = 2 if major == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > MAX_HEADER_BYTES:
        raise SourceError(
            f"{where}: declares a header of {length:,} bytes, more than the {MAX_HEADER_BYTES:,} "
            "that are read; save a plain array."
        )
    text = stream.read(length)
    if len(text) < length:
        raise SourceError(f"{where}: ends inside its header; copy or save the file again.")
    dtype, shape, is_fortran = _parsed(text, where)
    return ArrayHeader(dtype, shape, is_fortran, len(start) + width + length)


def _parsed(text: bytes, where: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        shape, is_fortran, dtype = _fields(text)
    except _HEADER_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{where}: has a damaged .npy header ({reason}); copy or save the file again."
        ) from error
    if any(length < 0 for length in shape):
        raise SourceError(f"{where}: declares the impossible shape {shape}; save it again.")
    return dtype, tuple(int(length) for length in shape), bool(is_fortran)


@functools.lru_cache(maxsize=64)  # thousands of small files have one header
def _fields(text: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    # Version 3 is UTF-8 for the sake of field names alone, and arrays with fields are refused:
    # read as version 2 (Latin-1), the text differs in those names only.
    framed = io.BytesIO(struct.pack("<I", len(text)) + text)
    if _OLD_ALIAS.search(text):  # which NumPy reads with a warning, and never writes
        raise ValueError("no dtype that NumPy writes")
    return np.lib.format.read_array_header_2_0(framed, max_header_size=MAX_HEADER_BYTES)


def check_header(header: ArrayHeader, role: Role, available: int, where: str) -> None:
    """Raise SourceError unless the array can be used and has exactly the bytes it declares.

    `available` is the size in bytes of what follows the header.
    """
    check_array(header.dtype, header.shape, role, where)
    if available < header.data_bytes:
        raise SourceError(
            f"{where}: is truncated: it holds {available:,} bytes of data but its header declares "
            f"{header.data_bytes:,} (shape {header.shape}, {header.dtype}); copy it again."
        )
    if available > header.data_bytes:
        raise SourceError(
            f"{where}: has {available - header.data_bytes:,} bytes after its array of "
            f"{header.data_bytes:,} (shape {header.shape}, {header.dtype}), which are not an "
            "array; save it again."
        )
