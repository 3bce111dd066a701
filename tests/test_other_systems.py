"""Calls that only Unix has stand in one place, and the rest does without; files that are locked.

Run on Linux: it hides what other systems lack. That is not the same as running there.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zarrts
from zarrts import system

PACKAGE = Path(zarrts.__file__).parent
TESTS = Path(__file__).parent
# Of the documentation of os: "Availability: Unix", or not Windows.
_NAMES = """
chown chroot confstr copy_file_range ctermid eventfd fchdir fchown fdatasync fork forkpty
fpathconf fstatvfs fwalk getegid geteuid getgid getgrouplist getgroups getloadavg getpgid
getpgrp getpriority getresgid getresuid getsid getuid getxattr grantpt initgroups ioctl killpg
lchmod lchown listxattr lockf login_tty major makedev memfd_create minor mkfifo mknod nice
openpty pathconf pidfd_open pipe2 posix_fadvise posix_fallocate posix_openpt posix_spawn
posix_spawnp pread preadv ptsname pwrite pwritev readv register_at_fork removexattr
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam
sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setparam sched_setscheduler
sched_yield sendfile setegid seteuid setgid setgroups setns setpgid setpriority setregid
setresgid setresuid setreuid setsid setuid setxattr splice statvfs sync sysconf tcgetpgrp
tcsetpgrp timerfd_create ttyname uname unlockpt unshare wait wait3 wait4 waitid writev O_CLOEXEC
O_DIRECT O_DIRECTORY O_DSYNC O_NOATIME O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC O_TMPFILE
POSIX_FADV_WILLNEED RTLD_GLOBAL
"""
UNIX_ONLY = frozenset(_NAMES.split())
_MODULES = "crypt fcntl grp posix pty pwd resource syslog termios tty"
UNIX_MODULES = frozenset(_MODULES.split())


def _only_on_unix(path: Path) -> set[str]:
    """Return what a file names that Windows has not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in UNIX_ONLY:
            found |= {f"os.{node.attr}"} if ast.unparse(node.value) == "os" else set()
        if isinstance(node, ast.Import):
            found |= {it.name for it in node.names} & UNIX_MODULES
        if isinstance(node, ast.ImportFrom):
            found |= {node.module} & UNIX_MODULES
            if node.module == "os":
                found |= {f"os.{it.name}" for it in node.names if it.name in UNIX_ONLY}
    return found


def test_what_only_unix_has_is_named_in_one_place():
    found = {
        path.relative_to(PACKAGE).as_posix(): it
        for path in PACKAGE.rglob("*.py")
        if (it := _only_on_unix(path))
    }
    assert found == {
        "system.py": {
            *("os.POSIX_FADV_WILLNEED", "os.posix_fadvise", "os.preadv"),
            *("os.register_at_fork", "os.sched_getaffinity", "resource"),
        }
    }


# All uses of a study, from its files to its batches; PLACE is a folder.
EVERYTHING = """
import numpy as np
import zarrts
from conftest import make_study

study = make_study(PLACE / "subjects", sizes=(37, 1, 60), labels="text")
small = {"chunk": "1KiB", "shard": "4KiB", "progress": False, "workers": 2}
with zarrts.convert(study.folder, PLACE / "a.zarr", **small) as store:
    x, y = store.samples.load()
    assert np.array_equal(x, study.all_x)
    train, test = store.samples.split(test=["s00"])
    for shuffle in (True, False):
        with train.batches(16, shuffle=shuffle, memory="64KiB", stats=train.stats()) as batches:
            ids = np.concatenate([it.sample_id for it in batches])
        assert np.array_equal(np.sort(ids), train.ids)
    # While this version is open and read, another is written.
    reader = iter(store.samples.batches(16, memory="64KiB"))
    next(reader)
    more = make_study(PLACE / "more", sizes=(5, 9), labels="text", seed=1)
    for old in sorted(more.folder.iterdir()):
        old.rename(old.with_name(f"t{old.name}"))
    zarrts.append(PLACE / "a.zarr", more.folder, progress=False).close()
    assert sum(len(it.sample_id) for it in reader) == 98 - 16
with zarrts.open(PLACE / "a.zarr") as store:
    assert np.array_equal(store.samples.load()[0], np.concatenate([study.all_x, more.all_x]))
assert not zarrts.verify(PLACE / "a.zarr", deep=True).problems
zarrts.remove(PLACE / "a.zarr", subject="s02")
assert not zarrts.verify(PLACE / "a.zarr", deep=True).problems
with zarrts.convert(study.folder, PLACE / "a.zarr", **small, overwrite=True) as store:
    assert store.n_samples == 98
print("done")
"""

