"""The batches that fit, evaluate and predict feed to a network, on any installed backend."""

import dataclasses
import gc
import importlib.util
import random
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)

from keras_models import (  # noqa: E402
    LARGE,
    SMALL,
    Numbered,
    Recorder,
    counts_of,
    flat,
    make_counting_model,
    make_numbered,
    numbers,
)
from loader_threads import loader_threads, no_threads_stay  # noqa: E402

import zarrts.keras.adapter  # noqa: E402
from zarrts.keras.sequence import ZarrSequence  # noqa: E402
from zarrts.loading.loader import EpochLoader  # noqa: E402

N, BATCH, N_BATCHES = 161, 16, 11
EVERYTHING = list(range(N))
IS_TORCH = keras.backend.backend() == "torch"

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"

# Keras says so where a pass ends within an epoch of steps_per_epoch; the next begins another one.
ran_out = pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study) -> Numbered:
    """161 samples of four people, with labels -2, 3 and 7."""
    return make_numbered(tmp_path_factory.mktemp("int"), make_study)


@pytest.fixture
def sequence():
    """Make sequences that are closed in the end; then no thread may be left."""
    made = []

    def make(samples, batch_size=BATCH, memory=SMALL, **options):
        made.append(ZarrSequence(samples, batch_size, memory=memory, **options))
        return made[-1]

    yield make
    for seq in made:
        seq.close()
    assert no_threads_stay()  # nor of others like them, which were dropped


@pytest.fixture
def parts(study):
    """Training, validation and test samples of one store."""
    return zarrts.open(study.path).samples.split(val=["s02"], test=["s00"])


def started_threads() -> int:
    """Return how many threads Python started; TensorFlow has pools of its own."""
    return sum(not isinstance(it, threading._DummyThread) for it in threading.enumerate())


def n_open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def epochs_of(fed, n_batches=N_BATCHES):
    """Return the batches of each pass, as numbers of samples."""
    assert len(fed) % n_batches == 0
    batches = numbers(fed)
    return [batches[i : i + n_batches] for i in range(0, len(batches), n_batches)]


def assert_passes_are_whole(fed, study, n_passes):
    """Each pass has each sample once, with its own input and label; passes differ."""
    passes = epochs_of(fed)
    assert len(passes) == n_passes
    assert all(sorted(flat(batches)) == EVERYTHING for batches in passes)
    assert len({tuple(flat(batches)) for batches in passes}) == n_passes
    seen = flat(numbers(fed))
    assert np.array_equal(np.concatenate([x for x, _, _ in fed]), study.x[seen])
    assert np.array_equal(np.concatenate([y for _, y, _ in fed]).ravel(), study.codes[seen])


def fit(model, *args, **options):
    return model.fit(*args, verbose=0, **options)


# Epochs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [SMALL, LARGE])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_epoch_of_fit_has_each_sample_once_with_its_label(study, sequence, shuffle, memory):
    model = Recorder.make()
    fit(model, sequence(study.path, memory=memory), epochs=3, shuffle=shuffle)
    assert_passes_are_whole(model.log.train, study, 3)


@pytest.mark.parametrize("is_built", [True, False])
@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_a_compiled_network_sees_each_sample_once_an_epoch(
    study, sequence, is_built, steps_per_execution
):
    """An unbuilt network takes a batch before training, of a pass that is then abandoned."""
    if IS_TORCH and steps_per_execution > 1:
        pytest.skip("Keras on torch has one step per execution only")
    model = make_counting_model(
        study.codes, is_built=is_built, steps_per_execution=steps_per_execution
    )
    seq = sequence(study.path)
    history = fit(model, seq, epochs=2, validation_data=seq.like(seq.samples)).history
    assert history == {"loss": [0, 0], "val_loss": [0, 0]}
    assert counts_of(model) == {4}
    assert model.evaluate(seq, verbose=0) == 0
    predicted = model.predict(seq.like(seq.samples), verbose=0)
    assert np.array_equal(predicted[:, 0], study.codes)


