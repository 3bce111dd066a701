"""Measure shuffled epochs from a cold disk, beside the disk's own rate.

    python benchmarks/cold.py --work DIR [--samples 96252] [--rounds 5]

Before each measurement the store's files are dropped from the page cache (posix_fadvise, so Linux
only), and every line says how much then came from the disk. The disk's rate is that of one thread
that reads the same files from end to end; an epoch right after another shows what is left when the
disk is no limit. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from measure import MIB, forget, machine, shards
from peers import ours
from work import N_SAMPLES, N_SUBJECTS, make_source

import zarrts

BLOCK_BYTES, BATCH = 4 * MIB, 128
WARM = "the same again, not from the disk"


def make_store(folder: Path, n_samples: int) -> Path:
    """Make the work of `loading.py`, of so many samples, unless it is there."""
    place = folder / f"cold-{n_samples}"
    path = place / "study.zarr"
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        ours.prepare(place, make_source(place / "source", n_samples, N_SUBJECTS))
    return path


def read_from_disk() -> int:
    """Bytes that this process had to get from a disk so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def read_through(files: list[Path]) -> None:
    memory = bytearray(BLOCK_BYTES)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(memory):
                pass


def epoch(path: Path, number: int, memory: str, shuffle: bool) -> None:
    with (
        zarrts.open(path) as store,
        store.samples.batches(BATCH, shuffle=shuffle, epoch=number, memory=memory) as batches,
    ):
        for batch in batches:
            batch.x[:, 0, 0].sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--samples", type=int, default=2 * N_SAMPLES)
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    path = make_store(given.work, given.samples)
    files = shards(path)
    n_bytes = sum(it.stat().st_size for it in files)
    ways: dict[str, Callable[[int], None]] = {
        "the files, end to end": lambda number: read_through(files),
        "an epoch, shuffled": lambda number: epoch(path, number, given.memory, True),
        WARM: lambda number: epoch(path, number, given.memory, True),
        "an epoch, in order": lambda number: epoch(path, number, given.memory, False),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds):
        for name, run in ways.items():
            if name != WARM:
                forget(files)
            before, started = read_from_disk(), time.perf_counter()
            run(number)
            rates[name].append(n_bytes / 1e6 / (time.perf_counter() - started))
            shares[name].append((read_from_disk() - before) / n_bytes)
    print(machine(("zarrts", "numpy", "numcodecs")))
    print(f"{n_bytes / 1e6:,.0f} MB stored, memory {given.memory}, {given.rounds} rounds\n")
    print("| what is read | MB/s as stored | to the disk | share from the disk |")
    print("|---|--:|--:|--:|")
    disk = rates["the files, end to end"]
    for name, found in rates.items():
        ratio = median(rate / of_disk for rate, of_disk in zip(found, disk, strict=True))
        print(
            f"| {name} | {median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f}) "
            f"| {ratio:.2f} | {median(shares[name]):.2f} |"
        )


if __name__ == "__main__":
    main()
