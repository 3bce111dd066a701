"""Measure how fast batches of windows come out of a store, and out of Keras' tools in RAM.

    python benchmarks/windows.py --work DIR [--chunks 256KiB,1MiB] [--rounds 3] [--out FILE.json]

Recordings of unequal lengths, a class for each row; windows of 200 rows with the class of the row
that follows. zarrts reads them from a compressed store within `--memory`, which holds only a part
of them. Keras' tools get all rows as one array in RAM, loaded once: so their windows cross from
one recording into the next, which spares them one object a recording. Every measurement is a
fresh process of `--epochs` epochs, round after round.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import work  # noqa: F401  # this copy of zarrts, where none is installed
from measure import MIB, PeakMemory, in_fresh_process, machine
from numpy.typing import NDArray

import zarrts
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions

EXTRA_S = 120.0
Batches = Iterator[tuple[Any, Any]]


@dataclass(frozen=True)
class Recordings:
    """All rows in two arrays, one recording after the other, and where each starts."""

    x: NDArray[np.float32]
    y: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @staticmethod
    def load(folder: Path) -> Recordings:
        return Recordings(*(np.load(folder / f"{name}.npy") for name in ("x", "y", "offsets")))


def make_recordings(folder: Path, n_rows: int, n_channels: int, n_recordings: int) -> None:
    """Save counts of an amplifier: a slow drift, noise, and a class that lasts a while."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.5, 1.5, n_recordings)
    offsets = np.rint(np.concatenate([[0], np.cumsum(shares)]) * n_rows / shares.sum())
    noise = rng.integers(-400, 400, (n_rows, n_channels), dtype=np.int32)
    drift = np.cumsum(rng.integers(-3, 4, n_rows, dtype=np.int32))[:, None]
    np.save(folder / "x.npy", (noise + drift).astype(np.float32) * np.float32(0.0488))
    np.save(folder / "y.npy", (np.cumsum(rng.random(n_rows) < 1e-3) % 5).astype(np.uint8))
    np.save(folder / "offsets.npy", offsets.astype(np.int64))


def make_store(folder: Path, chunk: str) -> None:
    found = Recordings.load(folder)
    bounds = zip(found.offsets[:-1].tolist(), found.offsets[1:].tolist(), strict=True)
    recordings = [
        zarrts.Recording(f"s{i // 4:02d}", found.x[start:stop], found.y[start:stop])
        for i, (start, stop) in enumerate(bounds)
    ]
    store = folder / f"{chunk}.zarr"
    zarrts.convert(
        recordings, store, kind="ragged", chunk=chunk, overwrite=True, restart=True, progress=False
    )


# The loaders: each gets the options once, and gives the batches of one epoch after the other ------

Loader = Callable[[int], Batches]


def ours(args: argparse.Namespace, chunk: str, *, shuffle: bool) -> Loader:
    """The loader that ZarrSequence keeps from epoch to epoch."""
    store = zarrts.open(args.folder / f"{chunk}.zarr")
    samples = store.samples.windows(args.length, args.stride, label="next")
    options = BatchOptions(
        batch_size=args.batch_size,
        memory=args.memory,
        shuffle=shuffle,
        label_mode="int",
    )
    loader = EpochLoader(samples.selection, options)

    def batches(epoch: int) -> Batches:
        with loader.stream(epoch) as stream:
            for batch in stream:
                yield batch.x, batch.y

    return batches


def timeseries_generator(args: argparse.Namespace, *, shuffle: bool) -> Loader:
    """`tf.keras.preprocessing.sequence.TimeseriesGenerator`, as its documentation shows it.

    With `shuffle`, it draws rows with replacement and ignores the stride; as many are drawn as
    there are batches.
    """
    import tensorflow as tf

    found = Recordings.load(args.folder)
    generator = tf.keras.preprocessing.sequence.TimeseriesGenerator(
        found.x,
        found.y,
        args.length,
        stride=args.stride,
        shuffle=shuffle,
        batch_size=args.batch_size,
    )

    def batches(epoch: int) -> Batches:
        del epoch
        for i in range(len(generator)):
            yield generator[i]

    return batches


def dataset_from_array(args: argparse.Namespace) -> Loader:
    """`keras.utils.timeseries_dataset_from_array`, shuffled; targets as its documentation says."""
    import keras

    found = Recordings.load(args.folder)
    dataset = keras.utils.timeseries_dataset_from_array(
        found.x[: -args.length],
        found.y[args.length :],
        sequence_length=args.length,
        sequence_stride=args.stride,
        shuffle=True,
        seed=0,
        batch_size=args.batch_size,
    )

    def batches(epoch: int) -> Batches:
        del epoch
        for x, y in dataset:
            yield x.numpy(), y.numpy()

    return batches


TITLES = {
    "ours": "zarrts, shuffled, chunks of {chunk}",
    "ours-in-order": "zarrts, in order, chunks of {chunk}",
    "generator": "TimeseriesGenerator, shuffled, in RAM",
    "generator-in-order": "TimeseriesGenerator, in order, in RAM",
    "dataset": "timeseries_dataset_from_array, in RAM",
}


