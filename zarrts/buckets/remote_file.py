"""Source files at an address, read by ranges: nothing is ever downloaded whole.

Short reads, such as those of headers, go through blocks that are kept; long ones are requested
as they are, in pieces of which a few are under way at once.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from zarrts.errors import BucketError, SourceError

T = TypeVar("T")

BLOCK_BYTES = 128 << 10
CACHE_BYTES = 16 << 20
PIECE_BYTES, PIECES_AT_ONCE = 2 << 20, 4
TASK_BYTES = CACHE_BYTES + PIECE_BYTES * PIECES_AT_ONCE
"""The most that reading from addresses takes beside the rows themselves."""

_DIRECT_BYTES = 2 * BLOCK_BYTES  # a read as long as this is used once
_MAX_GAP_BYTES = 16 << 10  # sooner read than asked for apart
_MAX_AHEAD = 8
_AT_ONCE = 16


@dataclass(frozen=True)
class Entry:
    """A file as a server describes it.

    Attributes
    ----------
    key : str
        What follows the bucket or the host in its address.
    size : int
        In bytes.
    tag : str
        Another for other content: its ETag, or else when it was written; "" where a server says
        neither.
    """

    key: str
    size: int
    tag: str


class Remote(Protocol):
    """A bucket or server that answers any number of threads about its files.

    Whatever fails for good is an OSError (a BucketError, or FileNotFoundError) that names the
    address.

    Attributes
    ----------
    can_list : bool
        Whether anybody can say which files there are.
    has_content_tags : bool
        Two files whose tags and sizes are equal have the same content.
    blocks : Blocks
        Of its files.
    """

    can_list: bool
    has_content_tags: bool
    blocks: "Blocks"

    def url(self, key: str) -> str:
        """Return the address of a file."""
        ...

    def entry(self, key: str) -> Entry:
        """Return what a file is now; FileNotFoundError if there is none."""
        ...

    def entries(self, prefix: str) -> list[Entry]:
        """Return all files below a prefix, to the bottom."""
        ...

    def fetch(self, key: str, start: int, stop: int) -> tuple[Any, Entry]:
        """Return bytes of a file as a buffer, fewer where it ends, and what the file is now."""
        ...


class Blocks:
    """The blocks of files that were read last; `_lock` guards them."""

    def __init__(self) -> None:
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def get(self, key: tuple[Any, ...]) -> bytes | None:
        """Return a block, if it is there."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: tuple[Any, ...], block: bytes) -> None:
        """Keep a block; those that were not used for longest make room."""
        with self._lock:
            self._n_bytes += len(block) - len(self._found.pop(key, b""))
            self._found[key] = block
            while self._n_bytes > CACHE_BYTES:
                self._n_bytes -= len(self._found.popitem(last=False)[1])


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address as it was when it was found; bytes of another version are refused.

    Attributes
    ----------
    path : str
        Its address, in which no credentials are.
    size : int
    tag : str
        See `Entry`.
    remote : Remote
    key : str
    """

    path: str
    size: int
    tag: str
    remote: Remote = field(compare=False, repr=False)
    key: str = field(compare=False, repr=False)

    @classmethod
    def of(cls, remote: Remote, entry: Entry) -> "RemoteFile":
        """Return the file that a server described."""
        return cls(remote.url(entry.key), entry.size, entry.tag, remote, entry.key)

    def __str__(self) -> str:
        return self.path

    def __deepcopy__(self, memo: Any) -> "RemoteFile":
        return self

    def open(self) -> BinaryIO:
        """Return a stream; nothing is requested before it is read."""
        return cast(BinaryIO, RemoteStream(self))

    def token(self) -> tuple[Any, ...]:
        """Return plain values that are equal only for the same file with the same content."""
        return (self.path, self.size, self.tag)

    @property
    def content_id(self) -> str:
        """Size and tag; and the address, where files of other content can have the same tag."""
        where = "" if self.remote.has_content_tags else f" {self.path}"
        return f"{self.size} {self.tag}{where}"

    @property
    def stamp(self) -> str:
        """Size and tag."""
        return f"{self.size} {self.tag}"

    def now(self) -> "RemoteFile":
        """Return the file as it is now; SourceError if it is gone."""
        return RemoteFile.of(self.remote, self._explained(lambda: self.remote.entry(self.key)))

    def fetch(self, start: int, stop: int) -> Any:
        """Return bytes of the file as a buffer.

        Raises
        ------
        SourceError
            If they cannot be read, or the file is not the one that was found.
        """
        content, entry = self._explained(lambda: self.remote.fetch(self.key, start, stop))
        if (entry.size, entry.tag) != (self.size, self.tag):
            raise changed_in_use(self.path, self.size, entry.size)
        if len(content) != stop - start:
            raise SourceError(
                f"{self.path}: {len(content):,} of the {stop - start:,} bytes from byte {start:,} "
                "on came; try again."
            )
        return content

    def _explained(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except BucketError as error:
            # Without the type of an OSError, which readers take for damage.
            raise SourceError(str(error)) from error
        except FileNotFoundError as error:
            raise SourceError(
                f"{self.path}: there is no such file (any more); check the address."
            ) from error

    def fill(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset` on, all of which are in the file."""
        cuts = range(0, len(target), PIECE_BYTES)

        def fetch(cut: int) -> None:
            part = target[cut : cut + PIECE_BYTES]
            part[:] = memoryview(self.fetch(offset + cut, offset + cut + len(part)))

        at_once(fetch, cuts, PIECES_AT_ONCE)

    def fill_all(self, parts: Sequence[tuple[int, memoryview]]) -> None:
        """Fill targets with the bytes from their offsets on, a few at once."""
        at_once(lambda it: self.fill(*it), parts, _AT_ONCE)

    def block(self, number: int, n_ahead: int = 1) -> bytes:
        """Return a block of `BLOCK_BYTES`; where it is not there yet, some after it come along."""
        found = self.remote.blocks.get((*self.token(), number))
        if found is not None:
            return found
        start = number * BLOCK_BYTES
        content = self.fetch(start, min(self.size, start + n_ahead * BLOCK_BYTES))
        blocks = [
            bytes(memoryview(content)[cut : cut + BLOCK_BYTES])
            for cut in range(0, len(content), BLOCK_BYTES)
        ]
        for index, block in enumerate(blocks):
            self.remote.blocks.put((*self.token(), number + index), block)
        return blocks[0]

    def fetch_ends(self) -> None:
        """Read the first and the last block, where headers and directories of files are."""
        if self.size:
            self.block(0)
            self.block((self.size - 1) // BLOCK_BYTES)


class RemoteStream(io.RawIOBase):
    """A remote file at a position, for one thread.

    Attributes
    ----------
    error : SourceError, or None
        What went wrong last, for libraries that hand on nothing of it.
    """

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self.error: SourceError | None = None
        self._position = 0
        self._next_block, self._n_ahead = -1, 1
        self._fetched: list[tuple[int, memoryview]] = []

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.file.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.file}: there is no byte {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on; fewer bytes come only at the file's end."""
        n_bytes = self.read_at(self._position, memoryview(buffer).cast("B"))
        self._position += n_bytes
        return n_bytes

    def read_at(self, offset: int, target: memoryview) -> int:
        """Fill a buffer of bytes from an offset; fewer bytes come only at the file's end."""
        target = target[: max(0, self.file.size - offset)]
        for start, content in self._fetched:
            if start <= offset and offset + len(target) <= start + len(content):
                target[:] = content[offset - start : offset - start + len(target)]
                return len(target)
        try:
            if len(target) >= _DIRECT_BYTES:
                self.file.fill(offset, target)
            else:
                self._fill_by_blocks(offset, target)
        except SourceError as error:
            self.error = error
            raise
        return len(target)

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Request (start, stop) ranges together, for the reads of them that follow.

        Neighbours are one request. Does nothing where they are short, because blocks are kept for
        others as well, many, or more than may be in memory.
        """
        joined: list[tuple[int, int]] = []
        for start, stop in sorted(ranges):
            if joined and start - joined[-1][1] <= _MAX_GAP_BYTES:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
            else:
                joined.append((start, stop))
        joined = [(start, min(stop, self.file.size)) for start, stop in joined]
        n_bytes = sum(stop - start for start, stop in joined)
        is_small = n_bytes <= PIECE_BYTES * PIECES_AT_ONCE
        if len(joined) <= _AT_ONCE and n_bytes >= _DIRECT_BYTES and is_small:
            parts = [(start, memoryview(bytearray(stop - start))) for start, stop in joined]
            self.file.fill_all(parts)
            self._fetched = parts

    def _fill_by_blocks(self, offset: int, target: memoryview) -> None:
        done = 0
        while done < len(target):
            number, start = divmod(offset + done, BLOCK_BYTES)
            if number == self._next_block:  # who reads on will do so
                self._n_ahead = min(2 * self._n_ahead, _MAX_AHEAD)
            elif number != self._next_block - 1:
                self._n_ahead = 1
            self._next_block = number + 1
            part = self.file.block(number, self._n_ahead)[start : start + len(target) - done]
            target[done : done + len(part)] = part
            done += len(part)


def changed_in_use(path: str, size: int, size_now: int) -> SourceError:
    """Return the error to raise where a file is not the one that was found."""
    return SourceError(
        f"{path}: the file changed while it was in use (it had {size:,} bytes and has "
        f"{size_now:,} now, or was written again); start again once nothing writes to it."
    )


def at_once(function: Callable[[Any], T], items: Iterable[Any], n_at_once: int) -> list[T]:
    """Call a function for each item, a few at a time, and return what it gives in their order."""
    items = list(items)
    if len(items) < 2:
        return [function(it) for it in items]
    pool = ThreadPoolExecutor(min(n_at_once, len(items)), thread_name_prefix="zarrts-source")
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def look_again(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Return files as they are now; SourceError if one is gone."""
    return at_once(lambda it: it.now(), files, _AT_ONCE)
