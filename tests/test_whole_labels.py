"""Labels that are classes, but were saved as floats."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts.cli import main

CODES = [np.array([0, 2, 1, 2]), np.array([2, 2, 0])]


def write(
    folder: Path, dtypes: list[str], codes: list[Any] = CODES, names: Any = ("anna", "bert")
) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, y, dtype in zip(names, codes, dtypes, strict=True):
        np.savez(folder / f"{name}.npz", x=rng.normal(size=(len(y), 5, 2)), y=y.astype(dtype))
    return folder


def convert(folder: Path, **options: Any) -> zarrts.Store:
    return zarrts.convert(folder, f"{folder}.zarr", progress=False, **options)


def test_one_file_of_floats_makes_no_numbers_of_classes(tmp_path: Path) -> None:
    with convert(write(tmp_path / "a", ["int16", "float64"])) as store:
        assert store.class_names == [0, 1, 2]
        assert store.samples.load()[1].tolist() == np.concatenate(CODES).tolist()
        assert zarrts.verify(store.path, deep=True, sources=tmp_path / "a").problems == ()
    halves = [CODES[0], np.array([0.5, 1.0, 2.0])]
    with convert(write(tmp_path / "b", ["int16", "float64"], halves)) as store:
        assert store.class_names is None
        assert store.samples.load()[1].tolist() == np.concatenate(halves).tolist()


@pytest.mark.parametrize(("dtype", "names"), [("float64", [0, 1, 2]), ("int8", [3, 2, 1, 0])])
def test_integers_as_class_names_make_classes_of_numbers(
    tmp_path: Path, dtype: str, names: list[int]
) -> None:
    with convert(write(tmp_path / "a", [dtype] * 2), class_names=names) as store:
        assert store.class_names == names
        y = np.concatenate(CODES)
        counts = [(y == name).sum() for name in names]
        assert store.samples.class_counts.tolist() == counts
        with store.samples.batches(9, label_mode="int", shuffle=False) as batches:
            assert next(iter(batches)).y.tolist() == [names.index(it) for it in y]
    more = write(tmp_path / "more", ["float32"], [np.array([1.0, 0.0])], ["carl"])
    with zarrts.append(f"{tmp_path / 'a'}.zarr", more, progress=False) as store:
        assert store.class_names == names
        assert store.samples.load()[1].tolist() == [*y, 1, 0]


def test_dry_run_says_how_floats_become_classes(tmp_path: Path) -> None:
    folder = str(write(tmp_path / "a", ["float64"] * 2))
    plan = CliRunner().invoke(main, ["convert", "--dry-run", folder]).output
    assert "y 'y'  numbers, float64; if they are classes: --class-names 0,1,2\n" in plan
    told = ["convert", "--dry-run", folder, "a.zarr", "--class-names", "0,1,2"]
    assert "y 'y'  3 classes 0 1 2" in CliRunner().invoke(main, told).output
    halves = str(write(tmp_path / "b", ["float64"] * 2, [CODES[0], CODES[1] / 2 + 0.5]))
    plan = CliRunner().invoke(main, ["convert", "--dry-run", halves]).output
    assert "y 'y'  numbers, float64\n" in plan


@pytest.mark.parametrize(
    ("codes", "names", "words"),
    [
        (
            [np.array([0.5]), np.array([1.0])],
            [0, 1],
            "anna.npz: the label 0.5 is not a whole number",
        ),
        ([np.array([0.0]), np.array([np.nan])], [0, 1], "bert.npz: the label nan .*missing=-1"),
        (CODES, [0, 1], r"The labels 2 are none of class_names= \(0, 1\)"),
        (CODES, ["sit", "lie"], r"these are numbers, not sit, lie; .*select\(classes="),
        (CODES, [0.0, 1.0, 2.0], "has to be a list of names, or of integers"),
        (CODES, [0, "1"], "has to be a list of names, or of integers"),
        (CODES, [0, 0, 1, 2], "names 0 more than once"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(
    tmp_path: Path, codes: list[Any], names: Any, words: str
) -> None:
    with pytest.raises(zarrts.ZarrtsError, match=words):
        convert(write(tmp_path / "a", ["float64"] * 2, codes), class_names=names)
    assert not (tmp_path / "a.zarr").exists()
