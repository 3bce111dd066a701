"""The page in a browser: no error, no request to any host, and the heat map's numbers.

Runs in `tox -e browser`. Set ZARRTS_SCREENSHOTS to a folder to keep the pictures of the page.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrts
from zarrts.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: tox -e browser")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore"),  # of Playwright
]
SIZES = {"phone": (390, 844, "light"), "desk": (1000, 1400, "light"), "dark": (1000, 1400, "dark")}
Study = tuple[Path, dict[str, list[int]]]


def page_of_study(folder: Path, recordings: Any, **options: Any) -> Path:
    store = zarrts.convert(recordings, folder / "study.zarr", progress=False, **options)
    split = store.samples.split(val=0.2, test=1)
    split.save(folder / "split.json")
    write_report(store.path, folder / "report.html", split=folder / "split.json")
    return folder / "report.html"


def watches(folder: Path) -> Study:
    """The study of the demo: ten people with smartwatches."""
    pytest.importorskip("seglearn", reason="the demo's recordings")
    from zarrts.demo import read_watch, write_people

    recordings = read_watch()
    files = write_people(recordings, folder / "people")
    channels = recordings["X_labels"].tolist()
    page = page_of_study(folder, folder / "people", rate_hz=50, channels=channels)
    counts = {}
    with zarrts.open(folder / "study.zarr") as store:
        names = store.class_names or []
    for file in files:
        with np.load(file) as arrays:
            y = arrays["labels"]
        own = [int((y == name).sum()) for name in names]
        counts[file.stem] = [*own, sum(own)]
    return page, counts


def thousands(folder: Path) -> Study:
    """Ten thousand subjects, of three short samples each."""
    rng = np.random.default_rng(0)
    n_subjects = 10_000
    y = rng.integers(0, 4, (n_subjects, 3))
    x = rng.normal(size=(n_subjects, 3, 8, 2)).astype("f4")
    names = [f"s{i:05}" for i in range(n_subjects)]
    recordings = [zarrts.Recording(*it) for it in zip(names, x, y, strict=True)]
    counts = {}
    for start in range(0, n_subjects, 250):
        stop = start + 250
        own = np.bincount(y[start:stop].ravel(), minlength=4).tolist()
        counts[f"{names[start]} to {names[stop - 1]} (250)"] = [*own, sum(own)]
    return page_of_study(folder, recordings), counts


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize("study", [watches, thousands])
def test_page_is_whole_and_asks_nobody(
    browser: Any, tmp_path: Path, study: Callable[[Path], Study], capsys: pytest.CaptureFixture[str]
) -> None:
    page_file, expected = study(tmp_path)
    assert page_file.stat().st_size < 3_000_000
    for size, (width, height, scheme) in SIZES.items():
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda it, asked=asked: asked.append(it.url))
        page.on("console", lambda it, said=complaints: said.append(it.text))
        page.on("pageerror", lambda it, said=complaints: said.append(str(it)))
        page.goto(page_file.as_uri())
        assert asked == [page_file.as_uri()]
        assert complaints == []
        rows = page.eval_on_selector_all(
            "#classes tbody tr", "rows => rows.map(row => [...row.cells].map(it => it.textContent))"
        )
        found = {row[0]: [int(it.replace(",", "")) for it in row[1:]] for row in rows}
        everything = np.sum(list(expected.values()), axis=0).tolist()
        assert found == {**expected, "all": everything}
        # Wide pictures scroll by themselves; the page does not.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        keep = os.environ.get("ZARRTS_SCREENSHOTS")
        if keep:
            page.screenshot(path=Path(keep) / f"report-{study.__name__}-{size}.png")
        context.close()
