"""Every page of the site is in its menu, and every link between our pages leads somewhere."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md")])
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
ADDRESS = re.compile(r"[a-z]+:")


def prose(page: Path) -> str:
    """Text of a page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page in links, as GitHub and mkdocs make them."""
    found: set[str] = set()
    times: Counter[str] = Counter()
    for title in re.findall(r"^#+ +(.+?) *#*$", prose(page), re.MULTILINE):
        words = LINK.sub("]", title)
        name = re.sub(r"[^\w\- ]", "", words).strip().lower().replace(" ", "-")
        found.add(f"{name}-{times[name]}" if times[name] else name)
        times[name] += 1
    return found


def broken(page: Path) -> list[str]:
    """Links of a page to files and headings that are not there."""
    links = (it for it in LINK.findall(prose(page)) if not ADDRESS.match(it))
    return [it for it in links if not leads_somewhere(page, it)]


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


def test_menu_of_the_site_holds_each_page_once():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", settings, re.MULTILINE)
    assert sorted(listed) == sorted(it.relative_to(DOCS).as_posix() for it in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda it: it.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    assert broken(page) == []


def test_broken_links_are_found(tmp_path):
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    good = ["other.md", "other.md#what-s-it-1", "#here-and-now", "https://nobody.example/#a"]
    bad = ["gone.md", "other.md#three", "#there", "other.txt#two"]
    text = "".join(f"[a word]({it})\n" for it in good + bad)
    page.write_text(f"# Here, and `now`\n{text}```sh\n# there\n[x](no.md)\n```\n", "utf-8")
    other.write_text("# What s it?\n\n# What s it?\n", "utf-8")
    (tmp_path / "other.txt").write_text("# Two\n", "utf-8")
    assert broken(page) == bad