def test_one_seed_gives_the_same_batches_and_another_others(study, sequence):
    runs = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 5)):
        keras.utils.set_random_seed(global_seed)
        model = Recorder.make()
        fit(model, sequence(study.path, seed=seed), epochs=2)
        runs.append(numbers(model.log.train))
    assert runs[0] == runs[1]
    assert runs[0][:N_BATCHES] != runs[2][:N_BATCHES]
    assert sorted(flat(runs[2][:N_BATCHES])) == EVERYTHING


def test_the_order_in_which_keras_asks_plays_no_part(study, sequence):
    """Keras permutes batch numbers with the global generator, where fit has shuffle=True."""
    runs = []
    for shuffle in (True, False):
        random.seed(3)
        model = Recorder.make()
        fit(model, sequence(study.path), epochs=2, shuffle=shuffle)
        runs.append(numbers(model.log.train))
    assert runs[0] == runs[1]


def test_batches_of_the_first_epoch_are_those_of_seq_i(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq)
    for i, (x, y, _) in enumerate(model.log.train):
        assert np.array_equal(x, seq[i][0])
        assert np.array_equal(np.ravel(y), seq[i][1])


def test_fit_of_an_unshuffled_sequence_keeps_source_order(study, sequence):
    model = Recorder.make()
    fit(model, sequence(study.path, shuffle=False), epochs=2)
    assert flat(numbers(model.log.train)) == EVERYTHING * 2


@ran_out
@pytest.mark.parametrize(("steps", "epochs"), [(4, 12), (11, 4), (15, 4)])
def test_a_pass_goes_on_over_epochs_of_fewer_steps(study, sequence, steps, epochs):
    """Epochs of 4, 4 and 3 steps are a pass; 15 steps are more than one has."""
    model = Recorder.make()
    fit(model, sequence(study.path), epochs=epochs, steps_per_epoch=steps)
    assert_passes_are_whole(model.log.train, study, 4)


def test_initial_epoch_leaves_whole_epochs(study, sequence):
    model = Recorder.make()
    fit(model, sequence(study.path), initial_epoch=2, epochs=4)
    assert_passes_are_whole(model.log.train, study, 2)


def test_a_second_fit_goes_on_with_other_epochs(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq, epochs=2)
    fit(model, seq, epochs=2)
    assert_passes_are_whole(model.log.train, study, 4)


def test_a_fit_that_was_cut_short_leaves_the_next_whole(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq, steps_per_epoch=3)
    fit(model, seq, epochs=2)
    assert_passes_are_whole(model.log.train[3:], study, 2)
    seq.close()
    fit(model, seq)
    assert_passes_are_whole(model.log.train[3:], study, 3)


def test_the_ranks_of_an_epoch_are_fed_all_of_it(study, sequence):
    seen = []
    for rank in range(2):
        model = Recorder.make()
        fit(model, sequence(study.path, rank=rank, world_size=2), epochs=2)
        assert len(model.log.train) == 2 * 5
        seen.append(epochs_of(model.log.train, 5))
    for one, other in zip(*seen, strict=True):
        assert sorted(flat(one) + flat(other)) == EVERYTHING


# Validation, evaluate, predict ------------------------------------------------------------


def test_validation_sees_the_held_out_person_in_order(study, sequence, parts):
    train, val, _ = parts
    seq, model = sequence(train), Recorder.make()
    fit(model, seq, validation_data=seq.like(val), epochs=4, validation_freq=2)
    held_out = np.flatnonzero(study.subject == "s02").tolist()
    assert flat(numbers(model.log.test)) == held_out * 2
    trained = np.flatnonzero(np.isin(study.subject, ["s01", "s03"])).tolist()
    passes = epochs_of(model.log.train, len(seq))
    assert [sorted(flat(it)) for it in passes] == [trained] * 4
    labels = np.concatenate([y for _, y, _ in model.log.test]).ravel()
    assert np.array_equal(labels, study.codes[held_out * 2])


