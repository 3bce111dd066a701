"""The bench: its rates, the bar of where time goes, and the sentence of what limits it."""

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import make_study
from rich.console import Console

import zarrts
from zarrts.cli import main
from zarrts.commands.bench import BenchReport, Rate, show

RATES = {
    "read (compressed)": 1000.0,
    "read and decode": 250.0,
    "gather (from memory)": 500.0,
    "loader, first epoch": 200.0,
    "loader, later epochs": 200.0,
    "fit, arrays in RAM": 500.0,
    "fit, this store": 150.0,
}


def report(rates: dict[str, float]) -> BenchReport:
    made = tuple(Rate(stage, rate, 100 * rate) for stage, rate in rates.items())
    return BenchReport("a.zarr", "straight into memory", 2, made, "Decoding is the limit: ...")


def test_bar_shows_what_each_stage_takes() -> None:
    # 1 ms to read, 3 ms to decode, 2 ms to gather, 2 ms to train.
    bar, names = report(RATES).as_bar(width=40).plain.splitlines()
    drawn = bar.removeprefix("time").strip()
    assert drawn == "\u2588" * 5 + "\u2593" * 15 + "\u2592" * 10 + "\u2591" * 10
    assert " ".join(re.findall(r"\S+", names)) == (
        "\u2588 disk 12% \u2593 decode 38% \u2592 gather 25% \u2591 model 25%"
    )


def test_bar_leaves_out_what_was_not_measured() -> None:
    some = {name: rate for name, rate in RATES.items() if name.startswith(("read and", "gather"))}
    bar, names = report(some).as_bar(width=30).plain.splitlines()
    assert bar.split() == ["time", "\u2588" * 20 + "\u2593" * 10]
    assert " ".join(re.findall(r"\S+", names)) == "\u2588 disk and decode 67% \u2593 gather 33%"


@pytest.mark.parametrize(("encoding", "letter"), [("utf-8", "\u2588"), ("cp1252", "#")])
def test_bar_is_written_in_letters_that_the_terminal_has(encoding: str, letter: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show(report(RATES), Console(file=file, markup=False, highlight=False, width=20))
    file.seek(0)
    lines = file.read().splitlines()
    assert lines[-3] == "time      " + re.sub("[^ ]", lambda it: it[0], lines[-3][10:])
    assert lines[-3][10] == letter
    assert len(lines[-3]) == 70
    assert lines[-1] == "Decoding is the limit: ..."


def test_command_measures_a_store(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[60, 60])
    zarrts.convert(study.folder, tmp_path / "a.zarr", progress=False).close()
    given = ["bench", str(tmp_path / "a.zarr"), "--no-fit", "--seconds", "0.02"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[-3].startswith("time      ")
    assert [it for it in ("disk", "decode", "gather") if f" {it} " in lines[-2]]
    assert " is the limit: " in lines[-1]
    found = json.loads(CliRunner().invoke(main, [*given, "--json"]).output)
    assert [it["stage"] for it in found["rates"]] == list(RATES)[:5]
    assert all(it["samples_per_s"] > 0 for it in found["rates"])


def test_help_fits_one_screen() -> None:
    _, *lines = CliRunner().invoke(main, ["--help"], terminal_width=80).output.splitlines()
    assert len(lines) <= 23
    assert all(len(line) <= 80 for line in lines)
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_key_completes_commands(shell: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text("utf-8")
    assert f"_ZARRTS_COMPLETE={shell}_source zarrts" in page
    words = {"COMP_WORDS": "zarrts re", "COMP_CWORD": "re" if shell == "fish" else "1"}
    env = {"_ZARRTS_COMPLETE": f"{shell}_complete", **words}
    said = CliRunner().invoke(main, [], env=env, prog_name="zarrts").output
    assert re.findall(r"\b(re\w+)", re.sub(r"_.*", "", said) or said)[:1] == ["remove"]
    assert {"remove", "repair", "report"} <= set(re.findall(r"\w+", said))


def test_page_lists_every_command() -> None:
    page = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text("utf-8")
    assert set(re.findall(r"^\| `zarrts (\w+)", page, re.MULTILINE)) == set(main.commands)
