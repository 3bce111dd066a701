"""ZarrSequence by itself: its batches, its options, and the errors of the first hour."""

import dataclasses
import sys
import threading
import types
import warnings

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)

from keras_models import LARGE, SMALL, Numbered, flat, make_numbered, numbers  # noqa: E402
from loader_threads import loader_threads  # noqa: E402

import zarrts.keras.adapter  # noqa: E402
from zarrts.keras.sequence import ZarrSequence  # noqa: E402

N, BATCH, N_BATCHES = 161, 16, 11


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study) -> Numbered:
    """161 samples of four people, with labels -2, 3 and 7."""
    return make_numbered(tmp_path_factory.mktemp("int"), make_study)


@pytest.fixture(scope="module")
def study_of(tmp_path_factory, make_study):
    """Return the study with labels of some kind, made when first asked for."""
    made: dict[str, Numbered] = {}

    def get(labels: str) -> Numbered:
        if labels not in made:
            folder = tmp_path_factory.mktemp(labels)
            made[labels] = make_numbered(folder, make_study, labels, sizes=(30, 50))
        return made[labels]

    return get


def as_keras_asks(seq, shuffle=True):
    """Return the generator through which Keras reads: what fit does, without a network."""
    adapters = pytest.importorskip("keras.src.trainers.data_adapters.py_dataset_adapter")
    return adapters.PyDatasetAdapter(seq, shuffle=shuffle)._get_iterator()


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# seq[i] -----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [SMALL, LARGE])
def test_batch_i_is_batch_i_of_a_fresh_first_epoch(study, sequence, memory):
    first_epoch = list(as_keras_asks(sequence(study.path, memory=memory)))
    seq = sequence(study.path, memory=memory)
    assert len(first_epoch) == len(seq) == N_BATCHES
    assert all(same(seq[i], first_epoch[i]) for i in [5, 0, 10, 5, -1, -11])


def test_batch_i_does_not_depend_on_what_was_asked_before(study, sequence):
    seq = sequence(study.path)
    before = [seq[i] for i in range(N_BATCHES)]
    for _ in range(3):
        list(as_keras_asks(seq))
    unfinished = as_keras_asks(seq)
    next(unfinished)
    assert all(same(seq[i], before[i]) for i in range(N_BATCHES))
    seq.close()
    assert all(same(seq[i], before[i]) for i in range(N_BATCHES))


def test_batch_numbers_count_from_the_end_and_end_in_index_errors(study, sequence):
    seq = sequence(study.path)
    assert same(seq[-1], seq[10])
    assert same(seq[-11], seq[0])
    for index in (11, -12):
        with pytest.raises(IndexError, match=f"batch {index} of 11"):
            seq[index]


def test_every_sample_is_in_one_batch_with_its_own_label(study, sequence):
    seq = sequence(study.path)
    seen = flat(numbers([seq[i] for i in range(len(seq))]))
    assert sorted(seen) == list(range(N))
    assert np.array_equal(np.concatenate([seq[i][1] for i in range(len(seq))]), study.codes[seen])
    assert np.array_equal(np.concatenate([seq[i][0] for i in range(len(seq))]), study.x[seen])


def test_a_loop_over_the_sequence_gives_its_batches(study, sequence):
    seq = sequence(study.path)
    assert len(list(seq)) == N_BATCHES
    assert all(same(batch, seq[i]) for i, batch in enumerate(seq))


def test_epoch_chooses_the_batches_of_a_loop(study, sequence):
    fed = sequence(study.path)
    epochs = [list(as_keras_asks(fed)) for _ in range(3)]
    seq = sequence(study.path)
    assert seq.epoch == 0
    for epoch in (2, 0, 1):
        seq.epoch = epoch
        assert all(
            same(batch, expected) for batch, expected in zip(seq, epochs[epoch], strict=True)
        )
        assert same(seq[4], epochs[epoch][4])


# What Keras' generator gets ---------------------------------------------------------------


