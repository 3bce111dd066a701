"""The decode floor: every chunk of our own store read, checked and decoded, and nothing else.

Two threads, each with one chunk's memory that it reuses: pread, crc32c over the compressed
bytes, Blosc. What a loader adds to this is its own cost. Written from the Zarr specification
(sharding codec, version 1.0) and not with zarrts, so that it does not share its mistakes.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from awscrt.checksums import crc32c
from numcodecs import blosc

from peers.ours import prepare

__all__ = ["prepare", "run"]

THREADS = 2
Chunk = tuple[int, int, int]  # file descriptor, offset, size


@cache
def _chunks(folder: Path) -> tuple[list[Chunk], int, int]:
    """All chunks, the bytes of one when decoded, and the number of samples."""
    array = folder / "study.zarr" / "0" / "x"
    metadata = json.loads((array / "zarr.json").read_text())
    (sharding,) = (
        c["configuration"] for c in metadata["codecs"] if c["name"] == "sharding_indexed"
    )
    names = [codec["name"] for codec in sharding["codecs"]]
    if names != ["bytes", "blosc", "crc32c"]:
        raise ValueError(f"the floor knows bytes, blosc, crc32c; the store has {names}")
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    n_inner = shard[0] // sharding["chunk_shape"][0]
    at_end = sharding.get("index_location", "end") == "end"
    found: list[Chunk] = []
    for path in sorted((array / "c").glob("*" + "/0" * (len(shard) - 1))):
        fd = os.open(path, os.O_RDONLY)
        start = os.fstat(fd).st_size - 16 * n_inner - 4 if at_end else 0
        index = np.frombuffer(os.pread(fd, 16 * n_inner, start), "<u8").reshape(-1, 2)
        present = index[index[:, 0] != 2**64 - 1].tolist()
        found += [(fd, offset, size) for offset, size in present]
    chunk_bytes = 4 * int(np.prod(sharding["chunk_shape"]))
    return found, chunk_bytes, metadata["shape"][0]


def _decode(chunks: list[Chunk], memory: np.ndarray) -> None:
    for fd, offset, size in chunks:
        stored = np.frombuffer(os.pread(fd, size, offset), "u1")
        content = stored[:-4]
        if crc32c(content) != int.from_bytes(stored[-4:].tobytes(), "little"):
            raise ValueError("checksum")
        blosc.decompress(content, memory)


def run(folder: Path, epoch: int) -> int:
    """Decode the whole store in a random order of chunks."""
    blosc.use_threads = False
    chunks, chunk_bytes, n_samples = _chunks(folder)
    order = np.random.default_rng([0, epoch]).permutation(len(chunks))
    shuffled = [chunks[i] for i in order]
    parts = [shuffled[t::THREADS] for t in range(THREADS)]
    memory = [np.empty(chunk_bytes, "u1") for _ in parts]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_decode, parts, memory))
    return n_samples
