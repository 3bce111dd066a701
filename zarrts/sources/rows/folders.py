"""Folders whose files are one source together, as Zarr keeps arrays: here, or at an address."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from zarrts.buckets.remote_file import Entry, Remote, RemoteFile
from zarrts.errors import BucketError, SourceError


@dataclass(frozen=True)
class RemoteFolder(RemoteFile):
    """All files below an address as they were when they were listed.

    `size` is that of all of them; `tag` is a digest of their names, sizes and tags.
    """

    @classmethod
    def below(cls, remote: Remote, key: str, entries: Iterable[Entry]) -> "RemoteFolder":
        """Return the folder at `key` of which some files are `entries`."""
        start = f"{key}/" if key else ""
        inside = sorted((it for it in entries if it.key.startswith(start)), key=lambda it: it.key)
        digest = hashlib.blake2b(digest_size=16)
        for it in inside:
            digest.update(f"{it.key.removeprefix(start)} {it.size} {it.tag}\n".encode())
        size = sum(it.size for it in inside)
        return cls(remote.url(key), size, digest.hexdigest(), remote, key)

    def now(self) -> "RemoteFolder":
        """Return the folder as it is now; SourceError if it cannot be listed."""
        entries = self._explained(lambda: self.remote.entries(self.key))
        return RemoteFolder.below(self.remote, self.key, entries)

    def fetch_ends(self) -> None:
        """Do nothing: which of its files will be read is not known yet."""


@dataclass(frozen=True)
class Folder:
    """Reads files by their names in a folder; small, and picklable.

    Attributes
    ----------
    path : str
        Absolute, or an address.
    remote : Remote, or None
        Who answers for the address.
    key : str
        Of the folder there.
    """

    path: str
    remote: Remote | None = None
    key: str = ""

    @classmethod
    def of(cls, path: str | RemoteFile) -> "Folder":
        """Return the folder at a path, or one that was listed at an address."""
        if isinstance(path, RemoteFile):
            return cls(path.path, path.remote, path.key)
        return cls(path)

    def __truediv__(self, name: str) -> "Folder":
        if not name:
            return self
        key = f"{self.key}/{name}" if self.key else name
        path = f"{self.path}/{name}" if self.remote else os.path.join(self.path, *name.split("/"))
        return Folder(path, self.remote, key if self.remote else "")

    def entries(self) -> list[Entry]:
        """Return every file below; of a folder here, keys are names with "/".

        Raises
        ------
        SourceError
            If the folder cannot be listed.
        """
        if self.remote is None:
            return [Entry(name, status.st_size, "") for name, status in scan(self.path)]
        try:
            return self.remote.entries(self.key)
        except BucketError as error:
            raise SourceError(str(error)) from error

    def below(self, name: str, entries: Iterable[Entry]) -> str | RemoteFolder:
        """Return what stands for a folder in this one among the files of a recording."""
        inside = self / name
        if inside.remote is None:
            return inside.path
        return RemoteFolder.below(inside.remote, inside.key, entries)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes of a file, or None where there is no such file.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        if self.remote is not None:
            return self._fetched(self.remote, f"{self.key}/{name}".lstrip("/"), start, stop)
        try:
            with open(os.path.join(self.path, *name.split("/")), "rb", buffering=0) as file:
                if stop is None and not start:
                    return file.readall()
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size + start) if start < 0 else start)
                return file.read(-1 if stop is None else stop - start)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"{self.path}: {name} cannot be read ({error}).") from error

    def _fetched(self, remote: Remote, key: str, start: int, stop: int | None) -> bytes | None:
        try:
            if stop is None or start < 0:
                size = remote.entry(key).size
                start, stop = max(0, size + start) if start < 0 else start, size
            return bytes(remote.fetch(key, start, stop)[0]) if stop > start else b""
        except FileNotFoundError:
            return None
        except BucketError as error:
            raise SourceError(str(error)) from error


def scan(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the name (with "/") and status of every file below a folder, sorted in each folder.

    Raises
    ------
    SourceError
        If a folder cannot be listed.
    """
    todo = [("", folder)]
    while todo:
        start, path = todo.pop()
        try:
            with os.scandir(path) as found:
                inside = sorted(found, key=lambda it: it.name)
            for it in inside:
                if it.is_dir(follow_symlinks=False):
                    todo.append((f"{start}{it.name}/", it.path))
                elif it.is_file():
                    yield start + it.name, it.stat()
        except OSError as error:
            raise SourceError(f"{path}: cannot be listed ({error.strerror}).") from error


def stamp_of_folder(folder: str) -> str:
    """Return a digest of names, sizes and times of all files below a folder."""
    digest = hashlib.blake2b(digest_size=16)
    for name, it in sorted(scan(folder), key=lambda it: it[0]):
        times = f"{it.st_size} {it.st_mtime_ns} {it.st_ctime_ns} {it.st_ino}"
        digest.update(f"{name} {times}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def blocks_of_folder(
    folder: str, offsets_of: Callable[[int], Iterable[int]], block_bytes: int
) -> tuple[int, Iterator[bytes]]:
    """Return the size of all files, and what is digested of them.

    These are names and sizes of all files, and blocks of their contents, as if the files were one;
    `offsets_of` says for a size where blocks begin.
    """
    sizes = sorted((name, it.st_size) for name, it in scan(folder))
    total = sum(size for _, size in sizes)

    def parts() -> Iterator[bytes]:
        for name, size in sizes:
            yield f"{name} {size}\n".encode("utf-8", "surrogateescape")
        for offset in offsets_of(total):
            yield from _bytes_at(folder, sizes, offset, block_bytes)

    return total, parts()


def _bytes_at(
    folder: str, sizes: list[tuple[str, int]], offset: int, n_bytes: int
) -> Iterator[bytes]:
    start = 0
    for name, size in sizes:
        begin, end = max(offset, start) - start, min(offset + n_bytes, start + size) - start
        if begin < end:
            with open(os.path.join(folder, *name.split("/")), "rb", buffering=0) as file:
                file.seek(begin)
                yield file.read(end - begin)
        start += size
        if start >= offset + n_bytes:
            return


def is_folder(path: Any) -> bool:
    """Return whether a source is a folder, and not a file."""
    return isinstance(path, RemoteFolder) or (isinstance(path, str) and os.path.isdir(path))