def test_two_generators_at_once_get_a_whole_epoch_each(study, sequence):
    """Validation on the training sequence, while a pass of training goes on."""
    seq = sequence(study.path)
    one, other = as_keras_asks(seq), as_keras_asks(seq, shuffle=False)
    batches = [(next(one), next(other)) for _ in range(N_BATCHES)]
    ones, others = (numbers(list(part)) for part in zip(*batches, strict=True))
    assert sorted(flat(ones)) == sorted(flat(others)) == list(range(N))
    assert ones != others
    with pytest.raises(StopIteration):
        next(one)


def test_two_threads_at_once_get_a_whole_epoch_each(study, sequence):
    seq = sequence(study.path)
    start = threading.Barrier(2)
    seen: dict[int, list[int]] = {}

    def read(number):
        start.wait()
        seen[number] = flat(numbers(list(as_keras_asks(seq))))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(N))
    assert seen[0] != seen[1]


def test_a_generator_keeps_its_place_whatever_others_abandon(study, sequence):
    seq = sequence(study.path)
    reading = as_keras_asks(seq)
    seen = [next(reading)]
    for _ in range(20):
        abandoned = as_keras_asks(seq)
        next(abandoned)
    seen += reading
    assert sorted(flat(numbers(seen))) == list(range(N))


def test_a_generator_that_outlives_close_starts_no_threads(study, sequence):
    """Such as that of tf.data, which reads ahead when fit has ended in an error."""
    seq = sequence(study.path)
    reading = as_keras_asks(seq)
    next(reading)
    seq.close()
    with pytest.raises(zarrts.SampleError, match="closed while it was read"):
        next(reading)
    assert loader_threads() == []
    assert sorted(flat(numbers(list(as_keras_asks(seq))))) == list(range(N)), "and starts again"


def test_batches_are_never_changed_after_they_were_handed_out(study, sequence):
    seq = sequence(study.path)
    kept = [*as_keras_asks(seq), *seq, *(seq[i] for i in range(N_BATCHES))]
    copies = [tuple(it.copy() for it in batch) for batch in kept]
    for _ in range(2):
        list(as_keras_asks(seq))
    assert all(same(batch, copy) for batch, copy in zip(kept, copies, strict=True))
    assert all(x.ctypes.data % 64 == 0 and x.flags.c_contiguous for x, _ in kept)


def test_a_later_keras_gets_right_batches_and_one_warning(study, sequence, monkeypatch):
    monkeypatch.setattr(zarrts.keras.adapter, "_has_warned", False)
    later = types.ModuleType("keras.src.trainers.data_adapters.later_adapter")
    exec("def shuffled(seq, order):\n    return [seq[i] for i in order]", later.__dict__)
    seq = sequence(study.path)
    order = np.random.default_rng(0).permutation(N_BATCHES)
    with pytest.warns(UserWarning, match=r"right, but slow.*[Uu]pgrade zarrts") as caught:
        batches = [later.shuffled(seq, order) for _ in range(2)]
    assert len(caught) == 1
    for epoch in batches:
        assert sorted(flat(numbers(epoch))) == list(range(N))
        assert all(same(batch, seq[i]) for batch, i in zip(epoch, order, strict=True))


