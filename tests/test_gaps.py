"""Gaps in time: from time stamps, EDF+D files and recordings; no window crosses one."""

import itertools
import json
import pickle

import numpy as np
import pytest
from edf_files import RATE, STAGES, write_edf
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.errors import SourceError, StoreError
from zarrts.storage import schema
from zarrts.timeline import Gaps, IrregularError, Timeline, timing_of

pytestmark = pytest.mark.usefixtures("no_leaks")
LENGTHS = (50, 33, 70)
GAPS = ([20, 31], [], [5, 6, 40])


def stamps_of(n_rows, rate_hz, gaps, digits=9, start=1.7e9):
    """Return when each row was, with gaps of some seconds before some rows."""
    times = np.arange(n_rows) / rate_hz
    for row, seconds in gaps:
        times[row:] += seconds
    return np.round(start + times, digits)


def in_blocks(values, sizes):
    cuts = np.cumsum(sizes)
    return np.split(values, cuts[cuts < len(values)])


@settings(deadline=None, max_examples=40)
@example(n_rows=30, rate_hz=51.2, places=[3], lasts=0.7, digits=6, sizes=[1])
@given(
    n_rows=st.integers(30, 15_000),
    rate_hz=st.sampled_from([1, 32, 100, 128, 256, 51.2, 1 / 60, 0.5]),
    places=st.lists(st.integers(2, 14_990), max_size=6, unique=True),
    lasts=st.floats(0.7, 5000),
    digits=st.sampled_from([3, 6]),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=20),
)
def test_gaps_of_stamps_are_found_whatever_the_blocks(
    n_rows, rate_hz, places, lasts, digits, sizes
):
    gaps = [(row, lasts / rate_hz) for row in sorted(places) if row < n_rows]
    if any(b - a < 2 for (a, _), (b, _) in itertools.pairwise(gaps)):
        gaps = gaps[:1]
    times = stamps_of(n_rows, rate_hz, gaps, digits)
    found = timing_of(in_blocks(times, sizes), rate_hz)
    whole = timing_of([times], rate_hz)
    assert found.rate_hz == whole.rate_hz == rate_hz
    assert found.first_s == times[0]
    rows = [] if found.gaps is None else found.gaps.rows.tolist()
    assert rows == [row for row, _ in gaps]
    assert rows == ([] if whole.gaps is None else whole.gaps.rows.tolist())
    if found.gaps is not None:
        expected = [seconds for _, seconds in gaps]
        # Two stamps that were rounded, to digits and, twice, to the floats there are so far from 0.
        off = 10.0**-digits + 2 * np.spacing(times[-1])
        np.testing.assert_allclose(found.gaps.seconds, expected, atol=off)
        assert np.array_equal(found.gaps.seconds, whole.gaps.seconds)


@pytest.mark.parametrize("rate_hz", [1, 25, 32, 50, 64, 100, 128, 250, 256, 512, 51.2, 1 / 30])
def test_the_rate_is_found_through_rounding(rate_hz):
    times = stamps_of(20_000, rate_hz, [(7_000, 100.0 + 3 / rate_hz)], digits=3)
    assert timing_of([times]).rate_hz == pytest.approx(rate_hz, rel=1e-12)


def test_a_clock_that_runs_fast_keeps_its_own_rate():
    times = stamps_of(100_000, 100 * (1 + 5e-5), [])
    assert timing_of([times]).rate_hz == pytest.approx(100.005, rel=1e-9)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 2, 2, 3], r"do not grow from row 2 \(2.0+ s\) to row 3 \(2.0+ s\)"),
        ([0, 1, 2, 1.5, 3], "do not grow from row 2"),
        ([0, 1, 2, 2.3, 3, 4, 5], r"those of rows 2 and 3 0.3 s \(\d\d% off\)"),
        ([0, 1, np.nan, 3], "row 2 has none; fill it in"),
        (np.cumsum(np.random.default_rng(0).uniform(0.6, 1.4, 3000)), r"follow no fixed rate.*by"),
    ],
)
def test_irregular_stamps_are_refused_with_the_jitter(times, message):
    with pytest.raises(IrregularError, match=message):
        timing_of([np.asarray(times, float)])
    with pytest.raises(IrregularError, match=message):
        timing_of(in_blocks(np.asarray(times, float), [1] * len(times)))


def test_single_stamps_say_nothing_of_the_rate():
    assert timing_of([]).first_s is None
    only = timing_of([np.array([5.0])])
    assert (only.rate_hz, only.gaps, only.first_s) == (None, None, 5.0)


