"""Who may write to a folder, and which of its files are conversions' own."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import filelock

from zarrts.buckets.lease import Lease
from zarrts.buckets.objects import ObjectPath
from zarrts.errors import PlanError, StoreError
from zarrts.storage.journal import JournalContent, Plan, read_journal
from zarrts.storage.location import Location, open_file, refuse_read_only
from zarrts.storage.segments import ROOT_KEY
from zarrts.storage.store import (
    MANIFESTS,
    SEGMENT_MARK,
    StoreHeader,
    is_store,
    manifest_key,
    read_header,
)
from zarrts.storage.table import read_table
from zarrts.system import make_folder

JOURNAL = "unfinished.journal"
LOCK = "writing.lock"
_DELETED = ".deleted"
_MANIFEST_START = b'{"objects":'
_MAX_NAMED = 3


class Hold(Protocol):
    """That nobody else writes to a place."""

    @property
    def is_held(self) -> bool:
        """Whether that is still so."""
        ...

    def check(self) -> None:
        """Raise PlanError if it is not."""
        ...


class _Locked:
    """Of a folder, as long as the process lives."""

    is_held = True

    def check(self) -> None:
        pass


@contextlib.contextmanager
def only_writer(root: Location) -> Iterator[Hold]:
    """Hold the lock of a folder, or the lease of a prefix; a kill ends it.

    A new folder that stays empty is deleted.

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
        # While it is held, or it could be another's by then: filelock takes no lock on a file
        # that has no name any more. Windows deletes no open file, and keeps this empty one.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
        with contextlib.suppress(OSError):
            for folder in new_folders:
                folder.rmdir()


def refuse_target(root: Location, plan: Plan, *, overwrite: bool, restart: bool) -> None:
    """Raise PlanError unless a conversion may write to a folder; nothing is touched.

    It may where nothing is, where a conversion of the same plan did not finish, where the store
    was made by this plan already, with `overwrite` where there is another store, and with
    `restart` where another plan did not finish.
    """
    refuse_read_only(root)
    if not isinstance(root, ObjectPath):
        _refuse_file(root)
    if (root / ROOT_KEY).exists():
        _refuse_store(root, plan, overwrite)
    else:
        foreign = sorted(path.name for path in _inside(root) if not _is_ours(path))
        if foreign:
            raise PlanError(
                f"{root} is not empty: it holds {', '.join(foreign[:_MAX_NAMED])}"
                f"{' ...' if len(foreign) > _MAX_NAMED else ''}, which no conversion wrote. "
                "Choose a new folder for the store."
            )
    refuse_unfinished(root, plan, restart=restart)


def _refuse_file(root: Path) -> None:
    first = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not first.is_dir():
        raise PlanError(
            f"{first} is a file, but the store is a folder to be made; give it a new name, such as "
            "study.zarr."
        )


def refuse_unfinished(root: Location, plan: Plan, *, restart: bool) -> None:
    """Raise PlanError if a folder holds finished parts of another plan, unless `restart`."""
    journal = read_unfinished(root)
    if journal and journal.entries and journal.plan.write_id != plan.write_id and not restart:
        raise PlanError(
            f"{root} holds an unfinished conversion of other sources or options "
            f"({journal.plan.differences(plan)}). Finish it with those, or give it up with "
            "restart=True (--restart)."
        )


def read_unfinished(root: Location) -> JournalContent | None:
    """Return the journal of a conversion that was not published, if there is one."""
    journal = read_journal(root / JOURNAL)
    if journal is None or not is_store(root):
        return journal
    published = {segment.name for segment in read_header(root).segments}
    return None if journal.segment in published else journal


def finished_bytes(root: Location, plan: Plan) -> int:
    """Return the size of what an unfinished conversion of this plan has on the disk."""
    journal = read_unfinished(root)
    if journal is None or journal.plan.write_id != plan.write_id:
        return 0
    return sum(file.size for task in journal.entries.values() for file in task.files)


def _refuse_store(root: Location, plan: Plan, overwrite: bool) -> None:
    try:
        header = read_header(root)
        if header.write_id == plan.write_id or overwrite:
            return
        then = _plan_of_store(root, header)
    except StoreError as error:
        raise PlanError(
            f"{error} It is not replaced; delete it yourself, or choose another name."
        ) from error
    raise PlanError(
        f"{root} is a store of other sources or options ({then.differences(plan)}). Choose "
        "another name, or replace it with overwrite=True (--overwrite)."
    )


