"""A run that was killed and started again ends as one that was not."""

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import zarrts

keras = pytest.importorskip("keras", exc_type=ImportError)

import keras_resume_run as run  # noqa: E402
from keras_models import SMALL, Numbered, Recorder, flat, make_numbered, numbers  # noqa: E402

import zarrts.keras.adapter  # noqa: E402
from zarrts.keras.sequence import ZarrSequence  # noqa: E402

BATCH, N_BATCHES = 16, 11
IS_TORCH = keras.backend.backend() == "torch"
slow = pytest.mark.slow
ran_out = pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")


class Killed(Exception):
    """Stands for a kill in this process."""


class KillAt(keras.callbacks.Callback):
    """Ends training after some steps; without a number, never."""

    def __init__(self, step: int | None) -> None:
        super().__init__()
        self._left = step

    def on_train_batch_end(self, batch, logs=None):
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise Killed


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study) -> Numbered:
    """161 samples of four people, with labels -2, 3 and 7."""
    return make_numbered(tmp_path_factory.mktemp("int"), make_study)


def train(study, folder, kill_at=None, epochs=3, save_freq=3, sequence=None, **options):
    """Train as a script does that is started anew; return weights and history."""
    # Eagerly, because a graph takes longer to trace than to run these few steps.
    per_execution = options.pop("steps_per_execution", 1)
    compiled = {"steps_per_execution": per_execution, "run_eagerly": per_execution == 1}
    network = run.compile_network(run.make_network(), **compiled)
    seq = ZarrSequence(study.path, BATCH, seed=3, memory=SMALL, **(sequence or {}))
    if options.pop("validates_itself", False):
        options["validation_data"] = seq
    with seq:
        callback = zarrts.BackupAndRestore(folder, seq, save_freq=save_freq)
        history = network.fit(
            seq, epochs=epochs, callbacks=[callback, KillAt(kill_at)], verbose=0, **options
        )
    return network.get_weights(), history.history


@pytest.fixture(scope="module")
def whole_run(study, tmp_path_factory):
    """Return weights and history of a run that was not killed, trained when first asked for."""
    made = {}

    def get(save_freq=3, **options):  # how often it was saved plays no part
        key = repr(options)
        if key not in made:
            made[key] = train(study, tmp_path_factory.mktemp("whole"), **options)
        return made[key]

    return get


def train_with_kills(study, folder, kills, **options):
    for kill_at in kills:
        with pytest.raises(Killed):
            train(study, folder, kill_at, **options)
    return train(study, folder, **options)


