"""Show what the life of a store of very many parts costs, with few open files.

    python benchmarks/one_by_one.py --work DIR [--subjects 1000] [--files 256]

Converts one subject, appends the others one by one, each in this process, which may hold so many
files open; then trains a small network for one epoch (where Keras is), verifies, reports, removes
one subject, compacts, and trains again. Of each step it prints seconds, processor seconds, and the
peak of anonymous memory above what there was before.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import MIB, PeakMemory, read_status

import zarrts
from zarrts.report import write_report

N_SAMPLES, SHAPE = 40, (64, 8)


def save_subjects(folder: Path, n_subjects: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"p{number:04d}.npz" for number in range(n_subjects)]
    for number, file in enumerate(files):
        if not file.exists():
            rng = np.random.default_rng(number)
            x = rng.standard_normal((N_SAMPLES, *SHAPE), dtype="f4")
            np.savez(file, x=x, y=rng.integers(0, 3, N_SAMPLES))
    return files


def fit(path: Path) -> int:
    import keras

    with (
        zarrts.open(path) as store,
        zarrts.ZarrSequence(store, 128, stats=store.samples.stats(), memory="64MiB") as seq,
    ):
        network = keras.Sequential(
            [
                keras.layers.Input(store.sample_shape),
                keras.layers.Conv1D(8, 9, strides=4, activation="relu"),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(store.n_classes, activation="softmax"),
            ]
        )
        network.compile("adam", "sparse_categorical_crossentropy")
        network.fit(seq, epochs=1, verbose=0)
        return int(store.n_samples)


def first_batch(path: Path) -> int:
    with zarrts.open(path) as store, store.samples.batches(32, memory="64MiB") as batches:
        store.samples.stats()
        return len(next(batches).x)


def verify(path: Path) -> int:
    found = zarrts.verify(path)
    if found.problems or found.unnamed:
        raise RuntimeError(f"{found.problems[:3]} {found.unnamed[:3]}")
    return found.n_files


def measured(name: str, step: Callable[[], Any]) -> dict[str, Any]:
    started, processor = time.perf_counter(), time.process_time()
    with PeakMemory() as memory:
        result = step()
    found = {
        "step": name,
        "seconds": round(time.perf_counter() - started, 2),
        "processor": round(time.process_time() - processor, 2),
        "peak MiB": round(memory.peak_bytes / MIB, 1),
        "result": str(result),
    }
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=1000)
    parser.add_argument("--files", type=int, default=256)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (args.files, args.files))
    files = save_subjects(args.work / "subjects", args.subjects)
    path = args.work / "study.zarr"
    shutil.rmtree(path, ignore_errors=True)
    measured("convert", lambda: zarrts.convert(str(files[0]), path, progress=False).close())
    measured("append, first", lambda: zarrts.append(path, str(files[1]), progress=False).close())
    every: list[float] = []

    def append_all() -> str:
        for number, file in enumerate(files[2:-1], 2):
            before = time.process_time()
            zarrts.append(path, str(file), progress=False).close()
            every.append(time.process_time() - before)
            if number % 100 == 0:
                print(number, [round(it, 2) for it in every[-3:]], file=sys.stderr, flush=True)
        return (
            f"median of ten, at 10: {np.median(every[:10]):.2f}, last: {np.median(every[-10:]):.2f}"
        )

    measured("append, others", append_all)
    measured("append, last", lambda: zarrts.append(path, str(files[-1]), progress=False).close())
    steps: dict[str, Callable[[], Any]] = {
        "open, statistics, first batch": lambda: first_batch(path),
        "train, first epoch of the process": lambda: fit(path),
        "train": lambda: fit(path),
        "verify": lambda: verify(path),
        "report": lambda: write_report(path, args.work / "report.html"),
        "remove one": lambda: zarrts.remove(path, subject=files[7].stem).n_samples,
        "compact": lambda: zarrts.compact(path, drop_versions=True, progress=False),
        "compacted: open, statistics, first batch": lambda: first_batch(path),
        "compacted: train": lambda: fit(path),
        "compacted: verify": lambda: verify(path),
    }
    for name, step in steps.items():
        measured(name, step)
    with zarrts.open(path) as store:
        expected = N_SAMPLES * (args.subjects - 1)
        if (store.n_samples, len(store.subjects)) != (expected, args.subjects - 1):
            raise RuntimeError(f"{store}: {expected:,} samples are expected")
    print("resident at most, MiB:", read_status().get("VmHWM", 0) // MIB)


if __name__ == "__main__":
    main()
