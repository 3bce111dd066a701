"""rank="auto": which of several processes this one is, without importing or starting anything."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import zarrts
from zarrts.ordering.ranks import resolve

WORKERS = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No framework and no variable says anything, unless a test lets it."""
    for name in ("tensorflow", "jax", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("TF_CONFIG", "TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def tf_config(monkeypatch, cluster, **task):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))


def has_torch(monkeypatch, rank, world_size):
    distributed = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rank=lambda: rank,
        get_world_size=lambda: world_size,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(distributed=distributed))


def test_a_process_alone_is_0_of_1():
    assert resolve("auto", 1) == (0, 1)
    code = (
        "import sys; from zarrts.ordering.ranks import resolve; "
        "assert resolve('auto', 1) == (0, 1); "
        "assert not {'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_numbers_are_taken_as_given(monkeypatch):
    has_torch(monkeypatch, 0, 2)
    assert resolve(3, 8) == (3, 8)


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        ({"worker": WORKERS}, {"type": "worker", "index": 2}, (2, 3)),
        ({"chief": ["h:1"], "worker": WORKERS}, {"type": "chief", "index": 0}, (0, 4)),
        ({"chief": ["h:1"], "worker": WORKERS}, {"type": "worker", "index": 2}, (3, 4)),
        ({"worker": WORKERS}, {"type": "evaluator", "index": 0}, (0, 1)),
        ({"worker": WORKERS[:1]}, {"type": "worker", "index": 0}, (0, 1)),
        ({}, {}, (0, 1)),
    ],
)
def test_tf_config_is_understood(monkeypatch, cluster, task, expected):
    tf_config(monkeypatch, cluster, **task)
    assert resolve("auto", 1) == expected


def test_a_tf_config_that_is_none_is_shown(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "worker 1")
    with pytest.raises(zarrts.SampleError, match="TF_CONFIG cannot be understood: 'worker 1'"):
        resolve("auto", 1)


def test_torch_is_asked_once_its_processes_have_met(monkeypatch):
    has_torch(monkeypatch, 1, 2)
    assert resolve("auto", 1) == (1, 2)


def test_torchrun_is_asked_before_its_processes_have_met(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resolve("auto", 1) == (0, 1), "these two are common names"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert resolve("auto", 1) == (1, 2)


def test_two_that_say_the_same_agree_and_others_are_refused(monkeypatch):
    tf_config(monkeypatch, {"worker": WORKERS}, type="worker", index=1)
    has_torch(monkeypatch, 1, 3)
    assert resolve("auto", 1) == (1, 3)
    has_torch(monkeypatch, 0, 3)
    message = r"not clear which .* \(TF_CONFIG: 1 of 3; torch\.distributed: 0 of 3\)"
    with pytest.raises(zarrts.SampleError, match=message):
        resolve("auto", 1)


def test_another_world_size_than_the_one_found_is_refused(monkeypatch):
    has_torch(monkeypatch, 0, 2)
    assert resolve("auto", 2) == (0, 2)
    with pytest.raises(zarrts.SampleError, match=r"world_size=3, but torch\.distributed says 2"):
        resolve("auto", 3)


def test_a_world_without_anyone_who_says_so_is_refused():
    with pytest.raises(zarrts.SampleError, match="world_size=2, but no framework says so"):
        resolve("auto", 2)


def test_another_word_is_refused():
    with pytest.raises(zarrts.SampleError, match="rank='all' is unknown"):
        resolve("all", 1)


def test_batches_of_auto_ranks_are_those_of_the_ranks(tmp_path, make_study, monkeypatch):
    study = make_study(tmp_path / "people", sizes=[20, 13])
    store = zarrts.convert(study.folder, tmp_path / "study.zarr", progress=False)
    with store:
        for rank in range(2):
            has_torch(monkeypatch, rank, 2)
            found = [it.sample_id for it in store.samples.batches(8, rank="auto")]
            given = [it.sample_id for it in store.samples.batches(8, rank=rank, world_size=2)]
            assert np.array_equal(np.concatenate(found), np.concatenate(given))
            assert len(np.concatenate(found)) in (16, 17)
