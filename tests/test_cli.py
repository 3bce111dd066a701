"""The command: what it says, what it writes, and the exit status it ends with."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import Study, make_study

import zarrts
from zarrts.cli import main
from zarrts.conversion import prepare
from zarrts.conversion import run as conversion
from zarrts.conversion.plan import warn_of_axes
from zarrts.loops import library
from zarrts.progress import show_progress
from zarrts.sizes import parse_size

STAGES = np.array(["W", "N1", "N2", "N3", "R"])


@pytest.fixture(autouse=True)
def keep_showwarning(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command decides how warnings are printed, for its process; this one goes on."""
    import warnings

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    yield


def zarrts_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(it) for it in arguments])


def said(result: Result, status: int) -> str:
    """Return all that was printed; a traceback is no answer."""
    assert "Traceback" not in result.output
    assert not isinstance(result.exception, Exception), result.exception
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def sleepers(tmp_path: Path) -> Path:
    """Thirteen files like those of issue 2: float64, five stages, N1 rare, s09 without N1."""
    folder = tmp_path / "subjects"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(1, 14):
        stages = np.repeat(STAGES, [30, 4 if i != 9 else 0, 26, 24, 20])
        x = rng.normal(size=(len(stages), 16, 4))
        np.savez(folder / f"s{i:02}.npz", data=x, labels=rng.permutation(stages))
    return folder


