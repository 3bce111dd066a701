"""The whole way on real data: ten people's smartwatch recordings, to a trained network.

Data: 140 recordings of accelerometer and gyroscope at 50 Hz during seven shoulder exercises
(Burns et al., "Shoulder physiotherapy exercise recognition: machine learning the inertial
signals from a smartwatch", Physiological Measurement 39, 2018), as the package seglearn ships
them. Published for unseen people (Burns and Whyne, arXiv:1802.01489): 0.873 correct.
"""

import hashlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.api import convert
from zarrts.errors import SourceError
from zarrts.samples import Samples
from zarrts.sources import load_arrays
from zarrts.store import Store
from zarrts.system import quiet_stderr

_DATA_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
_PUBLISHED_MEAN = 0.873
_LENGTH, _STEP, _RATE_HZ = 200, 100, 50.0
_VALIDATES, _TESTED = "s03", "s07"
_BACKENDS = ("tensorflow", "jax", "torch")

Say = Callable[[str], Any]


@dataclass(frozen=True)
class Result:
    """The result of a network on a person whom it never saw."""

    person: str
    accuracy: float
    history: dict[str, list[float]]


def run_demo(folder: Path, *, leave_each_out: bool, epochs: int, say: Say) -> list[Result]:
    """Convert the recordings into `folder`, train, and say how it went."""
    recordings = read_watch()
    people = write_people(recordings, folder / "people")
    n_classes = len(recordings["y_labels"])
    n_recordings = len(recordings["X"])
    say(f"data     {len(people)} people, {n_recordings} recordings, {n_classes} exercises")
    started = time.perf_counter()
    store = convert(
        folder / "people",
        folder / "study.zarr",
        channels=recordings["X_labels"].tolist(),
        rate_hz=_RATE_HZ,
        overwrite=True,
        restart=True,
    )
    seconds = time.perf_counter() - started
    say(f"convert  {len(people)} files -> {(folder / 'study.zarr').as_posix():22} {seconds:.0f} s")
    _start_keras()
    results = _all_people(store, epochs, say) if leave_each_out else [_one(store, epochs, say)]
    picture = folder / "learning.png"
    _draw(results, picture)
    say(f"picture  {picture.as_posix()}")
    say("next     zarrts convert --dry-run YOUR_FOLDER")
    return results


def _start_keras() -> None:
    """Start the backend, without what TensorFlow says of GPUs that are not there."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _choose_backend()
    # TensorFlow heeds that only once it runs; https://github.com/tensorflow/tensorflow/issues/100442
    with quiet_stderr():
        from zarrts.backend import keras

        keras.ops.zeros(1)


def _choose_backend() -> None:
    """Let Keras start on a backend that is installed, unless the user names one.

    Keras starts on TensorFlow where nothing is said. Its file keras.json is no word of the user's:
    Keras writes it by itself.
    """
    if "KERAS_BACKEND" in os.environ or "keras" in sys.modules:
        return
    installed = [it for it in _BACKENDS if find_spec(it)]
    if installed and "tensorflow" not in installed:
        os.environ["KERAS_BACKEND"] = installed[0]


def _find_data() -> Path:
    """Return the file of recordings, without importing the package that ships it."""
    spec = find_spec("seglearn")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("The demo's data are missing: python -m pip install 'zarrts[demo]'")
    path = Path(spec.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    if not path.exists():
        raise SourceError(f"{path} is missing: python -m pip install --force-reinstall seglearn")
    return path


def read_watch() -> dict[str, Any]:
    """Return the recordings: lists X, y and subject, and the names X_labels and y_labels.

    Raises
    ------
    ImportError
        If the package that ships them is not installed.
    """
    path = _find_data()
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _DATA_SHA256:
        raise SourceError(f"{path} is not the file that this demo was written for.")
    return load_arrays(str(path))


def write_people(recordings: dict[str, Any], folder: Path) -> list[Path]:
    """Write one file per person: windows of 200 time steps, every 100, with their exercise."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array(recordings["y_labels"])
    paths = []
    for person in np.unique(recordings["subject"]):
        windows, labels = [], []
        for i in np.flatnonzero(recordings["subject"] == person):
            series = recordings["X"][i].astype(np.float32)
            starts = range(0, len(series) - _LENGTH + 1, _STEP)
            windows += [series[start : start + _LENGTH] for start in starts]
            labels += [names[recordings["y"][i]]] * len(starts)
        paths.append(folder / f"s{person:02d}.npz")
        np.savez(paths[-1], data=np.stack(windows), labels=np.array(labels))
    return paths


