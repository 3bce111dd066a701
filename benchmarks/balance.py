"""Time shuffled batches with balance and with each transform, against plain ones.

    python benchmarks/balance.py --work DIR [--rounds 5] [--memory 128MiB]

Classes are rare and frequent (5 to 40 %) and come in runs of 20 samples, as in a recording. All
ways in turn, in one process; of two epochs each, the second counts. The consumer touches one
element of every sample. Every way scales by `stats` and makes one-hot labels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import machine
from work import N_SAMPLES, N_SUBJECTS, make_subjects

import zarrts
from zarrts import transforms

SHARES = (0.05, 0.1, 0.4, 0.25, 0.2)
RUN = 20

TRANSFORMS = {
    "jitter": transforms.jitter(),
    "scaling": transforms.scaling(),
    "time_mask": transforms.time_mask(),
    "channel_drop": transforms.channel_drop(),
    "crop": transforms.crop(),
    "shift": transforms.shift(),
    "mixup": transforms.mixup(),
}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "balance='class'": {"balance": "class"},
    "balance='subject'": {"balance": "subject"},
    "balance='class+subject'": {"balance": "class+subject"},
    "balance='class', undersample": {"balance": "class", "resample": "undersample"},
    "balance='subject', undersample": {"balance": "subject", "resample": "undersample"},
    **{name: {"transform": it} for name, it in TRANSFORMS.items()},
}


def prepare(folder: Path, n_samples: int) -> Path:
    """The store, made once for each size."""
    source, store = folder / f"balance-{n_samples}", folder / f"balance-{n_samples}.zarr"
    done = folder / f"balance-{n_samples}.done"
    if not done.exists():
        make_subjects(
            source, subjects=N_SUBJECTS, samples=n_samples, kind="npy-pairs", labels="int"
        )
        rng = np.random.default_rng(0)
        for path in sorted(source.glob("s*_y.npy")):
            n = len(np.load(path))
            runs = rng.choice(len(SHARES), -(-n // RUN), p=SHARES)
            np.save(path, np.repeat(runs, RUN)[:n])
        zarrts.convert(str(source), str(store), overwrite=True, progress=False)
        done.touch()
    return store


def rate(sequence: zarrts.ZarrSequence, epochs: int = 2) -> float:
    """Samples per second of the last of some epochs."""
    for epoch in range(epochs):
        sequence.epoch = epoch
        n_samples, start = 0, time.perf_counter()
        for x, _ in sequence:
            x.reshape(len(x), -1)[:, 0].sum()
            n_samples += len(x)
    return n_samples / (time.perf_counter() - start)


def measure(args: argparse.Namespace) -> dict[str, list[float]]:
    """Samples per second of each way, round by round."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with zarrts.open(prepare(args.work, args.samples)) as store:
        samples, stats = store.samples, store.samples.stats()
        common = {"label_mode": "categorical", "stats": stats, "memory": args.memory}
        for number in range(args.rounds):
            for name, options in WAYS.items():
                sequence = zarrts.ZarrSequence(
                    samples, batch_size=args.batch_size, seed=number, **common, **options
                )
                with sequence:
                    found[name].append(rate(sequence))
    return found


def report(found: dict[str, list[float]]) -> str:
    """A table: rates, and the median of each round's ratio to plain."""
    lines = ["| way | samples/s (min to max) | of plain |", "|---|---|---|"]
    for name, rates in found.items():
        ratio = median(a / b for a, b in zip(rates, found["plain"], strict=True))
        lines.append(
            f"| {name} | {median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) "
            f"| {ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--samples", type=int, default=N_SAMPLES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    found = measure(args)
    print(report(found))
    if args.out:
        args.out.write_text(json.dumps({"machine": machine(("numpy", "zarr")), "rates": found}))


if __name__ == "__main__":
    main()
