"""Rows of arrays of Zarr, read through zarr-python from files that are opened here.

A chunk that is not there is an error, unless it was said that fill values are meant.
"""

import functools
import io
import math
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zarrts.buckets.remote_file import at_once
from zarrts.errors import SourceError
from zarrts.sources.formats.zarr_metadata import METADATA, Node
from zarrts.sources.rows.folders import Folder
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import native_dtype, to_native
from zarrts.sources.rows.text_labels import text_labels
from zarrts.types import AnyArray

_NONE = 2**64 - 1
_MAX_CHUNKS = 20_000_000
_AT_ONCE = 16


@functools.cache
def _store_class() -> Any:
    """Return the class of stores that read from a folder; zarr-python is imported for it."""
    from zarr.abc.store import (
        OffsetByteRequest,
        RangeByteRequest,
        Store,
        SuffixByteRequest,
    )

    class FolderStore(Store):
        """Files of a folder, as zarr-python reads them."""

        def __init__(self, folder: Folder, is_filled: bool) -> None:
            super().__init__(read_only=True)
            self.folder, self.is_filled = folder, is_filled

        def __eq__(self, other: object) -> bool:
            return isinstance(other, FolderStore) and other.folder == self.folder

        def __hash__(self) -> int:
            return hash(self.folder)

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            start, stop = 0, None
            if isinstance(byte_range, RangeByteRequest):
                start, stop = byte_range.start, byte_range.end
            elif isinstance(byte_range, OffsetByteRequest):
                start = byte_range.offset
            elif isinstance(byte_range, SuffixByteRequest):
                start = -byte_range.suffix
            if self.folder.remote is None:
                content = self.folder.read(key, start, stop)
            else:
                import asyncio

                content = await asyncio.to_thread(self.folder.read, key, start, stop)
            if key.rpartition("/")[2] not in METADATA:
                if content == b"":
                    raise SourceError(f"{key} is empty")
                if content is None and not self.is_filled:
                    raise SourceError(f"{key} is missing")
            return None if content is None else prototype.buffer.from_bytes(content)

        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> list[Any]:
            return [await self.get(key, prototype, part) for key, part in key_ranges]

        async def exists(self, key: str) -> bool:
            return self.folder.read(key, 0, 1) is not None

        supports_writes = supports_deletes = supports_partial_writes = supports_listing = False

        async def set(self, key: str, value: Any) -> None:
            raise _read_only(key)

        async def delete(self, key: str) -> None:
            raise _read_only(key)

        async def set_partial_values(self, key_start_values: Any) -> None:
            raise _read_only(self.folder.path)

        def list(self) -> AsyncIterator[str]:
            raise _read_only(self.folder.path)

        def list_prefix(self, prefix: str) -> AsyncIterator[str]:
            raise _read_only(prefix)

        def list_dir(self, prefix: str) -> AsyncIterator[str]:
            raise _read_only(prefix)

    return FolderStore


def _read_only(key: str) -> OSError:
    return io.UnsupportedOperation(f"{key}: is read, and nothing else")


def open_array(folder: Folder, node: Node, where: str, *, is_filled: bool = False) -> Any:
    """Return an array of zarr-python; its codecs have to be known.

    Raises
    ------
    SourceError
        If its metadata are not those of an array that can be read.
    """
    import zarr

    try:
        store = _store_class()(folder, is_filled)
        return zarr.open_array(
            store, path=node.path, mode="r", zarr_format=3 if node.format == 3 else 2
        )
    except SourceError:
        raise
    except Exception as error:  # other people's metadata make zarr-python raise what it likes
        raise SourceError(
            f"{where}: cannot be read by zarr-python ({_reason(error)}); save it anew."
        ) from error


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


