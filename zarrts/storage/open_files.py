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
        How many may be open while others are not in use; None: an eighth of what the process may
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
    def is_locked_here(self) -> bool:
        """Whether this thread holds the lock, for what a collection of garbage may call then."""
        held: bool = self.lock._is_owned()  # type: ignore[attr-defined]
        return held

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
        most = self.most if most is None else most
        if most is None:
            most = max(8, min(256, open_file_limit() // 8))
        if len(self._files) <= most:
            return []
        there = {key: file() for key, file in self._files.items()}
        for key in [key for key, file in there.items() if file is None]:
            del self._files[key], there[key]
        found = []
        for key, file in there.items():
            if len(self._files) <= most:
                break
            if file is not None and not file.users:
                del self._files[key]
                found.append(file)
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
