"""The snippets of docs/keras.md run, one after the other, where their framework is installed."""

import inspect
import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)

PAGE = (Path(__file__).parents[1] / "docs" / "keras.md").read_text("utf-8")
NEEDS = {"to_tf_dataset": "tensorflow", "to_torch": "torch", "tensorflow": "tensorflow"}


def build_network(store):
    model = keras.Sequential(
        [
            keras.Input(store.sample_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(store.n_classes, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


def can_run(code):
    if "DataParallel" in code and keras.backend.backend() != "jax":
        return False
    if "fit(dataset" in code and keras.backend.backend() == "torch":
        return False
    return all(find_spec(package) for word, package in NEEDS.items() if word in code)


def test_snippets_run(tmp_path, make_study, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path / "people", sizes=(40, 30, 20), labels="text")
    found = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(found) >= 8
    with zarrts.convert(study.folder, tmp_path / "study.zarr", progress=False) as store:
        train, val = store.samples.split(val=["s02"])
        scope = {"zarrts": zarrts, "store": store, "train": train, "val": val}
        scope["build_network"] = build_network
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            for code in filter(can_run, found):
                # The real strategy has to be made before anything else is, and then stays.
                exec(
                    code.replace("MultiWorkerMirroredStrategy(", 'OneDeviceStrategy("CPU:0"'), scope
                )
                for it in scope.values():
                    if isinstance(it, zarrts.ZarrSequence):
                        it.close()
        np.testing.assert_array_equal(scope["ids"], val.ids)
        if find_spec("tensorflow"):
            assert capsys.readouterr().out == "5 (None, 6, 3)\n"
            assert (scope["state"]["epoch"], scope["state"]["batch"]) == (2, 0)
    assert not (tmp_path / "backup" / "backup-0.npz").exists()


def test_every_argument_has_a_line():
    table = PAGE[: PAGE.index("| call |")]
    for name in inspect.signature(zarrts.ZarrSequence.__init__).parameters:
        if name not in ("self", "unknown"):
            assert re.search(rf"^\|[^|]*`{name}`", table, re.M), name
