"""Where the files of a store are, and the few things that are done to them.

Every module that touches a store goes through these functions, and asks nowhere else what kind of
place it is.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from zarrts import system
from zarrts.system import PositionalFile

Location = Path
"""The folder of a store, or something in it."""


class OpenFile(Protocol):
    """A file that threads read at once, each at its own offset."""

    def size(self) -> int:
        """Return the size of the file in bytes."""
        ...

    def read_into(self, buffer: Any, offset: int) -> int:
        """Fill a writable buffer of bytes from an offset; return how many bytes there were."""
        ...

    def will_need(self, offset: int, length: int) -> None:
        """Ask for a range to be read soon; returns at once."""
        ...

    def close(self) -> None:
        """Close the file; twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class NewFile(Protocol):
    """A file that is written from its start, and appears, whole, at `commit`."""

    def write(self, content: memoryview) -> None:
        """Append bytes."""
        ...

    def commit(self) -> None:
        """Wait until all of it is durable, and give it its name."""
        ...

    def abort(self) -> None:
        """Leave nothing behind, unless it was committed; twice does no harm."""
        ...


def locate(place: str | os.PathLike[str]) -> Location:
    """Return where a store is, as users name it."""
    return Path(place)


def open_file(path: Location) -> OpenFile:
    """Open a file for reading."""
    return PositionalFile(path)


def new_file(path: Location, attempt: str = "") -> NewFile:
    """Begin a file; other attempts at it may be going on, each with a text of its own."""
    return system.NewFile(path, attempt)


def replace_file(path: Location, content: bytes) -> None:
    """Write a file so that it is there whole or as it was before."""
    system.replace_file(path, content)


def write_files(folder: Location, files: Mapping[str, bytes]) -> None:
    """Write files below a folder, those at its top first."""
    system.write_files(folder, files)


def list_files(folder: Location) -> dict[str, int]:
    """Return the sizes of all files below a folder, by their paths below it, sorted."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return dict(sorted((it.relative_to(folder).as_posix(), it.stat().st_size) for it in files))


def read_files(folder: Location, keys: Iterable[str]) -> dict[str, bytes]:
    """Return the content of some files, by their paths below a folder.

    Raises
    ------
    OSError
        If one of them is not there, or cannot be read.
    """
    return {key: (folder / key).read_bytes() for key in keys}


def free_bytes(path: Location) -> int:
    """Return the free space where a path is or will be."""
    return system.free_bytes(path.absolute())
