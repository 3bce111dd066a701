"""Networks with several inputs, named alike; and new data for them."""

import dataclasses

import numpy as np
import pytest
from edf_files import write_edf

import zarrts
from zarrts import transforms

keras = pytest.importorskip("keras")

RATES = {"acc": 8, "hr": 2}


def recording(number, seconds=30, name=None, label=None):
    rng = np.random.default_rng(number)
    kind = number % 2
    x = {
        "acc": (rng.normal(size=(8 * seconds, 3)) + kind).astype("f4"),
        "hr": (rng.normal(size=(2 * seconds, 1)) - kind).astype("f4"),
        "age": 30.0 + number,
    }
    y = "ab"[kind] if label is None else label
    return zarrts.Recording(name or f"s{number}", x, y, rate_hz=RATES)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    study = [recording(number, 20 + number) for number in range(5)]
    return zarrts.convert(study, folder / "a.zarr", kind="ragged", progress=False)


@pytest.fixture
def parts(store):
    return store.samples.windows("2s", "1s").split(test=1, seed=0)


def network(kind):
    inputs = [keras.Input(s, name=n) for n, s in (("acc", (16, 3)), ("age", (1,)), ("hr", (4, 1)))]
    pooled = [keras.layers.Flatten()(it) for it in inputs]
    output = keras.layers.Dense(2, activation="softmax")(keras.layers.Concatenate()(pooled))
    given = inputs if kind == "list" else {it.name: it for it in inputs}
    model = keras.Model(given, output)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("stats", ["own", "subject"])
def test_functional_networks_train_predict_and_evaluate(parts, tmp_path, kind, stats):
    train, test = parts
    model = network(kind)
    given = train.stats() if stats == "own" else {"acc": "subject", "hr": "sample"}
    with zarrts.ZarrSequence(train, batch_size=8, stats=given) as seq:
        x, _ = seq[0]
        assert {name: it.shape[1:] for name, it in x.items()} == {
            "acc": (16, 3),
            "age": (1,),
            "hr": (4, 1),
        }
        model.fit(seq, validation_data=seq.like(test), epochs=2, verbose=0)
        seq.save_spec(tmp_path / "spec.json")
        by_hand = [model.predict_on_batch(seq.like(test)[i][0]) for i in range(len(seq.like(test)))]
        found = zarrts.predict(model, test, like=seq, progress=False)
        np.testing.assert_allclose(found.values, np.concatenate(by_hand), rtol=1e-5, atol=1e-6)
        right = zarrts.evaluate(model, test, like=seq, progress=False)
        codes = test.load_labels()
        assert right.accuracy == pytest.approx((found.values.argmax(axis=1) == codes).mean())
    # New people, whose inputs are no store: as if they were in one.
    new = recording(8, 12, name="new")
    in_store = zarrts.convert([new], tmp_path / "new.zarr", kind="ragged", progress=False)
    like = tmp_path / "spec.json"
    from_store = zarrts.predict(model, in_store, like=like, progress=False)
    from_memory = zarrts.predict(model, new, like=like, progress=False)
    assert len(from_memory.values) == 6
    np.testing.assert_allclose(from_memory.values, from_store.values, rtol=1e-5, atol=1e-6)
    one = zarrts.evaluate(model, [new], like=like, progress=False)
    assert one.accuracy == pytest.approx((from_memory.values.argmax(axis=1) == 0).mean())


def test_files_of_new_people_are_predicted(parts, tmp_path):
    train, _ = parts
    model = network("dict")
    with zarrts.ZarrSequence(train, batch_size=8, stats=train.stats()) as seq:
        model.fit(seq, verbose=0)
        new = recording(7, 10)
        np.savez(tmp_path / "new.npz", **{name: np.asarray(it) for name, it in new.x.items()})
        with pytest.warns(UserWarning, match="says nothing of a rate"):
            found = zarrts.predict(model, tmp_path / "new.npz", like=seq, progress=False)
        again = zarrts.predict(model, new, like=seq, progress=False)
        np.testing.assert_allclose(found.values, again.values, rtol=1e-6)
        lacks = dataclasses.replace(new, x={"acc": new.x["acc"]}, rate_hz=8)
        with pytest.raises(zarrts.ZarrtsError, match="has the inputs acc, but the network was"):
            zarrts.predict(model, lacks, like=seq, progress=False)


