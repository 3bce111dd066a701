"""One file of raw samples and one of ids, which the memory-mapped and in-RAM peers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from work import Source


def prepare(folder: Path, source: Source) -> None:
    sample_shape = next(source.blocks())[0].shape[1:]
    x = np.lib.format.open_memmap(
        folder / "x.npy", "w+", np.float32, (source.n_samples, *sample_shape)
    )
    for block, ids in source.blocks():
        x[ids] = block
    x.flush()
    np.save(folder / "y.npy", np.arange(source.n_samples))


def mapped(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The samples as a memory map, the ids in RAM."""
    return np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")


def permutation(n: int, epoch: int) -> NDArray[np.int64]:
    """A uniformly random order of all samples."""
    return np.random.default_rng([0, epoch]).permutation(n)
