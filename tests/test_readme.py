"""README.md holds: its snippets run, its outputs and messages are those of the package."""

import errno
import inspect
import os
import re
import runpy
import shlex
import warnings
from collections.abc import Callable
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts.cli import main
from zarrts.conversion import run as conversion
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare
from zarrts.conversion.prepared import Prepared

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# A newcomer's first hour does without these.
WORDS_OF_THE_INSIDE = ("chunk", "shard", "segment", "span", "dask", "manifest")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def table_under(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines[2:]]


def make_subjects(folder: Path, **options: Any) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "make_subjects.py"))
    example["make_subjects"](folder, time=32, channels=4, **options)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the files that README.md names."""
    make_subjects(tmp_path / "subjects", subjects=5, samples=8000)
    make_subjects(tmp_path / "new_subjects", subjects=2, samples=800, seed=1)
    make_subjects(tmp_path / "more_subjects", subjects=2, samples=800, seed=2)
    for name in ("s01", "s02"):
        (tmp_path / "more_subjects" / f"{name}.npz").rename(
            tmp_path / "more_subjects" / f"new-{name}.npz"
        )
    for name in ("anna", "bob"):
        rng = np.random.default_rng(len(name))
        np.save(tmp_path / f"{name}-eeg.npy", rng.normal(size=(20, 8, 2)))
        np.save(tmp_path / f"{name}-sleep.npy", np.arange(20) % 4)
    (tmp_path / "nights").mkdir()
    for name, length in (("n1", 520), ("n2", 500), ("n3", 599)):
        rng = np.random.default_rng(length)
        night = {"x": rng.normal(size=(length, 2)), "y": np.arange(length) // 100 % 3}
        np.savez(tmp_path / "nights" / f"{name}.npz", **night)
    monkeypatch.chdir(tmp_path)
    # The command replaces it for its own process.
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    return tmp_path


def test_python_snippets_run_in_order(study, capsys):
    pytest.importorskip("keras", exc_type=ImportError)
    names: dict[str, Any] = {}
    for number, code in enumerate(blocks("python"), start=1):
        exec(compile(code, f"README.md, snippet {number}", "exec"), names)
    names["seq"].close()
    names["night_seq"].close()
    assert names["store"].n_samples == 8000
    assert names["sleep"].subjects == ["anna", "bob"]
    assert len(names["predicted"]) == 800
    assert len(names["train_windows"]) + len(names["test_windows"]) == 3 * 4
    assert names["night_seq"][0][0].shape == (8, 200, 2)
    folds = re.findall(r"^\['(s\d\d)'\] .*accuracy", capsys.readouterr().out, re.MULTILINE)
    assert folds == ["s01", "s02", "s03", "s04", "s05"]


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Return each command that runs zarrts, and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    assert all(command.startswith("zarrts ") for command, _ in found)
    return found


def pattern(line: str) -> str:
    """Return what matches a line with other numbers, and other units of size and time."""
    parts = re.split(r"(\d[\d,.]*)( (?:kB|MB|GB|TB|s|min|h)\b)?", line)
    text, numbers, units = parts[::3], parts[1::3], parts[2::3]
    out = re.escape(text[0])
    for number, unit, rest in zip(numbers, units, text[1:], strict=True):
        # Names such as s03 keep their numbers.
        is_name = re.search(r"[A-Za-z]$", out) is not None
        out += re.escape(number) if is_name else r"-?\d[\d,.]*"
        if unit:
            out += " (kB|MB|GB|TB)" if unit.endswith("B") else " (s|min|h)"
        out += re.escape(rest)
    return out


@pytest.mark.parametrize("block", blocks("console"), ids=lambda it: it.splitlines()[0])
def test_commands_print_what_the_readme_shows(study, block):
    for command, expected in commands(block):
        words = shlex.split(command)[1:]
        if words[0] == "demo":
            for needed in ("keras", "matplotlib", "seglearn"):
                if find_spec(needed) is None:
                    pytest.skip(f"the demo needs {needed}")
            words += ["--epochs", "2"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        lines = result.output.splitlines()
        if expected:
            assert len(lines) == len(expected), result.output
        for line, shown in zip(lines, expected, strict=False):
            assert re.fullmatch(pattern(shown), line), f"{line!r} is not like {shown!r}"
        if "--dry-run" in words:
            assert not (study / "study.zarr").exists()


def test_pattern_allows_other_numbers_and_nothing_else():
    shown = pattern("s07: 0.78 correct, reads 1.0 GB, about 2 s")
    assert re.fullmatch(shown, "s07: 0.8 correct, reads 12 MB, about 13 min")
    assert not re.fullmatch(shown, "s08: 0.8 correct, reads 12 MB, about 13 min")
    assert not re.fullmatch(shown, "s07: 0.8 right, reads 12 MB, about 13 min")


def test_readme_says_nothing_of_the_inside():
    found = [word for word in WORDS_OF_THE_INSIDE if re.search(rf"\b{word}s?\b", README, re.I)]
    assert not found


def test_extras_exist():
    asked = {name for it in re.findall(r"'\.\[([a-z,]+)\]'", README) for name in it.split(",")}
    assert {"demo", "jax", "torch"} <= asked
    assert asked <= set(metadata("zarrts").get_all("Provides-Extra") or [])


def test_memory_of_the_readme_is_the_default():
    pytest.importorskip("keras", exc_type=ImportError)
    shown = dict(re.findall(r"`(convert|ZarrSequence)\(\.\.\., memory=\"(\w+)\"\)`", README))
    functions: dict[str, Callable[..., Any]] = {
        "convert": zarrts.convert,
        "ZarrSequence": zarrts.ZarrSequence,
    }
    defaults = {
        name: inspect.signature(function).parameters["memory"].default
        for name, function in functions.items()
    }
    assert shown == defaults


# Labels and losses ------------------------------------------------------------------------------

CODES = np.arange(48) % 3
LABELS: dict[str, list[np.ndarray[Any, Any]]] = {
    "text, integers, true or false": [np.array(["W", "N1", "R"])[CODES], CODES + 5, CODES == 1],
    "the same": [np.array(["W", "N1", "R"])[CODES], CODES + 5, CODES == 1],
    "the same, two classes": [np.array(["W", "S", "W"])[CODES], CODES % 2, CODES == 1],
    "rows with a single 1": [np.eye(3, dtype=np.uint8)[CODES], np.eye(3)[CODES]],
    "fractions": [CODES / 7, (CODES / 7).astype(np.float32)],
    "integers that are not classes, such as ages": [CODES + 20],
}
LOSS_ROWS = table_under("Labels and losses")


def test_table_of_losses_is_that_of_the_tests():
    assert [row[0] for row in LOSS_ROWS] == list(LABELS)


@pytest.mark.parametrize(
    ("row", "y"),
    [(row, y) for row in LOSS_ROWS for y in LABELS[row[0]]],
    ids=[f"{row[0]}-{y.dtype}" for row in LOSS_ROWS for y in LABELS[row[0]]],
)
def test_loss_fits_the_label_mode(tmp_path, row, y):
    keras = pytest.importorskip("keras", exc_type=ImportError)
    _, mode, loss, layer = (cell.replace("`", "") for cell in row)
    rng = np.random.default_rng(0)
    recordings = [
        zarrts.Recording(name, rng.normal(size=(len(y), 6, 2)).astype(np.float32), y)
        for name in ("s01", "s02")
    ]
    store = zarrts.convert(recordings, tmp_path / "study.zarr", progress=False)
    wanted = re.findall(r'"(\w+)"', mode)
    with zarrts.ZarrSequence(store, batch_size=20, label_mode=wanted[0]) as seq:
        assert seq.label_mode == wanted[-1]
        last = eval(layer, {"Dense": keras.layers.Dense, "store": store})
        shape = keras.layers.Input(store.sample_shape)
        model = keras.Sequential([shape, keras.layers.Flatten(), last])
        model.compile("sgd", loss)
        assert model.output_shape[1:] == (1,) or model.output_shape[1:] == (store.n_classes,)
        assert np.isfinite(model.fit(seq, verbose=0).history["loss"]).all()


# Errors and remedies ----------------------------------------------------------------------------


def save(folder: Path, **files: tuple[np.ndarray[Any, Any], ...]) -> Path:
    folder.mkdir()
    for name, arrays in files.items():
        np.savez(folder / f"{name}.npz", **dict(zip(("data", "labels"), arrays, strict=True)))
    return folder


def random(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape)


def convert(folder: Path, **options: Any) -> zarrts.Store:
    return zarrts.convert(folder, folder.with_suffix(".zarr"), progress=False, **options)


def two_nights(tmp: Path) -> None:
    y = np.arange(9) % 2
    nights = {f"s01_night{i}": (random(9, 8, 2, seed=i), y) for i in (1, 2)}
    convert(save(tmp / "nights", **nights))


def two_readings(tmp: Path) -> None:
    convert(save(tmp / "flat", s01=(random(9, 8), np.arange(9) % 2)))


def unequal(tmp: Path) -> None:
    y = np.arange(9) % 2
    convert(save(tmp / "unequal", s01=(random(9, 8, 2), y), s02=(random(9, 7, 2), y)))


def unpadded(tmp: Path) -> None:
    recordings = [zarrts.Recording(f"s{n}", random(n, 2), n % 3) for n in (800, 2000)]
    zarrts.convert(recordings, tmp / "unpadded.zarr", progress=False).samples.batches(2)


def unclear(tmp: Path) -> None:
    (tmp / "unclear").mkdir()
    np.savez(tmp / "unclear" / "s01.npz", eeg=random(9, 8, 2), sleep=np.arange(9) % 2)
    convert(tmp / "unclear")


def copies(tmp: Path) -> None:
    one = (random(9, 8, 2), np.arange(9) % 2)
    convert(save(tmp / "copies", s01=one, s02=one))


def dry_run(tmp: Path) -> None:
    save(tmp / "doubles", s01=(random(9, 8, 2), np.arange(9) % 2))
    result = CliRunner().invoke(
        main, ["convert", "--dry-run", str(tmp / "doubles"), str(tmp / "doubles.zarr")]
    )
    raise RuntimeError(result.output)


def other_options(tmp: Path) -> None:
    folder = save(tmp / "others", s01=(random(9, 8, 2), np.arange(9) % 2))
    convert(folder)
    convert(folder, codec="zstd")


def stop_after(n_blocks: int, error: BaseException) -> Callable[[int], None]:
    left = iter(range(n_blocks))

    def on_rows(n_rows: int) -> None:
        if next(left, None) is None:
            raise error

    return on_rows


def prepared(folder: Path, **options: Any) -> Prepared:
    return prepare(folder, folder.with_suffix(".zarr"), ConvertOptions(workers=1, **options))


def other_unfinished(tmp: Path) -> None:
    folder = save(tmp / "unfinished", s01=(random(90, 8, 2), np.arange(90) % 2))
    sizes = {"chunk_bytes": 640, "shard_bytes": 1280}
    with pytest.raises(ZeroDivisionError):
        conversion.run(prepared(folder, **sizes), stop_after(5, ZeroDivisionError()))
    convert(folder, codec="zstd")


def two_at_once(tmp: Path) -> None:
    folder = save(tmp / "twice", s01=(random(9, 8, 2), np.arange(9) % 2))
    conversion.run(prepared(folder), lambda n_rows: convert(folder).close())


def full_disk(tmp: Path) -> None:
    folder = save(tmp / "full", s01=(random(9, 8, 2), np.arange(9) % 2))
    conversion.run(prepared(folder), stop_after(0, OSError(errno.ENOSPC, "no space")))


def changed_source(tmp: Path) -> None:
    folder = save(tmp / "changed", s01=(random(9, 8, 2), np.arange(9) % 2))
    conversion.run(prepared(folder), lambda n_rows: os.utime(folder / "s01.npz", (1, 1)))


def damaged(tmp: Path, *, swap: bool) -> None:
    folder = save(tmp / "damaged", s01=(random(80, 8, 2), np.arange(80) % 2))
    store = convert(folder, chunk=640, shard=640, codec="none")
    first, second = (folder.with_suffix(".zarr") / "0" / "x" / "c" / n / "0" / "0" for n in "01")
    content = bytearray(first.read_bytes())
    content[7] ^= 1
    first.write_bytes(second.read_bytes() if swap else content)
    store.samples.load()


def replaced(tmp: Path) -> None:
    folder = save(tmp / "replaced", s01=(random(9, 8, 2), np.arange(9) % 2))
    store = convert(folder)
    convert(folder, codec="zstd", overwrite=True)
    store.samples.load()


def too_little(tmp: Path) -> None:
    folder = save(tmp / "little", s01=(random(9, 8, 2), np.arange(9) % 2))
    convert(folder, memory="1MiB")


def sources_for_a_store(tmp: Path) -> None:
    pytest.importorskip("keras", exc_type=ImportError)
    zarrts.ZarrSequence(save(tmp / "files", s01=(random(9, 8, 2), np.arange(9) % 2)))


def missing_class(tmp: Path) -> None:
    store = convert(
        save(
            tmp / "classes",
            s01=(random(9, 8, 2), np.arange(9) % 2),
            s02=(random(9, 8, 2, seed=1), np.arange(9) % 3),
        )
    )
    store.samples.split(test=["s02"])


def fit(tmp: Path, **options: Any) -> None:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    store = convert(save(tmp / "fit", s01=(random(9, 8, 2), np.arange(9) % 2)))
    layers = [keras.layers.Input((8, 2)), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    with zarrts.ZarrSequence(store) as seq:
        model.fit(seq, verbose=0, **options)


def shuffled_labels(tmp: Path) -> None:
    pytest.importorskip("keras", exc_type=ImportError)
    folder = save(tmp / "shuffled", s01=(random(9, 8, 2), np.arange(9) % 2))
    with zarrts.ZarrSequence(convert(folder)) as seq:
        seq.labels  # noqa: B018


ERRORS: dict[str, Callable[[Path], None] | None] = {
    "No matching distribution found for tensorflow": None,  # what pip says
    "No module named 'tensorflow'": None,  # and Keras, where another backend is installed
    "these names look like several sessions of one person": two_nights,
    "can be read in two ways": two_readings,
    "cut or pad all series to one length": unequal,
    "a batch is one array: pad them": unpadded,
    "it is not clear which array is the": unclear,
    "the same content under 2 names": copies,
    "float64 -> float32": dry_run,
    "is a store of other sources or options": other_options,
    "holds an unfinished conversion of other sources or options": other_unfinished,
    "another conversion is writing to it": two_at_once,
    "the disk is full": full_disk,
    "changed while it was converted": changed_source,
    "does not match its checksum": lambda tmp: damaged(tmp, swap=False),
    "is not what was written there": lambda tmp: damaged(tmp, swap=True),
    "is not there any more": replaced,
    "is too little": too_little,
    "holds source files, not a store": sources_for_a_store,
    "The training part has no sample of class": missing_class,
    "validation_split is only supported for tensors": lambda tmp: fit(tmp, validation_split=0.2),
    "y should not be passed": lambda tmp: fit(tmp, y=np.zeros(9)),
    "sample_weights should not be passed": lambda tmp: fit(tmp, sample_weight=np.ones(9)),
    "of a shuffled sequence have no fixed order": shuffled_labels,
}


def test_table_of_errors_is_that_of_the_tests():
    shown = [re.findall(r"`([^`]+)`", row[0]) for row in table_under("Errors and remedies")]
    assert [message for row in shown for message in row] == list(ERRORS)


@pytest.mark.parametrize("message", [message for message, cause in ERRORS.items() if cause])
def test_error_says_what_the_readme_quotes(tmp_path, message):
    cause = ERRORS[message]
    assert cause is not None
    with pytest.raises((zarrts.ZarrtsError, ValueError, RuntimeError, UserWarning)) as error:
        cause(tmp_path)
    assert message in str(error.value).replace("`", "")
