"""Compressed chunks of remote stores on a local disk, for any number of processes.

An array has a folder, named by a digest of its address; a chunk is a file in it, named by its
number and by the checksum that the store has for it, so that what was replaced in the bucket is
never taken for what is there now. Files appear whole.

Each epoch reads each chunk once, in another order. Where not all of them fit, nothing is gained by
putting one in the place of another: what is there of the arrays that are being read stays. What
makes room are chunks of other arrays, those first that were used longest ago.
"""

import contextlib
import os
import threading
import time
import uuid
from pathlib import Path

from zarrts.errors import PlanError

_SCANS_PER_BUDGET = 64
_PARTIAL, _LONGEST_WRITE_S = ".partial", 3600


class ChunkCache:
    """A folder of chunks. `_lock` guards the counts and the folders that are in use.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    max_bytes : int
        All files in it take at most this, but for what other processes write at that moment.

    Raises
    ------
    PlanError
        If nothing can be written there.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._in_use: set[str] = set()
        self._n_writing = 0  # bytes that were promised room, and are no whole file yet
        self._is_full = False  # nothing is left that could make room
        try:
            folder.mkdir(parents=True, exist_ok=True)
            readme = folder / "README"
            partial = _partial_of(readme)
            partial.write_bytes(b"Chunks of remote stores. They may be deleted.\n")
            os.replace(partial, readme)
        except OSError as error:
            raise PlanError(
                f"cache={str(folder)!r} cannot be written ({error.strerror}); choose another "
                "folder."
            ) from error
        self._n_bytes = sum(size for size, _, _ in self._files())

    def use(self, array: str) -> None:
        """Take note that an array is being read, whose chunks then make no room for others."""
        with self._lock:
            self._in_use.add(_folder_name(array))

    def get(self, array: str, chunk: int, checksum: int) -> bytes | None:
        """Return a chunk, or None if it is not there.

        What it holds is to be compared with its checksum by whoever decodes it.
        """
        path = self._path(array, chunk, checksum)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return content

    def add(self, array: str, chunk: int, checksum: int, content: bytes) -> None:
        """Keep a chunk, if there is room or what is in other arrays can make some."""
        if not self._take_room(len(content)):
            return
        path = self._path(array, chunk, checksum)
        partial = _partial_of(path)
        try:
            path.parent.mkdir(exist_ok=True)
            partial.write_bytes(content)
            # Whoever counts the files counts this one either as one of them, or as being written.
            with self._lock:
                os.replace(partial, path)
                self._n_writing -= len(content)
        except OSError:  # the disk is full, or somebody deletes the folder
            with contextlib.suppress(OSError):
                partial.unlink()
            with self._lock:
                self._n_bytes -= len(content)
                self._n_writing -= len(content)
                self._max_bytes, self._is_full = self._n_bytes, True

    def discard(self, array: str, chunk: int, checksum: int) -> None:
        """Forget a chunk that is damaged."""
        with contextlib.suppress(OSError):
            self._path(array, chunk, checksum).unlink()

    def _path(self, array: str, chunk: int, checksum: int) -> Path:
        return self._folder / _folder_name(array) / f"{chunk}-{checksum:08x}"

    def _take_room(self, n_bytes: int) -> bool:
        with self._lock:
            if self._n_bytes + n_bytes > self._max_bytes and not self._is_full:
                self._make_room(n_bytes)
            if self._n_bytes + n_bytes > self._max_bytes:
                self._is_full = True  # of what is being read, until the store is opened again
                return False
            self._n_bytes += n_bytes
            self._n_writing += n_bytes
            return True

    def _make_room(self, n_bytes: int) -> None:
        """Delete what was used longest ago of arrays that nobody reads here, some at once."""
        files = self._files()
        whole = sum(size for size, _, path in files if path.suffix != _PARTIAL)
        self._n_bytes = whole + self._n_writing  # others may have written, too
        wanted = max(n_bytes, self._max_bytes // _SCANS_PER_BUDGET)
        for size, used_at, path in sorted(files, key=lambda it: it[1]):
            if self._n_bytes + wanted <= self._max_bytes:
                break
            is_partial = path.suffix == _PARTIAL
            if is_partial and time.time() - used_at <= _LONGEST_WRITE_S:
                continue  # somebody is writing it
            if is_partial or path.parent.name not in self._in_use:
                with contextlib.suppress(OSError):
                    path.unlink()
                    self._n_bytes -= 0 if is_partial else size

    def _files(self) -> list[tuple[int, float, Path]]:
        """Return (size, time of last use, path) of all chunks."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_size, status.st_mtime, path))
        return found


def _folder_name(array: str) -> str:
    import hashlib

    return hashlib.sha256(array.encode()).hexdigest()[:32]


def _partial_of(path: Path) -> Path:
    """Return the name of a file until it is whole; it need not outlive a loss of power."""
    return path.with_name(f"{uuid.uuid4().hex}{_PARTIAL}")
