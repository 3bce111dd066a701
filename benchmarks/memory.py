"""Show that a conversion and an epoch stay within the memory that they were given.

    python benchmarks/memory.py --work DIR [--gb 2] [--limit 1GiB]

Makes a study of 13 files; converts it, reads one shuffled epoch, and trains a small network for
one epoch (where Keras is), each in a fresh process that samples its own anonymous memory every
20 ms. "Start" is the interpreter with NumPy, before zarrts is imported. With --limit (Linux with
control groups of version 1, as root), the system kills a process that needs more than that, page
cache included, and tells the peak of the whole group; the page cache is emptied before each step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import MIB, MemoryGroup, PeakMemory, in_fresh_process
from work import make_subjects

LIMIT_S = 3600.0


def convert(folder: Path, budget: str) -> int:
    import zarrts

    # A finished store of the same sources would be returned at once.
    shutil.rmtree(folder / "study.zarr", ignore_errors=True)
    store = zarrts.convert(
        str(folder / "source"),
        str(folder / "study.zarr"),
        memory=budget,
        progress=False,
    )
    return int(store.n_samples)


def epoch(folder: Path, budget: str) -> int:
    import zarrts

    n = 0
    with (
        zarrts.open(str(folder / "study.zarr")) as store,
        store.samples.batches(128, shuffle=True, memory=budget) as batches,
    ):
        for batch in batches:
            float(batch.x[:, 0, 0].sum())
            n += len(batch.x)
    return n


def fit(folder: Path, budget: str) -> int:
    import keras

    import zarrts

    with zarrts.open(str(folder / "study.zarr")) as store:
        seq = zarrts.ZarrSequence(store, batch_size=128, memory=budget)
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
        seq.close()
        return int(store.n_samples)


STEPS: dict[str, tuple[Callable[[Path, str], int], str]] = {
    "convert": (convert, "512MiB"),
    "epoch": (epoch, "256MiB"),
    "fit": (fit, "256MiB"),
}


def run_step(step: str, folder: Path, budget: str) -> dict[str, Any]:
    """Do one step in this process and tell its peak."""
    start = time.perf_counter()
    with PeakMemory() as memory:
        samples = STEPS[step][0](folder, budget)
    return {
        "samples": samples,
        "seconds": time.perf_counter() - start,
        "start_bytes": memory.base_bytes,
        "peak_bytes": memory.peak_bytes,
        "memory_measure": memory.how,
    }


def make_study(folder: Path, gb: float) -> None:
    done = folder / "source.done"
    if done.exists() and done.read_text() == str(gb):
        return
    shutil.rmtree(folder / "source", ignore_errors=True)
    make_subjects(folder / "source", subjects=13, gb=gb)
    done.write_text(str(gb))


def in_mib(text: str) -> float:
    """The value of "512MiB" or "1GiB"."""
    units = {"MiB": 1.0, "GiB": 1024.0}
    return float(text[:-3]) * units[text[-3:]]


def report(found: dict[str, dict[str, Any]], budgets: dict[str, str]) -> str:
    lines = [
        "| step | budget MiB | start MiB | peak above start MiB | group's peak MiB | samples | s |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for step, result in found.items():
        budget = in_mib(budgets[step])
        if "error" in result:
            lines.append(f"| {step} | {budget:.0f} | | {result['error']} | | | |")
            continue
        group = f"{result['group_bytes'] / MIB:.0f}" if "group_bytes" in result else ""
        lines.append(
            f"| {step} | {budget:.0f} | {result['start_bytes'] / MIB:.0f} "
            f"| {result['peak_bytes'] / MIB:.0f} | {group} "
            f"| {result['samples']:,} | {result['seconds']:.1f} |"
        )
    return "\n".join(lines)


def empty_page_cache() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--gb", type=float, default=2.0)
    parser.add_argument("--limit", help="of all memory, page cache included, such as 1GiB")
    for step, (_, budget) in STEPS.items():
        parser.add_argument(f"--{step}-memory", default=budget)
    parser.add_argument("--step", choices=tuple(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--join", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    budgets = {step: getattr(args, f"{step}_memory") for step in STEPS}
    if args.step:
        if args.join:
            args.join.write_text(str(os.getpid()))
        args.result.write_text(json.dumps(run_step(args.step, args.work, budgets[args.step])))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    make_study(args.work, args.gb)
    group = MemoryGroup(int(in_mib(args.limit) * MIB)) if args.limit else None
    found = {}
    for step in STEPS:
        command = [str(Path(__file__).resolve()), "--work", str(args.work), "--step", step]
        command += [f"--{step}-memory", budgets[step]]
        if group:
            empty_page_cache()
            command += ["--join", str(group.joining)]
        found[step] = in_fresh_process(command, args.work / "step.json", LIMIT_S)
        if group:
            found[step]["group_bytes"] = group.peak_bytes()
    if group:
        group.close()
    print(report(found, budgets))


if __name__ == "__main__":
    main()
