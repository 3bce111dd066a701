"""Labels as people have them: merged, missing, weighted; the same as when done by hand."""

import numpy as np
import pytest

import zarrts
from zarrts.errors import SampleError

pytest.importorskip("keras", reason="what Keras gets is compared")
SIZES = (30, 1, 18)
NAMES = np.array(["lie", "run", "sit", "walk"])
MERGED = {"rest": ["sit", "lie"], "move": "walk"}


def convert(folder, labels, name="study", steps=(6, 2)):
    """Return a store with some labels of each subject, and x that tells samples apart."""
    x = [np.full((len(y), *steps), i * 100.0) for i, y in enumerate(labels)]
    for it in x:
        it += np.arange(len(it)).reshape(-1, *[1] * len(steps))
    recordings = [
        zarrts.Recording(f"s{i}", *both) for i, both in enumerate(zip(x, labels, strict=True))
    ]
    return zarrts.convert(recordings, folder / f"{name}.zarr", progress=False, chunk="200B")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return (text of every sample, "" where it is missing; its subject; the store)."""
    rng = np.random.default_rng(0)
    labels = [np.array(["", *NAMES])[rng.choice(5, n, p=[0.2, 0.3, 0.1, 0.2, 0.2])] for n in SIZES]
    labels[1][:] = "walk"
    with convert(tmp_path_factory.mktemp("text"), labels) as store:
        yield np.concatenate(labels), np.repeat(["s0", "s1", "s2"], SIZES), store


def batches_of(samples, **options):
    with zarrts.ZarrSequence(samples, batch_size=7, shuffle=False, **options) as seq:
        found = list(seq)
        return [
            None if it[0] is None else np.concatenate(it)
            for it in zip(*((*b, None)[:3] for b in found), strict=True)
        ]


# Missing ----------------------------------------------------------------------------------


def test_samples_without_a_label_are_counted_and_kept_out_of_training(study):
    text, _, store = study
    samples = store.samples
    is_there = text != ""
    assert store.class_names == NAMES.tolist()
    assert samples.n_unlabelled == np.sum(~is_there) > 3
    assert np.array_equal(samples.labelled().ids, np.flatnonzero(is_there))
    assert samples.class_counts.tolist() == [np.sum(text == it) for it in NAMES]
    with zarrts.ZarrSequence(samples, batch_size=7) as seq:
        found = [(x, y) for x, y in seq]
        assert sum(len(y) for _, y in found) == is_there.sum()
        codes = np.concatenate([y for _, y in found])
        assert np.array_equal(np.bincount(codes), [np.sum(text == it) for it in NAMES])
    _, y, _ = batches_of(samples, label_mode="categorical")
    assert np.array_equal(NAMES[y.argmax(axis=1)], text[is_there])
    assert (y.sum(axis=1) == 1).all()
    with zarrts.ZarrSequence(samples, label_mode=None, shuffle=False) as seq:
        assert len(seq.sample_ids) == len(text)
    with samples.batches(50, shuffle=False, label_mode="categorical") as batches:
        assert np.array_equal(next(batches).y.sum(axis=1), is_there)


def test_a_study_with_all_labels_loses_nothing_and_reads_none(tmp_path, monkeypatch):
    with convert(tmp_path, [np.array([1, 2, 1]), np.array([2])]) as store:
        monkeypatch.setattr("zarrts.reading.missing_labels.labelled_samples", None)
        assert store.samples.n_unlabelled == 0
        assert len(store.samples.labelled()) == 4


def test_values_that_stand_for_no_label_are_no_class_any_more(tmp_path):
    y = [np.array([-1, 4, 4, 9, -1]), np.array([9, -1])]
    with convert(tmp_path, y) as store:
        samples = store.samples.labelled(missing=-1)
        assert store.class_names == [-1, 4, 9]
        assert (samples.class_names, samples.n_classes) == ([4, 9], 2)
        assert samples.class_indices == {4: 0, 9: 1}
        assert samples.ids.tolist() == [1, 2, 3, 5]
        assert batches_of(samples)[1].tolist() == [0, 0, 1, 1]
        assert samples.class_weight() == {0: 1.0, 1: 1.0}
        train, test = samples.split(test=["s1"])
        assert (train.class_names, test.ids.tolist()) == ([4, 9], [5])


@pytest.mark.parametrize("missing", [(), -9.0])
def test_numbers_that_are_missing_are_left_out(tmp_path, missing):
    y = [np.array([0.5, np.nan, -9, 2]), np.array([np.nan])]
    with convert(tmp_path, y) as store:
        samples = store.samples.labelled(missing)
        expected = [0.5, 2] if missing else [0.5, -9, 2]
        assert batches_of(samples)[1].tolist() == expected
        assert batches_of(store)[1].tolist() == [0.5, -9, 2]
        assert store.samples.n_unlabelled == 2


def test_columns_of_a_sample_are_one_label(tmp_path):
    y = [np.array([[0.5, 1], [np.nan, 2], [3, 4]]), np.array([[np.nan, np.nan]])]
    with convert(tmp_path, y) as store:
        assert batches_of(store)[1].tolist() == [[0.5, 1], [3, 4]]


def test_steps_without_a_label_count_nothing(tmp_path):
    y = [np.array([["a", "", "b"], ["", "", ""], ["b", "b", "a"]]), np.array([["", "a", ""]])]
    with convert(tmp_path, y, steps=(3, 2)) as store:
        assert store.samples.n_unlabelled == 1
        x, y, weight = batches_of(store)
        assert x[:, 0, 0].tolist() == [0, 2, 100]
        assert y.tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]
        assert weight.tolist() == [[1, 0, 1], [1, 1, 1], [0, 1, 0]]
        _, _, weight = batches_of(store, sample_weight="class")
        # 3 labels are a, 3 are b: all weigh the same.
        assert weight.tolist() == [[1, 0, 1], [1, 1, 1], [0, 1, 0]]
        with pytest.raises(SampleError, match="have several; use ZarrSequence"):
            store.samples.class_weight()
        _, _, weight = batches_of(store, sample_weight={"b": 3})
        assert weight.tolist() == [[1, 0, 3], [3, 3, 1], [0, 1, 0]]
        _, _, weight = batches_of(store, sample_weight={"s1": 2})
        assert weight.tolist() == [[1, 0, 1], [1, 1, 1], [0, 2, 0]]


def test_steps_of_recordings_without_a_label_or_behind_the_end_count_nothing(tmp_path):
    texts = [np.array(["a", "", "b"]), np.array(["", ""]), np.array(["b"])]
    recordings = [
        zarrts.Recording(f"s{i}", np.full((len(y), 2), i, float), y) for i, y in enumerate(texts)
    ]
    store = zarrts.convert(recordings, tmp_path / "r.zarr", progress=False, kind="ragged")
    with store:
        assert store.samples.n_unlabelled == 1
        x, y, weight = batches_of(store, pad="longest")
        assert x[:, 0, 0].tolist() == [0, 2]
        assert y.tolist() == [[0, 0, 1], [1, 0, 0]]
        assert weight.tolist() == [[1, 0, 1], [1, 0, 0]]
        with pytest.warns(UserWarning, match="1 of 3 recordings are too short"):
            windows = store.samples.windows(2, label="last")
        assert windows.n_unlabelled == 2
        assert batches_of(windows)[1].tolist() == [1]


# Merged -----------------------------------------------------------------------------------


def test_merged_classes_are_the_classes_everywhere(study):
    text, subject, store = study
    names = np.array(["rest", "move"])
    code = np.select([np.isin(text, ["sit", "lie"]), text == "walk"], [0, 1], -1)
    samples = store.samples.select(classes=MERGED)
    assert samples.ids.tolist() == np.flatnonzero(code >= 0).tolist()
    assert (samples.class_names, samples.n_classes) == (names.tolist(), 2)
    assert samples.class_counts.tolist() == [np.sum(code == 0), np.sum(code == 1)]
    expected = code[code >= 0]
    assert batches_of(samples)[1].tolist() == expected.tolist()
    assert batches_of(samples, label_mode="binary")[1][:, 0].tolist() == expected.tolist()
    assert np.array_equal(batches_of(samples, label_mode="categorical")[1], np.eye(2)[expected])
    only = samples.select(classes=["move"], subjects=["s2"])
    assert only.ids.tolist() == np.flatnonzero((code == 1) & (subject == "s2")).tolist()
    again = samples.select(classes={"all": ["move", "rest"]})
    assert again.class_counts.tolist() == [np.sum(code >= 0)]
    n = np.bincount(expected)
    assert samples.class_weight() == pytest.approx(dict(enumerate(n.sum() / (2 * n))))
    train, test = samples.split(test=["s2"], stratify=True)
    assert train.class_names == test.class_names == names.tolist()
    with zarrts.ZarrSequence(train, balance="class", batch_size=4) as seq:
        assert all(np.bincount(y, minlength=2).tolist() == [2, 2] for _, y in seq if len(y) == 4)
        assert seq.class_names == names.tolist()
        for other in (test, store.samples.select(subjects=["s2"])):
            like = seq.like(other)
            assert like.labels.tolist() == code[(code >= 0) & (subject == "s2")].tolist()


def test_a_network_is_judged_and_predicts_by_merged_classes(study, tmp_path):
    import keras

    text, _, store = study
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    train = store.samples.select(classes=MERGED)
    with zarrts.ZarrSequence(train, batch_size=9) as seq:
        seq.save_spec(tmp_path / "spec.json")
        found = zarrts.evaluate(model, store.samples, like=seq)
        assert found.class_names == ("rest", "move")
        assert found.confusion.sum(axis=(0, 2)).tolist() == train.class_counts.tolist()
    predicted = zarrts.predict(model, store, like=tmp_path / "spec.json")
    assert len(predicted) == len(text)
    assert set(predicted.names) <= {"rest", "move"}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"rest": ["sit", "lay"]}, "No class named lay; the classes are lie, run"),
        ({"rest": ["sit", "lie"], "low": "lie"}, "'lie' is in 'rest' and in 'low'; name it once"),
        ({}, "classes= is empty"),
    ],
)
def test_merges_that_mean_nothing_are_refused(study, classes, message):
    with pytest.raises(SampleError, match=message):
        study[2].samples.select(classes=classes)


# Weights ----------------------------------------------------------------------------------


def weights_by_hand(study, given):
    text, subject, _ = study
    is_there = text != ""
    text, subject = text[is_there], subject[is_there]
    if given == "class":
        return [len(text) / (4 * np.sum(text == it)) for it in text]
    if given == "subject":
        return [len(text) / (3 * np.sum(subject == it)) for it in subject]
    key = text if "run" in given else subject
    return [given.get(it, 1) for it in key]


@pytest.mark.parametrize("given", ["class", "subject", {"run": 5, "sit": 0.5}, {"s1": 9.0}])
def test_weights_of_classes_and_subjects(study, given):
    _, _, weight = batches_of(study[2], sample_weight=given)
    assert weight.dtype == np.float32
    assert weight == pytest.approx(weights_by_hand(study, given))


def test_weights_given_for_all_samples_follow_those_that_have_a_label(study):
    text, _, store = study
    given = np.arange(len(text)) / 7
    _, _, weight = batches_of(store, sample_weight=given)
    assert weight == pytest.approx(given[text != ""])
    groups = np.arange(len(text)) % 2
    with zarrts.ZarrSequence(store, balance=groups, batch_size=6) as seq:
        drawn = [x[:, 0, 0] for x, _ in seq]
    ids = {value: i for i, value in enumerate(store.samples.load()[0][:, 0, 0])}
    for batch in drawn:
        counts = np.bincount([groups[ids[it]] for it in batch], minlength=2)
        assert abs(counts[0] - counts[1]) <= 1


def test_a_function_weighs_a_batch_by_what_is_in_it(study):
    _, y, weight = batches_of(study[2], sample_weight=lambda batch: batch.y + 1)
    assert weight.tolist() == (y + 1).tolist()
    with pytest.raises(SampleError, match=r"returned shape \(1,\) for a batch of 7"):
        batches_of(study[2], sample_weight=lambda batch: [1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("classes", "sample_weight='classes' is unknown; use 'class', 'subject'"),
        ({"run": 1, "s1": 2}, "neither all classes nor all subjects"),
        ({0: 1.0, 1: 2.0}, r"The classes are 'lie', .* for fit\(class_weight=...\)"),
        ([1.0, 2.0], r"shape \(2,\), but there are \d+ samples"),
    ],
)
def test_weights_that_mean_nothing_are_refused(study, given, message):
    with pytest.raises(SampleError, match=message):
        batches_of(study[2], sample_weight=given)


@pytest.mark.parametrize("given", ["class", "subject", {"run": 5}, lambda batch: batch.y + 2])
def test_batches_without_keras_have_the_same_weights_and_0_where_labels_are_missing(study, given):
    text, _, store = study
    is_there = text != ""
    _, y, weight = batches_of(store, sample_weight=given)
    options = {"label_mode": "int", "shuffle": False}
    found = list(store.samples.batches(7, sample_weight=given, **options))
    own = np.concatenate([it.sample_weight for it in found])
    assert own.dtype == np.float32
    assert own[is_there] == pytest.approx(weight)
    assert (own[~is_there] == 0).all()
    of_all = np.concatenate([it.y for it in found])
    assert np.array_equal(of_all[is_there], y)
    assert (of_all[~is_there] == 0).all()
    plain = list(store.samples.batches(7, **options))
    assert all(it.sample_weight is None for it in plain)
    assert np.array_equal(np.concatenate([it.y for it in plain]) < 0, ~is_there)


def test_weights_of_all_samples_keep_to_them_in_a_shuffled_epoch(study):
    samples = study[2].samples
    given = np.arange(len(samples)) / 7
    for batch in samples.batches(9, sample_weight=given, seed=3):
        assert batch.sample_weight == pytest.approx(
            np.where(study[0][batch.sample_id] == "", 0, given[batch.sample_id])
        )
    with pytest.raises(SampleError, match="sample_weight needs labels, but label_mode is None"):
        samples.batches(9, sample_weight=given, label_mode=None)
    with pytest.raises(TypeError, match="use sample_weight=, 'class', or a dict of classes"):
        samples.batches(9, class_weight={0: 1.0})


def test_each_output_has_its_weights_and_its_missing_labels(tmp_path):
    import keras

    stage = [np.array(["N1", "", "W", "N1"]), np.array(["W", ""])]
    age = [np.array([1.0, 2, np.nan, 4]), np.array([5, np.nan])]
    recordings = [
        zarrts.Recording(
            f"s{i}",
            np.arange(len(stage[i]) * 6.0).reshape(-1, 3, 2),
            {"stage": stage[i], "age": age[i]},
        )
        for i in range(2)
    ]
    with zarrts.convert(recordings, tmp_path / "two.zarr", progress=False) as store:
        assert store.samples.n_unlabelled == 1
        with pytest.raises(SampleError, match=r"sample_weight=\{'age': 'class'\}"):
            store.samples.class_weight()
        options = {"batch_size": 5, "shuffle": False}
        given = {"stage": {"W": 3}, "age": "subject"}
        with zarrts.ZarrSequence(store, sample_weight=given, **options) as seq:
            ((_, y, weight),) = list(seq)
            assert y["stage"].tolist() == [0, 0, 1, 0, 1]
            assert y["age"].tolist() == [1, 2, 0, 4, 5]
            assert weight["stage"].tolist() == [1, 0, 3, 1, 3]
            assert weight["age"] == pytest.approx([5 / 8, 5 / 8, 0, 5 / 8, 5 / 2])
            batch = next(store.samples.labelled().batches(5, shuffle=False, sample_weight=given))
            for name in ("stage", "age"):
                assert np.array_equal(batch.y[name], y[name])
                assert np.array_equal(batch.sample_weight[name], weight[name])
            inputs = keras.Input((3, 2))
            flat = keras.layers.Flatten()(inputs)
            outputs = {
                "stage": keras.layers.Dense(2, "softmax", name="stage")(flat),
                "age": keras.layers.Dense(1, name="age", kernel_initializer="zeros")(flat),
            }
            model = keras.Model(inputs, outputs)
            losses = {"stage": "sparse_categorical_crossentropy", "age": "mse"}
            model.compile("sgd", losses, run_eagerly=True)
            logs = model.evaluate(seq, verbose=0, return_dict=True)
        expected = np.sum(weight["age"] * y["age"] ** 2) / 5
        assert logs["age_loss"] == pytest.approx(expected, rel=1e-5)


def test_sequences_weigh_steps_in_keras(tmp_path):
    import keras

    y = [np.array([["a", "", "b"], ["b", "b", "a"]])]
    with convert(tmp_path, y, steps=(3, 2)) as store:
        zeros = {"kernel_initializer": "zeros"}
        model = keras.Sequential([keras.layers.Dense(2, "softmax", **zeros)])
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        with zarrts.ZarrSequence(store, shuffle=False, sample_weight={"b": 2}) as seq:
            loss = model.evaluate(seq, verbose=0)
    # Each step costs log 2: five have a label, three of them count twice, over six steps.
    assert loss == pytest.approx(np.log(2) * (2 + 3 * 2) / 6, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "stored"),
    [
        (np.array(["a", None, "b"], object), ["a", "b"]),
        (["a", float("nan"), "b"], ["a", "b"]),
        (np.array([1.5, None, 2.0], object), None),
    ],
)
def test_none_among_labels_is_a_label_that_is_missing(tmp_path, labels, stored):
    from click.testing import CliRunner

    from zarrts.cli import main

    both = np.empty(2, object)
    both[:] = [np.zeros((3, 4, 2)), np.array(labels, object)]
    (tmp_path / "files").mkdir()
    np.save(tmp_path / "files" / "s1.npy", both)
    recording = zarrts.Recording("s1", both[0], labels)
    for source in ([recording], tmp_path / "files"):
        name = str(tmp_path / f"{len(str(source))}.zarr")
        with zarrts.convert(source, name, progress=False) as store:
            assert store.class_names == stored
            assert store.samples.labelled().ids.tolist() == [0, 2]
        said = CliRunner().invoke(main, ["info", name]).output
        assert "no label  1 sample, kept out of training" in said