def test_dry_run_says_what_was_understood_and_writes_nothing(
    tmp_path: Path, sleepers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    lines = said(zarrts_command("convert", "subjects/", "study.zarr", "--dry-run"), 0).splitlines()
    assert lines[0] == (
        "13 files -> 13 subjects (one file each). Several files per person? --subject REGEX"
    )
    assert lines[1] == "each is an .npz file of two arrays"
    assert lines[2] == "x 'data'    1,348 samples, 16 time steps x 4 channels, float64 -> float32"
    assert lines[3] == "y 'labels'  5 classes N1 N2 N3 R W; only 4 % are N1; s09 has no N1"
    assert re.fullmatch(
        r"reads 7\d\d kB, writes about 3\d\d kB \([\d.,]+ [kMGT]B free\), memory 1GiB, about \d+ s",
        lines[4],
    )
    assert lines[5:] == ["Nothing written. Repeat without --dry-run."]
    assert sorted(tmp_path.rglob("*")) == before


def test_dry_run_refuses_what_the_conversion_would(
    tmp_path: Path, sleepers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    output = said(zarrts_command("convert", sleepers, target, "--dry-run"), 1)
    assert "it holds notes.txt, which no conversion wrote" in output
    monkeypatch.setattr(prepare, "free_bytes", lambda path: 1000)
    output = said(zarrts_command("convert", sleepers, tmp_path / "b.zarr", "--dry-run"), 1)
    assert re.search(r"needs about 3\d\d kB, but 1\.0 kB are free", output)


def test_convert_ends_with_lines_that_train_on_the_store(
    tmp_path: Path, sleepers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = said(zarrts_command("convert", "subjects", "study.zarr"), 0).splitlines()
    assert lines[5] == "study.zarr is complete. Train on it:"
    code = [line.removeprefix("    ") for line in lines[6:]]
    assert len(code) == 3
    scope: dict[str, Any] = {}
    exec("\n".join(code[:2]), scope)
    assert len(scope["train"].subjects) == 12
    assert len(scope["test"].subjects) == 1
    assert code[2].startswith("model.fit(zarrts.ZarrSequence(train, ")
    assert "is complete already" in said(zarrts_command("convert", "subjects", "study.zarr"), 0)
    again = said(zarrts_command("convert", "subjects", "study.zarr", "--dry-run"), 0)
    assert again.splitlines()[-1] == (
        "Nothing written. study.zarr is complete already, from these sources and options."
    )


@pytest.mark.parametrize(
    ("lengths", "labels_per", "windows"),
    [
        ((300, 250), "row", 'windows(200, stride=100, label="last")'),
        ((300, 7), "one", "windows(7,"),
    ],
)
def test_recordings_of_unequal_lengths_end_with_lines_that_train_on_windows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lengths: tuple[int, ...],
    labels_per: str,
    windows: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nights").mkdir()
    for i, n in enumerate(lengths):
        y = np.arange(n) % 3 if labels_per == "row" else np.array("W")
        np.savez(f"nights/{i}.npz", x=np.random.default_rng(i).normal(size=(n, 2)), y=y)
    output = said(zarrts_command("convert", "nights", "n.zarr", "--kind", "ragged"), 0)
    code = [it.removeprefix("    ") for it in output.splitlines() if it.startswith("    ")]
    assert windows in code[1]
    scope: dict[str, Any] = {}
    exec("\n".join(code[:3]), scope)
    assert scope["train"].subjects + scope["test"].subjects == ["0", "1"]
    assert code[3].startswith("model.fit(zarrts.ZarrSequence(train, ")


def plan_of(*arguments: object) -> list[str]:
    return said(zarrts_command("convert", "--dry-run", *arguments), 0).splitlines()


def test_plan_names_subjects_that_were_given(tmp_path: Path, sleepers: Path) -> None:
    line = plan_of(sleepers, tmp_path / "a.zarr", "--subject", r"s(\d)")[0]
    assert line == "13 files -> 2 subjects: 0 (9 files), 1 (4 files)"
    line = plan_of(sleepers, tmp_path / "a.zarr", "--subject", r"\d+")[0]
    assert line.startswith("13 files -> 13 subjects: 01 (1 file), 02 (1 file), ")
    assert line.endswith(", 12 (1 file) and 1 more")


def test_plan_counts_pairs_and_says_what_labels_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("anna", "bert"):
        np.save(tmp_path / f"{name}_x.npy", rng.normal(size=(8, 5, 2)).astype("f4"))
        np.save(tmp_path / f"{name}_y.npy", rng.normal(size=(8, 3)))
    lines = plan_of(tmp_path, tmp_path / "a.zarr")
    assert lines[0] == (
        "2 pairs of files -> 2 subjects (one pair each). Several pairs per person? --subject REGEX"
    )
    assert lines[1] == "each is a pair of .npy files"
    assert lines[2] == "x 'anna_x.npy' ...  16 samples, 5 time steps x 2 channels, float32"
    assert lines[3] == "y 'anna_y.npy' ...  numbers, float64, of shape (3,) each"


def test_plan_of_one_hot_labels_and_single_values(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(6, dtype="f2"), y=np.eye(3)[[0, 1, 1, 0, 1, 1]])
    lines = plan_of(tmp_path, tmp_path / "a.zarr", "--kind", "dense")
    assert lines[0].startswith("1 file -> 1 subject ")
    assert lines[2] == "x 'x'  6 samples, single values, float16"
    assert lines[3] == "y 'y'  3 classes 0 1 2; below 1 % are 2; a has no 2; one-hot"


def test_swapped_axes_get_a_warning(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[5], sample_shape=(4, 128))
    warning = (
        "Warning: 128 channels but 4 time steps. If the axes are swapped, say "
        "axes=('sample', 'channel', 'time') (--axes sample,channel,time)."
    )
    target = tmp_path / "a.zarr"
    assert warning in plan_of(study.folder, target)
    assert not [
        it for it in plan_of(study.folder, target, "--axes", "sample,channel,time") if "W" in it[:1]
    ]
    with pytest.warns(UserWarning, match="128 channels but 4 time steps"):
        zarrts.convert(study.folder, target, progress=False).close()
    assert warn_of_axes((128, 4), is_series=False) == warn_of_axes((4,), is_series=True) == []


# Info ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("cli") / "subjects", sizes=[60, 30], labels="text")


@pytest.fixture(scope="module")
def store(study: Study) -> Path:
    target = study.folder.parent / "a.zarr"
    options: dict[str, Any] = {"channels": ["Fz", "Cz", "Pz"], "rate_hz": 12.5}
    zarrts.convert(study.folder, target, progress=False, **options).close()
    return target


def test_info_shows_subjects_by_classes(study: Study, store: Path) -> None:
    lines = said(zarrts_command("info", store), 0).splitlines()
    assert lines[0] == f"{store}, version 1"
    assert lines[1] == "samples   90, 6 time steps x 3 channels, float32"
    assert lines[2] == "channels  Fz, Cz, Pz"
    assert lines[3] == "rate      12.5 Hz"
    assert re.fullmatch(r"size      6\.5 kB raw, \d\.\d kB stored", lines[4])
    assert lines[5] == "reading   straight into memory, 90 samples at a time"
    assert lines[6] == f"loops     {library.describe()}"
    assert lines[7].split() == ["subject", "samples", "N1", "N2", "REM", "wake"]
    for line, name, y in zip(lines[8:], study.names, study.y, strict=True):
        counts = [int((y == stage).sum()) for stage in ("N1", "N2", "REM", "wake")]
        assert line.split() == [name, str(len(y)), *map(str, counts)]


def test_info_says_what_a_saved_split_costs_to_read(store: Path, tmp_path: Path) -> None:
    with zarrts.open(store) as opened:
        split = opened.samples.split(test=1)
        split.save(tmp_path / "split.json")
    n_train, n_test = map(len, split)
    n_people = len(split.train.subjects)
    people = "1 subject" if n_people == 1 else f"{n_people} subjects"
    lines = said(zarrts_command("info", store, "--split", tmp_path / "split.json"), 0).splitlines()
    # All 90 samples lie in one piece.
    assert lines[7:9] == [
        f"train     {n_train} samples of {people}; reading them "
        f"decodes {90 / n_train:.3g} times their size",
        f"test      {n_test} samples of 1 subject; reading them decodes {90 / n_test:.3g} times "
        "their size",
    ]
    (tmp_path / "split.json").write_text("{}")
    said(zarrts_command("info", store, "--split", tmp_path / "split.json"), 1)


def test_info_json_is_for_programs(study: Study, store: Path) -> None:
    summary = json.loads(said(zarrts_command("info", store, "--json"), 0))
    shards = [
        it for name in ("x", "y", "recording") for it in (store / "0" / name / "c").rglob("*")
    ]
    assert summary == {
        "path": str(store),
        "version": 1,
        "kind": "dense",
        "n_samples": 90,
        "sample_shape": [6, 3],
        "lengths": None,
        "labels_per": "sample",
        "dtype": "float32",
        "class_names": ["N1", "N2", "REM", "wake"],
        "labels": {
            "y": {
                "class_names": ["N1", "N2", "REM", "wake"],
                "encoding": "codes",
                "dtype": "int32",
                "shape": [],
            }
        },
        "channels": ["Fz", "Cz", "Pz"],
        "rate_hz": 12.5,
        "units": None,
        "steps": [],
        "subjects": {"s00": 60, "s01": 30},
        "class_counts": {
            name: [int((y == stage).sum()) for stage in ("N1", "N2", "REM", "wake")]
            for name, y in zip(study.names, study.y, strict=True)
        },
        "n_unlabelled": 0,
        "packed": None,
        "raw_bytes": study.all_x.nbytes,
        "stored_bytes": sum(it.stat().st_size for it in shards if it.is_file()),
        "window_amplification": None,
        "chunk_samples": [90],
        "reads_directly": True,
        "loops": library.describe(),
    }


def test_info_of_odd_names_and_many_classes_is_neither_markup_nor_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    recordings = [
        zarrts.Recording(name, rng.normal(size=(60, 3, 1)), np.arange(60) % 30 + 100)
        for name in ("[red]anna[/red]", ":smile:", "b" * 60)
    ]
    zarrts.convert(recordings, tmp_path / "a.zarr", progress=False).close()
    lines = said(zarrts_command("info", tmp_path / "a.zarr"), 0).splitlines()
    assert lines[-4].split() == ["subject", "samples", *(str(100 + i) for i in range(30))]
    assert lines[-3].split() == ["[red]anna[/red]", "60", *["2"] * 30]
    assert lines[-2].split()[0] == ":smile:"
    assert lines[-1].split()[0] == "b" * 23 + "…"


# Exit status and errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["convert"], 2, "Missing argument 'STORE'"),
        (["convert", "subjects"], 2, "zarrts convert subjects/ study.zarr"),
        (["convert", "subjects", "b.zarr", "--memory", "lots"], 2, "memory='lots' is not a size"),
        (["convert", "subjects", "b.zarr", "--codec", "gzip"], 2, "'auto', 'lz4', 'zstd', 'none'"),
        (["convert", "subjects", "b.zarr", "--workers", "0"], 2, "not in the range"),
        (["convert", "subjects", "b.zarr", "--kin", "dense"], 2, "--kind"),
        (["convert", "subjects", "b.zarr", "--memory", "1MiB"], 1, "raise memory to at least"),
        (["convert", "subjects", "b.zarr", "--chunk", "1GiB"], 1, "raise shard to at least 1GiB"),
        (["convert", "subjects", "b.zarr", "--channels", "Fz"], 1, "3 channels (the last axis)"),
        (["convert", "subjects", "b.zarr", "--axes", "a,b"], 1, "sample among them"),
        (["convert", "subjects", "b.zarr", "--x", "eeg"], 1, "s01.npz: has no array 'eeg'"),
        (["convert", "subjects", "b.zarr", "--dtype", "int8"], 1, "choose another dtype"),
        (["convert", "subjets", "b.zarr"], 1, "not found: subjets; check the spelling"),
        (["convert", "subjects", "subjects"], 1, "Choose a new folder for the store"),
        (["convert", "subjects", "subjects/s00.npz"], 1, "is a file, but the store is a folder"),
        (["convert", "subjects", "ftp://bucket/b.zarr"], 1, "ftp:// is no place for a store"),
        (["convert", "subjects", "a.zarr", "--codec", "zstd"], 1, "(--overwrite)"),
        (["info", "b.zarr"], 1, "does not exist. Check the spelling"),
        (["info", "subjects"], 1, "zarrts convert subjects study.zarr"),
        (["info", "memory://b/a.zarr", "--storage-options", "key"], 2, "write NAME=VALUE"),
        (["info"], 2, "Missing argument 'STORE'"),
        (["inf", "a.zarr"], 2, "No such command"),
    ],
)
def test_mistakes_end_with_a_sentence_and_a_status(
    study: Study,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    monkeypatch.chdir(store.parent)
    before = sorted(store.parent.rglob("*"))
    output = said(zarrts_command(*arguments), status)
    assert words in output
    assert "Error: " in output
    assert sorted(store.parent.rglob("*")) == before


def test_problems_that_are_alike_share_a_line_that_names_every_file(
    tmp_path: Path, sleepers: Path
) -> None:
    output = said(zarrts_command("convert", sleepers, tmp_path / "a.zarr", "--y", "stage"), 1)
    head, *lines = output.splitlines()
    assert head == "Error: Nothing was converted. 2 problems:"
    alike = ", ".join(f"s{i:02}.npz" for i in range(1, 14) if i != 9)
    assert lines == [
        f"  - {alike}: has no array 'stage', which y= names; it holds data (104, 16, 4) float64, "
        "labels (104,) <U2.",
        "  - s09.npz: has no array 'stage', which y= names; it holds data (100, 16, 4) float64, "
        "labels (100,) <U2.",
    ]


def test_debug_shows_where(study: Study, tmp_path: Path) -> None:
    result = zarrts_command("convert", study.folder, tmp_path / "a.zarr", "--dtype", "x", "--debug")
    assert isinstance(result.exception, zarrts.ZarrtsError)
    assert result.exit_code == 1


@pytest.mark.parametrize("error", [RuntimeError("surprise"), MemoryError("surprise")])
def test_error_that_nobody_expected_is_one_line(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(conversion, "run", fail)
    output = said(zarrts_command("convert", study.folder, tmp_path / "a.zarr"), 1)
    assert f"Error: {type(error).__name__}: surprise (--debug shows where)" in output
    result = zarrts_command("convert", study.folder, tmp_path / "a.zarr", "--debug")
    assert result.exception is error


def test_every_keyword_of_convert_is_an_option_and_defaults_agree() -> None:
    keywords = {
        name: it
        for name, it in inspect.signature(zarrts.convert).parameters.items()
        if it.kind is inspect.Parameter.KEYWORD_ONLY
    }
    options = {
        it.name: it for it in main.commands["convert"].params if isinstance(it, click.Option)
    }
    # --no-y is y=False, which a text cannot say.
    assert set(options) - {"dry_run", "debug", "no_y"} == set(keywords)
    parsed = main.commands["convert"].make_context("convert", ["subjects", "a.zarr"]).params
    for name, keyword in keywords.items():
        assert f"--{name.replace('_', '-')}" in options[name].opts
        is_size = name in ("memory", "chunk", "shard")
        assert parsed[name] == (parse_size(keyword.default, name) if is_size else keyword.default)
    for it in options.values():
        assert it.help


def test_options_reach_the_conversion(tmp_path: Path, study: Study) -> None:
    given = ["--channels", "Fz, Cz,Pz", "--rate-hz", "64", "--dtype", "float64", "--codec", "zstd"]
    given += ["--chunk", "1440B", "--shard", "3kB", "--workers", "2", "--no-progress"]
    given += ["--subject", r"^\w", "--x", "x", "--y", "y", "--memory", "100MiB", "--kind", "dense"]
    said(zarrts_command("convert", *given, study.folder, tmp_path / "a.zarr"), 0)
    with zarrts.open(tmp_path / "a.zarr") as opened:
        assert (opened.channels, opened.rate_hz) == (["Fz", "Cz", "Pz"], 64.0)
        assert (opened.dtype, opened.subjects) == (np.dtype("f8"), ["s"])
        spec = opened.header.segments[0].x
        assert (spec.chunk_rows, spec.shard_rows, spec.compressor["cname"]) == (10, 20, "zstd")
        np.testing.assert_array_equal(opened.samples.load()[0], study.all_x.astype("f8"))


def test_same_store_from_python_and_from_the_command(tmp_path: Path, study: Study) -> None:
    target = tmp_path / "a.zarr"
    options = {"rate_hz": 64, "channels": ["a", "b", "c"], "chunk": 1000, "shard": "2kB"}
    zarrts.convert(str(study.folder), target, progress=False, **options).close()
    given = ["--rate-hz", "64", "--channels", "a,b,c", "--chunk", "1000", "--shard", "2kB"]
    output = said(zarrts_command("convert", study.folder, target, *given), 0)
    assert "is complete already" in output


def test_overwrite_replaces(tmp_path: Path, study: Study, store: Path) -> None:
    target = shutil.copytree(store, tmp_path / "a.zarr")
    said(zarrts_command("convert", study.folder, target, "--overwrite"), 0)
    with zarrts.open(target) as opened:
        assert (opened.version, opened.channels) == (2, None)


# A real process ------------------------------------------------------------------------------


def test_command_is_silent_about_progress_and_warnings_in_a_pipe(
    tmp_path: Path, study: Study
) -> None:
    code = "from zarrts.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "convert", study.folder, tmp_path / "a.zarr"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "is complete. Train on it:" in done.stdout
    assert "\x1b" not in done.stdout


def test_installed_command_runs(store: Path) -> None:
    command = shutil.which("zarrts", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("zarrts is not installed beside this Python")
    done = subprocess.run([command, "info", store], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{store}, version 1")


# Each block of rows takes so many seconds, or until Ctrl-C comes.
SLOW = """
    import signal, sys, threading
    is_told, seconds = threading.Event(), float(sys.argv.pop())
    def interrupt(*args):
        is_told.set()
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, interrupt)  # a background job ignores it
    from zarrts.conversion.encoding import Measuring
    real = Measuring.add
    def add(self, *args):
        print("writing", flush=True)
        is_told.wait(seconds)
        return real(self, *args)
    Measuring.add = add
    from zarrts.cli import main
    main()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a single process")
def test_ctrl_c_ends_a_conversion_that_can_go_on(tmp_path: Path, study: Study) -> None:
    arguments = ["convert", study.folder, tmp_path / "a.zarr", "--chunk", "100", "--shard", "400"]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), *arguments, "--workers", "2", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "writing" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.split("\n") == [
        "Stopped. What is finished is kept; the same command goes on from there.",
        "",
    ]
    assert "is complete" not in output
    again = CliRunner().invoke(main, [str(it) for it in arguments])
    assert again.exit_code == 0
    assert "is complete. Train on it:" in again.output


# Progress ------------------------------------------------------------------------------------


def test_progress_is_shown_on_a_terminal(tmp_path: Path, study: Study) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    master, slave = pty.openpty()
    arguments = ["convert", study.folder, tmp_path / "a.zarr", "--chunk", "500", "--shard", "1000"]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), *arguments, "--workers", "1", "0.05"],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = b""
    with open(master, "rb", buffering=0) as terminal:
        while True:
            try:
                piece = terminal.read(4096)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not piece:
                break
            shown += piece
    assert process.wait(30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"convert .*\d\.\d/6\.5 kB", text)
    assert re.search(r"kB/s|bytes/s", text)


class Terminal:
    """Stands for stderr."""

    def __init__(self, is_terminal: bool) -> None:
        self.is_terminal = is_terminal
        self.written = ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("is_terminal", "wanted"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_progress_is_silent_elsewhere_and_where_unwanted(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, wanted: bool
) -> None:
    terminal = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress(10**6, 100, wanted) as on_rows:
        for _ in range(10):
            on_rows(10)
            time.sleep(0.01)
    assert bool(terminal.written) == (is_terminal and wanted)


def test_letters_that_the_terminal_lacks_do_not_end_a_command(tmp_path: Path) -> None:
    recording = zarrts.Recording("J\u00f6rg \u5c71", np.zeros((4, 5, 2), "f4"), np.arange(4) % 2)
    zarrts.convert([recording], tmp_path / "a.zarr", progress=False).close()
    done = subprocess.run(
        [sys.executable, "-m", "zarrts", "info", str(tmp_path / "a.zarr")],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"J\\xf6rg \\u5c71" in done.stdout


@pytest.mark.parametrize(
    ("others", "shown", "warned"),
    [
        ([".DS_Store", "Thumbs.db"], None, None),
        (["README.txt", "s9.pkl"], "passed over  README.txt, s9.pkl", "Warning: s9.pkl: not read."),
        ([f"n{i}.txt" for i in range(9)], "passed over  9 .txt", None),
        (
            [f"n{i}.c3d" for i in range(6)],
            "passed over  6 .c3d",
            "n3.c3d and 2 more: not read.",
        ),
    ],
)
def test_dry_run_says_which_files_are_passed_over(
    tmp_path: Path, others: list[str], shown: str | None, warned: str | None
) -> None:
    make_study(tmp_path / "subjects", sizes=[6, 6])
    for name in others:
        (tmp_path / "subjects" / name).write_bytes(b"")
    output = said(zarrts_command("convert", "--dry-run", tmp_path / "subjects"), 0)
    lines = output.splitlines()
    assert [it for it in lines if it.startswith("passed over")] == ([shown] if shown else [])
    assert ("not read" in output) == (warned is not None)
    assert warned is None or warned in output


def test_report_into_no_folder_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[6, 6])
    zarrts.convert(study.folder, tmp_path / "a.zarr", progress=False).close()
    output = said(
        zarrts_command("report", tmp_path / "a.zarr", "-o", tmp_path / "no" / "a.html"), 1
    )
    assert f"cannot be written into {tmp_path / 'no'}; choose another folder." in output


def test_what_is_shown_of_results_is_short(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[6, 6])
    with zarrts.convert(study.folder, tmp_path / "a.zarr", progress=False) as store:
        stats = store.samples.stats()
    flat = np.concatenate(study.x).reshape(-1, 3).astype(float)
    mean, std = (", ".join(f"{it:.4g}" for it in f(flat, axis=0)) for f in (np.mean, np.std))
    assert repr(stats) == f"<Statistics of 3 channels: mean {mean}; std {std}>"


def test_a_batch_shows_shapes_and_no_arrays(tmp_path: Path) -> None:
    study = make_study(tmp_path / "subjects", sizes=[6])
    with zarrts.convert(study.folder, tmp_path / "a.zarr", progress=False) as store:
        (batch,) = store.samples.batches(9, label_mode="int")
        assert repr(batch) == "<Batch of 6 samples: x (6, 6, 3) float32, y (6,) int32>"
        (batch,) = store.samples.batches(9, label_mode=None)
        assert repr(batch) == "<Batch of 6 samples: x (6, 6, 3) float32>"
