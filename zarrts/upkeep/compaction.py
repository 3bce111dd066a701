"""Join neighbouring parts of a store into one, so that many small ones cost no more than a few.

A store to which a thousand subjects were appended has a thousand parts, and a root that describes
each. Compacting writes their rows anew, one after the other, as one part. Samples, their order and
ids, labels, sources and statistics stay what they are.

1. The joined parts are written beside those that are there. Whoever is killed meanwhile leaves the
   store as it was; the next writer deletes what is unfinished.
2. One new root names them. From then on, the store is the compacted one.
3. The parts that they were made of are deleted. Whoever is killed meanwhile leaves some of them,
   which the next writer deletes.
"""

import contextlib
import errno
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from zarrts.conversion.lock import only_writer
from zarrts.conversion.plan import count_workers
from zarrts.conversion.publish import finish_removal, publish, write_checksums
from zarrts.conversion.stamps import keep_stamps
from zarrts.conversion.target import Target, read_target, sweep
from zarrts.errors import PlanError
from zarrts.sizes import format_count, format_size
from zarrts.storage.location import Location, free_bytes, n_requests, write_files
from zarrts.storage.metadata import metadata_bytes, metadata_of
from zarrts.storage.no_store import quoted
from zarrts.storage.segments import ROOT_KEY, Segment, read_segment
from zarrts.storage.shards import WrittenShard
from zarrts.storage.store import Gone, StoreHeader, combined_id, combined_needs, read_header
from zarrts.storage.table import RecordingTable, digest_of_table, read_table, write_table
from zarrts.storage.versions import Version
from zarrts.upkeep.joining import (
    documents_by_part,
    joined_documents,
    joined_table,
    kind_of,
    task_bytes,
    tasks_of,
    write_task,
)

WHY_GONE = "version {} joined their parts"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROOM_MARGIN = 1.1


@dataclass(frozen=True)
class Compacted:
    """The result of compacting a store.

    Attributes
    ----------
    n_before, n_after : int
        Parts of the store.
    version : int
        Of the store; the same as before where nothing was joined.
    dropped : tuple of int
        Versions that cannot be opened any more.
    """

    n_before: int
    n_after: int
    version: int
    dropped: tuple[int, ...]


def compact_store(
    root: Location,
    *,
    drop_versions: bool = False,
    memory_bytes: int = 1 << 30,
    workers: int | None = None,
    on_rows: Callable[[int], None] = lambda n_rows: None,
) -> Compacted:
    """Join each run of neighbouring parts that were made alike, publish, and delete the old ones.

    Raises
    ------
    PlanError
        If somebody else writes to the store or did not finish, memory or disk space are too little,
        or earlier versions would go that are not to be dropped.
    StoreError, ReadError
        If what is joined is damaged; the store stays as it was.
    """
    read_header(root)
    with only_writer(root) as hold:
        target = _swept(root)
        header = target.header or read_header(root)
        plan = _Plan.of(root, target, header)
        if not plan.is_needed:
            return Compacted(len(header.segments), len(header.segments), header.version, ())
        earlier = [it for it in plan.lost if it != header.version]
        if earlier and not drop_versions:
            raise PlanError(_why_not(root, plan.n_joined, earlier))
        _check_room(root, plan)
        try:
            with _no_disk_full(root):
                segments, written = plan.write(memory_bytes, workers, on_rows)
            hold.check()
            published = publish(target, _header(header, segments, plan), written)
        except BaseException:
            if hold.is_held:
                with contextlib.suppress(OSError):  # the next writer deletes it
                    sweep(read_target(root))
            raise
        with contextlib.suppress(OSError):  # the store is complete; Windows deletes no open file
            sweep(read_target(root, published))
            keep_stamps(root, [it.name for it in segments])
    return Compacted(len(header.segments), len(segments), header.version + 1, plan.lost)


def count_rows(root: Location) -> int:
    """Return the number of rows of a store, for a bar that shows how far it is."""
    return sum(it.n_rows for it in read_header(root).segments)


def _swept(root: Location) -> Target:
    """Return the place without leftovers; PlanError where somebody did not finish."""
    target = read_target(root)
    if target.unfinished is not None:
        raise PlanError(
            f"{root}: more subjects were being added, which did not finish; finish that first, "
            "or give it up with restart=True (--restart)."
        )
    if target.header is not None and target.header.removal is not None:
        finish_removal(target)
        return read_target(root)
    sweep(target)
    return target


def _why_not(root: Location, n_joined: int, earlier: Sequence[int]) -> str:
    count = format_count(len(earlier), "earlier version")
    numbers = str(earlier[0]) if len(earlier) == 1 else f"{earlier[0]} to {earlier[-1]}"
    return (
        f"{root}: joining {n_joined} parts ends {count} ({numbers}), which nobody can open any "
        "more after that. Nothing was changed. If that is all right: drop_versions=True, or "
        f"zarrts compact {quoted(root)} --drop-versions"
    )


