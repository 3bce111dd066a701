"""A tf.data set gives the batches of a sequence, says what they are, and goes on anywhere."""

import gc
import json
import sys
import weakref

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)
tf = pytest.importorskip("tensorflow", reason="tf.data needs TensorFlow")

from keras_models import SMALL, Numbered, flat, make_numbered, numbers  # noqa: E402
from loader_threads import loader_threads, no_threads_stay  # noqa: E402

from zarrts.keras.sequence import ZarrSequence  # noqa: E402

N, BATCH, N_BATCHES = 161, 16, 11


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study) -> Numbered:
    """161 samples of four people, with labels -2, 3 and 7."""
    return make_numbered(tmp_path_factory.mktemp("int"), make_study)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Recordings of 40, 23, 61 and 8 rows, with a label for each row."""
    rng = np.random.default_rng(1)
    every = [(rng.standard_normal((n, 2)).astype("f4"), np.arange(n) % 3) for n in (40, 23, 61, 8)]
    store = zarrts.convert(
        [zarrts.Recording(f"s{i}", x, y) for i, (x, y) in enumerate(every)],
        tmp_path_factory.mktemp("series") / "rows.zarr",
        kind="ragged",
        chunk=64,
        progress=False,
    )
    with store:
        yield store


def read(dataset):
    """Return the batches of one iteration, as numbers of samples."""
    return [numbers([(x.numpy(),)])[0] for x, *_ in dataset]


def epoch_of(seq, epoch):
    """Return the batches of an epoch as the sequence gives them one by one."""
    seq.epoch = epoch
    return numbers([seq[i] for i in range(len(seq))])


def spec(shape, dtype="float32"):
    return tf.TensorSpec(shape, dtype)


# What it says of itself -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (spec([None, 6, 3]), spec([None], "int32"))),
        ({"drop_last": True}, (spec([16, 6, 3]), spec([16], "int32"))),
        ({"batch_size": 23}, (spec([23, 6, 3]), spec([23], "int32"))),
        ({"label_mode": None}, spec([None, 6, 3])),
        ({"label_mode": "categorical"}, (spec([None, 6, 3]), spec([None, 3]))),
        ({"dtype": "float16"}, (spec([None, 6, 3], "float16"), spec([None], "int32"))),
        (
            {"sample_weight": np.ones(N)},
            (spec([None, 6, 3]), spec([None], "int32"), spec([None])),
        ),
        ({"rank": 2, "world_size": 3}, (spec([None, 6, 3]), spec([None], "int32"))),
    ],
)
def test_it_knows_shapes_dtypes_and_how_many_there_are(study, sequence, options, expected):
    seq = sequence(study.path, **options)
    dataset = seq.to_tf_dataset()
    assert dataset.element_spec == expected
    assert len(dataset) == len(seq)
    batches = list(dataset)
    assert len(batches) == len(seq)
    for batch, ours in zip(batches, (seq[i] for i in range(len(seq))), strict=True):
        for found, want in zip(tf.nest.flatten(batch), tf.nest.flatten(ours), strict=True):
            assert found.dtype == want.dtype
            assert np.array_equal(found.numpy(), want)


@pytest.mark.parametrize(
    ("options", "steps", "lengths"),
    [
        ({"pad": "longest"}, 61, {61}),
        ({"pad": 50}, 50, {50}),
        ({"pad": "batch"}, None, {40, 61}),
        ({"pad": "batch", "buckets": [48, 64]}, None, {48, 64}),
    ],
)
def test_series_of_unequal_lengths_are_padded_as_told(series, sequence, options, steps, lengths):
    seq = sequence(series, batch_size=2, shuffle=False, mask=True, memory="1MiB", **options)
    dataset = seq.to_tf_dataset()
    batch = (spec([2, steps, 2]), spec([2, steps], "bool")), spec([2, steps], "int32")
    assert dataset.element_spec == batch
    found = list(dataset)
    assert {x.shape[1] for (x, _), _ in found} == lengths
    for ((x, mask), y), ((own_x, own_mask), own_y) in zip(found, seq, strict=True):
        assert np.array_equal(x, own_x)
        assert np.array_equal(mask, own_mask)
        assert np.array_equal(y, own_y)


def test_several_labels_are_a_dictionary(tmp_path, sequence):
    rng = np.random.default_rng(0)
    y = {"stage": np.array(["W", "N1"] * 10), "age": rng.normal(size=20).astype("f4")}
    x = rng.normal(size=(20, 4, 2)).astype("f4")
    with zarrts.convert(
        [zarrts.Recording("a", x, y)], tmp_path / "study.zarr", progress=False
    ) as store:
        seq = sequence(store, batch_size=8, shuffle=False, memory="1MiB")
        dataset = seq.to_tf_dataset()
        labels = {"age": spec([None]), "stage": spec([None], "int32")}
        assert dataset.element_spec == (spec([None, 4, 2]), labels)
        batches = list(dataset)
        assert np.array_equal(np.concatenate([b["age"] for _, b in batches]), y["age"])
        assert np.concatenate([b["stage"] for _, b in batches]).tolist() == [1, 0] * 10
        seq.close()


# Epochs -----------------------------------------------------------------------------------


def test_each_iteration_is_the_next_epoch(study, sequence):
    seq = sequence(study.path)
    expected = [epoch_of(sequence(study.path), epoch) for epoch in range(4)]
    dataset = seq.to_tf_dataset()
    assert [read(dataset), read(dataset)] == expected[:2]
    again = read(dataset.repeat(2))
    assert [again[:N_BATCHES], again[N_BATCHES:]] == expected[2:]
    assert all(sorted(flat(epoch)) == list(range(N)) for epoch in expected)


def test_a_given_epoch_is_the_same_each_time(study, sequence):
    dataset = sequence(study.path).to_tf_dataset(epoch=5)
    assert read(dataset) == read(dataset) == epoch_of(sequence(study.path), 5)


@pytest.mark.parametrize("epoch", [None, 3])
def test_two_iterations_at_once_keep_their_places(study, sequence, epoch):
    dataset = sequence(study.path).to_tf_dataset(epoch)
    pairs = [(x.numpy(), y.numpy()) for (x, _), (y, _) in zip(dataset, dataset, strict=True)]
    for side in zip(*pairs, strict=True):
        assert sorted(flat(numbers([(x,) for x in side]))) == list(range(N))


def test_fit_takes_a_new_epoch_each_time(study, sequence):
    seen = []

    def note(x, y):
        numbers_of_batch = tf.numpy_function(lambda it: seen.append(it) or it, [x], tf.float32)
        return tf.ensure_shape(numbers_of_batch, x.shape), y

    model = keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    dataset = sequence(study.path).to_tf_dataset().map(note)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0)  # Keras warns of True
    assert len(history.history["loss"]) == 2
    # On JAX, Keras looks at a batch before: of an iteration of its own.
    first = 1 if keras.backend.backend() == "jax" else 0
    epochs = numbers([(x,) for x in seen])[-2 * N_BATCHES :]
    other = sequence(study.path)
    assert epochs == [*epoch_of(other, first), *epoch_of(other, first + 1)]


# Resuming ---------------------------------------------------------------------------------


def test_a_loop_goes_on_where_its_state_was_taken(study, sequence):
    def loop(seq, stop_at=None):
        seen = []
        for epoch in range(seq.epoch, 2):
            dataset = seq.to_tf_dataset(epoch)
            for done, (x, _) in enumerate(dataset, start=len(seq) - len(dataset) + 1):
                seen.append(numbers([(x.numpy(),)])[0])
                if len(seen) == stop_at:
                    return seen, seq.state_dict(epoch, done)
        return seen, None

    whole, _ = loop(sequence(study.path))
    for stop_at in (4, 11):
        first, state = loop(sequence(study.path), stop_at)
        seq = sequence(study.path)
        seq.load_state_dict(json.loads(json.dumps(state)))
        rest, _ = loop(seq)
        assert len(first) == stop_at
        assert first + rest == whole


def test_after_a_resume_comes_the_rest_and_then_the_next_epoch(study, sequence):
    seq = sequence(study.path)
    seq.load_state_dict(seq.state_dict(epoch=1, batch=4))
    rest, later = seq.to_tf_dataset(), seq.to_tf_dataset()
    assert (len(rest), len(later)) == (7, 11)
    other = sequence(study.path)
    assert read(rest) == epoch_of(other, 1)[4:]
    assert read(later) == epoch_of(other, 2)


def test_a_checkpoint_of_tensorflow_holds_the_place(study, sequence, tmp_path):
    first = iter(sequence(study.path).to_tf_dataset(epoch=2))
    for _ in range(3):
        next(first)
    saved = tf.train.Checkpoint(place=first).save(tmp_path / "place")
    second = iter(sequence(study.path).to_tf_dataset())
    tf.train.Checkpoint(place=second).restore(saved)
    assert read(second) == read(first) == epoch_of(sequence(study.path), 2)[3:]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"epoch": 1}, "both epoch= and batch="),
        ({"epoch": 1, "batch": 12}, "Epoch 1 has no 12 batches: it has 11"),
        ({"epoch": -1, "batch": 0}, "Epoch -1 has no"),
    ],
)
def test_a_place_that_is_none_is_refused(study, sequence, place, message):
    with pytest.raises(zarrts.SampleError, match=message):
        sequence(study.path).state_dict(**place)


# What it holds ----------------------------------------------------------------------------


def test_it_is_read_ahead_by_no_more_than_two_batches(study, sequence, monkeypatch):
    seq = sequence(study.path, batch_size=2)
    taken = 0
    take = seq.feed.passes.batch_ahead

    def count(*place):
        nonlocal taken
        taken += 1
        return take(*place)

    monkeypatch.setattr(seq.feed.passes, "batch_ahead", count)
    # One more is handed over, and one is on its way.
    ahead = [taken - done for done, _ in enumerate(seq.to_tf_dataset(), start=1)]
    assert len(ahead) == len(seq) == taken
    assert max(ahead) <= 4


def test_the_data_set_keeps_its_sequence_and_nothing_else_does(study):
    dataset = ZarrSequence(study.path, BATCH, memory=SMALL).to_tf_dataset().take(5)
    held = weakref.ref(dataset._input_dataset.zarrts_feed)
    iterator = iter(dataset)
    next(iterator)
    del dataset
    gc.collect()
    assert held() is not None, "it is still being read"
    del iterator
    gc.collect()
    assert held() is None
    assert no_threads_stay()


def test_a_closed_sequence_ends_what_reads_ahead_and_starts_again(study, sequence):
    seq = sequence(study.path, batch_size=2)
    dataset = seq.to_tf_dataset(epoch=0)
    iterator = iter(dataset)
    next(iterator)
    seq.close()
    with pytest.raises(tf.errors.OpError, match="closed while it was read"):
        list(iterator)
    assert loader_threads() == []
    assert sorted(flat(read(dataset))) == list(range(N))


def test_missing_tensorflow_names_the_extra(study, sequence, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"whatever the backend.*zarrts\[tensorflow\]"):
        sequence(study.path).to_tf_dataset()
