"""Packing while converting: what is packed, what is not, and stores that are packed in part."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from edf_files import write_raw_edf
from packed_studies import counted, recordings_of
from test_packing import same_batches, same_bits

import zarrts
from zarrts.cli import main
from zarrts.errors import PlanError

SIZES: dict[str, Any] = {"chunk": 1200, "shard": 4800, "progress": False}


def write_study(folder: Path, n_subjects: int = 3, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for it in recordings_of("dense", n_recordings=n_subjects, **options):
        np.savez(folder / f"{it.subject}.npz", x=it.x, y=it.y)
    return folder


def is_packed(store: zarrts.Store) -> list[bool]:
    return [it.x.packed is not None for it in store.header.segments]


def root_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "zarr.json").read_bytes())["attributes"]["zarrts"]
    return found


def every_file(path: Path) -> dict[str, bytes]:
    return {
        str(it.relative_to(path)): it.read_bytes()
        for it in sorted(path.rglob("*"))
        if it.is_file() and it.name not in ("stamps.json", "lock", ".lock")
    }


# What is packed --------------------------------------------------------------------------------


def test_an_older_version_refuses_a_packed_store_and_no_other(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    for pack, schema in (("auto", 2), (False, 1)):
        zarrts.convert(study, tmp_path / f"{pack}.zarr", pack=pack, **SIZES).close()
        root = root_of(tmp_path / f"{pack}.zarr")
        assert root["schema"] == schema
        assert root.get("needs") == (["packed"] if schema == 2 else None)


def test_values_of_no_converter_are_stored_as_with_pack_false(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    study = [zarrts.Recording("a", rng.normal(size=(30, 6, 2)).astype("f4"), np.zeros(30))]
    for name, pack in (("a.zarr", "auto"), ("b.zarr", False)):
        zarrts.convert(study, tmp_path / name, pack=pack, **SIZES).close()
    assert every_file(tmp_path / "a.zarr") == every_file(tmp_path / "b.zarr")


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes_are_stored_as_they_are_asked_for(tmp_path: Path, dtype: str) -> None:
    study = write_study(tmp_path / "study")
    store = zarrts.convert(study, tmp_path / "a.zarr", dtype=dtype, **SIZES)
    assert is_packed(store) == [False] and store.dtype == dtype


def test_integers_are_stored_as_integers(tmp_path: Path) -> None:
    x = np.arange(120, dtype=np.int32).reshape(10, 4, 3)
    store = zarrts.convert([zarrts.Recording("a", x, np.zeros(10))], tmp_path / "a.zarr", **SIZES)
    assert is_packed(store) == [False] and store.dtype == np.int32


def test_two_values_are_no_grid(tmp_path: Path) -> None:
    x = np.where(np.arange(60).reshape(10, 3, 2) % 3, 0.7312, -12.345).astype(np.float32)
    store = zarrts.convert([zarrts.Recording("a", x, np.zeros(10))], tmp_path / "a.zarr", **SIZES)
    assert is_packed(store) == [False]


def test_a_sign_of_zero_is_all_that_is_lost(tmp_path: Path) -> None:
    x = counted(np.random.default_rng(0), (40, 6, 3), 0.1, 0)
    x[x == 0] = 0.0
    x[5, 2, 1] = -0.0
    store = zarrts.convert([zarrts.Recording("a", x, np.zeros(40))], tmp_path / "a.zarr", **SIZES)
    assert is_packed(store) == [True]
    same_bits(store.samples.load()[0], x)


@pytest.mark.parametrize("values", [[np.inf], [-np.inf, np.nan]])
def test_infinite_values_have_no_count(tmp_path: Path, values: list[float]) -> None:
    x = counted(np.random.default_rng(0), (40, 6, 3), 0.1, 0)
    x.reshape(-1)[7 : 7 + len(values)] = values
    store = zarrts.convert([zarrts.Recording("a", x, np.zeros(40))], tmp_path / "a.zarr", **SIZES)
    assert is_packed(store) == [False]
    same_bits(store.samples.load()[0], x)


def test_a_value_off_the_grid_ends_packing_and_loses_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = counted(rng, (200_000, 4), 0.1, 0)
    x[30_000, 2] = np.float32(0.1234567)  # where no trial looks
    study = [
        zarrts.Recording("a", counted(rng, (200_000, 4), 0.1, 0), 0),
        zarrts.Recording("b", x, 1),
    ]
    message = (
        r"the value 0\.123456\d* of channel 2 is "
        "none of those that 16-bit counts can stand for here: the store holds values instead, "
        "and is as large as with pack=False"
    )
    with pytest.warns(UserWarning, match=message):
        store = zarrts.convert(study, tmp_path / "a.zarr", progress=False, shard="1MiB")
    assert is_packed(store) == [False] and root_of(tmp_path / "a.zarr")["schema"] == 1
    same_bits(np.concatenate(store.samples.load()[0]), np.concatenate([it.x for it in study]))
    zarrts.convert(study, tmp_path / "b.zarr", pack=False, progress=False, shard="1MiB").close()
    assert every_file(tmp_path / "a.zarr") == every_file(tmp_path / "b.zarr")
    # The same again finds it complete.
    again = zarrts.convert(study, tmp_path / "a.zarr", progress=False, shard="1MiB")
    assert again.version == 1


def test_one_study_gives_one_store(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", has_nan=True)
    for name, workers in (("a.zarr", 1), ("b.zarr", 3)):
        zarrts.convert(study, tmp_path / name, workers=workers, **SIZES).close()
    assert every_file(tmp_path / "a.zarr") == every_file(tmp_path / "b.zarr")
    assert zarrts.convert(study, tmp_path / "a.zarr", **SIZES).version == 1
    with pytest.raises(PlanError, match=r"pack was 'auto' and is None.*overwrite"):
        zarrts.convert(study, tmp_path / "a.zarr", pack=False, **SIZES)


def test_a_complete_store_of_values_is_complete_still(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    zarrts.convert(study, tmp_path / "a.zarr", pack=False, **SIZES).close()
    before = every_file(tmp_path / "a.zarr")
    assert is_packed(zarrts.convert(study, tmp_path / "a.zarr", **SIZES)) == [False]
    assert every_file(tmp_path / "a.zarr") == before
    assert is_packed(zarrts.convert(study, tmp_path / "a.zarr", overwrite=True, **SIZES)) == [True]


# With an error ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("pack", "error"), [(1e-3, 1e-3), ("0.5uV", 5e-4), ("1e-3", 1e-3)])
def test_values_are_rounded_by_at_most_the_error(tmp_path: Path, pack: Any, error: float) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 16, 3)) * [1, 3, 5] + [0, 400, -30]).astype(np.float32)
    x[7, 3, 1] = np.nan
    recording = zarrts.Recording("a", x, np.zeros(60), units="mV")
    store = zarrts.convert([recording], tmp_path / "a.zarr", pack=pack, **SIZES)
    assert is_packed(store) == [True]
    found = store.samples.load()[0]
    assert np.array_equal(np.isnan(found), np.isnan(x))
    away = np.nanmax(np.abs(found.astype("f8") - x))
    assert error / 2 < away <= error
    assert store.header.segments[0].x.packed.error == error
    assert not zarrts.verify(tmp_path / "a.zarr", deep=True).problems


def test_an_error_that_16_bits_do_not_reach_is_said(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 16, 3)).astype(np.float32) * 1e6
    (tmp_path / "s").mkdir()
    np.savez(tmp_path / "s/a.npz", x=x, y=np.zeros(60, int))
    run = CliRunner().invoke(
        main, ["convert", str(tmp_path / "s"), str(tmp_path / "a.zarr"), "--pack", "0.001"]
    )
    assert run.exit_code == 0, run.output
    assert "not within 0.001 in 16 bits, and so as it is" in run.output
    with zarrts.open(tmp_path / "a.zarr") as store:
        same_bits(store.samples.load()[0], x)


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        ("yes", "pack='yes' is unknown"),
        (0, "pack=0 is unknown"),
        (-1e-3, "largest error"),
        (True, "pack=True is unknown"),
        ("nan", "pack='nan' is unknown"),
        ("1e999", "pack='1e999' is unknown"),
        ("3 kg", "is an error in kg, but there are channels in 'uV'"),
        ([1], r"pack=\[1\] is unknown"),
    ],
)
def test_a_wrong_error_is_refused(tmp_path: Path, pack: Any, message: str) -> None:
    recording = zarrts.Recording("a", np.zeros((4, 3, 2), "f4"), np.zeros(4), units="uV")
    with pytest.raises(PlanError, match=message):
        zarrts.convert([recording], tmp_path / "a.zarr", pack=pack, **SIZES)


# EDF -------------------------------------------------------------------------------------------


def write_edf_study(folder: Path, limits: tuple[str, str] = ("-3276.8", "3276.7")) -> Path:
    rng = np.random.default_rng(0)
    for number in range(2):
        signals = [
            (
                f"c{channel}",
                np.concatenate([[-32768, 32767], rng.integers(-32768, 32768, 998)]),
                100,
                limits if channel else ("-187.5", "187.4"),
                (-32768, 32767),
            )
            for channel in range(3)
        ]
        write_raw_edf(folder / f"p{number}.edf", signals, [("+0", "10", "rest")])
    return folder


@pytest.mark.parametrize("channels", [None, ["c2"], ["c2", "c0"]])
def test_edf_is_stored_as_the_integers_it_holds(tmp_path: Path, channels: Any) -> None:
    study = write_edf_study(tmp_path / "study")
    options = {**SIZES, "channels": channels}
    packed = zarrts.convert(study, tmp_path / "packed.zarr", **options)
    plain = zarrts.convert(study, tmp_path / "plain.zarr", pack=False, **options)
    assert is_packed(packed) == [True] and is_packed(plain) == [False]
    assert packed.header.segments[0].x.packed.missing is None  # each count is a value
    for one, other in zip(packed.samples.load()[0], plain.samples.load()[0], strict=True):
        same_bits(one, other)
    same_batches(packed.samples.windows(16, label="last"), plain.samples.windows(16, label="last"))
    assert not zarrts.verify(tmp_path / "packed.zarr", deep=True, sources=study).problems
    shard = tmp_path / "packed.zarr/0/x/c/0/0"
    before = every_file(tmp_path / "packed.zarr")
    shard.write_bytes(shard.read_bytes()[:-30])
    zarrts.repair(tmp_path / "packed.zarr", sources=study)
    assert every_file(tmp_path / "packed.zarr") == before


def test_edf_in_other_units_is_read_as_the_values_that_it_has(tmp_path: Path) -> None:
    study = write_edf_study(tmp_path / "study")
    store = zarrts.convert(study, tmp_path / "a.zarr", units="mV", override=["units"], **SIZES)
    plain = zarrts.convert(
        study, tmp_path / "b.zarr", units="mV", override=["units"], pack=False, **SIZES
    )
    for one, other in zip(store.samples.load()[0], plain.samples.load()[0], strict=True):
        same_bits(one, other)


# A store of several parts ----------------------------------------------------------------------


def test_parts_that_are_packed_and_parts_that_are_not_are_one_store(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    study = write_study(tmp_path / "study", has_nan=True)
    more = [
        zarrts.Recording("t", rng.normal(size=(31, 6, 3)).astype("f4"), rng.integers(0, 3, 31)),
    ]
    third = recordings_of("dense", n_recordings=2, names="u", seed=9)
    for name, pack in (("packed.zarr", "auto"), ("plain.zarr", False)):
        zarrts.convert(study, tmp_path / name, pack=pack, **SIZES).close()
        zarrts.append(tmp_path / name, more, progress=False).close()
        zarrts.append(tmp_path / name, third, progress=False).close()
    packed, plain = zarrts.open(tmp_path / "packed.zarr"), zarrts.open(tmp_path / "plain.zarr")
    assert is_packed(packed) == [True, False, True] and is_packed(plain) == [False] * 3
    same_bits(packed.samples.load()[0], plain.samples.load()[0])
    for options in ({}, {"stats": "sample"}, {"dtype": "float64"}):
        same_batches(packed.samples, plain.samples, nan="fill", **options)
    assert not zarrts.verify(tmp_path / "packed.zarr", deep=True).problems

    zarrts.remove(tmp_path / "packed.zarr", subject="s1")
    zarrts.remove(tmp_path / "plain.zarr", subject="s1")
    packed, plain = zarrts.open(tmp_path / "packed.zarr"), zarrts.open(tmp_path / "plain.zarr")
    assert is_packed(packed) == [True, False, True]
    same_bits(packed.samples.load()[0], plain.samples.load()[0])
    assert not zarrts.verify(tmp_path / "packed.zarr", deep=True).problems
    zarrts.remove(tmp_path / "packed.zarr", subject="t")
    assert is_packed(zarrts.open(tmp_path / "packed.zarr")) == [True, True]


def test_what_is_added_to_a_store_of_values_are_values(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    zarrts.convert(study, tmp_path / "a.zarr", pack=False, **SIZES).close()
    zarrts.append(
        tmp_path / "a.zarr", recordings_of("dense", names="u", seed=9), progress=False
    ).close()
    assert is_packed(zarrts.open(tmp_path / "a.zarr")) == [False, False]
    assert root_of(tmp_path / "a.zarr")["schema"] == 1


def test_an_error_holds_for_what_is_added_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(40, 6, 3)).astype(np.float32) for _ in range(2)]
    y = np.zeros(40)
    zarrts.convert([zarrts.Recording("a", x[0], y)], tmp_path / "a.zarr", pack=1e-3, **SIZES)
    zarrts.append(tmp_path / "a.zarr", [zarrts.Recording("b", x[1], y)], progress=False)
    store = zarrts.open(tmp_path / "a.zarr")
    assert is_packed(store) == [True, True]
    assert 5e-4 < np.abs(store.samples.load()[0] - np.concatenate(x)).max() <= 1e-3


def test_damage_is_found_and_repaired(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", has_nan=True)
    zarrts.convert(study, tmp_path / "a.zarr", **SIZES).close()
    before = every_file(tmp_path / "a.zarr")
    shards = [it for it in (tmp_path / "a.zarr/0/x/c").rglob("*") if it.is_file()]
    assert len(shards) > 1
    for path in shards:
        content = bytearray(path.read_bytes())
        content[5] ^= 1
        path.write_bytes(bytes(content))
    assert zarrts.verify(tmp_path / "a.zarr", deep=True).problems
    zarrts.repair(tmp_path / "a.zarr", sources=study)
    assert every_file(tmp_path / "a.zarr") == before
    np.savez(
        study / "s1.npz", x=np.load(study / "s1.npz")["x"] + 1, y=np.load(study / "s1.npz")["y"]
    )
    assert zarrts.verify(tmp_path / "a.zarr", sources=study).problems


def test_changed_sources_of_a_complete_store_are_refused(tmp_path: Path) -> None:
    x = counted(np.random.default_rng(0), (60, 6, 3), 0.1, 0)
    zarrts.convert([zarrts.Recording("a", x, np.zeros(60))], tmp_path / "a.zarr", **SIZES).close()
    zarrts.convert([zarrts.Recording("a", x, np.zeros(60))], tmp_path / "a.zarr", **SIZES).close()
    x[31, 2, 1] += 0.5
    with pytest.raises(PlanError, match="overwrite"):
        zarrts.convert([zarrts.Recording("a", x, np.zeros(60))], tmp_path / "a.zarr", **SIZES)


_KILLED = """
import os, sys
import zarrts
from zarrts.storage import journal
add, done = journal.JournalWriter.add, []
def adding(self, task):
    add(self, task)
    done.append(task)
    if len(done) == 2:
        os._exit(9)
