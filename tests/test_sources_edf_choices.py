"""EDF: signals and annotations are chosen, and nothing else of a file refuses it."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from edf_files import write_raw_edf

import zarrts
from zarrts.cli import main
from zarrts.sources import SourceOptions, find
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of

LIMITS = (-1000, 1000)
SCORED = [("+0", "30", "W"), ("+30", "30", "N1")]


def ramp(name, n_records=60, first=0, physical=LIMITS, digital=LIMITS):
    """A signal of 10 samples in a second, whose values are first, first + 1, ..."""
    return (name, np.arange(n_records * 10) + first, 10, physical, digital)


def only(path, **options):
    found = find(str(path), SourceOptions(kind="ragged", **options))
    assert found.problems == ()
    (recording,) = found.recordings
    return recording


def problem(path, **options):
    (text,) = find(str(path), SourceOptions(kind="ragged", **options)).problems
    return text


def read(rows):
    return rows.read(0, rows.shape[0])


@pytest.mark.parametrize(
    "dummy",
    [
        {"digital": (0, 0)},
        {"physical": (0, 0)},
        {"physical": ("", ""), "digital": ("", "")},
        {"digital": ("?", 5)},
    ],
)
def test_a_signal_without_limits_refuses_only_whoever_chooses_it(tmp_path, dummy):
    path = tmp_path / "a.edf"
    write_raw_edf(path, [ramp("C3"), ramp("-", **dummy), ramp("C4", first=7)], SCORED)
    text = problem(path)
    assert "limits of -" in text and "channels=['C3', 'C4']" in text
    chosen = only(path, channels=["C4", "C3"])  # the remedy that it names
    assert np.array_equal(read(chosen.x), np.stack([np.arange(600) + 7, np.arange(600)], axis=1))
    assert "limits of -" in problem(path, channels=["C3", "-"])


def test_a_file_whose_only_signal_has_no_limits_has_no_choice(tmp_path):
    write_raw_edf(tmp_path / "a.edf", [ramp("-", physical=(5, 5))], SCORED)
    assert "physical limits of - are 5 and 5" in problem(tmp_path / "a.edf")


def test_each_of_several_signals_of_one_name_can_be_chosen(tmp_path):
    names = ["T8", "P8", "T8", "-", "-", "T8#2"]
    signals = [ramp(name, first=100 * i) for i, name in enumerate(names)]
    path = tmp_path / "a.edf"
    write_raw_edf(path, signals, SCORED)
    everything = only(path).description.channels
    # A signal that is really called "T8#2" keeps that name.
    assert everything == ("T8#1", "P8", "T8#3", "-#1", "-#2", "T8#2")
    second = only(path, channels=["T8#3", "P8"])
    assert read(second.x)[0].tolist() == [200, 100]
    assert second.description.channels == ("T8#3", "P8")
    text = problem(path, channels=["T8"])
    assert "has not exactly one signal named T8" in text and "T8#1 (10 Hz)" in text


@pytest.mark.parametrize("limit", [".5", "+.5", "5.e-1", "00.5000", "0.50000000000000"])
def test_limits_are_numbers_in_any_way_of_writing(tmp_path, limit):
    path = tmp_path / "a.edf"
    write_raw_edf(path, [ramp("C3", physical=("-.5", limit[:8]))], SCORED)
    assert np.allclose(read(only(path).x)[:, 0], np.arange(600) / 2000, atol=1e-6)


@pytest.mark.parametrize(
    "onset",
    [
        np.format_float_positional(0.1 + 0.2, unique=True),
        format(0.3, ".55f"),
        "0" * 40 + "0.3",
        ".3",
        "3e-1",
    ],
)
def test_onsets_may_have_any_number_of_digits(tmp_path, onset):
    path = tmp_path / "a.edf"
    write_raw_edf(
        path, [ramp("C3")], [(f"+{onset}", "20", "W"), ("+30", "10.000000000000000", "N1")]
    )
    y = read(only(path).y)
    expected = np.full(600, "", "U2")
    expected[3:203], expected[300:400] = "W", "N1"
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("onset", ["1e999", "9" * 401, "0x10", "nan", "1_0", "--1"])
def test_times_that_are_no_numbers_are_refused(tmp_path, onset):
    path = tmp_path / "a.edf"
    write_raw_edf(path, [ramp("C3")], [(f"+{onset}", "20", "W")])
    assert "is not a number" in problem(path)


def annotated(pairs):
    return [Annotation(onset, stop, text) for onset, stop, text in pairs]


@pytest.mark.parametrize("rate", [1, 7, 128, 256.0164, 500, 5000])
@pytest.mark.parametrize("digits", [2, 3, 4])
def test_annotations_that_touch_never_overlap(rate, digits):
    """Onset and duration are rounded to some digits each, as scorers write them."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cuts = np.unique(rng.uniform(3, 57, 12).round(5))
        cuts = cuts[np.insert(np.diff(cuts) > 2.5, 0, True)]
        edges = np.array([0, *cuts, 60.0])
        pairs = [
            (round(a, digits), round(b - a, digits), "WN"[i % 2])
            for i, (a, b) in enumerate(itertools.pairwise(edges))
        ]
        if digits == 2 and rate > 100:
            continue  # 10 ms are several rows: these really overlap
        n_rows = int(60 * rate)
        y = read(labels_of(annotated(pairs), rate, n_rows, SourceOptions(), "a"))
        # Far from each edge, a row has the label of the stretch that it lies in.
        times = np.arange(n_rows) / rate
        near = np.abs(times[:, None] - edges).min(axis=1) < 0.01 + 1 / rate
        expected = np.array(["WN"[i % 2] for i in range(len(pairs))])[
            np.searchsorted(edges, times, "right") - 1
        ]
        assert np.array_equal(y[~near], expected[~near])
        assert (y == "").sum() <= len(pairs) * max(1, round(10**-digits * rate) + 1)


