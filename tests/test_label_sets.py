"""A study may have several arrays of labels, each with a name and classes of its own."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from click.testing import CliRunner

import zarrts
from zarrts.cli import main
from zarrts.errors import SampleError, SourceError

STAGES = np.array(["W", "N1", "REM"])
SIZES = (11, 30, 4)
SMALL = {"chunk": 200, "shard": 600, "workers": 2, "progress": False}
NAMES = ["stage", "age", "pair"]


def make(folder: Path, kind: str = "dense") -> list[dict[str, np.ndarray]]:
    """Save a file a subject, with text, floats and a row of two integers for each sample."""
    folder.mkdir()
    every = []
    for number, size in enumerate(SIZES):
        rng = np.random.default_rng(number)
        arrays = {
            "x": rng.normal(size=(size, 6, 2) if kind == "dense" else (size, 2)).astype("f4"),
            "stage": STAGES[rng.integers(0, 3, size)],
            "age": rng.normal(50, 10, size).astype("f4"),
            "pair": rng.integers(0, 4, (size, 2)),
            "unused": np.zeros(3),
        }
        np.savez(folder / f"s{number}.npz", **arrays)
        every.append(arrays)
    return every


def joined(every: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    values = np.concatenate([it[name] for it in every])
    if name != "stage":
        return values
    return np.array([sorted(STAGES).index(it) for it in values], np.int32)


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, list[dict[str, np.ndarray]]]:
    every = make(tmp_path / "files")
    zarrts.convert(tmp_path / "files", tmp_path / "a.zarr", y=NAMES, **SMALL).close()
    return tmp_path / "a.zarr", every


def contents(target: Path) -> dict[str, bytes]:
    return {str(it): it.read_bytes() for it in target.rglob("*") if it.is_file()}


def test_each_array_of_labels_is_stored_under_its_name(study: Any, tmp_path: Path) -> None:
    target, every = study
    for name in NAMES:
        found = zarr.open_array(str(target / "0" / "y" / name), mode="r")
        np.testing.assert_array_equal(found[:], joined(every, name))
    assert sorted(it.name for it in (target / "0" / "y").iterdir() if it.is_dir()) == sorted(NAMES)
    with zarrts.open(target) as store:
        assert store.label_names == sorted(NAMES)
        assert store.header.labels.parts["stage"].class_names == ("N1", "REM", "W")
        assert store.header.labels.parts["pair"].class_names == (0, 1, 2, 3)
        assert store.class_names is None
    xarray.open_zarr(str(target / "0")).load()
    found = zarrts.verify(target, deep=True, sources=tmp_path / "files")
    assert found.problems == ()


def test_labels_are_handed_out_by_name(study: Any) -> None:
    target, every = study
    with zarrts.open(target) as store:
        x, y = store.samples.load()
        np.testing.assert_array_equal(x, np.concatenate([it["x"] for it in every]))
        assert isinstance(y, dict)
        assert y.keys() == set(NAMES)
        for name in NAMES:
            np.testing.assert_array_equal(y[name], joined(every, name))
        one = store.samples[12][1]
        assert isinstance(one, dict)
        assert one["age"] == every[1]["age"][1]
        only = store.samples.select(subjects=["s1"]).load_labels()
        assert isinstance(only, dict)
        np.testing.assert_array_equal(only["pair"], every[1]["pair"])


def test_info_says_what_each_array_of_labels_holds(study: Any) -> None:
    target, every = study
    lines = CliRunner().invoke(main, ["info", str(target)]).output.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("labels"))
    codes = " ".join(str(it) for it in np.unique(joined(every, "pair")))
    assert lines[at : at + 3] == [
        "labels    age    numbers, float32",
        f"          pair   4 classes {codes}, of shape (2,) each",
        f"          stage  3 classes {' '.join(sorted(STAGES))}",
    ]
    found = json.loads(CliRunner().invoke(main, ["info", str(target), "--json"]).output)
    assert found["class_names"] is None
    assert {name: it["class_names"] for name, it in found["labels"].items()} == {
        "age": None,
        "pair": np.unique(joined(every, "pair")).tolist(),
        "stage": sorted(STAGES),
    }


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_hold_the_labels_of_their_samples(study: Any, shuffle: bool) -> None:
    target, every = study
    seen = []
    with zarrts.open(target) as store:
        for batch in store.samples.batches(7, shuffle=shuffle, label_mode="auto"):
            assert isinstance(batch.y, dict)
            stage = joined(every, "stage")[batch.sample_id]
            np.testing.assert_array_equal(batch.y["stage"], stage)
            np.testing.assert_array_equal(batch.y["age"], joined(every, "age")[batch.sample_id])
            np.testing.assert_array_equal(batch.y["pair"], joined(every, "pair")[batch.sample_id])
            seen += batch.sample_id.tolist()
    assert sorted(seen) == list(range(sum(SIZES)))


def test_a_mode_for_each_array_of_labels(study: Any) -> None:
    target, every = study
    modes: Any = {"stage": "categorical", "age": "raw", "pair": "raw"}
    with zarrts.open(target) as store:
        batch = next(iter(store.samples.batches(45, shuffle=False, label_mode=modes)))
        assert isinstance(batch.y, dict)
        np.testing.assert_array_equal(batch.y["stage"], np.eye(3)[joined(every, "stage")])
        with pytest.raises(SampleError, match=r"each of the labels age, pair, stage once, not age"):
            store.samples.batches(4, label_mode={"age": "raw"})
        with pytest.raises(SampleError, match="needs classes"):
            store.samples.batches(4, label_mode="int")


def test_labels_of_recordings_have_names_as_well(tmp_path: Path) -> None:
    sources = [
        zarrts.Recording(f"s{i}", np.full((n, 2), i, "f4"), {"sick": i % 2 == 0, "age": 40.5 + i})
        for i, n in enumerate(SIZES)
    ]
    target = tmp_path / "a.zarr"
    with zarrts.convert(sources, target, **SMALL) as store:
        assert (store.kind, store.header.labels_per) == ("ragged", "recording")
        x, y = store.samples.load()
        assert [len(it) for it in x] == list(SIZES)
        assert isinstance(y, dict)
        assert y["sick"].tolist() == [True, False, True]
        assert y["age"].tolist() == [40.5, 41.5, 42.5]
    assert zarrts.verify(target, deep=True, sources=sources).problems == ()
    zarrts.remove(target, subject="s1")
    with zarrts.open(target) as store:
        labels = store.samples.load_labels()
        assert isinstance(labels, dict)
        assert labels["age"].tolist() == [40.5, 42.5]
    assert zarrts.verify(target, deep=True).problems == ()


def test_labels_of_rows_are_padded_by_name(tmp_path: Path) -> None:
    every = make(tmp_path / "files", "ragged")
    target = tmp_path / "a.zarr"
    with zarrts.convert(tmp_path / "files", target, y=NAMES, kind="ragged", **SMALL) as store:
        batches = store.samples.batches(3, shuffle=False, pad="batch", label_mode="raw")
        batch = next(iter(batches))
        batches.close()
        assert isinstance(batch.y, dict)
        for i, arrays in enumerate(every):
            assert batch.y["age"][i, : SIZES[i]].tolist() == arrays["age"].tolist()
            assert not batch.y["age"][i, SIZES[i] :].any()
            assert not batch.y["pair"][i, SIZES[i] :].any()
        labels = store.samples.load()[1]
        assert isinstance(labels, list)
        for one, arrays in zip(labels, every, strict=True):
            assert isinstance(one, dict)
            np.testing.assert_array_equal(one["pair"], arrays["pair"])


def test_every_array_of_labels_is_checked_repaired_extended_and_thinned_out(
    study: Any, tmp_path: Path
) -> None:
    target, every = study
    whole = contents(target)
    for key in ("0/y/stage/c/0", "0/y/pair/c/0/0", "0/checksum/y/age/c/0"):
        path = target / key
        content = bytearray(path.read_bytes())
        content[2] ^= 1
        path.write_bytes(content)
        assert key in " ".join(it.text for it in zarrts.verify(target, deep=True).problems)
        zarrts.repair(target, tmp_path / "files")
        assert contents(target) == whole
    shutil.rmtree(target / "0" / "y" / "age" / "c")
    zarrts.repair(target, tmp_path / "files")
    assert contents(target) == whole

    more = tmp_path / "more"
    more.mkdir()
    added = {**every[0], "x": every[0]["x"] + 1, "stage": np.array(["N4"] * SIZES[0])}
    np.savez(more / "s9.npz", **added)
    with zarrts.append(target, more, progress=False) as store:
        assert store.header.labels.parts["stage"].class_names == ("N1", "REM", "W", "N4")
        labels = store.samples.load_labels()
        assert isinstance(labels, dict)
        assert labels["stage"].tolist() == [*joined(every, "stage"), *[3] * SIZES[0]]
    zarrts.remove(target, subject="s0")
    with zarrts.open(target) as store:
        labels = store.samples.load_labels()
        assert isinstance(labels, dict)
        ages = [it["age"] for it in (*every[1:], added)]
        np.testing.assert_array_equal(labels["age"], np.concatenate(ages))
    assert zarrts.verify(target, deep=True).problems == ()


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "files")

    def refusal(source: Any, **options: Any) -> str:
        with pytest.raises(SourceError) as caught:
            zarrts.convert(source, tmp_path / "b.zarr", **options)
        return str(caught.value)

    files = tmp_path / "files"
    assert "has no array 'sex', which y= names" in refusal(files, y=["stage", "sex"])
    assert "each has to be named once" in refusal(files, y=["stage", "stage"])
    said = refusal(files, y=["stage", "unused"])
    assert "s1.npz: its arrays of labels are not equally long (30 in 'stage', 3 in" in said
    assert "several; leave" in refusal(files, y=["stage", "age"], class_names=["W", "N1", "REM"])
    x = np.zeros((4, 3, 2))
    for name in ("a/b", "", ".a", "a.", "c", "zarr.json", "aux", "Con", "LPT1.txt", "é" * 51):
        bad = zarrts.Recording("a", x, {name: np.arange(4), "good": np.arange(4)})
        assert f"{name!r} cannot be the name of an array of labels" in refusal(bad)
    for name in ("é" * 50, "auxiliary", "con_1", "com", "a.b-c_d", "9"):
        zarrts.convert(
            zarrts.Recording("a", x, {name: np.arange(4), "good": np.arange(4)}),
            tmp_path / "n.zarr",
            overwrite=True,
            progress=False,
        ).close()
    mixed = zarrts.Recording("a", x, {"a": np.arange(4), "b": 3})
    assert "some of its labels are one for all rows" in refusal(mixed)
    pair = tmp_path / "pair"
    pair.mkdir()
    np.save(pair / "s1_x.npy", x)
    np.save(pair / "s1_y.npy", np.arange(4))
    assert "y= names several" in refusal(pair, y=["stage", "age"])


def test_networks_of_several_outputs_train(study: Any) -> None:
    keras = pytest.importorskip("keras")
    target, every = study
    inputs = keras.Input((6, 2))
    flat = keras.layers.Flatten()(inputs)
    outputs = {
        "stage": keras.layers.Dense(3, activation="softmax", name="stage")(flat),
        "age": keras.layers.Dense(1, name="age")(flat),
        "pair": keras.layers.Dense(2, name="pair")(flat),
    }
    model = keras.Model(inputs, outputs)
    model.compile(loss={"stage": "sparse_categorical_crossentropy", "age": "mse", "pair": "mse"})
    with zarrts.open(target) as store:
        modes: Any = {"stage": "int", "age": "raw", "pair": "raw"}
        with zarrts.ZarrSequence(store, 15, label_mode=modes, seed=0) as seq:
            assert seq.label_mode == modes
            history = model.fit(seq, epochs=1, verbose=0).history
        assert np.isfinite(history["loss"][0])
        with zarrts.ZarrSequence(store, 15, label_mode=modes, shuffle=False) as seq:
            labels = seq.labels
        assert isinstance(labels, dict)
        np.testing.assert_array_equal(labels["stage"], joined(every, "stage"))


def test_classes_of_one_of_several_arrays_are_merged_or_chosen(study: Any) -> None:
    pytest.importorskip("keras")
    target, every = study
    stage = STAGES[np.array([1, 2, 0])][joined(every, "stage")]  # names by their sorted position
    age = joined(every, "age")
    with zarrts.open(target) as store:
        samples = store.samples.select(classes={"stage": {"sleep": ["REM", "N1"], "wake": "W"}})
        assert samples.ids.tolist() == list(range(sum(SIZES)))
        modes: Any = {"stage": "int", "age": "raw", "pair": "raw"}
        with zarrts.ZarrSequence(samples, 15, label_mode=modes, shuffle=False) as seq:
            assert seq.labels["stage"].tolist() == (stage == "W").astype(int).tolist()
            assert seq.labels["age"].tolist() == age.tolist()
            like = seq.like(store.samples.select(subjects=["s1"]))
            assert like.labels["stage"].tolist() == (stage == "W").astype(int)[11:41].tolist()

        # A stage of no new class is missing: the sample stays for its age, and weighs nothing.
        left_out = store.samples.select(classes={"stage": {"deep": "REM", "light": "N1"}})
        assert len(left_out) == sum(SIZES)
        with zarrts.ZarrSequence(left_out, 99, label_mode=modes, shuffle=False) as seq:
            ((_, y, weight),) = list(seq)
        assert y["stage"].tolist() == (stage == "N1").astype(int).tolist()
        assert weight["stage"].tolist() == (stage != "W").astype(float).tolist()
        assert weight["age"].tolist() == np.ones(len(age)).tolist()

        chosen = store.samples.select(classes={"stage": ["N1", "W"], "pair": {"any": [0, 1, 2, 3]}})
        assert chosen.ids.tolist() == np.flatnonzero(stage != "REM").tolist()
        assert chosen.select(classes={"stage": "W"}, subjects=["s2"]).ids.tolist() == [
            it for it in np.flatnonzero(stage == "W").tolist() if it >= 41
        ]


def test_classes_of_several_arrays_that_mean_nothing_are_refused(study: Any) -> None:
    pytest.importorskip("keras")
    with zarrts.open(study[0]) as store:
        samples = store.samples
        arrays = "there are several arrays of labels, age, pair, stage; say of which"
        for classes, message in [
            (["W"], rf"classes=\['W'\]: {arrays} .* classes=\{{'pair': \[0\]\}}"),
            ({"N1": "W"}, rf"classes=\{{'N1': 'W'\}}: {arrays}"),
            ({}, rf"classes=\{{\}}: {arrays}"),
            ({"stage": {"a": "N4"}}, "Labels 'stage': No class named N4; the classes are N1, REM"),
            ({"stage": {}}, "Labels 'stage': classes= is empty"),
            ({"stage": ["N4"]}, "No class named N4; the classes are N1, REM, W"),
            ({"age": {"old": [60]}}, "Labels 'age': These labels are numbers, not classes"),
            ({"age": [60]}, "The labels 'age' are numbers, not classes"),
            ({"pair": [1]}, "have several labels each, and so are of no one class"),
        ]:
            with pytest.raises(SampleError, match=message):
                samples.select(classes=classes)
        merged = samples.select(classes={"stage": {"sleep": ["N1", "REM"]}})
        other = samples.select(classes={"stage": {"all": ["N1", "REM", "W"]}})
        with (
            zarrts.ZarrSequence(merged) as seq,
            pytest.raises(SampleError, match=r"'stage' the classes all, but .* the classes sleep"),
        ):
            seq.like(other)
