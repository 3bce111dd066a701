"""Measure what the statistics of folds cost, and what scaling costs.

    python benchmarks/folds.py --work DIR [--gb 2] [--recordings 40]

Makes a store of 13 subjects with many recordings of (128, 32) float32 samples each. Times the
statistics of all 13 training parts that leave one subject out, from the opening of the store on,
and, beside it, a pass over the samples of one; then samples per second of shuffled batches,
unscaled and scaled in each way, in turn, round after round. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import work  # noqa: F401 - finds this copy of zarrts, where none is installed
from measure import machine

import zarrts
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions

N_SUBJECTS, SHAPE, BATCH = 13, (128, 32), 128
SAMPLE_BYTES = int(np.prod(SHAPE)) * 4
BLOCK = 1024


class Values:
    """Rows of a recording: a random walk of its own offset, made when it is asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, n_samples: int, offset: float) -> None:
        self.shape = (n_samples, *SHAPE)
        self._offset = offset

    def __call__(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        rows = np.arange(start, stop) % BLOCK
        return _block()[rows] + np.float32(self._offset)


_blocks: list[np.ndarray[Any, Any]] = []


def _block() -> np.ndarray[Any, Any]:
    if not _blocks:
        steps = np.random.default_rng(0).standard_normal((BLOCK, *SHAPE), dtype=np.float32)
        _blocks.append(np.round(steps.cumsum(axis=1), 2))  # of a converter, and compressible
    return _blocks[0]


def make_store(folder: Path, gb: float, n_recordings: int) -> Path:
    """Convert the study, unless it is there."""
    path = folder / f"folds-{gb:g}-{n_recordings}.zarr"
    if not path.exists():
        n_samples = int(gb * 1e9 / SAMPLE_BYTES / N_SUBJECTS / n_recordings)
        recordings = [
            zarrts.Recording(
                f"s{subject:02d}",
                Values(n_samples, subject + number / n_recordings),
                np.arange(n_samples) % 5,
            )
            for subject in range(N_SUBJECTS)
            for number in range(n_recordings)
        ]
        started = time.perf_counter()
        zarrts.convert(recordings, path, progress=False).close()
        print(f"converted in {time.perf_counter() - started:.1f} s", flush=True)
    return path


def time_folds(path: Path, what: Callable[[zarrts.Samples], Any]) -> float:
    """Return the seconds that something of all 13 training parts takes, opening included."""
    started = time.perf_counter()
    with zarrts.open(path) as store:
        n_folds = sum(what(train) is not None for train, _ in store.samples.folds())
    assert n_folds == N_SUBJECTS
    return time.perf_counter() - started


def time_pass(path: Path) -> float:
    """Return the seconds that the statistics of nearly all samples take, by reading them."""
    with zarrts.open(path) as store:
        # The first sample of each recording is left out, so that none is whole.
        firsts = [recording.start for recording in store.recordings]
        some = store.samples.select(ids=np.delete(np.arange(store.n_samples), firsts))
        started = time.perf_counter()
        some.stats()
        return time.perf_counter() - started


def epoch_rate(path: Path, seed: int, options: dict[str, Any]) -> float:
    """Return samples per second of the second epoch, when the memory has been touched."""
    with zarrts.open(path) as store:
        samples = store.samples
        stats, scale = options.get("stats"), options.get("scale", "standard")
        loader = EpochLoader(
            samples.selection,
            BatchOptions(
                batch_size=BATCH,
                memory="256MiB",
                seed=seed,
                label_mode="raw",
                stats=samples.stats() if stats == "all" else stats,
                scale=scale,
            ),
        )
        for epoch in range(2):
            started, n = time.perf_counter(), 0
            with loader.stream(epoch) as batches:
                for batch in batches:
                    float(batch.x[:, 0, 0].sum())
                    n += len(batch.x)
        rate = n / (time.perf_counter() - started)
        loader.close()
        return rate


WAYS: dict[str, dict[str, Any]] = {
    "not scaled": {},
    "by all samples": {"stats": "all"},
    "by all samples, robust": {"stats": "all", "scale": "robust"},
    "per subject": {"stats": "subject"},
    "per sample": {"stats": "sample"},
    "per sample, minmax": {"stats": "sample", "scale": "minmax"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--gb", type=float, default=2.0)
    parser.add_argument("--recordings", type=int, default=40, help="of each subject")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="convert anew")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.fresh:
        shutil.rmtree(args.work / f"folds-{args.gb:g}-{args.recordings}.zarr", ignore_errors=True)
    path = make_store(args.work, args.gb, args.recordings)
    found = machine(("numpy", "zarrts"))
    print(
        f"{found['processor']}, {found['cores']} cores; {found['date']}. {args.gb:g} GB, "
        f"{N_SUBJECTS} subjects with {args.recordings} recordings each\n"
    )
    print("| statistics | s |\n|---|--:|")
    folds = {
        "of 13 folds, with opening the store": lambda part: part.stats(),
        "of 13 folds, with quartiles": lambda part: part.stats().iqr,
    }
    for name, what in folds.items():
        print(f"| {name} | {median(time_folds(path, what) for _ in range(args.rounds)):.3f} |")
    print(f"| of all samples, read | {time_pass(path):.3f} |\n")
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for seed in range(args.rounds):
        for name, options in WAYS.items():
            rates[name].append(epoch_rate(path, seed, options))
    print("| scaling | samples/s | to unscaled |\n|---|--:|--:|")
    plain = rates["not scaled"]
    for name, some in rates.items():
        ratio = median(a / b for a, b in zip(some, plain, strict=True))
        print(f"| {name} | {median(some):,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