def test_exact_seconds_at_a_broken_rate_leave_no_row_out():
    pairs = [(0.1 * i, 0.1, "WN"[i % 2]) for i in range(600)]
    y = read(labels_of(annotated(pairs), 25, 1500, SourceOptions(), "a"))
    assert (y != "").all()


def test_annotations_that_overlap_name_texts_times_and_the_choice(tmp_path):
    path = tmp_path / "a.edf"
    inside = [*SCORED, ("+41", "3", "Arousal"), ("+55", "0.5", "Spindle")]
    write_raw_edf(path, [ramp("C3")], inside)
    text = problem(path)
    assert "'N1' (30 s to 60 s) and 'Arousal' (41 s to 44 s) overlap" in text
    assert "'Spindle'" in text and "annotations=" in text
    expected = np.repeat(["W", "N1"], 300)
    for chosen in (["W", "N1"], r"^(W|N\d)$", "W|N"):
        assert np.array_equal(read(only(path, annotations=chosen).y), expected)
    arousals = read(only(path, annotations=["Arousal"]).y)
    assert np.flatnonzero(arousals == "Arousal").tolist() == list(range(410, 440))
    text = problem(path, annotations=["Sleep"])
    assert "chooses none of its annotations" in text and "'Arousal'" in text


@pytest.mark.parametrize("wrong", ["(", [], [""], [1]])
def test_a_choice_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(zarrts.SourceError, match="annotations="):
        SourceOptions(annotations=wrong)


def study_of_events(folder):
    """Two recordings with a seizure of 9 s in 40 s, and one without any."""
    for name, events in (
        ("p1", [("+12", "9", "seizure")]),
        ("p2", [("+30", "20", "seizure")]),
        ("p3", []),
    ):
        write_raw_edf(folder / f"{name}.edf", [ramp("C3", 40), ramp("C4", 40, first=9)], events)


def run(*words):
    done = CliRunner().invoke(main, [str(it) for it in words])
    return SimpleNamespace(output=" ".join(done.output.split()), code=done.exit_code)


def test_where_only_events_are_annotated_the_rest_can_be_a_class(tmp_path):
    study_of_events(tmp_path / "in")
    plain = run("convert", "--dry-run", tmp_path / "in")
    assert plain.code == 1 and "unlabelled= (--unlabelled)" in plain.output  # p3 has no label
    (tmp_path / "in" / "p3.edf").rename(tmp_path / "p3.edf")
    plain = run("convert", "--dry-run", tmp_path / "in")
    # 90 of 400 and 100 of 400 rows have one.
    assert "76 % of time steps have no label" in plain.output
    assert "--unlabelled" in plain.output
    (tmp_path / "p3.edf").rename(tmp_path / "in" / "p3.edf")
    store = tmp_path / "a.zarr"
    done = run("convert", "--unlabelled", "background", tmp_path / "in", store)
    assert done.code == 0 and "no label" not in done.output
    with zarrts.open(store) as opened:
        assert opened.class_names == ["background", "seizure"]
        windows = opened.samples.windows(10, 10, label="last")
        y = windows.load_labels()
        expected = np.zeros((3, 40), int)
        expected[0, 12:21], expected[1, 30:40] = 1, 1
        assert np.array_equal(np.asarray(y).reshape(3, 40), expected)


