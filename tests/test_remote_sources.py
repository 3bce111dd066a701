"""Source files at addresses: what files in a folder give, by ranges, and nothing silently."""

import gc
import hashlib
import http.server
import importlib
import itertools
import random
import re
import threading
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Study, make_study
from edf_files import STAGES, write_edf
from fake_s3 import FakeS3, fake_s3
from hypothesis import given, settings
from hypothesis import strategies as st
from source_kinds import QUICK, SUBJECTS, WRITERS, objects, studies

import zarrts
from zarrts import sources
from zarrts.buckets import bucket, remote_file
from zarrts.buckets.addresses import options_for
from zarrts.buckets.mounts import Mounts
from zarrts.buckets.source_bucket import SourceBucket
from zarrts.cli import main
from zarrts.conversion import run as conversion
from zarrts.errors import PlanError, SourceError
from zarrts.sources.study import fingerprint
from zarrts.sources.study.search import search
from zarrts.storage import journal
from zarrts.storage.location import list_files, opened, read_files

pytest.importorskip("obstore", reason="the extra cloud is not installed")

pytestmark = pytest.mark.usefixtures("no_waiting_for_buckets")

SMALL: dict[str, Any] = {"chunk": 400, "shard": 1200, "progress": False, "workers": 2}
SIZES = (37, 1, 60, 22)
_names = itertools.count()


@pytest.fixture(autouse=True)
def no_threads() -> Iterator[None]:
    """Fail if a test left threads that wait for an answer."""
    before = {*threading.enumerate()}
    yield
    left = [it.name for it in threading.enumerate() if it not in before]
    assert not [name for name in left if name.startswith("zarrts-source")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("remote") / "subjects", sizes=SIZES)


@pytest.fixture
def s3(study: Study) -> Iterator[FakeS3]:
    """A bucket that holds the study below raw/subjects/."""
    with fake_s3() as fake:
        for path in study.folder.iterdir():
            fake.objects[f"raw/subjects/{path.name}"] = path.read_bytes()
        yield fake


def upload(folder: Path) -> str:
    """Put all files below a folder into a bucket in memory, and return the address."""
    place = f"memory://sources{next(_names)}"
    remote, _ = Mounts().at(place)
    assert isinstance(remote, SourceBucket)
    for path in folder.rglob("*"):
        if path.is_file():
            remote.put(f"{folder.name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return f"{place}/{folder.name}"


def _stores() -> dict[str, bytes]:
    """Return the roots of two stores, which are damaged."""
    root = b'{"attributes": {"zarrts": {}}}'
    return {"a/zarr.json": root, "a.zarr/zarr.json": root}


def convert(source: Any, target: Any, **options: Any) -> Any:
    return zarrts.convert(source, target, **{**SMALL, **options})


def files_of(place: Any, options: Any = None) -> dict[str, bytes]:
    with opened(place, options) as root:
        files = read_files(root, list_files(root))
    if isinstance(root, Path):
        files.pop("writing.lock", None)  # which stays in a folder
    return files


def by_path(monkeypatch: pytest.MonkeyPatch, n_parts: int = 2) -> None:
    """Let fingerprints be those of names alone, so that they say nothing of where a file is."""

    def look_at(paths: Any) -> fingerprint.Look:
        names = " ".join("/".join(re.split(r"[\\/]", str(it))[-n_parts:]) for it in paths)
        digest = hashlib.blake2b(names.encode(), digest_size=16).hexdigest()
        return fingerprint.Look(0, digest, fingerprint.stamp_of(paths))

    monkeypatch.setattr(fingerprint, "look_at", look_at)


# What files in a folder give -----------------------------------------------------------------


@settings(**QUICK, max_examples=4)
@given(
    case=studies(),
    sizes=st.tuples(st.integers(60, 500), st.integers(50, 300), st.integers(1, 1000)),
    converted=st.sampled_from(sorted(WRITERS)),
    cut=st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted),
)
@pytest.mark.filterwarnings("ignore:.*channels but:UserWarning")
def test_each_kind_gives_what_local_copies_give(
    tmp_path_factory: pytest.TempPathFactory, case: Any, sizes: Any, converted: str, cut: Any
) -> None:
    study, more = case
    top = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        by_path(patch)
        for name, size in zip(("BLOCK_BYTES", "PIECE_BYTES", "_DIRECT_BYTES"), sizes, strict=True):
            patch.setattr(remote_file, name, size)
        for kind, write in WRITERS.items():
            folder = top / kind
            folder.mkdir()
            for name, (x, y) in zip(SUBJECTS, study, strict=True):
                write(folder, name, x, y, more)
            place = upload(folder)
            here, there = sources.find(folder), sources.find(place)
            assert here.problems == there.problems == (), kind
            for one, other in zip(here.recordings, there.recordings, strict=True):
                assert (one.subject, one.origin, one.found) == (
                    *(other.subject, other.origin, other.found),
                )
                for mine, far in ((one.x, other.x), (one.y, other.y)):
                    assert (mine.shape, mine.dtype) == (far.shape, far.dtype), kind
                    for start, stop in (cut, (0, mine.shape[0])):
                        rows = [min(it, mine.shape[0]) for it in (start, stop)]
                        np.testing.assert_array_equal(far.read(*rows), mine.read(*rows))
                    mine.close()
                    far.close()
            if kind == converted:
                convert(folder, top / "here.zarr").close()
                convert(place, top / "there.zarr").close()
                assert files_of(top / "there.zarr") == files_of(top / "here.zarr"), kind


