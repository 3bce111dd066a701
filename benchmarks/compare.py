"""Two versions of zarrts side by side: ratios of loading, converting, windows, scaling, opening.

    python benchmarks/compare.py 53f5c52 HEAD
    python benchmarks/compare.py . ../other-checkout --only loading,open
    python benchmarks/compare.py 53f5c52 HEAD --data int16grid

Of float32 without a grid, both read the store that the older one wrote. With `--data int16grid`
values are 16-bit counts times a gain, as in raw recordings: each reads what it wrote itself, and
sizes are compared as well.

Each version is a git revision of this repository, or a folder. Both are installed beside each
other, without their dependencies, which are those of this Python. Every figure is taken in turn, in
processes of its own, and the ratio of a round is that of neighbours in time: machines drift.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from measure import forget, shards

ROOT = Path(__file__).resolve().parent.parent
BATCH, N_SUBJECTS, LENGTH = 128, 6, 128


def install(version: str, target: Path) -> None:
    """Install a revision, or a folder, without dependencies."""
    source = Path(version)
    if not (source / "pyproject.toml").exists():
        source = target.with_name(target.name + "-source")
        source.mkdir()
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", version], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(target), str(source)], check=True)


def make_study(folder: Path, n_samples: int, data: str) -> None:
    """Save one file a subject: walks, as floats, or as counts of an ADC times a gain."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for subject in range(N_SUBJECTS):
        n = n_samples // N_SUBJECTS
        x = np.cumsum(rng.normal(size=(n * LENGTH, 32)).astype("f4"), axis=0) * np.float32(0.0487)
        if data == "int16grid":
            counts = np.rint(rng.normal(size=x.shape) * 30 + x * 20)
            x = (np.clip(counts, -30_000, 30_000) * 0.0487).astype("f4")
        np.savez(
            folder / f"s{subject:02}.npz",
            x=x.reshape(n, LENGTH, 32).astype("f4"),
            y=rng.integers(0, 4, n),
        )


# What a process of one version measures; higher is better ----------------------------------


def epochs_per_s(
    sequence: Any, n_epochs: int, before_each: Callable[[], object] = lambda: None
) -> float:
    """Return samples per second of the best epoch after the first."""
    best = 0.0
    with sequence as seq:
        for epoch in range(n_epochs):
            seq.epoch = epoch
            before_each()
            started, n = time.perf_counter(), 0
            for batch in seq:
                n += len(batch[0])
            if epoch:
                best = max(best, n / (time.perf_counter() - started))
    return best


def loading(folder: Path, name: str = "study.zarr", **options: Any) -> float:
    import zarrts

    with zarrts.open(folder / name) as store:
        return epochs_per_s(zarrts.ZarrSequence(store, BATCH, **options), 4)


def scaled(folder: Path, stats: str) -> float:
    import zarrts

    with zarrts.open(folder / "study.zarr") as store:
        given = store.samples.stats() if stats == "all" else stats
        return epochs_per_s(zarrts.ZarrSequence(store, BATCH, memory="64MiB", stats=given), 3)


def cold(folder: Path) -> float:
    """Return samples per second of epochs whose files are not in memory (Linux only)."""
    import zarrts

    path = folder / "study.zarr"
    with zarrts.open(path) as store:
        sequence = zarrts.ZarrSequence(store, BATCH, memory="64MiB")
        return epochs_per_s(sequence, 4, before_each=lambda: forget(shards(path)))


def windows(folder: Path) -> float:
    import zarrts

    with zarrts.open(folder / "rows.zarr") as store:
        samples = store.samples.windows(100, 1, label="next")
        samples = samples.select(ids=samples.ids[: 400 * BATCH])
        return epochs_per_s(zarrts.ZarrSequence(samples, BATCH, memory="64MiB"), 3)


def converting(folder: Path) -> float:
    import zarrts

    with tempfile.TemporaryDirectory(dir=folder) as target:
        started = time.perf_counter()
        zarrts.convert(folder / "subjects", Path(target) / "a.zarr", progress=False).close()
        elapsed = time.perf_counter() - started
    return sum(it.stat().st_size for it in (folder / "subjects").iterdir()) / elapsed


