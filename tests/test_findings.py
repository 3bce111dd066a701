"""The scripts in findings/ have the form that their README promises; none is run here."""

import os
import re
import stat
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
ROW = re.compile(r"^\| \[(\w+)\]\((\w+)\.sh\) \|(.+)\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/\w+\.py)::(\w+)`")
INSTALL = re.compile(r"^venv/bin/python -m pip install((?:.*\\\n)*.*)$", re.MULTILINE)
PROGRAM = re.compile(r"^[\w=. ]*venv/bin/python - <<'EOF'\n(.*?)^EOF\n\Z", re.MULTILINE | re.DOTALL)


def rows() -> dict[str, str]:
    """The line of the README about each script, by its name."""
    found = ROW.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    assert all(shown == linked for shown, linked, _ in found)
    assert len({shown for shown, _, _ in found}) == len(found)
    return {shown: rest for shown, _, rest in found}


def test_each_script_is_listed_and_each_that_is_listed_is_there() -> None:
    assert len(SCRIPTS) >= 14
    assert sorted(rows()) == [it.stem for it in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda it: it.stem)
def test_a_script_pins_what_it_installs_and_does_without_zarrts(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    if sys.platform != "win32":
        assert script.stat().st_mode & stat.S_IXUSR
        assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text
    assert '\nfolder="$(mktemp -d)"\ntrap \'rm -rf "$folder"\' EXIT\ncd "$folder"\n' in text
    assert re.search(r"^# Expected: ", text, re.MULTILINE)
    assert re.search(r"^# Seen \(", text, re.MULTILINE)
    assert re.search(r"^# Source: ", text, re.MULTILINE)
    (arguments,) = INSTALL.findall(text)
    words = arguments.replace("\\\n", " ").split()
    packages = [it for it in words if not it.startswith("--")]
    assert packages
    assert all(re.fullmatch(r"[a-z0-9_-]+==[0-9][0-9.]*", it) for it in packages)
    assert text.count("pip install") == 1
    assert "zarrts" not in text
    (program,) = PROGRAM.findall(text)
    compile(program, str(script), "exec")
    assert re.search(r"^ *assert ", program, re.MULTILINE)


@pytest.mark.parametrize("name", [it.stem for it in SCRIPTS])
def test_a_finding_is_held_by_a_test_or_says_why_none_is_needed(name: str) -> None:
    held_by = rows()[name].rsplit("|", 1)[-1].strip()
    tests = TEST.findall(held_by)
    if not tests:
        assert re.fullmatch(r"none needed: .{20,}", held_by)
    for path, test in tests:
        assert f"\ndef {test}(" in (ROOT / path).read_text(encoding="utf-8")
