"""Read chunks of an array from a bucket, by ranges of its objects, many requests in flight.

The index of a shard is read once, and checked; a shard that is as small as a request is worth is
kept whole with it. What was asked for ahead is fetched by the bucket's threads, neighbours with one
request.
"""

import contextlib
import itertools
import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.buckets.objects import ObjectPath
from zarrts.errors import AccessError, BucketError, ReadError
from zarrts.storage.encoded import EncodedChunks
from zarrts.storage.shards import index_bytes, is_missing, parse_index
from zarrts.storage.still_there import StillThere
from zarrts.types import AnyArray, ArraySpec

Bytes = NDArray[np.uint8]

_SMALL_SHARD_BYTES = 256 << 10
_MAX_REQUEST_BYTES = 4 << 20
_MAX_GAP_BYTES = 64 << 10  # that are cheaper to read than to ask twice
_MAX_SHARDS = 4096
_MOST_OVERHEAD_BYTES = 64  # of a chunk that does not compress
_CHECKSUMS_AT_ONCE = 1 << 14
_N_LOCKS = 16


@dataclass(frozen=True)
class _Shard:
    """The known parts of a shard: its index, the checksums as they were written, and its end."""

    index: NDArray[np.uint64]
    checksums: NDArray[np.uint32] | None
    tail: Bytes
    tail_start: int


