"""The few calls that not every system has, with each of them hidden."""

import ctypes
import errno
import os
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from zarrts import system
from zarrts.system import PositionalFile

CONTENT = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8).tobytes()
SYSTEMS = ["this system", "no preadv", "short reads"]


@pytest.fixture(params=SYSTEMS)
def any_system(request, monkeypatch):
    """Hide positional reads, or make the system return fewer bytes than were asked for."""
    if request.param == "no preadv":
        monkeypatch.delattr(os, "preadv", raising=False)
    elif request.param == "short reads":
        monkeypatch.setattr(os, "preadv", read_7_bytes, raising=False)
    return request.param


def read_7_bytes(fd, buffers, offset):
    found = CONTENT[offset : offset + 7][: len(buffers[0])]
    buffers[0][: len(found)] = found
    return len(found)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("offset", "length", "found"),
    [(0, 10, 10), (99_990, 10, 10), (99_990, 50, 10), (100_000, 5, 0), (200_000, 5, 0), (7, 0, 0)],
)
def test_a_range_is_read_as_far_as_the_file_goes(any_system, path, offset, length, found):
    with PositionalFile(path) as file:
        assert file.size() == len(CONTENT)
        buffer = np.full(length + 3, 255, np.uint8)
        assert file.read_into(buffer[:length], offset) == found
    assert buffer[:found].tobytes() == CONTENT[offset : offset + found]
    assert (buffer[found:] == 255).all()


def test_a_buffer_of_any_dtype_is_filled(any_system, path):
    buffer = np.zeros((5, 4), np.float64)
    with PositionalFile(path) as file:
        assert file.read_into(buffer, 16) == 160
    assert buffer.tobytes() == CONTENT[16:176]


def test_threads_read_at_their_own_offsets(any_system, path):
    wrong, start = [], threading.Barrier(4)

    def read(seed):
        rng = np.random.default_rng(seed)
        buffer = np.empty(50, np.uint8)
        start.wait()
        for offset in rng.integers(0, len(CONTENT) - 50, 300).tolist():
            file.read_into(buffer, offset)
            if buffer.tobytes() != CONTENT[offset : offset + 50]:
                wrong.append(offset)

    with PositionalFile(path) as file:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_file_closed_twice_is_closed_once(path):
    file = PositionalFile(path)
    file.close()
    other = os.open(path, os.O_RDONLY)  # may get the same number
    try:
        file.close()
        os.fstat(other)
    finally:
        os.close(other)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file.read_into(bytearray(4), 0)


def refuse(*_):
    raise OSError(errno.EINVAL, "not on this file system")


@pytest.mark.parametrize("advice", ["hidden", "refused"])
def test_advice_that_cannot_be_given_is_left_out(path, monkeypatch, advice):
    if advice == "hidden":
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
        monkeypatch.setattr(os, "POSIX_FADV_WILLNEED", 3, raising=False)
    with PositionalFile(path) as file:
        file.will_need(0, 1000)
        buffer = bytearray(4)
        assert file.read_into(buffer, 0) == 4
    assert bytes(buffer) == CONTENT[:4]


def test_folders_are_not_synced_where_they_cannot_be_opened(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(system.os, "open", lambda *a: opened.append(a))
    monkeypatch.setattr(system.os, "name", "nt")
    system.sync_folder(tmp_path)
    assert opened == []


@pytest.mark.parametrize("name", [os.name, "nt"])
def test_a_replaced_file_is_there_whole_and_alone(tmp_path, monkeypatch, name):
    path = tmp_path / "root.json"
    path.write_bytes(b"before" * 100)
    with monkeypatch.context() as patch:
        patch.setattr(system.os, "name", name)
        system.replace_file(path, b"after")
    assert path.read_bytes() == b"after"
    assert [it.name for it in tmp_path.iterdir()] == ["root.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch, failing):
    path = tmp_path / "root.json"
    path.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, refuse)
        with pytest.raises(OSError, match="not on this file system"):
            system.replace_file(path, b"after")
    assert path.read_bytes() == b"before"


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path):
    import shutil

    free = system.free_bytes(tmp_path / "not" / "yet" / "there")
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


def test_processors_are_counted_without_affinity(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        assert system.count_cpus() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert system.count_cpus() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.count_cpus() == 1


def test_the_limit_of_open_files_has_a_default_without_resource(monkeypatch):
    assert 1 <= system.open_file_limit() <= 1 << 20
    monkeypatch.setitem(sys.modules, "resource", None)
    assert system.open_file_limit() == 512


def test_no_limit_of_open_files_is_a_large_one(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert system.open_file_limit() == 1 << 20


MAPPED = """
import ctypes, sys
from zarrts import system
class Counts(ctypes.Structure):
    _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(10)]
c = ctypes.CDLL(None)
c.mallinfo2.restype = Counts
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
c.free.argtypes = (ctypes.c_void_p,)
def is_mapped():
    before = c.mallinfo2().field_3
    block = c.malloc(3 << 20)
    after = c.mallinfo2().field_3
    c.free(block)
    return after > before
if sys.argv[1] == "learns not":
    c.mallopt(-3, 131072)
found = [is_mapped(), is_mapped()]
system.keep_freed_memory()
print(*found, is_mapped(), is_mapped())
"""


@pytest.mark.parametrize(
    ("how", "found"),
    [("learns", "True False False False"), ("learns not", "True True False False")],
)
def test_freed_blocks_of_a_few_mib_are_kept_for_the_next(how, found):
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("glibc alone has these counts")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", MAPPED, how], env=environment, capture_output=True, check=True
    )
    assert run.stdout.decode().strip() == found


@pytest.mark.parametrize("platform", ["win32", "darwin", "linux"])
def test_memory_is_left_alone_where_there_is_no_glibc(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(malloc=None))
    system.keep_freed_memory()


def test_standard_error_is_quiet_unless_something_fails(capfd):
    with system.quiet_stderr():
        os.write(2, b"chatter")
    os.write(2, b"after ")
    with pytest.raises(ValueError, match="broken"), system.quiet_stderr():
        os.write(2, b"why it broke")
        raise ValueError("broken")
    assert capfd.readouterr().err == "after why it broke"


def test_standard_error_may_be_missing(monkeypatch, capfd):
    def no_such_file(fd):
        raise OSError(errno.EBADF, "Bad file descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", no_such_file)
        with system.quiet_stderr():
            os.write(2, b"said")
    assert capfd.readouterr().err == "said"
