"""Digests of sources, to tell whether they have changed without reading all of them."""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from zarrts.buckets.remote_file import RemoteFile, look_again
from zarrts.errors import SourceError
from zarrts.sources.rows.files import SourcePath
from zarrts.sources.rows.folders import blocks_of_folder, stamp_of_folder
from zarrts.types import RowReader, SourceRecording

BLOCK_BYTES = 64 * 1024
N_BLOCKS = 16
ROW_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Look:
    """Size, digest and stamp of some files at one moment.

    Attributes
    ----------
    size_bytes : int
        Of all of them.
    digest : str
        Hexadecimal, of sizes and sampled content.
    stamp : str
        See `stamp_of`.
    is_sampled : bool
        True where the digest covers samples of the content only.
    """

    size_bytes: int
    digest: str
    stamp: str
    is_sampled: bool = False

    def digest_of(self, part: str) -> str:
        """Return the digest of a part of the files; "" is all of them."""
        if not part:
            return self.digest
        return hashlib.blake2b(f"{self.digest} {part}".encode(), digest_size=16).hexdigest()


def look_at(paths: Sequence[SourcePath]) -> Look:
    """Return sizes, times, and a digest of sizes and sampled content of files.

    The digest is BLAKE2b of 16 bytes over each file's size and up to `N_BLOCKS` evenly spaced
    blocks of `BLOCK_BYTES`, the first and the last among them; a file of at most
    `N_BLOCKS` * `BLOCK_BYTES` is read whole. Paths and times play no part. Of a file at an
    address, nothing is read: it is the digest of `RemoteFile.content_id`. Of a folder, names count
    as well, and blocks are those of all files together.

    Raises
    ------
    SourceError
        If a file cannot be read.
    """
    stamp = stamp_of(paths)
    digest = hashlib.blake2b(digest_size=16)
    total, is_sampled = 0, False
    for path in paths:
        if isinstance(path, RemoteFile):
            digest.update(path.content_id.encode())
            total += path.size
            continue
        try:
            if os.path.isdir(path):
                size, parts = blocks_of_folder(path, block_offsets, BLOCK_BYTES)
                for part in parts:
                    digest.update(part)
            else:
                with open(path, "rb", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    digest.update(size.to_bytes(8, "little"))
                    for offset in block_offsets(size):
                        file.seek(offset)
                        digest.update(file.read(BLOCK_BYTES))
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error}).") from error
        total += size
        is_sampled |= size > N_BLOCKS * BLOCK_BYTES
    return Look(total, digest.hexdigest(), stamp, is_sampled)


def stamp_of(paths: Sequence[SourcePath]) -> str:
    """Return sizes and times of files: what nearly every change of a file changes.

    The time of the last change of status is among them, which no one can set back.

    Raises
    ------
    SourceError
        If a file is not there.
    """
    return "; ".join(map(_stamp, paths))


def _stamp(path: SourcePath) -> str:
    if isinstance(path, RemoteFile):
        return path.stamp
    if os.path.isdir(path):
        return stamp_of_folder(path)
    try:
        it = os.stat(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error}).") from error
    return f"{it.st_size} {it.st_mtime_ns} {it.st_ctime_ns} {it.st_ino}"


def block_offsets(size: int) -> list[int]:
    """Return where the sampled blocks of a file of `size` bytes start, increasing."""
    if size <= N_BLOCKS * BLOCK_BYTES:
        return list(range(0, size, BLOCK_BYTES))
    last = size - BLOCK_BYTES
    return [index * last // (N_BLOCKS - 1) for index in range(N_BLOCKS)]


def of_readers(readers: Sequence[RowReader]) -> str:
    """Return a digest of shapes, dtypes and sampled rows of arrays.

    Arrays of at most `N_BLOCKS` * `ROW_BLOCK_BYTES` are read whole; of larger ones, `N_BLOCKS`
    evenly spaced blocks of rows, the first and the last among them.
    """
    digest = hashlib.blake2b(digest_size=16)
    for reader in readers:
        digest.update(f"{reader.shape} {reader.dtype.kind}{reader.dtype.itemsize}".encode())
        n_rows = reader.shape[0]
        count = _rows_of_block(reader)
        last = max(0, n_rows - count)
        starts = [index * last // (N_BLOCKS - 1) for index in range(N_BLOCKS)]
        if n_rows <= N_BLOCKS * count:
            starts = list(range(0, n_rows, count))
        for start in starts:
            values = reader.read(start, min(start + count, n_rows))
            # The same digest on machines of either byte order.
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def are_sampled(readers: Sequence[RowReader]) -> bool:
    """Return whether `of_readers` reads samples only of one of some arrays."""
    return any(it.shape[0] > N_BLOCKS * _rows_of_block(it) for it in readers)


def _rows_of_block(reader: RowReader) -> int:
    row_bytes = max(1, math.prod(reader.shape[1:]) * reader.dtype.itemsize)
    return max(1, ROW_BLOCK_BYTES // row_bytes)


def refuse_changes(
    recordings: Sequence[SourceRecording],
    when: str = "while it was converted; convert again once nothing writes to it.",
) -> None:
    """Raise SourceError naming every file that is not as it was when it was found."""
    remote = {path for it in recordings for path in it.paths if isinstance(path, RemoteFile)}
    now = dict(zip(remote, look_again([*remote]), strict=True))
    changed = [
        it.origin
        for it in recordings
        if it.paths and stamp_of([now.get(path, path) for path in it.paths]) != it.stamp
    ]
    if changed:
        raise SourceError(f"{', '.join(changed)}: changed {when}")
