"""The page in a browser: no error, no request to any host, and the heat map's numbers.

Runs in `tox -e browser`. Set ZARRTS_SCREENSHOTS to a folder to keep the pictures of the page.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import browsers
import numpy as np
import pytest
from view_stores import STAGES, nights

import zarrts
from zarrts.report import write_report

pytestmark = browsers.MARKS
browser = browsers.browser
Study = tuple[Path, dict[str, list[float]]]


def page_of(store: zarrts.Store) -> Path:
    folder = Path(store.path).parent
    split = store.samples.split(val=0.2, test=1)
    split.save(folder / "split.json")
    write_report(store.path, folder / "report.html", split=folder / "split.json")
    return folder / "report.html"


def dense(folder: Path) -> Study:
    """The study of the demo: ten people with smartwatches."""
    pytest.importorskip("seglearn", reason="the demo's recordings")
    from zarrts.demo import read_watch, write_people

    recordings = read_watch()
    files = write_people(recordings, folder / "people")
    channels = recordings["X_labels"].tolist()
    options: dict[str, Any] = {"rate_hz": 50, "channels": channels, "progress": False}
    store = zarrts.convert(folder / "people", folder / "study.zarr", **options)
    counts: dict[str, list[float]] = {}
    for file in files:
        with np.load(file) as arrays:
            y = arrays["labels"]
        own = [int((y == name).sum()) for name in store.class_names or ()]
        counts[file.stem] = [*own, sum(own)]
    return page_of(store), counts


def ragged(folder: Path) -> Study:
    """Nights, with a class a time step; classes are counted in minutes."""
    store, some = nights(folder)
    counts: dict[str, list[float]] = {}
    for it in some:
        own = [int((it.y == name).sum()) / 6000 for name in STAGES]
        before = counts.get(it.subject, [0.0] * 4)
        counts[it.subject] = [a + b for a, b in zip(before, [*own, sum(own)], strict=True)]
    return page_of(store), counts


def two_classes(folder: Path) -> Study:
    """Two classes, one of them rare."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random((6, 50)) < 0.1, "fall", "walk")
    names = [f"p{i}" for i in range(6)]
    x = rng.normal(size=(6, 50, 64, 3)).astype("f4")
    some = [zarrts.Recording(*it) for it in zip(names, x, y, strict=True)]
    store = zarrts.convert(some, folder / "study.zarr", progress=False)
    counts: dict[str, list[float]] = {}
    for name, own in zip(names, y, strict=True):
        counts[name] = [int((own == "fall").sum()), int((own == "walk").sum()), 50]
    return page_of(store), counts


def _many(folder: Path, n_subjects: int) -> Study:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, (n_subjects, 3))
    x = rng.normal(size=(n_subjects, 3, 8, 2)).astype("f4")
    names = [f"s{i:05}" for i in range(n_subjects)]
    some = [zarrts.Recording(*it) for it in zip(names, x, y, strict=True)]
    store = zarrts.convert(some, folder / "study.zarr", progress=False)
    counts: dict[str, list[float]] = {}
    each = n_subjects // 40
    for start in range(0, n_subjects, each):
        own = np.bincount(y[start : start + each].ravel(), minlength=4).tolist()
        counts[f"{names[start]} to {names[start + each - 1]} ({each})"] = [*own, sum(own)]
    return page_of(store), counts


def thousand(folder: Path) -> Study:
    """A thousand subjects."""
    return _many(folder, 1_000)


def ten_thousand(folder: Path) -> Study:
    """Ten thousand subjects, of three short samples each."""
    return _many(folder, 10_000)


@pytest.mark.parametrize("study", [dense, ragged, two_classes, thousand, ten_thousand])
def test_page_is_whole_and_asks_nobody(
    browser: Any, tmp_path: Path, study: Callable[[Path], Study]
) -> None:
    page_file, expected = study(tmp_path)
    assert page_file.stat().st_size < 3_000_000
    for name, size in browsers.SIZES.items():
        with browsers.watched(browser, size) as (page, asked, complaints):
            page.goto(page_file.as_uri())
            assert asked == [page_file.as_uri()]
            assert complaints == []
            rows = page.eval_on_selector_all(
                "#classes tbody tr",
                "rows => rows.map(row => [...row.cells].map(it => it.textContent))",
            )
            found = {row[0]: [float(it.replace(",", "")) for it in row[1:]] for row in rows}
            everything = np.sum(list(expected.values()), axis=0).tolist()
            assert found.keys() == {*expected, "all"}
            for row, counts in {**expected, "all": everything}.items():
                # Minutes are rounded to a few digits.
                np.testing.assert_allclose(found[row], counts, atol=0.051)
            # Wide pictures scroll by themselves; the page does not.
            assert page.evaluate("document.documentElement.scrollWidth") <= size.width
            assert browsers.cut_texts(page, "h1, h2, h3, p, figcaption, summary") == []
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (size.scheme == "light")
            browsers.keep(page, f"report-{study.__name__}-{name}")
