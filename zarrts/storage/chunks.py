"""Decode chunks of a store into memory that the caller owns."""

import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from zarrts.buckets.objects import ObjectPath
from zarrts.errors import AccessError, ReadError
from zarrts.loops import chunks
from zarrts.loops.scratch import BYTES, scratch
from zarrts.storage.encoded import EncodedChunks, can_decode
from zarrts.storage.location import Location
from zarrts.storage.open_files import OPEN_FILES, within_limit
from zarrts.storage.open_shards import OpenShard
from zarrts.storage.shards import NO_CHUNK
from zarrts.storage.still_there import StillThere
from zarrts.storage.zarr_reader import ZarrReader
from zarrts.types import AnyArray, ArraySpec


class ChunkReader(Protocol):
    """Reads one array, chunk by chunk, from any number of threads."""

    spec: ArraySpec

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        ...

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out`, C-contiguous with the spec's chunk_shape and dtype, with a chunk.

        Rows beyond the end of the array are not defined.

        Raises
        ------
        ReadError
            If the chunk is missing or damaged; never zeros instead.
        """
        ...

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network, so that many should be asked for ahead."""
        ...

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Ask for consecutive chunks to be read soon; returns at once.

        Hold what is returned until they are read: what is asked for is forgotten with it.
        """
        ...

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        ...


def open_chunks(
    root: Location, spec: ArraySpec, still_there: StillThere | None = None
) -> ChunkReader:
    """Return the fastest reader that knows the codecs of an array.

    Parameters
    ----------
    still_there : StillThere, optional
        Asked after each file that is opened, where the store may be replaced meanwhile.
    """
    if not can_decode(spec):
        return ZarrReader(root, spec, still_there)
    if isinstance(root, ObjectPath):
        from zarrts.storage.ranged import RangedReader

        return RangedReader(root, spec, still_there)
    return DirectReader(root, spec, still_there)


def _forgetting(reader: "DirectReader") -> Callable[[int], None]:
    """Return what forgets a shard of a reader.

    A shard that is kept must not keep its reader, whose end closes it.
    """
    held = weakref.ref(reader)

    def forget(number: int) -> None:
        there = held()
        if there is not None:
            there._open.pop(number, None)

    return forget


class DirectReader:
    """Reads shards at their chunks' offsets and decodes with numcodecs, without zarr-python.

    The lock of `OPEN_FILES`, which all readers share, guards the open files: whoever opens one more
    than the process is to have closes those that were used longest ago. Each thread has its own
    buffer for compressed bytes, whichever array it reads.
    """

    def __init__(self, root: Path, spec: ArraySpec, still_there: StillThere | None = None) -> None:
        self._still_there = still_there
        self.spec = spec
        self._root = root
        self._chunks = EncodedChunks(root, spec)
        self._open: dict[int, OpenShard] = {}
        self._forget = _forgetting(self)

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        return True

    @property
    def is_read_at_once(self) -> bool:
        """Whether `read_first` takes its chunks."""
        return self._chunks.are_read_at_once

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk; see `ChunkReader`."""
        try:
            self._read_once(chunk, out)
        except AccessError:
            raise
        except ReadError as first:
            # The file may have been written anew since it was opened, as `zarrts repair` does.
            self._drop(chunk // self.spec.chunks_per_shard)
            try:
                self._read_once(chunk, out)
            except AccessError:
                raise
            except ReadError:
                raise first from first.__cause__

    def _read_once(self, chunk: int, out: AnyArray) -> None:
        shard = self._acquire(chunk // self.spec.chunks_per_shard)
        try:
            offset, size = self._entry(shard, chunk)
            parts = self._chunks.plain_parts(size, out)
            # What does not compress goes straight to where it is wanted.
            if parts is not None:
                self._fill(shard, parts, offset, size, chunk)
                self._chunks.check_place(parts[-1], shard.checksums, chunk)
                if self._chunks.check_plain(parts, chunk):
                    return
            encoded = self._read(shard, chunk, offset, size)
        finally:
            self._release(shard)
        self._chunks.decode(encoded, out, chunk)

    def read_encoded(self, chunk: int) -> NDArray[np.uint8]:
        """Return a chunk as it is stored, in memory that this thread's next read reuses."""
        shard = self._acquire(chunk // self.spec.chunks_per_shard)
        try:
            return self._read(shard, chunk, *self._entry(shard, chunk))
        finally:
            self._release(shard)

    def _read(self, shard: OpenShard, chunk: int, offset: int, size: int) -> NDArray[np.uint8]:
        # One for all arrays: a store of a thousand parts has thousands of them.
        encoded = scratch("encoded", (size,), BYTES)
        self._fill(shard, [encoded], offset, size, chunk)
        self._chunks.check_place(encoded, shard.checksums, chunk)
        return encoded

    def _entry(self, shard: OpenShard, chunk: int) -> tuple[int, int]:
        offset, size = shard.entry(chunk)
        if offset == NO_CHUNK:
            raise self._chunks.error(chunk, "is missing")
        return offset, size

    def _fill(
        self,
        shard: OpenShard,
        buffers: Sequence[NDArray[np.uint8]],
        offset: int,
        size: int,
        chunk: int,
    ) -> None:
        try:
            n_bytes = shard.file.read_into_each(buffers, offset)
        except OSError as error:
            raise self._chunks.error(chunk, f"cannot be read ({error.strerror})") from error
        if n_bytes < size:
            raise self._chunks.error(chunk, "is cut off")

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network: no."""
        return False

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Ask the system to start reading some chunks; returns at once."""
        for number in range(chunk, chunk + n_chunks):
            self._will_need(number)
        return None

    def _will_need(self, chunk: int) -> None:
        shard = self._acquire(chunk // self.spec.chunks_per_shard)
        try:
            offset, size = shard.entry(chunk)
            if offset != NO_CHUNK:
                shard.file.will_need(offset, size)
        finally:
            self._release(shard)

    def _acquire(self, number: int) -> OpenShard:
        with OPEN_FILES.lock:
            shard = self._open.get(number)
            if shard is not None:
                OPEN_FILES.use(shard)
                shard.users += 1
                return shard
        opened = self._open_shard(number)
        with OPEN_FILES.lock:
            shard = self._open.setdefault(number, opened)
            shard.users += 1
            OPEN_FILES.add(shard)
            closing = OPEN_FILES.excess()
            for old in closing:
                old.drop()
        if shard is not opened:
            opened.file.close()
        return shard

    def _drop(self, number: int) -> None:
        """Close a shard; the next read opens it again."""
        with OPEN_FILES.lock:
            shard = self._open.pop(number, None)
            if shard is not None:
                shard.is_closing = True
                OPEN_FILES.forget(shard)
            is_unused = shard is not None and not shard.users
        if shard is not None and is_unused:
            shard.file.close()

    def _release(self, shard: OpenShard) -> None:
        with OPEN_FILES.lock:
            shard.users -= 1
            is_last = shard.is_closing and not shard.users
        if is_last:
            shard.file.close()

    def _open_shard(self, number: int) -> OpenShard:
        path = os.path.join(self._root, self.spec.shard_key(number))
        try:
            opened = within_limit(
                lambda: OpenShard(path, self._root, self.spec, number, self._forget), path
            )
        except AccessError:
            raise
        except OSError as error:
            self._check_still_there()
            raise self._chunks.shard_error(number, error) from error
        except ReadError as error:
            self._check_still_there()
            raise self._chunks.shard_error(number, error) from error
        try:
            self._check_still_there()
        except BaseException:
            opened.file.close()
            raise
        return opened

    def _check_still_there(self) -> None:
        if self._still_there is not None:
            self._still_there.check(self.spec.path.partition("/")[0])

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        with OPEN_FILES.lock:
            shards, self._open = list(self._open.values()), {}
            for shard in shards:
                shard.is_closing = True
                OPEN_FILES.forget(shard)
            # A number of a closed file may be that of another one at once: whoever still reads
            # closes it.
            unused = [shard for shard in shards if not shard.users]
        for shard in unused:
            shard.file.close()


def can_read_at_once(reader: ChunkReader) -> TypeGuard[DirectReader]:
    """Return whether `read_first` takes chunks of a reader."""
    return isinstance(reader, DirectReader) and reader.is_read_at_once


def read_first(wanted: Sequence[tuple[DirectReader, int, AnyArray]]) -> int:
    """Read chunks of any readers, each into its memory, and stop at the first that cannot be read.

    Threads wait for each other once, and not at each step of each chunk.

    Parameters
    ----------
    wanted : sequence of (DirectReader, int, array)
        See `can_read_at_once` and `ChunkReader.read_into`.

    Returns
    -------
    int
        How many were read; `read_into` says what is wrong with the next.
    """
    done = 0
    while done < len(wanted):
        some = wanted[done : done + _count_at_once(wanted[done : done + chunks.MOST_CHUNKS])]
        n_read = _read_at_once(some)
        done += n_read
        if n_read < len(some):
            break
    return done


def _count_at_once(wanted: Sequence[tuple[DirectReader, int, AnyArray]]) -> int:
    """Return how many of the first are in no more files than a thread may use."""
    files, most = set(), OPEN_FILES.share
    for count, (reader, chunk, _) in enumerate(wanted):
        files.add((id(reader), chunk // reader.spec.chunks_per_shard))
        if len(files) > most:
            return count
    return len(wanted)


def _read_at_once(wanted: Sequence[tuple[DirectReader, int, AnyArray]]) -> int:
    read = chunks.reader()
    assert read is not None
    held: list[tuple[DirectReader, OpenShard]] = []
    found = []
    try:
        for reader, chunk, out in wanted:
            shard = reader._acquire(chunk // reader.spec.chunks_per_shard)
            held.append((reader, shard))
            found.append(shard.wanted(chunk, out))
        return read(found)
    except ReadError:  # of a shard that cannot be opened
        return 0
    finally:
        for reader, shard in held:
            reader._release(shard)


def read_rows(reader: ChunkReader, start: int, stop: int) -> AnyArray:
    """Return rows `start` to `stop` of an array, in memory of their own."""
    spec = reader.spec
    numbers = range(start // spec.chunk_rows, -(-stop // spec.chunk_rows))
    asked = reader.will_need(numbers.start, len(numbers)) if reader.is_remote else None
    out = np.empty((stop - start, *spec.row_shape), spec.dtype)
    chunk = np.empty(spec.chunk_shape, spec.dtype)
    for number in numbers:
        first = number * spec.chunk_rows
        reader.read_into(number, chunk)
        low, high = max(start, first), min(stop, first + spec.chunk_rows)
        out[low - start : high - start] = chunk[low - first : high - first]
    del asked  # which kept what was asked for until here
    return out