def _plan_of_store(root: Location, header: StoreHeader) -> Plan:
    tables = [read_table(root, segment) for segment in header.segments]
    return Plan(
        write_id=header.write_id,
        options=header.segments[0].options,
        sources={
            source: f"{subject} {fingerprint}"
            for table in tables
            for source, subject, fingerprint in zip(
                table.source, table.subject, table.fingerprint, strict=True
            )
        },
    )


def sweep(root: Location, unfinished: str | None = None) -> None:
    """Delete what conversions wrote and the root does not name, but for an unfinished segment.

    What others put into the folder stays; so does everything under a root that is not ours.
    """
    kept = {ROOT_KEY, LOCK}
    if unfinished is not None:
        kept |= {unfinished, JOURNAL}
    if is_store(root):
        header = read_header(root)
        kept |= {segment.name for segment in header.segments}
        for path in _inside(root / MANIFESTS):
            if _is_manifest(path) and path.name != _manifest_name(header.version):
                path.unlink()
        kept.add(MANIFESTS)
    elif (root / ROOT_KEY).exists():
        return
    # The journal goes first: without what it lists it would be of no use, and misleading.
    for path in sorted(_inside(root), key=lambda it: it.name != JOURNAL):
        if path.name not in kept and _is_ours(path):
            _delete(path)


def drop_partial(root: Location, segment: str) -> None:
    """Delete unfinished files of a segment: those of workers that died, or are taken for dead.

    One that still writes cannot give its file a name any more.
    """
    if isinstance(root, ObjectPath):
        return  # where what is unfinished has no name
    for path in sorted((root / segment).rglob("*.partial")):
        path.unlink(missing_ok=True)


def _delete(path: Location) -> None:
    """Delete a file or folder; a folder loses its name first, so that readers miss all of it."""
    if isinstance(path, ObjectPath):
        # What tells a segment from other prefixes goes last, or the rest would be nobody's.
        mark = path / ROOT_KEY
        path.bucket.delete([key for key in path.every_key() if key != mark.key])
        path.bucket.delete([mark.key])
        return
    if not path.is_dir():
        path.unlink()
        return
    if path.suffix != _DELETED:
        try:
            path = path.rename(path.with_name(path.name + _DELETED))
        except OSError:  # Windows renames no folder of open files
            for inside in path.iterdir():
                if inside.name != ROOT_KEY:  # by which a segment is told from other folders
                    shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
    shutil.rmtree(path)


def has_leftovers(root: Location, plan: Plan) -> bool:
    """Return whether anything is left in a complete store of what made it."""
    journal = read_unfinished(root)
    if journal is not None and journal.plan.write_id != plan.write_id:
        return False  # somebody else's, who may go on with it
    header = read_header(root)
    kept = {ROOT_KEY, MANIFESTS, *(segment.name for segment in header.segments)}
    manifest = _manifest_name(header.version)
    return any(path.name not in kept and _is_ours(path) for path in _inside(root)) or any(
        path.name != manifest and _is_manifest(path) for path in _inside(root / MANIFESTS)
    )


def _manifest_name(version: int) -> str:
    return manifest_key(version).rpartition("/")[2]


def _inside(folder: Location) -> list[Location]:
    if isinstance(folder, ObjectPath):
        return [*folder.iterdir()]
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_ours(path: Location) -> bool:
    """Return whether a conversion wrote this entry of a store's folder, whole or in part."""
    if isinstance(path, ObjectPath) and path.name in (JOURNAL, LOCK):
        return True
    if path.name in (f"{ROOT_KEY}.partial", JOURNAL, f"{JOURNAL}.partial", LOCK):
        return path.is_file()
    if path.name == MANIFESTS:
        return path.is_dir() and all(_is_manifest(it) for it in path.iterdir())
    if path.stem.isdigit() and path.suffix == _DELETED:
        return path.is_dir()
    if not path.name.isdigit() or not path.is_dir():
        return False
    try:
        attributes = json.loads((path / ROOT_KEY).read_bytes())["attributes"]
        return SEGMENT_MARK in attributes
    except FileNotFoundError:
        return all(it.name.endswith(".partial") for it in path.iterdir())
    except (ValueError, LookupError, TypeError):
        return False


def _is_manifest(path: Location) -> bool:
    if not re.fullmatch(r"\d+\.json(\.partial)?", path.name) or not path.is_file():
        return False
    start = bytearray(len(_MANIFEST_START))
    with open_file(path) as file:
        file.read_into(start, 0)
    return start == _MANIFEST_START or path.suffix == ".partial"