def test_validation_steps_see_the_first_batches_each_time(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq, validation_data=seq.like(seq.samples), epochs=3, validation_steps=2)
    assert flat(numbers(model.log.test)) == list(range(2 * BATCH)) * 3
    assert_passes_are_whole(model.log.train, study, 3)


def test_one_sequence_can_train_and_validate(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq, validation_data=seq, epochs=3)
    assert [sorted(flat(it)) for it in epochs_of(model.log.train)] == [EVERYTHING] * 3
    assert [sorted(flat(it)) for it in epochs_of(model.log.test)] == [EVERYTHING] * 3


@ran_out
def test_validation_steps_on_the_training_sequence_keep_its_pass(study, sequence):
    """Unfinished passes of validation come between the batches of one of training."""
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq, validation_data=seq, epochs=12, steps_per_epoch=2, validation_steps=1)
    assert_passes_are_whole(model.log.train, study, 2)
    assert len(model.log.test) == 12


def test_evaluate_of_a_shuffled_sequence_sees_each_sample_once(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    for _ in range(2):
        model.evaluate(seq, verbose=0)
    assert_passes_are_whole(model.log.test, study, 2)


def test_predictions_come_in_the_order_of_ids_and_labels(study, sequence, parts):
    _, _, test = parts
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq)
    like = seq.like(test)
    predicted = model.predict(like, verbose=0)
    assert np.array_equal(predicted, like.sample_ids)
    assert np.array_equal(like.sample_ids, np.flatnonzero(study.subject == "s00"))
    assert np.array_equal(like.labels, study.codes[study.subject == "s00"])


def test_predict_without_labels(study, sequence):
    seq = sequence(study.path, shuffle=False, label_mode=None)
    model = Recorder.make()
    assert np.array_equal(model.predict(seq, verbose=0), EVERYTHING)
    assert all(y is None and weight is None for _, y, weight in model.log.predict)


# TensorFlow before 2.20 warns of itself, and a block that expects a warning passes that on.
@pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning")
def test_predict_of_a_shuffled_sequence_misses_no_sample(study, sequence):
    with pytest.warns(UserWarning, match=r"use predict\(seq.like\(samples\)\)"):
        predicted = Recorder.make().predict(sequence(study.path), verbose=0)
    assert sorted(predicted.tolist()) == EVERYTHING


def test_two_sequences_of_one_store_at_once(study, sequence, parts):
    """Evaluation of another part in the midst of each epoch."""
    train, val, _ = parts
    seq, model, other = sequence(train), Recorder.make(), Recorder.make()
    like = seq.like(val)
    at_batch_2 = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 2 and other.evaluate(like, verbose=0)
    )
    fit(model, seq, epochs=3, callbacks=[at_batch_2])
    trained = np.flatnonzero(np.isin(study.subject, ["s01", "s03"])).tolist()
    assert [sorted(flat(it)) for it in epochs_of(model.log.train, len(seq))] == [trained] * 3
    held_out = np.flatnonzero(study.subject == "s02").tolist()
    assert flat(numbers(other.log.test)) == held_out * 3


def test_steps_of_evaluate_and_predict_are_the_first_batches(study, sequence):
    seq, model = sequence(study.path, shuffle=False), Recorder.make()
    model.evaluate(seq, steps=3, verbose=0)
    predicted = model.predict(seq, steps=2, verbose=0)
    assert flat(numbers(model.log.test)) == EVERYTHING[: 3 * BATCH]
    assert predicted.tolist() == EVERYTHING[: 2 * BATCH]