def test_recordings_with_annotations_give_the_store_of_local_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_path(monkeypatch)
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1000)
    folder = tmp_path / "nights"
    folder.mkdir()
    for seed, name in enumerate(("ann", "bob")):
        write_edf(folder / f"{name}.edf", annotations=STAGES, seed=seed)
    convert(folder, tmp_path / "a.zarr").close()
    convert(upload(folder), tmp_path / "b.zarr").close()
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")


def test_class_folders_and_tables_are_found_at_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_path(monkeypatch, 3)
    rng = np.random.default_rng(0)
    folder = tmp_path / "classes"
    for subject, label in itertools.product(("ann", "bob"), ("calm", "loud")):
        (folder / subject / label).mkdir(parents=True)
        for i in range(2):
            np.save(folder / subject / label / f"{i}.npy", rng.random((6, 3)))
    place = upload(folder)
    options = {"folders": "subjects/classes"}
    convert(folder, tmp_path / "a.zarr", **options).close()
    convert(place, tmp_path / "b.zarr", **options).close()
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")
    lines = "subject,x,label\nann,ann/calm/0.npy,1\nbob,../classes/bob/loud/1.npy,2\n"
    (folder / "files.csv").write_text(lines)
    remote, _ = Mounts().at(place)
    remote.put("classes/files.csv", lines.encode())  # type: ignore[attr-defined]
    far = "".join(
        f"{line.replace(',', f',{place}/', 1)}\n" if i else f"{line}\n"
        for i, line in enumerate(lines.splitlines())
    )
    (tmp_path / "far.csv").write_text(far)
    tables = (folder / "files.csv", f"{place}/files.csv", tmp_path / "far.csv")
    x = []
    for number, table in enumerate(tables):
        with convert(None, tmp_path / f"{number}.zarr", table=str(table), kind="dense") as store:
            assert store.subjects == ["ann", "bob"]
            x.append(store.samples.load()[0])
    expected = [np.load(folder / it) for it in ("ann/calm/0.npy", "bob/loud/1.npy")]
    for found in x:
        np.testing.assert_array_equal(found, np.float32(expected))
    remote.put("classes/bad.csv", b"subject,x,label\nann,none.npy,1\n")  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match=r"bad.csv: line 2: none.npy: no such file"):
        convert(None, tmp_path / "c.zarr", table=f"{place}/bad.csv")


_PARTS = st.sampled_from(["a", "b", ".h", "a1", "b.npy", ".x.npy", "c.NPZ", "d.txt"])


