"""A conversion looks at its target once, and asks what it saw."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_study

import zarrts
from zarrts.conversion import run as conversion
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare
from zarrts.conversion.prepared import Prepared
from zarrts.conversion.target import read_target
from zarrts.errors import PlanError

SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}
_watched: list[Callable[[str], None]] = []


def _hook(event: str, args: Any) -> None:
    if event == "open" and _watched and isinstance(args[0], str | os.PathLike):
        for it in _watched:
            it(os.fspath(args[0]))


sys.addaudithook(_hook)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every file that is opened meanwhile."""
    paths: list[str] = []
    _watched.append(paths.append)
    yield paths
    _watched.remove(paths.append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_study(tmp_path / "subjects", sizes=(20, 7, 31)).folder


def prepared_of(folder: Path, target: Path, **options: Any) -> Prepared:
    sizes = {"chunk_bytes": 400, "shard_bytes": 1200, "workers": 1}
    return prepare(str(folder), target, ConvertOptions(**sizes | options))


def test_a_finished_conversion_reads_the_root_once(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(folder, target, **SMALL).close()
    del opened[:]
    zarrts.convert(folder, target, **SMALL).close()
    inside = [path for path in opened if Path(path).is_relative_to(target)]
    # Beside it, the table of recordings, or a damaged one would be called complete.
    assert [path for path in inside if "/0/table/" not in Path(path).as_posix()] == [
        str(target / "zarr.json")
    ]


def test_what_was_seen_is_asked_without_another_look(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    target = tmp_path / "a.zarr"
    nothing = prepared_of(folder, target)
    zarrts.convert(folder, target, **SMALL).close()
    done = prepared_of(folder, target)
    other = prepared_of(folder, target, overwrite=True, rate_hz=100.0)
    assert not (nothing.is_done or other.is_done)
    assert done.is_done
    shutil.rmtree(target)
    del opened[:]
    seen = done.target
    assert seen.version == 1
    assert seen.holds(done.provenance)
    assert not seen.holds(other.provenance)
    assert seen.unfinished is None
    assert seen.finished_bytes(done.provenance) == 0
    assert not seen.may_be_swept(done.provenance)
    assert nothing.target.version == 0
    assert opened == []


def test_an_unfinished_conversion_is_seen_with_what_it_finished(
    folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.zarr"
    prepared = prepared_of(folder, target)
    n_done = 0

    def stop(n_rows: int) -> None:
        nonlocal n_done
        n_done += n_rows
        if n_done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversion.run(prepared, stop)
    (target / "notes.txt").write_text("not ours")
    seen = read_target(target)
    assert seen.version == 0
    assert seen.unfinished is not None
    shards = [key for it in seen.unfinished.entries.values() for key in it.files]
    assert seen.finished_bytes(prepared.provenance) == sum(
        (target / it.key).stat().st_size for it in shards
    )
    assert seen.finished_bytes(prepared.provenance) > 0
    assert seen.foreign == ("notes.txt",)
    # The journal goes first; the lock stays with whoever holds it.
    assert [it.name for it in seen.leftovers] == ["unfinished.journal", "0"]


def test_leftovers_of_a_complete_store_are_its_old_manifests_too(
    folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(folder, target, **SMALL).close()
    shutil.copytree(target / "0", target / "7")
    shutil.copy(target / "manifests" / "1.json", target / "manifests" / "9.json")
    prepared = prepared_of(folder, target)
    assert [it.relative_to(target).as_posix() for it in prepared.target.leftovers] == [
        "7",
        "manifests/9.json",
    ]
    conversion.run(prepared)
    assert read_target(target).leftovers == ()
    assert not (target / "7").exists()


def _names_of_people(target: Path) -> Path:
    """Leave what a kill leaves while the stamps of sources are written."""
    path = target / "manifests" / "stamps.json.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"0": {"b.npz": "7 bytes')
    return path


@pytest.mark.parametrize("call", ["convert", "remove", "append", "compact"])
def test_stamps_that_were_not_written_to_their_end_are_swept(
    folder: Path, tmp_path: Path, call: str
) -> None:
    target, more = tmp_path / "a.zarr", make_study(tmp_path / "more", sizes=(5,))
    zarrts.convert(folder, target, **SMALL).close()
    Path(more.folder, "s00.npz").rename(Path(more.folder, "zoe.npz"))
    if call == "compact":
        zarrts.append(target, more.folder, progress=False).close()
    left = _names_of_people(target)
    assert read_target(target).leftovers == (left,)
    assert zarrts.verify(target, deep=True).unnamed == ("manifests/stamps.json.partial",)
    if call == "convert":
        zarrts.convert(folder, target, **SMALL).close()
    elif call == "remove":
        zarrts.remove(target, subject=zarrts.open(target).subjects[0])
    elif call == "append":
        zarrts.append(target, more.folder, progress=False).close()
    else:
        zarrts.compact(target, drop_versions=True, progress=False)
    assert not left.exists()
    found = zarrts.verify(target, deep=True)
    assert (found.problems, found.unnamed) == ((), ())


def test_stamps_alone_that_were_not_written_to_their_end_are_in_nobodys_way(
    folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.zarr"
    _names_of_people(target)
    zarrts.convert(folder, target, **SMALL).close()
    assert sorted(it.name for it in (target / "manifests").iterdir()) == ["1.json"]


@pytest.mark.parametrize("is_deep", [True, False])
def test_a_file_in_the_way_is_named(folder: Path, tmp_path: Path, is_deep: bool) -> None:
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "a.zarr" if is_deep else tmp_path / "file"
    with pytest.raises(PlanError, match=r"file is a file, but the store is a folder"):
        prepared_of(folder, target)


def test_an_append_reads_no_table_that_the_manifest_has(
    folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(folder, target, **SMALL).close()
    rng = np.random.default_rng(1)
    for name, most in (("new", 1), ("newer", 0)):  # that of a first part, once
        new = zarrts.Recording(name, rng.normal(size=(9, 6, 3)).astype("f4"), np.arange(9) % 3)
        del opened[:]
        zarrts.append(target, new, progress=False).close()
        table = [path for path in opened if "/0/table/" in Path(path).as_posix()]
        assert len(table) == most * len(set(table))
