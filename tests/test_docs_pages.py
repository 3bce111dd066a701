"""The pages that are read from top to bottom: each block runs as written, and prints what follows.

A block of text shows what the Python block before it prints, a line of a console what the command
does; numbers may differ, and units of size and time.
"""

import contextlib
import io
import re
import shlex
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_study
from test_readme import commands, pattern

import zarrts
import zarrts.store
from zarrts.cli import main
from zarrts.loops import library

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def assert_prints(said: str, shown: str) -> None:
    """Compare lines; three dots stand for any lines."""
    lines = shown.splitlines()
    wanted = "".join(r"(?:.*\n)*?" if it == "..." else pattern(it) + r"\n" for it in lines)
    assert re.fullmatch(wanted, said), f"{said!r} is not like {shown!r}"


def run_page(name: str, scope: dict[str, Any]) -> None:
    """Run each block of a page in the working folder."""
    said = ""
    blocks = BLOCK.findall((DOCS / name).read_text(encoding="utf-8"))
    assert blocks
    for language, block in blocks:
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
                warnings.simplefilter("error")
                # Of Keras with TensorFlow, when a network is saved.
                warnings.simplefilter("ignore", DeprecationWarning)
                exec(compile(block, f"docs/{name}", "exec"), scope)
            said = out.getvalue()
        elif language == "console":
            for command, shown in commands(block):
                result = CliRunner().invoke(main, shlex.split(command)[1:])
                assert result.exit_code == 0, result.output
                if shown:
                    assert_prints(result.output, "".join(f"{it}\n" for it in shown))
        elif language == "text":
            assert_prints(said, block)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # The command replaces it for its own process.
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    return tmp_path


@pytest.mark.parametrize("name", ["report.md", "view.md", "scores.md"])
def test_pages_of_pictures(folder: Path, name: str) -> None:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    pytest.importorskip("matplotlib", reason="pictures need the extra plot")
    pytest.importorskip("pandas", exc_type=ImportError)

    def build_network(store: zarrts.Store) -> Any:
        layers = keras.layers
        shape = layers.Input(store.sample_shape)
        model = keras.Sequential([shape, layers.Flatten(), layers.Dense(store.n_classes)])
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        return model

    study = make_study(folder / "subjects", sizes=[40, 40, 40])
    # Labels that can be learnt, so that no score is below 0.
    for subject, x, y in zip(study.names, study.x, study.y, strict=True):
        easy = x * np.float32(0.01) + y[:, None, None].astype("f4")
        np.savez(study.folder / f"{subject}.npz", x=easy, y=y)
    with zarrts.convert(study.folder, "study.zarr", progress=False) as store:
        run_page(name, {"zarrts": zarrts, "store": store, "build_network": build_network})
    if name != "report.md":
        assert (folder / "results.npz").is_file()
        return
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert {"Split", "Results"} <= set(re.findall("<h2>(.*?)</h2>", page))


def test_first_hour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step, as written; only the installation is that of the tests."""
    monkeypatch.setattr(library, "describe", lambda: "compiled")  # with or without a compiler
    pytest.importorskip("keras", exc_type=ImportError)
    pytest.importorskip("matplotlib", reason="pictures need the extra plot")
    run_page("first_hour.md", {})
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("name", ["from_keras.md", "store.md"])
def test_page_from_top_to_bottom(folder: Path, name: str) -> None:
    pytest.importorskip("keras", exc_type=ImportError)
    run_page(name, {})


def test_steps(folder: Path) -> None:
    (folder / "nights").mkdir()
    for number, (rate, channels) in enumerate(
        [(128, ["C3", "C4", "A1"]), (160, ["A1", "C3", "EOG", "C4"]), (100, ["c3", "C4", "A1"])]
    ):
        x = np.random.default_rng(number).normal(0, 20, (60 * rate, len(channels)))
        y = np.array(["W", "N2"])[np.arange(60 * rate) // (30 * rate)]
        save = {"x": x.astype("f4"), "y": y, "ch_names": channels, "units": "uV", "fs": rate}
        np.savez(folder / "nights" / f"s{number}.npz", **save)
    run_page("steps.md", {})


def test_choosing(folder: Path) -> None:
    study = make_study(folder / "subjects", sizes=[40, 40])
    zarrts.convert(study.folder, "study.zarr", progress=False).close()
    run_page("choosing.md", {})


def test_api_page_has_every_public_name() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = [it.rpartition(".") for it in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    found = {name for _, _, name in shown}
    for module, _, name in shown:
        assert hasattr(import_module(module), name) or import_module(f"{module}.{name}")
    errors = {name for name in zarrts.__all__ if name.endswith("Error")}
    assert set(zarrts.__all__) - errors - {"open"} <= found
    assert {"open_store", "errors"} <= found


def test_site_has_only_pages_that_exist() -> None:
    site = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- (\S+\.md)$", site, re.MULTILINE)
    assert len(named) >= 12
    assert [name for name in named if not (DOCS / name).is_file()] == []


PUBLIC_CLASSES = ("Samples", "Store", "Split", "ZarrSequence")
# Of Keras' data set, and what tuples have.
NOT_OURS = {"on_epoch_begin", "on_epoch_end", "num_batches", "count", "index"}
INTERNAL = {"Samples": {"selection"}, "Store": zarrts.store._INTERNAL, "ZarrSequence": {"alike"}}


@pytest.mark.parametrize("name", PUBLIC_CLASSES)
def test_the_reference_shows_each_public_method_and_no_other(name: str) -> None:
    page = DOCS.parent / "site" / "api" / "index.html"
    if not page.exists():
        pytest.skip("the site is built by tox -e docs")
    if name == "ZarrSequence":
        pytest.importorskip("keras", exc_type=ImportError)
    found = getattr(zarrts, name)
    shown = set(re.findall(rf'id="{found.__module__}\.{name}\.(\w+)"', page.read_text("utf-8")))
    public = {it for it in dir(found) if not it.startswith("_")}
    of_keras = {"workers", "use_multiprocessing", "max_queue_size"}
    assert shown - of_keras == public - NOT_OURS - INTERNAL.get(name, set()) - of_keras
    assert len(shown) > 1


def test_page_of_several_inputs(folder: Path) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("xarray")
    rng = np.random.default_rng(0)
    Path("people").mkdir()
    for number, name in enumerate(["anna", "bert", "cleo"]):
        seconds = 60 + 10 * number
        np.savez(
            f"people/{name}.npz",
            acc=rng.normal(size=(50 * seconds, 3)).astype("float32"),
            hr=rng.normal(size=(seconds, 1)).astype("float32"),
            age=np.array([30.0 + number]),
            activity=rng.choice(["rest", "walk"], 50 * seconds),
        )
    scope: dict[str, Any] = {}
    run_page("inputs.md", scope)
    scope["seq"].close()
    scope["store"].close()
