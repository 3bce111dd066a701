"""np.memmap with random rows: what the NumPy documentation offers for files larger than memory.

https://numpy.org/doc/stable/reference/generated/numpy.memmap.html: "accessing small segments of
large files on disk, without reading the entire file into memory". As fast as memory while the
whole, uncompressed file fits the page cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from work import Batch

from peers.raw_files import mapped, permutation, prepare

__all__ = ["batches", "prepare"]

_open = cache(mapped)


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    x, y = _open(folder)
    order = permutation(len(y), epoch)
    for start in range(0, len(y), batch_size):
        rows = order[start : start + batch_size]
        yield x[rows], y[rows]
