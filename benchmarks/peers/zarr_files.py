"""A plain Zarr v3 group of x and y in source order, which several peers share.

Chunks of 64 samples (1 MiB), Blosc(lz4, shuffle) as in our own store, but without its checksum.
One file per chunk, or sharded where the peer's documentation prefers that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from work import Source
from zarr.codecs import BloscCodec

CHUNK, SHARD = 64, 4096


def create(
    folder: Path, n_samples: int, sample_shape: tuple[int, ...], sharded: bool
) -> tuple[Any, Any]:
    """New arrays x and y in `folder`/study.zarr."""
    root = zarr.create_group(str(folder / "study.zarr"))
    codec = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
    x = root.create_array(
        "x",
        shape=(n_samples, *sample_shape),
        chunks=(CHUNK, *sample_shape),
        shards=(SHARD, *sample_shape) if sharded else None,
        dtype="float32",
        compressors=[codec],
    )
    y = root.create_array(
        "y", shape=(n_samples,), chunks=(SHARD,), dtype="int64", compressors=[codec]
    )
    return x, y


def write(folder: Path, source: Source, sharded: bool) -> None:
    """Write all samples in source order, a shard at a time."""
    sample_shape = next(source.blocks())[0].shape[1:]
    x, y = create(folder, source.n_samples, sample_shape, sharded)
    y[:] = np.arange(source.n_samples)
    buffer, n, first = np.empty((SHARD, *sample_shape), np.float32), 0, 0
    for block, _ in source.blocks():
        while len(block):
            part = block[: SHARD - n]
            buffer[n : n + len(part)] = part
            n, block = n + len(part), block[len(part) :]
            if n == SHARD:
                x[first : first + n] = buffer
                n, first = 0, first + n
    if n:
        x[first : first + n] = buffer[:n]


def prepare(folder: Path, source: Source) -> None:
    write(folder, source, sharded=False)


def load_ids(folder: Path) -> NDArray[np.int64]:
    return np.asarray(zarr.open_array(str(folder / "study.zarr" / "y"), mode="r")[:])
