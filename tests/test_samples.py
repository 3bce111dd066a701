"""Sets of sample ids, and where they lie in chunks; against Python's sets and loops."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import samples_of

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits, Ranges, SegmentGrid

IDS = st.sets(st.integers(0, 60), max_size=40)
QUICK = settings(deadline=None, max_examples=150)


def of(ids):
    return Ranges.of_ids(np.array(sorted(ids), np.int64))


def members(ranges):
    return {i for a, b in zip(ranges.starts, ranges.stops, strict=True) for i in range(a, b)}


def assert_is_normal(ranges):
    """starts[i] < stops[i] < starts[i + 1], as promised."""
    bounds = np.stack([ranges.starts, ranges.stops], axis=1).ravel()
    assert (np.diff(bounds) > 0).all()
    assert ranges.starts.dtype == ranges.stops.dtype == np.int64


@QUICK
@given(ids=st.lists(st.integers(0, 60), max_size=60))
def test_of_ids_holds_each_id_once_in_any_order(ids):
    found = Ranges.of_ids(np.array(ids, np.int64))
    assert_is_normal(found)
    assert members(found) == set(ids)
    assert len(found) == len(set(ids)) == found.sizes.sum()


@QUICK
@given(bounds=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_of_bounds_is_the_union_of_sorted_ranges(bounds):
    # Gap and length of each range; gaps and lengths of 0 touch and vanish.
    starts, stops, at = [], [], 0
    for gap, length in bounds:
        starts.append(at + gap)
        at += gap + length
        stops.append(at)
    found = Ranges.of_bounds(np.array(starts, np.int64), np.array(stops, np.int64))
    assert_is_normal(found)
    assert members(found) == {i for a, b in zip(starts, stops, strict=True) for i in range(a, b)}


@QUICK
@given(one=IDS, other=IDS)
def test_and_is_the_intersection(one, other):
    found = of(one) & of(other)
    assert_is_normal(found)
    assert members(found) == one & other


@QUICK
@given(ids=IDS)
def test_ids_and_count_below_are_inverse_and_match_a_sorted_list(ids):
    ranges, ordered = of(ids), sorted(ids)
    assert ranges.ids(np.arange(len(ordered))).tolist() == ordered
    below = ranges.count_below(np.arange(-2, 64))
    assert below.tolist() == [sum(i < limit for i in ordered) for limit in range(-2, 64)]


@pytest.mark.parametrize("ids", [np.array([True, False]), np.array([0.0, 2.5]), np.array(["1"])])
def test_ids_that_are_no_whole_numbers_are_refused(ids):
    with pytest.raises(SampleError, match=rf"whole numbers, not {ids.dtype}; .* samples.ids\[mask"):
        Ranges.of_ids(ids)


def test_the_empty_set_is_empty():
    empty = Ranges.of_ids(np.zeros(0, np.int64))
    assert len(empty) == 0
    assert empty.ids(np.zeros(0, np.int64)).shape == (0,)
    assert empty.count_below(np.array([0, 5])).tolist() == [0, 0]
    assert len(empty & of({1, 2})) == len(of({1, 2}) & empty) == 0


@st.composite
def stores(draw):
    """Return (grids, unit of each sample, group of each sample, whether each is selected)."""
    segment = st.tuples(st.integers(1, 40), st.integers(1, 9))
    segments = draw(st.lists(segment, min_size=1, max_size=3))
    grids = [SegmentGrid(n_rows=n, chunk_rows=rows) for n, rows in segments]
    unit_of, first = [], 0
    for n, rows in segments:
        unit_of += [first + i // rows for i in range(n)]
        first = unit_of[-1] + 1
    n_samples = len(unit_of)
    cuts = sorted(draw(st.sets(st.integers(1, n_samples), max_size=6)) | {0})
    codes = [draw(st.integers(0, 3)) for _ in cuts]
    group_of = [codes[sum(cut <= i for cut in cuts) - 1] for i in range(n_samples)]
    runs = (np.array(cuts, np.int64), np.array(codes, np.int64))
    selected = draw(st.lists(st.booleans(), min_size=n_samples, max_size=n_samples))
    return grids, unit_of, group_of, runs, selected


@QUICK
@given(store=stores())
def test_units_are_where_a_walk_over_the_samples_finds_them(store):
    grids, unit_of, _, runs, selected = store
    chosen = [i for i, is_in in enumerate(selected) if is_in]
    units = ChunkUnits(grids, of(chosen), runs)
    n_units = unit_of[-1] + 1
    n_chunks = [-(-grid.n_rows // grid.chunk_rows) for grid in grids]
    assert units.n_units == n_units == sum(n_chunks)
    every = np.arange(n_units + 1)
    starts = [unit_of.index(unit) for unit in range(n_units)] + [len(unit_of)]
    assert units.starts(every).tolist() == starts
    assert units.edges(every).tolist() == [sum(i < start for i in chosen) for start in starts]
    assert units.unit_of(np.arange(len(unit_of))).tolist() == unit_of
    numbers = np.arange(len(chosen))
    assert units.unit_of_number(numbers).tolist() == [unit_of[i] for i in chosen]
    segments, chunks, counts, at = units.chunks(every[:-1])
    walked = [(s, c) for s, n in enumerate(n_chunks) for c in range(n)]
    assert list(zip(segments.tolist(), chunks.tolist(), strict=True)) == walked
    assert (counts == 1).all() and (at == 0).all()


@QUICK
@given(store=stores())
def test_a_unit_belongs_to_the_group_of_its_first_selected_sample(store):
    grids, unit_of, group_of, runs, selected = store
    chosen = [i for i, is_in in enumerate(selected) if is_in]
    first_units, codes = ChunkUnits(grids, of(chosen), runs).groups()
    assert (np.diff(first_units) > 0).all()
    expected = {}
    for i in chosen:
        expected.setdefault(unit_of[i], group_of[i])
    found = {unit: int(codes[np.searchsorted(first_units, unit, "right") - 1]) for unit in expected}
    assert found == expected


def test_missing_torch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "zarrts.loading.torch_dataset", raising=False)
    with pytest.raises(ImportError, match=r"to_torch needs torch.*zarrts\[torch\]"):
        samples_of([("a", [3, 4, 5])]).to_torch(2)