def test_the_keras_that_is_installed_is_known(study, sequence, monkeypatch):
    monkeypatch.setattr(zarrts.keras.adapter, "_has_warned", False)
    seq = sequence(study.path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(seq)
        list(as_keras_asks(seq))


@pytest.mark.skipif(
    tuple(int(part) for part in keras.__version__.split(".")[:2]) < (3, 14),
    reason="adapt() of a PyDataset fails before Keras 3.14",
)
def test_a_normalization_layer_adapts_to_a_sequence(study, sequence):
    pytest.importorskip("tensorflow", reason="adapt() of a data set needs it on each backend")
    scaler = keras.layers.Normalization()
    scaler.adapt(sequence(study.path, label_mode=None))
    found = keras.ops.convert_to_numpy(scaler.mean).ravel()
    np.testing.assert_allclose(found, study.x.mean(axis=(0, 1)), rtol=1e-3)


# Options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "mode", "resolved"),
    [
        ("int", "auto", "int"),
        ("text", "auto", "int"),
        ("bool", "auto", "int"),
        ("one_hot", "auto", "categorical"),
        ("float", "auto", "raw"),
        ("text", "int", "int"),
        ("one_hot", "int", "int"),
        ("int", "categorical", "categorical"),
        ("text", "categorical", "categorical"),
        ("bool", "binary", "binary"),
        ("int", "raw", "raw"),
        ("bool", "raw", "raw"),
        ("one_hot", "raw", "raw"),
    ],
)
def test_labels_are_given_as_label_mode_says(study_of, sequence, labels, mode, resolved):
    study = study_of(labels)
    seq = sequence(study.path, label_mode=mode)
    assert seq.label_mode == resolved
    x, y = seq[1]
    seen = numbers([(x,)])[0]
    expected = {
        "int": lambda: study.codes.astype(np.int32),
        "categorical": lambda: np.eye(study.codes.max() + 1, dtype=np.float32)[study.codes],
        "binary": lambda: study.codes.astype(np.float32)[:, None],
        "raw": lambda: study.y,
    }[resolved]()
    assert y.dtype == expected.dtype
    assert np.array_equal(y, expected[seen])
    assert np.array_equal(seq.like(seq.samples).labels, expected)


def test_raw_text_labels_are_the_stored_codes(study_of, sequence):
    study = study_of("text")
    seq = sequence(study.path, label_mode="raw")
    x, y = seq[0]
    assert np.array_equal(np.array(seq.class_names)[y], study.y[numbers([(x,)])[0]])


def test_without_labels_a_batch_is_an_array(study, sequence):
    seq = sequence(study.path, label_mode=None)
    assert seq.label_mode is None
    assert isinstance(seq[0], np.ndarray)
    assert sorted(flat(numbers([(x,) for x in seq]))) == list(range(N))
    with pytest.raises(zarrts.SampleError, match="label_mode is None"):
        _ = seq.like(seq.samples).labels


def test_stats_of_the_training_samples_scale_to_mean_0_and_std_1(study, sequence):
    train = zarrts.open(study.path).samples.select(subjects=["s00", "s02", "s03"])
    seq = sequence(train, stats=train.stats())
    x = np.concatenate([x for x, _ in seq])
    np.testing.assert_allclose(x.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=(0, 1)), 1, rtol=1e-5)
    held_out = np.concatenate([x for x, _ in seq.like(train.store)])[study.subject == "s01"]
    rows = study.x[study.subject != "s01"].astype(np.float64)
    expected = study.x[study.subject == "s01"] - rows.mean(axis=(0, 1))
    np.testing.assert_allclose(held_out, expected / rows.std(axis=(0, 1)), rtol=1e-3, atol=1e-4)


def test_x_has_the_dtype_of_keras_or_the_one_that_is_given(study, sequence):
    assert sequence(study.path)[0][0].dtype == np.float32
    assert sequence(study.path, dtype="float16")[0][0].dtype == np.float16
    usual = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        seq = sequence(study.path)
    finally:
        keras.config.set_floatx(usual)
    assert seq[0][0].dtype == next(iter(seq.like(seq.samples)))[0].dtype == np.float64
    assert np.array_equal(seq[0][0], study.x[numbers([seq[0]])[0]])


def test_integer_signals_reach_the_network_as_floats(tmp_path, make_study, sequence):
    study = make_numbered(tmp_path, make_study, sizes=(20, 20), dtype="int16")
    x, _ = sequence(study.path)[0]
    assert x.dtype == np.float32
    assert np.array_equal(x, study.x[numbers([(x,)])[0]])


