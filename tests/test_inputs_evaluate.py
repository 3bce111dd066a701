"""Networks of several inputs are evaluated on files as they are on the store of these."""

import numpy as np
import pytest

import zarrts
from zarrts.keras.spec import Spec

pytest.importorskip("keras")

RATES = {"acc": 8, "hr": 2}
SMALL = {"chunk": "2KiB", "progress": False, "kind": "ragged"}


class Sums:
    """A network whose outputs are sums of what it is given, for a label or each of several."""

    def __init__(self, n_labels=None):
        self._n_labels = n_labels

    def predict_on_batch(self, x):
        parts = x.values() if isinstance(x, dict) else [x]
        flat = np.concatenate([np.asarray(it).reshape(len(it), -1) for it in parts], axis=1)
        n = self._n_labels or 1
        some = flat[:, : flat.shape[1] // n * n].reshape(len(flat), n, -1)
        both = np.stack([some.sum(axis=2), some[..., ::2].sum(axis=2) * 2], axis=2)
        return both if self._n_labels else both[:, 0]


def recording(number, rate, seconds=20, missing=True, scale=1.0, **more):
    rng = np.random.default_rng(number)
    x = {
        "acc": (rng.normal(size=(8 * seconds, 3)) * scale).astype("f4"),
        "hr": rng.normal(size=(2 * seconds, 1)).astype("f4"),
        "age": np.array([30.0 + number], "f4"),
    }
    names = np.array(["a", "b", ""] if missing else ["a", "b"])
    y = names[rng.integers(0, len(names), round(rate * seconds))]
    given = {"rate_hz": {**RATES, "y": rate}, "units": {"acc": "mg"}, **more}
    return zarrts.Recording(f"s{number}", x, y, **given)


def saved(folder, recordings):
    folder.mkdir()
    for it in recordings:
        np.savez(folder / f"{it.subject}.npz", **it.x, y=it.y)
    return folder


@pytest.mark.parametrize("inputs", [None, ["hr", "acc"], "hr"])
@pytest.mark.parametrize("label", ["first", "last", "next", "majority", "all"])
@pytest.mark.parametrize("rate", [8, 2])
def test_files_are_evaluated_as_the_windows_of_their_store(tmp_path, rate, label, inputs):
    store = zarrts.convert([recording(1, rate), recording(2, rate)], tmp_path / "a.zarr", **SMALL)
    more = {"label": label, **({"horizon": 3} if label == "next" else {})}
    windows = store.samples.windows("2s", "1s", **more)
    model = Sums(2 * rate if label == "all" else None)
    new = [recording(3, rate, 13), recording(4, rate, 9)]
    there = zarrts.convert(new, tmp_path / "new.zarr", **SMALL).samples.windows("2s", "2s", **more)
    with zarrts.ZarrSequence(windows, batch_size=4, inputs=inputs, stats=windows.stats()) as seq:
        seq.save_spec(tmp_path / "spec.json")
        wanted = zarrts.evaluate(model, there, like=seq, progress=False)
    like = tmp_path / "spec.json"
    found = zarrts.evaluate(model, new, like=like, stride=4, progress=False)
    np.testing.assert_array_equal(found.confusion, wanted.confusion)
    # And those of the store that are cut as in the training.
    cut = zarrts.evaluate(model, there.store, like=like, stride=4, progress=False)
    np.testing.assert_array_equal(cut.confusion, wanted.confusion)
    # Every label that is there is counted once, by hand.
    y, ahead = there.load()[1], there.store.class_names
    labels = np.array([*ahead, ""])[y]
    assert found.confusion.sum() == (labels != "").sum() > 0


@pytest.mark.parametrize("rate", [8, 2])
def test_whole_recordings_with_labels_of_steps_are_evaluated_where_they_have_some(tmp_path, rate):
    study = [recording(1, rate, 20), recording(2, rate, 16)]
    store = zarrts.convert(study, tmp_path / "a.zarr", **SMALL)
    new = [recording(3, rate, 20), recording(4, rate, 11)]
    there = zarrts.convert(new, tmp_path / "new.zarr", **SMALL)
    model = Sums(20 * rate)
    with zarrts.ZarrSequence(store.samples, batch_size=2, pad="longest") as seq:
        seq.save_spec(tmp_path / "spec.json")
    found, wanted = (
        zarrts.evaluate(model, it, like=tmp_path / "spec.json", progress=False)
        for it in (new, there)
    )
    np.testing.assert_array_equal(found.confusion, wanted.confusion)
    assert found.confusion.sum() == sum((it.y != "").sum() for it in new)


def test_files_with_the_inputs_of_a_network_alone_and_in_other_units(tmp_path):
    store = zarrts.convert([recording(1, 8), recording(2, 8)], tmp_path / "a.zarr", **SMALL)
    windows = store.samples.windows("2s", "1s", label="last")
    new = [recording(3, 8, 13), recording(4, 8, 9)]
    there = zarrts.convert(new, tmp_path / "new.zarr", **SMALL).samples
    with zarrts.ZarrSequence(windows, batch_size=4, inputs=["acc"]) as seq:
        wanted = zarrts.evaluate(
            Sums(), there.windows("2s", "2s", label="last"), like=seq, progress=False
        )
        scaled = [
            recording(it, 8, n, scale=1e-3, units={"acc": "g"}) for it, n in ((3, 13), (4, 9))
        ]
        for given in (new, scaled):
            found = zarrts.evaluate(Sums(), given, like=seq, stride=4, progress=False)
            np.testing.assert_array_equal(found.confusion, wanted.confusion)
        folder = saved(tmp_path / "files", new)
        for it in folder.iterdir():  # of files, that have nothing but acc
            with np.load(it) as file:
                np.savez(it, acc=file["acc"], y=file["y"])
        found = zarrts.evaluate(Sums(), str(folder), like=seq, y="y", stride=4, progress=False)
        np.testing.assert_array_equal(found.confusion, wanted.confusion)


def test_labels_of_another_rate_are_refused_where_one_is_chosen(tmp_path):
    store = zarrts.convert([recording(1, 8), recording(2, 8)], tmp_path / "a.zarr", **SMALL)
    windows = store.samples.windows("2s", label="last")
    other = zarrts.convert(recording(3, 4), tmp_path / "b.zarr", **SMALL)
    with zarrts.ZarrSequence(windows, batch_size=4) as seq:
        words = "has 2 labels in a row of its inputs, but the network was trained with 4"
        with pytest.raises(zarrts.ZarrtsError, match=words):
            zarrts.evaluate(Sums(), recording(3, 4), like=seq, progress=False)
        words = "has 2 labels in a row, but the network was trained with 4"
        with pytest.raises(zarrts.ZarrtsError, match=words):
            zarrts.evaluate(Sums(), other, like=seq, progress=False)
        words = "has labels at 3 Hz, of which no whole number is in a row"
        with pytest.raises(zarrts.ZarrtsError, match=words):
            zarrts.evaluate(Sums(), recording(3, 3), like=seq, progress=False)


def test_a_spec_without_labels_of_steps_is_what_it_was(tmp_path):
    store = zarrts.convert([recording(1, 2), recording(2, 2)], tmp_path / "a.zarr", **SMALL)
    with zarrts.ZarrSequence(store.samples.windows("2s", label="last"), batch_size=4) as seq:
        seq.save_spec(tmp_path / "spec.json")
    assert "label_steps" not in (tmp_path / "spec.json").read_text()
    assert Spec.load(tmp_path / "spec.json").label_steps == 1
