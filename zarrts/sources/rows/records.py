"""Several arrays of one recording, read as one whose rows are records; such as of labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.reader import Rows
from zarrts.types import AnyArray, RowReader, SeriesList

_RESERVED = {"c", "zarr.json"}  # names of files and folders in a store
# Windows takes the first for devices, whatever comes after a dot, and leaves out a dot at the end.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MAX_LENGTH = 100  # bytes; file systems take some more


@dataclass(frozen=True)
class NamedReaders(Rows):
    """Readers of several arrays of one recording, by name.

    Attributes
    ----------
    names : tuple of str
    readers : tuple of RowReader
    """

    names: tuple[str, ...]
    readers: tuple[RowReader, ...]

    @property
    def by_name(self) -> dict[str, RowReader]:
        """The reader of each array."""
        return dict(zip(self.names, self.readers, strict=True))

    @property
    def dtype(self) -> np.dtype[Any]:
        """A field for each array, with what it has beside rows."""
        return np.dtype([(name, it.dtype, it.shape[1:]) for name, it in self.by_name.items()])

    @property
    def is_sequential(self) -> bool:
        """Whether one of them is."""
        return any(it.is_sequential for it in self.readers)

    def close(self) -> None:
        """Release what the arrays hold."""
        for reader in self.readers:
            reader.close()


@dataclass(frozen=True)
class RecordRows(NamedReaders):
    """Records with a field for each of several arrays, which are read row by row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis; what an array has beside rows is in its field."""
        return (self.readers[0].shape[0],)

    @property
    def block_rows(self) -> int:
        """The most that one of them asks for."""
        return max(it.block_rows for it in self.readers)

    def _read(self, start: int, stop: int) -> AnyArray:
        rows = np.empty(stop - start, self.dtype)
        for name, reader in self.by_name.items():
            rows[name] = reader.read(start, stop)
        return rows


@dataclass(frozen=True)
class NamedRows(RecordRows):
    """Several arrays of labels, of as many rows each; see `named_rows`."""

    label = "arrays of labels"


def named_rows(readers: Mapping[str, RowReader], origin: str) -> NamedRows:
    """Return several arrays of labels as one.

    Raises
    ------
    SourceError
        If they have not as many rows, or a name cannot be that of an array in a store.
    """
    check_names(tuple(readers), origin)
    readers = dict(sorted(readers.items()))  # as arrays are found in a store
    counts = {name: it.shape[0] for name, it in readers.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count:,} in {name!r}" for name, count in counts.items())
        raise SourceError(
            f"{origin}: its arrays of labels are not equally long ({shown}); each needs one entry "
            "for the same things."
        )
    return NamedRows(tuple(readers), tuple(readers.values()))


def check_names(names: tuple[str, ...], where: str, what: str = "an array of labels") -> None:
    """Raise SourceError unless arrays can have these names in a store; says `what` they are."""
    bad = [name for name in names if not _can_be_a_folder(name)]
    if bad:
        raise SourceError(
            f"{where}: {', '.join(map(repr, bad))} cannot be the name of {what} in a store; "
            "use letters, digits, '_', '-' and '.', beginning with a letter or digit and not "
            f"ending with a dot, at most {_MAX_LENGTH} bytes, and no name that Windows keeps for "
            "devices, such as 'con' and 'aux'."
        )
    if len({name.lower() for name in names}) < len(names) or not names:
        many = what.removeprefix("an ").replace("array", "arrays").replace("input", "inputs")
        raise SourceError(f"{where}: {many} need names that differ, not {list(names)}.")


def _can_be_a_folder(name: str) -> bool:
    """Return whether a folder of a store can have this name, on each system."""
    return (
        re.fullmatch(r"[^\W_][\w.-]*", name) is not None
        and name[-1] != "."
        and name.lower() not in _RESERVED
        and _DEVICES.fullmatch(name) is None
        and len(name.encode()) <= _MAX_LENGTH
    )


def are_named(rows: RowReader | SeriesList) -> bool:
    """Return whether labels are several arrays, or lists of them."""
    if isinstance(rows, SeriesList):
        return bool(rows.readers) and all(isinstance(it, NamedRows) for it in rows.readers)
    return isinstance(rows, NamedRows)