def test_a_random_transform_is_the_same_each_time_and_differs_by_epoch(study, sequence):
    def add_noise(batch, rng):
        noise = rng.standard_normal(batch.x.shape).astype(np.float32)
        noise[:, 0, 0] = 0
        return dataclasses.replace(batch, x=batch.x + noise)

    one, other = (sequence(study.path, transform=add_noise) for _ in range(2))
    epochs = [list(as_keras_asks(one)) for _ in range(2)]
    assert all(same(a, b) for a, b in zip(epochs[0], as_keras_asks(other), strict=True))
    assert all(same(one[i], epochs[0][i]) for i in range(N_BATCHES))
    x = np.concatenate([x for x, _ in epochs[0]])
    noise = x - study.x[flat(numbers(epochs[0]))]
    assert 0.9 < noise[:, 1:].std() < 1.1
    ordered = [np.concatenate([x for x, _ in epoch]) for epoch in epochs]
    ordered = [x[np.argsort(x[:, 0, 0])] for x in ordered]
    assert not np.isclose(ordered[0][:, 1:], ordered[1][:, 1:]).any(axis=(1, 2)).all()
    plain = np.concatenate([x for x, _ in one.like(one.samples)])
    assert np.array_equal(plain, study.x), "like() leaves the transform out"


def test_drop_last_leaves_out_the_smaller_batch(study, sequence):
    seq = sequence(study.path, drop_last=True)
    seen = numbers(list(seq))
    assert [len(batch) for batch in seen] == [BATCH] * 10
    assert len(set(flat(seen))) == 160
    assert sorted(flat(numbers(list(seq.like(seq.samples))))) == list(range(N)), "like() keeps all"


@pytest.mark.parametrize("drop_last", [False, True])
def test_union_of_ranks_is_the_epoch(study, sequence, drop_last):
    ranks = [
        sequence(study.path, rank=rank, world_size=3, drop_last=drop_last) for rank in range(3)
    ]
    assert {len(seq) for seq in ranks} == {3 if drop_last else 4}
    for _ in range(2):
        seen = [flat(numbers(list(as_keras_asks(seq)))) for seq in ranks]
        together = sorted(seen[0] + seen[1] + seen[2])
        assert len(set(together)) == len(together) == (144 if drop_last else N)


def test_each_sample_brings_its_own_weight(study, sequence):
    some = zarrts.open(study.path).samples.select(subjects=["s01", "s03"])
    weights = np.random.default_rng(0).random(len(some))
    of_sample = dict(zip(some.ids.tolist(), weights.astype(np.float32), strict=True))
    for x, y, weight in sequence(some, sample_weight=weights):
        seen = numbers([(x,)])[0]
        assert weight.tolist() == [of_sample[number] for number in seen]
        assert np.array_equal(y, study.codes[seen])


def test_like_gives_source_order_with_labels_and_ids_beside(study, sequence):
    seq = sequence(study.path)
    some = seq.samples.select(subjects=["s01", "s03"])
    like = seq.like(some)
    expected = np.flatnonzero(np.isin(study.subject, ["s01", "s03"]))
    assert flat(numbers(list(like))) == expected.tolist()
    assert np.array_equal(like.sample_ids, expected)
    assert np.array_equal(like.labels, study.codes[expected])
    assert (len(like), like.batch_size, like.class_names) == (7, BATCH, [-2, 3, 7])


def test_ids_and_labels_are_those_of_the_rank(study, sequence):
    for rank in range(3):
        seq = sequence(study.path, shuffle=False, rank=rank, world_size=3)
        seen = flat(numbers(list(seq)))
        assert seq.sample_ids.tolist() == seen
        assert np.array_equal(seq.labels, study.codes[seen])


def test_a_path_a_store_and_samples_are_all_taken(study, sequence):
    store = zarrts.open(study.path)
    by = [sequence(it) for it in (study.path, str(study.path), store, store.samples)]
    assert all(same(seq[3], by[0][3]) for seq in by)


