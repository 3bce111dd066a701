"""A store of numbered samples, and models that take note of them, for the tests of ZarrSequence."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import zarrts

SAMPLE_SHAPE = (6, 3)
# Of 1 KiB chunks, the small budget holds nine at once; the large one holds every store here.
SMALL, LARGE = "12KiB", "16MiB"

Fed = list[tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Numbered:
    """A store whose sample i holds i at x[0, 0], so that a batch tells which samples it has.

    Attributes
    ----------
    path : Path
        Of the store, in which a chunk holds 14 samples.
    x, y : array
        All samples and labels in the order of the store, as saved.
    codes : int array, shape (n_samples,), or None
        Position of each label among the sorted distinct labels; None for fractions.
    subject : str array
        Of each sample.
    """

    path: Path
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    codes: np.ndarray[Any, Any] | None
    subject: np.ndarray[Any, Any]


def make_numbered(
    folder: Path,
    make_study: Callable[..., Any],
    labels: str = "int",
    sizes: tuple[int, ...] = (37, 60, 23, 41),
    dtype: str = "float32",
) -> Numbered:
    """Convert a study whose samples are numbered."""
    study = make_study(
        folder / "people", sizes=sizes, sample_shape=SAMPLE_SHAPE, labels=labels, dtype=dtype
    )
    start = 0
    for name, x, y in zip(study.names, study.x, study.y, strict=True):
        x[:, 0, 0] = np.arange(start, start + len(x))
        np.savez(study.folder / f"{name}.npz", x=x, y=y)
        start += len(x)
    zarrts.convert(
        study.folder, folder / "study.zarr", chunk="1KiB", shard="8KiB", progress=False
    ).close()
    y = study.all_y
    codes = None
    if labels == "one_hot":
        codes = y.argmax(axis=1)
    elif labels != "float":
        codes = np.unique(y, return_inverse=True)[1]
    return Numbered(folder / "study.zarr", study.all_x, y, codes, study.subject)


class _Log:
    """Hides lists from Keras, which would track them."""

    def __init__(self) -> None:
        self.train: Fed = []
        self.test: Fed = []
        self.predict: Fed = []


class Recorder(keras.Model):
    """Learns nothing; keeps a copy of all that it is fed, and predicts x[0, 0]."""

    @staticmethod
    def make(**compile_options: Any) -> "Recorder":
        inputs = keras.Input(SAMPLE_SHAPE)
        model = Recorder(inputs, keras.layers.Dense(1)(inputs))
        model.compile(run_eagerly=True, **compile_options)
        model.log = _Log()
        return model

    def train_step(self, *args: Any) -> Any:
        self.log.train.append(_copied(args[-1]))
        return self._with_state({"loss": keras.ops.zeros(())}, args)

    def test_step(self, *args: Any) -> Any:
        self.log.test.append(_copied(args[-1]))
        return self._with_state({"loss": keras.ops.zeros(())}, args)

    def predict_step(self, *args: Any) -> Any:
        self.log.predict.append(_copied(args[-1]))
        x = keras.utils.unpack_x_y_sample_weight(args[-1])[0]
        if keras.backend.backend() == "jax":
            return x[:, 0, 0], args[0][1]
        return x[:, 0, 0]

    @staticmethod
    def _with_state(logs: Any, args: Any) -> Any:
        return (logs, args[0]) if keras.backend.backend() == "jax" else logs


def _copied(step: Any) -> tuple[Any, Any, Any]:
    parts = keras.utils.unpack_x_y_sample_weight(step)
    return tuple(None if it is None else keras.ops.convert_to_numpy(it).copy() for it in parts)


class _CountSamples(keras.layers.Layer):
    """Counts how often each sample passes, and says what its label has to be."""

    def __init__(self, expected: Any, **options: Any) -> None:
        super().__init__(**options)
        self._expected = np.asarray(expected, "float32")

    def build(self, shape: Any) -> None:
        n_samples = len(self._expected)
        self.counts = self.add_weight(shape=(n_samples,), initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x: Any) -> Any:
        numbers = keras.ops.cast(x[:, 0, 0], "int32")
        hits = keras.ops.one_hot(numbers, len(self._expected), dtype="float32")
        self.counts.assign(self.counts + keras.ops.sum(hits, axis=0))
        expected = keras.ops.take(keras.ops.convert_to_tensor(self._expected), numbers)
        return expected[:, None] + 0 * self.scale


def make_counting_model(expected: Any, *, is_built: bool = True, **compile_options: Any) -> Any:
    """Return a compiled model whose first layer has `counts`, and whose error has to be 0.

    It runs as users' models do, compiled to a graph or by XLA.
    """
    layers = [keras.Input(SAMPLE_SHAPE)] if is_built else []
    model = keras.Sequential([*layers, _CountSamples(expected)])
    model.compile("sgd", _distance, **compile_options)
    return model


def _distance(y_true: Any, y_pred: Any) -> Any:
    """Of our own: of Keras' distances between positions of classes, zarrts warns."""
    return keras.losses.mean_absolute_error(y_true, y_pred)


def counts_of(model: Any) -> set[float]:
    """Return how often samples passed through a counting model; one number if all as often."""
    return set(keras.ops.convert_to_numpy(model.layers[-1].counts).tolist())


def numbers(fed: Fed) -> list[list[int]]:
    """Return the numbers of the samples in each batch."""
    return [[int(it) for it in np.asarray(x)[:, 0, 0]] for x, *_ in fed]


def flat(batches: list[list[int]]) -> list[int]:
    """Return the numbers of all batches, in order."""
    return [it for batch in batches for it in batch]
