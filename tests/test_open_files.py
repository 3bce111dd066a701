"""Open stores that are replaced or moved, and processes that may open few files."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zarrts
from zarrts.errors import AccessError
from zarrts.storage.location import locate
from zarrts.storage.open_files import OPEN_FILES

resource = pytest.importorskip("resource", reason="Windows has no such limit")
PEOPLE = ("bob", "carl", "dora")


def person(name, value, n=50):
    x = np.full((n, 16, 2), value) + np.arange(n)[:, None, None] / 1000
    return zarrts.Recording(name, x.astype("f4"), np.arange(n) % 2)


def convert(people, path, **options):
    sizes = {"chunk": "2KiB", "shard": "8KiB", "progress": False}
    return zarrts.convert(people, path, **sizes, **options)


def make(path, **options):
    people = [person(name, number + 2.0) for number, name in enumerate(PEOPLE)]
    convert(people, path, **options).close()
    return people


@pytest.mark.parametrize("is_open", [False, True])
def test_a_store_that_is_replaced_is_never_read_as_the_old_one(tmp_path, is_open):
    path = tmp_path / "study.zarr"
    people = make(path)
    store = zarrts.open(path)
    train, test = store.samples.split(test=["dora"])
    if is_open:
        train.select(subjects=["bob"]).load()
    shutil.rmtree(path)
    convert([person("anna", 1.0), *people], path).close()
    for part in (train, test):
        with pytest.raises(AccessError, match="the store that was opened is not there any more"):
            part.load()
        for on_error in ("raise", "skip"):
            with pytest.raises(AccessError, match="Open it again"):
                list(part.batches(10, on_error=on_error))
    store.close()
    with zarrts.open(path) as again:
        x, _ = again.samples.select(subjects=["dora"]).load()
        assert set(np.floor(x).ravel()) == {4.0}


def test_an_open_store_goes_on_while_subjects_are_added(tmp_path):
    path = tmp_path / "study.zarr"
    make(path)
    with zarrts.open(path) as store:
        zarrts.append(path, person("eve", 6.0), progress=False).close()
        x, _ = store.samples.load()
        assert [float(it) for it in np.unique(np.floor(x))] == [2.0, 3.0, 4.0]


def test_a_relative_path_is_that_of_the_folder_in_which_it_was_opened(tmp_path, monkeypatch):
    for folder, value in (("here", 2.0), ("there", 7.0)):
        (tmp_path / folder).mkdir()
        convert([person("a", value)], tmp_path / folder / "study.zarr").close()
    monkeypatch.chdir(tmp_path / "here")
    with zarrts.open("study.zarr") as store:
        assert store.path == "study.zarr"
        os.chdir(tmp_path / "there")
        x, _ = store.samples.load()
        assert set(np.floor(x).ravel()) == {2.0}
        assert store.subjects == ["a"]


MANY_PARTS = """
import resource, sys
import numpy as np
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import zarrts
stores = [zarrts.open(sys.argv[1]) for _ in range(2)]
found = [np.concatenate([b.x for b in it.samples.batches(7, on_error="raise", shuffle=False)])
         for it in stores]
np.save(sys.argv[2], found[0])
shuffled = np.concatenate([b.sample_id for b in stores[1].samples.batches(7, workers=2)])
assert sorted(shuffled.tolist()) == list(range(len(found[0])))
assert np.array_equal(found[0], found[1])
"""

NO_MORE = """
import os, resource, sys, warnings
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import zarrts
store = zarrts.open(sys.argv[1])
next(store.samples.batches(7, workers=1))  # all that it imports is there now
store.close()
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
warnings.simplefilter("error")
for on_error in ("raise", "skip"):
    try:
        list(store.samples.batches(7, on_error=on_error, workers=1))
    except zarrts.ReadError as error:
        print(error)
"""


NO_MORE_AT_ALL = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import zarrts
with zarrts.open(sys.argv[1]) as store:
    store.samples.stats()
    next(store.samples.batches(7, workers=1))  # all that it imports is there now
other, last = zarrts.open(sys.argv[1]), zarrts.open(sys.argv[2])
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for what in (lambda: zarrts.open(sys.argv[1]), lambda: other.subjects, lambda: last.subjects):
    try:
        what()
    except zarrts.ZarrtsError as error:
        print(error)
os.close(held.pop())
os.close(held.pop())
assert other.subjects == last.subjects[:3] == ["bob", "carl", "dora"]
"""