def test_a_single_input_takes_its_array(parts):
    train, _ = parts
    acc = keras.Input((16, 3), name="acc")
    model = keras.Model(acc, keras.layers.Dense(2)(keras.layers.Flatten()(acc)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with zarrts.ZarrSequence(train, batch_size=8, inputs="acc") as seq:
        assert seq[0][0].shape == (8, 16, 3)
        model.fit(seq, verbose=0)
        found = zarrts.predict(model, recording(7, 10), like=seq, progress=False)
        assert found.values.shape == (5, 2)
    for inputs in (None, ["acc"], ["hr"]):
        with (
            zarrts.ZarrSequence(train, batch_size=8, inputs=inputs) as seq,
            pytest.raises(zarrts.ZarrtsError, match="The network has one input, acc, but batches"),
        ):
            model.fit(seq, verbose=0)


def test_other_names_are_one_error_with_both_sides(parts):
    train, _ = parts
    with (
        zarrts.ZarrSequence(train, batch_size=8, inputs=["acc", "hr"]) as seq,
        pytest.raises(
            zarrts.ZarrtsError,
            match="The inputs of the network are acc, age, hr, but those of batches are acc, hr",
        ),
    ):
        network("dict").fit(seq, verbose=0)


def test_masks_are_inputs_of_their_own(store):
    with zarrts.ZarrSequence(
        store.samples, batch_size=2, pad="longest", mask=True, shuffle=False
    ) as seq:
        x, _ = seq[0]
    assert x.keys() == {"acc", "age", "hr", "acc_mask", "hr_mask"}
    assert x["acc_mask"].sum(axis=1).tolist() == [160, 168]
    assert x["hr_mask"].sum(axis=1).tolist() == [40, 42]


def test_a_transform_sees_the_inputs_by_name(parts):
    train, _ = parts
    plain = next(iter(train.batches(8, dtype="float32")))

    def doubled(batch, rng):
        return dataclasses.replace(batch, x=batch.x | {"hr": batch.x["hr"] * 2})

    found = next(iter(train.batches(8, dtype="float32", transform=doubled)))
    np.testing.assert_array_equal(found.x["hr"], plain.x["hr"] * 2)
    jitter = transforms.on_input("acc", transforms.jitter(0.1))
    found = next(iter(train.batches(8, dtype="float32", transform=jitter)))
    assert 0.05 < (found.x["acc"] - plain.x["acc"]).std() < 0.2
    np.testing.assert_array_equal(found.x["hr"], plain.x["hr"])
    for transform, words in (
        (
            transforms.jitter(0.1),
            r"say which of them is changed: transforms.on_input\('acc', transforms.jitter",
        ),
        (transforms.on_input("ecg", transforms.jitter(0.1)), "are: acc, age, hr"),
        (
            transforms.on_input("acc", transforms.mixup(0.1)),
            "the transform changes labels or samples",
        ),
        (lambda batch, rng: dataclasses.replace(batch, x={"acc": batch.x["acc"]}), "acc, age, hr"),
    ):
        mode = {"label_mode": "categorical"}
        with pytest.raises(zarrts.ZarrtsError, match=words):
            next(iter(train.batches(8, dtype="float32", transform=transform, **mode)))


def test_a_run_resumes_at_any_batch(parts):
    train, _ = parts
    with zarrts.ZarrSequence(train, batch_size=8, seed=3) as seq:
        every = list(seq)
        loop = iter(seq)
        for _ in range(2):
            next(loop)
        state = seq.state_dict()
    with zarrts.ZarrSequence(train, batch_size=8, seed=3) as seq:
        seq.load_state_dict(state)
        rest = list(seq)
    assert len(rest) == len(every) - 2
    for (x, y), (other, its_y) in zip(rest, every[2:], strict=True):
        np.testing.assert_array_equal(y, its_y)
        for name, values in x.items():
            np.testing.assert_array_equal(values, other[name])


def test_tensors_of_torch_by_name(parts):
    torch = pytest.importorskip("torch")
    train, _ = parts
    batches = train.to_torch(8, seed=1)
    plain = next(iter(train.batches(8, seed=1, dtype="float32")))
    x, _ = next(iter(torch.utils.data.DataLoader(batches, batch_size=None)))
    for name, values in plain.x.items():
        np.testing.assert_array_equal(x[name].numpy(), values)


def test_a_data_set_of_tensorflow_by_name(parts):
    pytest.importorskip("tensorflow")
    train, _ = parts
    with zarrts.ZarrSequence(train, batch_size=8, seed=1) as seq:
        data = seq.to_tf_dataset(epoch=0)
        assert data.element_spec[0]["hr"].shape.as_list()[1:] == [4, 1]
        for (x, _), (other, _) in zip(data, seq, strict=True):
            for name, values in x.items():
                np.testing.assert_array_equal(values.numpy(), other[name])


@pytest.mark.parametrize("x", [None, {"eeg": ["C4"], "emg": "chin"}])
@pytest.mark.parametrize("inputs", ["all", "one"])
def test_new_files_of_signals_are_predicted_as_they_are_in_a_store(tmp_path, x, inputs):
    for number, folder in enumerate(("study", "study", "new")):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / f"s{number}.edf"
        marks = [(0, 5, "W"), (5, 7, "R")]
        write_edf(path, ("C3", "C4", "chin"), [50, 50, 10], marks, seed=number)
    train = zarrts.convert(tmp_path / "study", tmp_path / "a.zarr", x=x, progress=False)
    windows = train.samples.windows("2s", "1s", label="last")
    names = train.input_names
    fast = "50Hz" if x is None else "eeg"
    shapes = windows.sample_shape
    layers = [keras.Input(shapes[name], name=name) for name in names]
    if inputs == "one":
        layers = [keras.Input(shapes[fast], name=fast)]
    flat = [keras.layers.Flatten()(it) for it in layers]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    model = keras.Model(layers, keras.layers.Dense(2, "softmax")(joined))
    model.compile("adam", "sparse_categorical_crossentropy")
    chosen = None if inputs == "all" else fast
    with zarrts.ZarrSequence(windows, 4, stats=windows.stats(), inputs=chosen) as seq:
        model.fit(seq, verbose=0)
        seq.save_spec(tmp_path / "spec.json")
    like, new = tmp_path / "spec.json", tmp_path / "new"
    in_store = zarrts.convert(new, tmp_path / "b.zarr", x=x, progress=False)
    expected = zarrts.predict(model, in_store, like=like, progress=False)
    found = zarrts.predict(model, new, like=like, progress=False)
    assert len(found.values) == 6
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-6)