# Opening with Windows' C library lets nobody rename, replace or delete a file meanwhile.
AS_ON_WINDOWS = """
import os
from pathlib import Path

def refused(path):
    path = os.path.realpath(os.fspath(path))
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}") == path:
                raise PermissionError(13, "is open", path)
        except FileNotFoundError:
            pass

def wrapped(name, n_paths):
    original = getattr(os, name)
    def call(*args, dir_fd=None, **more):
        for path in args[:n_paths]:
            if dir_fd is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
            refused(path)
        return original(*args, **({} if dir_fd is None else {"dir_fd": dir_fd}), **more)
    setattr(os, name, call)

for name, n_paths in (("replace", 2), ("rename", 2), ("unlink", 1), ("remove", 1)):
    wrapped(name, n_paths)
"""

# From our modules only: other packages have ways of their own on Windows, and not here.
HIDDEN = """
import contextlib, importlib, os, pkgutil, sys
import zarrts

class Hidden:
    def __getattr__(self, name):
        if name in UNIX_ONLY:
            raise AttributeError(name)
        return getattr(os, name)

n_hidden = 0
for it in pkgutil.walk_packages(zarrts.__path__, "zarrts."):
    if it.name.split(".")[1] in ("__main__", "demo", "keras", "report"):  # which take long
        continue
    with contextlib.suppress(ImportError):  # of torch
        module = importlib.import_module(it.name)
        n_hidden += hasattr(module, "os")
        module.os = Hidden()
assert n_hidden > 10
sys.modules["resource"] = None
"""


def _run(tmp_path: Path, before: str) -> None:
    code = f"UNIX_ONLY = {sorted(UNIX_ONLY)!r}\n{before}\nfrom pathlib import Path\n"
    code += f"PLACE = Path({str(tmp_path)!r})\n{EVERYTHING}"
    path = os.pathsep.join([str(TESTS), str(PACKAGE.parent), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"


def test_a_study_goes_all_the_way_without_what_only_unix_has(tmp_path):
    _run(tmp_path, HIDDEN)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks /proc what is open")
def test_no_file_is_replaced_or_deleted_while_it_is_open(tmp_path):
    _run(tmp_path, AS_ON_WINDOWS)


# Replacing a file ------------------------------------------------------------------------------


@pytest.fixture
def busy(monkeypatch):
    """A target that somebody reads for as many attempts as are set; and how many there were."""
    original, state = os.replace, {"left": 0, "tried": 0}

    def replace(source, target):
        state["tried"] += 1
        if state["left"]:
            state["left"] -= 1
            raise PermissionError(13, "is used by another process", str(target))
        original(source, target)

    monkeypatch.setattr(system.os, "replace", replace)
    monkeypatch.setattr(system, "_REPLACE_WAIT_S", 0.0)
    return state


@pytest.mark.parametrize("name", ["nt", "posix"])
def test_on_windows_a_file_that_is_read_is_replaced_a_little_later(
    tmp_path, monkeypatch, busy, name
):
    path, partial = tmp_path / "root.json", tmp_path / "partial"
    path.write_bytes(b"before")
    partial.write_bytes(b"after")
    busy["left"] = 3
    monkeypatch.setattr(system.os, "name", name)
    if name == "nt":
        system.rename_over(partial, path)
    else:
        with pytest.raises(PermissionError):
            system.rename_over(partial, path)
    monkeypatch.undo()
    assert path.read_bytes() == (b"after" if name == "nt" else b"before")
    assert busy["tried"] == (4 if name == "nt" else 1)


def test_a_file_that_stays_open_is_said_in_the_end(tmp_path, monkeypatch, busy):
    busy["left"] = 1000
    monkeypatch.setattr(system.os, "name", "nt")
    with pytest.raises(PermissionError, match="used by another process"):
        system.rename_over(tmp_path / "a", tmp_path / "b")
    monkeypatch.undo()
    assert busy["tried"] == 20