@settings(deadline=None, max_examples=50)
@given(
    rate_hz=st.sampled_from([1.0, 7.0, 100.0, 0.25]),
    rows=st.lists(st.integers(1, 400), max_size=5, unique=True),
    seed=st.integers(0, 99),
)
def test_rows_and_times_are_each_others_inverse(rate_hz, rows, seed):
    rng = np.random.default_rng(seed)
    gaps = Gaps.of(sorted(rows), rng.uniform(0, 50, len(rows)))
    time = Timeline(rate_hz=rate_hz, gaps=gaps)
    every = np.arange(420)
    times = time.seconds(every)
    assert np.array_equal(time.rows(times), every)
    for at in rng.uniform(-1, times[-1] + 2, 30):
        # The nearest row; in a gap, the first one after it, unless the one before is nearer.
        near = int(np.abs(times - at).argmin())
        found = time.row(at)
        if abs(times[near] - at) < 0.49 / rate_hz:
            assert found == near
        elif abs(times[near] - at) > 0.51 / rate_hz and 0 < at < times[-1]:
            assert found == int(np.searchsorted(times, at))


def study(kind, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for number, (n, gaps) in enumerate(zip(LENGTHS, GAPS, strict=True)):
        x = rng.standard_normal((n, 2)).astype(np.float32)
        y = np.array(["a", "b"])[rng.integers(0, 2, n)]
        more = {"rows": {"gaps": gaps or None}, "pairs": {"gaps": [(it, 2.5) for it in gaps]}}
        if kind in ("seconds", "dates"):
            times = stamps_of(n, 10, [(it, 2.5) for it in gaps], 6)
            dates = (times * 1e6).round().astype("int64").astype("datetime64[us]")
            more[kind] = {"times": times if kind == "seconds" else dates.astype(str)}
        made.append(zarrts.Recording(f"s{number}", x, y, **more[kind]))
    return made


def naive(recordings, length, stride):
    """Return (recording, first row) of each window, in their order."""
    found = []
    for number in range(len(recordings)):
        edges = [0, *GAPS[number], LENGTHS[number]]
        for low, high in itertools.pairwise(edges):
            found += [(number, at) for at in range(low, high - length + 1, stride)]
    return found


@pytest.mark.parametrize("kind", ["rows", "pairs", "seconds", "dates"])
def test_no_window_crosses_a_gap(tmp_path, kind):
    made = study(kind)
    rate = None if kind in ("seconds", "dates") else 10
    with zarrts.convert(
        made, tmp_path / "s.zarr", kind="ragged", rate_hz=rate, chunk=96, shard=384, progress=False
    ) as store:
        assert store.rate_hz == 10
        windows = store.samples.windows(4, 2, label="first")
        expected = naive(made, 4, 2)
        x, y = windows.load()
        assert len(x) == len(expected)
        for value, label, (number, at) in zip(x, y, expected, strict=True):
            assert np.array_equal(value, made[number].x[at : at + 4])
            assert store.class_names[label] == made[number].y[at]
        assert np.array_equal(pickle.loads(pickle.dumps(windows)).ids, windows.ids)
        joined = store.samples.windows(4, 4, label="first").sequences(2)
        assert len(joined) == len(naive(made, 8, 8))
        more = store.samples.windows(4, 2, label="first", gaps={0: [10]})
        edges = [0, 10, 20, 31, 50]
        n_first = sum((b - a - 4) // 2 + 1 for a, b in itertools.pairwise(edges))
        assert more.selection.per_recording[0] == n_first
    root = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())["attributes"]["zarrts"]
    assert (root["schema"], root["needs"]) == (2, ["gaps"])
    assert zarrts.verify(tmp_path / "s.zarr", deep=True, sources=made).problems == ()


def test_append_and_remove_keep_gaps_where_they_are(tmp_path):
    made, path = study("pairs"), tmp_path / "s.zarr"
    options = {"progress": False}
    zarrts.convert(made[1], path, kind="ragged", rate_hz=10, **options).close()
    zarrts.append(path, [made[0], made[2]], **options).close()
    zarrts.remove(path, subject="s0")
    with zarrts.open(path) as store:
        rows, seconds = store.catalog.gaps.rows, store.catalog.gaps.seconds
        assert rows.tolist() == [33 + it for it in GAPS[2]]
        assert seconds.tolist() == [2.5] * 3
        assert len(store.samples.windows(4, 2, label="last")) == len(
            [it for it in naive(made, 4, 2) if it[0] > 0]
        )
    assert zarrts.verify(path, deep=True).problems == ()


def test_a_version_that_does_not_know_gaps_refuses_the_store(tmp_path, monkeypatch):
    zarrts.convert(study("rows"), tmp_path / "s.zarr", kind="ragged", progress=False).close()
    monkeypatch.setattr(schema, "FEATURES", frozenset())
    with pytest.raises(StoreError, match="needs gaps, which this version"):
        zarrts.open(tmp_path / "s.zarr")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"gaps": [0]}, r"has to be a list of time steps, from 1 to 49"),
        ({"gaps": [50]}, "before which something is missing, or of pairs"),
        ({"gaps": [(3, -1.0)]}, "has to be a list of time steps"),
        ({"gaps": [3, 3]}, "names a time step twice"),
        ({"gaps": [3], "times": np.arange(50)}, "gaps follow from times="),
        ({"times": np.arange(49)}, "each of the 50 time steps of x needs one time"),
        ({"times": np.arange(50)[::-1]}, "do not grow from row 0"),
        ({"times": np.arange(50) / 10, "rate_hz": 20}, "are those of 10 Hz, but its rate_hz="),
        ({"times": ["1.3.2026"] * 50}, "write times as 2026-03-01"),
    ],
)
def test_what_is_no_gap_or_time_is_refused(tmp_path, more, message):
    given = zarrts.Recording("s", np.zeros((50, 2), np.float32), ["a"] * 50, **more)
    with pytest.raises(SourceError, match=message):
        zarrts.convert(given, tmp_path / "s.zarr", kind="ragged", progress=False)


