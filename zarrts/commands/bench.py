"""Measure how fast this machine reads a store, stage by stage, and what limits it."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np

from zarrts.batch import Batch
from zarrts.commands.rates import BenchReport, Rate
from zarrts.commands.verdict import verdict_of
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions
from zarrts.loading.postprocessing import Treatment
from zarrts.loops import library
from zarrts.reading.memory import aligned_empty
from zarrts.samples import Samples
from zarrts.storage.chunks import DirectReader
from zarrts.storage.ranged import RangedReader
from zarrts.store import open_store
from zarrts.types import AnyArray

_RAM_BATCHES = 32


def measure_store(
    path: str,
    *,
    batch_size: int = 128,
    memory: int = 512 << 20,
    workers: int | None = None,
    seconds: float = 5.0,
    fit: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> BenchReport:
    """Measure reading, decoding, gathering, the loader, and (with Keras) a small network.

    Parameters
    ----------
    path : str
        Of the store.
    batch_size, memory, workers
        As for `Samples.batches`; `memory` in bytes.
    seconds : float
        At most so long for each figure.
    fit : bool
        Whether to train, where Keras is installed.
    """
    with open_store(path, storage_options=storage_options) as store:
        return _measured(
            store.samples,
            batch_size=batch_size,
            memory=memory,
            workers=workers,
            seconds=seconds,
            fit=fit,
        )


def _measured(
    samples: Samples,
    *,
    batch_size: int,
    memory: int,
    workers: int | None,
    seconds: float,
    fit: bool,
) -> BenchReport:
    dtype = np.dtype(np.float32)
    is_ragged = samples.store.is_ragged
    options = BatchOptions(
        batch_size=batch_size,
        dtype=dtype,
        memory=memory,
        workers=workers,
        pad="batch" if is_ragged else None,
    )
    loader = EpochLoader(samples.selection, options)
    is_direct = all(reader.is_direct for reader in samples.store.readers.x)
    is_remote = any(reader.is_remote for reader in samples.store.readers.x)
    rates = []
    if is_direct:
        steps = _read_only(samples, options.n_threads)
        rates.append(_rate("read (compressed)", steps, samples, seconds))
    rates += [
        _rate("read and decode", _decode(samples, options.n_threads), samples, seconds),
        _rate("gather (from memory)", _gather(samples, batch_size), samples, seconds),
        *_loader_rates(loader, samples, seconds),
    ]
    keeps_all = loader.keeps_all
    loader.close()
    backend = ""
    if fit and not is_ragged and _can_fit(samples):
        rates += _fit_rates(samples, options, seconds)
        backend = _describe_keras()
    return BenchReport(
        store=samples.store.path,
        way="straight into memory" if is_direct else "through zarr-python",
        n_threads=options.n_threads,
        rates=tuple(rates),
        verdict=verdict_of(
            {rate.stage: rate.samples_per_s for rate in rates},
            keeps_all=keeps_all,
            is_remote=is_remote,
            memory_bytes=options.memory_bytes,
        ),
        is_remote=is_remote,
        loops=library.describe(),
        unit="time steps" if is_ragged else "samples",
        backend=backend,
    )


# Each stage yields how many samples it has just done ----------------------------------------


def _rate(stage: str, steps: Iterator[int], samples: Samples, seconds: float) -> Rate:
    started = time.perf_counter()
    first = next(steps)  # touches fresh memory and opens files: counts only if it is all
    done, begun, elapsed = 0, started, 0.0
    started = time.perf_counter()
    for count in steps:
        done += count
        elapsed = time.perf_counter() - started
        if elapsed > seconds:
            break
    if done == 0:
        done, elapsed = first, started - begun
    sample_bytes = samples.store.readers.x[0].spec.row_bytes
    rate = done / max(elapsed, 1e-9)
    return Rate(stage, rate, rate * sample_bytes)


def _in_threads(
    samples: Samples, n_threads: int, work: Callable[[int, int, int], int]
) -> Iterator[int]:
    """Yield what `work(segment, chunk, thread)` returns, a round of all threads at a time."""
    store = samples.store
    chunks = [
        (segment, chunk)
        for segment, reader in enumerate(store.readers.x)
        for chunk in np.random.default_rng(0).permutation(reader.spec.n_chunks).tolist()
    ]
    step = 16

    def many(thread: int, part: list[tuple[int, int]]) -> int:
        readers = store.readers.x
        asked = [  # kept until it is read
            readers[segment].will_need(chunk)
            for segment, chunk in part
            if readers[segment].is_remote
        ]
        n_samples = sum(work(segment, chunk, thread) for segment, chunk in part)
        del asked
        return n_samples

    with ThreadPoolExecutor(n_threads) as pool:
        for start in range(0, len(chunks), n_threads * step):
            parts = [
                chunks[start + thread * step : start + (thread + 1) * step]
                for thread in range(n_threads)
            ]
            yield sum(pool.map(many, range(n_threads), parts))


def _read_only(samples: Samples, n_threads: int) -> Iterator[int]:
    of_inputs = [
        [it for it in one.held if isinstance(it, DirectReader | RangedReader)]
        for one in samples.store.readers.inputs
    ]

    def read(segment: int, chunk: int, thread: int) -> int:
        for readers in of_inputs:
            readers[segment].read_encoded(chunk)
        return of_inputs[0][segment].spec.rows_of(chunk)

    return _in_threads(samples, n_threads, read)


def _decode(samples: Samples, n_threads: int) -> Iterator[int]:
    of_inputs = [one.held for one in samples.store.readers.inputs]
    largest = [max((it.spec for it in some), key=lambda it: it.chunk_rows) for some in of_inputs]
    buffers = [[np.empty(it.chunk_shape, it.dtype) for it in largest] for _ in range(n_threads)]

    def decode(segment: int, chunk: int, thread: int) -> int:
        for readers, buffer in zip(of_inputs, buffers[thread], strict=True):
            readers[segment].read_into(chunk, buffer[: readers[segment].spec.chunk_rows])
        return of_inputs[0][segment].spec.rows_of(chunk)

    return _in_threads(samples, n_threads, decode)


def _gather(samples: Samples, batch_size: int) -> Iterator[int]:
    """Gather batches from samples in RAM, as if the whole store were there."""
    specs = [it.spec for it in samples.store.readers.inputs]
    row_bytes = sum(it.row_bytes for it in specs)
    n_rows = max(1, min(specs[0].shape[0], (256 << 20) // row_bytes))
    memory: list[AnyArray] = [np.zeros((n_rows, *it.row_shape), it.dtype) for it in specs]
    rng = np.random.default_rng(0)
    finish = Treatment(dtype=np.dtype(np.float32))
    for _ in range(100_000):
        rows = rng.integers(0, n_rows, batch_size)
        for spec, source in zip(specs, memory, strict=True):
            out = aligned_empty((batch_size, *spec.row_shape), finish.dtype)
            finish.gather(source, rows, 1, out, rows, None)
        yield batch_size


def _loader_rates(loader: EpochLoader, samples: Samples, seconds: float) -> list[Rate]:
    """Measure the first epoch and later ones, in which memory is warm."""
    rates = []
    for stage, epoch in (("loader, first epoch", 0), ("loader, later epochs", 1)):
        with loader.stream(epoch) as stream:
            started, done, elapsed = time.perf_counter(), 0, 0.0
            for batch in stream:
                done += len(batch.sample_id) if batch.length is None else _n_rows(batch, samples)
                elapsed = time.perf_counter() - started
                if elapsed > seconds:
                    break
            rate = done / max(elapsed, 1e-9)
            sample_bytes = samples.store.readers.x[0].spec.row_bytes
            rates.append(Rate(stage, rate, rate * sample_bytes, stream.waited_s / elapsed))
    return rates


def _n_rows(batch: Batch, samples: Samples) -> int:
    """Return how many rows of the store the samples of a batch are, without padding."""
    if not isinstance(batch.length, dict):
        return int(batch.length.sum())
    name, length = next(iter(batch.length.items()))
    return int(length.sum()) // samples.store.header.segments[0].inputs[name].steps


def _fit_rates(samples: Samples, options: BatchOptions, seconds: float) -> list[Rate]:
    """Train a small network from arrays in RAM, and then from the store."""
    import keras

    from zarrts.keras.sequence import ZarrSequence

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        """Counts batches from the fourth on, and ends the training after some seconds."""

        n_batches, started, elapsed = -3, 0.0, 0.0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.n_batches += 1
            if self.n_batches == 0:
                self.started = time.perf_counter()
            self.elapsed = time.perf_counter() - self.started
            if self.n_batches > 0 and self.elapsed > seconds:
                self.model.stop_training = True

        def rate(self, stage: str) -> Rate:
            per_s = max(0, self.n_batches) * options.batch_size / max(self.elapsed, 1e-9)
            return Rate(stage, per_s, per_s * samples.store.readers.x[0].spec.row_bytes)

    sample_shape = samples.store.readers.x[0].spec.row_shape
    model = build_network(sample_shape, samples.store.n_classes or 1)
    from_ram, from_store = Clock(), Clock()
    with ZarrSequence(
        samples, options.batch_size, memory=options.memory_bytes, workers=options.workers
    ) as seq:
        some = [seq[i] for i in range(min(len(seq), _RAM_BATCHES))]
        x, y = (np.concatenate([batch[k] for batch in some]) for k in (0, 1))
        for clock, data in ((from_ram, (x, y)), (from_store, (seq,))):
            model.fit(*data, **_fit_arguments(data, options), callbacks=[clock])
    return [from_ram.rate("fit, arrays in RAM"), from_store.rate("fit, this store")]


def _describe_keras() -> str:
    import keras

    return f"Keras {keras.__version__} on {keras.backend.backend()}"


def _fit_arguments(data: tuple[Any, ...], options: BatchOptions) -> dict[str, Any]:
    arguments: dict[str, Any] = {"epochs": 1_000_000, "verbose": 0}
    return arguments | ({"batch_size": options.batch_size} if len(data) == 2 else {})


def _can_fit(samples: Samples) -> bool:
    """Whether x is one array, labels one number or class each, and Keras is there."""
    if len(samples.store.readers.inputs) > 1:
        return False
    return not samples.store.readers.y[0].spec.row_shape and find_spec("keras") is not None


def build_network(sample_shape: tuple[int, ...], n_classes: int) -> Any:
    """Return a small compiled Conv1D network; with one class, it predicts a number."""
    import keras
    from keras import layers

    steps = int(np.prod(sample_shape[:-1], dtype=np.int64))
    outputs = layers.Dense(n_classes, activation="softmax" if n_classes > 1 else None)
    model = keras.Sequential(
        [
            layers.Input(sample_shape),
            layers.Reshape((steps, sample_shape[-1] if sample_shape else 1)),
            layers.Conv1D(16, min(5, steps), strides=min(2, steps), activation="relu"),
            layers.GlobalAveragePooling1D(),
            outputs,
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy" if n_classes > 1 else "mse")
    return model
