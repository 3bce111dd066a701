"""The answers to the page of `zarrts view`, against the arrays that the store was made of."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from view_stores import STAGES, evaluation_of, nights, predictions_of

import zarrts
from zarrts.cli import main
from zarrts.results import Evaluation
from zarrts.view import view
from zarrts.view.content import Content
from zarrts.view.pyramid import Pyramid, PyramidCache, reduced
from zarrts.view.series import Runs, Series


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return nights(tmp_path_factory.mktemp("view"))


# Least and most -------------------------------------------------------------------------------


def naive(x: Any, start: int, bin_steps: int, n_bins: int) -> Any:
    """Return least and most of bins, bin by bin; NaN where there are no numbers."""
    low, high = np.full((2, n_bins, x.shape[1]), np.nan)
    for i in range(n_bins):
        part = x[start + i * bin_steps : start + (i + 1) * bin_steps]
        for channel in range(x.shape[1]):
            own = part[:, channel][~np.isnan(part[:, channel])]
            if len(own):
                low[i, channel], high[i, channel] = own.min(), own.max()
    return low, high


@settings(max_examples=40, deadline=None)
@given(
    n_steps=st.integers(1, 9_000),
    piece=st.integers(1, 3_000),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
    width=st.integers(1, 50),
)
def test_every_zoom_has_the_least_and_the_most(
    n_steps: int, piece: int, a: float, b: float, width: int
) -> None:
    x = np.random.default_rng(n_steps).normal(size=(n_steps, 2)).astype("f4")
    x[n_steps // 3 : n_steps // 2, 1] = np.nan
    pyramid = Pyramid(lambda start, stop: x[start:stop], n_steps, 2, piece)
    pyramid.build()
    start, stop = sorted((int(a * n_steps), int(b * n_steps)))
    found = pyramid.between(start, stop, width)
    n_bins = len(found.low)
    assert found.ready == 1
    assert found.start <= start
    assert found.start + n_bins * found.bin_steps >= stop
    assert found.start + (n_bins - 1) * found.bin_steps < max(stop, 1)
    low, high = naive(x, found.start, found.bin_steps, n_bins)
    np.testing.assert_array_equal(found.low[:-1], low[:-1])
    np.testing.assert_array_equal(found.high[:-1], high[:-1])
    # The last bin holds all up to `stop`, and perhaps some of what follows.
    least, most = naive(x[:stop], found.start, found.bin_steps, n_bins)
    assert not (found.low[-1:] > least[-1:]).any()
    assert not (found.high[-1:] < most[-1:]).any()
    assert not (found.low[-1:] < low[-1:]).any()
    assert not (found.high[-1:] > high[-1:]).any()
    assert n_bins <= 2 * width + 2 or found.bin_steps == 1
    assert n_bins >= min(stop - start, width / 2 - 1)


def test_a_pyramid_fits_its_memory() -> None:
    pyramid = Pyramid(lambda a, b: np.zeros((b - a, 4)), 10_000_000, 4, 65_536, max_bytes=100_000)
    assert pyramid.n_bytes <= 100_000
    assert pyramid.base_steps >= 64


def test_what_was_not_read_yet_is_empty_and_said() -> None:
    is_first, may_go_on = threading.Event(), threading.Event()

    def read(start: int, stop: int) -> Any:
        if start:
            is_first.set()
            assert may_go_on.wait(30)
        return np.ones((stop - start, 1), "f4")

    pyramid = Pyramid(read, 4 * 6400, 1, 6400)
    pyramid.start()
    assert is_first.wait(30)
    half = pyramid.between(0, 4 * 6400, 40)
    assert half.ready == 0.25
    assert np.isnan(half.low[-1, 0])
    assert half.low[0, 0] == 1
    may_go_on.set()
    pyramid.wait()
    assert not np.isnan(pyramid.between(0, 4 * 6400, 40).low).any()


def test_an_error_of_reading_reaches_whoever_looks() -> None:
    def read(start: int, stop: int) -> Any:
        raise zarrts.ReadError("chunk 3 is damaged")

    pyramid = Pyramid(read, 100_000, 1, 1000)
    pyramid.wait()
    with pytest.raises(zarrts.ReadError, match="chunk 3 is damaged"):
        pyramid.between(0, 100_000, 10)


def test_recordings_looked_at_long_ago_are_let_go() -> None:
    made = []

    def make(number: int) -> Pyramid:
        made.append(number)
        return Pyramid(lambda a, b: np.zeros((b - a, 1)), 64_000, 1, 6400)

    one = make(0).n_bytes
    cache = PyramidCache(make, int(2.5 * one))
    made.clear()
    for number in (0, 1, 0, 2, 0, 1):
        cache.of(number)
        assert cache.n_bytes <= 2.5 * one
    assert made == [0, 1, 2, 1]
    cache.close()


def test_whole_bins_only_are_reduced_together() -> None:
    low, high = reduced(np.array([[3.0], [1], [2]]), np.array([[4.0], [5], [9]]), 2)
    assert low.tolist() == [[1], [2]]
    assert high.tolist() == [[5], [9]]


# Labels ---------------------------------------------------------------------------------------


def spread(starts: Any, stops: Any, codes: Any, start: int, stop: int) -> Any:
    """Return the code of each step."""
    found = np.full(stop - start, -9)
    for a, b, code in zip(starts, stops, codes, strict=True):
        assert (found[a - start : b - start] == -9).all()
        found[a - start : b - start] = code
    return found


@settings(max_examples=60, deadline=None)
@given(
    codes=st.lists(st.integers(-1, 2), min_size=1, max_size=80),
    cut=st.integers(1, 7),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
)
def test_runs_are_the_codes(codes: list[int], cut: int, a: float, b: float) -> None:
    every = np.array(codes)
    runs = Runs.of_pieces(iter([every[i : i + cut] for i in range(0, len(every), cut)]))
    assert (np.diff(runs.codes) != 0).all()
    start, stop = sorted((int(a * len(every)), int(b * len(every))))
    if start < stop:
        starts, stops, found = runs.between(start, stop)
        assert spread(starts, stops, found, start, stop).tolist() == codes[start:stop]


def test_many_runs_become_the_most_frequent_of_each_part() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 3, 10_000)
    runs = Runs.of_pieces(iter([codes]))
    starts, stops, found, is_coarse = runs.binned(100, 9100, 90)
    assert is_coarse
    shown = spread(starts, stops, found, 100, 9100)
    for i in range(90):
        part = codes[100 + 100 * i : 200 + 100 * i]
        said = set(shown[100 * i : 100 * i + 100].tolist())
        counts = {code: int((part == code).sum()) for code in (-1, 0, 1, 2)}
        assert len(said) == 1
        assert counts[said.pop()] == max(counts.values())


def test_a_series_is_the_recording(study: Any) -> None:
    store, some = study
    for number, it in enumerate(some):
        series = Series(store.samples, number)
        assert (series.n_steps, series.n_channels) == it.x.shape
        np.testing.assert_array_equal(series.x(1990, 2600), it.x[1990:2600])
        runs = series.runs(series.tracks[0])
        shown = spread(runs.edges[:-1], runs.edges[1:], runs.codes, 0, series.n_steps)
        assert [*STAGES, ""] == [*store.class_names, ""]
        assert np.array_equal(np.array([*STAGES, ""])[shown], it.y)


def test_samples_of_equal_length_lie_one_after_the_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    some = [
        zarrts.Recording(name, rng.normal(size=(n, 7, 2)).astype("f4"), rng.integers(0, 3, n))
        for name, n in (("a", 9), ("b", 5))
    ]
    store = zarrts.convert(some, tmp_path / "a.zarr", progress=False)
    for number, it in enumerate(some):
        series = Series(store.samples, number)
        flat = it.x.reshape(-1, 2)
        assert series.n_steps == len(flat)
        np.testing.assert_array_equal(series.x(3, 30), flat[3:30])
        runs = series.runs(series.tracks[0])
        shown = spread(runs.edges[:-1], runs.edges[1:], runs.codes, 0, series.n_steps)
        assert shown.tolist() == np.repeat(it.y, 7).tolist()


def test_numbers_and_several_labels_are_drawn_or_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = {
        "rate": rng.normal(size=500),
        "stage": STAGES[rng.integers(0, 3, 500)],
        "both": rng.integers(0, 2, (500, 2)),
    }
    x = rng.normal(size=(500, 2)).astype("f4")
    recording = zarrts.Recording("a", x, y)
    store = zarrts.convert([recording], tmp_path / "a.zarr", kind="ragged", progress=False)
    content = Content(store.samples)
    about = content.recording(0)
    assert about["numbers"] == ["rate"]
    assert [it["name"] for it in about["tracks"]] == ["stage"]
    assert about["hidden"] == ["both"]
    assert about["unit"] == "step"
    found = content.signals(0, 100, 200, 400)
    np.testing.assert_array_equal(found.low[:, :2], x[100:200])
    np.testing.assert_array_equal(found.low[:, 2], y["rate"][100:200].astype("f4"))
    content.close()


# Windows and predictions ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def windows(study: Any) -> Any:
    store, _ = study
    return store.samples.windows("10s", "10s", label="last")


def test_windows_and_predictions_are_where_they_lie(study: Any, windows: Any) -> None:
    store, some = study
    said = predictions_of(windows)
    content = Content(windows, said)
    number, (start, stop) = 1, (3_500, 9_200)
    found = content.labels(number, start, stop, 900)
    y = some[number].y[start:stop]
    track = found["tracks"][0]
    shown = spread(track["starts"], track["stops"], track["codes"], start, stop)
    assert np.array_equal(np.array([*store.class_names, ""])[shown], y)
    expected = [
        a for a in range(0, len(some[number].x) - 999, 1000) if a < stop and a + 1000 > start
    ]
    assert found["windows"] == {
        "n": len(expected),
        "starts": expected,
        "stops": [a + 1000 for a in expected],
    }
    own = np.flatnonzero(said.recordings == number)
    predicted = found["predicted"]
    shown = spread(predicted["starts"], predicted["stops"], predicted["codes"], start, stop)
    for a, position in zip(expected, own[[a // 1000 for a in expected]], strict=True):
        part = shown[max(0, a - start) : max(0, a + 1000 - start)]
        assert (part == said.codes[position]).all()
    assert found["probabilities"]["starts"] == expected
    np.testing.assert_allclose(
        found["probabilities"]["values"], said.values[own[[a // 1000 for a in expected]]], atol=1e-4
    )
    content.close()


def test_windows_beyond_count_are_what_they_cover(study: Any) -> None:
    store, _ = study
    dense = store.samples.select(ids=[0]).windows(10, 5, label="last", start=100, stop=50_000)
    content = Content(dense)
    found = content.labels(0, 0, 60_000, 1000)["windows"]
    assert found["n"] == len(dense)
    covered = found["covered"]
    runs = list(zip(covered["starts"], covered["stops"], covered["codes"], strict=True))
    assert runs == [(0, 100, -2), (100, 50_000, 0), (50_000, 60_000, -2)]
    content.close()


def walked(content: Content, kind: str, **more: Any) -> list[tuple[int, int]]:
    """Return where jumping on and on leads."""
    found, number, at, place = [], int(content.numbers[0]), -1, -1
    while (it := content.jump(kind, number, at, place=place, back=False, **more)) is not None:
        found.append((it.recording, it.start))
        number, at, place = it.recording, it.start, it.place
    return found


def test_jumps_visit_every_mistake_in_order_and_the_least_certain_first(windows: Any) -> None:
    said = predictions_of(windows)
    content = Content(windows, said)
    assert said.true is not None
    assert said.places is not None
    wrong = (said.true >= 0) & (said.codes != said.true)
    assert 5 < wrong.sum() < len(wrong) / 2
    starts = said.places.starts
    expected = list(zip(said.recordings[wrong].tolist(), starts[wrong].tolist(), strict=True))
    assert walked(content, "wrong") == expected
    order = np.argsort(said.values.max(axis=1), kind="stable")
    least = list(zip(said.recordings[order].tolist(), starts[order].tolist(), strict=True))
    assert walked(content, "uncertain") == least
    last = content.jump("wrong", 3, 10**9, back=True)
    assert last is not None
    assert (last.recording, last.start) == expected[-1]
    assert content.jump("wrong", *expected[0], back=True) is None
    assert "labelled" in last.text
    content.close()


def test_jumps_visit_every_run_of_a_class(study: Any) -> None:
    store, some = study
    content = Content(store.samples)
    expected = []
    for number, it in enumerate(some):
        is_own = it.y == "R"
        edges = np.flatnonzero(np.diff(np.concatenate([[0], is_own.astype(int)])) == 1)
        expected += [(number, int(a)) for a in edges]
    assert walked(content, "class", code=store.class_names.index("R")) == expected
    assert walked(content, "class", code=-1) == [(number, 5000) for number in range(4)]
    with pytest.raises(zarrts.SampleError, match="There is no class 7"):
        content.jump("class", 0, 0, code=7, back=False)
    with pytest.raises(zarrts.SampleError, match="give an evaluation with predictions"):
        content.jump("wrong", 0, 0, back=False)
    content.close()


def test_results_that_cannot_be_shown_are_refused(study: Any, windows: Any, tmp_path: Path) -> None:
    store, _ = study
    evaluation = evaluation_of(windows)
    counts = Evaluation.from_dict(evaluation.to_dict())
    with pytest.raises(
        zarrts.SampleError, match=r"holds only counts\. Evaluate with predictions=T"
    ):
        view(store, counts)
    other, _ = nights(tmp_path, n_rows=4000)
    one = zarrts.convert(
        [zarrts.Recording("zoe", np.zeros((9000, 1)), np.repeat(STAGES, 3000))],
        tmp_path / "b.zarr",
        kind="ragged",
        progress=False,
    )
    with pytest.raises(zarrts.SampleError, match="are of other recordings than those of this st"):
        view(one, evaluation)
    with pytest.raises(zarrts.SampleError, match="not int"):
        view(store, 3)
    path = tmp_path / "a.npz"
    evaluation.save(path)
    with view(other, path) as viewer:
        assert viewer.url.startswith("http://127.0.0.1:")


def test_only_chosen_recordings_are_shown(study: Any) -> None:
    store, _ = study
    content = Content(store.samples.select(subjects=["bob"]))
    assert content.numbers.tolist() == [1, 2]
    assert [it["name"] for it in content.describe()["subjects"]] == ["bob"]
    with pytest.raises(zarrts.SampleError, match="no recording 0 among those shown"):
        content.labels(0, 0, 10, 10)
    content.close()


# Over HTTP ------------------------------------------------------------------------------------


def status_of(url: str, **options: Any) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_only_who_knows_the_address_is_answered(study: Any) -> None:
    store, _ = study
    with view(store) as viewer:
        url = viewer.url
        root, token = url[: url.index("/", 8)], url.rstrip("/").rpartition("/")[2]
        assert len(token) >= 32
        assert status_of(url) == 200
        assert status_of(f"{url}view.js") == 200
        for bad in (f"{root}/", f"{root}/{'a' * len(token)}/", f"{root}/{token[:-1]}/", root):
            assert status_of(bad) == 403
        for missing in ("nothing", "api/nothing", "content.py", "static/view.js"):
            assert status_of(f"{url}{missing}") == 404
        assert status_of(f"{url}../../etc/passwd") in (403, 404)
        assert status_of(f"{url}..%2f..%2fetc%2fpasswd") == 403
        assert status_of(url, headers={"Host": "evil.example"}) == 403
        for method in ("POST", "PUT", "DELETE"):
            assert status_of(url, method=method, data=b"") == 501
        for query in ("", "?recording=x", "?recording=99", "?recording=-1"):
            assert status_of(f"{url}api/recording{query}") == 400
        with view(store) as other:
            assert other.url.rpartition("/")[0] != url.rpartition("/")[0]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_the_page_needs_nobody_else(study: Any) -> None:
    store, _ = study
    with view(store) as viewer, urllib.request.urlopen(viewer.url, timeout=30) as answer:
        page = answer.read().decode()
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in page.replace("<!DOCTYPE html>", "")
    assert "<iframe" in viewer._repr_html_()


def test_signals_come_as_floats_by_channel(study: Any) -> None:
    store, some = study
    with view(store) as viewer:
        query = "recording=2&start=1900&stop=2600&width=1000&channels=1,2"
        with urllib.request.urlopen(f"{viewer.url}api/signals?{query}", timeout=30) as answer:
            about = json.loads(answer.headers["X-About"])
            values = np.frombuffer(answer.read(), "<f4").reshape(2, 2, -1)
        assert about == {
            "start": 1900,
            "bin_steps": 1,
            "n_bins": 700,
            "channels": [1, 2],
            "ready": 1.0,
        }
        for it in values:
            np.testing.assert_array_equal(it.T, some[2].x[1900:2600, 1:])
        assert status_of(f"{viewer.url}api/signals?{query},3") == 400


def test_nothing_is_written_into_the_store(study: Any, windows: Any) -> None:
    store, _ = study

    def seen() -> dict[str, tuple[int, int]]:
        every = Path(store.path).rglob("*")
        return {str(it): (it.stat().st_size, it.stat().st_mtime_ns) for it in every}

    before = seen()
    with view(windows, predictions_of(windows)) as viewer:
        for question in ("signals", "labels"):
            query = "recording=0&start=0&stop=60000&width=300"
            assert status_of(f"{viewer.url}api/{question}?{query}") == 200
    assert seen() == before


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another signal there")
def test_the_command_serves_until_it_is_stopped(study: Any, tmp_path: Path) -> None:
    store, _ = study
    command = [sys.executable, "-m", "zarrts", "view", store.path, "--no-browser"]

    def hear() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job ignores it

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=hear) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"{store.path} is at http://127.0.0.1:")
        assert line.endswith("until you press Ctrl-C.\n")
        url = line.split()[-5]
        assert status_of(url) == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
    missing = CliRunner().invoke(main, ["view", str(tmp_path / "no.zarr"), "--no-browser"])
    assert missing.exit_code == 1


def test_what_is_no_number_is_no_number_in_json_either(windows: Any) -> None:
    said = predictions_of(windows)
    said.values[0] = np.nan
    content = Content(windows, said)
    found = content.labels(0, 0, 2_000, 900)
    assert found["probabilities"]["values"][0] == [None] * 3
    json.dumps(found, allow_nan=False)
    json.dumps(content.recording(0), allow_nan=False)
    content.close()
