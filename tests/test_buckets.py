"""Stores in buckets: what a folder gives, a bucket gives as well, and nothing fails silently."""

import inspect
import itertools
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Study, make_study
from fake_s3 import FakeS3, fake_s3
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import options_for, slow_proxy

import zarrts
from zarrts.buckets import addresses, bucket, connections, lease
from zarrts.buckets.bucket import Bucket
from zarrts.buckets.mounts import Mounts
from zarrts.buckets.objects import ObjectPath
from zarrts.cli import main
from zarrts.conversion import run as conversion
from zarrts.conversion.lock import LOCK
from zarrts.conversion.target import JOURNAL
from zarrts.errors import BucketError, PlanError, ReadError, StoreError
from zarrts.sources.study import fingerprint
from zarrts.storage import journal, location, ranged, shards
from zarrts.storage.location import list_files, locate, opened, read_files

pytest.importorskip("obstore", reason="the extra cloud is not installed")

pytestmark = pytest.mark.usefixtures("no_waiting_for_buckets")

# Of samples of shape (6, 3), five are in a chunk and fifteen in a shard.
SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}
SIZES = (37, 1, 60, 22)
_names = itertools.count()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("buckets") / "subjects", sizes=SIZES)


@pytest.fixture(scope="module")
def folder(study: Study) -> Path:
    """The same store in a folder."""
    target = study.folder.parent / "a.zarr"
    zarrts.convert(study.folder, target, **SMALL)
    return target


@pytest.fixture
def address() -> str:
    """Of nothing yet, below other objects of the bucket."""
    number = next(_names)
    ObjectPath(Bucket(addresses.Address("memory", f"memory://b{number}")), "other").bucket.put(
        "lab/other.txt", b"not ours"
    )
    return f"memory://b{number}/lab/a.zarr"


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as fake:
        yield fake


def files_of(place: Any, options: Any = None) -> dict[str, bytes]:
    with opened(place, options) as root:
        files = read_files(root, list_files(root))
    if isinstance(root, Path):
        files.pop("writing.lock", None)  # which stays in a folder
    return files


@pytest.fixture
def no_threads() -> Iterator[None]:
    """Fail if the test left threads that wait for a bucket."""
    before = {*threading.enumerate()}
    yield
    left = [it.name for it in threading.enumerate() if it not in before]
    assert not [name for name in left if name.startswith("zarrts-")]


def batches_of(store: Any, **options: Any) -> list[tuple[Any, ...]]:
    with store.samples.batches(7, **options) as batches:
        return [tuple(np.array(it) for it in (b.x, b.y, b.sample_id)) for b in batches]


def assert_same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


# What a bucket holds and gives -------------------------------------------------------------------


def test_a_bucket_gets_the_bytes_of_a_folder(
    study: Study, folder: Path, address: str, no_threads: None
) -> None:
    with zarrts.convert(study.folder, address, **SMALL) as store:
        assert store.path == address
        x, y = store.samples.load()
    np.testing.assert_array_equal(x, study.all_x)
    np.testing.assert_array_equal(y, study.all_y)
    assert files_of(address) == files_of(folder)


@pytest.mark.parametrize("labels_per", ["row", "recording"])
def test_ragged_stores_are_the_same_in_a_bucket(
    tmp_path: Path, address: str, labels_per: str
) -> None:
    rng = np.random.default_rng(0)
    recordings = []
    for number, length in enumerate((9, 0, 5, 30, 12)):
        y = number % 2 if labels_per == "recording" else rng.integers(0, 3, length)
        x = rng.normal(size=(length, 3)).astype("f4")
        recordings.append(zarrts.Recording(f"s{number % 3}", x, y))
    sizes = {"chunk": 60, "shard": 120, "progress": False, "kind": "ragged"}
    local = zarrts.convert(recordings, tmp_path / "a.zarr", **sizes)
    with zarrts.convert(recordings, address, **sizes) as store:
        assert files_of(address) == files_of(tmp_path / "a.zarr")
        for one, other in zip(local.samples.load()[0], store.samples.load()[0], strict=True):
            np.testing.assert_array_equal(one, other)
        label = "last" if labels_per == "row" else "recording"
        few, same = (it.samples.windows(4, stride=3, label=label) for it in (store, local))
        for shuffle in (True, False):
            got = [b.x.copy() for b in few.batches(3, shuffle=shuffle)]
            for one, other in zip(got, same.batches(3, shuffle=shuffle), strict=True):
                np.testing.assert_array_equal(one, other.x)
        np.testing.assert_array_equal(few.stats().mean, same.stats().mean)


