"""Shard files that are open, and what is known of those that were closed to open others."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zarrts.loops import chunks
from zarrts.storage.open_files import OPEN_FILES
from zarrts.storage.shards import NO_CHUNK, read_index, written_checksums
from zarrts.system import PositionalFile
from zarrts.types import AnyArray, ArraySpec

_KNOWN_BYTES, _OBJECT_BYTES = 4 << 20, 800


class ShardIndex(NamedTuple):
    """The places of the chunks of a shard in its file.

    Attributes
    ----------
    stamp : tuple of int
        Of its file when it was read.
    entries : array of uint64, shape (chunks_per_shard, 2)
        See `read_index`.
    checksums : array of uint32, shape (n_chunks,), or None
        Those of its chunks as they were written, where they are known.
    """

    stamp: tuple[int, ...]
    entries: NDArray[np.uint64]
    checksums: NDArray[np.uint32] | None

    @property
    def n_bytes(self) -> int:
        """About how much memory it takes."""
        n_bytes = 0 if self.checksums is None else self.checksums.nbytes
        return self.entries.nbytes + n_bytes + _OBJECT_BYTES


class ClosedShards:
    """The indices of shards that were closed, those used last, until they are opened again.

    To read an index takes ten times as long as to open a file. Whoever calls holds the lock of
    `OPEN_FILES`.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._n_bytes = most_bytes, 0
        self._kept: OrderedDict[str, ShardIndex] = OrderedDict()

    def keep(self, path: str, index: ShardIndex) -> None:
        """Note the index of a shard that is closed now."""
        self.take(path)
        self._kept[path] = index
        self._n_bytes += len(path) + index.n_bytes
        while self._kept and self._n_bytes > self._most_bytes:
            self.take(next(iter(self._kept)))

    def take(self, path: str) -> ShardIndex | None:
        """Return the index of a shard, which is kept no more, or None."""
        found = self._kept.pop(path, None)
        if found is not None:
            self._n_bytes -= len(path) + found.n_bytes
        return found


_CLOSED = ClosedShards(_KNOWN_BYTES)


class OpenShard:
    """A shard file, its index, and how many threads are reading it just now.

    Parameters
    ----------
    path : str
        Of the file, below `root`.
    number : int
        Of the shard in its array.
    forget : callable
        Called with that number when it is dropped.

    Attributes
    ----------
    checksums : array of uint32, shape (n_chunks,), or None
        Those of its chunks as they were written, where they are known.
    """

    def __init__(
        self, path: str, root: Path, spec: ArraySpec, number: int, forget: Callable[[int], None]
    ) -> None:
        self._path, self._number, self._forget = path, number, forget
        self.file = PositionalFile(path)
        try:
            self._index = self._known_index() or ShardIndex(
                self.file.stamp(),
                read_index(self.file, spec, path),
                written_checksums(root, spec, number),
            )
        except BaseException:
            self.file.close()
            raise
        self.checksums = self._index.checksums
        self.users = 0
        self.is_closing = False

    def _known_index(self) -> ShardIndex | None:
        with OPEN_FILES.lock:
            known = _CLOSED.take(self._path)
        is_the_same = known is not None and known.stamp == self.file.stamp()
        return known if is_the_same else None

    def entry(self, chunk: int) -> tuple[int, int]:
        """Return offset and size of a chunk, counted through all shards; `NO_CHUNK` for none."""
        entries = self._index.entries
        offset, size = entries[chunk % len(entries)].tolist()
        return offset, size

    def wanted(self, chunk: int, out: AnyArray) -> chunks.Wanted:
        """Return a chunk for a `chunks.Reader`."""
        offset, size = self.entry(chunk)
        if offset == NO_CHUNK:
            offset = size = 0  # too few bytes for a chunk
        checksum = -1
        if self.checksums is not None:
            inside = chunk % len(self._index.entries)
            checksum = int(self.checksums[inside]) if inside < len(self.checksums) else 1 << 32
        return self.file.fileno(), offset, size, checksum, out

    def drop(self) -> None:
        """Forget it in its reader, and close the file; nobody uses it, and the lock is held."""
        self._forget(self._number)
        self.file.close()
        _CLOSED.keep(self._path, self._index)
