"""Write what is damaged in a store anew, from the files that it was made from."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.journal import WrittenTask
from zarrts.matching import match_sources
from zarrts.places import Places, Problem
from zarrts.plan import ShardTask, refuse, shard_tasks
from zarrts.publish import publish, write_checksums
from zarrts.shards import WrittenShard, chunk_checksums, crc32c_of_file
from zarrts.store import (
    CHECKSUMS,
    ROOT_KEY,
    Segment,
    StoreHeader,
    metadata_bytes,
    read_header,
    read_metadata,
)
from zarrts.system import count_cpus, write_files
from zarrts.table import RecordingTable, read_table
from zarrts.targets import only_writer
from zarrts.tasks import Job, write_tasks
from zarrts.verification import (
    Entries,
    check_checksums,
    check_listing,
    read_manifest,
    sizes_of,
)


@dataclass(frozen=True)
class Repaired:
    """What was damaged, in words; all of it is as it was written now."""

    problems: tuple[Problem, ...]


def repair_store(root: Path, source: Any, workers: int | None = None) -> Repaired:
    """Find damaged files by their checksums, and write them anew.

    Nothing that is whole is touched. A store that is read meanwhile has each file whole, as
    before or as after.

    Raises
    ------
    StoreError
        If the root, the manifest or the table of recordings is damaged, without which nobody
        can tell what has to be there.
    SourceError
        If the sources are not those of the store.
    PlanError
        If somebody else writes to the store.
    """
    workers = workers or count_cpus()
    with only_writer(root):
        header = read_header(root)
        try:
            entries = read_manifest(root, header)
            problems = _mend_metadata(root, header, entries)
            tables = {it.name: read_table(root, it) for it in header.segments}
        except StoreError as error:
            raise StoreError(
                f"{error} This cannot be repaired; convert again with overwrite=True (--overwrite)."
            ) from error
        problems += _damages(root, header, entries, Places(header, tables), workers)
        shards = {key: WrittenShard(key, *entry, ()) for key, entry in entries.items()}
        for segment in header.segments:
            keys = {it.key for it in problems if it.segment == segment.name and it.key}
            if keys:
                repair = _SegmentRepair(root, header, segment, tables[segment.name], workers)
                shards |= repair.run(keys, source)
        if problems:
            publish(root, header, shards.values())
    return Repaired(tuple(problems))


def _mend_metadata(root: Path, header: StoreHeader, entries: Entries) -> list[Problem]:
    """Write damaged metadata of arrays as the root has them; return which they were."""
    documents = read_metadata(root)
    found = []
    for key, entry in entries.items():
        segment, _, name = key.rpartition("/")
        is_group = segment in {it.name for it in header.segments}
        if name == ROOT_KEY and not is_group and not _is_as_written(root / key, entry):
            write_files(root, {key: metadata_bytes(documents[segment])})
            found.append(Problem(f"{key} did not match its checksum.", segment.split("/")[0]))
    return found


def _is_as_written(path: Path, entry: tuple[int, int]) -> bool:
    try:
        return crc32c_of_file(path) == entry
    except OSError:
        return False


def _damages(
    root: Path, header: StoreHeader, entries: Entries, places: Places, workers: int
) -> list[Problem]:
    sizes = sizes_of(root, header)
    found = [it for it in check_listing(entries, sizes, places) if it.key is not None]
    with ThreadPoolExecutor(workers) as pool:
        return found + list(check_checksums(root, entries, sizes, places, pool))


class _SegmentRepair:
    """Writes damaged files of one segment anew."""

    def __init__(
        self,
        root: Path,
        header: StoreHeader,
        segment: Segment,
        table: RecordingTable,
        workers: int,
    ) -> None:
        self._root, self._header, self._segment = root, header, segment
        self._table, self._workers = table, workers

    def run(self, keys: set[str], source: Any) -> dict[str, WrittenShard]:
        """Mend some files; return the shards that were written."""
        places = Places(self._header, {self._segment.name: self._table})
        damaged = {place[1] for key in keys if (place := places.shard_of(key)) is not None}
        written: list[WrittenTask] = []
        if damaged:
            tasks = shard_tasks(np.diff(self._table.starts).tolist(), self._segment.x.shard_rows)
            self._write([it for it in tasks if it.shard in damaged], source, written)
        group = f"{self._segment.name}/{ROOT_KEY}"
        if group in keys:  # which `publish` completes
            document = read_metadata(self._root)[self._segment.name]
            write_files(self._root, {group: metadata_bytes(document)})
        if damaged or any(f"/{CHECKSUMS}/" in key for key in keys):
            self._write_checksums()
        return {it.key: it for task in written for it in task.files}

    def _write(self, tasks: Sequence[ShardTask], source: Any, written: list[WrittenTask]) -> None:
        needed = {span.recording for task in tasks for span in task.spans}
        matched = match_sources(source, self._segment, self._table, needed)
        refuse(matched.problems, "Nothing was repaired.")
        job = Job(
            root=self._root,
            segment=self._segment,
            recordings=matched.recordings,
            labels=self._header.labels,
            on_rows=lambda n_rows: None,
            on_task=written.append,
        )
        write_tasks(job, tasks, self._workers)

    def _write_checksums(self) -> None:
        shards = [
            WrittenShard(spec.shard_key(shard), 0, 0, chunk_checksums(self._root, spec, shard))
            for spec in (self._segment.x, self._segment.y, self._segment.recording)
            for shard in range(spec.n_shards)
        ]
        write_checksums(self._root, self._segment.name, shards)
