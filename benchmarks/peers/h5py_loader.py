"""h5py fancy index on a chunked, lzf-compressed dataset.

https://docs.h5py.org/en/stable/high/dataset.html: selections must be in increasing order, so the
rows of a batch are sorted; lzf with the shuffle filter is the fast built-in compression. The
chunk cache (`rdcc_nbytes`) gets 128 MiB, with the prime number of slots that the page advises.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from work import Batch, Source

from peers.raw_files import permutation

CHUNK = 64


def prepare(folder: Path, source: Source) -> None:
    sample_shape = next(source.blocks())[0].shape[1:]
    with h5py.File(folder / "study.h5", "w") as file:
        x = file.create_dataset(
            "x",
            (source.n_samples, *sample_shape),
            "f4",
            chunks=(CHUNK, *sample_shape),
            compression="lzf",
            shuffle=True,
        )
        file["y"] = np.arange(source.n_samples)
        for block, ids in source.blocks():
            x[ids[0] : ids[-1] + 1] = block


@cache
def _open(folder: Path) -> h5py.File:
    return h5py.File(folder / "study.h5", "r", rdcc_nbytes=128 << 20, rdcc_nslots=12_809)


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    file = _open(folder)
    x, y = file["x"], file["y"][:]
    order = permutation(len(y), epoch)
    for start in range(0, len(y), batch_size):
        rows = np.sort(order[start : start + batch_size])
        yield x[rows], y[rows]
