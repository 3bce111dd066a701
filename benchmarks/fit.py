"""Time epochs of `model.fit` on a ZarrSequence against fit on arrays in RAM.

    KERAS_BACKEND=tensorflow python benchmarks/fit.py --work DIR [--rounds 5]   # and jax, and torch
    KERAS_BACKEND=jax python benchmarks/fit.py --work DIR --samples 200000   # with a GPU
    python benchmarks/fit.py --work DIR --overhead    # only the table

First the table of `fit_table.py`: all ways of feeding a model that does almost nothing. Then one
small Conv1D network for each side; the sides alternate, and the first fit of each, which compiles,
is not counted. Same samples, same batch size, both shuffled.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from fit_table import print_table
from measure import machine
from numpy.typing import NDArray
from work import make_subjects

import zarrts

N_CLASSES = 5


class EpochClock(keras.callbacks.Callback):
    """Seconds from the begin to the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self.seconds.append(time.perf_counter() - self._start)


@dataclass
class Side:
    """One way to feed the network, with the times of its epochs."""

    name: str
    model: keras.Model
    feed: dict[str, Any]
    epochs: int
    seconds: list[float] = field(default_factory=list)

    def fit(self, counted: bool) -> None:
        clock = EpochClock()
        self.model.fit(**self.feed, epochs=self.epochs, verbose=0, callbacks=[clock])
        if counted:
            self.seconds.append(median(clock.seconds))


def network(sample_shape: tuple[int, ...]) -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(sample_shape),
            layers.Rescaling(0.01),
            layers.Conv1D(32, 7, strides=2, activation="relu"),
            layers.Conv1D(64, 5, strides=2, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(N_CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def prepare(folder: Path, n_samples: int) -> tuple[list[Path], Path]:
    """Source files and store, made once for each size."""
    source, store = folder / f"fit-{n_samples}", folder / f"fit-{n_samples}.zarr"
    done = folder / f"fit-{n_samples}.done"
    if not done.exists():
        make_subjects(source, samples=n_samples, labels="int", classes=N_CLASSES)
        zarrts.convert(str(source), str(store), overwrite=True, progress=False)
        done.touch()
    return sorted(source.glob("*.npz")), store


def load(paths: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All samples in RAM, filled file by file."""
    labels = [np.load(path)["labels"] for path in paths]
    y = np.concatenate(labels)
    x: NDArray[np.float32] | None = None
    start = 0
    for path, own in zip(paths, labels, strict=True):
        samples = np.load(path)["data"]
        if x is None:
            x = np.empty((len(y), *samples.shape[1:]), samples.dtype)
        x[start : start + len(own)] = samples
        start += len(own)
    assert x is not None
    return x, y


def compare(store_side: Side, ram_side: Side, rounds: int) -> float:
    """Alternate the sides; return the median over rounds of store time / RAM time."""
    for number in range(rounds + 1):
        sides = (store_side, ram_side) if number % 2 else (ram_side, store_side)
        for side in sides:
            side.fit(counted=number > 0)
    return median(a / b for a, b in zip(store_side.seconds, ram_side.seconds, strict=True))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--samples", type=int, default=24_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="epochs of one fit")
    parser.add_argument("--batch-size", type=int, default=128, help="of the network")
    parser.add_argument("--batch-sizes", default="32,128,512", help="of the table")
    parser.add_argument("--memory", default="128MiB", help="budget of the network's sequence")
    parser.add_argument("--overhead", action="store_true", help="only the table")
    parser.add_argument("--out", type=Path, help="JSON")
    return parser.parse_args()


def compare_network(
    store: Path, x: NDArray[np.float32], y: NDArray[np.int64], args: argparse.Namespace
) -> dict[str, Any]:
    """Print and return how a small network trains from the store, and from RAM."""
    feed = {"x": x, "y": y, "batch_size": args.batch_size}
    ram = Side("arrays in RAM", network(x.shape[1:]), feed, args.epochs)
    with zarrts.ZarrSequence(
        str(store), batch_size=args.batch_size, label_mode="int", memory=args.memory
    ) as sequence:
        ours = Side("ZarrSequence", network(x.shape[1:]), {"x": sequence}, args.epochs)
        ratio = compare(ours, ram, args.rounds)
    print(f"\nConv1D network, batches of {args.batch_size}, memory={args.memory}")
    for side in (ours, ram):
        low, mid, high = min(side.seconds), median(side.seconds), max(side.seconds)
        print(
            f"{side.name:14s} {mid:.2f} s an epoch ({low:.2f} to {high:.2f}), "
            f"{len(y) / mid:,.0f} samples/s"
        )
    print(f"time from the store is {ratio:.2f} x the time from RAM (median of {args.rounds})")
    seconds = {side.name: side.seconds for side in (ours, ram)}
    return {"samples": len(y), "memory": args.memory, "ratio": ratio, "seconds": seconds}


def main() -> None:
    args = options()
    args.work.mkdir(parents=True, exist_ok=True)
    paths, store = prepare(args.work, args.samples)
    x, y = load(paths)
    backend = keras.backend.backend()
    found: dict[str, Any] = {"machine": machine(("keras", backend, "zarrts")), "backend": backend}
    sizes = [int(it) for it in args.batch_sizes.split(",")]
    found["table"] = print_table(store, x, y, batch_sizes=sizes, rounds=args.rounds)
    if not args.overhead:
        found |= compare_network(store, x, y, args)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