def loader_of(args: argparse.Namespace) -> Loader:
    name, _, chunk = args.what.partition("@")
    if name.startswith("ours"):
        return ours(args, chunk, shuffle=name == "ours")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if name == "dataset":
        return dataset_from_array(args)
    return timeseries_generator(args, shuffle=name == "generator")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Windows and seconds of each epoch, until the clock stops it, and the peak of memory."""
    epochs = []
    with PeakMemory() as memory:
        batches = loader_of(args)
        stop_at = time.perf_counter() + args.cap
        for epoch in range(args.epochs):
            start, windows = time.perf_counter(), 0
            for x, y in batches(epoch):
                float(x[:, 0, 0].sum())
                windows += len(y)
                del x, y
                if time.perf_counter() > stop_at:
                    break
            epochs.append({"windows": windows, "seconds": time.perf_counter() - start})
            if time.perf_counter() > stop_at:
                break
    return {"epochs": epochs, "peak_bytes": memory.peak_bytes}


def rates(result: dict[str, Any]) -> tuple[float, float]:
    """Windows/s of the first epoch and of the later ones; of the first, where it is the only."""
    found = [it["windows"] / it["seconds"] for it in result["epochs"]]
    return found[0], median(found[1:] or found)


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| | windows/s (min to max) | first epoch | peak MiB |", "|---|--:|--:|--:|"]
    for key, rounds in results.items():
        name, _, chunk = key.partition("@")
        title = TITLES[name].format(chunk=chunk)
        if errors := [it["error"] for it in rounds if "error" in it]:
            lines.append(f"| {title} | {errors[0]} | | |")
            continue
        first, later = zip(*(rates(it) for it in rounds), strict=True)
        spread = f"{median(later):,.0f} ({min(later):,.0f} to {max(later):,.0f})"
        peak = max(it["peak_bytes"] for it in rounds) / MIB
        lines.append(f"| {title} | {spread} | {median(first):,.0f} | {peak:,.0f} |")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--recordings", type=int, default=52)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--strides", default="1,100", help="separated by commas")
    parser.add_argument("--chunks", default="256KiB,1MiB", help="separated by commas")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--memory", default="128MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cap", type=float, default=10.0, help="seconds of one measurement")
    parser.add_argument("--only", help="some of " + ",".join(TITLES))
    parser.add_argument("--out", type=Path, help="JSON")
    for inner in ("--what", "--folder", "--result"):  # of one measurement, in its own process
        parser.add_argument(inner, help=argparse.SUPPRESS)
    parser.add_argument("--stride", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> Path:
    """The recordings are made once; today's zarrts converts them anew."""
    folder = args.work.resolve() / f"windows-{args.rows}x{args.channels}x{args.recordings}"
    if not (folder / "done").exists():
        make_recordings(folder, args.rows, args.channels, args.recordings)
        (folder / "done").touch()
    for chunk in args.chunks.split(","):
        make_store(folder, chunk)
    return folder


def run(args: argparse.Namespace, folder: Path, keys: list[str], stride: int) -> dict[str, Any]:
    results: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    shared = ["--work", str(args.work), "--folder", str(folder), "--stride", str(stride)]
    for name in ("length", "batch_size", "memory", "epochs", "cap"):
        shared += ["--" + name.replace("_", "-"), str(getattr(args, name))]
    for _ in range(args.rounds):
        for key in keys:
            command = [__file__, *shared, "--what", key]
            result = in_fresh_process(command, folder / "measured.json", args.cap + EXTRA_S)
            results[key].append(result)
            print(f"stride {stride} {key}: {result.get('error') or rates(result)}", flush=True)
    return results


def main() -> None:
    args = options()
    if args.what:
        args.folder = Path(args.folder)
        Path(args.result).write_text(json.dumps(measure(args)))
        return
    folder = prepare(args)
    names = args.only.split(",") if args.only else list(TITLES)
    chunks = args.chunks.split(",")
    keys = [
        key
        for name in names
        for key in ([f"{name}@{chunk}" for chunk in chunks] if name.startswith("ours") else [name])
    ]
    found = {int(it): run(args, folder, keys, int(it)) for it in args.strides.split(",")}
    about = machine(("numpy", "zarr", "zarrts", "keras", "tensorflow"))
    n_bytes = args.rows * args.channels * 4
    print(
        f"\n{about['processor']}, {about['cores']} cores, {about['date']}; {n_bytes / 1e6:,.0f} MB "
        f"in {args.recordings} recordings, memory={args.memory}, batches of {args.batch_size}"
    )
    for stride, results in found.items():
        n_windows = (args.rows - args.length) // stride
        print(f"\nwindows of {args.length} rows, stride {stride} (about {n_windows:,})\n")
        print(table(results))
    if args.out:
        args.out.write_text(json.dumps({"machine": about, "results": found}, indent=1))


if __name__ == "__main__":
    main()
