"""Where source files are, and the one place that opens them: paths here, addresses elsewhere."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from zarrts.errors import SourceError


class Stamp(Protocol):
    """A file as it was when its header was read."""

    @property
    def path(self) -> str:
        """Absolute path, or address."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    def open(self) -> BinaryIO:
        """Open the file unbuffered; a SourceError if it is gone or is not the file seen before."""
        ...

    def token(self) -> tuple[Any, ...]:
        """Return plain values that are equal only for the same file with the same content."""
        ...


@dataclass(frozen=True)
class FileStamp:
    """A file of this machine's as it was when its header was read.

    Attributes
    ----------
    path : str
        Absolute.
    size : int
        In bytes.
    mtime_ns, ctime_ns : int
        Times of the last change of content and, which nobody can set back, of status.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: str, file: BinaryIO) -> "FileStamp":
        """Return the stamp of `file`, which is open and lies at `path`."""
        status = os.fstat(file.fileno())
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def open(self) -> BinaryIO:
        """Open the file unbuffered; a SourceError if it is gone or is not the file seen before."""
        try:
            file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read ({error}).") from error
        try:
            now = FileStamp.of(self.path, file)
            if now != self:
                raise SourceError(
                    f"{self.path}: the file changed while it was in use (it had {self.size:,} "
                    f"bytes and has {now.size:,} now, or was written again); start again once "
                    "nothing writes to it."
                )
        except BaseException:
            file.close()
            raise
        return file

    def token(self) -> tuple[Any, ...]:
        """Return plain values that are equal only for the same file with the same content."""
        return (self.path, self.size, self.mtime_ns, self.ctime_ns)


@contextlib.contextmanager
def opened(path: str, where: str) -> Iterator[tuple[BinaryIO, Stamp]]:
    """Open a file for reading its headers, and give its stamp.

    Raises
    ------
    SourceError
        Naming `where`, if it cannot be read; also inside the `with` block.
    """
    try:
        with open(path, "rb") as stream:
            yield stream, FileStamp.of(path, stream)
    except OSError as error:
        raise SourceError(f"{where}: cannot be read ({error}).") from error