journal.JournalWriter.add = adding
zarrts.convert(sys.argv[1], sys.argv[2], chunk=1200, shard=4800, progress=False, workers=1)
"""


def test_a_killed_conversion_goes_on(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", has_nan=True)
    command = [sys.executable, "-c", _KILLED, str(study), str(tmp_path / "a.zarr")]
    assert subprocess.run(command, env=os.environ.copy(), check=False).returncode == 9
    assert (tmp_path / "a.zarr/unfinished.journal").exists()
    zarrts.convert(study, tmp_path / "a.zarr", **SIZES).close()
    zarrts.convert(study, tmp_path / "b.zarr", **SIZES).close()
    assert every_file(tmp_path / "a.zarr") == every_file(tmp_path / "b.zarr")


# What is said ----------------------------------------------------------------------------------


def test_the_dry_run_and_info_say_how_values_are_stored(tmp_path: Path) -> None:
    study, target = str(write_study(tmp_path / "study")), str(tmp_path / "a.zarr")

    def run(*arguments: str) -> str:
        found = CliRunner().invoke(main, arguments)
        assert found.exit_code == 0, found.output
        return found.output

    assert "float32, in 16 bits without loss" in run("convert", study, target, "--dry-run")
    assert "in 16 bits" not in run("convert", study, target, "--dry-run", "--pack", "no")
    run("convert", study, target)
    assert "stored    in 16 bits without loss" in run("info", target)
    packed = json.loads(run("info", target, "--json"))["packed"]
    assert packed == {"n_parts": 1, "all": True, "largest_error": 0.0, "has_one_scale": False}
    shutil.rmtree(target)
    run("convert", study, target, "--pack", "no")
    assert json.loads(run("info", target, "--json"))["packed"] is None


def test_verify_compares_exact_statistics_of_values_that_were_rounded(tmp_path: Path) -> None:
    # The mean of float32 values near 0 is that of exact ones only to the rounding of the largest.
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        x = (random.integers(-2000, 2000, (52, 6, 2)) * 0.1).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=random.integers(0, 3, len(x)))
    store = zarrts.convert(tmp_path, tmp_path / "a.zarr", **SIZES)
    assert is_packed(store) == [True]
    assert not zarrts.verify(tmp_path / "a.zarr", deep=True).problems
