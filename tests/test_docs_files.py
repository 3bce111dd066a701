"""The snippets of docs/files.md and docs/class_folders.md run, and their table is complete."""

import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from edf_files import NO_WHEEL

import zarrts

DOCS = Path(__file__).parents[1] / "docs"


def snippets(name):
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text("utf-8"), re.M | re.S)


@pytest.fixture
def scope(tmp_path, monkeypatch):
    """A folder with what the snippets read."""
    pyedflib = pytest.importorskip("pyedflib", reason=NO_WHEEL)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("objects", "sleep-edf", "recordings/running", "recordings/walking"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "watches").mkdir()
    lines = [f"2026-03-01 10:00:{it / 10:06.3f},{it},{-it},1,sit" for it in range(50)]
    Path("watches/a.csv").write_text("\n".join(["when,ax,ay,az,activity", *lines]))
    for i, name in enumerate(("running/a", "running/b", "walking/c", "walking/d")):
        np.save(f"recordings/{name}.npy", rng.normal(size=(20, 2)) + i)
    rates = {"EEG Fpz-Cz": 10, "EEG Pz-Oz": 10, "EMG submental": 1}
    headers = [
        pyedflib.highlevel.make_signal_header(name, "uV", rate, -200, 200, -2000, 2000)
        for name, rate in rates.items()
    ]
    for stem, some in (("SC4001E0-PSG", headers), ("SC4001EC-Hypnogram", [])):
        path = f"sleep-edf/{stem}.edf"
        with pyedflib.EdfWriter(path, len(some), pyedflib.FILETYPE_EDFPLUS) as file:
            file.setSignalHeaders(some)
            if some:
                file.writeSamples([rng.normal(size=10 * rate) for rate in rates.values()])
            else:
                file.writeAnnotation(0, 10, "W")
    return {
        "zarrts": zarrts,
        "x": rng.normal(size=(6, 20, 2)).astype(np.float32),
        "y": np.array(["W", "N1", "W", "R", "R", "N1"]),
    }


@pytest.mark.parametrize("name", ["files.md", "class_folders.md"])
def test_snippets_run(name, scope, capsys):
    if name == "files.md":
        pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    found = snippets(name)
    assert found
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for code in found:
            exec(code, scope)
    if name == "class_folders.md":
        first, second = capsys.readouterr().out.splitlines()
        assert first == "{'running': 0, 'walking': 1}"
        assert second.startswith("['running/a.npy', 'running/b.npy'")


def test_every_argument_of_keras_has_a_line():
    keras = pytest.importorskip("keras", reason="the core needs no Keras")
    text = (DOCS / "class_folders.md").read_text("utf-8")
    functions = [
        keras.preprocessing.image_dataset_from_directory,
        keras.utils.audio_dataset_from_directory,
        keras.utils.text_dataset_from_directory,
    ]
    for function in functions:
        for name in inspect.signature(function).parameters:
            assert f"`{name}" in text or f"{name}`" in text, f"{function.__name__}: {name}"
