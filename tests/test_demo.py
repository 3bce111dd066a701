"""The demo runs on a backend of Keras that is installed."""

import os
import sys

import pytest

from zarrts import demo


@pytest.mark.parametrize(
    ("installed", "said", "found"),
    [
        ({"tensorflow", "jax"}, None, None),
        ({"jax"}, None, "jax"),
        ({"torch"}, None, "torch"),
        ({"jax", "torch"}, None, "jax"),
        ({"jax", "torch"}, "torch", "torch"),
        ({"jax"}, "tensorflow", "tensorflow"),  # the user's word: Keras says what is missing
        (set(), None, None),
    ],
)
def test_the_backend_is_one_that_is_installed(monkeypatch, installed, said, found):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(demo, "find_spec", lambda name: name in installed or None)
    monkeypatch.setenv("KERAS_BACKEND", said or "")
    if said is None:
        monkeypatch.delenv("KERAS_BACKEND")
    demo._choose_backend()
    assert os.environ.get("KERAS_BACKEND") == found


def test_a_backend_that_runs_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", object())
    monkeypatch.setattr(demo, "find_spec", lambda name: name == "jax" or None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    demo._choose_backend()
    assert "KERAS_BACKEND" not in os.environ
