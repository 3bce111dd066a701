"""Chunks as they are stored: check them, and decode them into memory that the caller owns."""

import functools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import ReadError
from zarrts.loops import chunks
from zarrts.storage.checksums import crc32c
from zarrts.storage.location import Location
from zarrts.types import AnyArray, ArraySpec

_CHECKSUM_BYTES = 4
_BLOSC_HEADER, _FLAGS_AT, _IS_COPIED = 16, 2, 0x2
_KNOWN_CODECS = ((), ("crc32c",), ("blosc",), ("blosc", "crc32c"), ("zstd",), ("zstd", "crc32c"))


def can_decode(spec: ArraySpec) -> bool:
    """Return whether the codecs of an array are among those that are decoded here."""
    return spec.codecs in _KNOWN_CODECS and spec.dtype.newbyteorder("<") == spec.dtype


class EncodedChunks:
    """The chunks of an array as they are known before they are read, and their decoding."""

    def __init__(self, root: Location, spec: ArraySpec) -> None:
        self.spec = spec
        self._root = root

    @property
    def are_read_at_once(self) -> bool:
        """Whether several can be read in one call: what Blosc wrote, with a checksum."""
        return self.spec.codecs == ("blosc", "crc32c") and chunks.reader() is not None

    def check_place(
        self, encoded: NDArray[np.uint8], checksums: NDArray[np.uint32] | None, chunk: int
    ) -> None:
        """Raise ReadError if a chunk is not what was written there, as far as that is known.

        Parameters
        ----------
        checksums : uint32, or None
            Of the chunks of its shard, as they were written.
        """
        if checksums is None:
            return
        inside = chunk % self.spec.chunks_per_shard
        stored = int.from_bytes(encoded[-_CHECKSUM_BYTES:].tobytes(), "little")
        if inside >= len(checksums) or stored != checksums[inside]:
            raise self.error(chunk, "is not what was written there")

    def plain_parts(self, size: int, out: AnyArray) -> list[NDArray[np.uint8]] | None:
        """Return where the bytes of a chunk go if they are stored as they are, as its size says.

        Parameters
        ----------
        size : int
            Bytes of the chunk in its file.
        out : shape chunk_shape
            Gets what lies between header and checksum, which are in memory of their own.

        Returns
        -------
        list of uint8 arrays, or None
            None where it is compressed.
        """
        codecs = self.spec.codecs or ()
        head = _BLOSC_HEADER if "blosc" in codecs else 0
        tail = _CHECKSUM_BYTES if "crc32c" in codecs else 0
        if "zstd" in codecs or not tail or size != head + out.nbytes + tail:
            return None
        body = out.reshape(-1).view(np.uint8)
        return [np.empty(head, np.uint8), body, np.empty(tail, np.uint8)]

    def check_plain(self, parts: Sequence[NDArray[np.uint8]], chunk: int) -> bool:
        """Return whether what was read into `plain_parts` is the chunk; else it is compressed.

        Raises
        ------
        ReadError
            If it does not match its checksum.
        """
        head, body, tail = parts
        if crc32c(body, crc32c(head)) != _number(tail):
            raise self.error(chunk, "does not match its checksum")
        is_copied = len(head) == 0 or bool(head[_FLAGS_AT] & _IS_COPIED)
        return is_copied and (len(head) == 0 or _number(head[4:8]) == len(body))

    def decode(self, encoded: NDArray[np.uint8], out: AnyArray, chunk: int) -> None:
        """Fill `out`, C-contiguous with the spec's chunk_shape and dtype, with a chunk.

        Raises
        ------
        ReadError
            If the chunk does not match its checksum, or its codec knows no such bytes.
        """
        blosc, zstd = _libraries()
        codecs = self.spec.codecs or ()
        if "crc32c" in codecs:
            encoded, stored = encoded[:-_CHECKSUM_BYTES], encoded[-_CHECKSUM_BYTES:]
            if len(stored) < _CHECKSUM_BYTES or crc32c(encoded) != _number(stored):
                raise self.error(chunk, "does not match its checksum")
        try:
            if "blosc" in codecs:
                # Fewer bytes than asked for would leave what was in the memory before.
                sizes = encoded[:_BLOSC_HEADER].tobytes()[4:]
                expected = (out.nbytes, len(encoded))
                if len(sizes) < 12 or struct.unpack("<I4xI", sizes) != expected:
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
            raise self.error(chunk, f"cannot be decoded ({error})") from error

    def error(self, chunk: int, what: str) -> ReadError:
        """Return the error of a chunk, which names its file and rows."""
        number = chunk // self.spec.chunks_per_shard
        start = chunk * self.spec.chunk_rows
        return ReadError(
            f"{self._root / self.spec.shard_key(number)}: the part that holds "
            f"{self._rows(start, start + self.spec.chunk_rows)} {what}. Mend the store with "
            "zarrts repair, copy it again, or convert again with overwrite=True (--overwrite)."
        )

    def shard_error(self, number: int, error: Exception) -> ReadError:
        """Return the error of a shard that cannot be opened, which names its file and rows."""
        if isinstance(error, ReadError):
            return ReadError(
                f"{error} It is needed for {self.rows_of_shard(number)}. Mend the store with "
                "zarrts repair, copy it again, or convert again with overwrite=True (--overwrite)."
            )
        if not (self._root / self.spec.path).exists():
            return ReadError(
                f"{self._root / self.spec.path} is not there any more. Open the store again, "
                "if it was replaced or a subject removed from it meanwhile; else copy it again."
            )
        where = getattr(error, "filename", None) or self._root / self.spec.shard_key(number)
        return ReadError(
            f"{where}, needed for {self.rows_of_shard(number)}, cannot be opened: "
            f"{getattr(error, 'strerror', error)}. Mend the store with zarrts repair, copy it "
            "again, or convert again with overwrite=True (--overwrite)."
        )

    def rows_of_shard(self, number: int) -> str:
        """Return in words which rows a shard holds."""
        start = number * self.spec.shard_rows
        return self._rows(start, start + self.spec.shard_rows)

    def _rows(self, start: int, stop: int) -> str:
        return f"rows {start:,} to {min(stop, self.spec.shape[0]) - 1:,} of {self.spec.path}"


@functools.cache
def _libraries() -> tuple[Any, Any]:
    """Return the modules that decompress, which opening a store does without."""
    from numcodecs import blosc, zstd

    blosc.use_threads = False  # as zarr has it, or chunks in the main thread would wait for others
    return blosc, zstd


def _number(four_bytes: Any) -> int:
    return int.from_bytes(four_bytes.tobytes(), "little")


def _copy(decoded: NDArray[np.uint8], out: AnyArray) -> None:
    if len(decoded) != out.nbytes:
        raise ValueError(f"{len(decoded):,} bytes instead of {out.nbytes:,}")
    out.reshape(-1).view(np.uint8)[:] = decoded
