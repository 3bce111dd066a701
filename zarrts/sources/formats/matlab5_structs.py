"""Fields of structs, and of structs in cells, in MATLAB files of versions 5 to 7, by path."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from zarrts.sources.formats.matlab5_elements import (
    CELL,
    MATRIX,
    MAX_NAME,
    STRUCT,
    Elements,
    Read,
    Variable,
)
from zarrts.sources.rows.compressed import exactly

_PIECE_BYTES = 1 << 20
_MAX_NAMES_BYTES = 1 << 20
_MAX_FIELDS = 100_000
_MAX_DEPTH = 20


@dataclass(frozen=True)
class Field:
    """A field of a variable.

    Attributes
    ----------
    top : str
        Name of the variable.
    items : tuple of Variable
        What the field holds: one array; or one of each struct of an array or a cell of them.
    is_list : bool
        There are, or could be, several.
    """

    top: str
    items: tuple[Variable, ...]
    is_list: bool


class Cursor:
    """A position in what holds a variable; moves forward.

    Parameters
    ----------
    read : function of a number of bytes
    seek : function of a position, optional
        Where reading to a position is not the only way to it.
    """

    def __init__(self, read: Read, seek: Callable[[int], object] | None = None) -> None:
        self._read, self._seek = read, seek
        self.position = 0

    def read(self, n_bytes: int) -> bytes:
        """Return at most so many of the next bytes."""
        part = self._read(n_bytes)
        self.position += len(part)
        return part

    def skip_to(self, position: int) -> None:
        """Move forward to a position."""
        if self._seek is not None:
            self._seek(position)
            self.position = position
            return
        while self.position < position:
            exactly(self.read, min(_PIECE_BYTES, position - self.position))


@dataclass
class _Found:
    """The items of a field that were found so far in a walk through structs."""

    items: list[Variable] = field(default_factory=list)
    is_list: bool = False


def fields_of(elements: Elements, cursor: Cursor, variable: Variable, top: str) -> dict[str, Field]:
    """Return the fields of a struct or a cell of structs, whose content begins at a cursor.

    Paths begin with the name of the variable, such as "EEG.data" or "EEG.chanlocs.labels". Of
    other cells there are none.
    """
    found: dict[str, _Found] = {}
    _walk(elements, cursor, variable, top, found, is_list=False, depth=0)
    return {path: Field(top, tuple(it.items), it.is_list) for path, it in found.items() if it.items}


def _walk(
    elements: Elements,
    cursor: Cursor,
    variable: Variable,
    path: str,
    found: dict[str, _Found],
    *,
    is_list: bool,
    depth: int,
) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"structs in structs, {depth} deep")
    names = [""] if variable.number == CELL else _names(elements, cursor)
    n_items = prod(variable.dims)
    if n_items * len(names) > _MAX_FIELDS:
        raise ValueError(f"{n_items:,} structs of {len(names):,} fields")
    is_list |= variable.number == CELL or n_items > 1
    for number in range(n_items):
        for name in names:
            at = cursor.position
            kind, n_bytes = elements.tag(cursor.read)
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} in {path!r}")
            if n_bytes:
                child = elements.variable(cursor.read, n_bytes, at + 8)
                if name == "" and number == 0 and child.number != STRUCT:
                    return  # a cell of arrays, which is a list of them
                inner = f"{path}.{name}" if name else path
                _take(elements, cursor, child, inner, found, is_list=is_list, depth=depth)
            cursor.skip_to(at + 8 + n_bytes)


def _take(
    elements: Elements,
    cursor: Cursor,
    child: Variable,
    path: str,
    found: dict[str, _Found],
    *,
    is_list: bool,
    depth: int,
) -> None:
    if child.number in (STRUCT, CELL):
        before = len(found)
        _walk(elements, cursor, child, path, found, is_list=is_list, depth=depth + 1)
        if child.number == STRUCT or len(found) > before:
            return
    it = found.setdefault(path, _Found())
    it.items.append(child)
    it.is_list |= is_list


def _names(elements: Elements, cursor: Cursor) -> list[str]:
    """Return the names of the fields of a struct."""
    width = int.from_bytes(
        elements.small(cursor.read, 4)[0], "little" if elements.order == "<" else "big"
    )
    if not 0 < width <= MAX_NAME:
        raise ValueError(f"names of fields of {width} bytes")
    joined, _ = elements.small(cursor.read, _MAX_NAMES_BYTES)
    parts = (joined[i : i + width] for i in range(0, len(joined), width))
    return [part.partition(b"\0")[0].decode("latin-1") for part in parts]