def test_a_later_keras_trains_right_with_one_warning(study, sequence, monkeypatch):
    """One whose adapters are not as we know them asks for batches by their numbers."""
    monkeypatch.setattr(zarrts.keras.adapter, "attach", lambda frame, sequence, feed: None)
    monkeypatch.setattr(zarrts.keras.adapter, "_has_warned", False)
    seq, model = sequence(study.path), Recorder.make()
    with pytest.warns(UserWarning, match=r"right, but slow.*[Uu]pgrade zarrts") as caught:
        fit(model, seq, epochs=2, validation_data=seq.like(seq.samples))
    assert sum("slow" in str(it.message) for it in caught) == 1
    assert [sorted(flat(it)) for it in epochs_of(model.log.train)] == [EVERYTHING] * 2
    assert flat(numbers(model.log.test)) == EVERYTHING * 2
    seen = flat(numbers(model.log.train))
    assert np.array_equal(np.concatenate([y for _, y, _ in model.log.train]), study.codes[seen])


# Weights ----------------------------------------------------------------------------------


def test_class_weight_weighs_each_sample_by_its_class(study, sequence):
    model = Recorder.make()
    seq = sequence(study.path)
    class_weight = seq.samples.class_weight()
    fit(model, seq, epochs=2, class_weight=class_weight)
    counts = np.bincount(study.codes)
    assert class_weight == pytest.approx(dict(enumerate(N / (3 * counts))))
    for x, _, weight in model.log.train:
        expected = [class_weight[code] for code in study.codes[x[:, 0, 0].astype(int)]]
        np.testing.assert_allclose(np.ravel(weight), expected, rtol=1e-6)
    assert_passes_are_whole(model.log.train, study, 2)


def test_class_weight_of_categorical_labels(study, sequence):
    model = Recorder.make()
    fit(model, sequence(study.path, label_mode="categorical"), class_weight={0: 1, 1: 2, 2: 4})
    for x, y, weight in model.log.train:
        codes = study.codes[x[:, 0, 0].astype(int)]
        assert np.array_equal(y, np.eye(3)[codes])
        assert np.array_equal(np.ravel(weight), 2.0**codes)


@pytest.mark.parametrize("mode", ["int", "categorical", "raw"])
def test_class_weight_by_keys_that_keras_would_ignore_is_refused(study, sequence, mode):
    seq = sequence(study.path, label_mode=mode)
    assert seq.class_indices == {-2: 0, 3: 1, 7: 2}
    raw = mode == "raw"
    for unknown in (["W"], ["0"], [0, 2] if raw else [-2, 7]):
        known, given = ("-2, 3, 7", 3) if raw else ("0, 1, 2", 1)
        message = f"keys {', '.join(map(repr, unknown))}, which Keras ignores: .* as {known}[.]"
        with pytest.raises(zarrts.SampleError, match=message):
            fit(Recorder.make(), seq, class_weight={given: 2.0, **dict.fromkeys(unknown, 3.0)})
    with pytest.raises(zarrts.SampleError, match="class_weight='balanced' is not a dict"):
        fit(Recorder.make(), seq, class_weight="balanced")
    model, weights = Recorder.make(), {-2: 5.0, 7: np.float32(2)}
    codes = {np.int64(seq.class_indices[name]): it for name, it in weights.items()}
    fit(model, seq, class_weight=weights if raw else codes)
    for x, _, weight in model.log.train:
        labels = np.array([-2, 3, 7])[study.codes[x[:, 0, 0].astype(int)]]
        assert np.ravel(weight).tolist() == [weights.get(int(it), 1.0) for it in labels]


def test_class_weight_of_labels_of_steps_is_refused(tmp_path, sequence):
    x, y = np.zeros((6, 4, 3), np.float32), np.arange(24).reshape(6, 4) % 3
    with zarrts.convert(zarrts.Recording("a", x, y), tmp_path / "s.zarr", progress=False) as store:
        seq = sequence(store)
        with pytest.raises(zarrts.SampleError, match=r"use ZarrSequence.sample_weight='class'"):
            fit(Recorder.make(), seq, class_weight={0: 2.0})


