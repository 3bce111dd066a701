"""Prepare or measure one loader, in this process; `loading.py` starts one for each.

python one_loader.py prepare KEY --folder DIR --source DIR --result FILE
python one_loader.py measure KEY --folder DIR --source DIR --result FILE --round 0
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from measure import PeakMemory, high_water_bytes, properties, variance_inflation
from numpy.typing import NDArray
from peers import Peer, by_key
from work import Source

MIN_BATCHES_FOR_SHUFFLE = 64


@dataclass(kw_only=True)
class Epoch:
    """The batches of one pass; `ids` are the labels of each batch."""

    samples: int = 0
    seconds: float = 0.0
    first_batch_s: float = 0.0
    complete: bool = False
    ids: list[NDArray[np.int64]] = field(default_factory=list)


def prepare(peer: Peer, folder: Path, source: Source) -> dict[str, Any]:
    module = peer.load()
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    module.prepare(folder, source)
    return {"seconds": time.perf_counter() - start}


def consume(batches: Iterator[tuple[Any, Any]], stop_at: float) -> Epoch:
    """Touch one element per sample of every batch, note its ids, and drop it."""
    epoch = Epoch()
    start = time.perf_counter()
    for x, y in batches:
        if not epoch.ids:
            epoch.first_batch_s = time.perf_counter() - start
        float(x[:, 0, 0].sum())
        ids = np.array(y, np.int64).reshape(-1)
        del x, y
        epoch.ids.append(ids)
        epoch.samples += len(ids)
        if time.perf_counter() > stop_at:
            break
    else:
        epoch.complete = True
    epoch.seconds = time.perf_counter() - start
    return epoch


def run_whole(run: Callable[[Path, int], int], folder: Path, number: int) -> Epoch:
    start = time.perf_counter()
    samples = run(folder, number)
    return Epoch(samples=samples, seconds=time.perf_counter() - start, complete=True)


def epochs(
    module: ModuleType, peer: Peer, args: argparse.Namespace, numbers: range
) -> Iterator[Epoch]:
    """Epoch after epoch until the time is used up; at least one, whole or in part."""
    stop_at = time.perf_counter() + min(args.cap, peer.cap_s or args.cap)
    for number in numbers:
        if hasattr(module, "run"):
            yield run_whole(module.run, args.folder, number)
        else:
            stream = module.batches(args.folder, number, args.batch_size, **peer.options)
            yield consume(stream, stop_at)
        if time.perf_counter() > stop_at:
            return


def shuffle_noise(
    epoch: Epoch, values: dict[str, NDArray[np.float64]], batch_size: int
) -> dict[str, float] | None:
    """Variance inflation by property; None where there are too few batches to tell."""
    if sum(len(ids) == batch_size for ids in epoch.ids) < MIN_BATCHES_FOR_SHUFFLE:
        return None
    return {
        name: variance_inflation(epoch.ids, value, batch_size) for name, value in values.items()
    }


def check_ids(epoch: Epoch, n_samples: int) -> str | None:
    """An error if a whole epoch did not show each sample exactly once, or a part one twice."""
    ids = np.concatenate(epoch.ids)
    times = np.bincount(ids, minlength=n_samples)
    if len(times) != n_samples or times.max() > 1 or (epoch.complete and times.min() < 1):
        return f"{(times == 0).sum():,} samples missing, {(times > 1).sum():,} shown more than once"
    return None


def measure(peer: Peer, source: Source, args: argparse.Namespace) -> dict[str, Any]:
    """Speed, peak memory and shuffle noise of one loader; each round sees other epochs."""
    values = properties(source.lengths)
    module = peer.load()
    first = args.round * args.epochs
    numbers = range(first, first + args.epochs)
    with PeakMemory() as memory:
        passes = list(epochs(module, peer, args, numbers))
    found: list[dict[str, Any]] = []
    for epoch in passes:
        noise = None
        if epoch.ids:
            noise = shuffle_noise(epoch, values, args.batch_size)
            if problem := check_ids(epoch, source.n_samples):
                return {"error": problem}
        found.append({**asdict(epoch), "ids": None, "shuffle_noise": noise})
    return {
        "epochs": found,
        "peak_bytes": memory.peak_bytes,
        "memory_measure": memory.how,
        "base_bytes": memory.base_bytes,
        "high_water_bytes": high_water_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prepare", "measure"))
    parser.add_argument("key")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--round", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--cap", type=float, default=30.0)
    args = parser.parse_args()
    peer, source = by_key(args.key), Source(args.source)
    if args.what == "prepare":
        result = prepare(peer, args.folder, source)
    else:
        result = measure(peer, source, args)
    args.result.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