def assert_same_weights(found, expected):
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@ran_out
@pytest.mark.parametrize(
    ("options", "kills"),
    [
        ({}, (5, 10)),
        pytest.param({"save_freq": 1}, (1, 10), marks=slow),
        pytest.param({"save_freq": "epoch"}, (14,), marks=slow),
        pytest.param({"steps_per_epoch": 4, "epochs": 6}, (2, 9), marks=slow),
        ({"steps_per_epoch": 4, "epochs": 7, "save_freq": 1}, (3, 5, 4)),
        pytest.param({"steps_per_epoch": 11, "save_freq": 2}, (7,), marks=slow),
        ({"steps_per_epoch": 15, "epochs": 2, "save_freq": 4}, (9,)),
        ({"validates_itself": True, "class_weight": {0: 1.0, 1: 2.0, 2: 3.0}, "epochs": 2}, (8, 9)),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(study, whole_run, tmp_path, options, kills):
    expected, history = whole_run(**options)
    found, found_history = train_with_kills(study, tmp_path, kills, **options)
    assert_same_weights(found, expected)
    for name, values in found_history.items():
        assert values == history[name][-len(values) :], name
    assert not list(tmp_path.iterdir()), "a finished run leaves no backup"


@pytest.mark.skipif(IS_TORCH, reason="Keras on torch has one step per execution only")
@pytest.mark.parametrize("steps", [pytest.param(None, marks=slow), 4])
@ran_out
def test_several_steps_per_execution_resume_too(study, whole_run, tmp_path, steps):
    options = {"steps_per_execution": 2, "steps_per_epoch": steps, "epochs": 3}
    expected, _ = whole_run(**options)
    found, _ = train_with_kills(study, tmp_path, (3,), **options)
    assert_same_weights(found, expected)


def test_a_resumed_run_is_fed_exactly_the_batches_that_were_left(study, tmp_path):
    def fed(kill_at=None):
        model = Recorder.make(optimizer="sgd")
        with ZarrSequence(study.path, BATCH, memory=SMALL) as seq:
            callbacks = [zarrts.BackupAndRestore(tmp_path, seq, save_freq=1), KillAt(kill_at)]
            if kill_at is None:
                model.fit(seq, epochs=3, callbacks=callbacks, verbose=0)
            else:
                with pytest.raises(Killed):
                    model.fit(seq, epochs=3, callbacks=callbacks, verbose=0)
        return numbers(model.log.train)

    whole = fed()
    assert [len(flat(whole[i : i + N_BATCHES])) for i in (0, 11, 22)] == [161] * 3
    assert fed(kill_at=17) + fed() == whole


# Real processes -----------------------------------------------------------------------------


def run_killed(study, folder, kills, steps):
    """Start runs in processes of their own until one ends; return its weights."""
    folder.mkdir()
    weights = folder / "weights.npz"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for kill_at in [*kills, 0]:
        arguments = [study.path, folder / "backup", weights, kill_at, steps]
        ended = subprocess.run(
            [sys.executable, run.__file__, *map(str, arguments)],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert (ended.returncode == 0) == (kill_at == 0), ended.stderr
        assert weights.exists() == (kill_at == 0)
    with np.load(weights) as file:
        return [file[name] for name in file.files]


def test_a_process_that_was_killed_goes_on_in_another(study, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    backup, weights = tmp_path / "backup", tmp_path / "weights.npz"
    command = [sys.executable, run.__file__, study.path, backup, weights, "17", "0"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert ended.returncode != 0
    assert (backup / "backup-0.npz").exists(), ended.stderr
    run.main(study.path, backup, weights, 0, 0)
    run.main(study.path, tmp_path / "other", tmp_path / "whole.npz", 0, 0)
    with np.load(weights) as found, np.load(tmp_path / "whole.npz") as expected:
        assert_same_weights([*found.values()], [*expected.values()])


@slow
@ran_out
def test_processes_killed_at_ten_random_steps_end_with_the_same_weights(study, tmp_path):
    draw = random.Random(8)
    # Whatever was saved before a kill, two steps at most are lost: the runs advance.
    kills = [[draw.randint(3, 7) for _ in range(5)] for _ in range(2)]
    work = [(tmp_path / "default", kills[0], 0), (tmp_path / "steps", kills[1], 4)]
    with ThreadPoolExecutor(2) as pool:
        default, steps = pool.map(lambda it: run_killed(study, *it), work)
    for found, n_steps in ((default, 0), (steps, 4)):
        run.main(study.path, tmp_path / "backup", tmp_path / "whole.npz", 0, n_steps)
        with np.load(tmp_path / "whole.npz") as file:
            assert_same_weights(found, [file[name] for name in file.files])


# The file ------------------------------------------------------------------------------------


def test_a_backup_that_is_cut_short_is_named(study, tmp_path):
    with pytest.raises(Killed):
        train(study, tmp_path, 4)
    path = tmp_path / "backup-0.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(zarrts.StoreError, match=r"backup-0\.npz is not a whole backup .*delete it"):
        train(study, tmp_path)


def test_a_write_that_fails_leaves_the_backup_before(study, whole_run, tmp_path, monkeypatch):
    expected, _ = whole_run()
    with pytest.raises(Killed):
        train(study, tmp_path / "killed", 4)
    before = (tmp_path / "killed" / "backup-0.npz").read_bytes()

    def fail(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            train(study, tmp_path / "killed")
    assert [it.name for it in (tmp_path / "killed").iterdir()] == ["backup-0.npz"]
    assert (tmp_path / "killed" / "backup-0.npz").read_bytes() == before
    assert_same_weights(train(study, tmp_path / "killed")[0], expected)


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ({"world_size": 2}, "world_size was 1, now 2"),
        ({"drop_last": True}, "drop_last was False, now True"),
        ({"shuffle": False}, "shuffle was True, now False"),
    ],
)
def test_other_batches_are_refused(study, tmp_path, sequence, message):
    with pytest.raises(Killed):
        train(study, tmp_path, 4)
    with pytest.raises(zarrts.SampleError, match=f"among other batches: {message}"):
        train(study, tmp_path, sequence=sequence)


def test_between_epochs_a_run_goes_on_with_batches_of_another_size(study, tmp_path):
    other = {"batch_size": 10, "memory": "1MiB", "drop_last": True}

    def fit(batch_size, kill_at=None, **options):
        model = Recorder.make(optimizer="sgd")
        with ZarrSequence(study.path, batch_size, seed=3, **options) as seq:
            callbacks = [zarrts.BackupAndRestore(tmp_path, seq), KillAt(kill_at)]
            with nullcontext() if kill_at is None else pytest.raises(Killed):
                model.fit(seq, epochs=3, callbacks=callbacks, verbose=0)
        return numbers(model.log.train)

    fit(BATCH, kill_at=N_BATCHES + 5, memory=SMALL)  # what is saved is the end of epoch 0
    with ZarrSequence(study.path, seed=3, **other) as seq:
        seq.epoch = 1
        expected = numbers(seq)
        seq.epoch = 2
        expected += numbers(seq)
    assert [len(it) for it in expected] == [10] * 32
    assert fit(**other) == expected


def test_other_steps_and_other_models_are_refused(study, tmp_path):
    with pytest.raises(Killed):
        train(study, tmp_path, 4)
    with pytest.raises(zarrts.SampleError, match="had 11 steps an epoch, but now has 5"):
        train(study, tmp_path, steps_per_epoch=5)
    other = run.compile_network(keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten()]))
    with ZarrSequence(study.path, BATCH, seed=3, memory=SMALL) as seq:
        callback = zarrts.BackupAndRestore(tmp_path, seq)
        with pytest.raises(zarrts.SampleError, match="of another model: its model has"):
            other.fit(seq, callbacks=[callback], verbose=0)


def test_another_data_set_than_that_of_fit_is_refused(study, tmp_path):
    network = run.compile_network(run.make_network())
    with ZarrSequence(study.path, BATCH, memory=SMALL) as seq, seq.like(seq.samples) as other:
        callback = zarrts.BackupAndRestore(tmp_path, other)
        with pytest.raises(zarrts.SampleError, match="another data set than BackupAndRestore"):
            network.fit(seq, callbacks=[callback], verbose=0)
        with pytest.raises(zarrts.SampleError, match="not ndarray"):
            zarrts.BackupAndRestore(tmp_path, np.zeros(3))
        with pytest.raises(zarrts.SampleError, match="save_freq=0"):
            zarrts.BackupAndRestore(tmp_path, seq, save_freq=0)


def test_with_a_later_keras_runs_resume_at_an_epoch(study, tmp_path, monkeypatch):
    """Its order within an epoch is Keras' own then, so the seeds of both have to be fixed."""
    monkeypatch.setattr(zarrts.keras.adapter, "attach", lambda frame, sequence, feed: None)
    monkeypatch.setattr(zarrts.keras.adapter, "_has_warned", True)
    with pytest.warns(UserWarning, match="resumes at an epoch, not within one"):
        expected, _ = train(study, tmp_path / "whole", shuffle=False, epochs=2)
        found, _ = train_with_kills(study, tmp_path / "killed", (15,), shuffle=False, epochs=2)
    assert_same_weights(found, expected)


# Own loops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [0, 1, 10, 11, 16, 30])
def test_a_loop_goes_on_where_its_state_was_taken(study, stop_at):
    def loop(seq, stop_at=None):
        seen = []
        for epoch in range(seq.epoch, 3):
            seq.epoch = epoch
            if len(seen) == stop_at:
                break
            for x, _ in seq:
                seen.append(numbers([(x,)])[0])
                if len(seen) == stop_at:
                    return seen
        return seen

    with ZarrSequence(study.path, BATCH, memory=SMALL) as whole:
        expected = loop(whole)
    with ZarrSequence(study.path, BATCH, memory=SMALL) as seq:
        first = loop(seq, stop_at)
        state = json.loads(json.dumps(seq.state_dict()))
    with ZarrSequence(study.path, BATCH, memory=SMALL) as seq:
        seq.load_state_dict(state)
        assert seq.state_dict() == state
        rest = loop(seq)
    assert first + rest == expected
    assert len(first) == stop_at


def test_fit_goes_on_after_load_state_dict(study):
    with ZarrSequence(study.path, BATCH, memory=SMALL) as seq:
        expected = [numbers([seq[i]])[0] for i in range(4, N_BATCHES)]
        loop = iter(seq)
        for _ in range(4):
            next(loop)
        seq.load_state_dict(seq.state_dict())
        model = Recorder.make()
        model.fit(seq, verbose=0, steps_per_epoch=7)
    assert numbers(model.log.train) == expected


def test_a_state_of_other_batches_is_refused(study):
    with ZarrSequence(study.path, BATCH, memory=SMALL) as seq:
        next(iter(seq))
        state = seq.state_dict()
    with ZarrSequence(study.path, 8, memory=SMALL, seed=1) as other:
        with pytest.raises(zarrts.SampleError, match="batch_size was 16, now 8, seed was 0, now 1"):
            other.load_state_dict(state)
        with pytest.raises(zarrts.SampleError, match="not a state of a ZarrSequence"):
            other.load_state_dict({"epoch": 3})
        with pytest.raises(zarrts.SampleError, match="Batch 99 of epoch 0"):
            other.load_state_dict({**other.state_dict(), "batch": 99})


def test_a_state_is_of_one_selection(study):
    store = zarrts.open(study.path)
    with ZarrSequence(store.samples.select(subjects=["s00", "s01"]), BATCH, memory=SMALL) as seq:
        state = seq.state_dict()
    message = "the selection of samples is another one"
    with (
        ZarrSequence(store, memory=SMALL) as other,
        pytest.raises(zarrts.SampleError, match=message),
    ):
        other.load_state_dict(state)


def test_the_backup_is_named_after_the_rank(study, tmp_path):
    with ZarrSequence(study.path, BATCH, memory=SMALL, rank=1, world_size=2) as seq:
        assert zarrts.BackupAndRestore(tmp_path, seq).path == Path(tmp_path) / "backup-1.npz"
