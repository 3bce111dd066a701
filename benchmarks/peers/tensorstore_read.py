"""tensorstore: whole chunks read asynchronously, shuffled in groups.

https://google.github.io/tensorstore/python/tutorial.html: a read returns a future at once, so
many are kept in flight; reads aligned with chunks decode each chunk once. There is no loader in
tensorstore; this is the loop that its users write: 32 chunks make a group, whose samples are
permuted, while the next 32 are in flight. No cache is configured (the default).

With `reuse`, chunks are copied into two slabs that live as long as the loader, through
`tensorstore.array(memory).write(chunk)`: memory that is touched for the first time is slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray
from work import Batch

from peers.zarr_files import CHUNK, load_ids, prepare

__all__ = ["batches", "prepare"]


@cache
def _open(folder: Path) -> Any:
    path = str(folder / "study.zarr" / "x")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
    return tensorstore.open(spec, read=True, write=False).result()


def _read_group(x: Any, chunks: NDArray[np.int64]) -> list[Any]:
    return [x[c * CHUNK : min(x.shape[0], (c + 1) * CHUNK)].read() for c in chunks]


class Slabs:
    """Two reused pieces of memory, each for one group of chunks."""

    def __init__(self, x: Any, group: int) -> None:
        shape = (group * CHUNK, *x.shape[1:])
        self._x = x
        self._slabs = [np.empty(shape, np.float32) for _ in range(2)]
        self._turn = 0

    def read_group(self, chunks: NDArray[np.int64]) -> tuple[NDArray[np.float32], list[Any]]:
        slab = self._slabs[self._turn]
        self._turn = 1 - self._turn
        futures, stop = [], 0
        for c in chunks:
            part = self._x[c * CHUNK : min(self._x.shape[0], (c + 1) * CHUNK)]
            start, stop = stop, stop + part.shape[0]
            futures.append(tensorstore.array(slab[start:stop]).write(part))
        return slab[:stop], futures


_slabs = cache(lambda folder, group: Slabs(_open(folder), group))


def _groups(
    folder: Path, parts: list[NDArray[np.int64]], group: int, reuse: bool
) -> Iterator[NDArray[np.float32]]:
    """Samples of each group, while the next group is being read."""
    x = _open(folder)
    slabs = _slabs(folder, group) if reuse else None
    start = slabs.read_group if slabs else lambda chunks: (None, _read_group(x, chunks))
    ahead = start(parts[0])
    for k in range(len(parts)):
        slab, futures = ahead
        if k + 1 < len(parts):
            ahead = start(parts[k + 1])
        read = [future.result() for future in futures]
        yield np.concatenate(read) if slab is None else slab


def batches(
    folder: Path, epoch: int, batch_size: int, *, group: int = 32, reuse: bool = False
) -> Iterator[Batch]:
    ids = load_ids(folder)
    rng = np.random.default_rng([0, epoch])
    order = rng.permutation(-(-len(ids) // CHUNK))
    parts = [order[i : i + group] for i in range(0, len(order), group)]
    for part, samples in zip(parts, _groups(folder, parts, group, reuse), strict=True):
        y = np.concatenate([ids[c * CHUNK : (c + 1) * CHUNK] for c in part])
        rows = rng.permutation(len(y))
        for i in range(0, len(rows), batch_size):
            yield samples[rows[i : i + batch_size]], y[rows[i : i + batch_size]]