@settings(**QUICK, max_examples=40)
@given(
    keys=st.sets(st.lists(_PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=8),
    pattern=st.sampled_from(
        ["", "a", "*", "**", "*/*", "**/*.npy", "?1", "[ab]*", "[!a]", ".*", "a*/**", "*.[nN]*"]
    ),
)
def test_what_is_found_at_an_address_is_what_is_found_in_a_folder(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], pattern: str
) -> None:
    # A name cannot be a file and a folder.
    keys = {it for it in keys if not any(other.startswith(f"{it}/") for other in keys)}
    folder = tmp_path_factory.mktemp("tree") / "tree"
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(b"1")
    place = upload(folder)

    def origins(top: str) -> Any:
        try:
            found = search([f"{top}/{pattern}"], [".npy", ".npz"])
        except SourceError as error:
            assert "not found" in str(error)  # buckets have no empty folders
            return [], [], set()
        others = {*found.others}  # a folder that matches a pattern is searched for these again
        return [(it.origin, it.inside) for it in found.files], found.problems, others

    assert origins(place) == origins(str(folder))


# How it is read ------------------------------------------------------------------------------


def test_a_file_is_read_by_ranges_and_never_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((2000, 40, 25)).astype("f4")
    folder = tmp_path / "large"
    folder.mkdir()
    np.save(folder / "ann_x.npy", x)
    np.save(folder / "ann_y.npy", np.arange(2000) % 3)
    place = upload(folder)
    monkeypatch.setattr(remote_file, "PIECE_BYTES", 1 << 18)
    ranges: list[tuple[str, int, int]] = []

    def fetch(self: Any, key: str, start: int, stop: int, real: Any = SourceBucket.fetch) -> Any:
        ranges.append((key, start, stop))
        return real(self, key, start, stop)

    monkeypatch.setattr(SourceBucket, "fetch", fetch)
    result = CliRunner().invoke(main, ["convert", "--dry-run", place])
    assert result.exit_code == 0, result.output
    assert "2,000 samples" in result.output
    # Headers, labels, and a few samples to see how they compress.
    assert sum(stop - start for _, start, stop in ranges) < x.nbytes / 2
    ranges.clear()
    with zarrts.convert(place, tmp_path / "a.zarr", progress=False) as store:
        np.testing.assert_array_equal(store.samples.load()[0], x)
    of_x = [(start, stop) for key, start, stop in ranges if key.endswith("_x.npy")]
    assert max(stop - start for start, stop in of_x) <= 1 << 18
    assert sum(stop - start for start, stop in of_x) < 2.1 * x.nbytes


def test_headers_of_small_files_take_one_request_each(
    study: Study, s3: FakeS3, tmp_path: Path
) -> None:
    found = sources.find("s3://lab/raw/subjects", mounts=Mounts(s3.options))
    assert [it.subject for it in found.recordings] == study.names
    assert (s3.requests["LIST"], s3.requests["HEAD"]) == (1, 0)
    assert s3.requests["GET"] == len(SIZES)


