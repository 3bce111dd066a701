"""Decode chunks of a store into memory that the caller owns."""

import threading
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from zarrts.errors import ReadError
from zarrts.location import Location, open_file
from zarrts.shards import crc32c, is_missing, read_index, written_checksums
from zarrts.system import open_file_limit
from zarrts.types import AnyArray, ArraySpec

_CHECKSUM_BYTES = 4
_BLOSC_HEADER = 16
_ALIGNMENT = 64
_KNOWN_CODECS = ((), ("crc32c",), ("blosc",), ("blosc", "crc32c"), ("zstd",), ("zstd", "crc32c"))


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

    def will_need(self, chunk: int) -> None:
        """Ask the system to start reading a chunk; returns at once."""
        ...

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        ...


def open_chunks(root: Location, spec: ArraySpec) -> ChunkReader:
    """Return the fastest reader that knows the codecs of an array."""
    if spec.codecs in _KNOWN_CODECS and spec.dtype.newbyteorder("<") == spec.dtype:
        return DirectReader(root, spec)
    return ZarrReader(root, spec)


class _OpenShard:
    """A shard file, its index, and how many threads are reading it just now.

    `checksums` are those of its chunks as they were written, where they are known.
    """

    def __init__(self, root: Location, spec: ArraySpec, number: int) -> None:
        path = root / spec.shard_key(number)
        self.checksums = written_checksums(root, spec, number)
        self.file = open_file(path)
        try:
            self.index = read_index(self.file, spec, str(path))
        except BaseException:
            self.file.close()
            raise
        self.users = 0
        self.is_closing = False


