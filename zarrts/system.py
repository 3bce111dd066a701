"""The calls that Linux, macOS and Windows do not share, each with a fallback.

Each has a fallback that does the same, or nothing where the call only makes things faster.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_REPLACE_TRIES, _REPLACE_WAIT_S = 20, 0.1
_WRITERS = 8  # of small files at once
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 4 << 20


class PositionalFile:
    """A file that threads read at once, each at its own offset.

    Where the system has no positional reads (Windows), `_lock` guards the file's position.
    """

    piece_bytes = 1 << 20
    _fd = -1
    # When the interpreter ends, modules lose their names before objects are deleted.
    _close_fd = staticmethod(os.close)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(path, flags)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the number of the open file."""
        return self._fd

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return os.fstat(self._fd).st_size

    def stamp(self) -> tuple[int, ...]:
        """Return what tells the file from another, and from itself before it was written to."""
        found = os.fstat(self._fd)
        # Of its changes, those of status are what nobody can set back.
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def read_into(self, buffer: Any, offset: int) -> int:
        """Fill a writable buffer of bytes from an offset; return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            count = self._read_once(view[done:], offset + done)
            if count == 0:
                break
            done += count
        return done

    def read_into_each(self, buffers: Sequence[Any], offset: int) -> int:
        """Fill buffers one after the other, as `read_into` does one; in one call where that is."""
        if hasattr(os, "preadv"):
            n_bytes = sum(memoryview(it).nbytes for it in buffers)
            if os.preadv(self._fd, buffers, offset) == n_bytes:
                return n_bytes
        done = 0  # the system gave less than all: it may have the rest
        for buffer in buffers:
            count = self.read_into(buffer, offset + done)
            done += count
            if count < memoryview(buffer).nbytes:
                break
        return done

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return many short (offset, size) ranges."""
        found = []
        for offset, size in ranges:
            content = bytearray(size)
            n_bytes = self.read_into(content, offset)
            found.append(bytes(content[:n_bytes]))
        return found

    def _read_once(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [view], offset)
        with self._lock:
            os.lseek(self._fd, offset, os.SEEK_SET)
            found = os.read(self._fd, len(view))
        view[: len(found)] = found
        return len(found)

    def will_need(self, offset: int, length: int) -> None:
        """Ask the system to start reading a range; returns at once."""
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Close the file; twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._close_fd(fd)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> "PositionalFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class NewFile:
    """A file that is written from its start, and appears, whole, at `commit`.

    Until then its name ends in ".partial", with `attempt` before that; a file that was not
    committed leaves nothing behind, unless the process is killed.
    """

    def __init__(self, path: Path, attempt: str = "") -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}{attempt and '.'}{attempt}.partial")
        # The disk is waited for at the end: while others write, it may take long.
        self._changed = _created([path.parent]) | {path.parent}
        self._file = open(self._partial, "wb")  # noqa: SIM115 - closed by commit or abort

    def write(self, content: memoryview) -> None:
        """Append bytes."""
        self._file.write(content)

    def commit(self) -> None:
        """Wait for the disk, and give the file its name."""
        self._file.flush()
        sync_file(self._file.fileno())
        self._file.close()
        rename_over(self._partial, self._path)
        for folder in sorted(self._changed):
            sync_folder(folder)

    def abort(self) -> None:
        """Leave nothing behind, unless it was committed; twice does no harm."""
        if not self._file.closed:
            with contextlib.suppress(OSError):  # of what is still to be flushed to a full disk
                self._file.close()
            self._partial.unlink(missing_ok=True)


