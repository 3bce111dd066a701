"""zarrts: convert once, then the loader behind `store.samples.batches` and ZarrSequence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from work import Batch, Source

import zarrts
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions


def prepare(folder: Path, source: Source) -> None:
    zarrts.convert(str(source.folder), str(folder / "study.zarr"), progress=False)


@cache
def _samples(folder: Path) -> zarrts.Samples:
    return zarrts.open(str(folder / "study.zarr")).samples


@cache
def _loader(folder: Path, batch_size: int, memory: str) -> Any:
    """What ZarrSequence keeps from epoch to epoch: the memory, and what is decoded in it."""
    samples = _samples(folder)
    options = BatchOptions(batch_size=batch_size, memory=memory, label_mode="raw")
    return EpochLoader(samples.selection, options)


def batches(
    folder: Path, epoch: int, batch_size: int, *, memory: str, fresh: bool = False
) -> Iterator[Batch]:
    """One epoch, from a loader that is kept; `fresh` calls `samples.batches` each time."""
    if fresh:
        stream = _samples(folder).batches(batch_size, seed=0, epoch=epoch, memory=memory)
    else:
        stream = _loader(folder, batch_size, memory).stream(epoch)
    with stream:
        for batch in stream:
            yield batch.x, batch.y
