"""Inputs that start, end or pause at other times: rows are those that all have, never others."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.sources.formats.drafts import Findings
from zarrts.sources.rows.inputs import InputTime
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study import in_memory
from zarrts.sources.study.common_time import Track, common_stretches, gaps_between
from zarrts.sources.study.inputs import find_inputs
from zarrts.sources.study.joining_inputs import join_all
from zarrts.sources.study.standards import Reference
from zarrts.timeline import Gaps

SMALL = {"chunk": "2KiB", "shard": "16KiB", "progress": False}
RATES = [(50, 1), (64, 4, 32), (100, 25, 50, 2), (8, 6), (4, 4)]


def times_of(n, rate, start=0.0):
    return start + np.arange(n) / rate


def naive_rows(times, rates, row_s):
    """Return the step of each input with which each row begins, by looking for the nearest."""
    slow = min(rates, key=lambda name: (rates[name], name))
    steps = {name: round(rate * row_s) for name, rate in rates.items()}
    for k, t in enumerate(times[slow]):
        firsts = {name: int(np.abs(own - t).argmin()) for name, own in times.items()}
        firsts[slow] = k
        far = [abs(times[name][at] - t) * rates[name] for name, at in firsts.items()]
        if max(far) > 0.5 + 1e-6:
            continue
        n_rows = min((len(times[name]) - at) // steps[name] for name, at in firsts.items())
        return [
            {name: at + row * steps[name] for name, at in firsts.items()} for row in range(n_rows)
        ], steps
    return [], steps


def row_of(rates):
    """Return the shortest time that is a whole number of steps of each, by trying."""
    return next(
        k / max(rates)
        for k in range(1, 10_000)
        if all(abs(k / max(rates) * r - round(k / max(rates) * r)) < 1e-9 for r in rates)
    )


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_the_steps_that_are_nearest_in_time(tmp_path, rates, seed):
    rng = np.random.default_rng([len(rates), seed])
    row_s = row_of(rates)
    named = {f"in{i}": rate for i, rate in enumerate(rates)}
    study, expected = [], []
    for number in range(3):
        starts = {name: round(float(rng.uniform(0, 5 * row_s)), 3) for name in named}
        lengths = {name: int(rng.integers(20, 40) * row_s * rate) for name, rate in named.items()}
        x = {name: rng.normal(size=(n, 2)).astype("f4") for name, n in lengths.items()}
        times = {name: times_of(lengths[name], named[name], starts[name]) for name in named}
        rows, steps = naive_rows(times, named, row_s)
        y = rng.integers(0, 4, lengths["in0"])
        # Labels start with the first input, of which they are.
        starts["y"] = starts["in0"]
        rate_hz = named | {"y": rates[0]}
        study.append(zarrts.Recording(f"s{number}", x, y, rate_hz=rate_hz, start_s=starts))
        expected.append((x, y, rows, steps))
    store = zarrts.convert(study, tmp_path / "a.zarr", kind="ragged", **SMALL)
    samples = store.samples.windows(f"{2 * row_s}s", f"{row_s}s", label="last")
    found = []
    for x, y, rows, steps in expected:
        for one in range(len(rows) - 1):
            part = {
                name: x[name][first : first + 2 * steps[name]] for name, first in rows[one].items()
            }
            found.append((part, y[rows[one]["in0"] + 2 * steps["in0"] - 1]))
    assert len(samples) == len(found)
    for batch in samples.batches(7, seed=seed):
        for row, sample_id in enumerate(batch.sample_id):
            part, label = found[sample_id]
            for name, values in part.items():
                np.testing.assert_array_equal(batch.x[name][row], values)
            assert batch.y[row] == label


@st.composite
def tracks(draw):
    """Return inputs with gaps, as (steps in a row, times of all steps, where stretches begin)."""
    steps = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    found = {}
    for number, each in enumerate(steps):
        parts = draw(
            st.lists(st.tuples(st.integers(1, 40), st.floats(0.6, 30.0)), min_size=1, max_size=4)
        )
        at, times, edges = draw(st.floats(0, 20)), [], [0]
        for length, missing in parts:
            times.append(at + np.arange(length) / each)
            at = float(times[-1][-1]) + (1 + missing) / each
            edges.append(edges[-1] + length)
        found[f"in{number}"] = (each, np.concatenate(times), edges, [it[1] for it in parts])
    return found


def track_of(each, times, edges, missing):
    seconds = [it / each for it in missing[:-1]]
    gaps = Gaps.of(edges[1:-1], seconds)
    return Track.of(len(times), each, each, float(times[0]), gaps)


@given(tracks())
@settings(max_examples=300, deadline=None)
def test_no_row_holds_steps_of_other_times_and_none_is_left_out(drawn):
    """A row is a second, of `each` steps of every input."""
    stretches = common_stretches({name: track_of(*it) for name, it in drawn.items()})
    used = {name: np.zeros(len(it[1]), int) for name, it in drawn.items()}
    for stretch in stretches:
        for name, (each, times, edges, _) in drawn.items():
            low = stretch.firsts[name]
            high = low + stretch.n_rows * each
            used[name][low:high] += 1
            # All in one stretch, and each at its time: half a step, one where it was used before.
            assert np.searchsorted(edges, low, "right") == np.searchsorted(edges, high - 1, "right")
            off = np.abs(times[low:high] - stretch.start_s - np.arange(high - low) / each)
            assert off.max() * each <= 1.001
    assert all(it.max() <= 1 for it in used.values())
    assert [it.start_s for it in stretches] == sorted(it.start_s for it in stretches)
    # Of each time in which all inputs go on for long enough, no more than a row at either end
    # is left out.
    spans = []
    for each, times, edges, _ in drawn.values():
        own = list(itertools.pairwise(edges))
        spans.append([(times[a], times[b - 1] + 1 / each) for a, b in own])
    common = [(-np.inf, np.inf)]
    for own in spans:
        common = [
            (max(a, c), min(b, d)) for a, b in common for c, d in own if max(a, c) < min(b, d)
        ]
    needed = sum(max(0, int(np.floor(b - a - 2))) for a, b in common)
    n_rows = sum(it.n_rows for it in stretches)
    assert needed <= n_rows <= sum(b - a for a, b in common) + 2 * len(common)
    gaps = gaps_between(stretches, 1.0)
    if len(stretches) > 1:
        assert (np.diff(gaps.rows) > 0).all() and (gaps.seconds >= 0).all()
        total = stretches[-1].start_s + stretches[-1].n_rows - stretches[0].start_s
        assert gaps.seconds.sum() + n_rows == pytest.approx(total, abs=1.01 * len(stretches))


def acc_and_hr(seconds=30, **more):
    rng = np.random.default_rng(0)
    x = {
        "acc": rng.normal(size=(10 * seconds, 2)).astype("f4"),
        "hr": rng.normal(size=(seconds, 1)).astype("f4"),
        "age": 41.0,
    }
    return x, {"rate_hz": {"acc": 10, "hr": 1}} | more


def convert(recordings, path, **options):
    return zarrts.convert(recordings, path, kind="ragged", **SMALL, **options)


def test_what_is_left_out_is_said_and_what_starts_otherwise_is_another_source(tmp_path):
    x, more = acc_and_hr()
    one = zarrts.Recording("anna", x, "walk", start_s={"hr": 2.52}, **more)
    assert (
        "recording 1 (anna): inputs are cut to what all have, 2.52 to 29.52 s: acc from 0 to 30 s, "
        "hr from 2.52 to 32.52 s" in repr(zarrts.scan(one, kind="ragged"))
    )
    assert "steps are off the time of their row by up to acc 0.02 s" in repr(
        zarrts.scan(one, kind="ragged")
    )
    store = convert(one, tmp_path / "a.zarr")
    found, labels = store.samples.load()
    np.testing.assert_array_equal(found["acc"][0], x["acc"][25:295])
    np.testing.assert_array_equal(found["hr"][0], x["hr"][:27])
    assert found["age"][0].tolist() == [41.0] and store.class_names[labels[0]] == "walk"
    other = zarrts.Recording("anna", x, "walk", start_s={"hr": 3.52}, **more)
    with pytest.raises(zarrts.ZarrtsError, match="is a store of other sources or options"):
        convert(other, tmp_path / "a.zarr")
    # Where inputs are known to start together, their ends may differ.
    longer = x | {"hr": x["hr"][:20]}
    with pytest.raises(zarrts.ZarrtsError, match=r"not equally long: acc 30 s, hr 20 s.*start_s="):
        convert(zarrts.Recording("anna", longer, "walk", **more), tmp_path / "b.zarr")
    ends = zarrts.Recording("anna", longer, "walk", start_s={"acc": 0, "hr": 0}, **more)
    found, _ = convert(ends, tmp_path / "b.zarr").samples.load()
    np.testing.assert_array_equal(found["acc"][0], x["acc"][:200])


def test_of_many_recordings_those_that_lose_most_are_said(tmp_path):
    x, more = acc_and_hr()
    study = [
        zarrts.Recording(f"s{i}", x, "walk", start_s={"hr": float(i)}, **more) for i in range(1, 8)
    ]
    text = repr(zarrts.scan(study, kind="ragged"))
    assert text.count(": inputs are cut to what all have, ") == 3
    assert "(s7): inputs are cut" in text and "(s4): inputs" not in text
    assert "inputs are cut to what all have of 4 more recordings, by less" in text


@pytest.mark.parametrize("label_s", [5, 1, 0.5])
def test_labels_of_a_rate_of_their_own_start_where_it_is_said(tmp_path, label_s):
    x, more = acc_and_hr()
    y = np.arange(round(40 / label_s))
    rates = more["rate_hz"] | {"y": 1 / label_s}
    starts = {"acc": 3.0, "hr": 4.0, "y": 1.0}
    given = zarrts.Recording("anna", x, y, rate_hz=rates, start_s=starts)
    store = convert(given, tmp_path / "a.zarr")
    samples = store.samples.windows("1s", "1s", label="all")
    assert len(samples) == 29
    for i in range(29):
        at = np.arange(4 + i, 5 + i, min(1, label_s))  # seconds from the recording's start
        assert samples[i][1].reshape(-1).tolist() == [y[int((t - 1) // label_s)] for t in at]
        np.testing.assert_array_equal(samples[i][0]["acc"], x["acc"][10 + 10 * i : 20 + 10 * i])
    short = zarrts.Recording("anna", x, y[: round(20 / label_s)], rate_hz=rates, start_s=starts)
    words = (
        "are for 1 to 21 s, but its inputs have rows from 4 to 33 s.*say when labels start, with"
    )
    with pytest.raises(zarrts.ZarrtsError, match=words):
        convert(short, tmp_path / "b.zarr")


def test_time_stamps_of_each_input_give_rates_starts_and_gaps(tmp_path):
    x, _ = acc_and_hr()
    acc = np.delete(np.arange(300), np.s_[118:143])  # 2.5 s are missing
    hr = np.delete(np.arange(30), np.s_[20:22])
    start = np.datetime64("2026-03-01T10:00:00")
    times = {
        "acc": start + (acc * 100).astype("m8[ms]"),
        "hr": start + (hr * 1000 + 1040).astype("m8[ms]"),
    }
    arrays = x | {"acc": x["acc"][acc], "hr": x["hr"][hr]}
    labels = np.array(["sit", "run"])[(acc > 200).astype(int)]
    store = convert(zarrts.Recording("anna", arrays, labels, times=times), tmp_path / "a.zarr")
    assert store.rate_hz == {"acc": 10, "age": None, "hr": 1}
    # hr k is at k + 1.04 s: with acc from 10 k + 10 on. acc is missing from 11.8 to 14.3 s, hr 20
    # and 21 from 21.04 to 23.04 s.
    rows = [*range(10), *range(14, 20), *range(22, 29)]
    inside = [(10 <= k < 14) or k in (20, 21) for k in range(30)]
    assert not any(inside[k] for k in rows)
    assert store.recordings[0].n_rows == len(rows)
    samples = store.samples.windows("2s", "1s", label="last")
    pairs = [k for k in rows if k + 1 in rows]
    assert len(samples) == len(pairs)
    for i, k in enumerate(pairs):
        one, label = samples[i]
        np.testing.assert_array_equal(one["acc"], x["acc"][10 * k + 10 : 10 * k + 30])
        np.testing.assert_array_equal(one["hr"], x["hr"][k : k + 2])
        assert store.class_names[label] == ("run" if 10 * k + 29 > 200 else "sit")


def test_masks_and_tables_of_labels_follow_the_fastest_input(tmp_path):
    x, more = acc_and_hr()
    mask = np.zeros(300, bool)
    mask[77] = True
    given = zarrts.Recording("anna", x, None, start_s={"acc": 2, "hr": 5}, mask=mask, **more)
    labels = {"subject": ["anna"] * 2, "start": [0, 12], "stop": [12, 40], "label": ["a", "b"]}
    store = convert(given, tmp_path / "a.zarr", labels=labels)
    samples = store.samples.windows("1s", "1s", label="majority", nan="drop")
    # Second k of the recording is row k - 5, with acc from 10 (k - 2) on; acc 77 is in second 9.
    seconds = [k for k in range(5, 32) if k != 9]
    assert len(samples) == len(seconds)
    for i, k in enumerate(seconds):
        one, label = samples[i]
        np.testing.assert_array_equal(one["acc"], x["acc"][10 * (k - 2) : 10 * (k - 1)])
        np.testing.assert_array_equal(one["hr"], x["hr"][k - 5 : k - 4])
        assert store.class_names[label] == ("a" if k < 12 else "b")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"start_s": {"hr": 40}},
            "no time in common that is a whole row of 1 s: acc from 0 to 30 s, hr from 40 to 70 s",
        ),
        ({"start_s": {"hr": "soon"}}, "has to be a dictionary of seconds by the names of its"),
        ({"start_s": 3}, "has to be a dictionary of seconds by the names of its inputs, acc, age"),
        ({"start_s": {"acx": 3}}, "its start_s= names acx, but its inputs are acc, age, hr"),
        ({"start_s": {"hr": 1}, "gaps": [3]}, "start_s= and gaps= are given"),
        ({"start_s": {"hr": 1}, "times": {}}, "start_s= and times= are given"),
        ({"times": {"acc": np.arange(300) / 10}}, "its times= lack hr; give the times of each"),
        ({"times": {"hr": np.arange(30)}, "gaps": [3]}, "gaps follow from times="),
        ({"start_s": {"hr": 1}, "rate_hz": {"acc": 10}}, "say how many of each are a second"),
        ({"start_s": {"hr": 1}, "y": np.arange(7)}, "say how many labels are for a second"),
    ],
)
def test_times_that_cannot_be_meant_are_refused(tmp_path, more, words):
    x, usual = acc_and_hr()
    given = {"y": "walk"} | usual | more
    with pytest.raises(zarrts.ZarrtsError, match=words):
        convert(zarrts.Recording("anna", x, **given), tmp_path / "a.zarr")


def test_times_are_for_several_series(tmp_path):
    x, _ = acc_and_hr()
    for more, words in [
        ({"start_s": {"x": 1}}, "start_s= is for several inputs that do not start together"),
        ({"times": {"x": np.arange(300)}}, "its times= are by the names of inputs, but x is one"),
    ]:
        with pytest.raises(zarrts.ZarrtsError, match=words):
            convert(zarrts.Recording("anna", x["acc"], "walk", **more), tmp_path / "a.zarr")
    both = {"acc": x["acc"], "gyro": x["acc"]}
    two = zarrts.Recording("anna", both, np.arange(300), rate_hz=10, start_s={"gyro": 2})
    with pytest.raises(zarrts.ZarrtsError, match="of acc or of gyro, which start at other times"):
        convert(two, tmp_path / "a.zarr")
    windows = {"a": np.zeros((4, 5, 2)), "b": np.zeros((4, 2))}
    dense = zarrts.Recording("anna", windows, np.arange(4), start_s={"b": 2}, rate_hz=1)
    with pytest.raises(
        zarrts.ZarrtsError, match="its inputs have times of their own, but its rows are"
    ):
        zarrts.convert(dense, tmp_path / "a.zarr", **SMALL)


def test_recordings_that_start_otherwise_are_appended_and_found_as_inputs_of_a_network(tmp_path):
    x, more = acc_and_hr()
    convert(zarrts.Recording("anna", x, "walk", **more), tmp_path / "a.zarr")
    other = zarrts.Recording("bert", x, "run", start_s={"hr": 2}, **more)
    store = zarrts.append(tmp_path / "a.zarr", other, progress=False)
    found, _ = store.samples.load()
    np.testing.assert_array_equal(found["acc"][1], x["acc"][20:300])
    np.testing.assert_array_equal(found["hr"][1], x["hr"][:28])
    assert zarrts.verify(store.path, deep=True).problems == ()
    options = SourceOptions(y=False, kind="ragged")
    steps = {"acc": 10, "age": 0, "hr": 1}
    description = store.header.description
    reference = Reference(description=description, owner="the network has", steps=steps)
    with pytest.warns(UserWarning, match="inputs are cut to what all have, 2 to 30 s"):
        (new,) = find_inputs([other], options, reference=reference)
    rows = new.x.read(0, new.x.shape[0])
    np.testing.assert_array_equal(rows["acc"].reshape(-1, 2), x["acc"][20:300])
    np.testing.assert_array_equal(rows["hr"], x["hr"][:28])


def test_gaps_of_unknown_lengths_are_not_guessed():
    x, more = acc_and_hr()
    options = SourceOptions(kind="ragged")
    (found,) = in_memory.find_recordings(
        [zarrts.Recording("anna", x, "walk", start_s={"hr": 0}, **more)], options, Findings()
    )
    times = found.x.times | {"acc": InputTime(0.0, Gaps.of([50], [0.0]))}
    late = dataclasses.replace(found, x=dataclasses.replace(found.x, times=times))
    (problem,) = join_all([late], options, None).problems
    assert "how long acc was interrupted, so that it cannot be aligned" in problem