@pytest.fixture(scope="module")
def pair(study: Study, folder: Path) -> Iterator[tuple[Any, Any]]:
    """The store in a folder and in a bucket."""
    with zarrts.convert(study.folder, "memory://pair/a.zarr", **SMALL) as store:
        yield zarrts.open(folder), store


@settings(max_examples=25, deadline=None)
@given(
    shuffle=st.sampled_from([True, False, "global"]),
    memory=st.sampled_from(["3KiB", "8KiB", "1MiB"]),
    epoch=st.integers(0, 3),
    workers=st.integers(1, 3),
    subjects=st.sets(st.integers(0, 3), min_size=1),
)
def test_batches_are_those_of_a_folder(
    pair: tuple[Any, Any],
    shuffle: Any,
    memory: str,
    epoch: int,
    workers: int,
    subjects: set[int],
) -> None:
    names = [f"s{it:02d}" for it in sorted(subjects)]
    found = []
    for store in pair:
        chosen = store.samples.select(subjects=names)
        with chosen.batches(
            7, shuffle=shuffle, memory=memory, epoch=epoch, workers=workers, seed=epoch
        ) as batches:
            found.append([tuple(np.array(it) for it in (b.x, b.y, b.sample_id)) for b in batches])
    assert_same(*found)


def test_what_is_read_of_samples_is_that_of_a_folder(pair: tuple[Any, Any]) -> None:
    local, remote = pair
    np.testing.assert_array_equal(remote.samples.stats().std, local.samples.stats().std)
    assert remote.samples.class_weight() == local.samples.class_weight()
    chosen = [it.samples.select(classes=[3]) for it in pair]
    np.testing.assert_array_equal(chosen[0].ids, chosen[1].ids)
    for one, other in zip(local.samples[44], remote.samples[44], strict=True):
        np.testing.assert_array_equal(one, other)


