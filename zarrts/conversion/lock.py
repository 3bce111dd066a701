"""The lock of a store: one writer at a time, in a folder or in a bucket."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import filelock

from zarrts.buckets.lease import Lease
from zarrts.buckets.objects import ObjectPath
from zarrts.errors import PlanError
from zarrts.storage.location import Location, refuse_read_only
from zarrts.system import make_folder

LOCK = "writing.lock"


class Hold(Protocol):
    """The right to write to a place, which nobody else has meanwhile."""

    @property
    def is_held(self) -> bool:
        """True while nobody else can have it."""
        ...

    def check(self) -> None:
        """Raise PlanError if somebody else may have it."""
        ...


class _Locked:
    """The lock of a folder, which is held as long as the process lives."""

    is_held = True

    def check(self) -> None:
        pass


@contextlib.contextmanager
def only_writer(root: Location) -> Iterator[Hold]:
    """Hold the lock of a folder, or the lease of a prefix; a kill ends it.

    A new folder that stays empty is deleted. The lock of another one stays there as an empty file,
    whether it is held or not.

    Raises
    ------
    PlanError
        If somebody else writes to it, or nobody can.
    BucketError
        If nobody can write to that bucket.
    """
    refuse_read_only(root)
    if not isinstance(root, ObjectPath):
        with _lock_of_folder(root):
            yield _Locked()
        return
    lease = Lease(root / LOCK)
    try:
        yield lease
    finally:
        lease.release()


@contextlib.contextmanager
def _lock_of_folder(root: Path) -> Iterator[None]:
    new_folders = [it for it in (root, *root.parents) if not it.exists()]
    path = root / LOCK
    lock = filelock.FileLock(path, timeout=0)
    try:
        make_folder(root)
        lock.acquire()
    except filelock.Timeout as error:
        raise PlanError(
            f"{root}: another conversion is writing to it; wait until it ends, or choose another "
            "name."
        ) from error
    except OSError as error:
        raise PlanError(
            f"{root}: cannot be written ({error.strerror or error}); choose another folder."
        ) from error
    try:
        yield
    finally:
        # The empty file stays beside a store, for whoever waits has it open: a lock on a file
        # without a name keeps nobody out. Only where nothing else was written it goes, with the
        # folder: filelock 4 notices that the file has no name any more, and opens the next one.
        with contextlib.suppress(OSError):
            if os.listdir(root) == [LOCK]:
                path.unlink()
        lock.release()
        with contextlib.suppress(OSError):
            for folder in new_folders:
                folder.rmdir()
