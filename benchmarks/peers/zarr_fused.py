"""zarr-python with its `FusedCodecPipeline`, read in groups of chunks whose samples are shuffled.

https://zarr.readthedocs.io/en/stable/user-guide/config/: `codec_pipeline.path` names the pipeline;
from zarr 3.2 on a fused one decodes in threads, without the event loop. There is no loader in
zarr-python; this is the loop that its users write: 32 random chunks make a group, each read by a
slice of its own into one reused array, while the samples of the group before are handed out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from work import Batch

from peers.raw_files import permutation
from peers.zarr_files import CHUNK, load_ids, prepare

__all__ = ["batches", "prepare"]

GROUP = 32


@cache
def _open(folder: Path) -> Any:
    zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"})
    return zarr.open_array(str(folder / "study.zarr" / "x"), mode="r")


@cache
def _slabs(folder: Path) -> list[NDArray[np.float32]]:
    shape = (GROUP * CHUNK, *_open(folder).shape[1:])
    return [np.empty(shape, np.float32) for _ in range(2)]


def _read(x: Any, chunks: NDArray[np.int64], slab: NDArray[np.float32]) -> NDArray[np.int64]:
    """Fill a slab with some chunks; return the rows that lie there."""
    rows = []
    for number, chunk in enumerate(chunks):
        start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, x.shape[0])
        slab[number * CHUNK : number * CHUNK + stop - start] = x[start:stop]
        rows.append(np.arange(start, stop))
    return np.concatenate(rows)


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    x, y, slabs = _open(folder), load_ids(folder), _slabs(folder)
    order = permutation(-(-x.shape[0] // CHUNK), epoch)
    # A short last chunk has to be the last of its group: rows of a slab are counted through.
    order = np.concatenate([order[order != len(order) - 1], [len(order) - 1]])
    groups = [order[start : start + GROUP] for start in range(0, len(order), GROUP)]
    rng = np.random.default_rng(epoch)
    with ThreadPoolExecutor(1) as pool:
        ahead: Future[NDArray[np.int64]] = pool.submit(_read, x, groups[0], slabs[0])
        for number in range(len(groups)):
            rows, slab = ahead.result(), slabs[number % 2]
            if number + 1 < len(groups):
                ahead = pool.submit(_read, x, groups[number + 1], slabs[(number + 1) % 2])
            inside = rng.permutation(len(rows))
            for start in range(0, len(rows), batch_size):
                part = inside[start : start + batch_size]
                yield slab[part], y[rows[part]]
