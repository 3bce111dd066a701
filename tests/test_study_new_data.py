"""Steps of a training are taken on new files, too: predict, evaluate, and what a spec keeps."""

import numpy as np
import pytest

import zarrts
from zarrts.keras.spec import Spec

RATE = 128


def halved(rows, by=0.5):
    return rows * by


class Means:
    """A network whose two outputs are means of the window it is given."""

    def predict_on_batch(self, x):
        x = np.asarray(x)
        return np.stack([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)


def write(folder, name, seed, rate=RATE, channels=("C3", "C4", "A1"), units="uV"):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    n = 30 * rate
    x = rng.normal(5, 20, (n, len(channels))).cumsum(axis=0) / (1000 if units == "mV" else 1)
    y = np.array(["rest", "move"])[np.arange(n) // (3 * rate) % 2]
    np.savez(folder / f"{name}.npz", x=x, y=y, ch_names=list(channels), units=units, fs=rate)


@pytest.fixture(name="trained")
def trained_sequence(tmp_path):
    """Return a sequence of windows, and the path of its spec."""
    for number, name in enumerate(["s01", "s02"]):
        write(tmp_path / "subjects", name, number)
    study = zarrts.scan(tmp_path / "subjects", kind="ragged")
    study = study.pick(["C4", {"C3": ["c3"]}]).filter(1, 30).map(halved, by=0.25).resample(100)
    store = zarrts.convert(study, tmp_path / "study.zarr")
    windows = store.samples.windows(200, stride=200, label="majority")
    with zarrts.ZarrSequence(windows, batch_size=4, shuffle=False, stats=windows.stats()) as seq:
        seq.save_spec(tmp_path / "spec.json")
        yield seq


def write_new(folder):
    """Write two files of other rates, orders, names and units than those of the training."""
    write(folder, "n01", 7, rate=200, channels=("A1", "C3", "C4"))
    write(folder, "n02", 8, channels=("EOG", "c3", "C4"), units="mV")
    return folder


def as_store(folder, target):
    """Return the same files as a store, converted with the same steps by hand."""
    steps = [("pick", ["C4", {"C3": ["c3"]}]), ("filter", 1, 30)]
    steps += [("map", halved, {"by": 0.25}), ("resample", 100)]
    return zarrts.convert(folder, target, kind="ragged", steps=steps, units="uV")


def test_predictions_of_files_are_those_of_their_store(trained, tmp_path):
    folder = write_new(tmp_path / "new")
    with pytest.warns(UserWarning, match="converted from mV to uV"):
        files = zarrts.predict(Means(), str(folder), like=tmp_path / "spec.json")
    store = zarrts.predict(Means(), as_store(folder, tmp_path / "b.zarr"), like=trained)
    np.testing.assert_array_equal(files.values, store.values)
    assert len(files.values) == 2 * 15


def test_files_are_evaluated_as_their_store_is(trained, tmp_path):
    folder = write_new(tmp_path / "new")
    files = zarrts.evaluate(Means(), str(folder), like=tmp_path / "spec.json")
    store = zarrts.evaluate(Means(), as_store(folder, tmp_path / "b.zarr"), like=trained)
    np.testing.assert_array_equal(files.confusion, store.confusion)
    assert files.confusion.sum() == 30


def test_a_spec_keeps_steps_and_what_was_before_them(trained, tmp_path):
    spec = Spec.load(tmp_path / "spec.json")
    assert [it["step"] for it in spec.steps] == ["pick", "filter", "map", "resample"]
    assert spec.before_steps == {
        "channels": ["C4", "C3"], "units": ["uV", "uV"], "rate_hz": RATE, "by_hand": []
    }  # fmt: skip
    own = trained.spec
    assert (spec.steps, spec.before_steps) == (own.steps, own.before_steps)
    assert spec.source_channels is None


def test_an_array_has_the_rate_of_the_training_before_its_steps(tmp_path):
    write(tmp_path / "subjects", "s01", 0)
    store = zarrts.convert(
        tmp_path / "subjects", tmp_path / "a.zarr", kind="ragged",
        steps=[("filter", 1, 30), ("resample", 64)],
    )  # fmt: skip
    windows = store.samples.windows(64, stride=64, label="majority")
    seq = zarrts.ZarrSequence(windows, batch_size=4, shuffle=False)
    with np.load(tmp_path / "subjects" / "s01.npz") as file, pytest.warns(UserWarning, match="say"):
        found = zarrts.predict(Means(), file["x"], like=seq)
    np.testing.assert_allclose(found.values, zarrts.predict(Means(), windows, like=seq).values)
    seq.close()


def test_functions_that_cannot_be_imported_have_to_be_given(tmp_path):
    write(tmp_path / "subjects", "s01", 0)

    def local(rows):
        return rows - 1

    def other(rows):
        return rows - 1.0

    store = zarrts.convert(
        tmp_path / "subjects", tmp_path / "a.zarr", kind="ragged", steps=[("map", local)]
    )
    windows = store.samples.windows(100, label="majority")
    with zarrts.ZarrSequence(windows, batch_size=4, shuffle=False) as seq:
        folder = tmp_path / "new"
        write(folder, "n01", 7)
        with pytest.raises(zarrts.PlanError, match=r"calls .*local, which cannot be imported here"):
            zarrts.predict(Means(), str(folder), like=seq)
        found = zarrts.predict(Means(), str(folder), like=seq, functions={"local": other})
        assert len(found.values) == 38
    with pytest.raises(zarrts.PlanError, match=r"functions=\{'local': "):
        zarrts.append(tmp_path / "a.zarr", folder)
    zarrts.append(tmp_path / "a.zarr", folder, functions={"local": local}).close()
    with pytest.raises(zarrts.PlanError, match="cannot be imported"):
        zarrts.verify(tmp_path / "a.zarr", sources=tmp_path / "subjects")
    both = [tmp_path / "subjects", folder]
    functions = {f"{__name__}.{local.__qualname__}": local}
    assert zarrts.verify(tmp_path / "a.zarr", sources=both, functions=functions).problems == ()


def test_a_module_is_imported_only_where_its_source_is_the_same(tmp_path, monkeypatch):
    import sys

    package = tmp_path / "lab_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    code = "import sys\nsys.was_imported = True\n\n\ndef gain(rows):\n    return 3 * rows\n"
    (package / "gains.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path / "subjects", "s01", 0)
    zarrts.convert(
        tmp_path / "subjects",
        tmp_path / "a.zarr",
        kind="ragged",
        steps=["map lab_of_tests.gains:gain"],
    ).close()

    def forget():
        for name in [it for it in sys.modules if it.startswith("lab_of_tests")]:
            del sys.modules[name]
        if hasattr(sys, "was_imported"):
            del sys.was_imported

    forget()
    assert zarrts.verify(tmp_path / "a.zarr", sources=tmp_path / "subjects").problems == ()
    assert sys.was_imported
    forget()
    (package / "gains.py").write_text(code.replace("3 *", "4 *"))
    with pytest.raises(
        zarrts.PlanError, match="gain, which cannot be imported here, or has changed"
    ):
        zarrts.verify(tmp_path / "a.zarr", sources=tmp_path / "subjects")
    assert not hasattr(sys, "was_imported")  # what a store names is data until it is known


def test_a_store_with_other_steps_is_warned_of(trained, tmp_path):
    folder = write_new(tmp_path / "new")
    steps = [("pick", ["C4", {"C3": ["c3"]}]), ("resample", 100)]
    store = zarrts.convert(folder, tmp_path / "b.zarr", kind="ragged", steps=steps, units="uV")
    with pytest.warns(UserWarning, match="its steps are pick C4, C3; resample 100 Hz, but the"):
        zarrts.predict(Means(), store, like=trained)
