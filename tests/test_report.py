"""The page of a store: its numbers are those of the study, whatever names are in the files."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from studies import samples_of

import zarrts
from zarrts.cli import main
from zarrts.report.oddities import find_oddities
from zarrts.report.overview import ClassTable, Groups, Overview
from zarrts.report.specimens import specimens_by_class
from zarrts.report.strips import strips_of_labels
from zarrts.report.subjects import subjects_and_labels
from zarrts.results import Evaluation
from zarrts.stats.moments import Moments

pytest.importorskip("matplotlib", reason="pictures need the extra plot")

HOSTILE = '<script>alert(1)</script>"&$x^2$'
STAGES = np.array(["N<1>", "REM", "W"])
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Tables by id, headings, names of elements and attributes; refuses what does not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.headings: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attributes).get("id") or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif re.fullmatch(r"h\d", tag):
            self.headings.append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self._rows[-1][-1] += text
        elif self.open and re.fullmatch(r"h\d", self.open[-1]):
            self.headings[-1] += text

    def numbers(self, name: str) -> dict[str, list[int]]:
        """Return the whole numbers of a table by the heads of its rows."""
        rows = self.tables[name][1:]
        return {row[0]: [int(it.replace(",", "")) for it in row[1:]] for row in rows}


def report(store: Path | str, *options: object) -> str:
    out = Path(store).with_suffix(".html")
    given = ["report", str(store), "-o", str(out), *map(str, options)]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    assert result.output == f"{out} is written; open it in a browser.\n"
    return out.read_text(encoding="utf-8")


def study_of(folder: Path, **options: Any) -> SimpleNamespace:
    """Return a store of four people; the second has no W, and the third another unit."""
    rng = np.random.default_rng(0)
    names = ["s01", HOSTILE, "s03", "s04"]
    y = [STAGES[rng.integers(0, 3, 12)] for _ in names]
    y[1] = np.where(y[1] == "W", "REM", y[1])
    x = [rng.normal(size=(12, 40, 2)).astype("f4") * [1, 50] for _ in names]
    x[2] *= 1000
    recordings = [zarrts.Recording(*it) for it in zip(names, x, y, strict=True)]
    store = zarrts.convert(recordings, folder / "study.zarr", progress=False, **options)
    return SimpleNamespace(store=store, names=names, x=x, y=y)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return study_of(tmp_path_factory.mktemp("report"), channels=["a<b", "EMG"], rate_hz=10)


@pytest.fixture(scope="module")
def confusion() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 30, (4, 3, 3))


@pytest.fixture(scope="module")
def html(study: SimpleNamespace, confusion: np.ndarray[Any, Any]) -> str:
    folder = Path(study.store.path).parent
    split = study.store.samples.split(val=["s03"], test=["s01"])
    split.save(folder / "split.json")
    evaluation = Evaluation(
        subjects=tuple(study.names), class_names=tuple(STAGES.tolist()), confusion=confusion
    )
    evaluation.save(folder / "results.json")
    saved = ["--split", folder / "split.json", "--results", folder / "results.json"]
    return report(study.store.path, *saved)


def test_page_needs_no_other_host_and_runs_nothing(html: str) -> None:
    page = Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "img", "image", "object", "b", "input", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"url\((?!#)", html)
    policy = dict(page.tags)["meta"]
    assert "default-src 'none'" in html
    assert policy is not None
    assert len(html.encode()) < 3_000_000
    ids = [it["id"] for _, it in page.tags if it.get("id")]
    twice = {it for it in ids if ids.count(it) > 1}
    assert not {it for it in twice if it in page.tables}


def test_page_can_be_heard(html: str) -> None:
    page = Page(html)
    assert dict(page.tags)["html"] == {"lang": "en"}
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) >= 10
    assert all(it.get("role") == "img" and it.get("aria-label") for it in pictures)
    assert html.count("<table") == html.count("<caption") == len(page.tables)
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert all(it.get("scope") in ("col", "row") for it in heads)
    assert page.headings == [
        "study.zarr",
        "Subjects and labels",
        "Some samples",
        "Channels",
        "Lengths of recordings",
        "Sizes",
        "Split",
        "Results",
    ]
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


def test_heat_map_has_the_counts_of_the_files(study: SimpleNamespace, html: str) -> None:
    page = Page(html)
    assert page.tables["classes"][0] == ["subject", "N<1>", "REM", "W", "all"]
    counts = [[int((y == it).sum()) for it in STAGES] for y in study.y]
    expected = {name: [*row, 12] for name, row in zip(study.names, counts, strict=True)}
    expected["all"] = [*np.sum(counts, axis=0).tolist(), 48]
    assert page.numbers("classes") == expected
    assert page.tables["gaps"][1:] == [[HOSTILE, "W"]]
    shown = re.search(r'<svg [^>]*aria-label="Labels of each class \(.*?</svg>', html, re.S)
    assert shown
    drawn = [int(it) for it in re.findall(r">(\d+)</text>", shown[0])]
    assert drawn == [n for row in counts for n in row]


def test_channels_have_their_ranges_and_what_is_odd(study: SimpleNamespace, html: str) -> None:
    page = Page(html)
    assert page.tables["ranges"][0] == ["subject", "a<b", "EMG"]
    for row, x in zip(page.tables["ranges"][1:], study.x, strict=True):
        for cell, channel in zip(row[1:], np.moveaxis(x, -1, 0), strict=True):
            low, high = map(float, cell.split(" to "))
            assert (low, high) == pytest.approx((channel.min(), channel.max()), rel=1e-3)
    odd = page.tables["odd"][1:]
    assert [row[:2] for row in odd] == [["s03", "a<b"], ["s03", "EMG"]]
    for row, usual in zip(odd, (1, 50), strict=True):
        assert re.search(r"another unit\? Its deviation, .* is [\d,]+ times the usual", row[2])
        assert float(row[2].split()[-1]) == pytest.approx(usual, rel=0.1)


def test_samples_are_drawn_with_time_and_channels(html: str) -> None:
    for name in STAGES:
        label = f"class {name}: of s01, ".replace("<", "&lt;").replace(">", "&gt;")
        drawn = re.search(rf'<svg [^>]*aria-label="{re.escape(label)}.*?</svg>', html, re.S)
        assert drawn, label
        texts = re.findall(r">([^<]+)</text>", drawn[0])
        assert texts.count("time (s)") == 3
        assert {"a&lt;b", "EMG", "s01"} <= set(texts)
        assert "4" in texts  # 40 steps at 10 Hz


def test_split_and_results_are_those_saved(
    study: SimpleNamespace, confusion: np.ndarray[Any, Any], html: str
) -> None:
    page = Page(html)
    parts = [row[:4] for row in page.tables["split"][1:]]
    assert parts == [
        ["train", "24", "50.0%", "2"],
        ["val", "12", "25.0%", "1"],
        ["test", "12", "25.0%", "1"],
    ]
    assert page.numbers("split-subjects") == {
        "s01": [0, 0, 12],
        HOSTILE: [12, 0, 0],
        "s03": [0, 12, 0],
        "s04": [12, 0, 0],
    }
    total = confusion.sum(axis=0)
    assert page.numbers("confusion") == dict(zip(STAGES, total.tolist(), strict=True))
    by_name = {row[0]: row for row in page.tables["results"][1:]}
    for name, own in zip(study.names, confusion, strict=True):
        right = np.trace(own) / own.sum()
        assert by_name[name][1:3] == [f"{own.sum()}", f"{right:.3f}"]
    assert f"{np.trace(total) / total.sum():.3f} of {total.sum()} samples are correct" in html
    shown = {row[0]: row[1:] for row in page.tables["class-scores"][1:]}
    for code, name in enumerate(STAGES):
        hits = total[code, code]
        expected = [hits / total[:, code].sum(), hits / total[code].sum()]
        assert [float(it) for it in shown[name][:2]] == pytest.approx(expected, abs=5e-4)
        assert int(shown[name][3]) == total[code].sum()
    by_chance = (total.sum(axis=0) * total.sum(axis=1)).sum() / total.sum() ** 2
    agreed = np.trace(total) / total.sum()
    scores = {row[0]: row[1:] for row in page.tables["scores"][1:]}
    kappa = (agreed - by_chance) / (1 - by_chance)
    assert float(scores["kappa"][0]) == pytest.approx(kappa, abs=5e-4)
    own = [np.trace(it) / it.sum() for it in confusion]
    assert [float(it) for it in scores["accuracy"][1:]] == pytest.approx(
        [np.mean(own), np.std(own, ddof=1)], abs=5e-4
    )


def floats(rows: list[list[str]]) -> dict[str, list[float]]:
    return {row[0]: [float(it.replace(",", "")) for it in row[1:]] for row in rows}


def test_recordings_are_counted_in_time_and_drawn_in_stretches(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stages = [STAGES[np.repeat([0, 2, 1], [40, 70, 10 * i])] for i in range(1, 4)]
    recordings = [
        zarrts.Recording(f"s{i}", rng.normal(size=(len(y), 2)), y) for i, y in enumerate(stages)
    ]
    options: dict[str, Any] = {"kind": "ragged", "rate_hz": 2}
    store = zarrts.convert(recordings, tmp_path / "a.zarr", progress=False, **options)
    page = Page(report(store.path))
    found = floats(page.tables["classes"][1:])
    for i, y in enumerate(stages):
        counts = [int((y == it).sum()) for it in STAGES]
        assert found[f"s{i}"] == [n / 2 for n in (*counts, len(y))]
    assert page.tables["lengths"][0] == ["", "seconds", "subject", "file"]
    assert [row[:2] for row in page.tables["lengths"][1:]] == [
        ["shortest", "60.0"],
        ["median", "65.0"],
        ["longest", "70.0"],
    ]
    for name, some in specimens_by_class(store.samples).items():
        for it in some:
            x, y = recordings[int(it.subject[1])].x, recordings[int(it.subject[1])].y
            assert len(it.x) == 20  # ten seconds
            np.testing.assert_allclose(it.x, x[it.start : it.start + 20], rtol=1e-6)
            assert name in y[it.start : it.start + 20]
            drawn = np.full(20, "?", object)
            for start, stop, code in it.bands:
                drawn[start - it.start : stop - it.start] = STAGES[code]
            assert drawn.tolist() == y[it.start : it.start + 20].tolist()


def nights(folder: Path, n_rows: int, *, is_equal: bool, **options: Any) -> Any:
    """Return a store of nights at 100 Hz with a stage each 30 s, and the stages."""
    rng = np.random.default_rng(0)
    recordings, stages = [], []
    for i in range(5):
        n_labels = n_rows // 3000 + (0 if is_equal else i)
        y = STAGES[rng.integers(0, 3, n_labels)]
        x = rng.normal(size=(n_labels * 3000, 1)).astype("f4")
        recordings.append(zarrts.Recording(f"s{i}", x, y))
        stages.append(y)
    given = {"kind": "ragged", "rate_hz": 100, "label_every": "30s"} | options
    return zarrts.convert(recordings, folder / "a.zarr", progress=False, **given), stages


def test_long_recordings_are_said_in_minutes_and_in_their_labels(tmp_path: Path) -> None:
    store, stages = nights(tmp_path, 120_000, is_equal=True)
    html = report(store.path)
    page = Page(html)
    minutes, labels = floats(page.tables["classes"][1:]), page.numbers("classes-each")
    for i, y in enumerate(stages):
        counts = [*(int((y == it).sum()) for it in STAGES), len(y)]
        np.testing.assert_allclose(minutes[f"s{i}"], np.array(counts) / 2, atol=0.06)
        assert labels[f"s{i}"] == counts
    assert "Minutes of each class" in html
    assert "Labels of 30 seconds each, by subject" in html
    assert "1e6" not in html
    assert "darker" not in html  # which they are not on a dark page
    # All alike: no chart of equal bars, and no histogram of one bar.
    assert "Each subject has 1 recording, 20.0 minutes in all" in html
    assert "5 recordings of 20.0 minutes." in html
    assert 'aria-label="Lengths of' not in html
    assert 'aria-label="Each subject' not in html


def test_lengths_that_differ_are_drawn(tmp_path: Path) -> None:
    store, _ = nights(tmp_path, 120_000, is_equal=False)
    html = report(store.path)
    shown = re.search(
        r'<svg [^>]*aria-label="Each subject has 1 recording, 20.0 to 22.0 minutes', html
    )
    assert shown
    assert ">recorded minutes</text>" in html


def test_strips_show_the_class_of_each_time_step(tmp_path: Path) -> None:
    store, stages = nights(tmp_path, 60_000, is_equal=True)
    drawn = []

    def keep(some: Any, names: Any, **rest: Any) -> str:
        drawn.append((some, names, rest["label"]))
        return "<svg/>"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrts.report.figures.strips", keep)
        strips_of_labels(Overview(store.samples))
    ((some, names, label),) = drawn
    assert names == STAGES.tolist()
    assert label == "time in minutes"
    for (_, starts, stops, codes), y in zip(some, stages, strict=True):
        times = np.arange(len(y)) / 2 + 0.25
        which = np.searchsorted(starts, times, "right") - 1
        assert (times < stops[which]).all()
        assert [names[codes[i]] for i in which] == y.tolist()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(1000, 2)).astype("f4") for _ in range(3)]
    x[1][:100, 1] = np.nan
    y = [np.repeat(["a", "b"], 500).astype("U1") for _ in range(3)]
    y[2][200:260] = ""
    recordings = [zarrts.Recording(f"s{i}", *it) for i, it in enumerate(zip(x, y, strict=True))]
    options: dict[str, Any] = {"kind": "ragged", "rate_hz": 10, "channels": ["C3", "C4"]}
    store = zarrts.convert(recordings, tmp_path / "a.zarr", progress=False, **options)
    html = report(store.path)
    assert Page(html).tables["missing"][1:] == [
        ["s1", "-", "10.00% of C4"],
        ["s2", "6.00 seconds", "-"],
    ]
    assert ">no label</text>" in html


def test_a_number_for_each_time_step_is_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = [rng.normal(size=500) for _ in range(3)]
    recordings = [
        zarrts.Recording(f"p{i}", rng.normal(size=(500, 3)).astype("f4"), it)
        for i, it in enumerate(y)
    ]
    store = zarrts.convert(recordings, tmp_path / "a.zarr", kind="ragged", progress=False)
    page = Page(report(store.path))
    for row, own in zip(page.tables["labels"][1:], y, strict=True):
        assert row[1] == "500"
        expected = (own.min(), own.mean(), own.max())
        assert [float(it) for it in row[2:]] == pytest.approx(expected, rel=1e-3)


def test_several_labels_a_step_are_drawn_where_their_class_is(tmp_path: Path) -> None:
    y = np.zeros((400, 2), np.int64)
    y[300:310, 1] = 1
    recording = zarrts.Recording("a", np.arange(800.0).reshape(400, 2), y)
    store = zarrts.convert(
        [recording], tmp_path / "a.zarr", kind="ragged", rate_hz=5, progress=False
    )
    (it,) = specimens_by_class(store.samples)["1"]
    assert y[it.start : it.start + len(it.x), 1].any()
    assert it.bands == []


def test_numbers_and_several_arrays_of_labels_have_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ages = [rng.normal(size=10), rng.normal(size=8) + 60]
    stages = [STAGES[np.arange(10) % 3], STAGES[np.arange(8) % 2]]
    recordings = [
        zarrts.Recording(name, rng.normal(size=(len(age), 5)), {"stage": stage, "age": age})
        for name, age, stage in zip("ab", ages, stages, strict=True)
    ]
    store = zarrts.convert(recordings, tmp_path / "a.zarr", progress=False, kind="dense")
    page = Page("".join(subjects_and_labels(Overview(store.samples))))
    assert page.numbers("classes-stage") == {
        "a": [4, 3, 3, 10],
        "b": [4, 4, 0, 8],
        "all": [8, 7, 3, 18],
    }
    for row, age in zip(page.tables["labels-age"][1:], ages, strict=True):
        assert row[1] == str(len(age))
        expected = (age.min(), age.mean(), age.max())
        assert [float(it) for it in row[2:]] == pytest.approx(expected, rel=1e-3)


# Many subjects -----------------------------------------------------------------------------------


def test_ten_thousand_subjects_are_forty_lines() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, (10_007, 3))
    samples = samples_of([(f"s{i:05}", row) for i, row in enumerate(counts)])
    overview = Overview(samples)
    groups = overview.groups
    assert len(groups.names) == 40
    (table,) = overview.labels
    assert isinstance(table, ClassTable)
    summed = groups.sum(table.counts)
    done = 0
    for name, row in zip(groups.names, summed, strict=True):
        first, last, size = re.fullmatch(r"s(\d+) to s(\d+) \((\d+)\)", name).groups()  # type: ignore[union-attr]
        assert int(first) == done
        assert int(last) - int(first) + 1 == int(size)
        assert row.tolist() == counts[done : int(last) + 1].sum(axis=0).tolist()
        done = int(last) + 1
    assert done == 10_007


def test_groups_of_few_subjects_are_subjects() -> None:
    assert Groups.of(["a", "b"]).names == ["a", "b"]
    assert Groups.of([]).names == []
    assert Groups.of(list("abcde"), 2).names == ["a to c (3)", "d to e (2)"]


def test_classes_beyond_thirty_are_summed(tmp_path: Path) -> None:
    y = np.repeat(np.arange(50), np.arange(1, 51))
    recording = zarrts.Recording("a", np.zeros((len(y), 3), "f4"), y)
    options: dict[str, Any] = {"kind": "dense", "progress": False}
    store = zarrts.convert([recording], tmp_path / "a.zarr", **options)
    (table,) = Overview(store.samples).labels
    assert isinstance(table, ClassTable)
    assert table.classes == [*map(str, range(21, 50)), "21 others"]
    assert table.counts.tolist() == [[*range(22, 51), sum(range(1, 22))]]


# What is odd -------------------------------------------------------------------------------------


def oddities(*series: Any) -> list[tuple[str, str, str]]:
    moments = Moments.stack([Moments.of(np.asarray(it)) for it in series])
    subjects = [f"s{i}" for i in range(len(series))]
    channels = [f"c{i}" for i in range(moments.count.shape[1])]
    found = find_oddities(moments, subjects, channels)
    return [(it.subject, it.channel, it.text.partition(":")[0].partition("?")[0]) for it in found]


def test_odd_channels_are_found_and_ordinary_people_are_not() -> None:
    rng = np.random.default_rng(0)

    def person(*scale: float) -> np.ndarray[Any, Any]:
        return rng.normal(size=(300, 3)) * scale

    usual = [person(1, 30, 900), person(2, 20, 500), person(0.6, 45, 1500)]
    assert oddities(*usual) == []
    assert oddities(*usual, person(1, 30, 0.9)) == [("s3", "c2", "another unit")]
    assert oddities(*usual, person(30, 1, 900)) == [
        ("s3", "c0", "swapped with c1"),
        ("s3", "c1", "swapped with c0"),
    ]
    assert oddities(*usual, person(1, 0, 900)) == [("s3", "c1", "flat")]
    gaps = person(1, 30, 900)
    gaps[:30, 0], gaps[:, 2] = np.nan, np.nan
    assert oddities(*usual, gaps) == [
        ("s3", "c0", "10% of the values are missing (NaN)"),
        ("s3", "c2", "no numbers at all"),
    ]
    assert oddities(person(1, 1, 1), person(1e6, 1, 1)) == []  # two people have no usual


# Words and notebooks -----------------------------------------------------------------------------


def test_notebooks_show_a_table(study: SimpleNamespace) -> None:
    page = Page(study.store._repr_html_())
    (rows,) = page.tables.values()
    assert rows[0] == ["subject", "samples", "N<1>", "REM", "W"]
    counts = [[12, *(int((y == it).sum()) for it in STAGES)] for y in study.y]
    assert [row[0] for row in rows[1:]] == [*study.names, "all"]
    for row, expected in zip(rows[1:], [*counts, np.sum(counts, axis=0).tolist()], strict=True):
        assert [int(it) for it in row[1:]] == expected
    some = study.store.samples.select(ids=[0, 1, 13])
    (rows,) = Page(some._repr_html_()).tables.values()
    assert rows == [["subject", "samples"], ["s01", "2"], [HOSTILE, "1"], ["all", "3"]]
    assert "each (40, 2) float32" in some._repr_html_()
    split = study.store.samples.split(val=["s03"], test=["s01"])
    (rows,) = Page(split._repr_html_()).tables.values()
    assert rows[1:] == [
        ["train", "24", "50%", "2", f"{HOSTILE}, s04"],
        ["val", "12", "25%", "1", "s03"],
        ["test", "12", "25%", "1", "s01"],
    ]


def test_what_is_missing_or_wrong_is_said(
    study: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*options: object) -> str:
        out = tmp_path / "report.html"
        given = ["report", study.store.path, "-o", str(out), *map(str, options)]
        result = CliRunner().invoke(main, given)
        assert result.exit_code == 1
        assert not out.exists()
        return result.output

    bad = tmp_path / "results.json"
    assert "there is no such file" in said("--results", bad)
    bad.write_text(json.dumps({"subjects": ["a"], "class_names": ["b"], "confusion": [[[1, 2]]]}))
    assert "holds no results that zarrts.evaluate(...).save wrote" in said("--results", bad)
    bad.write_text("[]")
    assert "holds no results" in said("--results", bad)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'zarrts[plot]'" in said()