def test_what_was_said_is_kept_for_append(tmp_path):
    study_of_events(tmp_path / "in")
    options = {"unlabelled": "rest", "annotations": ["seizure"], "progress": False}
    with zarrts.convert(tmp_path / "in", tmp_path / "a.zarr", **options):
        pass
    more = [("+3", "2", "seizure"), ("+2", "9", "Arousal")]  # which would overlap
    write_raw_edf(tmp_path / "b" / "q.edf", [ramp("C3", 40, 1), ramp("C4", 40, 3)], more)
    with zarrts.append(tmp_path / "a.zarr", tmp_path / "b", progress=False) as grown:
        assert grown.class_names == ["rest", "seizure"]
        y = np.asarray(grown.samples.select(subjects=["q"]).windows(1, label="last").load_labels())
        assert np.flatnonzero(y == 1).tolist() == list(range(30, 50))


def test_intervals_of_a_recording_leave_rows_to_the_class_as_well(tmp_path):
    intervals = np.array([(2, 5, "hit")], dtype=[("start", int), ("stop", int), ("label", "U3")])
    recording = zarrts.Recording("p", np.zeros((9, 2), "f4"), intervals)
    options = {"unlabelled": "nothing at all", "kind": "ragged", "progress": False}
    with zarrts.convert(recording, tmp_path / "a.zarr", **options) as store:
        assert store.class_names == ["hit", "nothing at all"]
        y = np.asarray(store.samples.windows(1, label="last").load_labels())
        assert y.tolist() == [1, 1, 0, 0, 0, 1, 1, 1, 1]


def test_numbers_have_no_class_for_what_has_no_label():
    recording = zarrts.Recording("p", np.zeros((9, 4, 2), "f4"), np.arange(9) % 2)
    with pytest.raises(zarrts.SourceError, match="among labels that are text"):
        find(recording, SourceOptions(unlabelled="rest"))


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "u1"])
def test_a_value_that_is_declared_missing_becomes_nan(tmp_path, dtype):
    values = np.arange(12 * 8 * 2).reshape(12, 8, 2).astype(dtype)
    values[3, 4, 1] = values[7, 0, 0] = 200
    expected = values.astype("f4")
    expected[values == 200] = np.nan
    np.savez(tmp_path / "p.npz", x=values, y=np.arange(12) % 3)
    options = {"missing": 200, "progress": False}
    with zarrts.convert(tmp_path / "p.npz", tmp_path / "a.zarr", **options) as store:
        x, _ = store.samples.load()
        assert x.dtype == np.float32
        assert np.array_equal(x, expected, equal_nan=True)
        assert (
            int(np.isnan(x).sum())
            == int((values == 200).sum())
            == store.samples.stats().nan_count.sum()
        )
    told = run("convert", "--dry-run", "--missing", "200", tmp_path / "p.npz")
    assert "200 is missing (NaN)" in told.output


def test_a_missing_value_is_a_number():
    with pytest.raises(zarrts.SourceError, match=r"missing=.-32768. has to be a number"):
        SourceOptions(missing="-32768")


def test_a_hypnogram_of_another_time_names_both_times(tmp_path):
    write_raw_edf(tmp_path / "s1-PSG.edf", [ramp("C3")], [])
    write_raw_edf(tmp_path / "s1-Hypnogram.edf", [], SCORED, record_s="0", start="10.30.00")
    text = problem(tmp_path)
    assert (
        "s1-Hypnogram.edf starts at 2020-01-01 10:30:00, the recording at 2020-01-01 22:00:00"
        in text
    )


def test_a_scoring_of_another_name_says_what_fits(tmp_path):
    write_raw_edf(tmp_path / "01 PSG.edf", [ramp("C3")], [])
    write_raw_edf(tmp_path / "01 Base.edf", [], SCORED, record_s="0")
    texts = find(str(tmp_path), SourceOptions()).problems
    (text,) = (it for it in texts if it.startswith("01 Base.edf"))
    assert "01 PSG.edf" in text and "01 Hypnogram.edf" in text and "table" in text
    (tmp_path / "01 Base.edf").rename(tmp_path / "01 Hypnogram.edf")  # the remedy
    assert np.array_equal(read(only(tmp_path).y), np.repeat(["W", "N1"], 300))


def test_nothing_warns(tmp_path):
    study_of_events(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find(str(tmp_path), SourceOptions(unlabelled="rest"))


def test_a_choice_of_annotations_without_edf_files_is_refused(tmp_path):
    recording = zarrts.Recording("p", np.zeros((9, 4, 2), "f4"), np.arange(9) % 2)
    with pytest.raises(zarrts.SourceError, match="and there are none; leave it out"):
        zarrts.convert(recording, tmp_path / "a.zarr", annotations=["W"], progress=False)


def test_a_signal_of_a_repeated_name_says_how_to_choose(tmp_path):
    write_raw_edf(tmp_path / "a.edf", [ramp("T8"), ramp("T8", first=9)], SCORED)
    assert "channels=['T8#1', ...]" in problem(tmp_path / "a.edf", channels=["T8"])
