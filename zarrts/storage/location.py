"""The location of a store's files, and the few things that are done to them.

A folder, or a prefix of a bucket. Every module that touches a store goes through these functions,
and asks nowhere else which of the two it is.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from zarrts import system
from zarrts.buckets.addresses import (
    is_address,
    is_remote,
    local_path,
    parse_address,
    warn_of_unused,
)
from zarrts.buckets.bucket import MAX_OBJECT_BYTES, Bucket, ConflictError
from zarrts.buckets.chunk_cache import ChunkCache
from zarrts.buckets.objects import ObjectFile, ObjectPath, Upload
from zarrts.errors import PlanError
from zarrts.sizes import format_budget
from zarrts.system import PositionalFile

_PIECE_BYTES = 1 << 18

Location = Path | ObjectPath
"""The folder or prefix of a store, or something in it."""


class OpenFile(Protocol):
    """A file that threads read at once, each at its own offset.

    Attributes
    ----------
    piece_bytes : int
        How much is read at once by whoever reads all of it.
    """

    piece_bytes: int

    def size(self) -> int:
        """Return the size of the file in bytes."""
        ...

    def read_into(self, buffer: Any, offset: int) -> int:
        """Fill a writable buffer of bytes from an offset; return how many bytes there were."""
        ...

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return many short (offset, size) ranges."""
        ...

    def will_need(self, offset: int, length: int) -> None:
        """Ask for a range to be read soon; returns at once."""
        ...

    def close(self) -> None:
        """Close the file; twice does no harm."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class WritableFile(Protocol):
    """A file that is written from its start, and appears, whole, at `commit`."""

    def write(self, content: memoryview) -> None:
        """Append bytes."""
        ...

    def commit(self) -> None:
        """Wait until all of it is durable, and give it its name."""
        ...

    def abort(self) -> None:
        """Leave nothing behind, unless it was committed; twice does no harm."""
        ...


def locate(
    place: "str | os.PathLike[str] | ObjectPath", storage_options: Mapping[str, Any] | None = None
) -> Location:
    """Return where a store is, as users name it: by a path, or an address such as s3://lab/a.zarr.

    Raises
    ------
    PlanError
        If an address or an option is unknown, or options are given for a path.
    """
    if isinstance(place, ObjectPath):
        return place
    if not isinstance(place, str | os.PathLike):
        raise PlanError(
            f"a store is named by its path or address, not by {type(place).__name__}; "
            "store.path is that of one that is open."
        )
    if not isinstance(storage_options, Mapping | None):
        raise PlanError(
            f"storage_options={storage_options!r} has to be a dict, such as {{'anon': True}}."
        )
    if isinstance(place, str) and is_address(place):
        local = local_path(place)
        if local is None:
            address, key = parse_address(place, storage_options)
            return ObjectPath(Bucket(address), key)
        place = local
    if isinstance(place, Path) and re.match(r"\w{2,}:/", place.as_posix()) and not place.exists():
        raise PlanError(f"{place} is an address; give it as a text: 's3://lab/study.zarr'.")
    if storage_options:
        raise PlanError(
            f"{place} is a path, and storage_options are for addresses; leave them out."
        )
    return Path(place)


def refuse_unused(
    storage_options: Mapping[str, Any] | None, source: Any, store: object, *tables: object
) -> None:
    """Raise PlanError where options are given, but nothing that is read or written has an address.

    Warns where some are for no address. A table may name addresses, whatever its own is; who
    reads it has to look at these. Where sources are all there is, `store` is None. `tables` are
    of subjects or labels, if paths or addresses stand there.
    """
    if not isinstance(storage_options, Mapping | None):
        raise PlanError(
            f"storage_options={storage_options!r} has to be a dict, such as {{'anon': True}}."
        )
    if not storage_options or has_table(source):
        return
    places = [*_listed(source), store, *tables]
    if not any(map(is_remote, places)):
        raise PlanError(
            f"{source if store is None else store} is a path, and storage_options are for "
            "addresses; leave them out."
        )
    warn_of_unused(storage_options, places)


def has_table(source: Any) -> bool:
    """Return whether a table is among sources, which names others."""
    texts = (it for it in _listed(source) if isinstance(it, str | os.PathLike))
    return any(os.fspath(it).lower().endswith(".csv") for it in texts)


def _listed(source: Any) -> Sequence[Any]:
    return source if isinstance(source, list | tuple) else [source]


def with_cache(path: Location, folder: str | Path, max_bytes: int) -> Location:
    """Return the same place, with chunks that are read there kept in a folder.

    Raises
    ------
    PlanError
        If it is a folder itself, or nothing can be written to the other one.
    """
    if not isinstance(path, ObjectPath):
        raise PlanError(f"{path} is a folder already, and cache= is for addresses; leave it out.")
    return ObjectPath(path.bucket, path.key, ChunkCache(Path(folder), max_bytes))


def refuse_read_only(path: Location) -> None:
    """Raise PlanError where nothing can be written, whoever asks."""
    if isinstance(path, ObjectPath) and path.bucket.address.kind == "http":
        raise PlanError(
            f"{path} can only be read; write to a folder, or to an address that starts with s3://, "
            "gs:// or az://."
        )


def refuse_large(path: Location, shard_bytes: int) -> None:
    """Raise PlanError where no file of a size can be written, compressed hardly at all."""
    limit = MAX_OBJECT_BYTES // 5 * 4
    if isinstance(path, ObjectPath) and shard_bytes > limit:
        raise PlanError(
            f"{path}: {shard_bytes:,} bytes in one object are more than a bucket takes at once; "
            f"lower shard to at most {format_budget(limit)}."
        )


def open_file(path: Location) -> OpenFile:
    """Open a file for reading."""
    return ObjectFile(path) if isinstance(path, ObjectPath) else PositionalFile(path)


def new_file(path: Location, attempt: str = "") -> WritableFile:
    """Begin a file; other attempts at it may be going on, each with a text of its own."""
    if isinstance(path, ObjectPath):
        return Upload(path)
    return system.NewFile(path, attempt)


def replace_file(path: Location, content: bytes) -> None:
    """Write a file so that it is there whole or as it was before."""
    if isinstance(path, ObjectPath):
        path.bucket.put(path.key, content)
    else:
        system.replace_file(path, content)


def replace_if(path: Location, content: bytes, before: bytes | None) -> None:
    """Write a file if it still is what it was; None if there was none.

    In a folder, only whoever holds its lock writes between the look and the replacement.

    Raises
    ------
    ConflictError
        If it is not, and not what is to be written either.
    """
    if not isinstance(path, ObjectPath):
        if path.exists() if before is None else not is_same(path, before):
            raise ConflictError(str(path))
        system.replace_file(path, content)
        return
    found, tag = None, None
    with contextlib.suppress(FileNotFoundError):
        found, tag = path.bucket.get_tagged(path.key)
    if found != before:
        raise ConflictError(str(path))
    try:
        path.bucket.put_if(path.key, content, tag)
    except ConflictError:
        # The answer to an attempt that succeeded may have been lost.
        if path.read_bytes() != content:
            raise


def is_same(path: Location, content: bytes) -> bool:
    """Return whether a file is there and has some content.

    Of a folder's file, a piece at a time: memory for all of it takes longer to touch than to read.
    """
    try:
        if isinstance(path, ObjectPath):
            return path.read_bytes() == content
        with PositionalFile(path) as file:
            if file.size() != len(content):
                return False
            piece = bytearray(min(len(content), _PIECE_BYTES))
            for start in range(0, len(content), _PIECE_BYTES):
                wanted = content[start : start + _PIECE_BYTES]
                file.read_into(memoryview(piece)[: len(wanted)], start)
                if not piece.startswith(wanted):
                    return False
            return True
    except FileNotFoundError:
        return False


def write_files(folder: Location, files: Mapping[str, bytes]) -> None:
    """Write files below a folder, those at its top first."""
    if not isinstance(folder, ObjectPath):
        system.write_files(folder, files)
        return
    for is_below in (False, True):
        keys = [key for key in files if ("/" in key) == is_below]
        folder.bucket.map(lambda key: replace_file(folder / key, files[key]), keys)


def list_names(folder: Location) -> list[str]:
    """Return the names of what is directly in a folder; none where there is no such folder."""
    if isinstance(folder, ObjectPath):
        return [it.name for it in folder.iterdir()]
    return os.listdir(folder) if folder.is_dir() else []


def list_files(folder: Location) -> dict[str, int]:
    """Return the sizes of all files below a folder, by their paths below it, sorted."""
    if isinstance(folder, ObjectPath):
        return folder.sizes()
    found = {}
    # Texts, because a store of many parts has thousands of files, and paths take twice as long.
    start = len(os.path.join(folder, ""))
    for parent, _, names in os.walk(folder, onerror=_refuse_partial):
        for path in (os.path.join(parent, name) for name in names):
            with contextlib.suppress(FileNotFoundError):  # somebody deletes them meanwhile
                found[path[start:].replace(os.sep, "/")] = os.stat(path).st_size
    return dict(sorted(found.items()))


def _refuse_partial(error: OSError) -> None:
    """Raise what kept a folder from being listed, unless it is not there."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def read_files(folder: Location, keys: Iterable[str]) -> dict[str, bytes]:
    """Return the content of some files, by their paths below a folder.

    Raises
    ------
    OSError
        If one of them is not there, or cannot be read.
    """
    keys = list(keys)
    if isinstance(folder, ObjectPath):
        contents = folder.bucket.map(lambda key: (folder / key).read_bytes(), keys)
        return dict(zip(keys, contents, strict=True))
    return {key: (folder / key).read_bytes() for key in keys}


@contextlib.contextmanager
def opened(
    place: str | Path, storage_options: Mapping[str, Any] | None = None
) -> Iterator[Location]:
    """Give where a store is; at the end, no thread waits for a bucket any more."""
    location = locate(place, storage_options)
    try:
        yield location
    finally:
        close(location)


def n_requests(path: Location) -> int:
    """Return how many files are best read at once."""
    return 16 if isinstance(path, ObjectPath) else system.count_cpus()


def close(path: Location) -> None:
    """End the threads that wait for a bucket; a later request starts them again."""
    if isinstance(path, ObjectPath):
        path.bucket.close()


def free_bytes(path: Location) -> int | None:
    """Return the free space where a path is or will be; None where nobody knows."""
    return None if isinstance(path, ObjectPath) else system.free_bytes(path.absolute())
