"""Damage of a store is named with its samples, and mended to the same bytes."""

import os
import re
import shutil
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Study
from grown_stores import (
    SMALL,
    grown,
    people,
    times,
    tree,
)

import zarrts
from zarrts import Recording
from zarrts.cli import main
from zarrts.errors import SourceError, StoreError, ZarrtsError

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

SHARD_ROWS = 15


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


CHANGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flipped,
    "cut": lambda content: content[:-1],
    "empty": lambda content: b"",
    "missing": lambda content: None,
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("verify") / "sources"
    return [
        people(folder / "0", {"ann": 17, "bea": 4, "cid": 21}, "text"),
        people(folder / "1", {"dan": 33, "eve": 13}, "text", 1),
    ]


@pytest.fixture(scope="module")
def single(parts: list[Study]) -> Path:
    """A store of one part; who changes it puts everything back. All shards have one size."""
    return grown(parts[0].folder.parent.parent, parts[:1], codec="none")


@pytest.fixture(scope="module")
def double(parts: list[Study], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two parts, likewise."""
    return grown(tmp_path_factory.mktemp("double"), parts, codec="none")


@pytest.fixture
def copy(double: Path, tmp_path: Path) -> Path:
    """A store of two parts that a test may change."""
    return shutil.copytree(double, tmp_path / "copy.zarr")


def put(root: Path, key: str, content: bytes | None) -> None:
    (root / key).unlink(missing_ok=True) if content is None else (root / key).write_bytes(content)


@contextmanager
def changed(root: Path, changes: dict[str, bytes | None]) -> Iterator[None]:
    """Give some files of a store other contents for a while; None deletes."""
    before = {key: (root / key).read_bytes() if (root / key).exists() else None for key in changes}
    assert before != changes
    try:
        for key, content in changes.items():
            put(root, key, content)
        yield
    finally:
        for key, content in before.items():
            put(root, key, content)


def problems(path: Path, **options: Any) -> list[str]:
    """Return all that is found; a root that cannot be read is found as well."""
    try:
        return [it.text for it in zarrts.verify(path, **options).problems]
    except StoreError as error:
        return [str(error)]


@pytest.mark.parametrize("codec", ["lz4", "zstd", "none"])
def test_nothing_is_found_in_a_whole_store(tmp_path: Path, parts: list[Study], codec: str) -> None:
    path = grown(tmp_path, parts, codec=codec)
    files = {key: it for key, it in tree(path).items() if key[:2] in ("0/", "1/")}
    for options in ({}, {"deep": True}, {"sources": parts[0].folder.parent}, {"workers": 1}):
        found = zarrts.verify(path, **options)
        assert found.problems == ()
        assert (found.n_files, found.n_bytes) == (len(files), sum(map(len, files.values())))


@pytest.mark.parametrize("change", CHANGES)
def test_each_file_of_a_store_that_is_damaged_is_named(single: Path, change: str) -> None:
    missed = []
    for key, content in tree(single).items():
        with changed(single, {key: CHANGES[change](content)}):
            found = "\n".join(problems(single, deep=True))
            if key not in found and not (key == "zarr.json" and str(single) in found):
                missed.append((key, found))
            if change != "flipped" and key not in "\n".join(problems(single)) + "zarr.json":
                missed.append((f"{key} without deep", found))
    assert missed == []
    assert problems(single, deep=True) == []


def facts(path: Path) -> list[Any] | None:
    """Return what a training takes from the tables; None if they say that they are damaged."""
    try:
        with zarrts.open(path) as store:
            stats, counts = store.samples.stats(), store.samples.class_counts.tolist()
            return [store.recordings, counts, stats.mean.tolist(), stats.std.tolist()]
    except ZarrtsError:
        return None


def test_each_two_files_of_one_size_that_are_swapped_are_found(double: Path) -> None:
    files, by_size, missed, expected = tree(double), defaultdict(list), [], facts(double)
    for key, content in files.items():
        by_size[len(content)].append(key)
    pairs = [it for keys in by_size.values() for it in pairwise([*keys, keys[0]])]
    for one, other in [it for it in pairs if files[it[0]] != files[it[1]]]:
        with changed(double, {one: files[other], other: files[one]}):
            try:
                if not problems(double, deep=True) or facts(double) not in (None, expected):
                    missed.append((one, other))
            except Exception as error:
                missed.append((one, other, repr(error)))
    assert missed == []


def test_a_file_that_does_not_belong_there_is_named(single: Path) -> None:
    for key in ("0/x/c/9", "0/extra", "0/table/.DS_Store"):
        with changed(single, {key: b"?"}), zarrts.open(single) as store:
            assert problems(single) == [f"{key} is not part of the store; delete it."]
            assert store.subjects == ["ann", "bea", "cid"]


def test_what_is_damaged_is_named_with_its_samples_and_whose_they_are(
    double: Path, parts: list[Study]
) -> None:
    files, expected, ids = tree(double), {}, 0
    for name, part in zip("01", parts, strict=True):
        rows = np.arange(len(part.all_x))
        for shard, of_shard in enumerate(np.split(rows, rows[SHARD_ROWS::SHARD_ROWS])):
            low, high = ids + of_shard[0], ids + of_shard[-1]
            who = ", ".join(dict.fromkeys(part.subject[of_shard].tolist()))
            what = f"samples {low} to {high}" if low < high else f"sample {low}"
            for array in ("x", "y", "recording"):
                key = f"{name}/{array}/c/{shard}" + "/0/0" * (array == "x")
                expected[key] = f"{key} does not match its checksum; it holds {what} of {who}."
        ids += len(rows)
    assert len(expected) == 21
    with changed(double, {key: flipped(files[key]) for key in expected}):
        found = problems(double, deep=True)
        assert set(expected.values()) <= set(found)
        assert "samples 40 to 41 of cid cannot be read." in found
        assert "sample 87 of eve cannot be read." in found
    with changed(double, dict.fromkeys(expected)):
        texts = [text for _, text in sorted(expected.items())]
        missing = [it.replace("does not match its checksum", "is missing") for it in texts]
        assert problems(double) == missing


@pytest.mark.parametrize(
    "source",
    [
        lambda folder: folder,
        lambda folder: [str(folder / "1"), str(folder / "0")],
        lambda folder: f"{folder}/*/*.npz",
        lambda folder: ["sources/1", "./sources/0/../0"],
    ],
)
def test_sources_are_found_however_they_are_given(
    double: Path, parts: list[Study], source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = parts[0].folder.parent
    monkeypatch.chdir(folder.parent)
    assert problems(double, sources=source(folder)) == []


def test_sources_that_are_missing_changed_or_unreadable_are_named(
    double: Path, parts: list[Study], tmp_path: Path
) -> None:
    for number, part in enumerate(parts):
        shutil.copytree(part.folder, tmp_path / str(number))
    (tmp_path / "0" / "bea.npz").unlink()
    np.savez(tmp_path / "1" / "dan.npz", x=parts[1].x[0], y=parts[1].y[0][::-1])
    os.truncate(tmp_path / "1" / "eve.npz", 1000)
    found = problems(double, sources=tmp_path)
    said = ("bea.npz: is not among", "dan.npz: .* its content differs", "eve.npz: .*(damaged|zip)")
    for text, expected in zip(found, said, strict=True):
        assert re.search(expected, text)


def test_arrays_that_were_given_are_compared_as_well(parts: list[Study], tmp_path: Path) -> None:
    rows = [it for part in parts for it in zip(part.names, part.x, part.y, strict=True)]
    given = [Recording(name, x.copy(), y.copy()) for name, x, y in rows]
    zarrts.convert(given[:3], tmp_path / "a.zarr", **SMALL).close()
    zarrts.append(tmp_path / "a.zarr", given[3:], progress=False).close()
    assert problems(tmp_path / "a.zarr", sources=given[::-1]) == []
    given[1].x[3, 2, 1] += 1
    (found,) = problems(tmp_path / "a.zarr", sources=given)
    assert "recording 2 (bea)" in found


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Large files, a byte of which was edited where no fingerprint looks; and whose it is."""
    folder, rng = tmp_path_factory.mktemp("edited"), np.random.default_rng(0)
    (folder / "files").mkdir()
    x = rng.standard_normal((3, 200_000, 2, 1)).astype("f4")
    y = rng.integers(0, 2, (3, 200_000))
    for number, name in enumerate(("ann", "bea")):
        np.save(folder / "files" / f"{name}_x.npy", x[number])
        np.save(folder / "files" / f"{name}_y.npy", y[number])
    np.savez(folder / "files" / "cid.npz", x=x[2], y=y[2])
    zarrts.convert(folder / "files", folder / "a.zarr", progress=False, shard="2MiB").close()
    # The first of 16 blocks of 64 KiB ends at 65,536; the next starts beyond 100,000.
    row, ids = (80_000 - 128) // 8, {}
    for number, name in enumerate(("ann_x.npy", "bea_y.npy", "cid.npz")):
        content = bytearray((folder / "files" / name).read_bytes())
        content[80_000] ^= 1
        (folder / "files" / name).write_bytes(content)
        ids[name] = 200_000 * number + row
    return folder, ids


def test_one_sample_edited_where_no_fingerprint_looks_is_named(
    edited: tuple[Path, dict[str, int]],
) -> None:
    folder, ids = edited
    found = problems(folder / "a.zarr", sources=folder / "files")
    for text, (name, sample) in zip(found, ids.items(), strict=True):
        assert name[:3] in text
        if name != "cid.npz":  # whose own checksum tells that it was edited
            assert f"sample {sample:,} of {name[:3]}" in text


@pytest.mark.parametrize("change", ["flipped", "missing"])
def test_each_file_is_repaired_to_the_same_bytes_or_said_to_be_beyond_it(
    single: Path, parts: list[Study], change: str, tmp_path: Path
) -> None:
    path, beyond = shutil.copytree(single, tmp_path / "a.zarr"), []
    before = tree(path)
    for key, content in before.items():
        put(path, key, CHANGES[change](content))
        damaged = tree(path)
        try:
            (problem,) = zarrts.repair(path, parts[0].folder).problems
            assert problem.text.startswith(key)
        except StoreError as error:
            assert "convert again" in str(error)
            assert tree(path) == damaged
            beyond.append(key)
            put(path, key, content)
        assert tree(path) == before
    table = {key for key in before if key.startswith("0/table/") and "/c/" in key}
    assert set(beyond) == {"zarr.json", "manifests/1.json"} | table


def test_all_parts_are_repaired_at_once(copy: Path, double: Path, parts: list[Study]) -> None:
    inside = [key for key in tree(copy) if key[:2] in ("0/", "1/")]
    damaged = [key for key in inside if "/c/" not in key or "/table/" not in key]
    for number, key in enumerate(damaged):
        put(copy, key, [*CHANGES.values()][number % 4]((copy / key).read_bytes()))
    repaired = zarrts.repair(copy, [parts[1].folder, parts[0].folder])
    assert sorted(it.key or "" for it in repaired.problems) == sorted(damaged)
    assert tree(copy) == tree(double)
    assert zarrts.repair(copy, parts[0].folder).problems == ()
    put(copy, "0/x/c/0/0/0", None)
    put(copy, "1/y/c/3", b"")
    zarrts.repair(copy, [parts[0].folder / "ann.npz", parts[1].folder / "eve.npz"])
    assert tree(copy) == tree(double)


@pytest.mark.parametrize("key", ["0/x/c/1/0/0", "1/y/c/0", "0/recording/c/0", "1/checksum/x/c/0"])
def test_repair_touches_no_shard_that_is_whole(copy: Path, parts: list[Study], key: str) -> None:
    put(copy, key, None)
    before = times(copy)
    zarrts.repair(copy, parts[0].folder.parent)
    after = times(copy)
    assert [it for it in before if "/c/" in it and after[it] != before[it]] == []


def test_repair_with_other_sources_is_refused_and_changes_nothing(
    copy: Path, parts: list[Study], tmp_path: Path
) -> None:
    put(copy, "0/x/c/1/0/0", flipped((copy / "0/x/c/1/0/0").read_bytes()))
    before = times(copy)
    other = people(tmp_path / "other", {"ann": 17, "bea": 4}, "text")
    for source, words in (
        (other.folder, r"ann.npz, bea.npz: is not the file that .*\n.*cid.npz: is not among"),
        (parts[1].folder, r"ann.npz, bea.npz, cid.npz: is not among the sources"),
        (tmp_path / "nowhere", "not found"),
    ):
        with pytest.raises(SourceError, match=words):
            zarrts.repair(copy, source)
        assert times(copy) == before


def test_a_source_edited_where_no_fingerprint_looks_repairs_nothing(
    edited: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    folder, _ = edited
    path = shutil.copytree(folder / "a.zarr", tmp_path / "a.zarr")
    put(path, "0/x/c/0/0/0", flipped((path / "0/x/c/0/0/0").read_bytes()))
    before = times(path)
    with pytest.raises(ZarrtsError, match="ann"):
        zarrts.repair(path, folder / "files")
    assert times(path) == before


def test_repair_never_takes_what_lies_there_for_what_was_written(
    copy: Path, double: Path, parts: list[Study]
) -> None:
    keys = [f"0/x/c/{shard}/0/0" for shard in (0, 1)]
    for key, content in zip(keys, [(copy / key).read_bytes() for key in keys[::-1]], strict=True):
        put(copy, key, content)
    put(copy, "0/checksum/x/c/0", flipped((copy / "0/checksum/x/c/0").read_bytes()))
    put(copy, "1/y/c/0", flipped((copy / "1/y/c/0").read_bytes()))
    (copy / "1" / "extra").write_bytes(b"?")
    zarrts.repair(copy, parts[0].folder.parent)
    assert problems(copy, deep=True) == ["1/extra is not part of the store; delete it."]
    (copy / "1" / "extra").unlink()
    assert tree(copy) == tree(double)


@pytest.mark.parametrize("change", ["append", "remove"])
@pytest.mark.parametrize("damage", ["missing", "flipped"])
@pytest.mark.parametrize("key", ["0/x/c/1/0/0", "0/checksum/y/c/0", "0/x/zarr.json", "0/zarr.json"])
def test_a_new_version_hides_no_damage_of_what_it_takes_over(
    copy: Path, parts: list[Study], tmp_path: Path, change: str, damage: str, key: str
) -> None:
    content, before = (copy / key).read_bytes(), zarrts.open(copy).header.segments[0]
    shorter = content.replace(b" 42,", b" 32,")  # which is valid, in metadata
    other = shorter if shorter != content and key == "0/x/zarr.json" else flipped(content)
    put(copy, key, None if damage == "missing" else other)
    more = people(tmp_path / "more", {"fay": 9}, "text", 2)
    try:
        if change == "append":
            zarrts.append(copy, more.folder, progress=False).close()
        else:
            zarrts.remove(copy, subject="eve")
    except ZarrtsError:
        with zarrts.open(copy) as store:
            assert store.version == 2
    assert zarrts.open(copy).header.segments[0] == before
    assert any(text.startswith(key) for text in problems(copy, deep=True))
    if damage == "missing":
        assert any(text.startswith(key) for text in problems(copy))
    zarrts.repair(copy, parts[0].folder)
    assert (copy / key).read_bytes() == content
    assert problems(copy, deep=True) == []


def test_the_commands_say_what_is_wrong_and_what_is_mended(
    copy: Path, parts: list[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    folder = parts[0].folder.parent

    def command(*words: object, status: int) -> list[str]:
        result = CliRunner().invoke(main, [str(it) for it in words])
        assert result.exit_code == status, result.output
        return result.output.splitlines()

    for options, compared in (
        ([], "names and sizes"),
        (["--deep", "--sources", folder], "all content and sources"),
    ):
        (line,) = command("verify", copy, *options, status=0)
        assert re.fullmatch(f"{copy} is whole: 105 files, .*; compared: {compared}", line)
    put(copy, "1/x/c/3/0/0", None)
    what = "1/x/c/3/0/0 is missing; it holds sample 87 of eve."
    first, last = command("verify", copy, status=1)
    assert first == what
    assert re.match(f"{copy} is damaged: 1 problem.* zarrts repair {copy} --sources FOLDER", last)
    lines = command("repair", copy, "--sources", parts[0].folder, status=1)
    assert lines[1:] == ["  - eve.npz: is not among the sources given."]
    lines = [f"repaired: {what}", f"{copy} is whole."]
    for expected in (lines, lines[1:]):
        assert command("repair", copy, "--sources", folder, status=0) == expected


def test_a_source_that_was_not_given_is_no_damage_and_several_folders_can_be_given(
    copy: Path, parts: list[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    given = [word for it in parts for word in ("--sources", str(it.folder))]
    some = CliRunner().invoke(main, ["verify", str(copy), *given[:2]])
    assert some.exit_code == 1
    *lacking, last = some.output.splitlines()
    assert lacking == [
        f"{name}.npz: is not among the sources given." for it in parts[1:] for name in it.names
    ]
    assert last.startswith(f"No damage is found in {copy}: 105 files, ")
    assert f"; compared: names, sizes and sources. But {len(lacking)} source" in last
    every = CliRunner().invoke(main, ["verify", str(copy), *given])
    assert (every.exit_code, every.output[: len(str(copy))]) == (0, str(copy))
    assert " is whole: " in every.output
    put(copy, "1/x/c/3/0/0", None)
    assert CliRunner().invoke(main, ["repair", str(copy), *given]).exit_code == 0
    assert zarrts.verify(copy, deep=True).problems == ()
