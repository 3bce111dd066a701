"""Write what is damaged in a store anew, from the files that it was made from."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from zarrts.conversion.checks import refuse
from zarrts.conversion.lock import only_writer
from zarrts.conversion.packing import encoded_again
from zarrts.conversion.plan import shard_tasks
from zarrts.conversion.publish import checksums_bytes, segment_document
from zarrts.conversion.recordwise import labels_of, recordwise_arrays, write_one_chunk
from zarrts.conversion.target import Target, read_target
from zarrts.conversion.tasks import Job, write_tasks
from zarrts.errors import SourceError, StoreError
from zarrts.storage.checksums import crc32c, crc32c_of_file
from zarrts.storage.location import Location, write_files
from zarrts.storage.manifest import read_manifest
from zarrts.storage.metadata import metadata_bytes, metadata_of
from zarrts.storage.segments import ROOT_KEY, Segment, part_of
from zarrts.storage.shards import (
    WrittenShard,
    chunk_checksums,
    written_checksums,
)
from zarrts.storage.store import REMEDY, Entries, StoreHeader, read_header
from zarrts.storage.table import RecordingTable, read_table
from zarrts.system import count_cpus
from zarrts.types import AnyArray, ArraySpec
from zarrts.upkeep.matching import Sources, match_sources, refuse_unused_labels
from zarrts.upkeep.problems import Problem, SourcePlaces
from zarrts.upkeep.verification import check_checksums, check_listing, sizes_of


@dataclass(frozen=True)
class Repaired:
    """The result of a repair: what was damaged, all of which is as it was written now."""

    problems: tuple[Problem, ...]


def repair_store(root: Location, source: Sources, workers: int | None = None) -> Repaired:
    """Find damaged files by their checksums, and write them anew, as they were.

    Nothing that is whole is touched. A store that is read meanwhile has each file whole, as
    before or as after.

    Raises
    ------
    StoreError
        If the root, the manifest or the table of recordings is damaged, without which nobody
        can tell what has to be there.
    SourceError
        If the sources are not those of the store; nothing is written then.
    PlanError
        If somebody else writes to the store.
    """
    workers = workers or count_cpus()
    read_header(root)
    with only_writer(root):
        target = read_target(root)
        header = target.header or read_header(root)
        refuse_unused_labels(source, header)
        try:
            entries = read_manifest(root, header).entries
            problems = _mend_metadata(target, entries)
            tables = {it.name: read_table(root, it) for it in header.segments}
        except StoreError as error:
            raise StoreError(
                f"{str(error).removesuffix(REMEDY).strip()} This cannot be repaired. {REMEDY}"
            ) from error
        problems += _damages(root, header, entries, SourcePlaces(header, tables), workers)
        for segment in header.segments:
            keys = {it.key for it in problems if it.segment == segment.name and it.key}
            repair = _SegmentRepair(root, header, segment, tables[segment.name], entries, workers)
            repair.run(keys, source)
    return Repaired(tuple(problems))


def _mend_metadata(target: Target, entries: Entries) -> list[Problem]:
    """Write damaged metadata as the root has them; return which they were."""
    root, documents = target.root, metadata_of(target.document)
    found = []
    for key, entry in entries.items():
        path, _, file_name = key.rpartition("/")
        if file_name != ROOT_KEY or _is_as_written(root / key, entry):
            continue
        document = documents[path]
        if "/" not in path:
            document = segment_document(documents, path)
        elif "consolidated_metadata" in document:  # which only the root and the segments have
            document = {
                name: it for name, it in document.items() if name != "consolidated_metadata"
            }
        write_files(root, {key: metadata_bytes(document)})
        text = f"{key} did not match its checksum."
        found.append(Problem(text, path.split("/")[0], None, key))
    return found


def _is_as_written(path: Location, entry: tuple[int, int]) -> bool:
    try:
        return crc32c_of_file(path) == entry
    except OSError:
        return False


def _damages(
    root: Location, header: StoreHeader, entries: Entries, places: SourcePlaces, workers: int
) -> list[Problem]:
    sizes = sizes_of(root, header)
    found = [it for it in check_listing(entries, sizes, places) if it.key is not None]
    with ThreadPoolExecutor(workers) as pool:
        return found + list(check_checksums(root, entries, sizes, places, pool))


class _SegmentRepair:
    """Writes damaged shards and lists of checksums of one segment anew."""

    def __init__(
        self,
        root: Location,
        header: StoreHeader,
        segment: Segment,
        table: RecordingTable,
        entries: Entries,
        workers: int,
    ) -> None:
        self._root, self._header, self._segment = root, header, segment
        self._table, self._entries, self._workers = table, entries, workers
        self._places = SourcePlaces(header, {segment.name: table})

    def run(self, keys: set[str], source: Sources) -> None:
        """Mend some files."""
        shards = {key for key in keys if self._places.array_of(key)[0] is not None}
        # Shards are compared with their lists; where a list is damaged too, the list that comes
        # of them is compared with the manifest.
        listed = {key for key in shards if self._list_of(key) not in keys}
        self._write(listed, source)
        for spec in self._segment.arrays.values():
            if spec.checksums not in keys:
                continue
            if not self._write_list(spec, shards - listed):
                every = {spec.shard_key(shard) for shard in range(spec.n_shards)}
                self._write(every, source)
                if not self._write_list(spec, set()):
                    raise SourceError(
                        f"The sources give other bytes for {spec.path} than were converted: they "
                        f"have changed. {self._root} is damaged still."
                    )

    def _list_of(self, key: str) -> str | None:
        spec, _ = self._places.array_of(key)
        return spec.checksums if spec is not None else None

    def _write(self, keys: set[str], source: Sources) -> None:
        """Write shards from the sources; those whose list of checksums is whole, only if equal."""
        self._write_rows(keys, source)
        for name, spec in recordwise_arrays(self._segment).items():
            if spec.shard_key(0) in keys:
                is_offsets = name == "offsets"
                values = self._table.starts if is_offsets else part_of(self._labels(source), name)
                is_wanted = partial(self._is_wanted, keys, lambda number: "A source")
                write_one_chunk(self._root, spec, values, is_wanted)

    def _labels(self, source: Sources) -> AnyArray:
        """Return the one label of each recording, from the sources."""
        matched = match_sources(source, self._segment, self._table, self._header.description)
        refuse(matched.problems, "Nothing was repaired.")
        recordings = [matched.recordings[number] for number in sorted(matched.recordings)]
        return labels_of(recordings, self._header.labels)

    def _write_rows(self, keys: set[str], source: Sources) -> None:
        damaged = {place[1] for key in keys if (place := self._places.shard_of(key)) is not None}
        if not damaged:
            return
        lengths = np.diff(self._table.starts).tolist()
        every = shard_tasks(lengths, self._segment.x.shard_rows)
        tasks = [task for task in every if task.shard in damaged]
        needed = {span.recording for task in tasks for span in task.spans}
        matched = match_sources(
            source, self._segment, self._table, self._header.description, needed
        )
        refuse(matched.problems, "Nothing was repaired.")
        origins = {
            task.shard: ", ".join(self._table.source[span.recording] for span in task.spans)
            for task in tasks
        }
        recordings, encoding = encoded_again(matched.recordings, self._segment, self._table)
        job = Job(
            root=self._root,
            segment=self._segment,
            recordings=recordings,
            labels=self._header.labels,
            encoding=encoding,
            is_wanted=partial(self._is_wanted, keys, origins.__getitem__),
        )
        write_tasks(job, tasks, self._workers)

    def _is_wanted(
        self, keys: set[str], origin_of: Callable[[int], str], shard: WrittenShard
    ) -> bool:
        """Return whether a shard is to take its place.

        Raises
        ------
        SourceError
            If it is not what was written there, as far as that is known.
        """
        if shard.key not in keys:
            return False
        spec, number = self._places.array_of(shard.key)
        if spec is not None and self._is_list_whole(spec):
            written = written_checksums(self._root, spec, number)
            if written is not None and tuple(written.tolist()) != shard.chunk_checksums:
                raise SourceError(
                    f"{origin_of(number)}: gives other bytes for {shard.key} than were "
                    "converted: it has changed. That part was not repaired."
                )
        return True

    def _is_list_whole(self, spec: ArraySpec) -> bool:
        key = spec.checksums or ""
        return _is_as_written(self._root / key, self._entries[key])

    def _write_list(self, spec: ArraySpec, damaged: set[str]) -> bool:
        """Write the list of checksums of an array; return whether it is that of the manifest."""
        if damaged & {spec.shard_key(shard) for shard in range(spec.n_shards)}:
            return False
        found = [chunk_checksums(self._root, spec, shard) for shard in range(spec.n_shards)]
        content = checksums_bytes(found)
        key = spec.checksums or ""
        if (len(content), crc32c(content)) != self._entries[key]:
            return False
        write_files(self._root, {key: content})
        return True
