"""Time epochs of `model.fit` on a ZarrSequence against fit on arrays in RAM.

    KERAS_BACKEND=tensorflow python benchmarks/fit.py --work DIR [--rounds 5]
    KERAS_BACKEND=jax python benchmarks/fit.py --work DIR --samples 200000   # with a GPU
    python benchmarks/fit.py --work DIR --overhead    # a model that does nothing

One small Conv1D network for each side; the sides alternate, and the first fit of each, which
compiles, is not counted. Same samples, same batch size, both shuffled.
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


class Nothing(keras.Model):
    """Learns nothing, so that an epoch is what it takes to feed it."""

    def train_step(self, *args: Any) -> Any:
        logs = {"loss": keras.ops.zeros(())}
        return (logs, args[0]) if keras.backend.backend() == "jax" else logs


def idle_network(sample_shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(sample_shape)
    model = Nothing(inputs, keras.layers.Dense(1)(inputs))
    model.compile()
    return model


def loop_s(batches: Any) -> float:
    """Seconds of one loop over batches."""
    started = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - started


def fit_s(model: keras.Model, feed: Any) -> float:
    """Seconds of one epoch of fit, without what comes before it."""
    clock = EpochClock()
    model.fit(feed, shuffle=False, verbose=0, callbacks=[clock])
    return clock.seconds[0]


def measure_overhead(store: Path, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of an epoch of each way, round by round; the first round, which compiles, left out.

    tf.data needs TensorFlow, on any backend.
    """
    options = {"batch_size": args.batch_size, "label_mode": "int", "memory": args.memory}
    with zarrts.ZarrSequence(str(store), **options) as sequence:
        model = idle_network(sequence.samples.store.sample_shape)
        dataset = sequence.to_tf_dataset()
        ways = {
            "bare loop": lambda: loop_s(sequence),
            "fit, ZarrSequence": lambda: fit_s(model, sequence),
            "loop, to_tf_dataset": lambda: loop_s(dataset),
            "fit, to_tf_dataset": lambda: fit_s(model, dataset),
        }
        rounds = [{name: way() for name, way in ways.items()} for _ in range(args.rounds + 1)]
        print(
            f"Keras {keras.__version__} on {keras.backend.backend()}, {len(sequence)} batches of "
            f"{args.batch_size}, memory={args.memory}, a model that does nothing"
        )
    seconds = {name: [it[name] for it in rounds[1:]] for name in ways}
    bare = median(seconds["bare loop"])
    for name, found in seconds.items():
        mid = median(found)
        print(
            f"{name:20s} {1e3 * mid / len(dataset):6.2f} ms a batch "
            f"({1e3 * min(found) / len(dataset):.2f} to {1e3 * max(found) / len(dataset):.2f}), "
            f"{1e3 * (mid - bare) / len(dataset):+.2f} ms"
        )
    return seconds


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
    parser.add_argument("--samples", type=int, default=48_126)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="epochs of one fit")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--memory", default="256MiB", help="budget of the ZarrSequence")
    parser.add_argument("--overhead", action="store_true", help="feed a model that does nothing")
    parser.add_argument("--out", type=Path, help="JSON")
    return parser.parse_args()


def main() -> None:
    args = options()
    args.work.mkdir(parents=True, exist_ok=True)
    paths, store = prepare(args.work, args.samples)
    if args.overhead:
        seconds = measure_overhead(store, args)
        if args.out:
            args.out.write_text(json.dumps({"machine": machine(("keras", "zarrts")), **seconds}))
        return
    x, y = load(paths)
    feed = {"x": x, "y": y, "batch_size": args.batch_size}
    ram = Side("arrays in RAM", network(x.shape[1:]), feed, args.epochs)
    with zarrts.ZarrSequence(
        str(store), batch_size=args.batch_size, label_mode="int", memory=args.memory
    ) as sequence:
        ours = Side("ZarrSequence", network(x.shape[1:]), {"x": sequence}, args.epochs)
        ratio = compare(ours, ram, args.rounds)
    backend = keras.backend.backend()
    print(f"Keras {keras.__version__} on {backend}, {len(y):,} samples, memory={args.memory}")
    for side in (ours, ram):
        low, mid, high = min(side.seconds), median(side.seconds), max(side.seconds)
        print(
            f"{side.name:14s} {mid:.2f} s an epoch ({low:.2f} to {high:.2f}), "
            f"{len(y) / mid:,.0f} samples/s"
        )
    print(f"time from the store is {ratio:.2f} x the time from RAM (median of {args.rounds})")
    if args.out:
        found = {"machine": machine(("keras", backend, "zarrts")), "backend": backend}
        found |= {"samples": len(y), "memory": args.memory, "ratio": ratio}
        found |= {"seconds": {side.name: side.seconds for side in (ours, ram)}}
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
