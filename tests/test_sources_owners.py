"""One file of many subjects: an array beside inputs and labels says whose each row is."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts import sources
from zarrts.cli import main
from zarrts.errors import SourceError
from zarrts.sources import SourceOptions

SMALL: dict[str, Any] = {"chunk": 300, "shard": 900, "progress": False}
OWNERS = np.repeat([3, 1, 2, 3], [9, 1, 30, 7])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(len(OWNERS), 5, 2)).astype("f4")
Y = RNG.integers(0, 3, len(OWNERS))


def save_hdf5(path: Path, **arrays: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values.astype("S") if values.dtype.kind == "U" else values


SAVE: dict[str, tuple[str, Any]] = {
    "stored": (".npz", np.savez),
    "compressed": (".npz", np.savez_compressed),
    "dict": (".npy", lambda path, **arrays: np.save(path, np.array(arrays, dtype=object))),
    "HDF5": (".h5", save_hdf5),
    "MATLAB": (".mat", lambda path, **arrays: scipy.io.savemat(path, arrays)),
}


def check(path: Path, target: Path, x: Any, y: Any, owners: Any) -> None:
    """Compare a store with the rows of each subject, in order of first appearance."""
    with zarrts.convert(path, target, **SMALL) as store:
        names = list(dict.fromkeys(str(it) for it in owners))
        assert store.subjects == names
        assert store.samples.subject.tolist() == [str(it) for it in owners]
        for name in names:
            got_x, got_y = store.samples.select(subjects=[name]).load()
            rows = [str(it) == name for it in owners]
            np.testing.assert_array_equal(got_x, x[rows])
            np.testing.assert_array_equal(np.array(store.class_names)[got_y], y[rows])
        assert zarrts.verify(target, deep=True, sources=path).problems == ()


@pytest.mark.parametrize("kind", SAVE)
def test_rows_belong_to_whom_the_file_says(tmp_path: Path, kind: str) -> None:
    suffix, save = SAVE[kind]
    texts = np.array([f"p{it}" for it in OWNERS])
    # MATLAB has numbers of one kind only, and all of its arrays have two axes.
    owners = OWNERS.astype("f8") if kind == "MATLAB" else texts
    save(tmp_path / f"all{suffix}", X=X, y=Y.astype("i4"), subject=owners)
    names = OWNERS if kind == "MATLAB" else texts
    check(tmp_path / f"all{suffix}", tmp_path / "a.zarr", X, Y, names)
    said = CliRunner().invoke(main, ["convert", "--dry-run", str(tmp_path / f"all{suffix}")])
    first = names[0]
    assert said.output.startswith(f"1 file, 4 recordings -> 3 subjects: {first} (2 recordings), ")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_any_order_of_subjects(tmp_path_factory: pytest.TempPathFactory, owners: list[int]) -> None:
    folder, n_rows = tmp_path_factory.mktemp("any"), len(owners)
    np.savez(folder / "all.npz", data=X[:n_rows], labels=Y[:n_rows], subject_id=owners)
    found = sources.find(folder)
    assert found.problems == () and found.has_subjects_given
    rows = [
        (it.subject, it.first_row + row, value)
        for it in found.recordings
        for row, value in enumerate(it.y.read(0, it.y.shape[0]).tolist())
    ]
    expected = list(zip(map(str, owners), range(n_rows), Y[:n_rows].tolist(), strict=True))
    assert rows == expected
    read = [it.x.read(0, it.x.shape[0]) for it in found.recordings]
    np.testing.assert_array_equal(np.concatenate(read), X[:n_rows])


@pytest.mark.parametrize("are_equal", [True, False])
def test_series_of_a_list_belong_to_whom_the_list_says(tmp_path: Path, are_equal: bool) -> None:
    lengths = [6] * 5 if are_equal else [4, 9, 6, 2, 6]
    series = [RNG.normal(size=(length, 2)).astype("f4") for length in lengths]
    content = {"X": series, "y": ["a", "b", "a", "b", "b"], "subject": [7, 7, 1, 1, 7]}
    np.save(tmp_path / "watch.npy", np.array(content, dtype=object))
    with zarrts.convert(tmp_path / "watch.npy", tmp_path / "a.zarr", **SMALL) as store:
        assert store.kind == ("dense" if are_equal else "ragged")
        assert store.subjects == ["7", "1"]
        assert store.samples.subject.tolist() == ["7", "7", "1", "1", "7"]
        x, y = store.samples.load()
        for got, given in zip(x, series, strict=True):
            np.testing.assert_array_equal(got, given)
        assert [store.class_names[it] for it in y] == content["y"]


def test_one_value_is_whose_all_of_the_file_is(tmp_path: Path) -> None:
    for number, name in enumerate(["anna", "bert", "anna"]):
        np.savez(tmp_path / f"{number}.npz", x=X[number::3], y=Y[number::3], subject=name)
    found = sources.find(tmp_path)
    assert [it.subject for it in found.recordings] == ["anna", "bert", "anna"]
    assert [it.origin for it in found.recordings] == ["0.npz", "1.npz", "2.npz"]


def test_what_is_asked_for_by_name_is_no_list_of_subjects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=X, stage=Y, subject=OWNERS)
    np.savez(tmp_path / "b.npz", eeg=X + 1, subject=OWNERS)
    (of_regex,) = sources.find(tmp_path / "a.npz", SourceOptions(subject=".*")).recordings
    assert of_regex.subject == "a.npz"
    (as_label,) = sources.find(tmp_path / "a.npz", SourceOptions(y="subject")).recordings
    assert (as_label.subject, as_label.y_name) == ("a", "subject")
    (one_of_two,) = sources.find(tmp_path / "b.npz", SourceOptions(x="eeg", y="subject")).recordings
    assert one_of_two.subject == "b"


@pytest.mark.parametrize(
    ("owners", "says"),
    [
        (OWNERS[:-1], r"all.npz: its array of subjects has 46 entries, but 'x' has 47 rows"),
        (
            np.where(OWNERS == 1, np.nan, OWNERS),
            r"all.npz: subject: holds nan, which is not a subject",
        ),
        (OWNERS + 0.25, r"holds 3.25, which is not a subject"),
        (np.where(OWNERS == 1, "", "p"), r"all.npz: subject: row 9 has no subject"),
        (np.zeros((47, 2)), r"all.npz: subject: has shape .47, 2. and dtype float64"),
    ],
)
def test_subjects_that_cannot_be_meant_are_refused(tmp_path: Path, owners: Any, says: str) -> None:
    np.savez(tmp_path / "all.npz", x=X, y=Y, subject=owners)
    with pytest.raises(SourceError, match=says):
        zarrts.convert(tmp_path, tmp_path / "a.zarr", **SMALL)


def test_subjects_that_alternate_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zarrts.sources.study.subject_runs._MAX_RUNS", 3)
    np.savez(tmp_path / "all.npz", x=X, y=Y, subject=OWNERS)
    with pytest.raises(SourceError, match=r"alternate 3 times, .* sort its rows by subject"):
        zarrts.convert(tmp_path, tmp_path / "a.zarr", **SMALL)


def test_lists_of_labels_for_each_step_are_stored_by_name(tmp_path: Path) -> None:
    for lengths in ([4, 9, 6], [5, 5, 5]):
        series = [RNG.normal(size=(length, 2)).astype("f4") for length in lengths]
        stage = [RNG.integers(0, 3, length) for length in lengths]
        level = [RNG.normal(size=length).astype("f4") for length in lengths]
        content = {"X": series, "stage": stage, "level": level, "subject": [1, 1, 2]}
        np.save(tmp_path / "all.npy", np.array(content, dtype=object))
        options = {**SMALL, "y": ["stage", "level"], "overwrite": True}
        with zarrts.convert(tmp_path / "all.npy", tmp_path / "a.zarr", **options) as store:
            assert store.subjects == ["1", "2"]
            x, y = store.samples.load()
            for number in range(3):
                np.testing.assert_array_equal(x[number], series[number])
                own = y[number] if store.kind == "ragged" else {it: y[it][number] for it in y}
                np.testing.assert_array_equal(own["stage"], stage[number])
                np.testing.assert_array_equal(own["level"], level[number])
    content["level"] = np.zeros(3)
    np.save(tmp_path / "all.npy", np.array(content, dtype=object))
    with pytest.raises(SourceError, match=r"of its labels, stage are lists .*, but level is not"):
        zarrts.convert(tmp_path / "all.npy", tmp_path / "b.zarr", **options)
