"""All samples in one NumPy array in RAM, batches by fancy index: the ceiling, not a peer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from work import Batch

from peers.raw_files import permutation, prepare

__all__ = ["batches", "prepare"]


@cache
def _load(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.load(folder / "x.npy"), np.load(folder / "y.npy")


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    x, y = _load(folder)
    order = permutation(len(y), epoch)
    for start in range(0, len(y), batch_size):
        rows = order[start : start + batch_size]
        yield x[rows], y[rows]
