"""zarr-python `oindex` with the shuffled row numbers of each batch: what most people write first.

https://zarr.readthedocs.io/en/stable/user-guide/arrays/#orthogonal-indexing. Every batch decodes
a chunk for nearly every sample in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import zarr
from work import Batch

from peers.raw_files import permutation
from peers.zarr_files import load_ids, prepare

__all__ = ["batches", "prepare"]


@cache
def _open(folder: Path) -> Any:
    return zarr.open_array(str(folder / "study.zarr" / "x"), mode="r")


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    x, y = _open(folder), load_ids(folder)
    order = permutation(len(y), epoch)
    for start in range(0, len(y), batch_size):
        rows = order[start : start + batch_size]
        yield x.oindex[rows], y[rows]