def _check_room(root: Location, plan: "_Plan") -> None:
    free, needed = free_bytes(root), int(plan.stored_bytes * _ROOM_MARGIN)
    if free is not None and needed > free:
        raise PlanError(
            f"{root}: joining its parts needs about {format_size(needed)} until the old ones are "
            f"deleted, but {format_size(free)} are free; make room. Nothing was changed."
        )


@contextlib.contextmanager
def _no_disk_full(root: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise PlanError(
            f"{root}: the disk is full; the store is as it was. Make room, and give the same "
            "command again."
        ) from error


def _header(old: StoreHeader, segments: Sequence[Segment], plan: "_Plan") -> StoreHeader:
    version, lost = old.version + 1, {*plan.lost}
    latest = Version.of(version, (it.name for it in segments), old.labels.n_classes)
    return replace(
        old,
        version=version,
        write_id=combined_id(segments),
        segments=tuple(segments),
        needs=combined_needs(segments),
        versions=(*(it for it in old.versions if it.version not in lost), latest),
        gone=(*old.gone, Gone(plan.lost, WHY_GONE.format(version))),
    )


@dataclass(frozen=True)
class _Plan:
    """Runs of neighbouring parts, each to be one part; one that stays is a run of its own."""

    root: Location
    runs: tuple[tuple[Segment, ...], ...]
    tables: Mapping[str, RecordingTable]
    documents: Mapping[str, Mapping[str, Any]]
    lost: tuple[int, ...]

    @staticmethod
    def of(root: Location, target: Target, header: StoreHeader) -> "_Plan":
        """Return the plan for the latest version of a store."""
        documents = documents_by_part(metadata_of(target.document))
        tables = {}
        if len(header.segments) > 1:
            tables = {it.name: read_table(root, it) for it in header.segments}
        runs: list[list[Segment]] = []
        kind: Any = None
        for it in header.segments:
            before = kind
            kind = kind_of(it, documents[it.name], tables[it.name]) if tables else None
            if runs and kind == before:
                runs[-1].append(it)
            else:
                runs.append([it])
        staying = {run[0].name for run in runs if len(run) == 1}
        lost = (it.version for it in header.versions if not staying.issuperset(it.segments))
        plan = tuple(map(tuple, runs))
        return _Plan(root, plan, tables, documents, tuple(lost) if len(staying) < len(runs) else ())

    @property
    def is_needed(self) -> bool:
        """Whether any parts are joined."""
        return self.n_joined > 0

    @property
    def n_joined(self) -> int:
        """Number of parts that are joined with others."""
        return sum(len(run) for run in self.runs if len(run) > 1)

    @property
    def stored_bytes(self) -> int:
        """Size of the parts that are joined."""
        return sum(it.stored_bytes for run in self.runs if len(run) > 1 for it in run)

    def write(
        self, memory_bytes: int, workers: int | None, on_rows: Callable[[int], None]
    ) -> tuple[list[Segment], list[WrittenShard]]:
        """Write the joined parts; return all parts of the store, and the shards of new ones."""
        names = itertools.count(1 + max(int(it.name) for run in self.runs for it in run))
        segments: list[Segment] = []
        written: list[WrittenShard] = []
        for run in self.runs:
            if len(run) == 1:
                segments.append(run[0])
                on_rows(run[0].n_rows)
                continue
            n_workers = count_workers(
                task_bytes(run), memory_bytes, workers or n_requests(self.root)
            )
            files: list[WrittenShard] = []
            segments.append(self._write(run, str(next(names)), n_workers, files, on_rows))
            written += files
        return segments, written

    def _write(
        self,
        run: Sequence[Segment],
        name: str,
        workers: int,
        files: list[WrittenShard],
        on_rows: Callable[[int], None],
    ) -> Segment:
        """Write one joined part, and add its shards to `files`."""
        root, tables = self.root, [self.tables[it.name] for it in run]
        table = joined_table(tables)
        documents, options = joined_documents(run, name, self.documents[run[0].name], table)
        contents = {f"{path}/{ROOT_KEY}": metadata_bytes(it) for path, it in documents.items()}
        write_files(root, contents)
        segment = read_segment(root, name)
        tasks = tasks_of(root, run, segment, tables)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="zarrts-compact")
        try:
            files += pool.map(lambda task: write_task(task, on_rows), tasks)
        finally:
            # Nothing may write to the store while what is unfinished is swept.
            pool.shutdown(wait=True, cancel_futures=True)
            for task in tasks:
                task.rows.close()
        write_checksums(root, segment, files)
        write_table(root, name, table)
        digest = hashlib.sha256(" ".join(["joined", *(it.write_id for it in run)]).encode())
        write_id = digest.hexdigest()[:32]
        return replace(
            segment,
            stored_bytes=sum(it.size for it in files),
            table_sha256=digest_of_table(root, name),
            write_id=write_id,
            provenance=write_id,  # no conversion makes it
            options=options,
        )