def test_sample_weight_stays_with_its_sample(study, sequence, parts):
    train, val, _ = parts
    weights = np.random.default_rng(0).random(len(train)).astype(np.float32)
    of_sample = dict(zip(train.ids.tolist(), weights, strict=True))
    seq, model = sequence(train, sample_weight=weights), Recorder.make()
    fit(model, seq, epochs=2, validation_data=seq.like(val))
    for x, _, weight in model.log.train:
        assert np.ravel(weight).tolist() == [of_sample[int(it)] for it in x[:, 0, 0]]
    assert all(weight is None for _, _, weight in model.log.test)


def test_both_kinds_of_weight_are_refused_by_keras(study, sequence):
    seq = sequence(study.path, sample_weight=np.ones(N))
    with pytest.raises(ValueError, match=r"class_weight.*sample_weight"):
        fit(Recorder.make(), seq, class_weight={0: 2})


# Own loops --------------------------------------------------------------------------------


def test_train_on_batch_loops_over_seq_i(study, sequence):
    model = make_counting_model(study.codes)
    seq = sequence(study.path)
    losses = [float(model.train_on_batch(*seq[i])) for i in range(len(seq))]
    assert losses == [0] * N_BATCHES
    for x, y in seq:
        model.train_on_batch(x, y)
    assert counts_of(model) == {2}


# Ends -------------------------------------------------------------------------------------


class StopAt(keras.callbacks.Callback):
    """Ends training at a batch, by asking for it or by an error."""

    def __init__(self, batch: int, error: BaseException | None = None) -> None:
        super().__init__()
        self._batch, self._error = batch, error

    def on_train_batch_end(self, batch, logs=None):
        if batch == self._batch:
            if self._error is not None:
                raise self._error
            self.model.stop_training = True


