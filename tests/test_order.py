"""The orders of an epoch, on indices alone: every sample once, in the same batches for ever."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import ORDERS, batches_of, make, selections, units_of, whole

from zarrts.errors import SampleError
from zarrts.ordering import uniform
from zarrts.ordering.order import Batching, SourceOrder

QUICK = settings(deadline=None, max_examples=80)


def count_batches(n, size, world_size, drop_last):
    """The promise of DESIGN.md, in plain arithmetic."""
    per_rank = n // world_size
    return per_rank // size if drop_last else max(1, (per_rank + size - 1) // size)


@QUICK
@given(
    selection=selections(), options=ORDERS, size=st.integers(1, 40), world_size=st.integers(1, 5)
)
def test_union_of_ranks_is_the_selection_exactly_once(selection, options, size, world_size):
    units, unit_of = selection
    n = len(unit_of)
    world_size = min(world_size, n)
    found = []
    for rank in range(world_size):
        batching = Batching(n_samples=n, batch_size=size, rank=rank, world_size=world_size)
        batches = batches_of(make(units, batching, options))
        assert len(batches) == count_batches(n, size, world_size, False)
        assert all(len(batch) == size for batch in batches[:-1])
        # A surplus sample rides in the last batch.
        assert 1 <= len(batches[-1]) <= size + (n % world_size > 0)
        found += batches
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(n))


@QUICK
@given(
    selection=selections(), options=ORDERS, size=st.integers(1, 40), world_size=st.integers(1, 5)
)
def test_drop_last_gives_full_batches_without_doubles(selection, options, size, world_size):
    units, unit_of = selection
    n = len(unit_of)
    world_size = min(world_size, n)
    size = min(size, n // world_size)
    found = []
    for rank in range(world_size):
        batching = Batching(
            n_samples=n, batch_size=size, rank=rank, world_size=world_size, drop_last=True
        )
        batches = batches_of(make(units, batching, options))
        assert len(batches) == count_batches(n, size, world_size, True)
        assert all(len(batch) == size for batch in batches)
        found += batches
    together = np.concatenate(found)
    assert len(np.unique(together)) == len(together)
    assert together.min() >= 0
    assert together.max() < n


@QUICK
@given(
    selection=selections(),
    options=ORDERS,
    size=st.integers(1, 40),
    world=st.tuples(st.integers(0, 4), st.integers(1, 5)),
)
def test_pieces_keep_what_the_loader_relies_on(selection, options, size, world):
    units, unit_of = selection
    n = len(unit_of)
    world_size = min(world[1], n)
    batching = Batching(
        n_samples=n, batch_size=size, rank=world[0] % world_size, world_size=world_size
    )
    order = make(units, batching, options)
    lowest, seen = 0, set()
    most = {"rolling": options["span"] // 2 * 2 + options["max_steps"] - 1}
    most |= {"source": options["max_steps"], "uniform": options["max_steps"]}
    most |= {"uniform in memory": order.n_places}
    for index in range(batching.n_batches):
        at = 0
        for piece in order.pieces(index):
            assert piece.batch == index
            assert piece.start == at < piece.stop
            at = piece.stop
            assert len(piece.places) == len(piece.numbers) == piece.stop - piece.start
            assert 0 <= piece.low <= piece.places.min()
            assert piece.places.max() < piece.high <= order.n_places
            assert piece.high - piece.low <= max(most[options["kind"]], 1)
            assert piece.low >= lowest
            lowest = piece.low
            # The unit at a place is the one that holds the sample.
            there = order.units(piece.low, piece.high)[piece.places - piece.low]
            assert np.array_equal(there, unit_of[piece.numbers])
            seen |= set(piece.places.tolist())
        start, stop = batching.bounds(index)
        assert at == stop - start
    assert seen == set(range(order.n_places))
    if options["kind"] != "uniform":
        # Each unit stands at one place, so that it is read once.
        assert len(set(order.units(0, order.n_places).tolist())) == order.n_places


@QUICK
@given(
    selection=selections(),
    options=ORDERS,
    size=st.integers(1, 40),
    asked=st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
)
def test_a_batch_is_the_same_whatever_was_asked_before(selection, options, size, asked):
    units, unit_of = selection
    batching = Batching(n_samples=len(unit_of), batch_size=size)
    in_sequence = batches_of(make(units, batching, options))
    restless = make(units, batching, options)
    for number in asked:
        index = number % batching.n_batches
        fresh = make(units, batching, options)
        for order in (fresh, restless, restless):
            found = np.concatenate([piece.numbers for piece in order.pieces(index)])
            assert np.array_equal(found, in_sequence[index])


@QUICK
@given(
    selection=selections(), options=ORDERS, sizes=st.tuples(st.integers(1, 9), st.integers(1, 9))
)
def test_the_order_does_not_depend_on_the_size_of_batches_or_pieces(selection, options, sizes):
    units, unit_of = selection
    orders = []
    for size, max_steps in zip(sizes, (1, 8), strict=True):
        batching = Batching(n_samples=len(unit_of), batch_size=size)
        order = make(units, batching, options | {"max_steps": max_steps})
        orders.append(np.concatenate(batches_of(order)))
    assert np.array_equal(*orders)


@pytest.mark.parametrize("kind", ["rolling", "uniform", "uniform in memory"])
def test_every_seed_and_epoch_gives_another_order_and_the_same_one_again(kind):
    units = whole(600, 8, 3)
    batching = Batching(n_samples=600, batch_size=50)

    def epoch_order(seed, epoch):
        options = {"kind": kind, "span": 16, "max_steps": 2, "seed": seed, "epoch": epoch}
        return np.concatenate(batches_of(make(units, batching, options)))

    seen = [epoch_order(seed, epoch) for seed in range(3) for epoch in range(3)]
    again = [epoch_order(seed, epoch) for seed in range(3) for epoch in range(3)]
    for i, order in enumerate(seen):
        assert np.array_equal(order, again[i])
        for other in seen[:i]:
            # Two random orders of 600 agree in 1 place on average.
            assert np.count_nonzero(order == other) < 12
    # (seed, epoch) = (0, 1) and (1, 0) in particular: epochs are no offset of the seed.
    assert not np.array_equal(epoch_order(0, 1), epoch_order(1, 0))


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_a_rank_reads_only_its_own_units(world_size):
    n, rows = 1000, 10
    units = whole(n, rows, 4)
    read = []
    for rank in range(world_size):
        batching = Batching(n_samples=n, batch_size=32, rank=rank, world_size=world_size)
        order = make(units, batching, ROLLING | {"span": 20})
        read += order.units(0, order.n_places).tolist()
    # A unit on the border of two ranks is read by both.
    assert len(read) <= n // rows + world_size - 1
    assert set(read) == set(range(n // rows))


def test_units_of_every_group_are_spread_evenly_over_the_epoch():
    n, rows, n_groups = 13_000, 10, 13
    units = whole(n, rows, n_groups)
    order = make(units, Batching(n_samples=n, batch_size=32), ROLLING | {"span": 64})
    group = order.units(0, order.n_places) // 100
    for part in group.reshape(10, 130):
        counts = np.bincount(part, minlength=n_groups)
        assert counts.min() >= 8
        assert counts.max() <= 12


def test_a_span_of_twice_the_units_is_a_full_shuffle():
    n, rows = 512, 8
    order = make(whole(n, rows, 1), Batching(n_samples=n, batch_size=n), ROLLING | {"span": 128})
    # Samples of one unit are found all over the epoch: one in each eighth of it, or nearly.
    place = np.empty(n, int)
    place[np.concatenate(batches_of(order))] = np.arange(n)
    spread = np.array([len(set(it)) for it in (place.reshape(-1, rows) // (n // rows))])
    assert spread.mean() > 5


ROLLING = {"kind": "rolling", "span": 128, "max_steps": 4, "seed": 0, "epoch": 0}


def test_fewer_samples_than_processes_are_refused():
    with pytest.raises(SampleError, match="3 samples cannot be shared by 4 processes"):
        Batching(n_samples=3, batch_size=1, rank=0, world_size=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it has to be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank is 2, but with world_size=2 .* between 0 and 1"),
        ({"rank": -1}, "rank is -1, but with world_size=1"),
        ({"n_samples": 0}, "The selection holds no samples"),
        ({"batch_size": 11, "drop_last": True}, "drop_last=True, 10 samples make no batch of 11"),
        ({"batch_size": 6, "drop_last": True, "world_size": 2}, "5 samples make no batch of 6"),
    ],
)
def test_batches_that_cannot_be_are_refused(options, message):
    with pytest.raises(SampleError, match=message):
        Batching(**{"n_samples": 10, "batch_size": 4} | options)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_batch_that_is_not_there_is_an_index_error(index):
    batching = Batching(n_samples=10, batch_size=4)
    with pytest.raises(IndexError, match=f"batch {index} of 3"):
        batching.bounds(index)


def test_source_order_is_the_order_of_the_store():
    units = units_of([(10, 3), (5, 2)], [0], [0], [1, 2, 5, 9, 10, 11, 14])
    order = SourceOrder(units, Batching(n_samples=7, batch_size=3))
    assert [it.tolist() for it in batches_of(order)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert order.units(0, order.n_places).tolist() == [0, 1, 3, 4, 6]


@pytest.mark.parametrize(
    ("max_units", "sizes"), [(1, [1, 2, 1]), (2, [3, 1]), (3, [4]), (100, [4])]
)
def test_a_piece_of_source_order_is_from_so_many_units_at_most(max_units, sizes):
    units = units_of([(10, 2)], [0], [0], [1, 2, 3, 5, 6, 7])
    order = SourceOrder(units, Batching(n_samples=6, batch_size=4), max_units=max_units)
    pieces = list(order.pieces(0))
    assert [it.stop - it.start for it in pieces] == sizes
    assert np.concatenate([it.numbers for it in pieces]).tolist() == [0, 1, 2, 3]
    assert all(it.high - it.low <= max_units for it in pieces)
    assert all((it.low <= it.places).all() and (it.places < it.high).all() for it in pieces)


# Pinned: if one of these changes, the batches of every seed change.


def test_a_known_rolling_order():
    order = make(whole(24, 4, 2), Batching(n_samples=24, batch_size=8), ROLLING | {"span": 4})
    assert order.units(0, 6).tolist() == [1, 3, 2, 5, 0, 4]
    assert [it.tolist() for it in batches_of(order)] == [
        [14, 15, 5, 10, 6, 7, 21, 12],
        [4, 9, 13, 0, 8, 20, 11, 1],
        [19, 22, 2, 23, 17, 16, 3, 18],
    ]


@pytest.mark.parametrize("kind", ["uniform", "uniform in memory"])
def test_a_known_uniform_order(kind):
    order = make(whole(12, 4, 1), Batching(n_samples=12, batch_size=6), ROLLING | {"kind": kind})
    assert [it.tolist() for it in batches_of(order)] == [[7, 1, 5, 6, 9, 4], [11, 3, 8, 0, 2, 10]]


def test_units_that_stay_are_opened_as_the_exact_shuffle_draws_from_them(monkeypatch):
    units, batching = whole(3000, 4, 3), Batching(n_samples=3000, batch_size=50)
    for most in (1 << 20, 128):  # of the samples that are looked through
        monkeypatch.setattr(uniform, "_SAMPLES_PER_BLOCK", 64)
        monkeypatch.setattr(uniform, "_MOST_SAMPLES", most)
        order = make(units, batching, ROLLING | {"kind": "uniform in memory"})
        drawn = np.concatenate(batches_of(order)) // 4
        wanted = list(dict.fromkeys(drawn[:most].tolist()))
        rest = sorted({*range(750)} - {*wanted})
        assert order.units(0, order.n_places).tolist() == wanted + rest
        # The first batch waits for the units of its own samples, and for no others.
        (piece,) = order.pieces(0)
        assert (piece.low, piece.high) == (0, len(set(drawn[:50].tolist())))


# How good the shuffle is


def drift(rng, n, length):
    """Return an autoregressive series: neighbours are alike over about `length` samples."""
    keep = np.exp(-1 / length)
    steps = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    state, out = rng.standard_normal(), np.empty(n)
    for i, step in enumerate(steps.tolist()):
        out[i] = state = keep * state + step
    return out


def test_batches_are_as_good_as_those_of_a_full_shuffle():
    n, rows, size, n_subjects = 93_600, 64, 128, 13
    rng = np.random.default_rng(0)
    properties = {
        "subject": np.repeat(rng.standard_normal(n_subjects), n // n_subjects),
        "drift": drift(rng, n, 2000),
        "neighbours": drift(rng, n, 50),
        "sorted by class": np.repeat(np.arange(6.0), n // 6),
    }
    units = whole(n, rows, n_subjects)
    inflation = {name: [] for name in properties}
    for epoch in range(4):
        order = make(units, Batching(n_samples=n, batch_size=size), ROLLING | {"epoch": epoch})
        numbers = np.stack(batches_of(order)[:-1])
        for name, values in properties.items():
            means = ((values - values.mean()) / values.std())[numbers].mean(axis=1)
            inflation[name].append(means.var() * size)
    found = {name: np.mean(values) for name, values in inflation.items()}
    assert found["subject"] < 0.6, found
    assert found["sorted by class"] < 0.6, found
    assert found["drift"] < 1.35, found
    assert found["neighbours"] < 1.35, found


# Scale

BILLION = """
import tracemalloc, numpy as np
from zarrts.ordering.order import Batching
from zarrts.ordering.rolling import RollingOrder
from zarrts.indexing.units import ChunkUnits, Ranges, SegmentGrid
n = 10**9
selection = Ranges(np.zeros(1, np.int64), np.array([n]))
groups = (np.arange(13) * (n // 13), np.arange(13))
tracemalloc.start()
units = ChunkUnits([SegmentGrid(n_rows=n, chunk_rows=64)], selection, groups)
order = RollingOrder(units, Batching(n_samples=n, batch_size=128), span=128, seed=0, epoch=0)
for batch in (0, 4_000_000, order.batching.n_batches - 1):
    numbers = np.concatenate([piece.numbers for piece in order.pieces(batch)])
    assert len(np.unique(numbers)) == len(numbers) == 128, (batch, numbers)
print(tracemalloc.get_traced_memory()[1])
"""


def test_the_order_of_a_billion_samples_takes_less_than_300_megabytes():
    run = subprocess.run(
        [sys.executable, "-c", BILLION], capture_output=True, text=True, check=True, timeout=200
    )
    assert int(run.stdout) < 300_000_000
