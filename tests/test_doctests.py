"""The examples in docstrings, which carry the ideas of pure functions."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "zarrts.conversion.plan",
    "zarrts.conversion.tasks",
    "zarrts.indexing.indexes",
    "zarrts.lists",
    "zarrts.ordering.rolling",
    "zarrts.reading.memory_plan",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    found = doctest.testmod(import_module(name), raise_on_error=True)
    assert found.attempted > 0