class _Run:
    """Consecutive chunks of one shard that were asked for; forgotten once nobody holds it."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.future: Future[Sequence[Bytes | ReadError]]

    def chunk(self, chunk: int) -> Bytes:
        found = self.future.result()[chunk - self.first]
        if isinstance(found, ReadError):
            raise found
        return found


class RangedReader:
    """Reads chunks by ranges of objects; see `ChunkReader`.

    `_lock` guards the shards that are known, the checksums and what was asked for; each shard is
    opened by one thread, which holds the lock that it shares with few others, and the list of
    checksums is read by one thread.
    """

    def __init__(
        self, root: ObjectPath, spec: ArraySpec, still_there: StillThere | None = None
    ) -> None:
        self.spec, self._still_there = spec, still_there
        self._root = root
        self._chunks = EncodedChunks(root, spec)
        self._lock = threading.Lock()
        self._opening = [threading.Lock() for _ in range(_N_LOCKS)]
        self._reading_checksums = threading.Lock()
        self._shards: OrderedDict[int, _Shard] = OrderedDict()
        self._checksums: dict[int, NDArray[np.uint32]] = {}
        self._asked: weakref.WeakValueDictionary[int, _Run] = weakref.WeakValueDictionary()
        if root.cache is not None:
            root.cache.use(self._name)

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        return True

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network: yes."""
        return True

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk; see `ChunkReader`."""
        try:
            self._chunks.decode(self.read_encoded(chunk), out, chunk)
        except AccessError:
            raise
        except ReadError:
            # Bytes may be damaged on their way; what is damaged in the bucket is so again.
            self._forget_cached(chunk)
            with self._lock:
                self._shards.pop(chunk // self.spec.chunks_per_shard, None)
                self._checksums.clear()
                self._asked.pop(chunk, None)
            self._chunks.decode(self.read_encoded(chunk), out, chunk)

    def read_encoded(self, chunk: int) -> Bytes:
        """Return a chunk as it is stored."""
        with self._lock:
            run = self._asked.get(chunk)
        if run is not None:
            with contextlib.suppress(CancelledError):  # the bucket was closed meanwhile
                return run.chunk(chunk)
        found = self._fetch(chunk, chunk + 1)[0]
        if isinstance(found, ReadError):
            raise found
        return found

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Ask for consecutive chunks to be fetched; they are kept as long as what is returned."""
        runs = []
        for first, stop in self._cut(chunk, chunk + n_chunks):
            run = _Run(first)
            with self._lock:
                known = [self._asked.get(it) for it in range(first, stop)]
                if all(it is not None for it in known):
                    runs += known
                    continue
                run.future = self._root.bucket.submit(self._fetch, first, stop)
                self._asked.update(dict.fromkeys(range(first, stop), run))
            runs.append(run)
        return runs

    def _cut(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield runs of chunks, each in one shard and worth one request."""
        per_shard = self.spec.chunks_per_shard
        step = max(1, _MAX_REQUEST_BYTES // self.spec.chunk_bytes)
        while start < stop:
            end = min(stop, start + step, (start // per_shard + 1) * per_shard)
            yield start, end
            start = end

    def close(self) -> None:
        """Forget what is known of the shards, and end the bucket's threads."""
        with self._lock:
            self._shards.clear()
            self._checksums.clear()
        self._root.bucket.close()

    # In the threads of the bucket, or in that of whoever reads -------------------------------

    def _fetch(self, first: int, stop: int) -> Sequence[Bytes | ReadError]:
        """Return chunks of one shard as they are stored, checked to be what belongs there."""
        number, inside = divmod(first, self.spec.chunks_per_shard)
        cached = self._cached(first, stop)
        if len(cached) == stop - first:
            return [cached[at] for at in range(stop - first)]
        shard = self._shard(number)
        entries = shard.index[inside : inside + stop - first]
        found = dict(cached)
        for span in _spans(entries, shard.tail_start, cached):
            found |= self._fetch_span(number, entries, span)
        chunks = [
            self._checked(shard, first + at, entry, found.get(at))
            for at, entry in enumerate(entries)
        ]
        for at, content in enumerate(chunks):
            if at not in cached and not isinstance(content, ReadError):
                self._keep(first + at, content)
        return chunks

    # The local cache: only of arrays whose checksums are listed, by which chunks are named ----

    def _cached(self, first: int, stop: int) -> dict[int, Bytes]:
        """Return what a local disk has of some chunks of one shard, by their place among them."""
        cache = self._root.cache
        if cache is None or self.spec.checksums is None:
            return {}
        found = {}
        for chunk in range(first, stop):
            content = cache.get(self._name, chunk, self._checksum(chunk))
            if content is not None:
                encoded = np.frombuffer(content, np.uint8)
                # What is damaged further inside is found when it is decoded.
                with contextlib.suppress(ReadError):
                    self._chunks.check_place(encoded, self._checksums_of(chunk), chunk)
                    found[chunk - first] = encoded
        return found

    def _keep(self, chunk: int, content: Bytes) -> None:
        cache = self._root.cache
        if cache is not None and self.spec.checksums is not None:
            cache.add(self._name, chunk, self._checksum(chunk), content.tobytes())

    def _forget_cached(self, chunk: int) -> None:
        cache = self._root.cache
        if cache is not None and self.spec.checksums is not None:
            cache.discard(self._name, chunk, self._checksum(chunk))

    @property
    def _name(self) -> str:
        return str(self._root / self.spec.path)

    def _checksum(self, chunk: int) -> int:
        return int(self._checksums_of(chunk)[chunk % self.spec.chunks_per_shard])

    def _checksums_of(self, chunk: int) -> NDArray[np.uint32]:
        number = chunk // self.spec.chunks_per_shard
        try:
            found = self._written_checksums(number)
        except FileNotFoundError as error:
            self._check_still_there()
            raise self._chunks.shard_error(number, error) from error
        assert found is not None, "there is a list of them"
        return found

    def _checked(
        self, shard: _Shard, chunk: int, entry: NDArray[np.uint64], encoded: Bytes | None
    ) -> Bytes | ReadError:
        if is_missing(entry):
            return self._chunks.error(chunk, "is missing")
        offset, size = int(entry[0]), int(entry[1])
        if encoded is None:
            start = offset - shard.tail_start
            encoded = shard.tail[start : start + size]
        if len(encoded) < size:
            return self._chunks.error(chunk, "is cut off")
        try:
            self._chunks.check_place(encoded, shard.checksums, chunk)
        except ReadError as error:
            return error
        return encoded

    def _fetch_span(
        self, number: int, entries: NDArray[np.uint64], span: Sequence[int]
    ) -> dict[int, Bytes]:
        low = int(entries[span, 0].min())
        high = int(entries[span].sum(axis=1).max())
        path = self._root / self.spec.shard_key(number)
        try:
            content = np.frombuffer(path.bucket.get_range(path.key, low, high), np.uint8)
        except FileNotFoundError as error:
            self._check_still_there()
            raise self._chunks.shard_error(number, error) from error
        parts = {}
        for at in span:
            offset, size = int(entries[at, 0]) - low, int(entries[at, 1])
            parts[at] = content[offset : offset + size]
        return parts

    def _shard(self, number: int) -> _Shard:
        with self._opening[number % _N_LOCKS]:
            with self._lock:
                shard = self._shards.get(number)
                if shard is not None:
                    self._shards.move_to_end(number)
                    return shard
            shard = self._open(number)
            with self._lock:
                self._shards[number] = shard
                while len(self._shards) > _MAX_SHARDS:
                    self._shards.popitem(last=False)
            return shard

    def _open(self, number: int) -> _Shard:
        path = self._root / self.spec.shard_key(number)
        wanted = index_bytes(self.spec)
        most = self.spec.chunk_bytes * self.spec.chunks_per_shard
        if most <= _SMALL_SHARD_BYTES:
            wanted += most + _MOST_OVERHEAD_BYTES * self.spec.chunks_per_shard
        try:
            checksums = self._written_checksums(number)
            content, size = path.bucket.get_tail(path.key, wanted)
            tail = np.frombuffer(content, np.uint8)
            index = parse_index(tail, size, self.spec, str(path))
            if checksums is None:
                self._check_still_there()
        except (AccessError, BucketError):
            raise
        except (OSError, ReadError) as error:
            self._check_still_there()
            raise self._chunks.shard_error(number, error) from error
        if len(tail) == index_bytes(self.spec):
            tail = tail[:0]
        return _Shard(index, checksums, tail, size - len(tail))

    def _written_checksums(self, number: int) -> NDArray[np.uint32] | None:
        """Return the crc32c of the chunks of a shard, as they were when it was written."""
        if self.spec.checksums is None:
            return None
        first = number * self.spec.chunks_per_shard
        stop = min(first + self.spec.chunks_per_shard, self.spec.n_chunks)
        blocks = [
            self._block_of_checksums(block)
            for block in range(first // _CHECKSUMS_AT_ONCE, (stop - 1) // _CHECKSUMS_AT_ONCE + 1)
        ]
        start = first // _CHECKSUMS_AT_ONCE * _CHECKSUMS_AT_ONCE
        found = np.concatenate(blocks)[first - start : stop - start]
        if len(found) < stop - first:
            path = self._root / str(self.spec.checksums)
            raise ReadError(f"{path} is damaged: it is too short.")
        return found

    def _check_still_there(self) -> None:
        if self._still_there is not None:
            self._still_there.check(self.spec.path.partition("/")[0])

    def _block_of_checksums(self, block: int) -> NDArray[np.uint32]:
        with self._reading_checksums:  # of many shards at once, only one reads the list
            with self._lock:
                found = self._checksums.get(block)
            if found is None:
                path = self._root / str(self.spec.checksums)
                start = 4 * _CHECKSUMS_AT_ONCE * block
                stop = min(start + 4 * _CHECKSUMS_AT_ONCE, 4 * self.spec.n_chunks)
                content = path.bucket.get_range(path.key, start, stop)
                found = np.frombuffer(content, "<u4", count=len(content) // 4)
                # What is read after this is compared with the list: if the store is replaced later
                # on, its chunks are not what was written here.
                self._check_still_there()
                with self._lock:
                    self._checksums[block] = found
            return found


def _spans(entries: NDArray[np.uint64], tail_start: int, cached: Container[int]) -> list[list[int]]:
    """Return which chunks are read with one request each, those that are known left out."""
    known = [it for it in range(len(entries)) if it not in cached and not is_missing(entries[it])]
    wanted = sorted(
        (it for it in known if int(entries[it, 0]) < tail_start), key=lambda it: int(entries[it, 0])
    )
    spans: list[list[int]] = []
    for before, it in itertools.pairwise([-1, *wanted]):
        end = math.inf if before < 0 else int(entries[before].sum())
        if int(entries[it, 0]) - end > _MAX_GAP_BYTES or end == math.inf:
            spans.append([])
        spans[-1].append(it)
    return spans