class ZarrRows(Rows):
    """Rows of one array.

    Parameters
    ----------
    folder : Folder
        Of the hierarchy.
    node : Node
        The array.
    array : zarr.Array
        The same, opened.
    axes : tuple of int
        Axis i of the result is axis `axes[i]` of the array; rows are `axes[0]`.
    label : str
        Name of the array in errors.
    is_filled : bool
        Chunks that are missing hold fill values.
    """

    def __init__(
        self,
        folder: Folder,
        node: Node,
        array: Any,
        axes: tuple[int, ...],
        label: str,
        *,
        is_filled: bool = False,
    ) -> None:
        self._folder, self._node, self._axes = folder, node, axes
        self.label, self._is_filled = label, is_filled
        self._stored_dtype = np.dtype(array.dtype)
        self._chunks = tuple(array.chunks)
        self._array: Any = array

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return tuple(self._node.shape[axis] for axis in self._axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype, in native byte order."""
        return native_dtype(self._stored_dtype)

    @property
    def block_rows(self) -> int:
        """As many as are unpacked together."""
        return max(1, min(int(self._chunks[self._axes[0]]), self.shape[0]))

    def _read(self, start: int, stop: int) -> AnyArray:
        if start == stop or 0 in self.shape:
            return np.empty((stop - start, *self.shape[1:]), self.dtype)
        array = self._array
        if array is None:
            array = open_array(self._folder, self._node, self.label, is_filled=self._is_filled)
            self._array = array  # two threads that meet here make two, which are alike
        if tuple(array.shape) != self._node.shape or array.dtype != self._stored_dtype:
            raise SourceError(f"{self.label}: changed while it was in use; start again.")
        where = tuple(
            slice(start, stop) if axis == self._axes[0] else slice(None)
            for axis in range(len(self._node.shape))
        )
        try:
            stored = np.asarray(array[where])
        except Exception as error:  # codecs raise what they like
            raise SourceError(
                f"{self.label}: rows {start:,} to {stop:,} cannot be read, or are damaged "
                f"({_reason(error)}); copy or save it again."
            ) from error
        return to_native(stored.transpose(self._axes), self.label)

    def close(self) -> None:
        """Forget the array; a later read opens it again."""
        self._array = None


# Chunks that are not there ----------------------------------------------------------------------


def count_missing(
    folder: Folder, sizes: Mapping[str, int], node: Node, array: Any, where: str
) -> tuple[int, int]:
    """Return how many chunks of an array were never written, and how many there should be.

    Of shards, those inside are counted, from the index that each of them has.

    Raises
    ------
    SourceError
        If there are too many, or an index is damaged.
    """
    if 0 in node.shape:
        return 0, 0
    outer = tuple(array.shards or array.chunks)
    inside = _per_shard(array)
    grid = [-(-length // step) for length, step in zip(node.shape, outer, strict=True)]
    if math.prod(grid) * inside > _MAX_CHUNKS:
        raise SourceError(
            f"{where}: has {math.prod(grid) * inside:,} chunks, above {_MAX_CHUNKS:,}; save it "
            "with larger chunks."
        )
    start = f"{node.path}/" if node.path else ""
    keys = [start + array.metadata.encode_chunk_key(it) for it in np.ndindex(*grid)]
    if inside == 1 and not array.shards:
        return sum(key not in sizes for key in keys), len(keys)
    expected = list(_inside(node.shape, outer, tuple(array.chunks), grid))
    there = [(key, wanted) for key, wanted in zip(keys, expected, strict=True) if key in sizes]
    at_end = _has_index_at_end(node, where)

    def missing(it: tuple[str, AnyArray]) -> int:
        key, wanted = it
        return _missing_in(folder, key, inside, wanted, at_end=at_end, where=where)

    n_at_once = _AT_ONCE if folder.remote is not None else 1
    total = sum(int(it.sum()) for it in expected)
    found = sum(int(it.sum()) for _, it in there)
    return total - found + sum(at_once(missing, there, n_at_once)), total


def _per_shard(array: Any) -> int:
    if not array.shards:
        return 1
    return math.prod(
        outer // inner for outer, inner in zip(array.shards, array.chunks, strict=True)
    )


def _inside(
    shape: Sequence[int], outer: Sequence[int], inner: Sequence[int], grid: Sequence[int]
) -> Iterator[AnyArray]:
    """Yield for each shard which of its chunks begin inside the array."""
    counts = [step // small for step, small in zip(outer, inner, strict=True)]
    for place in np.ndindex(*grid):
        masks = [
            at * step + np.arange(count) * small < length
            for at, step, small, count, length in zip(
                place, outer, inner, counts, shape, strict=True
            )
        ]
        yield functools.reduce(np.logical_and.outer, masks).reshape(-1)


def _has_index_at_end(node: Node, where: str) -> bool:
    """Return where the index of shards is; SourceError unless it is as zarr-python writes it."""
    (codec, *_) = node.metadata["codecs"]
    sharding = codec["configuration"]
    names = [it.get("name") if isinstance(it, Mapping) else it for it in sharding["index_codecs"]]
    if names != ["bytes", "crc32c"]:
        raise SourceError(
            f"{where}: the index of its shards is stored with {', '.join(map(str, names))}, not "
            "bytes and crc32c; save it anew."
        )
    return bool(sharding.get("index_location", "end") == "end")


def _missing_in(
    folder: Folder, key: str, n_inside: int, wanted: AnyArray, *, at_end: bool, where: str
) -> int:
    n_bytes = 16 * n_inside + 4
    content = folder.read(key, -n_bytes) if at_end else folder.read(key, 0, n_bytes)
    if content is None or len(content) < n_bytes:
        raise SourceError(f"{where}: {key} is cut short; copy or save it again.")
    index = np.frombuffer(content[:-4], "<u8").reshape(n_inside, 2)
    checksum = struct.unpack("<I", content[-4:])[0]
    if _crc32c(content[:-4]) != checksum:
        raise SourceError(f"{where}: the index of {key} is damaged; copy or save it again.")
    return int(((index[:, 0] == _NONE) & (index[:, 1] == _NONE) & wanted).sum())


def _crc32c(content: bytes) -> int:
    import google_crc32c

    return int(google_crc32c.value(content))


def texts_of(array: Any, where: str) -> AnyArray:
    """Return labels that are text of any length; see `text_labels`.

    Raises
    ------
    SourceError
        If they are not one axis of text, too long, or damaged.
    """
    try:
        return text_labels(tuple(array.shape), array.__getitem__, where)
    except SourceError:
        raise
    except Exception as error:  # codecs raise what they like
        raise SourceError(
            f"{where}: cannot be read, or is damaged ({_reason(error)}); copy or save it again."
        ) from error