class DirectReader:
    """Reads shards at their chunks' offsets and decodes with numcodecs, without zarr-python.

    `_lock` guards the open files. Each thread has its own buffer for compressed bytes.
    """

    def __init__(self, root: Location, spec: ArraySpec) -> None:
        self.spec = spec
        self._root = root
        self._max_open = max(8, min(256, open_file_limit() // 8))
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._lock = threading.Lock()
        self._buffers = threading.local()

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        return True

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk; see `ChunkReader`."""
        self._decode(self.read_encoded(chunk), out, *divmod(chunk, self.spec.chunks_per_shard))

    def read_encoded(self, chunk: int) -> NDArray[np.uint8]:
        """Return a chunk as it is stored, in memory that this thread's next read reuses."""
        number, inside = divmod(chunk, self.spec.chunks_per_shard)
        shard = self._acquire(number)
        try:
            return self._read(shard, number, inside)
        finally:
            self._release(shard)

    def _read(self, shard: _OpenShard, number: int, inside: int) -> NDArray[np.uint8]:
        entry = shard.index[inside]
        if is_missing(entry):
            raise self._error(number, inside, "is missing")
        offset, size = int(entry[0]), int(entry[1])
        encoded = self._buffer(size)
        try:
            n_bytes = shard.file.read_into(encoded, offset)
        except OSError as error:
            raise self._error(number, inside, f"cannot be read ({error.strerror})") from error
        if n_bytes < size:
            raise self._error(number, inside, "is cut off")
        if shard.checksums is not None:
            stored = int.from_bytes(encoded[-_CHECKSUM_BYTES:].tobytes(), "little")
            if inside >= len(shard.checksums) or stored != shard.checksums[inside]:
                raise self._error(number, inside, "is not what was written there")
        return encoded

    def _decode(self, encoded: NDArray[np.uint8], out: AnyArray, number: int, inside: int) -> None:
        codecs = self.spec.codecs or ()
        if "crc32c" in codecs:
            encoded, stored = encoded[:-_CHECKSUM_BYTES], encoded[-_CHECKSUM_BYTES:]
            if len(stored) < _CHECKSUM_BYTES or crc32c(encoded) != int(stored.view("<u4")[0]):
                raise self._error(number, inside, "does not match its checksum")
        try:
            if "blosc" in codecs:
                # Fewer bytes than asked for would leave what was in the memory before.
                if len(encoded) < _BLOSC_HEADER or int(encoded[4:8].view("<u4")[0]) != out.nbytes:
                    raise ValueError("its header declares another size")
                blosc.decompress(encoded, out)
            elif "zstd" in codecs and "crc32c" in codecs:
                zstd.decompress(encoded, out)
            elif "zstd" in codecs:
                # A frame that says it is shorter leaves what was in the memory before.
                _copy(np.frombuffer(zstd.decompress(encoded), np.uint8), out)
            else:
                _copy(encoded, out)
        except (RuntimeError, ValueError) as error:
            raise self._error(number, inside, f"cannot be decoded ({error})") from error

    def _buffer(self, size: int) -> NDArray[np.uint8]:
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "bytes", None)
        if buffer is None or len(buffer) < size:
            # Reading into an array that starts 16 bytes into a page, as large ones do, takes a
            # fifth longer on some processors.
            memory = np.empty(size + size // 8 + _ALIGNMENT, np.uint8)
            buffer = self._buffers.bytes = memory[-memory.ctypes.data % _ALIGNMENT :]
        return buffer[:size]

    def will_need(self, chunk: int) -> None:
        """Ask the system to start reading a chunk; returns at once."""
        number, inside = divmod(chunk, self.spec.chunks_per_shard)
        shard = self._acquire(number)
        try:
            if not is_missing(shard.index[inside]):
                shard.file.will_need(*(int(value) for value in shard.index[inside]))
        finally:
            self._release(shard)

    def _acquire(self, number: int) -> _OpenShard:
        with self._lock:
            shard = self._open.get(number)
            if shard is not None:
                self._open.move_to_end(number)
                shard.users += 1
                return shard
        opened = self._open_shard(number)
        with self._lock:
            shard = self._open.setdefault(number, opened)
            shard.users += 1
            unused = [old for old, it in self._open.items() if not it.users]
            excess = len(self._open) - self._max_open
            closing = [self._open.pop(old) for old in unused[: max(0, excess)]]
        if shard is not opened:
            closing.append(opened)
        for old in closing:
            old.file.close()
        return shard

    def _release(self, shard: _OpenShard) -> None:
        with self._lock:
            shard.users -= 1
            is_last = shard.is_closing and not shard.users
        if is_last:
            shard.file.close()

    def _open_shard(self, number: int) -> _OpenShard:
        key = self.spec.shard_key(number)
        try:
            return _OpenShard(self._root, self.spec, number)
        except OSError as error:
            if not (self._root / self.spec.path).exists():
                raise ReadError(
                    f"{self._root / self.spec.path} is not there any more. Open the store again, "
                    "if it was replaced or a subject removed from it meanwhile; else copy it again."
                ) from error
            raise ReadError(
                f"{error.filename or self._root / key}, needed for {self._rows(number)}, cannot be "
                f"opened: {error.strerror}. Copy the store again, or convert again."
            ) from error
        except ReadError as error:
            raise ReadError(
                f"{error} It is needed for {self._rows(number)}. Copy the store again, or convert "
                "again."
            ) from error

    def _rows(self, number: int, inside: int | None = None) -> str:
        start = number * self.spec.shard_rows
        stop = start + self.spec.shard_rows
        if inside is not None:
            start += inside * self.spec.chunk_rows
            stop = start + self.spec.chunk_rows
        return f"rows {start:,} to {min(stop, self.spec.shape[0]) - 1:,} of {self.spec.path}"

    def _error(self, number: int, inside: int, what: str) -> ReadError:
        return ReadError(
            f"{self._root / self.spec.shard_key(number)}: the part that holds "
            f"{self._rows(number, inside)} {what}. Copy the store again, or convert again."
        )

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        with self._lock:
            shards, self._open = list(self._open.values()), OrderedDict()
            for shard in shards:
                shard.is_closing = True
            # A number of a closed file may be that of another one at once: whoever still reads
            # closes it.
            unused = [shard for shard in shards if not shard.users]
        for shard in unused:
            shard.file.close()


def _copy(decoded: NDArray[np.uint8], out: AnyArray) -> None:
    if len(decoded) != out.nbytes:
        raise ValueError(f"{len(decoded):,} bytes instead of {out.nbytes:,}")
    out.reshape(-1).view(np.uint8)[:] = decoded


def read_rows(reader: ChunkReader, start: int, stop: int) -> AnyArray:
    """Return rows `start` to `stop` of an array, in memory of their own."""
    spec = reader.spec
    out = np.empty((stop - start, *spec.row_shape), spec.dtype)
    chunk = np.empty(spec.chunk_shape, spec.dtype)
    for number in range(start // spec.chunk_rows, -(-stop // spec.chunk_rows)):
        first = number * spec.chunk_rows
        reader.read_into(number, chunk)
        low, high = max(start, first), min(stop, first + spec.chunk_rows)
        out[low - start : high - start] = chunk[low - first : high - first]
    return out


class ZarrReader:
    """Reads through zarr-python: slower, and knows every codec."""

    def __init__(self, root: Location, spec: ArraySpec) -> None:
        self.spec = spec
        self._path = root / spec.path
        self._array: Any = None
        self._lock = threading.Lock()  # guards the opening of _array

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        return False

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk; see `ChunkReader`."""
        start = chunk * self.spec.chunk_rows
        stop = min(start + self.spec.chunk_rows, self.spec.shape[0])
        try:
            with self._lock:
                if self._array is None:
                    import zarr

                    self._array = zarr.open_array(str(self._path), mode="r")
                array = self._array
            self._check_file(array, start // self.spec.shard_rows)
            out[: stop - start] = array[start:stop]
        except Exception as error:  # other people's codecs raise what they like
            raise ReadError(
                f"{self._path}: rows {start:,} to {stop - 1:,} cannot be read ({error}). "
                "Copy the store again, or convert again."
            ) from error

    def _check_file(self, array: Any, number: int) -> None:
        # zarr-python reads a file that is missing or empty as zeros.
        key = array.metadata.encode_chunk_key((number, *(0 for _ in self.spec.row_shape)))
        if (self._path / key).stat().st_size == 0:
            raise ValueError(f"{key} is empty")

    def will_need(self, chunk: int) -> None:
        """Do nothing: zarr-python has no way to read ahead."""

    def close(self) -> None:
        """Forget the array; a later read opens it again."""
        with self._lock:
            self._array = None
