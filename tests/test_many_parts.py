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
from grown_stores import tree

import zarrts
from zarrts.conversion import publish as publishing
from zarrts.storage.checksums import crc32c
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.metadata import root_bytes
from zarrts.storage.parted_root import PartedRoot
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


def test_a_store_grows_to_the_bytes_that_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts have numbers of one digit and of two, which sort otherwise than they count."""
    paths = [tmp_path / "grown.zarr", tmp_path / "anew.zarr"]
    for number, path in enumerate(paths):
        if number:
            monkeypatch.setattr(PartedRoot, "grown", lambda *args: None)
            monkeypatch.setattr(publishing, "grown_manifest", lambda *args: None)
        grown(path, 4)
        zarrts.remove(path, subject="p0002")  # of which the next part has another number
        for one in range(4, 14):
            zarrts.append(path, person(one), progress=False).close()
            assert_is_said_with_both_checksums(path)
    one, other = (tree(path) for path in paths)
    assert one == other
    assert zarrts.verify(paths[0], deep=True).problems == ()


def assert_is_said_with_both_checksums(path: Path) -> None:
    """The root and the manifest are what JSON makes of them, and match their checksums."""
    content = (path / "zarr.json").read_bytes()
    document = json.loads(content)
    assert root_bytes(document) == content
    ours = document["attributes"]["zarrts"]
    ours["crc32c"], of_names = 0, ours["crc32c"]
    del ours["crc32c"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert crc32c(text) == of_names
    manifest = (path / ours["manifest"]["key"]).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == ours["manifest"]["sha256"]
    listed = json.loads(manifest)
    assert json.dumps(listed, sort_keys=True, separators=(",", ":")).encode() == manifest
    files = {it.relative_to(path).as_posix(): it for it in path.rglob("*/**/*") if it.is_file()}
    expected = {key: it.stat().st_size for key, it in files.items() if key[0].isdecimal()}
    assert {key: size for key, (size, _) in listed["objects"].items()} == expected
    names = {it["name"] for it in ours["segments"]}
    assert set(listed["tables"]) == names
    assert {it.partition("/")[0] for it in expected} == names


def test_an_append_parses_the_metadata_of_no_earlier_table(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(many, tmp_path)
    real, parsed = json.loads, []

    def loads(content: Any, **options: Any) -> Any:
        parsed.append(content if isinstance(content, bytes) else content.encode())
        return real(content, **options)

    monkeypatch.setattr(json, "loads", loads)
    zarrts.append(path, person(60), progress=False).close()
    assert not any(it.startswith(b'{"objects"') for it in parsed)  # the manifest
    assert not any(b'"3/table' in it or b'"3/x' in it for it in parsed)
    assert any(b'"0/x' in it for it in parsed)


def test_a_root_of_several_parts_as_an_earlier_version_wrote_it_is_read_and_grows(
    many: Path, tmp_path: Path
) -> None:
    path = copied(many, tmp_path)
    as_before(path)
    assert zarrts.verify(path, deep=True).problems == ()
    with zarrts.open(path) as store, zarrts.open(many) as other:
        assert_equal_stores(store, other)
    for it in (path, copied(many, tmp_path / "other")):
        zarrts.append(it, person(61), progress=False).close()
        assert_is_said_with_both_checksums(it)
    assert tree(path) == tree(tmp_path / "other" / "copy.zarr")


def as_before(path: Path) -> None:
    """Write a root as it was before parts had checksums of their metadata."""
    document = json.loads((path / "zarr.json").read_bytes())
    ours = document["attributes"]["zarrts"]
    for it in ours["segments"]:
        del it["metadata"]
    rest = {key: it for key, it in ours.items() if not key.endswith("crc32c")}

    def dense(checksums: dict[str, int], *, is_sorted: bool = False) -> bytes:
        attributes = {"zarrts": {**checksums, **rest}}
        return json.dumps(
            {**document, "attributes": attributes}, sort_keys=is_sorted, separators=(",", ":")
        ).encode()

    both = b'"crc32c":0,"bytes_crc32c":0,'
    of_bytes = crc32c(dense({"crc32c": 0, "bytes_crc32c": 0}).replace(both, b""))
    of_names = crc32c(dense({"bytes_crc32c": of_bytes}, is_sorted=True))
    content = dense({"crc32c": of_names, "bytes_crc32c": of_bytes})
    (path / "zarr.json").write_bytes(content)


def test_the_root_of_one_part_is_written_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "one.zarr"
    grown(path, 1)
    content = (path / "zarr.json").read_bytes()
    document = json.loads(content)
    assert content == json.dumps(document, indent=1).encode()
    assert "bytes_crc32c" not in document["attributes"]["zarrts"]
    manifest = json.loads((path / "manifests/1.json").read_bytes())
    assert set(manifest) == {"objects"}
