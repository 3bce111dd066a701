"""Compare a store with its manifest, with what it says of itself, and with its sources."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from zarrts.conversion.lock import LOCK
from zarrts.conversion.stamps import STAMPS
from zarrts.errors import ReadError, StoreError
from zarrts.sizes import format_count
from zarrts.storage.checksums import crc32c_of_file
from zarrts.storage.foreign import foreign_of
from zarrts.storage.joint_tables import TABLES, entry_of
from zarrts.storage.location import Location, list_files, n_requests
from zarrts.storage.manifest import read_manifest
from zarrts.storage.metadata import is_root_as_written
from zarrts.storage.segments import ROOT_KEY, Segment
from zarrts.storage.shards import is_in_place
from zarrts.storage.store import (
    REMEDY,
    Entries,
    StoreHeader,
    describe_removal,
    header_of,
    manifest_key,
    read_header,
    read_root,
    sizes_below,
)
from zarrts.storage.table import RecordingTable, read_table
from zarrts.upkeep.inspection import check_content, check_sources
from zarrts.upkeep.matching import Sources
from zarrts.upkeep.problems import Problem, SourcePlaces

_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify`.

    Attributes
    ----------
    problems : tuple of Problem
        None where nothing is wrong.
    n_files, n_bytes : int
        Files of the store, and their size.
    unnamed : tuple of str
        Other files below the store, which its root does not name: those of an unfinished
        conversion, and what other programs put there, attributes of the root included. What
        should have been deleted is a problem as well.
    """

    problems: tuple[Problem, ...]
    n_files: int
    n_bytes: int
    unnamed: tuple[str, ...] = ()


def verify_store(
    root: Location,
    *,
    is_deep: bool = False,
    source: Sources | None = None,
    workers: int | None = None,
) -> Verification:
    """Compare a store with its manifest, and more.

    Parameters
    ----------
    root : Location
    is_deep : bool
        Read everything: the checksum of every file, every chunk, label and statistic.
    source : Sources, optional
        What was converted: every sample and label is compared with it.

    Raises
    ------
    StoreError
        If the root cannot be read, so that there is nothing to compare with.
    SourceError
        If the sources are not those of the store.
    """
    workers = workers or n_requests(root)
    for _ in range(_TRIES):
        content = read_root(root)
        header = read_header(root) if content is None else header_of(root, content)
        found = error = None
        try:
            found = _verified(root, content or b"", header, is_deep, source, workers)
        except (StoreError, ReadError, FileNotFoundError) as raised:
            error = raised
        if found is not None and not found.problems:
            return found
        # Files that are deleted because a new version takes their place are no damage.
        if read_root(root) == content:
            if error is not None:
                raise error
            assert found is not None
            return found
    raise StoreError(f"{root} is being changed by somebody else; verify it once that has ended.")


def _verified(
    root: Location,
    content: bytes,
    header: StoreHeader,
    is_deep: bool,
    source: Sources | None,
    workers: int,
) -> Verification:
    problems = list(_check_root(content))
    entries: Entries = {}
    joint: Mapping[str, Any] = {}
    try:
        manifest = read_manifest(root, header)
        entries, joint = manifest.entries, manifest.document.get(TABLES, {})
    except StoreError as error:
        problems.append(Problem(str(error)))
    every = list_files(root)
    names = {it.name for it in header.segments}
    sizes = {key: size for key, size in every.items() if key.partition("/")[0] in names}
    known = {ROOT_KEY, LOCK, STAMPS, manifest_key(header.latest), *sizes}
    unnamed = tuple(key for key in every if key not in known)
    attributes = (
        f"{ROOT_KEY}: the attribute {key!r}" for key in foreign_of(json.loads(content))[0]
    )
    problems += _remains(root, header, unnamed)
    tables = {it.name: _read_table(root, it, problems) for it in header.segments}
    problems += _check_joint(header, joint, tables)
    places = SourcePlaces(header, tables)
    if entries:
        problems += check_listing(entries, sizes, places)
    if is_deep:
        with ThreadPoolExecutor(workers) as pool:
            problems += check_checksums(root, entries, sizes, places, pool)
            for segment in header.segments:
                table = tables[segment.name]
                if table is not None:
                    problems += check_content(root, segment, header.labels, table, places, pool)
    if source is not None:
        problems += check_sources(root, header, tables, source, places)
    return Verification(
        problems=tuple(dict.fromkeys(problems)),
        n_files=len(sizes),
        n_bytes=sum(sizes.values()),
        unnamed=(*unnamed, *attributes),
    )