def opening(folder: Path) -> float:
    started = time.perf_counter()
    import zarrts

    zarrts.open(folder / "study.zarr").close()
    return 1 / (time.perf_counter() - started)


FIGURES: dict[str, Callable[[Path], float]] = {
    "loading from memory": lambda folder: loading(folder, memory="2GiB"),
    "loading within 64 MiB": lambda folder: loading(folder, memory="64MiB"),
    "loading from many files": lambda folder: loading(folder, "many.zarr", memory="64MiB"),
    "loading from a cold disk": cold,
    "loading in order": lambda folder: loading(folder, memory="64MiB", shuffle=False),
    "scaled by known numbers": lambda folder: scaled(folder, "all"),
    "scaled per subject": lambda folder: scaled(folder, "subject"),
    "scaled per sample": lambda folder: scaled(folder, "sample"),
    "windows": windows,
    "converting": converting,
    "opening": opening,
}


def store_size(folder: Path) -> float:
    """Return raw bytes a stored byte."""
    raw = sum(it.stat().st_size for it in (folder / "subjects").iterdir())
    files = (folder / "study.zarr").rglob("*")
    return raw / sum(it.stat().st_size for it in files if it.is_file())


SIZE = "raw bytes a stored byte"
FIGURES[SIZE] = store_size


def prepare(folder: Path) -> None:
    """Convert the study, and one of consecutive rows, with the version of this process.

    The study twice: into as many files as usual, and into as many as one of 64 times its size has,
    which may be more than are kept open.
    """
    import zarrts

    zarrts.convert(folder / "subjects", folder / "study.zarr", progress=False).close()
    zarrts.convert(folder / "subjects", folder / "many.zarr", shard="1MiB", progress=False).close()
    rng = np.random.default_rng(1)
    rows = [
        zarrts.Recording(f"s{i}", rng.normal(size=(60_000, 6)).astype("f4"), np.arange(60_000) % 3)
        for i in range(4)
    ]
    zarrts.convert(rows, folder / "rows.zarr", kind="ragged", progress=False).close()


def run(installed: Path, task: str, folder: Path) -> float:
    """Run a task in a process that imports one version."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(Path(__file__).resolve()), "--task", task, str(folder)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("versions", nargs="+", help="OLD NEW: git revisions, or folders")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=12_000, help="of (128, 32) float32")
    parser.add_argument("--data", choices=("float32", "int16grid"), default="float32")
    parser.add_argument("--only", default="", help="beginnings of figures, by commas")
    args = parser.parse_args()
    if args.task:
        task = prepare if args.task == "prepare" else FIGURES[args.task]
        print(json.dumps(task(Path(args.versions[0])) or 0.0))
        # An editable install must not stand in for the version that is measured.
        home = import_module("zarrts").__file__ or ""
        assert home.startswith(os.environ["PYTHONPATH"]), home
        return
    if len(args.versions) != 2:
        parser.error("give two versions: OLD NEW")
    wanted = [it for it in FIGURES if it.startswith(tuple(args.only.split(",")))]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        installed = [root / "old", root / "new"]
        for version, target in zip(args.versions, installed, strict=True):
            install(version, target)
        study = root / "of-old"
        make_study(study / "subjects", args.samples, args.data)
        run(installed[0], "prepare", study)
        folders = [study, study]  # both read what the older one wrote
        if args.data == "int16grid":
            folders[1] = root / "of-new"
            folders[1].mkdir()
            (folders[1] / "subjects").symlink_to(study / "subjects")
            run(installed[1], "prepare", folders[1])
        print(f"{'':26}{'old':>12}{'new':>12}{'new/old':>9}   (median, {args.rounds} rounds)")
        for name in wanted:
            rounds = 1 if name == SIZE else args.rounds
            pairs = [
                [run(it, name, where) for it, where in zip(installed, folders, strict=True)]
                for _ in range(rounds)
            ]
            old, new = (statistics.median(it) for it in zip(*pairs, strict=True))
            ratio = statistics.median(new / old for old, new in pairs)
            print(f"{name:26}{old:12,.4g}{new:12,.4g}{ratio:9.2f}", flush=True)


if __name__ == "__main__":
    main()