def test_two_sequences_of_one_store_can_be_read_in_turn(study, sequence):
    store = zarrts.open(study.path)
    one, other = sequence(store), sequence(store, shuffle=False)
    pairs = list(zip(as_keras_asks(one), as_keras_asks(other), strict=True))
    assert sorted(flat(numbers([pair[0] for pair in pairs]))) == list(range(N))
    assert flat(numbers([pair[1] for pair in pairs])) == list(range(N))


def test_close_ends_the_threads_and_with_closes(study, sequence):
    with sequence(study.path) as seq:
        next(iter(as_keras_asks(seq)))
        assert loader_threads()
    assert loader_threads() == []
    seq.close()
    assert len(list(seq)) == N_BATCHES


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        ("workers", 4, r"zarrts' own read ahead: ZarrSequence\(workers=\.\.\.\)"),
        ("use_multiprocessing", True, "processes would each decode everything again"),
        ("max_queue_size", 20, r"ZarrSequence\(memory=\.\.\.\) bounds what is read ahead"),
    ],
)
def test_what_keras_would_read_ahead_with_is_refused_with_ours(study, sequence, name, value, ours):
    seq = sequence(study.path)
    with pytest.raises(TypeError, match=f"{name}={value} is not for a ZarrSequence: .*{ours}"):
        setattr(seq, name, value)
    assert (seq.workers, seq.use_multiprocessing) == (1, False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow reads ahead")
def test_tensorflow_reads_ahead_by_two_batches(study, sequence):
    """Keras' own AUTOTUNE doubles at each stall, without a bound in bytes."""
    adapters = pytest.importorskip("keras.src.trainers.data_adapters.py_dataset_adapter")
    dataset = adapters.PyDatasetAdapter(sequence(study.path), shuffle=True).get_tf_dataset()
    assert type(dataset).__name__ == "_PrefetchDataset"
    assert int(dataset._buffer_size) == 2
    assert type(dataset._input_dataset).__name__ != "_PrefetchDataset"
    batches = [(x.numpy(), y.numpy()) for x, y in dataset]
    assert sorted(flat(numbers(batches))) == list(range(N))


def test_keras_sees_one_worker_whatever_ours_are(study, sequence):
    seq = sequence(study.path, workers=4)
    assert (seq.workers, seq.use_multiprocessing) == (1, False)
    assert same(seq[2], sequence(study.path, workers=1)[2])


def test_repr_says_what_it_holds(study, sequence):
    seq = sequence(study.path)
    shown = repr(seq)
    assert "4 subjects>: 11 batches of 16; shuffled with seed 0; x (6, 3) as float32" in shown
    assert "not scaled; labels int of 3 classes; within" in shown
    shown = repr(seq.like(study.path))
    assert "in the order of the store" in shown
    stats = seq.samples.stats()
    shown = repr(sequence(study.path, stats=stats, label_mode="categorical", sample_weight="class"))
    assert "scaled (standard); labels categorical of 3 classes; weighted by class; " in shown


# Errors of the first hour -----------------------------------------------------------------


def test_a_folder_of_source_files_is_pointed_to_convert(study):
    with pytest.raises(zarrts.StoreError, match="zarrts convert"):
        ZarrSequence(study.path.parent / "people")


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(zarrts.StoreError, match="nowhere"):
        ZarrSequence(tmp_path / "nowhere.zarr")


def test_arrays_are_pointed_to_fit(study):
    with pytest.raises(zarrts.StoreError, match=r"not ndarray.*model\.fit"):
        ZarrSequence(study.x)


@pytest.mark.parametrize(
    ("brought_along", "ours"),
    [
        ("random_state", "seed="),
        ("class_mode", "label_mode="),
        ("validation_split", "samples.split"),
        ("use_multiprocessing", "workers="),
        ("max_queue_size", "memory="),
    ],
)
def test_keywords_of_others_are_refused_with_ours(study, brought_along, ours):
    with pytest.raises(TypeError, match=f"{brought_along}.*{ours}"):
        ZarrSequence(study.path, **{brought_along: 1})


@pytest.mark.parametrize("attribute", ["labels", "sample_ids"])
def test_order_of_a_shuffled_sequence_is_refused(study, sequence, attribute):
    with pytest.raises(zarrts.SampleError, match=f"{attribute} of a shuffled.*like"):
        getattr(sequence(study.path), attribute)


@pytest.mark.parametrize(
    ("labels", "mode", "message"),
    [
        ("int", "binary", "two classes, but there are 3"),
        ("float", "categorical", "these labels are numbers.*'raw'"),
        ("float", "int", "these labels are numbers.*'raw'"),
        ("int", "sparse", "'sparse' is unknown.*'categorical'"),
    ],
)
def test_label_modes_that_do_not_fit_are_refused(study_of, labels, mode, message):
    with pytest.raises(zarrts.SampleError, match=message):
        ZarrSequence(study_of(labels).path, label_mode=mode)


def test_like_refuses_other_classes(study, study_of, sequence):
    with pytest.raises(zarrts.SampleError, match=r"has the classes N1, .* the classes -2, 3, 7;"):
        sequence(study.path).like(study_of("text").path)


@pytest.mark.parametrize("shape", [(160,), (161, 1), ()])
def test_weights_of_another_shape_are_refused(study, shape):
    with pytest.raises(zarrts.SampleError, match=r"161 samples: give one weight each"):
        ZarrSequence(study.path, sample_weight=np.ones(shape))


def test_weights_without_labels_are_refused(study):
    with pytest.raises(zarrts.SampleError, match="label_mode is None"):
        ZarrSequence(study.path, sample_weight=np.ones(N), label_mode=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed=-1"),
        ({"rank": 3, "world_size": 3}, "rank is 3.*between 0 and 2"),
        ({"workers": 0}, "workers=0"),
        ({"shuffle": "yes"}, "shuffle='yes'"),
        ({"batch_size": 200, "drop_last": True}, "161 samples make no batch of 200"),
        ({"memory": "1KiB"}, "raise memory to at least"),
    ],
)
def test_options_out_of_range_are_refused(study, options, message):
    with pytest.raises(zarrts.SampleError, match=message):
        ZarrSequence(study.path, **options)