def _check_root(content: bytes) -> Iterator[Problem]:
    document = json.loads(content)
    # Whoever adds to the root writes it in another way.
    if not is_root_as_written(content, document) and foreign_of(document) == ({}, {}):
        yield Problem(f"{ROOT_KEY} is not as it was written, though it says the same.")


def _check_joint(
    header: StoreHeader,
    joint: Mapping[str, Any],
    tables: Mapping[str, RecordingTable | None],
) -> Iterator[Problem]:
    """Compare what a manifest repeats of the tables of recordings with these."""
    for name, entry in joint.items():
        table = tables.get(name)
        if table is not None and entry != entry_of(table):
            yield Problem(
                f"{manifest_key(header.latest)} says something else of part {name} than its table "
                f"of recordings. {REMEDY}",
                name,
            )


def _remains(root: Location, header: StoreHeader, unnamed: Sequence[str]) -> Iterator[Problem]:
    """Return a problem for each part that a removal or an overwrite should have deleted."""
    if header.removal is not None:
        yield Problem(describe_removal(root, header.removal))
    newest = max(int(it.name) for it in header.segments)
    gone = header.removal.segments if header.removal is not None else ()
    n_files: Counter[str] = Counter()
    for key in unnamed:
        part = re.match(r"(\d+)(\.deleted)?/", key)
        # A part that is being written has a higher number than all others.
        if part and (part[2] or part[1] in gone or int(part[1]) < newest):
            n_files[part[0]] += 1
    for name, count in n_files.items():
        yield Problem(
            f"{name}: {format_count(count, 'file')} of an earlier version, which should have been "
            "deleted. The next zarrts remove or append deletes them."
        )


def sizes_of(root: Location, header: StoreHeader) -> dict[str, int]:
    """Return the sizes of the files of a store that are there."""
    return {
        key: size
        for segment in header.segments
        for key, size in sizes_below(root, segment.name).items()
    }


def check_listing(
    entries: Entries, sizes: Mapping[str, int], places: SourcePlaces
) -> Iterator[Problem]:
    """Compare the names and sizes of files with the manifest."""
    for key in sorted(entries.keys() | sizes.keys()):
        if key not in sizes:
            yield places.problem(key, "is missing")
        elif key not in entries:
            yield Problem(f"{key} is not part of the store; delete it.")
        elif sizes[key] != entries[key][0]:
            yield places.problem(key, f"has {sizes[key]:,} bytes instead of {entries[key][0]:,}")


def check_checksums(
    root: Location,
    entries: Entries,
    sizes: Mapping[str, int],
    places: SourcePlaces,
    pool: ThreadPoolExecutor,
) -> Iterator[Problem]:
    """Compare the content of files that have the right size with the manifest."""
    keys = [key for key in sorted(entries) if sizes.get(key) == entries[key][0]]

    def check(key: str) -> Problem | None:
        try:
            if crc32c_of_file(root / key) != entries[key]:
                return places.problem(key, "does not match its checksum")
        except OSError as error:
            return places.problem(key, f"cannot be read ({error.strerror})")
        return None

    damaged = {it.key: it for it in pool.map(check, keys) if it is not None}
    yield from damaged.values()

    def check_place(key: str) -> Problem | None:
        spec, shard = places.array_of(key)
        if spec is None or spec.checksums in damaged or spec.checksums not in keys:
            return None
        if is_in_place(root, spec, shard):
            return None
        return places.problem(key, "is not what was written there")

    found = pool.map(check_place, [key for key in keys if key not in damaged])
    yield from (problem for problem in found if problem is not None)


def _read_table(root: Location, segment: Segment, problems: list[Problem]) -> RecordingTable | None:
    try:
        return read_table(root, segment)
    except StoreError as error:
        problems.append(Problem(str(error), segment.name))
        return None
