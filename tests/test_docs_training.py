"""The snippets of the pages on training run, one after the other."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import zarrts

pytest.importorskip("keras", reason="the snippets train with Keras")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def scope(tmp_path, make_study, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nights").mkdir()
    for i in range(2):
        x = np.random.default_rng(i).normal(size=(3000 * 6 - 100, 1)).astype(np.float32)
        np.savez(tmp_path / "nights" / f"p{i}.npz", x=x, y=np.array(["R", "W"])[np.arange(6) % 2])
    study = make_study(tmp_path / "sources", sizes=(40, 30, 20), labels="text")
    with zarrts.convert(study.folder, tmp_path / "store.zarr", progress=False) as store:
        train, val = store.samples.split(val=1)
        yield {"zarrts": zarrts, "np": np, "store": store, "train": train, "val": val}


@pytest.mark.parametrize("name", ["augmentation.md", "labels.md"])
def test_snippets_run(name, scope):
    text = (DOCS / name).read_text("utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert found
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for code in found:
            exec(code, scope)
            if "seq = " in code:
                with scope["seq"] as seq:
                    assert len(list(seq)) == len(seq)
            if "class_names  #" in code:
                assert scope["samples"].class_names == ["sleep", "wake"]
            if "label_every" in code:
                with scope["nights"]:
                    assert scope["windows"].load_labels().tolist() == [0, 1, 0, 1, 0] * 2
                    assert [it.shape for it in scope["sequences"][0]] == [(5, 3000, 1), (5,)]


def test_every_ready_made_transform_is_described():
    text = (DOCS / "augmentation.md").read_text("utf-8")
    made = [
        name
        for name, it in vars(zarrts.transforms).items()
        if getattr(it, "__module__", "") == "zarrts.transforms" and not name.startswith("_")
    ]
    assert len(made) == 10
    for name in made:
        assert f"`{name}(" in text