def test_a_transform_that_returns_no_batch_is_named(study, sequence):
    seq = sequence(study.path, transform=lambda batch, rng: batch.x)
    for read in (lambda: seq[0], lambda: next(iter(seq))):
        with pytest.raises(TypeError, match=r"returned ndarray.*Batch"):
            read()


def test_missing_keras_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "zarrts.keras.sequence")
    monkeypatch.delitem(sys.modules, "zarrts.backend")
    with pytest.raises(ImportError, match=r"zarrts\[tensorflow\].*3\.11 to 3\.13"):
        _ = zarrts.ZarrSequence


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_labels_that_jax_would_wrap_are_refused(tmp_path, monkeypatch, dtype):
    """JAX cuts integers to 32 bits without an error: 2**32 + 5 would train as 5."""
    labels = np.array([0, 1, 2**32 + 5, 7], dtype)
    recording = zarrts.Recording("a", np.zeros((4, 3, 1), "f4"), labels)
    with zarrts.convert([recording], tmp_path / "a.zarr", progress=False) as store:
        if keras.backend.backend() != "jax":
            with ZarrSequence(store, 4, label_mode="raw", shuffle=False) as seq:
                assert seq[0][1].tolist() == labels.tolist()
            monkeypatch.setattr("zarrts.keras.feed._has_narrow_integers", lambda: True)
        message = "4,294,967,301 does not fit into 32 bits"
        raw = ZarrSequence(store, 4, label_mode="raw", shuffle=False)
        with raw as seq, pytest.raises(zarrts.SampleError, match=message):
            _ = seq[0]
        with ZarrSequence(store, 4, label_mode="int", shuffle=False) as seq:
            assert seq[0][1].tolist() == [0, 1, 3, 2]
