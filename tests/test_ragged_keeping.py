"""A ragged store is resumed, extended, checked, repaired and thinned out as a dense one is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from click.testing import CliRunner

import zarrts
from zarrts.cli import main
from zarrts.conversion import recordwise, tasks
from zarrts.conversion import run as conversion
from zarrts.errors import SourceError

LENGTHS = (9, 0, 1, 30, 12, 1, 17)
SUBJECTS = ("a", "a", "b", "c", "b", "d", "c")
TEXTS = np.array(["W", "N1", "REM", ""])
SIZES = {"chunk": 60, "shard": 120, "workers": 2, "progress": False}  # 5 rows, 10 rows
PER = pytest.mark.parametrize("labels_per", ["row", "recording"])


def labels_of(labels_per: str, length: int, number: int) -> Any:
    if labels_per == "recording":
        return TEXTS[number % 3]
    return TEXTS[np.random.default_rng(number).integers(0, 4, length)]


def sources(labels_per: str, numbers: range = range(len(LENGTHS))) -> list[zarrts.Recording]:
    """Recordings of unequal lengths, several of some subjects."""
    return [
        zarrts.Recording(
            SUBJECTS[n],
            np.random.default_rng(n).normal(size=(LENGTHS[n], 3)).astype("f4"),
            labels_of(labels_per, LENGTHS[n], n),
        )
        for n in numbers
    ]


def make(target: Path, labels_per: str, **options: Any) -> Path:
    with zarrts.convert(sources(labels_per), target, kind="ragged", **{**SIZES, **options}):
        return target


def contents(target: Path) -> dict[str, bytes]:
    """Return every file of a store, by its path."""
    return {
        it.relative_to(target).as_posix(): it.read_bytes()
        for it in target.rglob("*")
        if it.is_file()
    }


def array(target: Path, path: str) -> np.ndarray:
    return np.asarray(zarr.open_array(str(target / path), mode="r")[:])


def codes(labels: list[Any], names: list[Any]) -> list[int]:
    """Return positions among names, -1 for empty text."""
    flat = [str(it) for one in labels for it in np.atleast_1d(one)]
    return [names.index(it) if it else -1 for it in flat]


# Again and more ---------------------------------------------------------------------------------


@PER
@pytest.mark.parametrize("n_done", [0, 4])
def test_what_was_begun_is_finished_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels_per: str, n_done: int
) -> None:
    whole = contents(make(tmp_path / "whole.zarr", labels_per))
    left = [n_done]
    finish = conversion.JournalWriter.add

    def add(self: Any, task: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        finish(self, task)

    with monkeypatch.context() as patch:
        patch.setattr(conversion.JournalWriter, "add", add)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "a.zarr", labels_per, workers=1)
    assert not (tmp_path / "a.zarr" / "zarr.json").exists()
    counted: list[int] = []
    write = tasks._write

    def counting(job: Any, task: Any) -> Any:
        counted.append(task.shard)
        return write(job, task)

    monkeypatch.setattr(tasks, "_write", counting)
    make(tmp_path / "a.zarr", labels_per)
    assert len(counted) == 7 - n_done
    assert contents(tmp_path / "a.zarr") == whole


@PER
def test_interruption_before_the_small_arrays_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels_per: str
) -> None:
    whole = contents(make(tmp_path / "whole.zarr", labels_per))

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recordwise, "write_one_chunk", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "a.zarr", labels_per)
    make(tmp_path / "a.zarr", labels_per)
    assert contents(tmp_path / "a.zarr") == whole


@PER
def test_converting_again_finds_the_store_complete(tmp_path: Path, labels_per: str) -> None:
    target = make(tmp_path / "a.zarr", labels_per)
    before = {it: it.stat().st_mtime_ns for it in target.rglob("*")}
    make(target, labels_per)
    assert {it: it.stat().st_mtime_ns for it in target.rglob("*")} == before


@PER
def test_recordings_are_added_and_old_versions_stay(tmp_path: Path, labels_per: str) -> None:
    target = tmp_path / "a.zarr"
    first, then = sources(labels_per, range(3)), sources(labels_per, range(3, 7))
    # Whose subjects are known already: that it is meant is said by the subject of a Recording.
    zarrts.convert(first, target, kind="ragged", **SIZES).close()
    with zarrts.append(target, then, workers=2, progress=False) as store:
        assert (store.kind, store.n_samples, store.version) == ("ragged", 7, 2)
        assert [it.n_rows for it in store.recordings] == list(LENGTHS)
        assert [(it.start, it.stop) for it in store.recordings] == [(i, i + 1) for i in range(7)]
        assert store.catalog.row_starts.tolist() == np.cumsum([0, *LENGTHS]).tolist()
        names = store.class_names
    assert names is not None
    for part, some in (("0", first), ("1", then)):
        np.testing.assert_array_equal(
            array(target, f"{part}/x"), np.concatenate([it.x for it in some])
        )
        assert array(target, f"{part}/y").tolist() == codes([it.y for it in some], names)
    with zarrts.open(target, version=1) as store:
        assert store.n_samples == 3
    assert zarrts.verify(target, deep=True).problems == ()


def test_what_does_not_fit_the_store_is_not_added(tmp_path: Path) -> None:
    rows, whole = make(tmp_path / "a.zarr", "row"), make(tmp_path / "b.zarr", "recording")
    before = contents(rows), contents(whole)
    x = np.ones((4, 3), "f4")
    per_row = zarrts.Recording("z", x, np.array(["W"] * 4))
    with pytest.raises(SourceError, match="has one label for each recording, but the store has"):
        zarrts.append(rows, zarrts.Recording("z", x, "W"), progress=False)
    with pytest.raises(SourceError, match="has one label for each row, but the store has one"):
        zarrts.append(whole, per_row, progress=False)
    with pytest.raises(SourceError, match=r"rows of shape \(2,\), but the store's have \(3,\)"):
        zarrts.append(whole, zarrts.Recording("z", x[:, :2], "W"), progress=False)
    assert before == (contents(rows), contents(whole))


def test_a_recording_of_one_row_has_the_label_that_the_store_has(tmp_path: Path) -> None:
    one = zarrts.Recording("z", np.full((1, 3), 7, "f4"), np.array(["W"]))
    for labels_per in ("row", "recording"):
        target = make(tmp_path / f"{labels_per}.zarr", labels_per)
        with zarrts.append(target, one, progress=False) as store:
            assert store.header.segments[1].labels_per == labels_per
        found = zarrts.verify(target, deep=True, sources=[*sources(labels_per), one])
        assert found.problems == ()


# Damage ---------------------------------------------------------------------------------------


def flip(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


@PER
def test_every_flipped_bit_is_found_and_every_part_repaired(
    tmp_path: Path, labels_per: str
) -> None:
    target = make(tmp_path / "a.zarr", labels_per)
    whole = contents(target)
    mended = 0
    for key in sorted(whole):
        is_vital = key == "zarr.json" or key.startswith(("manifests", "0/table"))
        if is_vital or not whole[key]:
            continue
        flip(target / key)
        assert key in " ".join(it.text for it in zarrts.verify(target, deep=True).problems)
        repaired = zarrts.repair(target, sources(labels_per), workers=2)
        assert [it.key for it in repaired.problems] == [key]
        assert contents(target) == whole
        mended += 1
    # Metadata of group and arrays and lists of checksums; and what they are of.
    assert mended == 2 + 2 * 3 + 3 + (7 + 7 + 1 if labels_per == "row" else 7 + 1 + 1)


@PER
@pytest.mark.parametrize("lost", ["0/offsets/c/0", "0/y/c", "0/x/c/2", "0/checksum/offsets/c/0"])
def test_what_is_lost_is_written_again(tmp_path: Path, labels_per: str, lost: str) -> None:
    target = make(tmp_path / "a.zarr", labels_per)
    whole = contents(target)
    path = target / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    problems = zarrts.verify(target).problems
    assert problems
    assert all(lost in it.text for it in problems)
    zarrts.repair(target, sources(labels_per), workers=2)
    assert contents(target) == whole


def test_problem_names_recordings_and_subjects_that_it_concerns(tmp_path: Path) -> None:
    target = make(tmp_path / "a.zarr", "row")
    (target / "0/x/c/0/0").unlink()  # rows 0 to 9: all of a, b's first, the start of c's first
    (target / "0/offsets/c/0").unlink()
    of_offsets, of_x = (it.text for it in zarrts.verify(target).problems)
    assert "0/x/c/0/0 is missing; it holds samples 0 to 2 of a, b." in of_x
    assert "it concerns all samples of that part" in of_offsets


def test_labels_that_were_corrected_are_not_taken_for_the_same(tmp_path: Path) -> None:
    target = make(tmp_path / "a.zarr", "recording")
    others = sources("recording")
    others[3] = zarrts.Recording(
        others[3].subject, others[3].x, "W" if others[3].y != "W" else "N1"
    )
    problems = zarrts.verify(target, sources=others).problems
    assert any("recording 4 (c)" in it.text for it in problems)
    (target / "0/y/c/0").unlink()
    with pytest.raises(SourceError, match=r"recording 4 \(c\)"):
        zarrts.repair(target, others)


# Taking out -------------------------------------------------------------------------------------


@PER
@pytest.mark.parametrize("subject", ["a", "c"])
def test_a_subject_is_taken_out_of_all_arrays(
    tmp_path: Path, labels_per: str, subject: str
) -> None:
    target = make(tmp_path / "a.zarr", labels_per)
    names = zarrts.open(target).class_names
    removed = zarrts.remove(target, subject=subject, workers=2)
    kept = [it for it in sources(labels_per) if it.subject != subject]
    assert removed.n_samples == len(LENGTHS) - len(kept)
    np.testing.assert_array_equal(array(target, "1/x"), np.concatenate([it.x for it in kept]))
    lengths = [len(it.x) for it in kept]
    assert array(target, "1/offsets").tolist() == np.cumsum([0, *lengths]).tolist()
    assert names is not None
    assert array(target, "1/y").tolist() == codes([it.y for it in kept], names)
    assert zarrts.verify(target, deep=True).problems == ()
    assert not (target / "0").exists()


def test_what_is_left_may_hold_no_row_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    full, empty = (zarrts.Recording(n, np.ones((size, 2)), "W") for n, size in (("a", 4), ("b", 0)))
    zarrts.convert([full, empty], target, progress=False).close()
    zarrts.remove(target, subject="a")
    with zarrts.open(target) as store:
        assert (store.n_samples, store.subjects) == (1, ["b"])
    assert zarrts.verify(target, deep=True).problems == ()


# What is said -----------------------------------------------------------------------------------


@PER
def test_other_programs_open_every_part_without_a_warning(tmp_path: Path, labels_per: str) -> None:
    target = make(tmp_path / "a.zarr", labels_per)
    opened = xarray.open_zarr(str(target / "0")).load()
    assert dict(opened.sizes) == {
        "row": sum(LENGTHS),
        "channel": 3,
        "edge": len(LENGTHS) + 1,
        **({"recording_id": len(LENGTHS)} if labels_per == "recording" else {}),
    }
    assert zarr.open_group(str(target), mode="r")["0/x"].shape == (sum(LENGTHS), 3)


def test_info_and_dry_run_say_how_long_recordings_are(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, length in (("a", 9), ("b", 1200), ("c", 40)):
        np.savez(folder / f"{name}.npz", x=np.ones((length, 3)), y=np.arange(length) % 2)
    command = ["convert", str(folder), str(tmp_path / "a.zarr"), "--kind", "ragged"]
    said = CliRunner().invoke(main, [*command, "--dry-run"]).output
    assert "3 recordings of 9 to 1,200 time steps (median 40) x 3 channels" in said
    assert "2 classes 0 1; one for each time step" in said
    assert CliRunner().invoke(main, command).exit_code == 0
    lines = CliRunner().invoke(main, ["info", str(tmp_path / "a.zarr")]).output.splitlines()
    assert lines[1] == (
        "samples   3 recordings of 9 to 1,200 time steps (median 40) x 3 channels, float32"
    )
    said = CliRunner().invoke(main, ["info", str(tmp_path / "a.zarr"), "--json"]).output
    summary = json.loads(said)
    assert summary["lengths"] == {"shortest": 9, "median": 40, "longest": 1200, "total": 1249}
    assert summary["raw_bytes"] == 1249 * 3 * 4
    assert (summary["kind"], summary["sample_shape"]) == ("ragged", [None, 3])
