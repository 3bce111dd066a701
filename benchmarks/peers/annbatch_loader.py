"""annbatch: groups of contiguous slices, preloaded and shuffled together.

https://annbatch.readthedocs.io and its README: the zarrs codec pipeline "is necessary for local
filesystem performance"; sharded Zarr v3, chunks of 64 rows, Blosc lz4; `chunk_size` aligned with
the chunks for dense arrays. `preload_nchunks=32` holds 32 MiB while the next 32 MiB are read.

The README also says to shuffle the store once while writing it (`DatasetCollection`). That gives
up the order of the source and has to be repeated for every selection, so both are measured: the
store in source order, and `annbatch-preshuffled`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import annbatch
import numpy as np
import pandas as pd
import zarr
from work import Batch, Source

from peers.raw_files import permutation
from peers.zarr_files import CHUNK, SHARD, create, load_ids, write


def prepare(folder: Path, source: Source) -> None:
    if not folder.name.startswith("zarr-preshuffled"):
        write(folder, source, sharded=True)
        return
    samples = np.concatenate([x for x, _ in source.blocks()])
    order = permutation(len(samples), 0)
    x, y = create(folder, len(samples), samples.shape[1:], sharded=True)
    for start in range(0, len(samples), SHARD):
        x[start : start + SHARD] = samples[order[start : start + SHARD]]
    y[:] = order


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    with (
        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        loader = annbatch.Loader(
            batch_size=batch_size,
            chunk_size=CHUNK,
            preload_nchunks=32,
            shuffle=True,
            rng=np.random.default_rng([0, epoch]),
        )
        x = zarr.open_array(str(folder / "study.zarr" / "x"), mode="r")
        loader.add_dataset(x, obs=pd.DataFrame({"y": load_ids(folder)}))
        for batch in loader:
            yield batch["X"], batch["obs"]["y"].to_numpy()
