"""The snippets of docs/windows.md run, give what Keras' tools give, and name all arguments."""

import inspect
import re
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import zarrts
from zarrts.indexing.windows import WindowLabel

keras = pytest.importorskip("keras", reason="windows replace tools of Keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("timeseries_dataset_from_array makes a tf.data set", allow_module_level=True)

from keras.src.legacy.preprocessing.sequence import TimeseriesGenerator  # noqa: E402

TEXT = (Path(__file__).parents[1] / "docs" / "windows.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
SECONDS = (330, 290, 305)


def build_network(shape, n_classes):
    layers = [keras.Input(shape), keras.layers.Conv1D(2, 9, strides=20)]
    layers += [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(n_classes, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """The names that each snippet leaves behind, run one after the other beside some nights."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("windows")
    rng = np.random.default_rng(0)
    (folder / "nights").mkdir()
    for i, seconds in enumerate(SECONDS):
        x = rng.normal(size=(seconds * 100, 2)).astype(np.float32)
        stages = np.array(["N2", "R", "W"])[np.arange(-(-seconds // 30)) % 3]
        np.savez(folder / "nights" / f"p{i}.npz", x=x, y=stages)
    series = {"x": rng.normal(size=(400, 2)).astype(np.float32), "y": rng.integers(0, 4, 400)}
    names = {
        "zarrts": zarrts,
        "keras": keras,
        "tf": tf,
        "TimeseriesGenerator": TimeseriesGenerator,
        "build_network": build_network,
    }
    found = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.chdir(folder)
        for number, code in enumerate(SNIPPETS):
            names |= series
            # Two snippets convert different things, each as if it were the only one.
            exec(code.replace("series.zarr", f"series{number}.zarr"), names)
            found.append(dict(names))
        yield lambda words: found[next(i for i, it in enumerate(SNIPPETS) if words in it)]


def joined(batches):
    return [np.concatenate(part) for part in zip(*batches, strict=True)]


def test_timeseriesgenerator_is_replaced_in_five_lines(after):
    names = after("TimeseriesGenerator(")
    generator = names["generator"]
    expected = joined(generator[i] for i in range(len(generator)))
    for one, other in zip(joined(names["seq"]), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_timeseries_dataset_is_replaced_in_five_lines(after):
    names = after("timeseries_dataset_from_array(")
    expected = joined((x.numpy(), y.numpy()) for x, y in names["dataset"])
    for one, other in zip(joined(names["seq"]), expected, strict=True):
        assert len(one) == len(other) + 9
        np.testing.assert_array_equal(one[:-9], other)


def test_nights_have_a_stage_for_each_half_minute(after):
    names = after('label="majority")\ntrain')
    expected = [i % 3 for seconds in SECONDS for i in range(seconds // 30)]
    assert names["windows"].load_labels().tolist() == expected
    sequences = after("sequences(5")["nights"]
    assert [it.shape for it in sequences[0]] == [(5, 3000, 2), (5,)]
    assert len(sequences) == sum(seconds // 30 - 4 for seconds in SECONDS)


def test_ragged_tensors_are_the_recordings(after):
    names = after("RaggedTensor")
    ids, ragged = names["batch"].sample_id, names["ragged"]
    for number, row in zip(ids, ragged, strict=True):
        np.testing.assert_array_equal(row.numpy(), names["store"].samples[int(number)][0])


def test_every_argument_of_keras_has_a_line():
    for function in (TimeseriesGenerator, keras.utils.timeseries_dataset_from_array):
        table = TEXT.split(f"| {function.__name__} | here |\n")[1].split("\n\n")[0]
        named = set(re.findall(r"`(\w+)", table))
        assert set(inspect.signature(function).parameters) - {"kwargs"} <= named, function.__name__


def test_every_label_has_a_line():
    table = TEXT.split("| `label=` |")[1].split("\n\n")[0]
    kinds = get_args(get_args(WindowLabel)[0])
    assert {f'`"{kind}"`' for kind in kinds} <= set(re.findall(r'`"\w+"`', table))