def test_neighbours_are_read_with_one_request_and_what_fits_is_read_once(
    study: Study, folder: Path, s3: FakeS3
) -> None:
    for key, content in files_of(folder).items():
        s3.objects[f"a.zarr/{key}"] = content
    with zarrts.open("s3://lab/a.zarr", storage_options=s3.options) as store:
        assert s3.requests["GET"] == 1  # the root, and nothing else
        loader = store.samples
        n_shards, n_chunks = -(-sum(SIZES) // 15), sum(SIZES) / 5
        batches_of(store, shuffle=False)  # which reads the table as well, once
        n_table = len(files_of(folder / "0" / "table"))
        # A shard this small is one request; and one each for the lists of checksums, and for the
        # root, to see whether these are of the store that was opened.
        assert s3.requests["GET"] - 1 <= n_table + 2 * n_shards + 3 < n_table + n_chunks
        assert s3.requests["HEAD"] <= 3
        seq = loader.batches(7, memory="1MiB")
        with seq:
            list(seq)
        before = s3.requests["GET"]
        again = loader.batches(7, epoch=1, memory="1MiB")
        with again:
            list(again)
        assert s3.requests["GET"] == before  # small shards are kept with their index


@pytest.mark.parametrize("memory", ["8KiB", "1MiB"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_request_their_own_part_once_and_nothing_else(
    folder: Path, s3: FakeS3, monkeypatch: pytest.MonkeyPatch, shuffle: bool, memory: str
) -> None:
    files = files_of(folder)
    for key, content in files.items():
        s3.objects[f"a.zarr/{key}"] = content
    requested: list[tuple[str, int, int]] = []
    real = Bucket.get_range

    def get_range(self: Bucket, key: str, start: int, stop: int) -> Any:
        if key.startswith("a.zarr/0/x/c/"):
            requested.append((key.removeprefix("a.zarr/"), start, stop))
        return real(self, key, start, stop)

    monkeypatch.setattr(ranged, "_SMALL_SHARD_BYTES", 0)  # which are read whole
    monkeypatch.setattr(Bucket, "get_range", get_range)
    n_ranks, parts, chunks = 3, list[list[int]](), list[list[int]]()
    for rank in range(n_ranks):
        requested.clear()
        with zarrts.open("s3://lab/a.zarr", storage_options=s3.options) as store:
            options: Any = {"rank": rank, "world_size": n_ranks, "shuffle": shuffle}
            found = batches_of(store, memory=memory, **options)
        parts.append([int(it) for _, _, ids in found for it in ids])
        chunks.append([])
        for key, start, stop in requested:
            shard = int(key.split("/")[3])
            # Offset and size of each of its three chunks of five samples, and a checksum.
            for place, (offset, size) in enumerate(
                np.frombuffer(files[key][-52:-4], "<u8").reshape(3, 2).tolist()
            ):
                if start < offset + size and offset < stop:
                    chunks[-1].append(3 * shard + place)
    assert sorted(itertools.chain(*parts)) == list(range(sum(SIZES)))
    for part, asked in zip(parts, chunks, strict=True):
        assert len(part) == sum(SIZES) / n_ranks
        assert sorted(asked) == sorted({it // 5 for it in part})
    # A chunk on the border of two parts is read by both.
    assert sum(map(len, chunks)) <= sum(SIZES) / 5 + n_ranks - 1


# What is kept on a local disk --------------------------------------------------------------------


@pytest.fixture
def served(folder: Path, s3: FakeS3) -> FakeS3:
    """The store on a server that notes the shards that are asked for."""
    for key, content in files_of(folder).items():
        s3.objects[f"a.zarr/{key}"] = content

    def note(method: str, key: str) -> None:
        s3.requests["shards"] += re.search(r"/0/[xy]/c/", key) is not None

    s3.fault = note
    return s3


def kept_bytes(cache: Path) -> int:
    return sum(it.stat().st_size for it in cache.glob("*/*"))


def epoch_of(served: FakeS3, cache: Path, epoch: int = 0, **options: Any) -> list[Any]:
    """Return the batches of an epoch of a store that was never opened before."""
    place = {"storage_options": served.options, "cache": cache}
    with zarrts.open("s3://lab/a.zarr", **place, **options) as store:
        return batches_of(store, epoch=epoch, memory="8KiB")


def test_what_is_cached_is_not_asked_for_again(
    tmp_path: Path, folder: Path, served: FakeS3
) -> None:
    for epoch in range(2):
        found = epoch_of(served, tmp_path / "cache", epoch)
        assert_same(found, batches_of(zarrts.open(folder), epoch=epoch, memory="8KiB"))
        if epoch == 0:
            assert served.requests["shards"] > 0
            served.requests.clear()
    assert served.requests["shards"] == 0


def test_damage_in_the_cache_is_mended_from_the_bucket(
    tmp_path: Path, folder: Path, served: FakeS3
) -> None:
    cache = tmp_path / "cache"
    epoch_of(served, cache)
    files = sorted(cache.glob("*/*"))
    for number, path in enumerate(files):
        content = path.read_bytes()
        if number % 3 == 0:
            path.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
        elif number % 3 == 1:
            path.write_bytes(content[:-1])
    assert_same(epoch_of(served, cache), batches_of(zarrts.open(folder), memory="8KiB"))
    served.requests.clear()
    assert_same(epoch_of(served, cache), batches_of(zarrts.open(folder), memory="8KiB"))
    assert served.requests["shards"] == 0


def test_a_cache_that_is_too_small_keeps_what_it_has(
    tmp_path: Path, folder: Path, served: FakeS3
) -> None:
    cache = tmp_path / "cache"
    epoch_of(served, cache, cache_bytes=4000)
    first = {it.name for it in cache.glob("*/*")}
    assert 3000 < kept_bytes(cache) <= 4000
    found = epoch_of(served, cache, 1, cache_bytes=4000)
    assert_same(found, batches_of(zarrts.open(folder), epoch=1, memory="8KiB"))
    assert {it.name for it in cache.glob("*/*")} == first


def test_what_was_used_longest_ago_of_other_stores_makes_room(
    tmp_path: Path, served: FakeS3
) -> None:
    cache = tmp_path / "cache"
    others = [cache / name / "0-00000000" for name in ("old", "new")]
    for age, path in enumerate(others):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(8000))
        os.utime(path, (age, age))
    epoch_of(served, cache, cache_bytes=24_000)
    assert [path.exists() for path in others] == [False, True]
    assert 8000 < kept_bytes(cache) <= 24_000


def test_several_readers_share_a_cache(tmp_path: Path, folder: Path, served: FakeS3) -> None:
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(epoch_of, served, cache, epoch) for epoch in range(3)]
    for epoch, job in enumerate(jobs):
        expected = batches_of(zarrts.open(folder), epoch=epoch, memory="8KiB")
        assert_same(job.result(), expected)
    assert not [*cache.glob("*/*.partial")]


def test_caches_that_cannot_be(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(PlanError, match="is a folder already, and cache= is for addresses"):
        zarrts.open(folder, cache=tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match=r"cache='.*file' cannot be written"):
        zarrts.open("memory://b/a.zarr", cache=tmp_path / "file")
    with pytest.raises(PlanError, match="cache_bytes"):
        zarrts.open("memory://b/a.zarr", cache=tmp_path / "cache", cache_bytes="much")


# Changes -----------------------------------------------------------------------------------------


def test_append_verify_and_remove_are_those_of_a_folder(
    tmp_path: Path, study: Study, folder: Path, address: str, no_threads: None
) -> None:
    new = make_study(tmp_path / "new", sizes=[13, 8], seed=1)
    for number, name in enumerate(new.names):
        (new.folder / f"{name}.npz").rename(new.folder / f"t{number}.npz")
    found = []
    for place in (tmp_path / "a.zarr", address):
        zarrts.convert(study.folder, place, **SMALL).close()
        zarrts.append(place, new.folder, progress=False).close()
        assert not zarrts.verify(place, deep=True).problems
        assert zarrts.open(place, version=1).n_samples == sum(SIZES)
        zarrts.remove(place, subject="s02")
        assert not zarrts.verify(place, deep=True).problems
        found.append(files_of(place))
    assert found[0] == found[1]
    with pytest.raises(StoreError, match=r"is gone: a subject was removed"):
        zarrts.open(address, version=1)


def flip(place: str, key: str, at: int = 30) -> None:
    root = locate(place)
    assert isinstance(root, ObjectPath)
    content = bytearray((root / key).read_bytes())
    content[at] ^= 1
    root.bucket.put((root / key).key, bytes(content))


def test_damage_is_found_skipped_and_repaired(study: Study, folder: Path, address: str) -> None:
    zarrts.convert(study.folder, address, **SMALL).close()
    flip(address, "0/x/c/2/0/0")
    root = locate(address)
    assert isinstance(root, ObjectPath)
    root.bucket.delete([(root / "0/y/c/4").key])
    with zarrts.open(address) as store, pytest.raises(ReadError, match=r"0/x/c/2/0/0: the part"):
        store.samples.select(ids=range(30, 45)).load()
    with zarrts.open(address) as store, pytest.raises(ReadError, match=r"0/y/c/4, needed for rows"):
        store.samples.select(ids=range(60, 75)).load()
    with (
        zarrts.open(address) as store,
        pytest.warns(UserWarning, match="Left out of every epoch"),
    ):
        seen = [b[2] for b in batches_of(store, on_error="skip")]
    expected = {*range(sum(SIZES))} - {*range(60, 75)} - {*range(30, 35)}
    assert {*np.concatenate(seen).tolist()} == expected
    texts = " ".join(it.text for it in zarrts.verify(address, deep=True).problems)
    assert "0/x/c/2/0/0 does not match its checksum" in texts
    assert "0/y/c/4 is missing" in texts
    zarrts.repair(address, study.folder)
    assert files_of(address) == files_of(folder)


def test_bytes_damaged_on_their_way_are_asked_for_again(
    study: Study, folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarrts.convert(study.folder, address, **SMALL).close()
    real, seen = Bucket.get_tail, set()

    def get_tail(self: Bucket, key: str, n_bytes: int) -> tuple[Any, int]:
        content, size = real(self, key, n_bytes)
        if key in seen:
            return content, size
        seen.add(key)
        damaged = bytearray(content)
        damaged[5] ^= 1
        return bytes(damaged), size

    monkeypatch.setattr(Bucket, "get_tail", get_tail)
    with zarrts.open(address) as store:
        np.testing.assert_array_equal(store.samples.load()[0], study.all_x)
    assert len(seen) > 10


# Writing that is interrupted ---------------------------------------------------------------------


class Crash(BaseException):
    pass


def crash_after(
    monkeypatch: pytest.MonkeyPatch, n_tasks: int, source: Any, target: str
) -> list[int]:
    """Let a conversion end as if it was killed, and return which shards were finished."""
    calls, finished = iter(range(n_tasks)), []

    def add(self: Any, task: Any, real: Any = journal.JournalWriter.add) -> None:
        if next(calls, None) is None:
            raise Crash
        real(self, task)
        finished.append(task.shard)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(journal.JournalWriter, "add", add)
        patch.setattr(conversion, "_clear_up", lambda *args, **options: 1)
        patch.setattr(lease.Lease, "release", lambda self: self._is_over.set())
        zarrts.convert(source, target, **{**SMALL, "workers": 1})
    return finished


def wait_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the lease of a killed conversion at once; it leaves one behind."""

    def wait(self: Any, real: Any = lease.Lease._wait_for_end) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lease, "LEASE_S", 0.05)
            return real(self)

    monkeypatch.setattr(lease.Lease, "_wait_for_end", wait)


def test_another_machine_goes_on_where_one_was_killed(
    study: Study, folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = crash_after(monkeypatch, 3, study.folder, address)
    assert {JOURNAL, LOCK} <= {key.partition("/")[0] for key in files_of(address)}
    with pytest.raises(StoreError, match="conversion did not finish"):
        zarrts.open(address)
    wait_briefly(monkeypatch)
    written = []

    def commit(self: Any, real: Any = shards.ShardWriter.commit) -> Any:
        done = real(self)
        written.append(done.key)
        return done

    monkeypatch.setattr(shards.ShardWriter, "commit", commit)
    zarrts.convert(study.folder, address, **SMALL).close()
    left = {*range(-(-sum(SIZES) // 15))} - {*finished}
    assert sorted(written) == sorted(
        f"0/{array}/c/{n}" + ("/0/0" if array == "x" else "")
        for array in ("x", "y", "recording")
        for n in left
    )
    assert files_of(address) == files_of(folder)


CHILD = """
import json, sys, zarrts
zarrts.convert(sys.argv[1], sys.argv[2], storage_options=json.loads(sys.argv[3]), codec="none",
               shard="16MiB", workers=1, progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_nothing_stays_of_an_upload_whose_process_is_killed(
    tmp_path: Path, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(1500, 128, 32)).astype("f4")  # 25 MB
    np.savez(tmp_path / "anna.npz", x=x, y=np.arange(1500) % 3)
    spool = tmp_path / "spool"
    spool.mkdir()

    def kill(n_bytes: int) -> None:
        if n_bytes > 1 << 20:
            child.kill()

    with slow_proxy(s3.url, 0, kill) as url:
        given = [tmp_path / "anna.npz", "s3://lab/a.zarr", json.dumps(options_for(url))]
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *map(str, given)],
            env=os.environ | {"TMPDIR": str(spool)},
        )
        assert child.wait(200) == -signal.SIGKILL
    assert not list(spool.iterdir())
    assert {*s3.objects} >= {f"a.zarr/{LOCK}", "a.zarr/0/zarr.json"}
    assert not any("/x/c/" in key for key in s3.objects)
    wait_briefly(monkeypatch)
    sizes: dict[str, Any] = {"codec": "none", "shard": "16MiB", "progress": False}
    with zarrts.convert(
        tmp_path / "anna.npz", "s3://lab/a.zarr", storage_options=s3.options, **sizes
    ) as store:
        np.testing.assert_array_equal(store.samples.load()[0], x)
    zarrts.convert(tmp_path / "anna.npz", tmp_path / "a.zarr", **sizes).close()
    assert files_of("s3://lab/a.zarr", s3.options) == files_of(tmp_path / "a.zarr")


def test_an_object_has_as_long_as_it_needs_at_the_slowest_rate(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = []

    def make(address: Any, n_minutes: int, real: Any = bucket.make_client) -> Any:
        minutes.append(n_minutes)
        return real(address, n_minutes)

    monkeypatch.setattr(bucket, "make_client", make)
    monkeypatch.setattr(bucket, "_BYTES_A_MINUTE", 10)
    monkeypatch.setattr(bucket, "MAX_OBJECT_BYTES", 100)
    one = Bucket(addresses.parse_address("s3://lab", s3.options)[0])
    for n_bytes in (0, 10, 11, 20, 21, 40, 41, 80, 81, 100):
        one.put("a", bytes(n_bytes))
        assert s3.objects["a"] == bytes(n_bytes)
    assert minutes == [1, 2, 4, 8, 16]
    with pytest.raises(BucketError, match="lab/a: would hold 101 bytes, and a bucket takes 100"):
        one.put("a", bytes(101))


def test_shards_that_no_bucket_takes_at_once_are_refused_before_anything_is_written(
    study: Study, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "MAX_OBJECT_BYTES", 1000)
    with pytest.raises(PlanError, match=r"a.zarr: 1,080 bytes in one .*; lower shard to at most 8"):
        zarrts.convert(study.folder, address, **SMALL)
    assert not files_of(address)


@pytest.mark.parametrize("is_large", [True, False])
def test_a_finished_conversion_asks_the_bucket_three_times(
    study: Study, s3: FakeS3, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 16)
    options = {**SMALL, "storage_options": s3.options}
    zarrts.convert(study.folder, "s3://lab/a.zarr", **options).close()
    s3.requests.clear()
    with zarrts.convert(study.folder, "s3://lab/a.zarr", **options) as store:
        # Which names are there, and the root; of large files, their stamps.
        assert dict(s3.requests) == {"LIST": 1, "GET": 1 + is_large}
        np.testing.assert_array_equal(store.samples.load()[0], study.all_x)


def test_what_a_kill_left_in_a_bucket_is_deleted_by_the_next_run(
    study: Study, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**SMALL, "storage_options": s3.options}
    zarrts.convert(study.folder, "s3://lab/a.zarr", **options).close()
    whole = dict(s3.objects)
    # A lease whose writer is gone, and what it had not deleted yet.
    wait_briefly(monkeypatch)
    s3.objects["a.zarr/writing.lock"] = b"{}"
    s3.objects["a.zarr/manifests/7.json"] = s3.objects["a.zarr/manifests/1.json"]
    s3.objects["a.zarr/7/zarr.json"] = s3.objects["a.zarr/0/zarr.json"]
    s3.objects["a.zarr/7/x/c/0/0/0"] = b"rows"
    zarrts.convert(study.folder, "s3://lab/a.zarr", **options).close()
    assert s3.objects == whole


def test_unfinished_parts_of_other_sources_are_not_lost_by_accident(
    study: Study, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_briefly(monkeypatch)
    crash_after(monkeypatch, 2, study.folder, address)
    with pytest.raises(PlanError, match=r"holds an unfinished conversion .*s03.npz: no longer"):
        zarrts.convert([study.folder / "s02.npz", study.folder / "s00.npz"], address, **SMALL)
    files = [study.folder / "s02.npz", study.folder / "s00.npz"]
    with zarrts.convert(files, address, restart=True, **SMALL) as store:
        assert store.subjects == ["s00", "s02"]
    assert not any(key.startswith(JOURNAL) for key in files_of(address))


def test_a_prefix_with_other_objects_is_refused(study: Study, address: str) -> None:
    with pytest.raises(PlanError, match=r"b\d+/lab is not empty: it holds other.txt"):
        zarrts.convert(study.folder, address.rpartition("/")[0], **SMALL)


# Two who write -----------------------------------------------------------------------------------


def test_of_two_converters_one_wins_and_the_other_says_so(study: Study, address: str) -> None:
    root = locate(address)
    assert isinstance(root, ObjectPath)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "LEASE_S", 8.0)  # renewed each quarter of it, on a busy machine too
        held = lease.Lease(root / LOCK)
        try:
            with pytest.raises(PlanError, match=r"another conversion \(process \d+ on .*writing"):
                zarrts.convert(study.folder, address, **SMALL)
        finally:
            held.release()
    zarrts.convert(study.folder, address, **SMALL).close()
    assert LOCK not in files_of(address)


def test_who_lost_the_lease_publishes_nothing_and_sweeps_nothing(
    study: Study, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_S", 8.0)
    root = locate(address)
    assert isinstance(root, ObjectPath)

    def take_over(*args: Any, real: Any = conversion.write_table) -> None:
        real(*args)
        root.bucket.put((root / LOCK).key, b'{"writer": "another"}')
        lost = threading.Event()
        while held[0].is_held:
            lost.wait(0.01)

    held: list[Any] = []
    monkeypatch.setattr(conversion, "write_table", take_over)
    real = lease.Lease.__init__
    monkeypatch.setattr(
        lease.Lease, "__init__", lambda self, path: (held.append(self), real(self, path))[1]
    )
    with pytest.raises(PlanError, match="another one may be writing there"):
        zarrts.convert(study.folder, address, **SMALL)
    left = files_of(address)
    assert "zarr.json" not in left
    assert "0/x/c/0/0/0" in left and left[LOCK] == b'{"writer": "another"}'


def test_a_store_that_was_published_meanwhile_stays(
    study: Study, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = locate(address)
    assert isinstance(root, ObjectPath)
    real = conversion.publish

    def publish(*args: Any) -> None:
        root.bucket.put((root / "zarr.json").key, b'{"attributes": {}, "node_type": "group"}')
        real(*args)

    monkeypatch.setattr(conversion, "publish", publish)
    with pytest.raises((PlanError, StoreError)):
        zarrts.convert(study.folder, address, **SMALL)
    assert json.loads(files_of(address)["zarr.json"]) == {"attributes": {}, "node_type": "group"}


def test_a_lost_answer_to_the_last_request_is_no_conflict(study: Study, s3: FakeS3) -> None:
    lost = iter(["lost"])

    def fault(method: str, key: str) -> Any:
        return next(lost, None) if (method, key) == ("PUT", "a.zarr/zarr.json") else None

    s3.fault = fault
    with zarrts.convert(
        study.folder, "s3://lab/a.zarr", storage_options=s3.options, **SMALL
    ) as store:
        np.testing.assert_array_equal(store.samples.load()[0], study.all_x)
    assert next(lost, None) is None


# Networks that fail ------------------------------------------------------------------------------


def seeded_faults(seed: int, share: float = 0.3) -> Any:
    rng = random.Random(seed)

    def fault(method: str, key: str) -> Any:
        if rng.random() >= share:
            return None
        return rng.choice([503, 500, "reset", "cut", "slow", "lost", "flipped"])

    return fault


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_silent_where_three_of_ten_requests_fail(
    study: Study, folder: Path, s3: FakeS3, seed: int
) -> None:
    s3.fault = seeded_faults(seed)
    with zarrts.convert(
        study.folder, "s3://lab/a.zarr", storage_options=s3.options, **SMALL
    ) as store:
        found = batches_of(store, seed=seed)
    s3.fault = lambda method, key: None
    assert files_of("s3://lab/a.zarr", s3.options) == files_of(folder)
    assert_same(found, batches_of(zarrts.open(folder), seed=seed))


def test_a_request_that_fails_until_the_deadline_says_what_and_how_often(
    study: Study, s3: FakeS3, monkeypatch: pytest.MonkeyPatch, no_threads: None
) -> None:
    zarrts.convert(study.folder, "s3://lab/a.zarr", storage_options=s3.options, **SMALL).close()
    monkeypatch.setattr(bucket, "DEADLINE_S", 0.1)
    s3.fault = lambda method, key: 503 if "/c/" in key else None
    with (
        zarrts.open("s3://lab/a.zarr", storage_options=s3.options) as store,
        pytest.raises(
            BucketError,
            match=r"lab/a.zarr/0/\S+: GET failed after \d+ attempts in \d+ s: 503 Service",
        ),
    ):
        batches_of(store, on_error="skip")  # which is for damage, not for an outage


@pytest.mark.parametrize(
    ("name", "fault", "text"),
    [
        ("lab", lambda method, key: 403, "may not be read with these credentials: .* 403"),
        (
            "lab",
            lambda method, key: 403 if method == "PUT" else None,
            r"may not be written with these credentials: PUT was answered 403 .*\(AccessDenied\)",
        ),
        ("wrong", lambda method, key: None, r"s3://wrong: there is no such bucket"),
    ],
    ids=["credentials", "read-only", "bucket"],
)
def test_one_line_says_what_is_wrong_and_no_secret(
    study: Study,
    s3: FakeS3,
    name: str,
    fault: Any,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3.fault = fault
    with pytest.raises(BucketError, match=text) as caught:
        zarrts.convert(study.folder, f"s3://{name}/a.zarr", storage_options=s3.options, **SMALL)
    shown = "".join(traceback.format_exception(caught.value))
    assert "a secret" not in shown and "a key" not in shown
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    result = CliRunner().invoke(
        main,
        [
            *("convert", str(study.folder), f"s3://{name}/a.zarr", "--no-progress"),
            *("--storage-options", f"endpoint_url={s3.url}"),
        ],
        env={
            "AWS_ACCESS_KEY_ID": "a key",
            "AWS_SECRET_ACCESS_KEY": "a secret",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",  # what is given as an option comes first
        },
    )
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(f"Error: s3://{name}")
    assert "a secret" not in result.output


# Addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ("refused", r"s3://lab: its server knows no conditional PUT \(If-None-Match; 501"),
        ("overlooked", "s3://lab/a.zarr: this server passes over If-None-Match, "),
        ("If-Match", "s3://lab/a.zarr: this server passes over If-Match, "),
    ],
)
def test_a_server_without_conditions_is_refused_before_anything_is_written(
    study: Study, s3: FakeS3, conditions: str, text: str, no_threads: None
) -> None:
    s3.conditions = conditions
    with pytest.raises((BucketError, PlanError), match=text + ".*convert into a folder, and copy"):
        zarrts.convert(study.folder, "s3://lab/a.zarr", storage_options=s3.options, **SMALL)
    assert s3.objects == {}


def test_a_store_that_was_copied_into_such_a_server_is_read(
    study: Study, folder: Path, s3: FakeS3
) -> None:
    s3.conditions = "refused"
    s3.objects.update({f"a.zarr/{key}": it for key, it in files_of(folder).items()})
    with zarrts.open("s3://lab/a.zarr", storage_options=s3.options) as store:
        np.testing.assert_array_equal(store.samples.load()[0], study.all_x)


def test_an_object_that_is_gone_is_a_conflict_and_no_missing_bucket(s3: FakeS3) -> None:
    root = locate("s3://lab/a.zarr", s3.options)
    assert isinstance(root, ObjectPath)
    with pytest.raises(bucket.ConflictError):
        root.bucket.put_if("gone", b"more", bucket.Tag('"0"', None))


def test_objects_are_deleted_one_by_one(s3: FakeS3) -> None:
    root = locate("s3://lab/a.zarr", s3.options)
    assert isinstance(root, ObjectPath)
    root.bucket.put("one", b"1")
    root.bucket.put("two", b"2")
    root.bucket.delete(["one", "two", "never there"])
    assert s3.objects == {}
    assert (s3.requests["DELETE"], s3.requests["POST"]) == (3, 0)


def test_options_are_in_no_representation(s3: FakeS3) -> None:
    root = locate("s3://lab/a.zarr", s3.options)
    assert isinstance(root, ObjectPath)
    for thing in (root, root.bucket, root.bucket.address, root / "0"):
        assert "secret" not in repr(thing) + str(thing)
    again = pickle.loads(pickle.dumps(root.bucket))
    assert again.address == root.bucket.address


def test_fsspec_words_are_those_of_obstore() -> None:
    def words(place: str, **options: Any) -> dict[str, Any]:
        return addresses.translated(addresses.parse_address(place, options)[0])

    found = words("s3://b", key="k", secret="s", token="t", client_kwargs={"region_name": "eu"})
    assert found == {
        "access_key_id": "k",
        "secret_access_key": "s",
        "session_token": "t",
        "region": "eu",
    }
    assert words("s3://b", anon=True) == {"skip_signature": True}
    assert words("gs://b", token="anon") == {"skip_signature": True}
    assert words("gs://b", token="key.json") == {"service_account_path": "key.json"}
    text = "DefaultEndpointsProtocol=http;AccountName=n;AccountKey=k==;BlobEndpoint=http://h/n"
    found = words("az://c/a.zarr", connection_string=text)
    assert found == {"account_name": "n", "account_key": "k==", "endpoint": "http://h/n"}


def test_credentials_come_from_the_files_of_the_aws_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials"
    path.write_text("[other]\naws_access_key_id = k\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    found = addresses.translated(addresses.parse_address("s3://b/a")[0])
    assert found == {"access_key_id": "k", "secret_access_key": "s"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from the environment")
    assert addresses.translated(addresses.parse_address("s3://b/a")[0]) == {}
    with pytest.raises(PlanError, match="no profile 'none'"):
        addresses.parse_address("s3://b/a", {"profile": "none"})


@pytest.mark.parametrize(
    ("place", "options", "text"),
    [
        ("ftp://b/a.zarr", None, r"ftp:// is no place for a store, .*starts with s3://"),
        ("s3:///a.zarr", None, "names no bucket"),
        ("s3://b/lab/../a.zarr", None, r"s3://b/lab/../a.zarr: .*without '\.\.'"),
        ("s3://key:hidden@b/a.zarr", None, r"s3://...@b/a.zarr: .*no credentials"),
        ("https://h/a.zarr?sig=hidden", None, r"https://h/a.zarr\?...: "),
        ("s3://b/a.zarr", {"secrets": "hidden"}, "the storage option 'secrets' is unknown"),
        ("a.zarr", {"key": "hidden"}, "storage_options are for addresses"),
        (Path("s3://b/a.zarr"), None, "give it as a text"),
    ],
)
def test_addresses_that_cannot_be(place: Any, options: Any, text: str) -> None:
    with pytest.raises(PlanError, match=text) as caught:
        zarrts.open(place, storage_options=options)
    assert "hidden" not in str(caught.value)


def test_a_file_address_is_a_path(folder: Path) -> None:
    with zarrts.open(folder.as_uri()) as store:
        assert store.path == str(folder)


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ImportError, match=r"pip install 'zarrts\[cloud\]'"):
        zarrts.open("s3://lab/a.zarr")


def test_an_address_without_a_store_says_so(study: Study, address: str) -> None:
    with pytest.raises(StoreError, match=r"a.zarr does not exist"):
        zarrts.open(address)
    with pytest.raises(StoreError, match=r"lab is a folder, but no store"):
        zarrts.open(address.rpartition("/")[0])


def test_http_is_read_only(study: Study, folder: Path, s3: FakeS3) -> None:
    for key, content in files_of(folder).items():
        s3.objects[f"a.zarr/{key}"] = content
    place = f"{s3.url}/lab/a.zarr"
    with zarrts.open(place) as store:
        assert_same(batches_of(store), batches_of(zarrts.open(folder)))
    # Said before a server is asked, and there is none at this address.
    for target in (f"{s3.url}/lab/b.zarr", "http://127.0.0.1:9/b.zarr"):
        with pytest.raises(PlanError, match="can only be read"):
            zarrts.convert(study.folder, target, **SMALL)
        with pytest.raises(PlanError, match="can only be read"):
            zarrts.append(target, study.folder, progress=False)


def test_the_snippets_of_the_page_run(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[1] / "docs" / "buckets.md"
    found = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    monkeypatch.chdir(study.folder.parent)  # where "subjects/" is
    lab, _ = Mounts().at("memory://lab")
    for path in study.folder.iterdir():
        lab.put(f"subjects/{path.name}", path.read_bytes())  # type: ignore[attr-defined]
    scope: dict[str, Any] = {"zarrts": zarrts}
    for code in found:
        exec(code, scope)
    assert len(found) == 5
    assert {*scope["lab"]} <= {"endpoint_url"} | connections.WORDS
    assert scope["store"].n_samples == sum(SIZES)
    assert {*scope["convert_there"]} <= {*inspect.signature(zarrts.convert).parameters}
    scope["store"].close()
