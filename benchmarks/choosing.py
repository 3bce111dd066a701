"""Measure what codec, chunk and memory change: size on the disk, and samples per second.

    python benchmarks/choosing.py --work DIR [--samples 6000] [--rounds 3]

The sizes in docs/choosing.md, and speeds. Counts of a 16-bit amplifier, as EEG is recorded: a slow
drift, rhythms and noise, 32 channels of float32. Batches of 128 in shuffled order, warm page cache;
each row is the median of `--rounds` rounds, in which all ways take turns. Of each measurement the
second epoch counts. With little memory every epoch decodes the store, with much only the first.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import work  # noqa: F401  # this copy of zarrts, where none is installed
from measure import machine

import zarrts
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions

N_SUBJECTS, SHAPE = 8, (128, 32)
CODECS = [("lz4", "1MiB"), ("zstd", "1MiB"), ("none", "1MiB")]
CHUNKS = [("lz4", "256KiB"), ("lz4", "4MiB")]


def make_recordings(n_samples: int) -> list[zarrts.Recording]:
    rng = np.random.default_rng(0)
    recordings = []
    for subject in range(N_SUBJECTS):
        n = n_samples // N_SUBJECTS
        n_rows = n * SHAPE[0]
        drift = np.cumsum(rng.integers(-3, 4, n_rows))[:, None]
        rhythm = 200 * np.sin(np.arange(n_rows) / 8)[:, None] * rng.uniform(0.3, 1, SHAPE[1])
        counts = drift + rhythm + rng.normal(0, 40, (n_rows, SHAPE[1]))
        x = (np.rint(counts) * 0.0488).astype(np.float32).reshape(n, *SHAPE)
        recordings.append(zarrts.Recording(f"s{subject}", x, rng.integers(0, 5, n)))
    return recordings


def convert(recordings: list[zarrts.Recording], path: Path, codec: str, chunk: str) -> None:
    options = {"codec": codec, "chunk": chunk, "progress": False, "overwrite": True}
    zarrts.convert(recordings, path, **options).close()  # type: ignore[arg-type]


def rate(path: Path, memory: str) -> float:
    """Return samples per second of the second epoch."""
    with zarrts.open(path) as store:
        options = BatchOptions(batch_size=128, dtype="float32", memory=memory, label_mode="raw")
        loader = EpochLoader(store.samples.selection, options)
        for epoch in range(2):
            started = time.perf_counter()
            with loader.stream(epoch) as batches:
                n_samples = sum(len(batch.x) for batch in batches)
        seconds = time.perf_counter() - started
        loader.close()
    return n_samples / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(json.dumps(machine()))
    recordings = make_recordings(options.samples)
    raw = sum(it.x.nbytes for it in recordings)
    ways = [*CODECS, *CHUNKS]
    found: dict[str, list[float]] = {}
    for codec, chunk in ways:
        convert(recordings, options.work / f"{codec}-{chunk}.zarr", codec, chunk)
    for _ in range(options.rounds):
        for codec, chunk in ways:
            path = options.work / f"{codec}-{chunk}.zarr"
            for memory in ("64MiB", "1GiB"):
                found.setdefault(f"{codec}-{chunk}-{memory}", []).append(rate(path, memory))
    print(f"{raw / 1e6:,.0f} MB of x")
    print("| codec | chunk | size | memory='64MiB' | memory='1GiB' |")
    print("|---|---|---|---|---|")
    for codec, chunk in ways:
        path = options.work / f"{codec}-{chunk}.zarr"
        size = sum(it.stat().st_size for it in path.rglob("*") if it.is_file())
        rates = [f"{median(found[f'{codec}-{chunk}-{it}']):,.0f}" for it in ("64MiB", "1GiB")]
        print(f"| {codec} | {chunk} | {size / raw:.0%} | {rates[0]} | {rates[1]} |")
    (options.work / "choosing.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