@pytest.mark.parametrize("chunks", [(160, 64, 8), (7, 64, 16), None])
def test_pieces_of_hdf5_that_rows_need_are_requested_together(
    tmp_path: Path, s3: FakeS3, chunks: Any
) -> None:
    h5py = pytest.importorskip("h5py")
    x = np.random.default_rng(0).random((640, 64, 16), "f4")
    with h5py.File(tmp_path / "ann.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=chunks)
        file["y"] = np.arange(640) % 3
    s3.objects["h5/ann.h5"] = (tmp_path / "ann.h5").read_bytes()
    (found,) = sources.find("s3://lab/h5", mounts=Mounts(s3.options)).recordings
    for start, stop in ((0, 640), (100, 400), (1, 2), (0, 0)):
        before = s3.requests["GET"]
        np.testing.assert_array_equal(found.x.read(start, stop), x[start:stop])
        assert s3.requests["GET"] - before <= 3


def test_a_store_that_is_complete_is_found_and_its_sources_are_compared(
    study: Study, s3: FakeS3, tmp_path: Path
) -> None:
    place, options = "s3://lab/raw/subjects/", {"storage_options": s3.options}
    convert(place, tmp_path / "a.zarr", **options).close()
    before = files_of(tmp_path / "a.zarr")
    n_gets = s3.requests["GET"]
    convert(place, tmp_path / "a.zarr", **options).close()
    assert files_of(tmp_path / "a.zarr") == before
    assert s3.requests["GET"] < 3 * n_gets
    assert zarrts.verify(tmp_path / "a.zarr", sources=place, **options).problems == ()
    damaged = tmp_path / "a.zarr" / "0" / "x" / "c" / "1" / "0" / "0"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    zarrts.repair(tmp_path / "a.zarr", place, **options)
    assert files_of(tmp_path / "a.zarr") == before
    s3.objects["raw/subjects/s01.npz"] = (study.folder / "s00.npz").read_bytes()
    (problem,) = zarrts.verify(tmp_path / "a.zarr", sources=place, **options).problems
    assert "s01.npz: is not the file that was converted" in problem.text
    with pytest.raises(PlanError, match="is a store of other sources"):
        convert([f"{place}s00.npz", f"{place}s02.npz"], tmp_path / "a.zarr", **options)
    with pytest.raises(SourceError, match=r"s00.npz and s01.npz: the same content under 2 names"):
        convert(place, tmp_path / "b.zarr", **options)


def test_a_bucket_gives_to_itself_and_to_another(study: Study, s3: FakeS3, tmp_path: Path) -> None:
    place = "s3://lab/raw/subjects"
    convert(place, "s3://lab/a.zarr", storage_options=s3.options).close()
    convert(place, tmp_path / "a.zarr", storage_options={"s3://lab/raw": s3.options}).close()
    assert files_of("s3://lab/a.zarr", s3.options) == files_of(tmp_path / "a.zarr")
    more = make_study(tmp_path / "more", sizes=(5,), seed=9)
    s3.objects["new/t00.npz"] = (more.folder / "s00.npz").read_bytes()
    with zarrts.append(
        "s3://lab/a.zarr", "s3://lab/new/*.npz", storage_options=s3.options, progress=False
    ) as store:
        assert store.subjects == [*study.names, "t00"]
        np.testing.assert_array_equal(store.samples.load()[0][-5:], more.all_x)


def test_files_of_a_web_server_are_read_one_by_one(
    study: Study, s3: FakeS3, tmp_path: Path
) -> None:
    s3.objects["raw/the first.npz"] = (study.folder / "s00.npz").read_bytes()
    places = [f"{s3.url}/lab/raw/the%20first.npz", f"{s3.url}/lab/raw/subjects/s02.npz"]
    with convert(places, tmp_path / "a.zarr") as store:
        assert [it.source for it in store.recordings] == ["subjects/s02.npz", "the first.npz"]
        np.testing.assert_array_equal(
            store.samples.load()[0], np.concatenate([study.x[2], study.x[0]])
        )
    with pytest.raises(SourceError, match=r"cannot be listed over http; give the address of each"):
        convert(f"{s3.url}/lab/raw/subjects/", tmp_path / "b.zarr")


def test_a_server_without_ranges_says_to_copy_the_file(study: Study, tmp_path: Path) -> None:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(study.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        place = f"http://127.0.0.1:{server.server_address[1]}/s00.npz"
        with pytest.raises(SourceError, match=r"s00.npz: the server sends files only whole; copy"):
            convert(place, tmp_path / "a.zarr")
        server.shutdown()
        thread.join()


def test_values_in_other_files_are_not_followed_at_an_address(tmp_path: Path) -> None:
    folder = tmp_path / "virtual"
    folder.mkdir()
    x = np.zeros((4, 3, 2), "f4")
    with h5py.File(folder / "values.h5", "w") as file:
        file["x"] = x
    layout = h5py.VirtualLayout(x.shape, x.dtype)
    layout[:] = h5py.VirtualSource("values.h5", "x", x.shape)
    with h5py.File(folder / "ann.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
        file["y"] = np.arange(4)
    place = f"{upload(folder)}/ann.h5"
    with pytest.raises(SourceError, match=r"ann.h5: /x: is virtual, .*copy all of them"):
        convert(place, tmp_path / "a.zarr")


# Networks that fail --------------------------------------------------------------------------


def seeded_faults(seed: int, share: float = 0.3) -> Any:
    rng = random.Random(seed)

    def fault(method: str, key: str) -> Any:
        if rng.random() >= share:
            return None
        return rng.choice([503, 500, "reset", "cut", "slow", "lost"])

    return fault


@pytest.mark.parametrize("kind", ["npz", "HDF5"])
def test_nothing_is_silent_where_three_of_ten_requests_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    by_path(monkeypatch)
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 100)
    monkeypatch.setattr(remote_file, "_DIRECT_BYTES", 300)
    monkeypatch.setattr(remote_file, "PIECE_BYTES", 300)
    rng = np.random.default_rng(0)
    folder = tmp_path / "raw"
    folder.mkdir()
    with fake_s3() as s3:
        for name, n in (("ann", 20), ("bob", 9)):
            y = np.array(["W", "N1"])[rng.integers(0, 2, n)]
            more = {"method": 0, "version": (1, 0)}
            WRITERS[kind](folder, name, rng.standard_normal((n, 6, 3)).astype("f4"), y, more)
        for path in folder.iterdir():
            s3.objects[f"raw/{path.name}"] = path.read_bytes()
        convert(folder, tmp_path / "a.zarr").close()
        s3.fault = seeded_faults(1)
        convert("s3://lab/raw/", tmp_path / "b.zarr", storage_options=s3.options).close()
        assert sum(s3.requests.values()) > 30
    assert files_of(tmp_path / "b.zarr") == files_of(tmp_path / "a.zarr")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_network_that_is_gone_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: FakeS3, suffix: str
) -> None:
    monkeypatch.setattr(bucket, "DEADLINE_S", 0.1)
    for name in ("ann", "bob"):
        s3.objects[f"gone/{name}{suffix}"] = b"\x89HDF\r\n\x1a\n" + bytes(99)
    s3.fault = lambda method, key: 503 if method == "GET" else None
    with pytest.raises(SourceError) as caught:
        convert("s3://lab/gone", tmp_path / "a.zarr", storage_options=s3.options)
    said = str(caught.value)
    assert re.search(
        r"s3://lab/gone/ann\S+, s3://lab/gone/bob\S+: GET failed after 1 attempt: 503 .*, as "
        r"others did before it until the deadline",
        said,
    )
    assert "damaged" not in said
    # A stream that h5py still holds when Python ends makes HDF5 crash.
    del caught
    gc.collect()
    assert not [it for it in gc.get_objects() if type(it) is remote_file.RemoteStream]


@pytest.mark.parametrize(
    ("place", "status", "text"),
    [
        ("s3://lab/raw/subjects", 403, "may not be read with these credentials: LIST .* 403"),
        ("s3://lab/raw/subjects/s00.npz", 403, "s00.npz: may not be read .*: HEAD .* 403"),
        ("s3://wrong/raw", None, r"s3://wrong: there is no such bucket .*correct the name"),
        ("s3://lab/nothing", None, r"not found: s3://lab/nothing; check the spelling"),
        ("s3://lab/raw/*.h5", None, r"raw/\*.h5 \(a pattern that matches nothing\)"),
        ("s3://lab/a.txt", None, r"a.txt: is not of a kind that can be read \(\.ahdr, \.bdf, "),
        ("s3://lab/a", None, r"a: is a store of zarrts, .* needs a name that ends with .zarr"),
        ("s3://lab/a.zarr", None, r"a.zarr is damaged|a.zarr/zarr.json is damaged"),
    ],
)
def test_one_line_says_what_is_wrong_and_no_secret(
    s3: FakeS3, tmp_path: Path, place: str, status: Any, text: str
) -> None:
    s3.objects |= {"a.txt": b"text", **_stores()}
    s3.fault = lambda method, key: status
    with pytest.raises(SourceError, match=text) as caught:
        convert(place, tmp_path / "a.zarr", storage_options=s3.options)
    shown = "".join(traceback.format_exception(caught.value))
    assert "a secret" not in shown and "a key" not in shown
    assert len(str(caught.value).splitlines()) <= 2


def test_a_file_that_changes_meanwhile_ends_the_conversion(
    study: Study, s3: FakeS3, tmp_path: Path
) -> None:
    key = "raw/subjects/s02.npz"
    other = make_study(tmp_path / "other", sizes=SIZES, seed=5).folder / "s02.npz"

    def change(method: str, wanted: str, after: int, seen: Any) -> None:
        if method == wanted and next(seen) == after:
            s3.objects[key] = other.read_bytes()

    options = {"storage_options": s3.options}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_file, "_DIRECT_BYTES", 1)
        seen = itertools.count()
        s3.fault = lambda method, _: change(method, "GET", 20, seen)
        with pytest.raises(SourceError, match=r"s02.npz: the file changed while it was in use"):
            convert("s3://lab/raw/subjects", tmp_path / "a.zarr", **options)
    # When all of it was read already: nobody asks for what files are, but at the end.
    s3.objects[key] = (study.folder / "s02.npz").read_bytes()
    heads = itertools.count()
    s3.fault = lambda method, _: change(method, "HEAD", 0, heads)
    with pytest.raises(SourceError, match=r"s02.npz: changed while it was converted; convert ag"):
        convert("s3://lab/raw/subjects", tmp_path / "b.zarr", **options)
    s3.fault = lambda method, _: None
    with convert("s3://lab/raw/subjects", tmp_path / "b.zarr", restart=True, **options) as store:
        x = store.samples.select(subjects=["s02"]).load()[0]
    np.testing.assert_array_equal(x, np.load(other)["x"])


