"""The place that a conversion writes to: what is there already, and what may be done with it.

`read_target` looks once; what follows from that is asked of a frozen `Target`, without a further
look. A conversion looks once before it starts, and once more when it holds the lock.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zarrts.buckets.objects import ObjectPath
from zarrts.conversion.lock import LOCK
from zarrts.conversion.provenance import changes_since
from zarrts.conversion.stamps import STAMPS
from zarrts.errors import PlanError, StoreError
from zarrts.storage.joint_tables import JointTables
from zarrts.storage.journal import JournalContent, Provenance, read_journal
from zarrts.storage.location import Location, list_names, open_file
from zarrts.storage.parted_root import PartedRoot
from zarrts.storage.segments import ROOT_KEY, SEGMENT_MARK
from zarrts.storage.store import (
    MANIFESTS,
    NewerSchemaError,
    StoreHeader,
    manifest_key,
    parse_root,
    read_root,
)

JOURNAL = "unfinished.journal"
_STAMPS = STAMPS.rpartition("/")[2]
_NEW_STAMPS = f"{_STAMPS}.partial"
_DELETED = ".deleted"
_MANIFEST_START = b'{"objects":'
_MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place as it was when it was looked at; no question that is asked of it looks again.

    Attributes
    ----------
    root : Location
    content : bytes, or None
        The root `zarr.json`; None where there is none.
    header : StoreHeader, or None
        The same, where it is that of a store of ours.
    parted : PartedRoot, or None
        The same, where it is that of several parts, and nobody else wrote to it.
    tables : JointTables, or None
        Its tables and its manifest, which are read when they are asked for.
    error : StoreError, or None
        Why it is not, where there is one.
    segments : tuple of str
        Names of the segments that lie there, where the root is damaged that named them.
    version : int
        The latest one that was published, as far as is known; 0 where there is none.
    journal : JournalContent, or None
        Of the conversion that wrote last, where it left one.
    foreign : tuple of str
        Names that no conversion wrote.
    leftovers : tuple of Location
        What conversions wrote and the root does not name, in the order in which it is deleted.
        In a bucket, the lock of whoever was killed is among them.
    obstacle : Path, or None
        The file that is where a folder has to be.
    """

    root: Location
    content: bytes | None = None
    header: StoreHeader | None = None
    parted: PartedRoot | None = field(default=None, repr=False)
    tables: JointTables | None = field(default=None, repr=False)
    error: StoreError | None = None
    segments: tuple[str, ...] = ()
    version: int = 0
    journal: JournalContent | None = None
    foreign: tuple[str, ...] = ()
    leftovers: tuple[Location, ...] = ()
    obstacle: Path | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The root as JSON has it, which takes long to parse where there are many parts."""
        found: dict[str, Any] = json.loads(self.content or b"{}")
        return found

    @property
    def next_segment(self) -> str:
        """A name that no segment has: whoever has the old store open goes on reading it."""
        names = [it.name for it in self.header.segments] if self.header else self.segments
        return str(1 + max(map(int, names), default=-1))

    @property
    def unfinished(self) -> JournalContent | None:
        """The journal of a conversion that was not published, if there is one."""
        published = {it.name for it in self.header.segments} if self.header else set()
        return self.journal if self.journal and self.journal.segment not in published else None

    def holds(self, provenance: Provenance, *, is_append: bool = False) -> bool:
        """Return whether the store is complete, and this made it (or was appended last)."""
        if self.header is None:
            return False
        *before, last = self.header.segments
        return last.provenance == provenance.digest and (is_append or not before)

    def finished_bytes(self, provenance: Provenance) -> int:
        """Return the size of what an unfinished conversion of the same has written already."""
        if self.unfinished is None or self.unfinished.provenance.digest != provenance.digest:
            return 0
        tasks = self.unfinished.entries.values()
        return sum(file.size for task in tasks for file in task.files)

    def is_of_another(self, provenance: Provenance) -> bool:
        """Return whether a conversion of something else was not published."""
        return self.unfinished is not None and self.unfinished.provenance.digest != (
            provenance.digest
        )

    def may_be_swept(self, provenance: Provenance) -> bool:
        """Return whether there are leftovers, and none that another conversion can go on from."""
        is_left = bool(self.leftovers) or (self.header is not None and bool(self.header.removal))
        return is_left and not self.is_of_another(provenance)


def read_target(root: Location, before: Target | None = None) -> Target:
    """Look at a place once: its names, its root, and its journal.

    Of a complete store in a bucket, that is two requests. The root of a store of many parts takes
    long to parse: if it is what it was `before`, it is not parsed again.
    """
    names = list_names(root)
    if not names:
        return Target(root=root, obstacle=_obstacle(root))
    content = read_root(root, before.content if before else None) if ROOT_KEY in names else None
    header, parted, tables, error = None, None, None, None
    if content is not None and before is not None and content == before.content:
        header, parted = before.header, before.parted
        tables, error = before.tables, before.error
    elif content is not None:
        try:
            header, parted = parse_root(root, content)
            tables = JointTables(root, header)
        except StoreError as found:
            error = found
    segments: tuple[str, ...] = ()
    version = header.version if header else 0
    if error is not None and not isinstance(error, NewerSchemaError):
        segments = tuple(name for name in names if name.isdigit() and _is_ours(root / name))
        version = max(_published(root), default=0) if segments else 0
    known = {ROOT_KEY} if isinstance(root, ObjectPath) else {ROOT_KEY, LOCK}
    if header is not None:
        known |= {MANIFESTS, *(it.name for it in header.segments)}
    is_ours = {name: _is_ours(root / name) for name in names if name not in known}
    leftovers = [root / name for name in sorted(is_ours) if is_ours[name]]
    # The journal goes first: without what it lists it would be of no use, and misleading.
    leftovers.sort(key=lambda it: it.name != JOURNAL)
    # In a bucket this is one more request, and whoever was killed there has left a lock as well.
    if header and (leftovers or not isinstance(root, ObjectPath)):
        leftovers += _old_manifests(root, header)
    return Target(
        root=root,
        content=content,
        header=header,
        parted=parted,
        tables=tables,
        error=error,
        segments=segments,
        version=version,
        journal=read_journal(root / JOURNAL) if JOURNAL in names else None,
        foreign=tuple(name for name in sorted(is_ours) if not is_ours[name]),
        # Under a root that is not ours, everything stays.
        leftovers=() if error else tuple(leftovers),
    )


def _published(root: Location) -> Iterator[int]:
    """Yield the versions whose manifests are there."""
    for path in _inside(root / MANIFESTS):
        if _is_manifest(path) and path.suffix == ".json":
            yield int(path.stem)


def _obstacle(root: Location) -> Path | None:
    if isinstance(root, ObjectPath):
        return None
    first = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    return None if first.is_dir() else first


def _old_manifests(root: Location, header: StoreHeader) -> Iterator[Location]:
    name = manifest_key(header.version).rpartition("/")[2]
    for path in _inside(root / MANIFESTS):
        if path.name == _NEW_STAMPS or (path.name != name and _is_manifest(path)):
            yield path


# May it be written to? -----------------------------------------------------------------------


def refuse_target(
    target: Target, provenance: Provenance, *, overwrite: bool, restart: bool
) -> None:
    """Raise PlanError unless a conversion may write to a place; nothing is touched.

    It may where nothing is, where a conversion of the same did not finish, where the store was
    made from the same already, with `overwrite` where there is another store, and with `restart`
    where a conversion of something else did not finish.
    """
    root = target.root
    if target.obstacle is not None:
        raise PlanError(
            f"{target.obstacle} is a file, but the store is a folder to be made; give it a new "
            "name, such as study.zarr."
        )
    if target.content is not None:
        _refuse_store(target, provenance, overwrite)
    elif target.foreign:
        raise PlanError(
            f"{root} is not empty: it holds {', '.join(target.foreign[:_MAX_NAMED])}"
            f"{' ...' if len(target.foreign) > _MAX_NAMED else ''}, which no conversion wrote. "
            "Choose a new folder for the store."
        )
    refuse_unfinished(target, provenance, restart=restart)


def refuse_changed(root: Location, origins: Sequence[str], *, is_append: bool) -> None:
    """Raise PlanError that names sources which changed since a store was made from them."""
    named = f"{', '.join(origins[:_MAX_NAMED])}{' ...' if len(origins) > _MAX_NAMED else ''}"
    if is_append:
        raise PlanError(
            f"{root} holds these already, but {named} changed since. To take the new content, "
            "remove the subjects (zarrts remove), and append them again."
        )
    raise PlanError(
        f"{root} is a store of other sources or options ({named}: changed). Choose another name, "
        "or replace it with overwrite=True (--overwrite)."
    )


def refuse_unfinished(target: Target, provenance: Provenance, *, restart: bool) -> None:
    """Raise PlanError if there are finished parts of something else, unless `restart`."""
    journal = target.unfinished
    if journal and journal.entries and target.is_of_another(provenance) and not restart:
        raise PlanError(
            f"{target.root} holds an unfinished conversion of other sources or options "
            f"({journal.provenance.differences(provenance)}). Finish it with those, or give it up "
            "with restart=True (--restart)."
        )


def _refuse_store(target: Target, provenance: Provenance, overwrite: bool) -> None:
    root, header, error = target.root, target.header, target.error
    if overwrite and (header is not None or target.segments):
        return
    if header is None:
        what = "" if target.segments else " It is not replaced; choose another name."
        raise PlanError(f"{error}{what}") from error
    if target.holds(provenance):
        return
    try:
        then = _provenance_of(target, header)
    except StoreError as found:
        raise PlanError(str(found)) from found
    if since := changes_since(header, then, provenance):
        raise PlanError(
            f"{root} is version {header.version} of a store of these sources: {since}. Open it: "
            f"zarrts.open({str(root)!r}). More subjects are added with zarrts append; for a store "
            "as it was at first, choose another name."
        )
    raise PlanError(
        f"{root} is a store of other sources or options ({then.differences(provenance)}). "
        "Choose another name, or replace it with overwrite=True (--overwrite)."
    )


def _provenance_of(target: Target, header: StoreHeader) -> Provenance:
    assert target.tables is not None  # there is a header
    tables = target.tables.names.values()
    return Provenance(
        digest=header.segments[0].provenance,
        options=header.segments[0].options,
        sources={
            source: f"{subject} {fingerprint}"
            for table in tables
            for source, subject, fingerprint in zip(
                table.source, table.subject, table.fingerprint, strict=True
            )
        },
    )


# What is to be deleted -----------------------------------------------------------------------


def sweep(target: Target, unfinished: str | None = None) -> None:
    """Delete leftovers, but for those of an unfinished segment; whoever calls holds the lock.

    What others put into the folder stays; so does everything under a root that is not ours.
    """
    kept = {LOCK} if unfinished is None else {LOCK, JOURNAL, unfinished}
    for path in target.leftovers:
        if path.name not in kept:
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
        path.unlink(missing_ok=True)
        return
    if path.suffix != _DELETED:
        try:
            path = path.rename(path.with_name(path.name + _DELETED))
        except OSError:  # Windows renames no folder of open files
            for inside in path.iterdir():
                if inside.name != ROOT_KEY:  # by which a segment is told from other folders
                    shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
    shutil.rmtree(path)


# Whose is it? --------------------------------------------------------------------------------


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
        names = (it for it in _inside(path) if it.name not in (_STAMPS, _NEW_STAMPS))
        return path.is_dir() and all(map(_is_manifest, names))
    if path.stem.isdigit() and path.suffix == _DELETED:
        return path.is_dir()
    if not path.name.isdigit() or not path.is_dir():
        return False
    try:
        attributes = json.loads((path / ROOT_KEY).read_bytes())["attributes"]
        return SEGMENT_MARK in attributes
    except FileNotFoundError:
        return all(it.name.endswith(".partial") for it in _inside(path))
    except (ValueError, LookupError, TypeError):
        return False


def _is_manifest(path: Location) -> bool:
    if not re.fullmatch(r"\d+\.json(\.partial)?", path.name) or not path.is_file():
        return False
    start = bytearray(len(_MANIFEST_START))
    with open_file(path) as file:
        file.read_into(start, 0)
    return start == _MANIFEST_START or path.suffix == ".partial"
