"""Windows and recordings as samples, against loops over the rows of small recordings."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.errors import SampleError
from zarrts.indexing.cuts import Fit, View
from zarrts.indexing.indexes import RecordingIndex, RowIndex
from zarrts.indexing.units import ChunkUnits, Ranges, SegmentGrid
from zarrts.indexing.windows import (
    WindowOptions,
    numbers_of_gaps,
    rows_of_time,
    sequences_of,
)
from zarrts.loops.votes import majority

QUICK = settings(deadline=None, max_examples=120)
LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=6)


def offsets_of(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def naive_windows(lengths, options, gaps=None):
    """Return (first row, rows of x, rows of y) of every window, by walking over the rows."""
    found, first = [], 0
    for number, length in enumerate(lengths):
        start, stop, _ = slice(options.start, options.stop).indices(length)
        borders = [row for row in sorted((gaps or {}).get(number, ())) if start < row < stop]
        edges = [start, *borders, max(start, stop)]
        for low, high in itertools.pairwise(edges):
            for at in range(low, high, options.stride):
                x = list(range(at, at + options.length, options.sampling_rate))
                last = at + options.length - 1
                ahead = [options.horizon] if isinstance(options.horizon, int) else options.horizon
                y = {
                    "recording": [],
                    "first": [at],
                    "last": [last],
                    "next": [last + step for step in ahead],
                    "majority": list(range(at, last + 1)),
                    "all": x,
                }[options.label]
                if max([last, *y]) >= high:
                    continue
                if options.reverse:
                    x = x[::-1]
                    y = x if options.label == "all" else y
                found.append((first + at, [first + i for i in x], [first + i for i in y]))
        first += length
    return found


OPTIONS = st.builds(
    WindowOptions,
    length=st.integers(1, 12),
    stride=st.integers(1, 7),
    sampling_rate=st.integers(1, 4),
    start=st.integers(-9, 9),
    stop=st.none() | st.integers(-9, 30),
    reverse=st.booleans(),
    label=st.sampled_from(["recording", "first", "last", "next", "majority", "all"]),
    horizon=st.integers(1, 4) | st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
)


@QUICK
@given(lengths=LENGTHS, options=OPTIONS, data=st.data())
def test_windows_are_those_of_a_walk_over_the_rows(lengths, options, data):
    gaps = {
        number: data.draw(st.lists(st.integers(0, length), max_size=3))
        for number, length in enumerate(lengths)
        if length and data.draw(st.booleans())
    }
    expected = naive_windows(lengths, options, gaps)
    offsets = offsets_of(lengths)
    if not expected:
        with pytest.raises(SampleError, match="No window fits"):
            options.index(offsets, gaps)
        return
    index, cut = options.index(offsets, gaps), options.cut()
    assert index.n_samples == len(expected)
    ids = np.arange(index.n_samples)
    firsts = index.first_rows(ids)
    assert firsts.tolist() == [first for first, _, _ in expected]
    assert index.n_rows(ids).tolist() == [options.n_rows] * len(ids)
    assert cut.x_rows(firsts, None).tolist() == [x for _, x, _ in expected]
    if options.label != "recording":
        rows = cut.y_rows(firsts, None).reshape(len(ids), -1)
        assert rows.tolist() == [y for _, _, y in expected]
    every = np.arange(offsets[-1] + 1)
    below = [sum(first < row for first, _, _ in expected) for row in every]
    assert index.count_before(every).tolist() == below


@QUICK
@given(lengths=LENGTHS, n=st.integers(1, 4), stride=st.none() | st.integers(1, 3), data=st.data())
def test_sequences_are_runs_of_windows(lengths, n, stride, data):
    length, step = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    options = WindowOptions(length=length, stride=step, label="last")
    windows, first = [], 0
    for n_rows in lengths:
        windows.append(range(first, first + n_rows - length + 1, step))
        first += n_rows
    expected = [
        run[at : at + n] for run in windows for at in range(0, len(run) - n + 1, stride or n)
    ]
    if not any(len(run) for run in windows):
        return
    view = View(options.index(offsets_of(lengths), {}), options.cut(), options.key)
    if not expected:
        with pytest.raises(SampleError, match="No sequence fits"):
            sequences_of(view, n, stride)
        return
    found = sequences_of(view, n, stride)
    joined, cut = found.index, found.cut
    assert joined.n_samples == len(expected)
    firsts = joined.first_rows(np.arange(joined.n_samples))
    rows = cut.x_rows(firsts, None)
    assert rows.tolist() == [[list(range(w, w + length)) for w in run] for run in expected]
    assert cut.y_rows(firsts, None).tolist() == [[w + length - 1 for w in run] for run in expected]
    assert joined.n_rows(np.zeros(1, np.int64))[0] == rows[0].max() - rows[0].min() + 1


@QUICK
@given(lengths=LENGTHS)
def test_recordings_lie_where_their_offsets_say(lengths):
    index = RecordingIndex.of(offsets_of(lengths))
    assert index.n_samples == len(lengths)
    ids = np.arange(len(lengths))
    assert index.n_rows(ids).tolist() == lengths
    firsts = [sum(lengths[:i]) for i in range(len(lengths))]
    assert index.first_rows(ids).tolist() == firsts
    every = np.arange(sum(lengths) + 1)
    assert index.count_before(every).tolist() == [sum(f < row for f in firsts) for row in every]
    assert index.max_rows == max([1, *lengths])


@st.composite
def ragged_stores(draw):
    """Return (grids, first row and number of rows of each sample, index, run)."""
    segments = draw(
        st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=4), min_size=1, max_size=3)
    )
    chunk_rows = draw(st.integers(1, 9))
    grids = [SegmentGrid(n_rows=sum(lengths), chunk_rows=chunk_rows) for lengths in segments]
    lengths = [n for segment in segments for n in segment]
    offsets = offsets_of(lengths)
    if draw(st.booleans()):
        index = RecordingIndex.of(offsets)
    else:
        options = WindowOptions(
            length=draw(st.integers(1, max(lengths))), stride=draw(st.integers(1, 9))
        )
        index = options.index(offsets, {})
    return grids, index, draw(st.integers(1, 4)), chunk_rows


@QUICK
@given(store=ragged_stores(), data=st.data())
def test_a_unit_is_read_with_all_rows_of_its_selected_samples(store, data):
    grids, index, run, chunk_rows = store
    ids = np.arange(index.n_samples)
    chosen = np.array(sorted(data.draw(st.sets(st.sampled_from(ids.tolist()), min_size=1))))
    units = ChunkUnits(
        grids, Ranges.of_ids(chosen), (np.zeros(1, int), np.zeros(1, int)), index, run
    )
    # Chunk c of segment s is unit (s, c // run): walk over all chunks.
    unit_of_row, chunk_of_row = [], []
    first_unit = 0
    for segment, grid in enumerate(grids):
        for row in range(grid.n_rows):
            chunk_of_row.append((segment, row // chunk_rows))
            unit_of_row.append(first_unit + row // chunk_rows // run)
        first_unit = unit_of_row[-1] + 1
    assert units.n_units == first_unit
    firsts, needed = index.first_rows(chosen), index.n_rows(chosen)
    owners = [unit_of_row[row] for row in firsts]
    assert units.unit_of(chosen).tolist() == owners
    every = np.arange(first_unit + 1)
    assert units.edges(every).tolist() == [sum(o < unit for o in owners) for unit in every]
    for unit in sorted(set(owners)):
        rows = [
            row
            for first, n, owner in zip(firsts, needed, owners, strict=True)
            if owner == unit
            for row in range(first, first + n)
        ]
        chunks = sorted({chunk_of_row[row] for row in rows})
        segment, first, n_chunks, at = (int(it[0]) for it in units.chunks(np.array([unit])))
        span = [(segment, first + i) for i in range(n_chunks)]
        assert (span[0], span[-1]) == (chunks[0], chunks[-1])
        start = unit_of_row.index(unit)
        assert at == chunk_of_row.index(chunks[0]) - start
        assert at + n_chunks * chunk_rows <= units.rows
        assert max(rows) - start < at + n_chunks * chunk_rows


@QUICK
@given(store=ragged_stores(), data=st.data())
def test_rows_of_a_range_of_samples_are_counted_once(store, data):
    _, index, _, _ = store
    start = data.draw(st.integers(0, index.n_samples - 1))
    stop = data.draw(st.integers(start + 1, index.n_samples))
    ids = np.arange(start, stop)
    rows = {
        row
        for first, n in zip(index.first_rows(ids), index.n_rows(ids), strict=True)
        for row in range(first, first + n)
    }
    assert index.count_rows(np.array([start]), np.array([stop])) == len(rows)


def test_a_billion_windows_are_a_few_numbers():
    offsets = np.arange(0, 14 * 10**8, 10**8)
    index = WindowOptions(length=3000, stride=1).index(offsets, {})
    assert index.n_samples == 13 * (10**8 - 2999)
    assert index.starts.nbytes + index.counts.nbytes < 1000
    last = np.array([index.n_samples - 1])
    assert index.first_rows(last).tolist() == [13 * 10**8 - 3000]
    assert index.count_before(index.first_rows(last)).tolist() == last.tolist()


def test_rows_are_samples_of_a_dense_store():
    index = RowIndex(5)
    ids = np.array([3, 0])
    assert index.first_rows(ids) is ids and index.count_before(ids) is ids
    assert index.n_rows(ids).tolist() == [1, 1]


@QUICK
@given(
    samples=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=5),
    n_steps=st.integers(1, 12),
    keeps_end=st.booleans(),
)
def test_fitted_rows_are_the_samples_and_then_their_last_row(samples, n_steps, keeps_end):
    firsts, lengths = (np.array(it, np.int64) for it in zip(*samples, strict=True))
    found = Fit(lengths=lengths, n_steps=n_steps, keeps_end=keeps_end).rows(firsts)
    for rows, (first, length) in zip(found.tolist(), samples, strict=True):
        own = list(range(first, first + length))
        own = own[-n_steps:] if keeps_end else own[:n_steps]
        assert rows == own + [own[-1]] * (n_steps - len(own))


@QUICK
@given(
    labels=st.lists(st.lists(st.integers(-1, 3), min_size=4, max_size=4), min_size=1, max_size=4),
    missing=st.sampled_from([(), (-1,), (-1, 2)]),
    min_labelled=st.sampled_from([0, 0.25, 0.5, 0.6, 1]),
)
def test_majority_is_the_most_frequent_label_where_enough_are_there(labels, missing, min_labelled):
    expected = []
    for row in labels:
        rest = [value for value in row if value not in missing]
        if missing and (not rest or len(rest) < min_labelled * len(row)):
            expected.append(-1)
        else:
            expected.append(min(rest, key=lambda value: (-rest.count(value), value)))
    assert majority(np.array(labels), missing, min_labelled).tolist() == expected


def test_times_are_turned_into_rows():
    assert rows_of_time("length", 200, None) == 200
    assert rows_of_time("length", "30s", 100.0) == 3000
    assert rows_of_time("length", "0.5 min", 50.0) == 1500
    assert rows_of_time("stride", "20ms", 50.0) == 1
    with pytest.raises(SampleError, match="'30s' is a time, but the rate is not known"):
        rows_of_time("length", "30s", None)
    with pytest.raises(SampleError, match=r"length='10ms' is 0.5 rows at 50 Hz"):
        rows_of_time("length", "10ms", 50.0)
    for wrong in ("30", "s", 1.5, True):
        with pytest.raises(SampleError, match="number of rows, or a time"):
            rows_of_time("length", wrong, 50.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"length": 0}, "length=0 has to be a whole number, at least 1"),
        ({"stride": 0}, "stride=0 has to be a whole number, at least 1"),
        ({"label": "middle"}, "label='middle' is unknown"),
        ({"target": "z"}, "target='z' is unknown"),
        ({"target": "x"}, "label='recording' names none"),
        ({"channels": (0,)}, "say target='x' too"),
        ({"horizon": 0}, "horizon=0 counts rows behind a window"),
        ({"horizon": ()}, "counts rows behind a window"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(wrong, message):
    with pytest.raises(SampleError, match=message):
        WindowOptions(**({"length": 5} | wrong))


def test_gaps_are_named_by_number_or_source():
    sources = ["a.npz", "b.npz", "b.npz"]
    assert numbers_of_gaps({"a.npz": [3], 0: [5], 2: (7,)}, sources) == {0: [3, 5], 2: [7]}
    with pytest.raises(SampleError, match=r"'b.npz' names no recording \(2 are named so"):
        numbers_of_gaps({"b.npz": [1]}, sources)
    with pytest.raises(SampleError, match="names no recording"):
        numbers_of_gaps({3: [1]}, sources)
    with pytest.raises(SampleError, match="recording 0 has 10 rows, but a gap at row 11"):
        WindowOptions(length=2).index(np.array([0, 10]), {0: [11]})