def test_samples_that_are_rows_have_no_gaps(tmp_path):
    given = zarrts.Recording("s", np.zeros((8, 5, 2)), np.arange(8) % 2, gaps=[3])
    with pytest.raises(SourceError, match="has 1 gap in time, but its rows are samples"):
        zarrts.convert(given, tmp_path / "s.zarr", progress=False)


def test_records_of_edf_that_are_missing_are_gaps(tmp_path):
    write_edf(tmp_path / "a.edf", annotations=STAGES)
    with zarrts.convert(tmp_path / "a.edf", tmp_path / "whole.zarr", progress=False) as whole:
        x, y = (it[0] for it in whole.samples.load())
    content = (tmp_path / "a.edf").read_bytes().replace(b"EDF+C", b"EDF+D")
    # The last records come three seconds later.
    (tmp_path / "a.edf").unlink()
    (tmp_path / "b.edf").write_bytes(later(content, 6, 3))
    with zarrts.convert(tmp_path / "b.edf", tmp_path / "b.zarr", progress=False) as store:
        gaps = store.catalog.gaps
        assert gaps.rows.tolist() == [6 * RATE]
        assert gaps.seconds.tolist() == [3.0]
        new_x, new_y = (it[0] for it in store.samples.load())
        assert np.array_equal(new_x, x)
        names, others = np.array([*whole.class_names, ""]), np.array([*store.class_names, ""])
        assert np.array_equal(others[new_y][: 6 * RATE], names[y][: 6 * RATE])
        # What was annotated from second 9 on is about the rows from 6 * RATE on.
        n_later = len(x) - 9 * RATE
        texts = texts_at(STAGES, len(x), gap=(6, 3))
        assert others[new_y].tolist() == texts
        assert n_later > 0
        starts = store.samples.windows("2s", "2s", label="majority").selection.view.index.starts
        assert starts.tolist() == [0, 6 * RATE]
    (tmp_path / "b.edf").unlink()
    (tmp_path / "c.edf").write_bytes(later(content, 6, -2))
    with pytest.raises(SourceError, match="record 6 starts at 4 s, but the one before ends at 6 s"):
        zarrts.convert(tmp_path / "c.edf", tmp_path / "c.zarr", progress=False)


def later(content, record, seconds):
    """Return an EDF+D file whose records from one on start later."""
    for number in range(99, record - 1, -1):
        old, new = f"+{number}\x14\x14".encode(), f"+{number + seconds}\x14\x14".encode()
        if old in content:
            at = content.index(old)
            rest = content[at + len(old) :]
            grown = len(new) - len(old)
            assert rest[: max(0, grown)] == b"\0" * max(0, grown)
            content = content[:at] + new + b"\0" * max(0, -grown) + rest[max(0, grown) :]
    return content


def texts_at(stages, n_rows, gap):
    """Return the text at each row of a recording of one second a record with a gap."""
    record, seconds = gap
    found = []
    for row in range(n_rows):
        at = row / RATE + (seconds if row >= record * RATE else 0)
        texts = [text for onset, lasts, text in stages if onset <= at < onset + lasts]
        found.append(texts[0] if texts else "")
    return found


def test_networks_see_new_data_with_its_gaps(tmp_path):
    keras = pytest.importorskip("keras", exc_type=ImportError)
    made = study("pairs")
    with zarrts.convert(
        made, tmp_path / "s.zarr", kind="ragged", rate_hz=10, progress=False
    ) as store:
        windows = store.samples.windows(4, 2, label="first")
        with zarrts.ZarrSequence(windows, 8) as seq:
            inputs = keras.Input((4, 2))
            flat = keras.layers.Flatten()(inputs)
            model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(flat))
            for given in (made, store.samples):
                found = zarrts.predict(model, given, like=seq, stride=2)
                starts = found.places.starts.tolist()
                assert [*zip(found.recordings.tolist(), starts, strict=True)] == naive(made, 4, 2)
                result = zarrts.evaluate(model, given, like=seq, stride=2)
                assert result.confusion.sum() == len(naive(made, 4, 2))
