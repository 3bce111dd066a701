"""Stores of many parts: what an append and an opening read does not grow with their number."""

import dataclasses
import hashlib
import json
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrts
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.metadata import root_bytes
from zarrts.storage.store import header_of, read_header
from zarrts.storage.table import read_table

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

_OPENED: list[str] | None = None


def _note(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _OPENED is not None and isinstance(args[0], str | bytes | Path):
        _OPENED.append(str(args[0]))


sys.addaudithook(_note)


@contextmanager
def opened_below(folder: Path) -> Iterator[list[str]]:
    """Give a list that has the files below a folder that were opened, once the block has ended."""
    global _OPENED
    found: list[str] = []
    _OPENED = []
    try:
        yield found
    finally:
        found += [it for it in _OPENED if it.startswith(str(folder))]
        _OPENED = None


def person(number: int, n: int = 4) -> zarrts.Recording:
    rng = np.random.default_rng(number)
    x = rng.standard_normal((n + number % 3, 6, 2)).astype("f4")
    return zarrts.Recording(f"p{number:04d}", x, np.arange(len(x)) % (2 + number % 2))


def grown(path: Path, n_parts: int) -> None:
    zarrts.convert([person(0)], path, chunk=96, shard=192, progress=False).close()
    for number in range(1, n_parts):
        zarrts.append(path, person(number), progress=False).close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "a.zarr"
    grown(path, 12)
    return path


def without_joint_tables(path: Path) -> None:
    """Make of a store what a version that knew no joint tables would have written."""
    document = json.loads((path / "zarr.json").read_bytes())
    ours = document["attributes"]["zarrts"]
    manifest = path / ours["manifest"]["key"]
    content = json.dumps({"objects": json.loads(manifest.read_bytes())["objects"]}).encode()
    manifest.write_bytes(content)
    ours["manifest"]["sha256"] = hashlib.sha256(content).hexdigest()
    (path / "zarr.json").write_bytes(root_bytes(document))


def copied(path: Path, place: Path) -> Path:
    import shutil

    return Path(shutil.copytree(path, place / "copy.zarr"))


def assert_same_table(one: Any, other: Any) -> None:
    for field in dataclasses.fields(one):
        if field.name == "read_sketch":
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "sketch":
            left, right = one.points(), other.points()
        if field.name == "moments":
            for it in dataclasses.fields(left):
                np.testing.assert_array_equal(getattr(left, it.name), getattr(right, it.name))
        else:
            np.testing.assert_array_equal(left, right)


def test_the_joint_tables_are_those_of_the_parts(many: Path) -> None:
    header = read_header(many)
    joint = read_tables(many, header)
    assert len(joint) == 12
    for segment in header.segments:
        assert_same_table(joint[segment.name], read_table(many, segment))


def test_a_store_opens_and_grows_by_as_many_files_whatever_its_parts(tmp_path: Path) -> None:
    counts = []
    for n_parts in (3, 9):
        path = tmp_path / f"{n_parts}.zarr"
        grown(path, n_parts)
        with opened_below(path) as files, zarrts.open(path) as store:
            store.samples.stats()
            assert len(store.subjects) == n_parts
        n_opened = len(files)
        with opened_below(path) as files:
            zarrts.append(path, person(99), progress=False).close()
        counts.append((n_opened, len(files)))
    assert counts[0] == counts[1]
    assert counts[0][0] == 2  # the root and the manifest


def test_a_store_without_joint_tables_says_the_same_and_gets_them(
    many: Path, tmp_path: Path
) -> None:
    path = copied(many, tmp_path)
    without_joint_tables(path)
    with zarrts.open(path) as store, zarrts.open(many) as other:
        assert_equal_stores(store, other)
    assert zarrts.verify(path, deep=True).problems == ()
    zarrts.append(path, person(50), progress=False).close()
    with opened_below(path) as files, zarrts.open(path) as store:
        assert store.subjects[-1] == "p0050"
    assert len(files) == 2
    assert zarrts.verify(path, deep=True).problems == ()


def assert_equal_stores(one: Any, other: Any) -> None:
    assert one.subjects == other.subjects
    assert one.recordings == other.recordings
    for left, right in zip(one.samples.load(), other.samples.load(), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.samples.stats().mean, other.samples.stats().mean)
    assert one.samples.class_counts.tolist() == other.samples.class_counts.tolist()
    robust = [it.samples.stats().quantile(0.5) for it in (one, other)]
    np.testing.assert_array_equal(*robust)


def test_who_has_a_version_open_reads_its_tables_after_an_append(
    many: Path, tmp_path: Path
) -> None:
    path = copied(many, tmp_path)
    store = zarrts.open(path)
    zarrts.append(path, person(51), progress=False).close()
    assert len(store.subjects) == 12
    store.close()


def test_joint_tables_that_say_something_else_are_found(many: Path, tmp_path: Path) -> None:
    path = copied(many, tmp_path)
    document = json.loads((path / "zarr.json").read_bytes())
    ours = document["attributes"]["zarrts"]
    manifest = path / ours["manifest"]["key"]
    content = json.loads(manifest.read_bytes())
    content["tables"]["3"]["subject"] = ["p0004"]
    manifest.write_bytes(json.dumps(content).encode())
    ours["manifest"]["sha256"] = hashlib.sha256(manifest.read_bytes()).hexdigest()
    (path / "zarr.json").write_bytes(root_bytes(document))
    problems = zarrts.verify(path).problems
    assert [it.segment for it in problems] == ["3"]
    assert "something else of part 3" in problems[0].text


def test_a_root_of_several_parts_is_checked_by_its_bytes_and_by_what_it_says(many: Path) -> None:
    content = (many / "zarr.json").read_bytes()
    header = header_of(many, content)
    # As another program would write it.
    document = json.loads(content)
    assert header_of(many, json.dumps(document, indent=2).encode()) == header
    assert json.loads(root_bytes(document)) == document
    assert root_bytes(document) == content
    number = content.index(b'"stored_bytes":') + len(b'"stored_bytes":')
    changed = content[:number] + b"1" + content[number:]
    with pytest.raises(zarrts.ZarrtsError, match="does not match its checksum"):
        header_of(many, changed)
    document["attributes"]["zarrts"]["rate_hz"] = 7.0
    with pytest.raises(zarrts.ZarrtsError, match="does not match its checksum"):
        header_of(many, json.dumps(document).encode())


def test_an_append_returns_the_store_as_it_is_opened(many: Path, tmp_path: Path) -> None:
    path = copied(many, tmp_path)
    with zarrts.append(path, person(52), progress=False) as store, zarrts.open(path) as opened:
        assert store.header == opened.header
        assert pickle.loads(pickle.dumps(store)).header == opened.header


def test_the_root_of_one_part_is_written_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "one.zarr"
    grown(path, 1)
    content = (path / "zarr.json").read_bytes()
    document = json.loads(content)
    assert content == json.dumps(document, indent=1).encode()
    assert "bytes_crc32c" not in document["attributes"]["zarrts"]
    manifest = json.loads((path / "manifests/1.json").read_bytes())
    assert set(manifest) == {"objects"}
