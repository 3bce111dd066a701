"""The bench: its rates, the bar of where time goes, and the sentence of what limits it."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from conftest import make_study
from rich.console import Console

import zarrts
from zarrts.cli import main
from zarrts.commands.picture import write_picture
from zarrts.commands.rates import BenchReport, Rate, show
from zarrts.commands.verdict import verdict_of
from zarrts.loops import library

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


def test_bench_reads_a_bucket(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[60, 60])
    store = zarrts.convert(study.folder, "memory://bench/a.zarr", chunk="1KiB", progress=False)
    with store:
        result = CliRunner().invoke(main, ["bench", store.path, "--no-fit", "--seconds", "0.02"])
    assert result.exit_code == 0, result.output
    head = result.output.splitlines()[0]
    assert head.startswith("memory://bench/a.zarr: read straight into memory, ")
    assert head.endswith(f" threads; loops {library.describe()}")
    assert [it for it in ("network", "decode") if f" {it} " in result.output.splitlines()[-2]]


@pytest.mark.parametrize(
    ("ram", "this", "loader", "is_remote", "words"),
    [
        (500, 480, 600, False, r"The model is the limit: .* at 96% .*RAM; a faster store"),
        (500, 300, 5000, False, r"The model is the limit: .* at 60% .*goes into handing over"),
        (500, 300, 600, False, r"The processors are the limit: .* the 300 samples/s that they"),
        (500, 150, 200, False, "Decoding is the limit"),
        (5000, 150, 900, True, "The network is the limit.*cache=FOLDER"),
        (5000, 150, 900, False, "The disk is the limit"),
    ],
)
def test_sentence_agrees_with_the_rates(
    ram: float, this: float, loader: float, is_remote: bool, words: str
) -> None:
    rates = RATES | {"fit, arrays in RAM": ram, "fit, this store": this}
    rates |= {"loader, later epochs": loader}
    for keeps_all in (False, True):
        found = verdict_of(rates, keeps_all=keeps_all, is_remote=is_remote, memory_bytes=1 << 20)
        expected = (
            words
            if not keeps_all or "model" in words or "processors" in words
            else "After the first epoch, gathering is.*memory=1MiB"
        )
        assert re.match(expected, found), found


def test_picture_is_written_to_a_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = tmp_path / "bench.svg"
    write_picture(report(RATES), str(drawn))
    page = ElementTree.parse(drawn)
    named = "".join(page.getroot().itertext()) + drawn.read_text("utf-8")
    for words in ("disk 12%", "decode 38%", "gather 25%", "model 25%", "fit, this store"):
        assert f"<!-- {words} -->" in named or words in named
    write_picture(report(RATES), str(tmp_path / "bench.png"))
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "words"),
    [("bench.txt", "a picture is .png, .svg or .pdf"), ("no/bench.png", "cannot be written into")],
)
def test_picture_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, name: str, words: str
) -> None:
    given = ["bench", str(tmp_path / "no.zarr"), "-o", str(tmp_path / name)]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    assert words in result.output


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
