"""Ways of feeding a model that does almost nothing, side by side: what `fit.py` prints first.

Each way does the same work in each round: an epoch that is not counted, and then some of which
the fastest counts. A ratio is that of neighbours in one round, the median of all rounds, so that
other work on the machine, which comes and goes, weighs on both sides. Milliseconds of processor
time, of all threads, hardly depend on other work: they say what a way costs, and seconds say how
well its parts overlap.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import keras
import numpy as np
from keras.src.trainers import data_adapters
from numpy.typing import NDArray

import zarrts

WITHIN, ALL = "128MiB", "2GiB"


class Taken(NamedTuple):
    """Seconds of an epoch: by the clock, and of all processors together."""

    wall: float
    processors: float


Ways = dict[str, Callable[[], Taken]]


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch of fit, of evaluate, or of predict."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Taken] = []

    def _start_now(self, *_: Any) -> None:
        self._started = now()

    def _note(self, *_: Any) -> None:
        self.taken.append(since(self._started))

    on_epoch_begin = on_test_begin = on_predict_begin = _start_now
    on_epoch_end = on_test_end = on_predict_end = _note


class SameBatch(keras.utils.PyDataset):
    """One batch again and again, aligned: what Keras' own adapter and step take."""

    def __init__(self, x: NDArray[Any], y: NDArray[Any], batch_size: int) -> None:
        super().__init__()
        self._n_batches = -(-len(x) // batch_size)
        self._batch = aligned(x[:batch_size]), aligned(y[:batch_size])

    def __len__(self) -> int:
        return self._n_batches

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._batch


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that starts on a 64-byte boundary, as our batches do."""
    memory = np.empty(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def almost_nothing(sample_shape: tuple[int, ...], n_classes: int) -> keras.Model:
    """Return a compiled model of a mean over time and one small layer."""
    inputs = keras.Input(sample_shape)
    mean = keras.layers.GlobalAveragePooling1D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(n_classes)(mean))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def now() -> Taken:
    """Return both clocks."""
    return Taken(time.perf_counter(), time.process_time())


def since(started: Taken) -> Taken:
    """Return what both clocks have counted."""
    return Taken(*(b - a for a, b in zip(started, now(), strict=True)))


def later_epochs(run: Callable[[Clock], Any]) -> Taken:
    """Return the least but the first of what a clock saw."""
    clock = Clock()
    run(clock)
    return Taken(*(min(each) for each in zip(*clock.taken[1:], strict=True)))


def loop(batches: Iterable[Any]) -> Taken:
    """Return what a loop over batches takes."""
    started = now()
    for _ in batches:
        pass
    return since(started)


def batches_of_keras(feed: Any) -> Iterable[Any]:
    """Return what the trainer of this backend takes batches from, without a step."""
    adapter = data_adapters.get_data_adapter(x=feed, shuffle=True)
    make = {
        "tensorflow": "get_tf_dataset",
        "jax": "get_jax_iterator",
        "torch": "get_torch_dataloader",
    }[keras.backend.backend()]
    return getattr(adapter, make)()  # type: ignore[no-any-return]


def ways_of(
    store: zarrts.Store, x: NDArray[Any], y: NDArray[Any], batch_size: int, epochs: int
) -> tuple[Ways, dict[str, str], list[zarrts.ZarrSequence]]:
    """Return all ways at one batch size, which of them each is compared with, and what to close."""
    opened: list[zarrts.ZarrSequence] = []
    weights = np.linspace(0.5, 1.5, len(y)).astype("f4")
    n_classes = int(y.max()) + 1

    def sequence(memory: str, **options: Any) -> zarrts.ZarrSequence:
        opened.append(zarrts.ZarrSequence(store, batch_size, memory=memory, **options))
        return opened[-1]

    def fit(**feed: Any) -> Callable[[], Taken]:
        model = almost_nothing(x.shape[1:], n_classes)
        return lambda: later_epochs(
            lambda clock: model.fit(**feed, epochs=1 + epochs, verbose=0, callbacks=[clock])
        )

    def once(method: str, *data: Any, **options: Any) -> Callable[[], Taken]:
        model = almost_nothing(x.shape[1:], n_classes)

        def run(clock: Clock) -> None:
            for _ in range(1 + epochs):
                getattr(model, method)(*data, **options, verbose=0, callbacks=[clock])

        return lambda: later_epochs(run)

    within, whole = sequence(WITHIN), sequence(ALL)
    in_ram: dict[str, Any] = {"x": x, "y": y, "batch_size": batch_size}
    ways: Ways = {
        f"loop, {WITHIN}": lambda: loop(within),
        "loop, all in budget": lambda: loop(whole),
        f"Keras' batches, {WITHIN}": lambda: loop(batches_of_keras(within)),
        "Keras' batches, all in budget": lambda: loop(batches_of_keras(whole)),
        "fit, one batch again and again": fit(x=SameBatch(x, y, batch_size)),
        "fit, arrays in RAM": fit(**in_ram),
        f"fit, {WITHIN}": fit(x=within),
        "fit, all in budget": fit(x=whole),
        "fit weighted, arrays in RAM": fit(**in_ram, sample_weight=weights),
        f"fit weighted, {WITHIN}": fit(x=sequence(WITHIN, sample_weight=weights)),
    }
    if keras.backend.backend() == "tensorflow":
        ways[f"fit, to_tf_dataset, {WITHIN}"] = fit(x=sequence(WITHIN).to_tf_dataset())
    for method in ("evaluate", "predict"):
        data = (x, y) if method == "evaluate" else (x,)
        ways[f"{method}, arrays in RAM"] = once(method, *data, batch_size=batch_size)
        for name, memory in ((WITHIN, WITHIN), ("all in budget", ALL)):
            ways[f"{method}, {name}"] = once(method, sequence(memory, shuffle=False))
    compared = {
        name: f"{name.partition(',')[0]}, arrays in RAM" for name in ways if name[:4] != "loop"
    }
    compared = {a: b for a, b in compared.items() if b in ways and a != b}
    return ways, compared, opened


def print_table(
    path: Path,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    batch_sizes: list[int],
    rounds: int,
    epochs: int = 2,
) -> dict[str, dict[str, list[Taken]]]:
    """Print and return the seconds of an epoch of each way, round by round."""
    found: dict[str, dict[str, list[Taken]]] = {}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"Keras {keras.__version__} on {keras.backend.backend()}, {len(y):,} samples of "
        f"{x.shape[1:]}, a model that does almost nothing; load before: {load:.1f}"
    )
    for batch_size in batch_sizes:
        with zarrts.open(path) as store:
            ways, compared, opened = ways_of(store, x, y, batch_size, epochs)
            seconds: dict[str, list[Taken]] = {name: [] for name in ways}
            for number in range(rounds + 1):
                for name, way in ways.items():
                    taken = way()
                    if number:  # the first compiles
                        seconds[name].append(taken)
            for sequence in opened:
                sequence.close()
        n_batches = -(-len(y) // batch_size)
        heads = f"{'samples/s':>12}{'ms a batch':>12}{'of CPU':>8}{'to RAM':>8}"
        print(f"\nbatches of {batch_size:<20}{heads}")
        for name, each in seconds.items():
            ratio = ""
            if name in compared:
                pairs = zip(seconds[compared[name]], each, strict=True)
                ratio = f"{median(ram.wall / ours.wall for ram, ours in pairs):.2f}"
            mid, processors = (median(it) / n_batches for it in zip(*each, strict=True))
            per_s = len(y) / n_batches / mid
            print(f"{name:31}{per_s:12,.0f}{1e3 * mid:12.2f}{1e3 * processors:8.2f}{ratio:>8}")
        found[str(batch_size)] = seconds
    return found
