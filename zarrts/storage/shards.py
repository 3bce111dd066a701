"""Write and index shard files: Zarr's sharding codec with whole rows as chunks.

Format: "Sharding codec (version 1.0)" of the Zarr specification: the chunks, encoded, one after
the other; then for each chunk its offset and size as little-endian uint64, and a crc32c of
these. Here the chunks are written one by one, so that a shard takes the memory of a chunk.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import ReadError
from zarrts.storage.checksums import crc32c
from zarrts.storage.location import Location, OpenFile, new_file, open_file
from zarrts.types import AnyArray, ArraySpec

NO_CHUNK = 2**64 - 1
"""Offset, in an index, of a chunk that is not there."""

_NO_CHUNK = np.uint64(NO_CHUNK)
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class WrittenShard:
    """A shard that was written.

    Attributes
    ----------
    key : str
        Path of the file below the store.
    size, checksum : int
        Bytes of the file, and their crc32c.
    chunk_checksums : tuple of int
        crc32c of each chunk as encoded.
    """

    key: str
    size: int
    checksum: int
    chunk_checksums: tuple[int, ...]


def encode_chunk(spec: ArraySpec, chunk: AnyArray) -> list[memoryview]:
    """Return a chunk (C-contiguous, dtype and shape of the spec) as it lies in a shard, in parts.

    Without compression, the first part is the memory of the chunk itself.
    """
    from numcodecs import blosc, zstd

    assert spec.codecs is not None, "only the codecs of our own schema are written"
    encoded: Any = chunk.reshape(-1)
    if "blosc" in spec.codecs:
        encoded = blosc.compress(
            encoded,
            str(spec.compressor["cname"]).encode(),
            int(spec.compressor["clevel"]),
            _SHUFFLES[spec.compressor["shuffle"]],
            int(spec.compressor["blocksize"]),
        )
    elif "zstd" in spec.codecs:
        encoded = zstd.compress(encoded, int(spec.compressor["level"]))
    parts = [memoryview(encoded).cast("B")]
    if "crc32c" in spec.codecs:
        parts.append(memoryview(crc32c(parts[0]).to_bytes(_CHECKSUM_BYTES, "little")))
    return parts


class ShardWriter:
    """Writes the chunks of one shard in order; the file appears, whole, at `commit`.

    The codecs of our own schema end with crc32c, so that a chunk's checksum is its last bytes.

    A shard that was not committed leaves nothing behind, unless the process is killed: then a
    file that ends in ".partial". `attempt` is in the name of this file.
    """

    def __init__(self, root: Location, spec: ArraySpec, shard: int, attempt: str = "") -> None:
        self.spec = spec
        self._key = spec.shard_key(shard)
        self._file = new_file(root / self._key, attempt)
        self._index = np.full((spec.chunks_per_shard, 2), _NO_CHUNK, "<u8")
        self._chunk_checksums: list[int] = []
        self._size = 0
        self._checksum = 0
        self._finished: WrittenShard | None = None

    def append(self, chunk: AnyArray) -> None:
        """Encode and write the next chunk, an array of the spec's chunk_shape and dtype."""
        parts = encode_chunk(self.spec, chunk)
        self._index[len(self._chunk_checksums)] = (self._size, sum(map(len, parts)))
        self._chunk_checksums.append(int.from_bytes(parts[-1][-_CHECKSUM_BYTES:], "little"))
        for part in parts:
            self._write(part)

    def finish(self) -> WrittenShard:
        """Write the index, and return what the shard will be; a second call only returns it."""
        if self._finished is None:
            index = self._index.tobytes()
            self._write(memoryview(index + crc32c(index).to_bytes(_CHECKSUM_BYTES, "little")))
            self._finished = WrittenShard(
                self._key, self._size, self._checksum, tuple(self._chunk_checksums)
            )
        return self._finished

    def commit(self) -> WrittenShard:
        """Finish the shard, wait until it is durable, and give the file its name."""
        written = self.finish()
        self._file.commit()
        return written

    def _write(self, content: memoryview) -> None:
        self._file.write(content)
        view = np.frombuffer(content, np.uint8)
        self._checksum = crc32c(view, self._checksum)
        self._size += len(content)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.abort()


def index_bytes(spec: ArraySpec) -> int:
    """Return the size of the index at the end of a shard."""
    return spec.chunks_per_shard * 16 + _CHECKSUM_BYTES


def read_index(file: OpenFile, spec: ArraySpec, name: str) -> NDArray[np.uint64]:
    """Return offset and size of every chunk of a shard, shape (chunks_per_shard, 2).

    Raises
    ------
    ReadError
        If the file is too short, or the index does not match its checksum.
    """
    size = file.size()
    content = np.zeros(min(size, index_bytes(spec)), np.uint8)
    n_bytes = file.read_into(content, size - len(content))
    return parse_index(content[:n_bytes], size, spec, name)


def parse_index(
    tail: NDArray[np.uint8], size: int, spec: ArraySpec, name: str
) -> NDArray[np.uint64]:
    """Return what `read_index` does, from the last bytes of a shard and its size."""
    length = index_bytes(spec)
    if len(tail) < length:
        raise ReadError(
            f"{name} is damaged: it holds {size:,} bytes, fewer than the {length:,} of its index."
        )
    content = tail[-length:]
    index, stored = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if crc32c(index) != int.from_bytes(stored.tobytes(), "little"):
        raise ReadError(f"{name} is damaged: its index does not match its checksum.")
    entries = np.frombuffer(index.tobytes(), "<u8").reshape(-1, 2).astype(np.uint64)
    offsets, sizes = entries[entries[:, 0] != _NO_CHUNK].T
    # Compared so that nothing overflows, whatever the entries say.
    if (sizes > size).any() or (offsets > size - np.minimum(sizes, np.uint64(size))).any():
        raise ReadError(f"{name} is damaged: it holds {size:,} bytes, fewer than its index says.")
    return entries


def chunk_checksums(root: Location, spec: ArraySpec, shard: int) -> tuple[int, ...]:
    """Return the crc32c of the chunks of a shard that is whole."""
    path = root / spec.shard_key(shard)
    with open_file(path) as file:
        ends = [
            (offset + size - _CHECKSUM_BYTES, _CHECKSUM_BYTES)
            for offset, size in read_index(file, spec, str(path)).tolist()
            if offset != NO_CHUNK
        ]
        return tuple(int.from_bytes(content, "little") for content in file.read_ranges(ends))


def written_checksums(root: Location, spec: ArraySpec, number: int) -> NDArray[np.uint32] | None:
    """Return the crc32c of the chunks of a shard, as they were when it was written."""
    if spec.checksums is None:
        return None
    first = number * spec.chunks_per_shard
    found = np.zeros(min(spec.chunks_per_shard, spec.n_chunks - first), "<u4")
    with open_file(root / spec.checksums) as file:
        if file.read_into(found, 4 * first) < found.nbytes:
            raise ReadError(f"{root / spec.checksums} is damaged: it is too short.")
    return found


def is_in_place(root: Location, spec: ArraySpec, shard: int) -> bool:
    """Return whether a shard holds the chunks that were written there.

    The crc32c of its file does not tell: where a part is followed by its own checksum, that of
    the whole depends on the parts' sizes alone.
    """
    written = written_checksums(root, spec, shard)
    return written is None or chunk_checksums(root, spec, shard) == tuple(written.tolist())


def is_missing(entry: NDArray[np.uint64]) -> bool:
    """Return whether an index entry (offset, size) says that there is no chunk."""
    return bool(entry[0] == _NO_CHUNK)