class Crash(BaseException):
    pass


def test_a_conversion_that_was_stopped_goes_on(
    study: Study, s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"storage_options": s3.options, "workers": 1}
    convert("s3://lab/raw/subjects", tmp_path / "a.zarr", **options).close()
    calls, finished = iter(range(3)), []

    def add(self: Any, task: Any, real: Any = journal.JournalWriter.add) -> None:
        if next(calls, None) is None:
            raise Crash
        real(self, task)
        finished.append(task.shard)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(journal.JournalWriter, "add", add)
        patch.setattr(conversion, "_clear_up", lambda *args, **options: 1)
        convert("s3://lab/raw/subjects", tmp_path / "b.zarr", **options)
    written = []

    def count(self: Any, task: Any, real: Any = journal.JournalWriter.add) -> None:
        written.append(task.shard)
        real(self, task)

    monkeypatch.setattr(journal.JournalWriter, "add", count)
    convert("s3://lab/raw/subjects", tmp_path / "b.zarr", **options).close()
    assert len(finished) == 3
    assert sorted(finished + written) == [*range(-(-sum(SIZES) // 15))]
    assert files_of(tmp_path / "b.zarr") == files_of(tmp_path / "a.zarr")


# Options of addresses ------------------------------------------------------------------------


def test_options_are_of_all_addresses_or_of_what_begins_with_one() -> None:
    options = {"key": "k", "s3://raw": {"anon": True}, "s3://raw/b/": {"key": "b"}, "gs://": {}}
    for place, expected in {
        "s3://lab/a": {"key": "k"},
        "s3://raw": {"anon": True},
        "s3://raw/": {"anon": True},
        "s3://raw/a/b": {"anon": True},
        "s3://rawer/a": {"key": "k"},
        "s3://raw/b/c": {"key": "b"},
        "s3://raw/bc": {"anon": True},
        "gs://x/y": {},
    }.items():
        assert options_for(place, options) == expected, place
    with pytest.raises(PlanError, match=r"storage_options\['s3://raw'\] has to be a mapping"):
        options_for("s3://raw", {"s3://raw": "anon"})


def test_options_without_an_address_are_refused(study: Study, tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    for call in (
        lambda: convert(study.folder, target, storage_options={"key": "hidden"}),
        lambda: zarrts.verify(target, sources=study.folder, storage_options={"key": "hidden"}),
        lambda: zarrts.repair(target, study.folder, storage_options={"key": "hidden"}),
        lambda: zarrts.append(target, study.folder, storage_options={"key": "hidden"}),
    ):
        with pytest.raises(PlanError, match="storage_options are for addresses") as caught:
            call()
        assert "hidden" not in str(caught.value)


def test_options_for_no_address_in_use_are_warned_of(
    study: Study, s3: FakeS3, tmp_path: Path
) -> None:
    raw, target = "s3://lab/raw/subjects", tmp_path / "a.zarr"
    more = make_study(tmp_path / "more", sizes=(5,), seed=9).folder
    (more / "s00.npz").rename(more / "t00.npz")
    slip = {**s3.options, "s3://lba": {"key": "hidden"}}
    says = r"storage_options\['s3://lba'\] is for none of the addresses in use \(s3://lab/"
    lines = ["subject,x,y", *(f"{it},{raw}/{it}.npz::x,{raw}/{it}.npz::y" for it in study.names)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    for call in (
        lambda: convert(raw, target, storage_options=slip).close(),
        lambda: convert(table, tmp_path / "b.zarr", storage_options=slip).close(),
        lambda: convert(study.folder, "s3://lab/c.zarr", storage_options=slip).close(),
        lambda: zarrts.verify(target, sources=raw, storage_options=slip),
        lambda: zarrts.verify(tmp_path / "b.zarr", sources=table, storage_options=slip),
        lambda: zarrts.repair(target, raw, storage_options=slip),
        lambda: zarrts.append(
            "s3://lab/c.zarr", more, storage_options=slip, progress=False
        ).close(),
    ):
        with pytest.warns(UserWarning, match=says) as caught:
            call()
        assert not any("hidden" in str(it.message) for it in caught)
    # One mapping may be for all that is opened.
    zarrts.open("s3://lab/c.zarr", storage_options=slip).close()
    each = {"s3://lab/raw/": s3.options, "s3://lab/d.zarr": s3.options}
    convert(table, "s3://lab/d.zarr", storage_options=each).close()
    place = upload(target)
    with pytest.warns(UserWarning, match=r"s3://lba'\] is for none .* in use \(memory://"):
        zarrts.open(place, storage_options={"s3://lba": {"key": "hidden"}}).close()


def test_a_table_of_subjects_has_an_address(study: Study, s3: FakeS3, tmp_path: Path) -> None:
    lines = ["file,subject", *(f"{it}.npz,{'ann' if it < 's02' else 'bob'}" for it in study.names)]
    s3.objects["map.csv"] = "\n".join(lines).encode()
    for source in ("s3://lab/raw/subjects", study.folder):
        options = {"subject": "s3://lab/map.csv", "storage_options": s3.options}
        with convert(source, tmp_path / "a.zarr", overwrite=True, **options) as store:
            assert [it.subject for it in store.recordings] == ["ann", "ann", "bob", "bob"]
    for place, says in {
        "s3://lab/gone.csv": "s3://lab/gone.csv: no such file",
        "s3://lab/bad.csv": "s3://lab/bad.csv: line 2 lacks",
    }.items():
        s3.objects["bad.csv"] = b"file,subject\ns01.npz,\n"
        with pytest.raises(SourceError, match=says):
            convert(study.folder, tmp_path / "b.zarr", **options | {"subject": place})


def test_each_command_that_takes_a_store_takes_its_options(
    s3: FakeS3, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> str:
        given = [f"--storage-options=s3://lab:{name}={value}" for name, value in s3.options.items()]
        result = CliRunner().invoke(main, [*arguments, *given])
        assert result.exit_code == 0, (arguments, result.output)
        return result.output

    store, raw = "s3://lab/a.zarr", "s3://lab/raw/subjects"
    assert "4 files" in run("convert", raw, store, "--no-progress")
    assert "samples   120" in run("info", store)
    assert "is whole" in run("verify", store, "--sources", raw)
    assert "is whole" in run("repair", store, "--sources", raw)
    s3.objects["new/t00.npz"] = (
        make_study(tmp_path / "m", sizes=(5,), seed=9).folder / "s00.npz"
    ).read_bytes()
    assert "latest version" in run("append", store, "s3://lab/new", "--no-progress")
    run("remove", store, "--subject", "s01")
    given = []

    def take(store: str, *args: Any, storage_options: Any, **options: Any) -> None:
        with zarrts.open(store, storage_options=storage_options) as opened:
            given.append(opened.subjects)

    monkeypatch.setattr("zarrts.commands.bench.measure_store", take)
    monkeypatch.setattr("zarrts.commands.rates.show", lambda *args: None)
    monkeypatch.setattr("zarrts.report.write_report", take)
    run("bench", store)
    run("report", store)
    assert given == [["s00", "s02", "s03", "t00"]] * 2


# Other file systems --------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[Any]:
    """A file system of fsspec's, at lab://, whose requests fail where `failing` says so."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class LabFileSystem(MemoryFileSystem):  # type: ignore[misc]
        protocol = "lab"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]
        failing: Any = iter(())
        said: ClassVar[list[dict[str, Any]]] = []

        def __init__(self, *args: Any, **options: Any) -> None:
            self.said.append(options)
            super().__init__(*args)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            path = path.removeprefix("lab://host").strip("/")
            return f"/{path}" if path else ""

        def cat_file(self, path: str, **range_: Any) -> Any:
            error = next(self.failing, None)
            if error is not None:
                raise error
            return super().cat_file(path, **range_)

    fsspec.register_implementation("lab", LabFileSystem, clobber=True)
    yield LabFileSystem
    registry = importlib.import_module("fsspec.registry")
    registry._registry.pop("lab", None)


def test_fsspec_reads_what_obstore_cannot(
    study: Study, tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_path(monkeypatch)
    fs = lab()
    for path in study.folder.iterdir():
        fs.pipe(f"lab://host/subjects/{path.name}", path.read_bytes())
    rng = random.Random(0)
    lab.failing = (OSError("hidden") if rng.random() < 0.3 else None for _ in itertools.count())
    convert(study.folder, tmp_path / "a.zarr").close()
    for number, source in enumerate(("lab://host/subjects", "lab://host/sub*/s*.npz")):
        convert(source, tmp_path / f"{number}.zarr", storage_options={"key": "hidden"}).close()
        there = files_of(tmp_path / f"{number}.zarr")
        if number == 0:
            assert there == files_of(tmp_path / "a.zarr")
    assert lab.said[-1] == {"key": "hidden"}
    assert "hidden" not in repr(Mounts({"key": "hidden"}).at("lab://host/a")[0])
    monkeypatch.setattr(bucket, "DEADLINE_S", 0.05)
    lab.failing = iter(lambda: OSError("hidden"), None)
    with pytest.raises(
        SourceError, match=r"host/subjects/s00.npz, .*: read failed .* OSE"
    ) as caught:
        convert("lab://host/subjects", tmp_path / "b.zarr")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))
    lab.failing = iter([PermissionError("hidden")] * 99)
    with pytest.raises(SourceError, match=r"s00.npz.*: may not be read with these credentials"):
        convert("lab://host/subjects", tmp_path / "b.zarr")
    denied = type("AuthenticationException", (Exception,), {})
    lab.failing = iter([denied("hidden")] * 99)
    with pytest.raises(SourceError, match=r"s00.npz.*: may not be read .*check the storage_opt"):
        convert("lab://host/subjects", tmp_path / "b.zarr")
    with pytest.raises(SourceError, match=r"not found: lab://host/nothing"):
        convert("lab://host/nothing", tmp_path / "b.zarr")
    with pytest.raises(PlanError, match=r"lab:// is no place for a store"):
        convert(study.folder, "lab://host/a.zarr")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("ftpx://host/a.npz", r"ftpx:// is unknown; source files are read from s3://"),
        ("sftp://me:hidden@host/a.npz", r"sftp://...@host/a.npz: an address holds no password"),
        ("https://host/a.npz?sig=hidden", r"https://host/a.npz\?...: .*copy the file"),
    ],
)
def test_addresses_that_cannot_be(
    tmp_path: Path, place: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    known = fsspec.get_filesystem_class

    def get(name: str) -> Any:
        return object if name == "sftp" else known(name)

    monkeypatch.setattr(fsspec, "get_filesystem_class", get)
    with pytest.raises(PlanError, match=text) as caught:
        convert(place, tmp_path / "a.zarr")
    assert "hidden" not in str(caught.value)


def test_what_fsspec_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")

    def lacks(name: str) -> Any:
        raise ImportError('Please install "paramiko" to use it')

    monkeypatch.setattr(fsspec, "get_filesystem_class", lacks)
    with pytest.raises(PlanError, match=r"sftp:// needs another package: .*paramiko"):
        convert("sftp://host/a.npz", tmp_path / "a.zarr")


def test_paths_and_addresses_are_not_mixed(study: Study, s3: FakeS3, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"s3://lab/raw: is an address, and others are paths"):
        convert([study.folder, "s3://lab/raw"], tmp_path / "a.zarr", storage_options=s3.options)


def test_series_of_unequal_length_in_one_pickle_are_read_from_where_they_lie(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    series = [rng.random((n, 2)) for n in (5, 9)]
    folder = tmp_path / "pickles"
    folder.mkdir()
    np.save(folder / "ann.npy", objects(objects(*series), np.array(["a", "b"])), allow_pickle=True)
    with convert(upload(folder), tmp_path / "a.zarr", kind="ragged") as store:
        x, _ = store.samples.load()
    for found, expected in zip(x, series, strict=True):
        np.testing.assert_array_equal(found, np.float32(expected))
