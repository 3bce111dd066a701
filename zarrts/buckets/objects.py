"""Objects of a bucket as paths and files: the part of what pathlib and files offer that is used."""

import contextlib
import mmap
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from zarrts.buckets.bucket import Bucket
from zarrts.buckets.chunk_cache import ChunkCache

_PIECE_BYTES = 8 << 20


class ObjectPath:
    """An object of a bucket, or the prefix that others are below; see `pathlib.Path`.

    Shown as an address, in which no credentials are. `cache` keeps chunks that are read below it.
    """

    def __init__(self, bucket: Bucket, key: str, cache: ChunkCache | None = None) -> None:
        self.bucket, self.key, self.cache = bucket, key, cache

    def __truediv__(self, key: str) -> "ObjectPath":
        return ObjectPath(self.bucket, "/".join(it for it in (self.key, key) if it), self.cache)

    def __str__(self) -> str:
        return self.bucket.url(self.key)

    def __repr__(self) -> str:
        return f"<ObjectPath {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str:
        """The part behind the last slash."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name, from its last point on."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "ObjectPath":
        """The part before the last slash."""
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def absolute(self) -> "ObjectPath":
        """Return the same: an address depends on no folder."""
        return self

    def as_posix(self) -> str:
        """Return the address."""
        return str(self)

    def read_bytes(self) -> bytes:
        """Return the object whole."""
        return self.bucket.get(self.key)

    def sizes(self) -> dict[str, int]:
        """Return the sizes of all objects below, by what their keys have more, sorted."""
        found = self.bucket.sizes(self.key)
        start = len(self.key) + 1 if self.key else 0
        return {key[start:]: size for key, size in sorted(found.items())}

    def is_file(self) -> bool:
        """Return whether it is an object."""
        try:
            self.bucket.size(self.key)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Return whether there are objects below it; False where nothing can be listed."""
        return self.can_list and any(self.bucket.children(self.key))

    @property
    def can_list(self) -> bool:
        """Whether anybody can say what is below it: not over plain http."""
        return self.bucket.address.kind != "http"

    def exists(self) -> bool:
        """Return whether it is an object, or there are some below it."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> "list[ObjectPath]":
        """Return what is directly below it."""
        folders, files = self.bucket.children(self.key)
        return [ObjectPath(self.bucket, key) for key in (*folders, *files)]

    def unlink(self) -> None:
        """Delete the object."""
        self.bucket.delete([self.key])

    def every_key(self) -> list[str]:
        """Return the key of the object, if it is one, and those of all below it."""
        return [self.key, *self.bucket.sizes(self.key)]


class ObjectFile:
    """An object that threads read at once, each at its own offset."""

    def __init__(self, path: ObjectPath) -> None:
        self.piece_bytes = _PIECE_BYTES
        self._bucket, self._key = path.bucket, path.key
        self._size: int | None = None

    def size(self) -> int:
        """Return the size of the object in bytes."""
        if self._size is None:
            self._size = self._bucket.size(self._key)
        return self._size

    def read_into(self, buffer: Any, offset: int) -> int:
        """Fill a writable buffer of bytes from an offset; return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        stop = min(offset + len(view), self.size())
        if stop <= offset:
            return 0
        found = self._bucket.get_range(self._key, offset, stop)
        view[: len(found)] = memoryview(found)
        return len(found)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return many short (offset, size) ranges."""
        self.size()
        return self._bucket.map(
            lambda it: bytes(self._bucket.get_range(self._key, it[0], it[0] + it[1])), ranges
        )

    def will_need(self, offset: int, length: int) -> None:
        """Do nothing; who reads many ranges asks the bucket for them."""

    def close(self) -> None:
        """Do nothing: no object is ever open."""

    def __enter__(self) -> "ObjectFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Upload:
    """An object that is written from its start, and appears, whole, at `commit`.

    Until then it lies in a temporary file without a name, so that whatever fails on the way can be
    sent again, and so that nothing of it is left, here or in the bucket, whatever ends the process.
    """

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        import tempfile

        self._file = tempfile.TemporaryFile(prefix="zarrts-")  # noqa: SIM115 - closed by abort

    def write(self, content: memoryview) -> None:
        """Append bytes."""
        self._file.write(content)

    def commit(self) -> None:
        """Send it, and wait until the bucket has all of it."""
        self._file.flush()
        # Mapped: what is sent is never a second time in memory that the system cannot take back.
        n_bytes = self._file.tell()
        content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if n_bytes else b""
        self._path.bucket.put(self._path.key, content)
        self.abort()

    def abort(self) -> None:
        """Leave nothing behind, unless it was committed; twice does no harm."""
        with contextlib.suppress(OSError):  # of what is still to be flushed to a full disk
            self._file.close()
