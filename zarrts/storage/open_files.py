"""One budget of open files for all arrays of a process, and a check that a store is still there."""

import errno
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from zarrts.errors import AccessError, StoreError
from zarrts.storage.store import read_header
from zarrts.system import call_after_fork, open_file_limit

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

    def use(self, file: Shared) -> None:
        """Note that a file is used; with the lock held."""
        self._files[id(file)] = weakref.ref(file)
        self._files.move_to_end(id(file))

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


class StillThere:
    """Checks that the store in a folder is the one that was opened.

    Parameters
    ----------
    root : Path
    write_ids : mapping
        Of each segment, by its name.
    """

    def __init__(self, root: Path, write_ids: Mapping[str, str]) -> None:
        self._root, self._write_ids = root, dict(write_ids)
        self._seen: tuple[int, int, int] | None = None

    def check(self, segment: str) -> None:
        """Raise AccessError if a segment is not what it was.

        Called after a file of it was opened: what is opened before the store is replaced is of
        the store that was opened.
        """
        try:
            found = (self._root / "zarr.json").stat()
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen == self._seen:
                return
            now = {it.name: it.write_id for it in read_header(self._root).segments}
        except OSError as error:
            if error.errno in TOO_MANY:
                raise too_many(self._root) from error
            raise self._replaced() from error
        except StoreError as error:
            raise self._replaced() from error
        if any(now.get(name) != it for name, it in self._write_ids.items() if name == segment):
            raise self._replaced()
        if all(now.get(name) == it for name, it in self._write_ids.items()):
            self._seen = seen

    def _replaced(self) -> AccessError:
        return AccessError(
            f"{self._root}: the store that was opened is not there any more: it was replaced, "
            "moved or deleted meanwhile. Open it again."
        )
