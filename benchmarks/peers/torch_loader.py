"""torch DataLoader over a memory map, whole batches fetched at once.

https://docs.pytorch.org/docs/stable/data.html, "Disable automatic batching": with a BatchSampler
as `sampler` and `batch_size=None` the dataset gets the list of all rows of a batch, for data
that is cheaper to read in bulk. No worker processes: a memory map in the page cache leaves them
nothing to wait for, and each batch would be copied through shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler
from work import Batch

from peers.raw_files import mapped, prepare

__all__ = ["batches", "prepare"]


class MappedSamples(Dataset[Any]):
    def __init__(self, folder: Path) -> None:
        self.x, self.y = mapped(folder)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.x[rows]), torch.from_numpy(self.y[rows])


_open = cache(MappedSamples)


def batches(folder: Path, epoch: int, batch_size: int, workers: int = 0) -> Iterator[Batch]:
    samples = _open(folder)
    order = RandomSampler(samples, generator=torch.Generator().manual_seed(epoch))
    sampler = BatchSampler(order, batch_size, drop_last=False)
    yield from DataLoader(samples, sampler=sampler, batch_size=None, num_workers=workers)
