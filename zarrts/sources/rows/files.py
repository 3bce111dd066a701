"""Source files by path or address, and the one place that opens them."""

import contextlib
import io
import os
import posixpath
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from zarrts.buckets.addresses import is_address, is_remote, local_path
from zarrts.buckets.mounts import Mounts
from zarrts.buckets.remote_file import RemoteFile, RemoteStream, changed_in_use
from zarrts.errors import BucketError, SourceError

SourcePath = str | RemoteFile
"""An absolute path, or the file at an address."""

_BUFFER_BYTES = 8 << 10
_AT_ONCE = 16


@dataclass(frozen=True)
class SourceFile:
    """A file to be read.

    Attributes
    ----------
    path : str or RemoteFile
        Absolute; or the file at an address.
    origin : str
        Relative to what all that was given has in common, with "/"; names the file in messages.
    inside : str
        Relative to the folder that was given, with "/".
    kind : str
        The suffix of its format, where its name need not have it, as that of a folder.
    """

    path: SourcePath
    origin: str
    inside: str
    kind: str = ""

    @property
    def folder(self) -> str:
        """Folder part of `origin`; "" at the top."""
        return self.origin.rpartition("/")[0]

    def is_kind(self, suffixes: tuple[str, ...]) -> bool:
        """Return whether the name ends in one of some suffixes, in whatever case."""
        return (self.kind or self.origin.lower()).endswith(suffixes)

    @property
    def stem(self) -> str:
        """File name without folder and suffix."""
        name = self.origin.rpartition("/")[2]
        return (
            name if self.kind and not name.lower().endswith(self.kind) else name.rpartition(".")[0]
        )


class Stamp(Protocol):
    """A file as it was when its header was read."""

    @property
    def path(self) -> str:
        """Absolute path, or address."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def open(self) -> BinaryIO:
        """Open the file unbuffered; a SourceError if it is gone or is not the file seen before."""
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
                raise changed_in_use(self.path, self.size, now.size)
        except BaseException:
            file.close()
            raise
        return file


def located(place: str, mounts: Mounts) -> SourcePath:
    """Return a file that users name, as an absolute path or as it is now at its address.

    Raises
    ------
    SourceError
        If there is no such file.
    """
    if is_remote(place):
        remote, key = mounts.at(place)
        try:
            return RemoteFile.of(remote, remote.entry(key))
        except FileNotFoundError as error:
            raise SourceError(f"{place}: no such file.") from error
        except BucketError as error:
            raise SourceError(str(error)) from error
    path = os.path.abspath(os.path.expanduser(str(local_path(place) or place)))
    if not os.path.isfile(path):
        raise SourceError(f"{place}: no such file.")
    return path


def beside(file: SourcePath, name: str) -> str:
    """Return a name that is relative to the folder of a file as that of a file by itself."""
    if is_address(name) or os.path.isabs(os.path.expanduser(name)):
        return name
    if isinstance(file, RemoteFile):
        scheme, _, rest = file.path.partition("://")
        return f"{scheme}://{posixpath.normpath(posixpath.join(posixpath.dirname(rest), name))}"
    return os.path.join(os.path.dirname(file), os.path.expanduser(name))


def ahead(files: Sequence[SourceFile]) -> Iterator[SourceFile]:
    """Yield files; the headers of remote ones are on their way before their turn comes."""
    remote = any(isinstance(file.path, RemoteFile) for file in files)
    if not remote:
        yield from files
        return
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="zarrts-source")
    try:
        waiting: deque[Future[None]] = deque()
        for i, file in enumerate(files):
            while i + len(waiting) < min(len(files), i + _AT_ONCE):
                waiting.append(pool.submit(_fetch_ends, files[i + len(waiting)]))
            waiting.popleft().exception()  # whoever reads the file meets it again
            yield file
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch_ends(file: SourceFile) -> None:
    if isinstance(file.path, RemoteFile):
        file.path.fetch_ends()


@contextlib.contextmanager
def opened(path: SourcePath, where: str) -> Iterator[tuple[BinaryIO, Stamp]]:
    """Open a file for reading its headers, and give its stamp.

    Raises
    ------
    SourceError
        Naming `where`, if it cannot be read; also inside the `with` block.
    """
    if isinstance(path, RemoteFile):
        yield io.BufferedReader(RemoteStream(path), _BUFFER_BYTES), path
        return
    try:
        with open(path, "rb") as stream:
            yield stream, FileStamp.of(path, stream)
    except OSError as error:
        raise SourceError(f"{where}: cannot be read ({error}).") from error
