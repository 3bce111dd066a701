"""Headless Chromium for tests of pages; everything is skipped where it, or Playwright, is missing.

Set ZARRTS_SCREENSHOTS to a folder to keep the pictures of the pages.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: tox -e browser")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MARKS = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore"),  # of Playwright
]
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Size(NamedTuple):
    """Of a window, and whether its user wants light pages or dark ones."""

    width: int
    height: int
    scheme: str


SIZES = {
    "phone-light": Size(400, 860, "light"),
    "phone-dark": Size(400, 860, "dark"),
    "desk-light": Size(1400, 1000, "light"),
    "desk-dark": Size(1400, 1000, "dark"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield found
        found.close()


@contextmanager
def watched(browser: Any, size: Size) -> Iterator[tuple[Any, list[str], list[str]]]:
    """Yield a page, the addresses that it asks for, and what it complains of."""
    context = browser.new_context(
        viewport={"width": size.width, "height": size.height}, color_scheme=size.scheme
    )
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda it: asked.append(it.url))
    page.on("console", lambda it: complaints.append(it.text))
    page.on("pageerror", lambda it: complaints.append(str(it)))
    yield page, asked, complaints
    context.close()


def cut_texts(page: Any, selector: str) -> list[str]:
    """Return the texts of elements that are wider than what is seen of them, or leave the page."""
    found: list[str] = page.eval_on_selector_all(
        selector,
        """all => all.filter(it => it.offsetParent && (it.scrollWidth > it.clientWidth + 1
          || it.getBoundingClientRect().right > document.documentElement.clientWidth + 1
          || it.getBoundingClientRect().left < -1)
          && getComputedStyle(it).display !== "inline").map(it => it.textContent)""",
    )
    return found


def keep(page: Any, name: str) -> None:
    """Write a picture of the whole page, if pictures are kept."""
    folder = os.environ.get("ZARRTS_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
