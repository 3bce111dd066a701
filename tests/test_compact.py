"""Joining the parts of a store: nothing that is read of it changes but the number of its parts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from grown_stores import (
    SMALL,
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrts
from zarrts.cli import main
from zarrts.errors import AccessError, PlanError, ReadError, SourceError, StoreError
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.store import read_header
from zarrts.upkeep import compaction, joining

pytestmark = [
    pytest.mark.usefixtures("no_waiting_for_the_disk"),
    pytest.mark.filterwarnings("ignore:3 channels but . time steps"),
]

KINDS = ("dense", "text", "several", "per recording", "per row", "packed")


def recording(name: str, n_rows: int, kind: str, seed: int) -> zarrts.Recording:
    """A recording of some kind of study; its values are numbered, so that none is like another."""
    rng = np.random.default_rng([seed, n_rows])
    if kind in ("per recording", "per row"):
        x = rng.standard_normal((n_rows, 3)).astype("f4")
        y: Any = rng.integers(0, 3, n_rows) if kind == "per row" else rng.integers(0, 3)
        return zarrts.Recording(name, x, y)
    x = rng.standard_normal((n_rows, 6, 3)).astype("f4")
    if kind == "packed":  # each from a converter of its own
        x = (rng.integers(-999, 999, (n_rows, 6, 3)) * (0.5, 0.125, 0.25)[seed % 3]).astype("f4")
    codes = rng.integers(0, 3, n_rows)
    if kind == "text":
        y = np.array(["wake", "N1", "REM"])[codes]
    elif kind == "several":
        y = {"stage": codes, "age": rng.standard_normal((n_rows, 2))}
    else:
        y = codes
    return zarrts.Recording(name, x, y)


def options_of(kind: str) -> dict[str, Any]:
    return {"kind": "ragged"} if kind == "per row" else {}


def as_seen(path: Path) -> list[Any]:
    """All that users see of a store, but for its version."""
    with zarrts.open(path) as store:
        samples = store.samples
        moments, counts = store.catalog.moments, store.catalog.class_counts
        seen: list[Any] = [
            [(it.subject, it.source, it.start, it.stop, it.n_rows) for it in store.recordings],
            [it.source_start for it in store.recordings],
            (store.subjects, store.class_names, store.n_samples, store.sample_shape, store.kind),
            samples.ids,
            samples.subject,
            *samples.load(),
            *(getattr(moments, name) for name in ("count", "mean", "m2", "min", "max")),
            samples.stats().quantile(0.25),
        ]
        if counts is not None:
            seen.append(counts)
    return seen


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    else:
        np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(KINDS),
    parts=st.lists(st.lists(st.integers(1, 23), min_size=1, max_size=3), min_size=2, max_size=5),
    seed=st.integers(0, 99),
)
def test_whatever_is_seen_of_a_store_stays_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, kind: str, parts: list[list[int]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("compact")
    path, number = folder / "a.zarr", 0
    studies = []
    for sizes in parts:
        studies.append(
            [
                recording(f"p{number + at}", size, kind, seed + number + at)
                for at, size in enumerate(sizes)
            ]
        )
        number += len(sizes)
    zarrts.convert(studies[0], path, **SMALL, **options_of(kind)).close()
    for study in studies[1:]:
        zarrts.append(path, study, progress=False).close()
    before = as_seen(path)
    done = zarrts.compact(path, drop_versions=True, progress=False)
    assert done.n_before == len(parts)
    if kind != "packed":  # of a few values, whether they lie on a grid is not to be seen
        assert (done.n_after, done.version) == (1, len(parts) + 1)
        assert done.dropped == tuple(range(1, len(parts) + 1))
    assert_equal(as_seen(path), before)
    found = zarrts.verify(path, deep=True)
    assert (found.problems, found.unnamed) == ((), ())
    shutil.rmtree(folder)


# The grid of a recording's values is found beside others, and so may be another in one conversion.
@pytest.mark.parametrize("kind", [it for it in KINDS if it != "packed"])
def test_the_joined_part_is_to_the_byte_what_one_conversion_gives(
    tmp_path: Path, kind: str
) -> None:
    every = [recording(f"p{number}", 9 + number % 5, kind, number) for number in range(12)]
    row_bytes = 12 if kind.startswith("per") else 72
    sizes = {"chunk": 4 * row_bytes, "shard": 12 * row_bytes, "progress": False}
    zarrts.convert(every[:4], tmp_path / "a.zarr", **sizes, **options_of(kind)).close()
    for it in every[4:]:
        zarrts.append(tmp_path / "a.zarr", it, progress=False).close()
    zarrts.convert(every, tmp_path / "b.zarr", **sizes, **options_of(kind)).close()
    zarrts.compact(tmp_path / "a.zarr", drop_versions=True, progress=False)
    one, other = tree(tmp_path / "a.zarr/9"), tree(tmp_path / "b.zarr/0")
    assert one.keys() == other.keys()
    # Statistics of a recording are summed shard by shard, and shards were others; and recordings
    # that are no files are named by their number.
    differing = {key for key in one if one[key] != other[key]}
    summed = {f"table/{it}/c/0/0" for it in ("mean", "m2", "mean_rest")}
    assert differing <= {*summed, "table/source/c/0"}
    for name in ("mean", "m2"):
        tables = [
            next(iter(read_tables(it, read_header(it)).values()))
            for it in (tmp_path / "a.zarr", tmp_path / "b.zarr")
        ]
        np.testing.assert_allclose(*(getattr(it.moments, name) for it in tables), rtol=1e-12)


def test_files_that_were_appended_one_by_one_give_the_store_of_all(tmp_path: Path) -> None:
    every = people(tmp_path / "all", {f"p{it}": 15 for it in range(6)}, "text")
    files = [every.folder / f"{name}.npz" for name in every.names]
    for name, first in (("a.zarr", files[:2]), ("b.zarr", files)):
        zarrts.convert([str(it) for it in first], tmp_path / name, **SMALL).close()
    for file in files[2:]:
        zarrts.append(tmp_path / "a.zarr", str(file), progress=False).close()
    zarrts.compact(tmp_path / "a.zarr", drop_versions=True, progress=False)
    assert tree(tmp_path / "a.zarr/5") == tree(tmp_path / "b.zarr/0")


def test_nothing_changes_while_earlier_versions_are_not_to_go(tmp_path: Path) -> None:
    path = grown(tmp_path, three(tmp_path))
    before = times(path)
    with pytest.raises(PlanError, match=r"joining 3 parts ends 2 earlier versions \(1 to 2\)"):
        zarrts.compact(path, progress=False)
    result = CliRunner().invoke(main, ["compact", str(path)])
    assert result.exit_code == 1
    assert "--drop-versions" in result.output
    assert times(path) == before


def test_parts_are_compared_in_time_that_grows_as_they_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the metadata of all parts, each is asked for its own, and once."""
    path = grown(tmp_path, three(tmp_path))
    nodes = json.loads((path / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
    seen, real = [], joining.kind_of

    def kind_of(segment: Any, documents: Any, table: Any) -> Any:
        seen.append((segment.name, sorted(documents)))
        return real(segment, documents, table)

    monkeypatch.setattr(compaction, "kind_of", kind_of)
    assert zarrts.compact(path, drop_versions=True, progress=False).n_after == 1
    below = {it.partition("/")[::2] for it in nodes}
    assert seen == [
        (name, sorted(it for of, it in below if of == name and it.split("/")[0] != "table"))
        for name in "012"
    ]


def test_without_earlier_versions_nothing_has_to_be_allowed(tmp_path: Path) -> None:
    parts = three(tmp_path)
    path = grown(tmp_path, parts)
    zarrts.remove(path, subject="bea")  # with which versions 1 to 3 end
    before = as_seen(path)
    done = zarrts.compact(path, progress=False)
    assert (done.n_before, done.n_after, done.dropped) == (3, 1, (4,))
    assert_equal(as_seen(path), before)


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    path = grown(tmp_path, three(tmp_path))
    result = CliRunner().invoke(main, ["compact", str(path), "--drop-versions"])
    assert result.output == (
        f"Joined 3 parts into 1; {path} is version 4, and 3 earlier versions gone.\n"
    )
    result = CliRunner().invoke(main, ["compact", str(path)])
    assert (result.exit_code, result.output) == (
        0,
        f"{path} has one part; nothing is to be joined.\n",
    )
    with pytest.raises(StoreError, match="Version 2 is gone: version 4 joined their parts"):
        zarrts.open(path, version=2)


def test_parts_of_other_options_stay_apart(tmp_path: Path) -> None:
    """By its options, repair finds the sources of a part."""
    parts = three(tmp_path)
    path = tmp_path / "a.zarr"
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for file in parts[1].folder.glob("*.npz"):
        with np.load(file) as saved:
            np.savez(renamed / file.name, u=saved["x"], v=saved["y"], w=saved["x"])
    more = people(tmp_path / "more", {"gus": 5}, "int", 2)
    zarrts.convert(parts[0].folder, path, **SMALL).close()
    zarrts.append(path, renamed, x="u", y="v", progress=False).close()
    zarrts.append(path, parts[2].folder, progress=False).close()
    zarrts.append(path, more.folder, progress=False).close()
    done = zarrts.compact(path, drop_versions=True, progress=False)
    assert (done.n_before, done.n_after) == (4, 3)
    assert [it.options.get("x") for it in read_header(path).segments] == [None, "u", None]
    assert_holds(path, [*parts, more])
    # The version of the first two parts is there still.
    assert_holds(path, parts[:2], version=2)
    result = CliRunner().invoke(main, ["compact", str(path)])
    assert "3 parts, no two of them alike" in result.output
    shutil.rmtree(path / "4/x/c")
    zarrts.repair(path, [parts[2].folder, more.folder])
    assert_holds(path, [*parts, more])


def test_parts_whose_files_say_the_rate_are_joined(tmp_path: Path) -> None:
    """An appended part has the rate of the store among its options, and the first part has not."""
    path, rng = tmp_path / "a.zarr", np.random.default_rng(0)
    every = [
        zarrts.Recording(
            name, rng.standard_normal((9, 6, 3)).astype("f4"), [0, 1, 2] * 3, rate_hz=50
        )
        for name in ("ann", "bea", "cid")
    ]
    zarrts.convert(every[0], path, **SMALL).close()
    for it in every[1:]:
        zarrts.append(path, it, progress=False).close()
    told = [it.options.get("rate_hz") for it in read_header(path).segments]
    assert told == [None, 50.0, 50.0]
    before = read_header(path).description
    assert zarrts.compact(path, drop_versions=True, progress=False).n_after == 1
    assert read_header(path).description == before
    with zarrts.open(path) as store:
        assert store.rate_hz == 50.0
        np.testing.assert_array_equal(
            store.samples.load()[0], np.concatenate([it.x for it in every])
        )
    assert zarrts.verify(path, deep=True, sources=every).problems == ()
    other = zarrts.Recording("dan", every[0].x + 1, [0, 1, 2] * 3, rate_hz=100)
    with pytest.raises(zarrts.SourceError, match="100 Hz"):
        zarrts.append(path, other, progress=False)


def test_parts_of_counts_are_joined_whatever_suits_their_values_best(tmp_path: Path) -> None:
    path, rng = tmp_path / "a.zarr", np.random.default_rng(0)
    ranges = {"ann": (-900, 900), "bea": (0, 120), "cid": (-900, 900)}
    every = [
        zarrts.Recording(
            name, (rng.integers(low, high, (60, 32, 4)) * 0.5).astype("f4"), [0, 1, 2] * 20
        )
        for name, (low, high) in ranges.items()
    ]
    zarrts.convert(every[0], path, chunk="4KiB", shard="16KiB", progress=False).close()
    for it in every[1:]:
        zarrts.append(path, it, progress=False).close()
    shuffles = [it.x.compressor["shuffle"] for it in read_header(path).segments]
    assert shuffles == ["bitshuffle", "shuffle", "bitshuffle"]
    assert all(it.x.packed is not None for it in read_header(path).segments)
    assert zarrts.compact(path, drop_versions=True, progress=False).n_after == 1
    with zarrts.open(path) as store:
        np.testing.assert_array_equal(
            store.samples.load()[0], np.concatenate([it.x for it in every])
        )
    assert zarrts.verify(path, deep=True, sources=every).problems == ()
    shutil.rmtree(path / str(max(int(it.name) for it in read_header(path).segments)) / "x/c")
    zarrts.repair(path, sources=every)
    assert zarrts.verify(path, deep=True, sources=every).problems == ()


def test_what_is_done_with_a_store_is_done_after_it_too(tmp_path: Path) -> None:
    parts = three(tmp_path)
    path = grown(tmp_path, parts)
    zarrts.compact(path, drop_versions=True, progress=False)
    (name,) = [it.name for it in read_header(path).segments]
    folders = [it.folder for it in parts]
    more = people(tmp_path / "more", {"gus": 8}, "int", 1)
    for key in ("checksum/x/c/0", "x/c/0/0/0", "y/c/1", "recording/c/0", "zarr.json"):
        before = tree(path)
        (path / name / key).write_bytes(before[f"{name}/{key}"][::-1])
        if key[:2] in ("x/", "y/", "re"):  # others follow from what is whole
            with pytest.raises(SourceError, match="is not among the sources"):
                zarrts.repair(path, more.folder)
        zarrts.repair(path, folders)
        assert tree(path) == before
    assert zarrts.verify(path, sources=folders).problems == ()
    every = tmp_path / "all"
    for folder in folders:
        shutil.copytree(folder, every, dirs_exist_ok=True)
    for folder in (every, folders[0]):
        with pytest.raises(PlanError, match=r"is version 4 of a store of these sources: since it"):
            zarrts.convert(folder, path, **SMALL)
    zarrts.append(path, more.folder, progress=False).close()
    assert_holds(path, [*parts, more])
    zarrts.remove(path, subject="dan")
    with zarrts.open(path) as store:
        x, owners = whole([*parts, more]), whole([*parts, more], "subject")
        np.testing.assert_array_equal(store.samples.load()[0], x[owners != "dan"])
    assert b"dan" not in b"".join(tree(path).values())
    zarrts.compact(path, drop_versions=True, progress=False)
    assert zarrts.verify(path, deep=True).problems == ()


def test_who_has_an_earlier_version_open_is_told_so(tmp_path: Path) -> None:
    path = grown(tmp_path, three(tmp_path))
    with zarrts.open(path) as store:
        zarrts.compact(path, drop_versions=True, progress=False)
        with pytest.raises(AccessError, match="Open it again"):
            store.samples.load()


def test_the_order_depends_on_the_version_alone(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        path = grown(tmp_path / name, three(tmp_path / name))
        zarrts.compact(path, drop_versions=True, workers=1 + len(found), progress=False)
        with zarrts.open(path) as store:
            found.append(snapshot(store.samples.batches(7, seed=3, memory="3KiB")))
    assert_same(*found)
    assert tree(tmp_path / "one/a.zarr") == tree(tmp_path / "two/a.zarr")


def test_what_is_damaged_is_not_joined(tmp_path: Path) -> None:
    path = grown(tmp_path, three(tmp_path))
    file = path / "1/x/c/0/0/0"
    content = file.read_bytes()
    file.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    before = times(path)
    with pytest.raises(ReadError, match="zarrts repair"):
        zarrts.compact(path, drop_versions=True, progress=False)
    assert times(path) == before
    shutil.rmtree(path / "1/table")
    with pytest.raises(StoreError, match="the table of recordings of part 1"):
        zarrts.compact(path, drop_versions=True, progress=False)


def test_too_little_memory_or_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = grown(tmp_path, three(tmp_path))
    before = times(path)
    with pytest.raises(PlanError, match=r"memory=1MiB is too little"):
        zarrts.compact(path, drop_versions=True, memory="1MiB", progress=False)
    monkeypatch.setattr(compaction, "free_bytes", lambda root: 999)
    with pytest.raises(PlanError, match=r"joining its parts needs about .* but 999 bytes are free"):
        zarrts.compact(path, drop_versions=True, progress=False)
    monkeypatch.undo()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compaction, "write_task", full)
    with pytest.raises(PlanError, match="the disk is full; the store is as it was"):
        zarrts.compact(path, drop_versions=True, progress=False)
    assert times(path) == before


@pytest.mark.parametrize("step", ["write_task", "write_checksums", "write_table", "publish"])
def test_a_step_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = grown(tmp_path, three(tmp_path))
    before = times(path)
    real: Callable[..., Any] = getattr(compaction, step)

    def stopped(*args: Any) -> None:
        real(*args) if step != "publish" else None
        raise KeyboardInterrupt

    monkeypatch.setattr(compaction, step, stopped)
    with pytest.raises(KeyboardInterrupt):
        zarrts.compact(path, drop_versions=True, progress=False)
    assert times(path) == before


def test_an_unfinished_append_is_finished_first_and_a_removal_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zarrts.upkeep import removal

    parts = three(tmp_path)
    path = grown(tmp_path, parts)

    def killed(target: Any) -> None:
        raise OSError("stopped")

    monkeypatch.setattr(removal, "finish_removal", killed)
    with pytest.raises(PlanError, match="not all of its files"):
        zarrts.remove(path, subject="fay")
    monkeypatch.undo()
    zarrts.compact(path, drop_versions=True, progress=False)
    assert read_header(path).removal is None
    assert b"fay" not in b"".join(tree(path).values())
    with zarrts.open(path) as store:
        assert store.subjects == ["ann", "bea", "cid", "dan", "eve"]


def test_sketches_of_very_many_recordings_have_fewer_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zarrts.stats import sketches

    path = tmp_path / "a.zarr"
    every = [recording(f"p{it}", 40, "dense", it) for it in range(4)]
    zarrts.convert(every[0], path, **SMALL).close()
    for it in every[1:]:
        zarrts.append(path, it, progress=False).close()
    with zarrts.open(path) as store:
        before = store.samples.stats().quantile(0.5)
    monkeypatch.setattr(sketches, "_MOST_VALUES", 4 * 3 * 100)
    monkeypatch.setattr(sketches, "_POINT_VALUES", 4 * 3 * 64)
    zarrts.compact(path, drop_versions=True, progress=False)
    with zarrts.open(path) as store:
        (table,) = read_tables(path, store.header).values()
        sketch = table.points()
        assert sketch is not None
        assert sketch.shape == (4, 64, 3)
        np.testing.assert_allclose(store.samples.stats().quantile(0.5), before, atol=0.1)


def test_shards_become_as_large_as_usual_where_the_first_part_filled_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    every = [recording(f"p{it}", 10, "dense", it) for it in range(9)]
    zarrts.convert(every[0], path, progress=False).close()
    for it in every[1:]:
        zarrts.append(path, it, progress=False).close()
    monkeypatch.setattr(joining, "_SHARD_BYTES", 4 * 10 * 72)
    before = as_seen(path)
    zarrts.compact(path, drop_versions=True, progress=False)
    (segment,) = read_header(path).segments
    assert (segment.x.chunk_rows, segment.x.shard_rows) == (10, 40)
    assert segment.options["samples in a shard"] == 40
    assert len([*(path / segment.name / "x/c").iterdir()]) == 3
    assert_equal(as_seen(path), before)
    # A later part is like it, and joins it.
    zarrts.append(path, recording("q", 7, "dense", 77), progress=False).close()
    assert zarrts.compact(path, drop_versions=True, progress=False).n_after == 1
    assert zarrts.verify(path, deep=True).problems == ()


def test_a_store_that_is_joined_in_a_bucket_is_the_one_of_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    parts = three(tmp_path)
    path, address = grown(tmp_path, parts), "memory://compact/a.zarr"
    zarrts.convert(parts[0].folder, address, **SMALL).close()
    for part in parts[1:]:
        zarrts.append(address, part.folder, progress=False).close()
    for it in (path, address):
        zarrts.compact(it, drop_versions=True, progress=False)
    found = zarrts.verify(address, deep=True)
    assert (found.problems, found.unnamed) == ((), ())
    with zarrts.open(address) as store:
        np.testing.assert_array_equal(store.samples.load()[0], whole(parts))
        root = json.loads((path / "zarr.json").read_bytes())
        assert store.header.write_id == root["attributes"]["zarrts"]["write_id"]
