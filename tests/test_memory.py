"""Budgets of memory and what fits into them, and the owner of the memory of a batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.errors import SampleError
from zarrts.reading.memory import BatchMemory
from zarrts.reading.memory_plan import MemoryPlan
from zarrts.sizes import parse_size


@settings(deadline=None)
@given(unit=st.integers(1, 2**34), memory=st.integers(1, 2**36), batch=st.integers(0, 2**34))
def test_a_plan_keeps_to_its_budget_or_says_which_is_enough(unit, memory, batch):
    try:
        plan = MemoryPlan.of(memory, unit)
    except SampleError as error:
        assert memory * 0.8 < 3 * unit
        memory = parse_size(str(error).rsplit(" ", 1)[1].rstrip("."), "memory")
        plan = MemoryPlan.of(memory, unit)
    assert plan.slots * unit + plan.batch_bytes <= memory
    assert plan.span >= 2
    assert plan.max_steps >= 1
    # The loader needs the units of a piece, and one more to read while they are used up.
    assert plan.slots >= plan.span + plan.max_steps - 1
    try:
        ready = plan.count_ready(batch)
    except SampleError as error:
        assert batch > plan.batch_bytes
        enough = parse_size(str(error).split("at least ")[1].split(",")[0], "memory")
        ready = MemoryPlan.of(max(enough, memory), unit).count_ready(batch)
        assert ready >= 1
    else:
        assert 1 <= ready <= 16
        assert ready * batch <= plan.batch_bytes


def test_memory_of_a_batch_that_was_dropped_is_used_again():
    batches = BatchMemory(max_kept=3)
    dtype = np.dtype("f4")
    addresses = set()
    for n_rows in (8, 8, 5, 1, 8):
        batch = batches.empty((n_rows, 6), dtype)
        assert batch.shape == (n_rows, 6)
        assert batch.flags.c_contiguous
        assert batch.ctypes.data % 64 == 0
        addresses.add(batch.ctypes.data)
        del batch
    assert len(addresses) == 1


@pytest.mark.parametrize(
    "keep",
    [
        lambda batch: batch[2:3],
        lambda batch: batch.T,
        lambda batch: batch.reshape(-1).view("u1"),
        memoryview,
        lambda batch: np.frombuffer(batch, "f4"),
        lambda batch: np.asarray(memoryview(batch)[1:]),
        lambda batch: np.from_dlpack(batch),
        lambda batch: {"somewhere": [batch[0, :1]]},
        lambda batch: (it for it in batch),
    ],
)
def test_memory_of_a_batch_is_left_alone_while_any_part_of_it_is_held(keep):
    batches = BatchMemory(max_kept=2)
    first = batches.empty((8, 6), np.dtype("f4"))
    first[:] = 1
    address = first.ctypes.data
    held = keep(first)
    del first
    for _ in range(5):
        other = batches.empty((8, 6), np.dtype("f4"))
        assert other.ctypes.data != address
        other[:] = 2
    del held, other
    assert address in {batches.empty((8, 6), np.dtype("f4")).ctypes.data for _ in range(2)}


def test_batches_that_are_all_held_have_memory_of_their_own():
    batches = BatchMemory(max_kept=2)
    held = [batches.empty((8, 6), np.dtype("f4")) for _ in range(6)]
    larger = [batches.empty((80, 6), np.dtype("f4")) for _ in range(6)]
    for k, batch in enumerate(held + larger):
        batch[:] = k
    assert all((batch == k).all() for k, batch in enumerate(held + larger))


def test_without_the_gil_memory_is_never_used_again(monkeypatch):
    monkeypatch.setattr("zarrts.reading.memory._COUNTS_ARE_EXACT", False)
    batches = BatchMemory(max_kept=2)
    block = batches.empty((8, 6), np.dtype("f4")).base
    assert all(batches.empty((8, 6), np.dtype("f4")).base is not block for _ in range(5))