def call_after_fork(function: Callable[[], object]) -> None:
    """Call a function in each child of this process, where there are forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def sync_file(fd: int) -> None:
    """Wait until what was written to a file is on the disk."""
    os.fsync(fd)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where a folder can be synced."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(path: Path) -> None:
    """Create a folder and those above it, and wait until their names are on the disk."""
    for parent in _created([path]):
        sync_folder(parent)


def _created(folders: Iterable[Path]) -> set[Path]:
    """Create folders and those above them; return the folders that got one, to be synced."""
    missing: set[Path] = set()
    for path in folders:
        while path not in missing and not path.is_dir():
            missing.add(path)
            path = path.parent
    for path in sorted(missing, key=lambda it: len(it.parts)):
        path.mkdir(exist_ok=True)
    return {path.parent for path in missing}


def rename_over(source: Path, target: Path) -> None:
    """Give a file the name of another in one step.

    Windows refuses that while anybody reads the other one, as a virus scanner does for a moment:
    there it is tried again, for two seconds.
    """
    n_tries = _REPLACE_TRIES if os.name == "nt" else 1
    for n_left in reversed(range(n_tries)):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not n_left:
                raise
            time.sleep(_REPLACE_WAIT_S)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or as it was before, even if the power fails."""
    _replace([path], [content], {path.parent})


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder: first those at its top, which say whose it is."""
    for is_below in (False, True):
        keys = sorted(key for key in files if ("/" in key) == is_below)
        paths = [folder / key for key in keys]
        folders = {path.parent for path in paths}
        _replace(paths, [files[key] for key in keys], _created(folders) | folders)


def _replace(paths: Sequence[Path], contents: Sequence[bytes], changed: Iterable[Path]) -> None:
    """Write files as `replace_file` does; `changed` are all folders with a new name in them."""
    partials = [path.with_name(path.name + ".partial") for path in paths]
    try:
        _at_once(_write, partials, contents)
        for partial, path in zip(partials, paths, strict=True):
            rename_over(partial, path)
    except BaseException:
        for partial in partials:
            partial.unlink(missing_ok=True)
        raise
    _at_once(sync_folder, [*changed])


def _at_once(do: Callable[..., None], *each: Sequence[Any]) -> None:
    """Call a function for each: a disk writes what many threads wait for in one go."""
    if len(each[0]) < 2:
        list(map(do, *each))
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(do, *each))


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        sync_file(file.fileno())


def free_bytes(path: Path) -> int:
    """Return the free disk space where a path is or will be."""
    while not path.exists():
        path = path.parent
    import shutil

    return shutil.disk_usage(path).free


def count_cpus() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def count_disk_reads() -> int | None:
    """Return how many blocks this thread waited for, or asked for, from disks of this machine.

    None where the system does not say, and always 0 for what comes over a network.
    """
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
    except (ImportError, AttributeError):  # on Windows, and on macOS
        return None


def open_file_limit() -> int:
    """Return how many files this process may hold open."""
    try:
        import resource
    except ImportError:
        return 512  # the C runtime's default on Windows
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if 0 < limit < 1 << 20 else 1 << 20


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of a few MiB for the next that asks, if it no longer learns to.

    By itself it does, once it has seen one: `mallopt(3)`, M_MMAP_THRESHOLD. TensorFlow switches
    that off, and then each decoding of a chunk maps, touches and unmaps its scratch memory anew,
    which costs as much as the decoding. Nothing is changed where blocks are kept anyway.
    """
    if sys.platform != "linux":
        return
    import ctypes

    c_library = ctypes.CDLL(None)
    needed = ("mallinfo2", "mallopt", "malloc", "free")  # musl has no mallopt
    if not all(hasattr(c_library, name) for name in needed):
        return
    c_library.malloc.restype = ctypes.c_void_p
    c_library.malloc.argtypes = (ctypes.c_size_t,)
    c_library.free.argtypes = (ctypes.c_void_p,)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

    class MallInfo2(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

    c_library.mallinfo2.restype = MallInfo2
    for _ in range(3):  # another thread may map something meanwhile, though not each time
        before = c_library.mallinfo2().hblks  # blocks that have a mapping of their own
        block = c_library.malloc(_KEPT_BYTES // 2)
        is_mapped = c_library.mallinfo2().hblks > before
        c_library.free(block)
        # The first may be mapped though glibc learns: it does so as that one is freed.
    if is_mapped:
        c_library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        c_library.mallopt(_M_TRIM_THRESHOLD, 4 * _KEPT_BYTES)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what is written to standard error meanwhile, by C too; show it if the block fails."""
    try:
        saved = os.dup(2)
    except OSError:  # a program without a console has none
        yield
        return
    try:
        import tempfile

        with tempfile.TemporaryFile() as held:
            sys.stderr.flush()
            os.dup2(held.fileno(), 2)
            try:
                yield
            except BaseException:
                held.seek(0)
                os.write(saved, held.read())
                raise
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
    finally:
        os.close(saved)
