"""One budget of open files for all arrays of a process, and what happens where it is met."""

import errno
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeVar

from zarrts.errors import AccessError
from zarrts.storage.location import Location
from zarrts.system import call_after_fork, open_file_limit

T = TypeVar("T")

_THREADS = 16  # that may read at once, as far as files are shared out
TOO_MANY = (errno.EMFILE, errno.ENFILE)


class Shared(Protocol):
    """An open file that some threads may be using just now."""

    users: int

    def drop(self) -> None:
        """Forget it where it is kept, and close it; with the lock held."""


class OpenFiles:
    """The files that all readers of this process hold open, the one used last at the end.

    `lock` guards it, and the files that each reader keeps.

    Attributes
    ----------
    most : int, or None
        How many may be open while others are not in use; None: a quarter of what the process may
        have open.
    """

    most: int | None = None

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all, as after a fork: a lock of the parent may be held forever."""
        self.lock = threading.RLock()
        self._files: OrderedDict[int, weakref.ref[Shared]] = OrderedDict()

    @property
    def budget(self) -> int:
        """Most files that may be open while some of them are not in use."""
        return self.most or max(8, min(1024, open_file_limit() // 4))

    @property
    def share(self) -> int:
        """Most of them that one thread may use at once, so that there are some for others."""
        return max(1, self.budget // _THREADS)

    def add(self, file: Shared) -> None:
        """Note that a file was opened; with the lock held."""
        self._files[id(file)] = weakref.ref(file)
        self._files.move_to_end(id(file))

    def use(self, file: Shared) -> None:
        """Note that an open file is used; with the lock held."""
        try:
            self._files.move_to_end(id(file))
        except KeyError:  # opened before a fork
            self.add(file)

    def forget(self, file: Shared) -> None:
        """Note that a file is closed; with the lock held."""
        self._files.pop(id(file), None)

    def excess(self, most: int | None = None) -> list[Shared]:
        """Return files beyond the budget that nobody uses, for the caller to drop; with the lock.

        Parameters
        ----------
        most : int, optional
            How many may stay open; by default the budget.
        """
        most = self.budget if most is None else most
        found: list[Shared] = []
        in_use: list[tuple[int, weakref.ref[Shared]]] = []
        while self._files and len(self._files) + len(in_use) > most:
            key, held = self._files.popitem(last=False)
            file = held()
            if file is None:
                continue
            if file.users:
                in_use.append((key, held))
            else:
                found.append(file)
        for key, held in reversed(in_use):  # which were used longest ago
            self._files[key] = held
            self._files.move_to_end(key, last=False)
        return found

    def free(self) -> None:
        """Close all files that nobody uses."""
        with self.lock:
            for file in self.excess(0):
                file.drop()


OPEN_FILES = OpenFiles()
call_after_fork(OPEN_FILES.reset)


def too_many(where: object) -> AccessError:
    """Return the error of a process that may open no more files."""
    return AccessError(
        f"{where}: this process has as many files open as it may ({open_file_limit():,}). Nothing "
        "is damaged: close others, or raise the limit, such as with ulimit -n 4096."
    )


def within_limit(read: Callable[[], T], where: object) -> T:
    """Return what reads; where too many files are open, once more after those in no use are closed.

    Raises
    ------
    AccessError
        If there are too many still.
    """
    try:
        return read()
    except OSError as error:
        if error.errno not in TOO_MANY:
            raise
    OPEN_FILES.free()
    try:
        return read()
    except OSError as error:
        if error.errno not in TOO_MANY:
            raise
        raise too_many(where) from error


def read_within_limit(path: Location) -> bytes:
    """Return the content of a file; see `within_limit`."""
    return within_limit(path.read_bytes, path)
