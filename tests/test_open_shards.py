"""Shards that are closed to open others, and opened again."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_chunks import DIRECT, random_values, spec_of, write_with_zarr

from zarrts.storage import open_shards
from zarrts.storage.checksums import crc32c
from zarrts.storage.chunks import DirectReader
from zarrts.storage.open_files import OPEN_FILES
from zarrts.storage.open_shards import ClosedShards, ShardIndex

N_SHARDS, ROWS, CHUNK_ROWS = 6, 12, 3


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    """Let two files be open, and forget what is known of others."""
    monkeypatch.setattr(OPEN_FILES, "most", 2)
    monkeypatch.setattr(open_shards, "_CLOSED", ClosedShards(1 << 20))


def write(root: Path, n_zeros: int = 0) -> np.ndarray:
    """Write an array whose first rows are zeros, and so take few bytes."""
    values = random_values((N_SHARDS * ROWS, 40), "f4", seed=n_zeros)
    values[:n_zeros] = 0
    chain = DIRECT["blosc lz4 shuffle + crc32c"]
    write_with_zarr(root, values, chain, chunk_rows=CHUNK_ROWS, shard_rows=ROWS)
    return values


def rows_of(reader: DirectReader, chunk: int) -> np.ndarray:
    out = np.empty(reader.spec.chunk_shape, reader.spec.dtype)
    reader.read_into(chunk, out)
    return out


def read_each(reader: DirectReader) -> np.ndarray:
    """Read all chunks, each of another shard than the one before."""
    spec = reader.spec
    numbers = np.arange(spec.n_chunks).reshape(spec.n_shards, -1).T.ravel()
    found = {chunk: rows_of(reader, chunk) for chunk in numbers.tolist()}
    return np.concatenate([found[it] for it in range(spec.n_chunks)])


@pytest.mark.usefixtures("few")
def test_of_a_shard_that_is_opened_again_the_index_is_known(tmp_path, monkeypatch):
    values = write(tmp_path)
    read_index, names = open_shards.read_index, []

    def counting(file, spec, name):
        names.append(name)
        return read_index(file, spec, name)

    monkeypatch.setattr(open_shards, "read_index", counting)
    reader = DirectReader(tmp_path, spec_of(tmp_path))
    for _ in range(3):
        np.testing.assert_array_equal(read_each(reader), values)
    assert len(names) == len(set(names)) == N_SHARDS
    reader.close()


@pytest.mark.usefixtures("few")
def test_a_shard_that_was_replaced_while_it_was_closed_is_read_anew(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    values, others = write(one), write(other, n_zeros=CHUNK_ROWS)
    reader = DirectReader(one, spec_of(one))
    np.testing.assert_array_equal(read_each(reader), values)
    # Its chunks are elsewhere, and what would be found where they were is no second try's to mend.
    monkeypatch.setattr(reader, "_drop", pytest.fail)
    key = reader.spec.shard_key(0)
    os.replace(other / key, one / key)
    np.testing.assert_array_equal(read_each(reader)[:ROWS], others[:ROWS])
    np.testing.assert_array_equal(read_each(reader)[ROWS:], values[ROWS:])
    reader.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing tells of such a change")
@pytest.mark.usefixtures("few")
def test_a_file_that_only_looks_as_it_was_is_read_anew(tmp_path):
    """Its chunks lie in another order now, and nothing else tells: they have no checksums."""
    values = random_values((N_SHARDS * ROWS, 40), "f4")
    write_with_zarr(tmp_path, values, [], chunk_rows=CHUNK_ROWS, shard_rows=ROWS)
    reader = DirectReader(tmp_path, spec_of(tmp_path))
    np.testing.assert_array_equal(read_each(reader), values)
    path = tmp_path / reader.spec.shard_key(0)
    before, size = path.stat(), values[:CHUNK_ROWS].nbytes
    offsets = size * np.arange(ROWS // CHUNK_ROWS)[::-1]
    index = np.stack([offsets, np.full(len(offsets), size)], axis=1).astype("<u8").tobytes()
    parts = [values[at : at + CHUNK_ROWS].tobytes() for at in range(0, ROWS, CHUNK_ROWS)]
    time.sleep(0.02)  # some systems count times of files in steps of some milliseconds
    with open(path, "r+b") as file:
        file.write(b"".join(parts[::-1]) + index + crc32c(index).to_bytes(4, "little"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = path.stat()
    assert (now.st_ino, now.st_size) == (before.st_ino, before.st_size)
    np.testing.assert_array_equal(read_each(reader), values)
    reader.close()


def test_what_is_known_of_closed_shards_takes_no_more_than_it_may():
    entries = np.zeros((64, 2), np.uint64)
    closed = ClosedShards(10 * (ShardIndex((1,), entries, None).n_bytes + len("99")))
    for number in range(25):
        closed.keep(str(number), ShardIndex((number,), entries, None))
        closed.keep(str(number), ShardIndex((number,), entries, None))  # twice takes no more
        if number > 3:
            assert closed.take("3") is not None  # used again and again
            closed.keep("3", ShardIndex((3,), entries, None))
    kept = [it for it in range(25) if closed.take(str(it)) is not None]
    assert kept == [3, *range(16, 25)]
    assert closed.take("3") is None
    closed.keep("large", ShardIndex((0,), np.zeros((1 << 20, 2), np.uint64), None))
    assert closed.take("large") is None
