"""Stores of several inputs are appended to, repaired, compacted and resumed as those of one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import zarrts
from zarrts.cli import main

OPTIONS = {"x": ["acc", "hr", "age"], "y": "y", "progress": False}
SIZES = {"chunk": "2KiB", "shard": "8KiB"}


def write(folder, names, *, is_ragged, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir()
    study = {}
    for number, name in enumerate(names):
        n = 40 + 13 * number
        arrays = {
            "acc": rng.normal(size=(8 * n, 3) if is_ragged else (n, 20, 3)).astype("f4"),
            "hr": rng.normal(size=(n, 2)),
            "age": np.array([30.0 + number]),
            "y": rng.integers(0, 3, 8 * n if is_ragged else n),
        }
        np.savez(folder / f"{name}.npz", **arrays)
        study[name] = arrays
    return study


def options_of(is_ragged):
    more = {"kind": "ragged", "rate_hz": {"acc": 8, "hr": 1}} if is_ragged else {}
    return {**OPTIONS, **SIZES, **more}


def check(store, study):
    """Compare every sample with the arrays in memory."""
    assert store.subjects == list(study)
    for name, arrays in study.items():
        x, y = store.samples.select(subjects=[name]).load()
        if store.is_ragged:
            (acc,), (hr,), (y,) = x["acc"], x["hr"], y
        else:
            acc, hr = x["acc"], x["hr"]
            assert x["age"].shape == (len(y), 1)
        np.testing.assert_array_equal(acc, arrays["acc"])
        np.testing.assert_array_equal(hr, arrays["hr"].astype("f4"))
        np.testing.assert_array_equal(y, arrays["y"])
        assert (x["age"] == arrays["age"]).all()


@pytest.fixture(params=[True, False], ids=["ragged", "dense"])
def made(tmp_path, request):
    study = write(tmp_path / "first", ["s1", "s2", "s3"], is_ragged=request.param)
    store = zarrts.convert(tmp_path / "first", tmp_path / "a.zarr", **options_of(request.param))
    return store, study, request.param


def test_append_compact_and_remove_keep_every_sample(made, tmp_path):
    store, study, is_ragged = made
    check(store, study)
    more = write(tmp_path / "second", ["s4", "s5"], is_ragged=is_ragged, seed=1)
    store = zarrts.append(store.path, tmp_path / "second", progress=False)
    check(store, study | more)
    assert store.header.segments[1].inputs.keys() == {"acc", "hr", "age"}
    zarrts.compact(store.path, drop_versions=True, progress=False)
    store = zarrts.open(store.path)
    assert len(store.header.segments) == 1
    check(store, study | more)
    zarrts.remove(store.path, subject="s2")
    left = {name: it for name, it in (study | more).items() if name != "s2"}
    check(zarrts.open(store.path), left)
    assert zarrts.verify(store.path, deep=True).problems == ()


def test_damage_in_any_input_is_found_and_mended(made, tmp_path):
    store, study, is_ragged = made
    for name in ("acc", "hr", "age"):
        shard = next(it for it in Path(store.path, "0", "x", name, "c").rglob("*") if it.is_file())
        content = bytearray(shard.read_bytes())
        content[len(content) // 3] ^= 255
        shard.write_bytes(content)
        found = zarrts.verify(store.path, deep=True)
        assert any(f"0/x/{name}/" in str(it) for it in found.problems)
        if not (is_ragged and name == "age"):  # of which a sample needs one row only
            with pytest.raises(zarrts.ZarrtsError, match=f"0/x/{name}"):
                zarrts.open(store.path).samples.load()
        zarrts.repair(store.path, sources=tmp_path / "first")
        check(zarrts.open(store.path), study)
    found = zarrts.verify(store.path, deep=True, sources=tmp_path / "first")
    assert found.problems == ()


def test_the_same_study_gives_the_same_bytes(made, tmp_path):
    store, _, is_ragged = made
    zarrts.convert(tmp_path / "first", tmp_path / "b.zarr", **options_of(is_ragged)).close()
    every = [
        {
            str(it.relative_to(root)): it.read_bytes()
            for it in Path(root).rglob("*")
            if it.is_file() and it.name != "sources.json"
        }
        for root in (store.path, tmp_path / "b.zarr")
    ]
    assert every[0].keys() == every[1].keys()
    assert [name for name in every[0] if every[0][name] != every[1][name]] == []


def test_a_stopped_conversion_goes_on_and_gives_the_same(made, tmp_path, monkeypatch):
    store, study, is_ragged = made
    from zarrts.conversion import run as module

    def stops_before_publishing(*args):
        raise OSError("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(module, "publish", stops_before_publishing)
        with pytest.raises(zarrts.ZarrtsError, match="goes on from there"):
            zarrts.convert(tmp_path / "first", tmp_path / "b.zarr", **options_of(is_ragged))
    again = zarrts.convert(tmp_path / "first", tmp_path / "b.zarr", **options_of(is_ragged))
    check(again, study)
    assert again.header.write_id == store.header.write_id


def test_what_is_appended_needs_the_same_inputs(made, tmp_path):
    store, _, is_ragged = made
    write(tmp_path / "second", ["s4"], is_ragged=is_ragged, seed=1)
    with pytest.raises(zarrts.ZarrtsError, match=r"its inputs are acc, hr, but .* acc, age, hr"):
        zarrts.append(store.path, tmp_path / "second", x=["acc", "hr"], progress=False)


def test_the_command_has_a_line_for_each_input(made, tmp_path):
    store, _, is_ragged = made
    more = ["--kind", "ragged", "--rate-hz", "acc=8,hr=1"] if is_ragged else []
    given = [str(tmp_path / "first"), str(tmp_path / "b.zarr"), "--x", "acc,hr,age", "--y", "y"]
    said = CliRunner().invoke(main, ["convert", "--dry-run", *given, *more]).output
    shown = {line.split()[0]: line for line in said.splitlines() if line.startswith("  ")}
    assert shown.keys() == {"acc", "age", "hr"}
    assert "for all of a recording" in shown["age"]
    assert ("8 Hz" in shown["acc"]) == is_ragged
    assert not (tmp_path / "b.zarr").exists()
    said = CliRunner().invoke(main, ["info", store.path]).output
    assert all(name in said for name in ("acc", "age", "hr"))
    facts = json.loads(CliRunner().invoke(main, ["info", store.path, "--json"]).output)
    assert facts["dtype"] == {"acc": "float32", "age": "float32", "hr": "float32"}
    assert facts["sample_shape"]["acc"] == ([None, 3] if is_ragged else [20, 3])


def test_a_report_of_several_inputs(made, tmp_path):
    pytest.importorskip("matplotlib")
    store, _, _ = made
    result = CliRunner().invoke(main, ["report", store.path, "-o", str(tmp_path / "a.html")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "input acc" in page
    assert "acc channel 0" in page


def test_a_copy_in_another_place_opens(made, tmp_path):
    store, study, _ = made
    shutil.copytree(store.path, tmp_path / "copy.zarr")
    check(zarrts.open(tmp_path / "copy.zarr"), study)
