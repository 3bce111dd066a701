"""Subjects that are taken out, and stores that are replaced: what is left, and for whom."""

import json
import re
import shutil
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from click.testing import CliRunner
from conftest import Study
from grown_stores import (
    SMALL,
    TIGHT,
    AnyArray,
    assert_holds,
    assert_same,
    grown,
    people,
    snapshot,
    three,
    times,
    tree,
    whole,
)

import zarrts
from zarrts.cli import main
from zarrts.conversion import run as conversion
from zarrts.conversion import target as targets
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare
from zarrts.errors import PlanError, ReadError, SampleError, StoreError, ZarrtsError
from zarrts.sources.study import fingerprint
from zarrts.storage.metadata import root_bytes
from zarrts.upkeep import removal

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NAMES = ("Aurelia", "Bruno", "Cosima", "Drusilla", "Eberhard")
PARTS = {"0": {"Aurelia": 17, "Bruno": 4, "Cosima": 21}, "1": {"Drusilla": 33}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    """Three people, then one alone, then Bruno again and a fifth."""
    folder = tmp_path_factory.mktemp("remove") / "sources"
    found = [people(folder / name, sizes, "text", int(name)) for name, sizes in PARTS.items()]
    return [*found, people(folder / "2", {"Bruno": 11, "Eberhard": 8}, "text", 2)]


@pytest.fixture(scope="module")
def made(parts: list[Study], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is not compressed, so that its rows can be searched for in its files."""
    path = grown(tmp_path_factory.mktemp("made"), parts[:2], codec="none")
    zarrts.append(path, parts[2].folder, subject=r"^\w+", progress=False).close()
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A store of three parts that a test may change."""
    return shutil.copytree(made, tmp_path / "study.zarr")


def without(part: Study, name: str) -> Study | None:
    kept = [i for i, it in enumerate(part.names) if it != name]
    if not kept:
        return None
    x, y = [part.x[i] for i in kept], [part.y[i] for i in kept]
    return Study(part.folder, x, y, [part.names[i] for i in kept])


def segments_of(path: Path) -> list[str]:
    ours: Any = zarr.open_group(str(path), mode="r").attrs["zarrts"]
    return [it["name"] for it in ours["segments"]]


def table_of(path: Path) -> list[tuple[dict[str, Any], AnyArray]]:
    """Return of each recording what has to stay exactly, and what may be rounded otherwise."""
    found = []
    for name in segments_of(path):
        columns = zarr.open_group(str(path / name / "table"), mode="r").arrays()
        rows = {key: it[:].tolist() for key, it in columns if key not in ("start", "stop")}
        del rows["mean_rest"]  # of the rounding of means
        rounded = np.array([rows.pop("mean"), rows.pop("m2")]).swapaxes(0, 1)
        exact = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
        found += zip(exact, rounded, strict=True)
    return found


def every_value(root: Path, scratch: Path) -> list[AnyArray]:
    """Decode all chunks of all arrays with zarr-python, the rows beyond their ends included."""
    shutil.copytree(root, scratch)
    found = []
    for file in sorted(scratch.rglob("zarr.json")):
        document = json.loads(file.read_bytes())
        if document["node_type"] == "array":
            step = document["chunk_grid"]["configuration"]["chunk_shape"][0]
            document["shape"][0] = -(-document["shape"][0] // step) * step
            file.write_text(json.dumps(document))
            found.append(np.asarray(zarr.open_array(str(file.parent), mode="r")[:]))
    return found


# What is left ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_all_other_subjects_are_what_they_were(path: Path, parts: list[Study], name: str) -> None:
    before = [it for it in table_of(path) if it[0]["subject"] != name]
    segments = tuple(it for it, part in zip("012", parts, strict=True) if name in part.names)
    kept = [it for part in parts if (it := without(part, name))]
    x, y, subject = (whole(kept, what) for what in ("all_x", "all_y", "subject"))
    assert zarrts.remove(path, subject=name) == removal.Removed(94 - len(x), segments, 4)
    with zarrts.open(path) as store:
        assert store.class_names == ["N2", "wake", "N1", "REM"]
        codes = np.array([store.class_names.index(it) for it in y.tolist()])
        assert_same([store.samples.load()], [(x, codes)])
        assert store.samples.subject.tolist() == subject.tolist()
        assert store.samples.class_counts.tolist() == np.bincount(codes, minlength=4).tolist()
        np.testing.assert_allclose(store.samples.stats().std, x.astype("f8").std((0, 1)))
        for shuffle in (True, False):
            found = snapshot(store.samples.batches(7, shuffle=shuffle, memory="1MiB"))
            xs, _, ids = map(np.concatenate, zip(*found, strict=True))
            assert_same([(np.sort(ids), xs)], [(np.arange(len(x)), x[ids])])
    after = table_of(path)
    assert [exact for exact, _ in after] == [exact for exact, _ in before]
    for (_, one), (_, other) in zip(after, before, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert zarrts.verify(path, deep=True).problems == ()
    assert zarrts.verify(path, sources=[part.folder for part in kept]).problems == ()
    for segment, part in zip(segments_of(path), kept, strict=True):
        found = xarray.open_zarr(path / segment)["x"]
        np.testing.assert_array_equal(found.values, part.all_x)


@pytest.mark.parametrize("name", NAMES)
def test_no_byte_of_the_subject_is_left(
    path: Path, parts: list[Study], name: str, tmp_path: Path
) -> None:
    gone = [x for part in parts for x, it in zip(part.x, part.names, strict=True) if it == name]
    kept = [x for part in parts for x, it in zip(part.x, part.names, strict=True) if it != name]
    prints = [it["fingerprint"] for it, _ in table_of(path) if it["subject"] == name]
    assert len(prints) == len(gone)
    zarrts.remove(path, subject=name)
    rows = [row.tobytes() for x in gone for row in x]
    for key, content in tree(path).items():
        assert not any(it.encode() in content for it in (name, *prints)), key
        assert not any(it in content for it in rows), key
    inside = {it.name for it in path.iterdir()}
    assert inside == {"zarr.json", "manifests", "writing.lock", *segments_of(path)}
    assert [it.name for it in (path / "manifests").iterdir()] == ["4.json"]
    secret = np.setdiff1d(np.concatenate(gone), np.concatenate(kept))
    values = every_value(path, tmp_path / "scratch")
    assert sum(it.size for it in values) > sum(it.size for it in kept)
    for found in values:
        if found.dtype.kind == "f":
            assert not np.isin(found, secret).any()
        elif found.dtype.kind not in "iu":
            assert not any(word in text for text in found.tolist() for word in (name, *prints))


def test_versions_without_the_subject_can_be_opened_and_others_say_why_not(
    path: Path, parts: list[Study]
) -> None:
    with zarrts.open(path, version=2) as store:
        expected = snapshot(store.samples.batches(4, memory="3KiB"))
    zarrts.remove(path, subject="Eberhard")
    for version, n_parts in ((1, 1), (2, 2)):
        with zarrts.open(path, version=version) as store:
            np.testing.assert_array_equal(store.samples.load()[0], whole(parts[:n_parts]))
    with zarrts.open(path, version=2) as store:
        assert_same(snapshot(store.samples.batches(4, memory="3KiB")), expected)
    why = "is gone: a subject was removed, which version"
    with pytest.raises(StoreError, match=f"Version 3 {why} 4 is without"):
        zarrts.open(path, version=3)
    zarrts.remove(path, subject="Bruno")
    for version, number in ((1, 5), (2, 5), (3, 4), (4, 5)):
        with pytest.raises(StoreError, match=f"Version {version} {why} {number} is"):
            zarrts.open(path, version=version)
    zarrts.append(path, parts[2].folder / "Eberhard.npz", progress=False).close()
    with zarrts.open(path) as store:
        assert (store.version, store.subjects[-1], store.n_samples) == (6, "Eberhard", 79)
    assert zarrts.verify(path, deep=True).problems == ()


# What is refused, and what a crash leaves ------------------------------------------------------


def test_who_is_unknown_or_alone_is_not_removed(path: Path, parts: list[Study]) -> None:
    before = times(path)
    with pytest.raises(SampleError, match="No subject named bruno; the subjects are Aurelia, Bru"):
        zarrts.remove(path, subject="bruno")
    assert times(path) == before
    only = grown(path.parent, parts[1:2])
    before = times(only)
    with pytest.raises(SampleError, match=r"Drusilla is the only subject of .*delete the"):
        zarrts.remove(only, subject="Drusilla")
    assert times(only) == before
    with pytest.raises(StoreError, match="does not exist"):
        zarrts.remove(path.parent / "no.zarr", subject="Bruno")
    assert not (path.parent / "no.zarr").exists()


def test_an_unfinished_conversion_is_no_store_and_stays_as_it_is(
    tmp_path: Path, parts: list[Study]
) -> None:
    path, n_done = tmp_path / "a.zarr", 0

    def stop(n_rows: int) -> None:
        nonlocal n_done
        n_done += n_rows
        if n_done > 20:
            raise KeyboardInterrupt

    options = ConvertOptions(chunk_bytes=400, shard_bytes=1200, workers=1)
    with pytest.raises(KeyboardInterrupt):
        conversion.run(prepare(parts[0].folder, path, options), stop)
    before = times(path)
    with pytest.raises(StoreError):
        zarrts.remove(path, subject="Bruno")
    assert times(path) == before


def test_a_removal_that_fails_or_is_killed_leaves_the_old_store_or_the_new(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = tree(path), removal.publish
    with monkeypatch.context() as patch:
        patch.setattr(removal, "publish", lambda *args: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            zarrts.remove(path, subject="Bruno")
        assert tree(path) == before

    def publish(*args: Any) -> None:  # a copy is what a kill at this moment leaves
        shutil.copytree(path, tmp_path / "old")
        real(*args)
        shutil.copytree(path, tmp_path / "new")

    monkeypatch.setattr(removal, "publish", publish)
    zarrts.remove(path, subject="Bruno")
    monkeypatch.undo()
    after = tree(path)
    assert tree(tmp_path / "old").items() > before.items()
    zarrts.remove(tmp_path / "old", subject="Bruno")
    assert tree(tmp_path / "old") == after
    assert zarrts.remove(tmp_path / "new", subject="Bruno").is_finished_only
    assert tree(tmp_path / "new") == after


# Stopped between publishing and deleting ---------------------------------------------------------


@pytest.fixture
def half(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store without Bruno, whose rows are still in its folder."""

    def kill(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, "finish_removal", kill)
        with pytest.raises(KeyboardInterrupt):
            zarrts.remove(path, subject="Bruno")
    return path


@pytest.fixture
def done(made: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of a store whose removal was not stopped."""
    path = shutil.copytree(made, tmp_path / "done.zarr")
    zarrts.remove(path, subject="Bruno")
    return tree(path)


LEFT = "the removal of Bruno has not come to its end"


def test_an_unfinished_removal_is_warned_of_and_no_whole_store(
    half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.warns(UserWarning, match=f"{LEFT}.*zarrts remove {half} --subject Bruno"):
        store = zarrts.open(half)
    with store:
        assert "Bruno" not in store.subjects
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = CliRunner().invoke(main, ["info", str(half)])
    assert shown.exit_code == 0
    assert LEFT in shown.output
    found = zarrts.verify(half)
    assert LEFT in found.problems[0].text
    assert [it.text.split(",")[0].split(" of ")[0] for it in found.problems[1:]] == [
        f"{name}/: {sum(it.startswith(f'{name}/') for it in found.unnamed)} files"
        for name in ("0", "2")
    ]
    # Every file that the root does not name, each manifest but the last one as well.
    kept = {f"{name}/" for name in segments_of(half)}
    there = {it.relative_to(half).as_posix() for it in half.rglob("*") if it.is_file()}
    there -= {"zarr.json", "manifests/4.json", "writing.lock"}
    assert {*found.unnamed} == {it for it in there if not it.startswith((*kept,))}
    assert len(found.unnamed) > 40
    said = CliRunner().invoke(main, ["verify", str(half)])
    assert said.exit_code == 1
    assert all(f"{key} is not part of the store." in said.output for key in found.unnamed)


def test_the_same_command_again_finishes_a_removal(
    half: Path, done: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    said = CliRunner().invoke(main, ["remove", str(half), "--subject", "Bruno"])
    assert said.exit_code == 0
    assert said.output.startswith("An earlier removal had been stopped before all was deleted")
    assert tree(half) == done
    assert zarrts.verify(half, deep=True).problems == ()
    zarrts.open(half).close()
    with pytest.raises(SampleError, match="No subject named Bruno"):
        zarrts.remove(half, subject="Bruno")


@pytest.mark.parametrize("n_deleted", range(0, 60, 7))
def test_a_removal_that_is_stopped_while_it_deletes_goes_on(
    half: Path, done: dict[str, bytes], n_deleted: int
) -> None:
    left = [it for it in tree(half) if it[:2] in ("0/", "2/") and (half / it).is_file()]
    for key in left[:n_deleted]:
        (half / key).unlink()
    zarrts.remove(half, subject="Bruno")
    assert tree(half) == done


@pytest.mark.parametrize("by", ["remove another", "append", "convert"])
def test_whoever_writes_next_finishes_a_removal(
    half: Path, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = people(tmp_path / "more", {"Fritz": 9}, "text", 1)
    if by == "remove another":
        assert zarrts.remove(half, subject="Drusilla") == removal.Removed(33, ("1",), 5)
    elif by == "append":
        zarrts.append(half, more.folder, progress=False).close()
    else:
        zarrts.convert(more.folder, half, **SMALL, overwrite=True).close()
    zarrts.open(half).close()
    assert zarrts.verify(half, deep=True) == zarrts.verify(half, deep=True)
    found = zarrts.verify(half, deep=True)
    assert (found.problems, found.unnamed) == ((), ())
    assert b"Bruno" not in b"".join(it.read_bytes() for it in half.rglob("*") if it.is_file())


def test_an_unfinished_removal_of_an_older_version_is_found_as_well(
    half: Path, done: dict[str, bytes]
) -> None:
    document = json.loads((half / "zarr.json").read_bytes())
    del document["attributes"]["zarrts"]["removal"]
    (half / "zarr.json").write_bytes(root_bytes(document))
    zarrts.open(half).close()
    found = zarrts.verify(half).problems
    assert [it.text[:3] for it in found] == ["0/:", "2/:"]
    assert zarrts.remove(half, subject="Bruno").is_finished_only
    assert tree(half) == done


@pytest.mark.parametrize("is_first", [True, False])
def test_a_removal_that_was_killed_before_it_was_published_hides_no_wrong_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    if not is_first:
        zarrts.remove(path, subject="Drusilla")
    before = tree(path)

    def kill(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, "publish", kill)
        patch.setattr(targets, "_delete", kill)
        with pytest.raises(KeyboardInterrupt):
            zarrts.remove(path, subject="Bruno")
    assert tree(path) != before
    with pytest.raises(SampleError, match="No subject named Nobody"):
        zarrts.remove(path, subject="Nobody")
    assert tree(path) == before


def test_a_removal_whose_files_cannot_be_deleted_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(targets, "_delete", refuse)
        with pytest.raises(PlanError, match=r"Bruno is removed, but not all.*same command again"):
            zarrts.remove(path, subject="Bruno")
    assert zarrts.remove(path, subject="Bruno").n_samples == 15


def test_no_stamp_of_a_removed_source_is_left(
    path: Path, parts: list[Study], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 16)
    target = tmp_path / "b.zarr"
    zarrts.convert(parts[0].folder, target, **SMALL).close()
    zarrts.append(target, parts[1].folder, progress=False).close()
    stamps = target / "manifests" / "stamps.json"
    assert {*json.loads(stamps.read_bytes())} == {"0", "1"}
    zarrts.remove(target, subject="Bruno")
    assert {*json.loads(stamps.read_bytes())} == {"1"}
    assert b"Bruno" not in b"".join(it.read_bytes() for it in target.rglob("*") if it.is_file())


def test_verify_while_a_subject_is_removed_says_nothing_false(
    path: Path, parts: list[Study]
) -> None:
    ended, found = threading.Event(), []

    def look() -> None:
        while not ended.is_set():
            try:
                found.append([it.text for it in zarrts.verify(path, deep=True).problems])
            except StoreError as error:
                found.append([str(error)])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for name in ("Bruno", "Eberhard", "Aurelia"):
            zarrts.remove(path, subject=name)
    finally:
        ended.set()
        thread.join()
    texts = {text for texts in found for text in texts}
    allowed = re.compile("the removal of|of an earlier version|being changed by somebody else")
    assert [it for it in texts if not allowed.search(it)] == []


def test_damage_of_others_stops_a_removal_and_that_of_the_subject_does_not(path: Path) -> None:
    file = path / "0/x/c/0/0/0"
    content = file.read_bytes()
    file.write_bytes(bytes(reversed(content[:100])) + content[100:])
    before = tree(path)
    with pytest.raises(ReadError, match="0/x/c/0/0/0"):
        zarrts.remove(path, subject="Cosima")
    assert tree(path) == before
    zarrts.remove(path, subject="Aurelia")
    assert zarrts.verify(path, deep=True).problems == ()


def test_the_command_says_what_is_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    for subject, status, said in (
        ("Nobody", 1, "Error: No subject named Nobody; the subjects are"),
        ("Bruno", 0, f"Removed 15 samples of Bruno; {path} is version 4, and versions that"),
        ("Bruno", 1, "Error: No subject named Bruno"),
    ):
        result = CliRunner().invoke(main, ["remove", str(path), "--subject", subject])
        assert (result.exit_code, result.output[: len(said)]) == (status, said)


# Replaced --------------------------------------------------------------------------------------


def test_converting_over_it_says_what_differs_and_overwrite_what_is_gone(tmp_path: Path) -> None:
    parts = three(tmp_path)
    path = grown(tmp_path, parts)
    before = times(path)
    with pytest.raises(PlanError, match=r"dan.npz, eve.npz, fay.npz appended. Open it"):
        zarrts.convert(parts[0].folder, path, **SMALL)
    assert times(path) == before
    prepared = prepare(parts[1].folder, path, ConvertOptions(overwrite=True, workers=1))
    conversion.run(prepared, lambda n_rows: assert_holds(path, parts))
    assert_holds(path, parts[1:2])
    assert {it.name for it in path.iterdir()} == {"3", "manifests", "writing.lock", "zarr.json"}
    for version in (1, 2, 3):
        with pytest.raises(StoreError, match=f"Version {version} is gone: version 4 replaced it"):
            zarrts.open(path, version=version)
    zarrts.append(path, parts[2].folder, progress=False).close()
    assert_holds(path, parts[1:2], version=4)


def test_an_overwrite_that_fails_leaves_every_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = three(tmp_path)
    path = grown(tmp_path, parts[:2])
    before = tree(path)
    monkeypatch.setattr(conversion, "publish", lambda *args: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(PlanError, match="cannot be written"):
        zarrts.convert(parts[2].folder, path, overwrite=True, **SMALL)
    assert before.items() <= tree(path).items()
    assert_holds(path, parts[:1], version=1)
    monkeypatch.undo()
    zarrts.convert(parts[2].folder, path, overwrite=True, **SMALL).close()
    assert_holds(path, parts[2:])


def test_a_sequence_of_keras_goes_on_with_its_version(tmp_path: Path) -> None:
    pytest.importorskip("keras", exc_type=ImportError)
    parts = three(tmp_path)
    path = grown(tmp_path, parts[:1])
    with zarrts.ZarrSequence(path, 4, memory=TIGHT) as seq:
        expected = list(seq)
        passing = iter(seq)
        found = [next(passing) for _ in range(3)]
        zarrts.append(path, parts[1].folder, progress=False).close()
        assert_same([*found, *passing], expected)
        assert_same([seq[i] for i in range(len(seq))], expected)
    with zarrts.ZarrSequence(zarrts.open(path, version=1), 4, memory=TIGHT) as seq:
        assert_same(list(seq), expected)


def read_until(stop: threading.Event, path: Path, seen: list[Any]) -> None:
    while not stop.is_set():
        try:
            with zarrts.open(path) as store:
                seen.append((store.version, store.samples.load(), store.subjects))
        except Exception as error:
            seen.append(error)


def test_a_reader_that_polls_sees_whole_versions_only(tmp_path: Path) -> None:
    parts = [*three(tmp_path), people(tmp_path / "3", {"gil": 12, "hal": 14})]
    path, stop, seen = grown(tmp_path, parts[:1]), threading.Event(), []
    reader = threading.Thread(target=read_until, args=(stop, path, seen))

    def let_it_read() -> int:
        n_seen = len(seen)
        while len(seen) < n_seen + 2:
            stop.wait(0.001)
        return len(seen)

    reader.start()
    try:
        let_it_read()
        for part in parts[1:]:
            zarrts.append(path, part.folder, progress=False).close()
            n_appended = let_it_read()
        zarrts.remove(path, subject="bea")
        let_it_read()
        zarrts.convert(parts[3].folder, path, overwrite=True, **SMALL).close()
        let_it_read()
    finally:
        stop.set()
        reader.join()
    last = [it for part in parts if (it := without(part, "bea"))]
    expected = {1: parts[:1], 2: parts[:2], 3: parts[:3], 4: parts, 5: last, 6: parts[3:]}
    found = [it for it in seen if isinstance(it, tuple)]
    for version, (x, y), subjects in found:
        assert_same([(x, y)], [(whole(expected[version]), whole(expected[version], "all_y"))])
        assert subjects == [name for part in expected[version] for name in part.names]
    versions = [version for version, *_ in found]
    assert versions == sorted(versions)
    assert set(versions) == {1, 2, 3, 4, 5, 6}
    assert all(isinstance(it, tuple) for it in seen[:n_appended])
    # What it had opened was deleted under its hands.
    errors = [it for it in seen if not isinstance(it, tuple)]
    allowed = "Open .* again|removal of bea has not come to its end"
    assert [it for it in errors if not re.search(allowed, str(it))] == []


@pytest.mark.parametrize("how", ["overwrite", "remove"])
def test_while_a_version_is_deleted_its_readers_get_it_whole_or_are_told_to_open_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    parts = [people(tmp_path / "0", {"ann": 40, "bea": 5})]
    path, told = grown(tmp_path, parts), []
    early = [zarrts.open(path) for _ in range(60)]

    def delete(folder: Path) -> None:
        for file in sorted(it for it in folder.rglob("*") if it.is_file()):
            file.unlink()
            with early.pop() as store:
                try:
                    np.testing.assert_array_equal(store.samples.load()[0], whole(parts))
                except ZarrtsError as error:
                    told.append(str(error))
        shutil.rmtree(folder)

    monkeypatch.setattr(targets, "shutil", SimpleNamespace(rmtree=delete))
    if how == "remove":
        zarrts.remove(path, subject="bea")
    else:
        zarrts.convert(parts[0].folder, path, overwrite=True, **{**SMALL, "chunk": 800}).close()
    assert len(told) > 20
    assert [it for it in told if not re.search("Open .* again", it)] == []