def test_stop_training_leaves_no_threads_once_closed(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    fit(model, seq, epochs=3, callbacks=[StopAt(1)])
    assert len(model.log.train) == 2
    seq.close()
    assert loader_threads() == []
    fit(model, seq)
    assert_passes_are_whole(model.log.train[2:], study, 1)


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_an_error_in_a_callback_leaves_no_threads_once_closed(study, sequence, error):
    """The error's traceback holds fit's generators, and so on TensorFlow a reader ahead."""
    seq, model = sequence(study.path, batch_size=2), Recorder.make()
    with pytest.raises(type(error)) as caught:
        fit(model, seq, epochs=3, callbacks=[StopAt(1, error)])
    seq.close()
    assert loader_threads() == []
    assert caught.value is error
    fit(model, seq)
    assert sorted(flat(numbers(model.log.train[2:]))) == EVERYTHING


@pytest.mark.parametrize("n_fits", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_many_fits_leave_as_many_threads_and_files_as_one(study, sequence, n_fits):
    """Each ends within a pass of training, and within one of validation."""
    seq, model = sequence(study.path), Recorder.make()
    like = {"validation_data": seq.like(seq.samples), "validation_steps": 2}
    found = []
    for _ in range(n_fits):
        fit(model, seq, steps_per_epoch=2, **like)
        gc.collect()
        found.append((len(loader_threads()), started_threads(), n_open_files()))
    assert len(set(found[1:])) == 1  # TensorFlow opens files of its own in the first
    assert found[0][:2] == found[-1][:2]


def test_a_dropped_sequence_is_freed_with_its_threads(study):
    """As in a loop over folds; TensorFlow holds on to every generator that it has read."""
    store = zarrts.open(study.path)
    model = Recorder.make()
    dropped = []
    for _ in range(3):
        seq, val_seq = ZarrSequence(store, BATCH, memory=SMALL), ZarrSequence(store, BATCH)
        fit(model, seq, steps_per_epoch=2, validation_data=val_seq, validation_steps=2)
        model.evaluate(val_seq, steps=2, verbose=0)
        dropped += [weakref.ref(seq), weakref.ref(val_seq)]
        del seq, val_seq
    gc.collect()
    assert [it() for it in dropped] == [None] * 6
    assert no_threads_stay()
    store.close()


def test_a_damaged_store_ends_fit_with_the_reason(tmp_path, make_study, sequence):
    study = make_numbered(tmp_path, make_study)
    shards = sorted(it for it in (study.path / "0" / "x" / "c").rglob("*") if it.is_file())
    content = bytearray(shards[0].read_bytes())
    content[100] ^= 1
    shards[0].write_bytes(content)
    with pytest.raises(Exception, match="does not match its checksum"):
        fit(Recorder.make(), sequence(study.path))


def test_keras_refuses_what_only_arrays_can(study, sequence):
    seq, model = sequence(study.path), Recorder.make()
    with pytest.raises(ValueError, match="validation_split"):
        fit(model, seq, validation_split=0.2)
    with pytest.raises(ValueError, match="`y` should not be passed"):
        fit(model, seq, np.zeros(N))
    with pytest.raises(ValueError, match="`sample_weights` should not be passed"):
        fit(model, seq, sample_weight=np.ones(N))


# The demo ---------------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("seglearn") is None, reason="the demo's data, seglearn, are missing"
)
@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="Matplotlib, for the picture, is missing"
)
def test_the_demo_goes_all_the_way(tmp_path):
    from zarrts.demo import run_demo

    lines: list[str] = []
    results = run_demo(tmp_path / "demo", leave_each_out=False, epochs=1, say=lines.append)
    folder = (tmp_path / "demo").as_posix()
    assert lines[0] == "data     10 people, 140 recordings, 7 exercises"
    assert lines[1].startswith(f"convert  10 files -> {folder}/study.zarr")
    assert lines[2] == "train    8 people; s03 validates; s07 never seen"
    assert lines[3] == f"result   s07: {results[0].accuracy:.2f} correct"
    assert "0.873" in lines[4]
    assert lines[5] == f"picture  {folder}/learning.png"
    assert lines[6:] == ["next     zarrts convert --dry-run YOUR_FOLDER"]
    assert 0 < results[0].accuracy < 1
    assert set(results[0].history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert (tmp_path / "demo" / "learning.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "demo" / "people").glob("s*.npz"))) == 10
    with zarrts.open(tmp_path / "demo" / "study.zarr") as store:
        parts = store.samples.split(val=["s03"], test=["s07"])
        assert [len(part.subjects) for part in parts] == [8, 1, 1]
        assert len({name for part in parts for name in part.subjects}) == 10
        assert (store.n_samples, store.sample_shape) == (2229, (200, 6))


# What TensorFlow is told ------------------------------------------------------------------


@pytest.mark.skipif(not IS_TENSORFLOW, reason="others ask for no shapes beforehand")
def test_no_batch_is_read_to_tell_tensorflow_its_shape(study, sequence, monkeypatch):
    seq, read = sequence(study.path), []
    original = EpochLoader.batch
    monkeypatch.setattr(
        EpochLoader, "batch", lambda self, *args: read.append(args) or original(self, *args)
    )
    model = Recorder.make()
    model.fit(seq, epochs=2, verbose=0)
    assert flat(numbers(model.log.train))
    assert not read


@pytest.mark.skipif(not IS_TENSORFLOW, reason="others take arrays as they come")
def test_tensorflow_is_given_no_batch_unlike_those_that_it_was_told_of(study, sequence):
    def cut(batch, rng):
        return dataclasses.replace(batch, x=batch.x[:, :-1]) if 100 in batch.sample_id else batch

    seq = sequence(study.path, transform=cut, shuffle=False)
    with pytest.raises(Exception, match=r"A batch of shape \(16, .* came where \[None, "):
        Recorder.make().fit(seq, verbose=0)
