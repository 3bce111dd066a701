"""The elements of MATLAB files of versions 5 to 7, and the arrays that they describe."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zarrts.sources.rows.array_checks import MAX_AXES
from zarrts.sources.rows.compressed import exactly

Read = Callable[[int], bytes]

MATRIX, COMPRESSED = 14, 15
TYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2"},
}
CLASSES = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2"},
    **{12: "i4", 13: "u4", 14: "i8", 15: "u8"},
}
NAMES = {
    **{1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse"},
    **{16: "function", 17: "object"},
}
CELL, STRUCT, CHAR, OPAQUE = 1, 2, 4, 17
IS_COMPLEX, IS_LOGICAL = 0x800, 0x200
MAX_NAME = 1024


@dataclass(frozen=True)
class Variable:
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
        """The class in words."""
        if self.of_class:
            return self.of_class
        if self.flags & IS_COMPLEX:
            return "complex"
        return NAMES.get(self.number) or np.dtype(CLASSES.get(self.number, "V1")).name


@dataclass(frozen=True)
class Place:
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


@dataclass(frozen=True)
class Elements:
    """Reads elements in one byte order, "<" or ">"."""

    order: str

    def tag(self, read: Read) -> tuple[int, int]:
        """Return type and size of the element that begins here."""
        kind, n_bytes = struct.unpack(f"{self.order}II", exactly(read, 8))
        return kind, n_bytes

    def _element(self, read: Read) -> tuple[int, int, bytes | None, int]:
        """Return type and size of a small part, its content if it is in the tag, and its length."""
        raw = exactly(read, 8)
        (first,) = struct.unpack(f"{self.order}I", raw[:4])
        if first >> 16:
            n_bytes = min(first >> 16, 4)
            return first & 0xFFFF, n_bytes, raw[4 : 4 + n_bytes], 8
        (n_bytes,) = struct.unpack(f"{self.order}I", raw[4:])
        return first, n_bytes, None, 8

    def small(self, read: Read, most: int) -> tuple[bytes, int]:
        """Return the content of a part of at most `most` bytes, and how many bytes it took."""
        _, n_bytes, content, taken = self._element(read)
        if content is not None:
            return content, taken
        if n_bytes > most:
            raise ValueError(f"a header of {n_bytes:,} bytes")
        padded = -(-n_bytes // 8) * 8
        return exactly(read, padded)[:n_bytes], taken + padded

    def variable(self, read: Read, n_bytes: int, start: int) -> Variable:
        """Return the array whose content of `n_bytes` begins here, at byte `start`."""
        flags_bytes, n_flags = self.small(read, 8)
        (flags,) = struct.unpack(f"{self.order}I", flags_bytes[:4])
        number = flags & 0xFF
        if number == OPAQUE:
            # Its name, the system that it is of ("MCOS"), and its class; other parts follow.
            parts = [self.small(read, MAX_NAME)[0].decode("latin-1") for _ in range(3)]
            return Variable(parts[0], number, flags, (), 0, 0, 0, parts[2])
        dims_bytes, n_dims = self.small(read, 4 * MAX_AXES)
        dims = struct.unpack(f"{self.order}{len(dims_bytes) // 4}i", dims_bytes)
        name, n_name = self.small(read, MAX_NAME)
        if len(dims) < 2 or any(length < 0 for length in dims):
            raise ValueError(f"an array of shape {dims}")
        used = n_flags + n_dims + n_name
        text = name.decode("latin-1")
        if number == CELL or number not in (*CLASSES, CHAR):
            return Variable(text, number, flags, dims, start + used, n_bytes - used, 0)
        kind, n_values, content, taken = self._element(read)
        at = start + used + (4 if content is not None else taken)
        if used + taken + (0 if content is not None else n_values) > n_bytes:
            raise ValueError(f"{text!r} has more values than room")
        return Variable(text, number, flags, dims, at, n_values, kind)
