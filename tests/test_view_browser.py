"""The page of `zarrts view`, driven in a browser: choose, zoom, scroll, the next mistake.

Runs in `tox -e browser`. Set ZARRTS_SCREENSHOTS to a folder to keep the pictures of the page.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsers
import numpy as np
import pytest
from view_stores import nights, predictions_of

import zarrts
from zarrts.view import view

pytestmark = browsers.MARKS
browser = browsers.browser
READY = "body[data-state=ready]"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Any:
    store, _ = nights(tmp_path_factory.mktemp("view"), n_rows=600_000)
    return store.samples.windows("10s", "10s", label="last")


@pytest.fixture(scope="module")
def viewer(windows: Any) -> Iterator[Any]:
    with view(windows, predictions_of(windows)) as found:
        yield found


def looked_at(page: Any) -> tuple[int, int]:
    """Return the first and last step of the part that is shown, once all of it is drawn."""
    page.wait_for_selector(READY)
    return tuple(int(page.get_attribute("body", f"data-{it}")) for it in ("start", "stop"))  # type: ignore[return-value]


def ink(page: Any, selector: str) -> int:
    """Return how many pixels of a canvas are painted."""
    return int(
        page.eval_on_selector(
            selector,
            """it => { const {width, height} = it;
            const all = it.getContext("2d").getImageData(0, 0, width, height).data;
            let n = 0; for (let i = 3; i < all.length; i += 4) if (all[i] > 0) n += 1;
            return n; }""",
        )
    )


@pytest.mark.parametrize("size", browsers.SIZES)
def test_choose_zoom_and_go_to_the_next_mistake(
    browser: Any, viewer: Any, windows: Any, size: str
) -> None:
    said = predictions_of(windows)
    assert said.true is not None
    assert said.places is not None
    wrong = np.flatnonzero((said.true >= 0) & (said.codes != said.true))
    own = said.places.starts[wrong[said.recordings[wrong] == 1]]
    with browsers.watched(browser, browsers.SIZES[size]) as (page, asked, complaints):
        page.goto(viewer.url)
        n_steps = windows.store.recordings[0].n_rows
        assert looked_at(page) == (0, n_steps)
        for canvas in ("#overview", "#strips", "#plot canvas", "#probabilities"):
            assert ink(page, canvas) > 500, canvas
        browsers.keep(page, f"view-nights-{size}")

        page.select_option("#subject", label="bob")
        assert looked_at(page)[0] == 0
        assert page.locator("#recording option").count() == 2
        n_steps = windows.store.recordings[1].n_rows
        assert looked_at(page) == (0, n_steps)

        page.click("#in")
        start, stop = looked_at(page)
        assert stop - start == pytest.approx(n_steps / 2, abs=2)
        page.keyboard.press("ArrowRight")
        assert looked_at(page)[0] == pytest.approx(start + (stop - start) / 2, abs=2)
        page.fill("#at", "0:10:00")
        page.press("#at", "Enter")
        assert looked_at(page)[0] == pytest.approx(min(60_000, n_steps - (stop - start)), abs=2)
        box = page.locator("#plot .u-over").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20, steps=4)
        page.mouse.up()
        dragged = looked_at(page)
        assert dragged[1] - dragged[0] == pytest.approx((stop - start) / 4, rel=0.05)
        page.dblclick("#plot .u-over")
        assert looked_at(page) == (0, n_steps)

        page.select_option("#kind", "wrong")
        for expected in own[:3].tolist():
            page.click("#next")
            page.wait_for_selector(f"#found:has-text('{clock(expected / 100)}')")
            start, stop = looked_at(page)
            assert start <= expected
            assert expected + 1000 <= stop
            assert stop - start <= 3_000
        assert "predicted" in page.inner_text("#found")
        page.click("#previous")
        page.wait_for_selector(f"#found:has-text('{clock(own[1] / 100)}')")
        looked_at(page)
        browsers.keep(page, f"view-nights-mistake-{size}")
        assert complaints == []
        assert all(url.startswith(viewer.url) or url == "data:," for url in asked)
        assert page.evaluate("document.documentElement.scrollWidth") <= browsers.SIZES[size].width
        assert browsers.cut_texts(page, "h1, output, button, summary, p, #legend span") == []


def clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def two_classes(folder: Path) -> zarrts.Samples:
    rng = np.random.default_rng(0)
    y = np.where(rng.random((6, 50)) < 0.1, "fall", "walk")
    x = rng.normal(size=(6, 50, 64, 3)).astype("f4")
    some = [zarrts.Recording(f"p{i}", *it) for i, it in enumerate(zip(x, y, strict=True))]
    return zarrts.convert(some, folder / "a.zarr", progress=False).samples


def thousand(folder: Path) -> zarrts.Samples:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, (1000, 3))
    x = rng.normal(size=(1000, 3, 40, 2)).astype("f4")
    some = [zarrts.Recording(f"s{i:03}", *it) for i, it in enumerate(zip(x, y, strict=True))]
    return zarrts.convert(some, folder / "a.zarr", progress=False).samples


def numbers(folder: Path) -> zarrts.Samples:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 40)).astype("f4")
    one = zarrts.Recording("a", x, rng.normal(size=5000).cumsum())
    return zarrts.convert([one], folder / "a.zarr", kind="ragged", progress=False).samples


@pytest.mark.parametrize("make", [two_classes, thousand, numbers])
def test_other_stores_are_shown_as_well(browser: Any, tmp_path: Path, make: Any) -> None:
    samples = make(tmp_path)
    with view(samples) as viewer:
        for name, size in browsers.SIZES.items():
            with browsers.watched(browser, size) as (page, asked, complaints):
                page.goto(viewer.url)
                looked_at(page)
                subjects = samples.subjects
                assert page.locator("#subject option").count() == len(subjects)
                page.select_option("#subject", label=subjects[-1])
                looked_at(page)
                if make is numbers:
                    assert not page.is_visible("#kind")
                else:
                    page.click("#next")
                    page.wait_for_selector("#found:has-text('at')")
                looked_at(page)
                assert ink(page, "#plot canvas") > 500
                browsers.keep(page, f"view-{make.__name__}-{name}")
                assert complaints == []
                assert all(url.startswith(viewer.url) or url == "data:," for url in asked)
                assert page.evaluate("document.documentElement.scrollWidth") <= size.width


def test_errors_are_shown(browser: Any, tmp_path: Path) -> None:
    samples = two_classes(tmp_path)
    with (
        view(samples) as viewer,
        browsers.watched(browser, browsers.SIZES["desk-light"]) as (page, _, _),
    ):
        page.goto(viewer.url)
        looked_at(page)
        page.fill("#at", "half past three")
        page.press("#at", "Enter")
        assert "is not a place" in page.inner_text("#status.bad")
        shard = next(Path(samples.store.path).glob("0/x/c/*/0/0"), None) or next(
            it for it in Path(samples.store.path, "0", "x", "c").rglob("*") if it.is_file()
        )
        content = bytearray(shard.read_bytes())
        content[100:2000] = bytes(1900)
        shard.write_bytes(content)
        samples.store.close()
        page.select_option("#subject", "1")
        page.wait_for_selector("body[data-state=failed]")
        assert page.inner_text("#status.bad") != ""


def test_a_notebook_shows_the_page(browser: Any, tmp_path: Path) -> None:
    """Another page of this machine holds it in a frame, as Jupyter does."""
    with (
        two_classes(tmp_path).view() as viewer,
        browsers.watched(browser, browsers.SIZES["desk-light"]) as (page, _, complaints),
    ):
        page.set_content(f"<!DOCTYPE html><body>{viewer._repr_html_()}</body>")
        frame = page.frame_locator("iframe")
        frame.locator(READY).wait_for()
        assert frame.locator("#name").inner_text() == "a.zarr"
        assert complaints == []