def run(code: str, *arguments: Path) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_all_parts_of_a_store_share_one_budget_of_open_files(tmp_path):
    path = tmp_path / "study.zarr"
    people = [person(f"p{i}", float(i), n=200) for i in range(6)]
    convert(people[:1], path).close()
    for it in people[1:]:
        zarrts.append(path, it, progress=False).close()
    run(MANY_PARTS, path, tmp_path / "x.npy")
    expected = np.concatenate([it.x for it in people])
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)


def test_a_limit_that_is_met_is_not_called_damage_and_skips_nothing(tmp_path):
    path = tmp_path / "study.zarr"
    make(path)
    said = run(NO_MORE, path).splitlines()
    assert len(said) == 2
    assert all("has as many files open as it may (64). Nothing is damaged" in it for it in said)


def test_a_limit_that_is_met_while_opening_is_not_called_damage(tmp_path):
    one, several = tmp_path / "one.zarr", tmp_path / "several.zarr"
    make(one)
    make(several)
    zarrts.append(several, person("eve", 6.0), progress=False).close()
    said = run(NO_MORE_AT_ALL, one, several).splitlines()
    assert len(said) == 3
    assert all("has as many files open as it may (64). Nothing is damaged" in it for it in said)


def test_who_has_a_damaged_shard_open_reads_it_once_it_is_repaired(tmp_path):
    path = tmp_path / "study.zarr"
    for number, name in enumerate(PEOPLE):
        it = person(name, number + 2.0)
        np.savez(tmp_path / f"{name}.npz", x=it.x, y=it.y)
    files = [str(tmp_path / f"{name}.npz") for name in PEOPLE]
    convert(files, path).close()
    with zarrts.open(path) as store:
        x, _ = store.samples.load()
        file = path / "0/x/c/1/0/0"
        content = file.read_bytes()
        with open(file, "r+b") as written:  # the file that is open is damaged
            written.seek(30)
            written.write(bytes([content[30] ^ 1]))
        for _ in range(2):
            with pytest.raises(zarrts.ReadError, match="does not match its checksum"):
                store.samples.load()
        zarrts.repair(path, files)
        np.testing.assert_array_equal(store.samples.load()[0], x)


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_store_that_is_replaced_in_a_bucket_is_never_read_as_the_old_one(is_read, is_deleted):
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    address = f"memory://replaced-{is_read}-{is_deleted}/study.zarr"
    people = make(address)
    with zarrts.open(address) as store:
        bob, dora = (store.samples.select(subjects=[it]) for it in ("bob", "dora"))
        if is_read:
            bob.load()
        if is_deleted:
            root = locate(address)
            root.bucket.delete([*root.every_key()])
        convert([person("anna", 1.0), *people], address, overwrite=not is_deleted).close()
        for part in (bob, dora):
            try:
                x, _ = part.load()
            except AccessError as error:
                assert "Open it again" in str(error)
            else:
                assert is_read  # what was read before
                assert set(np.floor(x).ravel()) == {2.0 if part is bob else 4.0}
        with pytest.raises(AccessError, match="Open it again"):
            dora.load()
    with zarrts.open(address) as store:
        assert store.subjects == ["anna", *PEOPLE]


def test_who_has_a_store_in_a_bucket_open_goes_on_while_subjects_are_added():
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    make("memory://grown/study.zarr")
    with zarrts.open("memory://grown/study.zarr") as store:
        zarrts.append("memory://grown/study.zarr", person("eve", 6.0), progress=False).close()
        x, _ = store.samples.load()
        assert [float(it) for it in np.unique(np.floor(x))] == [2.0, 3.0, 4.0]


def test_a_stream_that_is_collected_under_the_lock_of_open_files_waits_for_nobody(tmp_path):
    path = tmp_path / "study.zarr"
    make(path)
    with zarrts.open(path) as store:
        with OPEN_FILES.lock:
            stream = store.samples.batches(7, workers=2)  # whose threads wait for the lock
            del stream
            gc.collect()
        assert len(list(store.samples.batches(50))) == 3