def _one(store: Store, epochs: int, say: Say) -> Result:
    train, val, test = store.samples.split(val=[_VALIDATES], test=[_TESTED])
    n_people = len(train.subjects)
    say(f"train    {n_people} people; {_VALIDATES} validates; {_TESTED} never seen")
    result = _train(train, val, test, epochs)
    say(f"result   {_TESTED}: {result.accuracy:.2f} correct")
    say(f"         all ten people, one by one: zarrts demo --all; published mean {_PUBLISHED_MEAN}")
    return result


def _all_people(store: Store, epochs: int, say: Say) -> list[Result]:
    say("train    10 times on 8 people; the next one validates, the one named is never seen")
    results = []
    for train, val, test in store.samples.folds(val=1):
        results.append(_train(train, val, test, epochs))
        say(f"         {results[-1].person}: {results[-1].accuracy:.2f} correct")
    found = [result.accuracy for result in results]
    say(
        f"result   mean {np.mean(found):.3f} correct, single people {min(found):.2f} to "
        f"{max(found):.2f}; published mean {_PUBLISHED_MEAN}"
    )
    return results


def _train(train: Samples, val: Samples, test: Samples, epochs: int) -> Result:
    import keras

    from zarrts.keras.sequence import ZarrSequence

    keras.utils.set_random_seed(0)
    model = build_network(train.store.sample_shape, train.store.n_classes or 0)
    with ZarrSequence(train, batch_size=64, stats=train.stats()) as seq:
        history = model.fit(seq, validation_data=seq.like(val), epochs=epochs, verbose=0).history
        accuracy = model.evaluate(seq.like(test), verbose=0, return_dict=True)["accuracy"]
    return Result(test.subjects[0], float(accuracy), history)


def build_network(sample_shape: tuple[int | None, ...], n_classes: int) -> Any:
    """Return a small compiled Conv1D classifier."""
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input(sample_shape)])
    for filters, steps in ((32, 9), (64, 7), (64, 5)):
        model.add(layers.Conv1D(filters, steps, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.MaxPooling1D(2))
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(n_classes, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _draw(results: list[Result], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("The picture needs: python -m pip install 'zarrts[plot]'") from error
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    if len(results) == 1:
        _draw_epochs(axes, results[0])
    else:
        bars = axes.bar([it.person for it in results], [it.accuracy for it in results])
        axes.bar_label(bars, fmt="{:.2f}", label_type="center", color="white")
        mean = float(np.mean([it.accuracy for it in results]))
        axes.axhline(mean, color="#d9822b", label=f"mean {mean:.3f}")
        label = f"published mean {_PUBLISHED_MEAN}"
        axes.axhline(_PUBLISHED_MEAN, ls=":", color="k", label=label)
        axes.set(xlabel="person left out", title="Each person, by a network that never saw them")
    axes.set(ylabel="correct (share of samples)", ylim=(0, 1.05))
    axes.legend(loc="lower right", framealpha=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.savefig(path, dpi=120)


def _draw_epochs(axes: Any, result: Result) -> None:
    """Draw the share that is correct after each epoch, and of the person tested a single point."""
    n_epochs = len(result.history["accuracy"])
    epochs = np.arange(1, 1 + n_epochs)
    for name, label in (
        ("accuracy", "8 people trained on"),
        ("val_accuracy", f"{_VALIDATES}, validating"),
    ):
        axes.plot(epochs, result.history[name], ".-", label=label)
    # Tested once, when training is over: no line over all epochs.
    label = f"{result.person}, never seen: {result.accuracy:.2f}"
    axes.plot([n_epochs], [result.accuracy], "D", ms=8, color="k", label=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", title="Seven exercises, told from a smartwatch")
