"""The chunks that a cache keeps, whoever writes to it; its use by a store is in test_buckets."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zarrts.buckets.chunk_cache import ChunkCache


def kept_bytes(cache: Path) -> int:
    return sum(it.stat().st_size for it in cache.glob("*/*"))


def test_arrays_that_are_being_read_make_no_room_for_each_other(tmp_path: Path) -> None:
    ChunkCache(tmp_path, 100).add("x", 0, 1, bytes(60))
    cache = ChunkCache(tmp_path, 100)
    cache.use("x")
    cache.use("y")
    cache.add("y", 0, 1, bytes(60))
    assert cache.get("x", 0, 1) == bytes(60)
    assert cache.get("y", 0, 1) is None


def test_a_chunk_that_is_too_large_keeps_no_smaller_one_out(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, 100)
    cache.use("x")
    for chunk, size in enumerate([60, 50, 30, 20, 10]):
        cache.add("x", chunk, 1, bytes(size))
    assert [cache.get("x", chunk, 1) is not None for chunk in range(5)] == [1, 0, 1, 0, 1]


def test_threads_that_write_at_once_keep_within_the_limit(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, 1000)
    cache.use("x")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda chunk: cache.add("x", chunk, 1, bytes(70 + chunk)), range(64)))
    kept = kept_bytes(tmp_path)
    assert 1000 - 70 - 64 < kept <= 1000
    for chunk in range(64, 200):  # nothing that could be kept was turned away
        cache.add("x", chunk, 1, bytes(1))
    assert kept_bytes(tmp_path) == min(1000, kept + 136)
