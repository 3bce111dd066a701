"""insitubatch: chunks streamed by one event loop, samples shuffled inside blocks of chunks.

https://emfdavid.github.io/insitubatch/, Quickstart and Tuning: one array file per chunk (the unit
of a read is the shard where there are any), `block_chunks` for the width of the shuffle. With 32
its own estimate is 128 MiB: two blocks resident, 32 chunks in flight, batches queued. No
`cache_budget_bytes`, so chunks are not kept from epoch to epoch; labels are looked up by the
batch's `sample_indices`, because a second variable raises the automatic budget and with it what
is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from insitubatch import InSituDataset, obstore_store, open_geometries, split_by_chunk
from work import Batch

from peers.zarr_files import load_ids, prepare

__all__ = ["batches", "prepare"]


@cache
def _open(folder: Path, batch_size: int) -> InSituDataset:
    store = obstore_store((folder / "study.zarr").resolve().as_uri())
    geometries = open_geometries(store, variables=["x"])
    manifest = split_by_chunk(geometries["x"], fractions=(1.0, 0.0, 0.0))
    return InSituDataset(
        store, manifest, geometries=geometries, batch_size=batch_size, block_chunks=32
    )


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    samples, y = _open(folder, batch_size), load_ids(folder)
    samples.set_epoch(epoch)
    for batch in samples.train:
        yield batch.arrays["x"], y[batch.sample_indices]
