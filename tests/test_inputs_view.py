"""Several inputs as they are looked at: every step of each, in the viewer and in the report."""

import dataclasses
import re

import numpy as np
import pytest
from click.testing import CliRunner
from view_stores import predictions_of

import zarrts
from zarrts.cli import main
from zarrts.view.content import Content
from zarrts.view.series import Series

STAGES = np.array(["N", "R", "W"])
NAMES = {"acc": ["x", "y", "z"], "hr": ["hr"], "eda": ["eda"]}


def study_of(rates, labels="fastest", n_seconds=(40, 61)):
    rng = np.random.default_rng(0)
    fastest = max(rates.values())
    made = []
    for number, seconds in enumerate(n_seconds):
        x = {
            name: rng.normal(size=(rate * seconds, len(NAMES[name]))).astype("f4")
            for name, rate in rates.items()
        }
        x["age"] = np.array([30.0 + number], "f4")
        n = {"fastest": fastest * seconds, "slowest": min(rates.values()) * seconds, "one": 1}
        y = STAGES[np.sort(rng.integers(0, 3, n[labels]))[rng.permutation(n[labels]) // 9 * 9]]
        y = y if labels != "one" else y[0]
        rate = {"fastest": fastest, "slowest": min(rates.values())}.get(labels)
        given = rates if rate is None else {**rates, "y": rate}
        channels = {name: NAMES[name] for name in rates}
        made.append(zarrts.Recording(f"s{number}", x, y, rate_hz=given, channels=channels))
    return made


def store_of(folder, recordings, **more):
    given = {"kind": "ragged", "progress": False, "chunk": "2KiB", "shard": "8KiB", **more}
    return zarrts.convert(recordings, folder / "a.zarr", **given)


@pytest.mark.parametrize("rates", [{"acc": 50, "hr": 1}, {"acc": 8, "hr": 6}, {"acc": 4, "eda": 4}])
@pytest.mark.parametrize("labels", ["fastest", "slowest", "one"])
@pytest.mark.parametrize("pack", ["auto", 0.01])
def test_a_series_has_each_input_at_the_steps_of_the_fastest(tmp_path, rates, labels, pack):
    recordings = study_of(rates, labels)
    x = {name: it + 1 for name, it in recordings[0].x.items()}
    more = dataclasses.replace(recordings[0], subject="s2", x=x)
    store = store_of(tmp_path, recordings, pack=pack)
    store = zarrts.append(store.path, more, progress=False)
    fastest = max(rates.values())
    for number, it in enumerate([*recordings, more]):
        series = Series(store.samples, number)
        assert series.rate_hz == pytest.approx(fastest)
        assert series.channels == [f"{n} {c}" for n in sorted(rates) for c in NAMES[n]]
        n_steps = min(len(it.x[n]) * fastest // rate for n, rate in rates.items())
        assert series.n_steps == n_steps - n_steps % (fastest // np.gcd.reduce([*rates.values()]))
        # Of a step of the fastest input, the one of another that covers its start.
        wanted = np.concatenate(
            [it.x[n][np.arange(series.n_steps) * rates[n] // fastest] for n in sorted(rates)],
            axis=1,
        )
        for start, stop in ((0, series.n_steps), (3, 30), (series.n_steps - 7, series.n_steps + 9)):
            found = series.x(start, stop)
            most = 0 if pack == "auto" else 0.01
            np.testing.assert_allclose(found, wanted[start:stop], rtol=0, atol=most)
        runs = series.runs(series.tracks[0])
        codes = np.repeat(runs.codes, np.diff(runs.edges))
        if labels == "one":
            assert (np.array(store.class_names)[codes] == it.y).all()
        else:
            rate = fastest if labels == "fastest" else min(rates.values())
            each = np.arange(series.n_steps) * rate // fastest
            assert (np.array(store.class_names)[codes] == it.y[each]).all()


def test_samples_of_equal_length_show_each_input(tmp_path):
    rng = np.random.default_rng(0)
    x = {
        "eeg": rng.normal(size=(9, 12, 2)).astype("f4"),
        "emg": rng.normal(size=(9, 4, 1)).astype("f4"),
        "vec": rng.normal(size=(9, 3)).astype("f4"),
    }
    y = rng.integers(0, 3, 9)
    given = zarrts.Recording("s", x, y, rate_hz={"eeg": 6, "emg": 2})
    store = zarrts.convert(given, tmp_path / "a.zarr", kind="dense", progress=False)
    series = Series(store.samples, 0)
    assert (series.n_steps, series.row_steps, series.rate_hz) == (9 * 12, 12, 6)
    assert series.channels == ["eeg channel 0", "eeg channel 1", "emg channel 0", "vec channel 0"]
    wanted = np.concatenate(
        [
            x["eeg"].reshape(-1, 2),
            np.repeat(x["emg"].reshape(-1, 1), 3, axis=0),
            np.repeat(x["vec"].reshape(-1, 1), 4, axis=0),
        ],
        axis=1,
    )
    np.testing.assert_array_equal(series.x(5, 77), wanted[5:77])
    runs = series.runs(series.tracks[0])
    assert np.repeat(runs.codes, np.diff(runs.edges)).tolist() == np.repeat(y, 12).tolist()


def test_the_viewer_shows_windows_predictions_and_values_at_one_time(tmp_path):
    rates = {"acc": 10, "hr": 1}
    recordings = study_of(rates)
    store = store_of(tmp_path, recordings)
    windows = store.samples.windows("4s", "4s", label="last")
    content = Content(windows, predictions_of(windows))
    about = content.recording(1)
    assert (about["unit"], about["scale"], about["n_steps"]) == ("s", 0.1, 610)
    assert about["channels"] == ["acc x", "acc y", "acc z", "hr hr"]
    mean = np.concatenate([recordings[1].x[name].mean(axis=0) for name in ("acc", "hr")])
    np.testing.assert_allclose(about["mean"], mean, rtol=1e-4, atol=1e-4)
    found = content.labels(1, 0, 610, 900)
    assert found["windows"]["starts"] == [*range(0, 600, 40)]
    assert found["windows"]["stops"] == [*range(40, 640, 40)]
    assert found["probabilities"]["starts"] == [*range(0, 600, 40)]
    track = found["tracks"][0]
    codes = np.repeat(track["codes"], np.subtract(track["stops"], track["starts"]))
    assert (np.array(store.class_names)[codes] == recordings[1].y).all()
    shown = content.signals(1, 100, 150, 200)
    np.testing.assert_array_equal(shown.low[:, :3], recordings[1].x["acc"][100:150])
    np.testing.assert_array_equal(shown.low[:, 3], np.repeat(recordings[1].x["hr"][10:15, 0], 10))
    content.close()
    with store.samples.view(browser=False) as viewer:
        assert viewer.url.startswith("http://127.0.0.1")


def test_labels_of_several_arrays_are_tracks(tmp_path):
    it = study_of({"acc": 8, "hr": 2})[0]
    y = {"stage": it.y, "level": np.arange(len(it.y), dtype="f4")}
    given = zarrts.Recording("s", it.x, y, rate_hz={"acc": 8, "hr": 2, "y": 8})
    content = Content(store_of(tmp_path, given).samples)
    about = content.recording(0)
    assert about["numbers"] == ["level"]
    assert [one["name"] for one in about["tracks"]] == ["stage"]
    found = content.signals(0, 20, 60, 100)
    np.testing.assert_array_equal(found.low[:, 4], y["level"][20:60])
    content.close()


@pytest.mark.parametrize("labels", ["fastest", "slowest", "one"])
def test_the_report_draws_samples_and_classes_of_several_inputs(tmp_path, labels):
    store = store_of(tmp_path, study_of({"acc": 10, "hr": 1}, labels))
    page = tmp_path / "a.html"
    result = CliRunner().invoke(main, ["report", store.path, "-o", str(page)])
    assert result.exit_code == 0, result.output
    text = page.read_text("utf-8")
    assert "Some samples" in text
    assert "acc x" in text and "hr hr" in text
    assert ("Classes over time" in text) == (labels != "one")
    assert re.search(r"class [NRW]: of s\d", text)
    assert "NaN" not in text
