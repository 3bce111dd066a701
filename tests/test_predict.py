"""Predictions beside ids, results per subject, and files that no store was made of."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)

from edf_files import RATE, SECONDS, STAGES, write_edf  # noqa: E402
from keras_models import SMALL, Numbered, make_numbered  # noqa: E402

from zarrts.errors import PlanError  # noqa: E402
from zarrts.keras.sequence import ZarrSequence  # noqa: E402
from zarrts.keras.spec import Spec  # noqa: E402
from zarrts.results import Evaluation, Predictions  # noqa: E402

BATCH = 16


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study) -> Numbered:
    """161 samples of four people, with labels -2, 3 and 7."""
    return make_numbered(tmp_path_factory.mktemp("int"), make_study)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 3))
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture
def seq(study, no_leaks):
    """A training sequence of three people, scaled by them."""
    train = zarrts.open(study.path).samples.select(subjects=["s01", "s02", "s03"])
    with ZarrSequence(train, BATCH, memory=SMALL, stats=train.stats()) as made:
        yield made


def expected_of(study, seq, model, x):
    """Return what the network gives for x, scaled naively."""
    train = study.x[study.subject != "s00"].astype(np.float64)
    mean, std = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
    return model.predict(((x - mean) / std).astype(np.float32), verbose=0)


def test_predictions_stand_beside_their_ids(study, seq, model):
    samples = seq.samples.store.samples.select(subjects=["s00", "s02"])
    found = zarrts.predict(model, samples, like=seq)
    ids = np.flatnonzero(np.isin(study.subject, ["s00", "s02"]))
    expected = expected_of(study, seq, model, study.x[ids])
    assert np.array_equal(found.sample_ids, ids)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found.recordings, np.where(study.subject[ids] == "s00", 0, 2))
    assert np.array_equal(found.codes, expected.argmax(axis=1))
    assert found.names.tolist() == np.array([-2, 3, 7])[expected.argmax(axis=1)].tolist()
    assert len(found) == len(ids)


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_predictions_go_to_a_file_out_of_core(study, seq, model, tmp_path, suffix):
    out = tmp_path / f"predictions{suffix}"
    kept = zarrts.predict(model, seq.samples.store, like=seq)
    found = zarrts.predict(model, study.path, like=seq, out=out)
    assert np.array_equal(found.values[...], kept.values)
    assert [it.name for it in tmp_path.iterdir()] == [out.name]
    if suffix == ".npy":
        assert isinstance(found.values, np.memmap)
        assert np.array_equal(np.load(out), kept.values)
    else:
        import zarr

        group = zarr.open_group(str(out), mode="r")
        assert np.array_equal(group["sample_id"][...], kept.sample_ids)
        assert np.array_equal(group["prediction"][...], kept.values)
    with pytest.raises(zarrts.SampleError, match="is there already"):
        zarrts.predict(model, study.path, like=seq, out=out)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks /proc what is mapped")
def test_no_file_is_renamed_while_it_is_mapped(study, seq, model, tmp_path, monkeypatch):
    original, renamed = os.replace, []

    def replace(source, target):
        assert str(source) not in Path("/proc/self/maps").read_text()  # Windows would refuse
        renamed.append(Path(target).name)
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    zarrts.predict(model, study.path, like=seq, out=tmp_path / "found.npy")
    assert renamed == ["found.npy"]


@pytest.mark.parametrize("is_labelled", [True, False])
def test_a_new_file_is_treated_as_the_training_was(
    study, seq, model, tmp_path, make_study, is_labelled
):
    new = make_study(tmp_path / "new", sizes=(21, 30), seed=5)
    if not is_labelled:
        for name, x in zip(new.names, new.x, strict=True):
            np.savez_compressed(new.folder / f"{name}.npz", data=x)
    seq.save_spec(tmp_path / "model" / "spec.json")
    by_sequence = zarrts.predict(model, new.folder, like=seq)
    by_spec = zarrts.predict(model, new.folder, like=tmp_path / "model" / "spec.json")
    expected = expected_of(study, seq, model, new.all_x)
    np.testing.assert_allclose(by_sequence.values, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(by_spec.values, by_sequence.values)
    assert by_spec.recordings.tolist() == [0] * 21 + [1] * 30
    assert by_spec.sample_ids.tolist() == list(range(51))
    one = zarrts.predict(model, str(new.folder / "s01.npz"), like=seq)
    np.testing.assert_allclose(one.values, expected[21:], rtol=1e-4, atol=1e-5)


class Watched:
    """A network that keeps what it was given."""

    def __init__(self, model):
        self.model, self.given = model, []

    def predict_on_batch(self, x):
        self.given.append(np.array(x))
        return self.model.predict_on_batch(x)


def test_a_file_and_its_store_give_the_same_predictions(study, seq, model):
    from_files, from_store = Watched(model), Watched(model)
    found = zarrts.predict(from_files, study.path.parent / "people", like=seq)
    expected = zarrts.predict(from_store, study.path, like=seq)
    given = np.concatenate(from_store.given)
    assert len(given) == len(study.x)
    assert np.array_equal(np.concatenate(from_files.given), given)
    # XLA adds up in an order that depends on where the batch lies in memory.
    np.testing.assert_array_max_ulp(found.values, expected.values, maxulp=8)


def test_float64_files_are_treated_as_the_store_that_became_float32(seq, model, tmp_path):
    x = np.random.default_rng(0).standard_normal((20, 6, 3)) * 1e4
    np.savez(tmp_path / "a.npz", x=x)
    np.savez(tmp_path / "b.npz", x=x.astype(np.float32))
    a, b = (zarrts.predict(model, tmp_path / name, like=seq) for name in ("a.npz", "b.npz"))
    assert np.array_equal(a.values, b.values)


def test_without_like_there_is_an_error(study, model):
    with pytest.raises(TypeError, match="like"):
        zarrts.predict(model, study.path)
    with pytest.raises(zarrts.SampleError, match=r"seq\.save_spec\(path\).*scaled otherwise"):
        zarrts.predict(model, study.path, like=None)


def test_what_does_not_fit_is_refused(study, seq, model, tmp_path):
    np.savez(tmp_path / "wide.npz", x=np.zeros((5, 6, 4), np.float32))
    with pytest.raises(zarrts.SourceError, match=r"wide\.npz: x has shape \(5, 6, 4\).*\(6, 3\)"):
        zarrts.predict(model, tmp_path / "wide.npz", like=seq)
    np.savez(tmp_path / "two.npz", a=np.zeros((5, 6, 3)), b=np.zeros(5))
    with pytest.raises(zarrts.SourceError, match=r"two\.npz: holds a .*name it with x="):
        zarrts.predict(model, tmp_path / "two.npz", like=seq)
    assert len(zarrts.predict(model, tmp_path / "two.npz", like=seq, x="a")) == 5
    with pytest.raises(zarrts.StoreError, match=r"a zarrts\.Recording or arrays, not set"):
        zarrts.predict(model, {1}, like=seq)
    from_array = zarrts.predict(model, study.x, like=seq)
    assert np.array_equal(from_array.values, zarrts.predict(model, study.path, like=seq).values)
    with pytest.raises(zarrts.SampleError, match=r"end in \.npy or \.zarr"):
        zarrts.predict(model, study.path, like=seq, out=tmp_path / "out.csv")
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(zarrts.StoreError, match=r"spec\.json is not a spec"):
        zarrts.predict(model, study.path, like=tmp_path / "spec.json")


def test_a_spec_comes_back_as_it_was_saved(seq, tmp_path):
    seq.save_spec(tmp_path / "spec.json")
    found = Spec.load(tmp_path / "spec.json")
    for name in ("class_names", "row_shape", "x_steps", "stored_dtype", "dtype", "batch_size"):
        assert getattr(found, name) == getattr(seq.spec, name)
    assert np.array_equal(found.scaling.linear.shift, seq.spec.scaling.linear.shift)
    assert np.array_equal(found.scaling.linear.spread, seq.spec.scaling.linear.spread)


# Windows ------------------------------------------------------------------------------------


def test_windows_are_merged_to_recordings(tmp_path):
    rng = np.random.default_rng(3)
    series = [rng.standard_normal((n, 3)).astype(np.float32) for n in (40, 25, 33)]
    recordings = [zarrts.Recording(f"p{i}", x, np.array([i % 2])) for i, x in enumerate(series)]
    store = zarrts.convert(recordings, tmp_path / "ragged.zarr", kind="ragged", progress=False)
    inputs = keras.Input((10, 3))
    pooled = keras.layers.GlobalAveragePooling1D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    windows = store.samples.windows(10, stride=5)
    with ZarrSequence(windows, 4, memory="1MiB") as seq:
        found = zarrts.predict(model, windows, like=seq)
        starts = [range(0, len(x) - 9, 5) for x in series]
        cut = np.concatenate(
            [[x[i : i + 10] for i in of] for x, of in zip(series, starts, strict=True)]
        )
        expected = model.predict(cut, verbose=0)
        owner = np.repeat([0, 1, 2], [len(of) for of in starts])
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
        assert np.array_equal(found.recordings, owner)
        means = np.stack([expected[owner == i].mean(axis=0) for i in range(3)])
        merged = zarrts.predict(model, windows, like=seq, merge="mean")
        np.testing.assert_allclose(merged.values, means, rtol=1e-4, atol=1e-5)
        votes = np.stack([np.eye(2)[expected[owner == i].argmax(1)].mean(0) for i in range(3)])
        np.testing.assert_allclose(found.merged("vote").values, votes, rtol=1e-6)
        np.save(tmp_path / "new.npy", series[0])
        from_file = zarrts.predict(model, tmp_path / "new.npy", like=seq, stride=5)
        np.testing.assert_allclose(from_file.values, expected[owner == 0], rtol=1e-4, atol=1e-5)
        with pytest.raises(zarrts.SampleError, match="'max' is unknown"):
            found.merged("max")
    store.close()


# Per subject ----------------------------------------------------------------------------------


def test_an_evaluation_counts_each_subject_and_class(study, seq, model):
    found = zarrts.evaluate(model, seq.samples.store, like=seq)
    predicted = expected_of(study, seq, model, study.x).argmax(axis=1)
    assert found.subjects == ("s00", "s01", "s02", "s03")
    assert found.class_names == (-2, 3, 7)
    for i, subject in enumerate(found.subjects):
        mine = study.subject == subject
        for true in range(3):
            for code in range(3):
                count = np.sum(mine & (study.codes == true) & (predicted == code))
                assert found.confusion[i, true, code] == count
        assert found.subject_accuracy[i] == np.mean((predicted == study.codes)[mine])
    assert found.accuracy == np.mean(predicted == study.codes)
    again = Evaluation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert np.array_equal(again.confusion, found.confusion)
    assert str(again) == str(found)


def test_the_table_says_who_is_hard_to_tell():
    confusion = np.array([[[3, 1], [0, 4]], [[0, 0], [2, 0]]])
    table = Evaluation(subjects=("anna", "bob"), class_names=("N", "W"), confusion=confusion)
    assert str(table).splitlines() == [
        "subject  samples  correct      N      W",
        "anna           8    0.875  0.750  1.000",
        "bob            2    0.000      -  0.000",
        "all           10    0.700  0.750  0.667",
        "accuracy 0.700 (by subject 0.438 \N{PLUS-MINUS SIGN} 0.619), balanced 0.708, "
        "macro F1 0.697, kappa 0.400",
    ]


def test_one_sigmoid_tells_two_classes():
    values = np.array([[0.2], [0.9]])
    found = Predictions(
        values=values,
        sample_ids=np.arange(2),
        recordings=np.zeros(2, np.int64),
        class_names=("no", "yes"),
    )
    assert found.names.tolist() == ["no", "yes"]
    assert found.merged("vote").values.tolist() == [[0.5, 0.5]]


def test_a_callback_reports_each_subject_at_each_validation(study, seq, model):
    model.compile("sgd", "sparse_categorical_crossentropy")
    test = seq.samples.store.samples.select(subjects=["s00", "s02"])
    report = zarrts.SubjectMetrics(test, like=seq, validation_freq=2)
    history = model.fit(seq, epochs=4, callbacks=[report], verbose=0).history
    assert len(report.evaluations) == 2
    last = zarrts.evaluate(model, test, like=seq)
    assert np.array_equal(report.evaluations[-1].confusion, last.confusion)
    assert history["val_accuracy/s02"][-1] == last.subject_accuracy[1]


def test_numbers_are_not_evaluated_as_classes(tmp_path, make_study, model):
    study = make_numbered(tmp_path, make_study, labels="float", sizes=(20, 20))
    with ZarrSequence(study.path, BATCH, memory=SMALL) as seq:
        with pytest.raises(zarrts.SampleError, match="these labels are numbers"):
            zarrts.evaluate(model, study.path, like=seq)
        with pytest.raises(zarrts.SampleError, match="are numbers, not classes"):
            _ = zarrts.predict(model, study.path, like=seq).names


def assert_scaled_alike(counts, values, x, stats):
    """Compare what a store of counts and files of values give of x, but for float32's rounding.

    Counts are scaled in float64 and rounded once. Of values, x, its mean, their difference, the
    inverse of the spread and the product are.
    """
    spread = stats.std
    scaled = np.abs(x.astype(np.float64) - stats.mean) / spread
    limit = 2.0**-24 * ((np.abs(x) + np.abs(stats.mean)) / spread + 4 * scaled)
    error = np.abs(counts.astype(np.float64).reshape(x.shape) - values.reshape(x.shape))
    assert (error <= 1.001 * limit).all()  # errors of errors


def test_nights_are_predicted_from_their_files_whatever_lies_beside_them(tmp_path):
    folder = tmp_path / "nights"
    folder.mkdir()
    names = ("EOG", "Fpz-Cz", "Temp")
    for seed, night in enumerate(("a", "b")):
        write_edf(folder / f"{night}-PSG.edf", names, [RATE, RATE, 1], seed=seed)
        write_edf(folder / f"{night}-Hypnogram.edf", (), annotations=STAGES)
    chosen = ["Fpz-Cz", "EOG"]
    store = zarrts.convert(folder, tmp_path / "store.zarr", channels=chosen, progress=False)
    windows = store.samples.windows("1s", "1s", label="majority")
    model = keras.Sequential([keras.Input((RATE, 2)), keras.layers.Flatten()])
    with ZarrSequence(windows, 8, stats=windows.stats(), memory="2MiB") as seq:
        seq.save_spec(tmp_path / "spec.json")
        from_store = zarrts.predict(model, windows, like=seq)
        from_files = zarrts.predict(model, folder, like=seq)
        from_spec = zarrts.predict(model, folder, like=tmp_path / "spec.json")
    assert len(from_store) == 2 * SECONDS
    np.testing.assert_array_equal(from_spec.values, from_files.values)
    x, _ = windows.load()
    assert_scaled_alike(from_store.values, from_files.values, x, windows.stats())
    with pytest.raises(zarrts.SourceError, match=r"a-Hypnogram\.edf: holds no signals"):
        zarrts.predict(model, folder / "a-Hypnogram.edf", like=seq)


def test_inputs_among_two_arrays_without_names_are_those_of_more_axes(study, seq, model, tmp_path):
    x, y = study.x[:5], np.arange(5)
    both = np.empty(2, object)
    for name, arrays in (("xy", (x, y)), ("yx", (y, x))):
        both[:] = arrays
        np.save(tmp_path / f"{name}.npy", both)
        found = zarrts.predict(model, tmp_path / f"{name}.npy", like=seq)
        np.testing.assert_allclose(found.values, expected_of(study, seq, model, x), rtol=1e-4)


def test_what_is_no_model_or_a_single_sample_is_refused(study, seq, model, tmp_path):
    np.save(tmp_path / "one.npy", study.x[0])
    with pytest.raises(zarrts.SourceError, match=r"for a single sample, save x\[None\]"):
        zarrts.predict(model, tmp_path / "one.npy", like=seq)
    for call in (zarrts.predict, zarrts.evaluate):
        with pytest.raises(zarrts.SampleError, match=r"'m\.keras' is a path; load it"):
            call("m.keras", study.path, like=seq)
        with pytest.raises(zarrts.SampleError, match="has to be a Keras model, not ZarrSequence"):
            call(seq, study.path, like=seq)


def test_stores_and_files_at_addresses_are_opened_by_their_options(tmp_path, make_study):
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    from fake_s3 import fake_s3

    study = make_study(tmp_path / "subjects", sizes=(37, 60))
    inputs = keras.Input((6, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    place, raw = "s3://lab/a.zarr", "s3://lab/raw"
    with fake_s3() as s3:
        address = {"storage_options": s3.options}
        for path in study.folder.iterdir():
            s3.objects[f"raw/{path.name}"] = path.read_bytes()
        zarrts.convert(raw, place, progress=False, chunk=400, shard=1200, **address).close()
        cached = {"cache": tmp_path / "cache", "cache_bytes": "1MiB", **address}
        with ZarrSequence(place, BATCH, shuffle=False, memory=SMALL, **cached) as seq:
            first = np.concatenate([np.array(x) for x, _ in seq])
            np.testing.assert_array_equal(first, study.all_x)
            n_requests = s3.requests["GET"]
            again = np.concatenate([np.array(x) for x, _ in seq])
            np.testing.assert_array_equal(again, first)
            assert s3.requests["GET"] == n_requests
            with seq.like(place) as other:
                assert np.array_equal(other.labels, seq.labels)
            expected = model.predict(study.all_x, verbose=0)
            for samples in (raw, f"{raw}/*.npz", place):
                found = zarrts.predict(model, samples, like=seq, **address)
                np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-4)
            for more in ({}, address):
                counted = zarrts.evaluate(model, place, like=seq, **more)
                assert counted.confusion.sum() == 97
            with pytest.raises(PlanError, match=r"this one is open: give them to zarrts\.open"):
                ZarrSequence(seq.samples, **address)


def test_what_is_shown_of_predictions_and_results_is_short(study, seq, model):
    found = zarrts.predict(model, study.path, like=seq)
    assert repr(found) == "<Predictions of 161 samples: shape (161, 3), classes -2, 3, 7>"
    correct = (found.names == study.y).mean()
    shown = (
        f"<Evaluation of 161 samples, 4 subjects: {correct:.3f} correct; print it for the table>"
    )
    assert repr(zarrts.evaluate(model, study.path, like=seq)) == shown


def test_values_that_were_declared_missing_are_missing_in_new_files(tmp_path):
    """As NaN, which the network was trained with: filled by the mean."""
    rng = np.random.default_rng(0)
    for folder, seed in (("old", 1), ("new", 2)):
        (tmp_path / folder).mkdir()
        x = rng.integers(-100, 100, (12, 4, 2)).astype("i2")
        x[seed, 2, 1] = x[5, 0, 0] = -32768
        np.savez(tmp_path / folder / f"{folder}.npz", x=x, y=np.arange(12) % 2)
    options = {"missing": -32768, "progress": False}
    trained = zarrts.convert(tmp_path / "old", tmp_path / "old.zarr", **options).samples
    new = zarrts.convert(tmp_path / "new", tmp_path / "new.zarr", **options).samples
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.Flatten()])
    with zarrts.ZarrSequence(trained, batch_size=5, stats=trained.stats(), nan="fill") as seq:
        seq.save_spec(tmp_path / "spec.json")
        expected = zarrts.predict(model, new, like=seq, progress=False).values
    found = zarrts.predict(model, tmp_path / "new", like=tmp_path / "spec.json", progress=False)
    x = np.load(tmp_path / "new/new.npz")["x"].astype(np.float32)
    x[x == -32768] = np.nan
    mean = trained.stats().mean.astype(np.float32)
    assert_scaled_alike(expected, found.values, np.where(np.isnan(x), mean, x), trained.stats())
    assert (found.values.reshape(x.shape)[np.isnan(x)] == 0).all()
