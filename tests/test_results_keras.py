"""The answer of a network to each sample, beside its true class, its file and its time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrts
import zarrts.results

keras = pytest.importorskip("keras", exc_type=ImportError)

RATE, LENGTH = 10, 20


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three recordings of unequal lengths, with a class a row, some without one."""
    rng = np.random.default_rng(0)
    some = []
    for number, n_rows in enumerate((110, 65, 93)):
        y = np.array(["N", "W"])[rng.integers(0, 2, n_rows)].astype("U1")
        y[40:60] = ""
        x = rng.normal(size=(n_rows, 2)).astype("f4")
        some.append(zarrts.Recording(f"s{number}", x, y))
    folder = tmp_path_factory.mktemp("nights")
    store = zarrts.convert(some, folder / "a.zarr", kind="ragged", rate_hz=RATE, progress=False)
    return store, some


def network(n_outputs: int) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((LENGTH, 2))
    outputs = keras.layers.Dense(n_outputs, activation="softmax")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, outputs)


def test_evaluations_keep_each_sample_with_its_file_and_time(nights: Any, tmp_path: Path) -> None:
    store, some = nights
    windows = store.samples.select(subjects=["s1", "s2"]).windows(LENGTH, 15, label="last")
    model = network(2)
    with zarrts.ZarrSequence(windows, 4, shuffle=False) as seq:
        found = zarrts.evaluate(model, windows, like=seq, predictions=True)
        assert zarrts.evaluate(model, windows, like=seq).predictions is None
    kept = found.predictions
    assert kept is not None
    np.testing.assert_array_equal(kept.sample_ids, windows.labelled().ids)
    expected, position = np.zeros((2, 2), np.int64), 0
    assert kept.places is not None
    assert kept.true is not None
    for number in (1, 2):
        x, y = some[number].x, some[number].y
        for start in range(0, len(x) - LENGTH + 1, 15):
            last = y[start + LENGTH - 1]
            if not last:
                continue  # without a label: neither right nor wrong
            assert kept.recordings[position] == number
            assert kept.places.starts[position] == start
            assert kept.places.stops[position] == start + LENGTH
            assert kept.true[position] == ["N", "W"].index(last)
            own = model.predict_on_batch(x[None, start : start + LENGTH])[0]
            np.testing.assert_allclose(kept.values[position], own, rtol=1e-4)
            expected[kept.true[position], own.argmax()] += 1
            position += 1
    assert position == len(kept)
    np.testing.assert_array_equal(found.total, expected)
    found.save(tmp_path / "a.npz")
    again = zarrts.results.Evaluation.load(tmp_path / "a.npz")
    assert again.predictions.places.sources == tuple(it.source for it in store.recordings)
    assert again.predictions.places.rate_hz == RATE


def test_predictions_of_files_have_file_and_rows(nights: Any, tmp_path: Path) -> None:
    store, some = nights
    for number, it in enumerate(some):
        np.save(tmp_path / f"f{number}.npy", it.x)
    windows = store.samples.windows(LENGTH, 15, label="last")
    model = network(2)
    with zarrts.ZarrSequence(windows, 4, shuffle=False) as seq:
        found = zarrts.predict(model, tmp_path, like=seq, stride=15)
    assert found.places is not None
    position = 0
    for number, it in enumerate(some):
        for start in range(0, len(it.x) - LENGTH + 1, 15):
            assert found.places.sources[found.recordings[position]] == f"f{number}.npy"
            assert found.places.starts[position] == start
            assert found.places.stops[position] == start + LENGTH
            position += 1
    assert position == len(found)


def test_samples_of_equal_length_are_counted_in_their_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    some = [
        zarrts.Recording(name, rng.normal(size=(n, LENGTH, 2)).astype("f4"), np.arange(n) % 2)
        for name, n in (("a", 5), ("b", 3))
    ]
    store = zarrts.convert(some, tmp_path / "a.zarr", progress=False, rate_hz=RATE)
    with zarrts.ZarrSequence(store, 4, shuffle=False) as seq:
        found = zarrts.evaluate(network(2), store, like=seq, predictions=True).predictions
    assert found is not None
    assert found.places is not None
    assert found.places.starts.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert found.places.rate_hz is None  # rows are samples, not time steps
    assert found.places.subjects == ("a", "b")
