"""Take a subject out of a store: nothing of it is left, not even its name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zarrts.conversion.codecs import codec_of_segment
from zarrts.conversion.counting import Counting
from zarrts.conversion.encoding import Encoding
from zarrts.conversion.lock import only_writer
from zarrts.conversion.plan import shard_tasks
from zarrts.conversion.publish import create_segment, finish_removal, publish, write_checksums
from zarrts.conversion.recordwise import write_recordwise
from zarrts.conversion.stored import stored_recordings
from zarrts.conversion.target import Target, read_target, sweep
from zarrts.conversion.tasks import Job, write_tasks
from zarrts.errors import PlanError, SampleError
from zarrts.keywords import unknown_names
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.joint_tables import read_names
from zarrts.storage.journal import WrittenTask, merged_moments
from zarrts.storage.location import Location
from zarrts.storage.packing import Packing
from zarrts.storage.readers import open_inputs, open_labels, open_mask
from zarrts.storage.segments import Segment
from zarrts.storage.shards import WrittenShard
from zarrts.storage.store import (
    Gone,
    Removal,
    StoreHeader,
    combined_id,
    combined_needs,
    read_header,
)
from zarrts.storage.table import RecordingTable, digest_of_table, read_table, write_table
from zarrts.storage.versions import Version
from zarrts.system import count_cpus
from zarrts.timeline import Gaps, part_of_gaps
from zarrts.types import IntArray

_WHY = "a subject was removed, which version {} is without"


@dataclass(frozen=True)
class Removed:
    """The result of a removal.

    Attributes
    ----------
    n_samples : int
        That were removed.
    segments : tuple of str
        Parts of the store that held them, which are gone.
    version : int
        Of the store without them.
    is_finished_only : bool
        True where an earlier removal had been stopped, and its last files were deleted now.
    """

    n_samples: int
    segments: tuple[str, ...]
    version: int
    is_finished_only: bool = False


def remove_subject(root: Location, subject: str, workers: int | None = None) -> Removed:
    """Write the segments that hold a subject anew without it, publish, and delete the old ones.

    A removal that was stopped after it had been published is finished first.

    Raises
    ------
    SampleError
        If the store has no such subject, or no other.
    PlanError
        If somebody else writes to the store, or did not finish.
    StoreError
        If what is taken over is damaged.
    """
    workers = workers or count_cpus()
    read_header(root)
    with only_writer(root) as hold:
        target = read_target(root)
        header = target.header or read_header(root)
        earlier = _finish_earlier(target, header)
        target = read_target(root) if earlier is not None else target
        header = target.header or read_header(root)
        if target.unfinished is not None:
            raise PlanError(
                f"{root}: more subjects were being added, which did not finish; finish that first, "
                "or give it up with restart=True (--restart)."
            )
        sweep(target)
        tables = read_names(root, header)
        known = list(dict.fromkeys(name for it in tables.values() for name in it.subject))
        if subject not in known:
            if earlier is not None and earlier.subject in (subject, ""):
                return Removed(earlier.n_samples, earlier.segments, header.version, True)
            raise SampleError(unknown_names("No subject", [subject], known))
        if known == [subject]:
            raise SampleError(
                f"{subject} is the only subject of {root}; delete the folder instead."
            )
        names = iter(range(1 + max(int(it.name) for it in header.segments), 2**31))
        n_removed, segments = 0, []
        written: list[WrittenShard] = []
        try:
            for segment in header.segments:
                if subject not in tables[segment.name].subject:
                    segments.append(segment)
                    continue
                table = read_table(root, segment)
                kept = np.array([name != subject for name in table.subject])
                lengths = np.diff(table.starts)[~kept]
                n_removed += len(lengths) if segment.is_ragged else int(lengths.sum())
                if kept.any():
                    rewrite = _Rewrite(root, segment, table, str(next(names)), workers)
                    segments.append(rewrite.without(~kept, written))
            staying = {it.name for it in segments}
            lost = tuple(it.name for it in header.segments if it.name not in staying)
            removal = Removal(subject, n_removed, lost)
            hold.check()
            publish(target, _header(header, tuple(segments), removal), written)
        except BaseException:
            if hold.is_held:
                sweep(read_target(root))
            raise
        try:
            finish_removal(read_target(root))
        except OSError as error:
            raise PlanError(
                f"{root}: {subject} is removed, but not all of its files could be deleted "
                f"({error}); give the same command again."
            ) from error
    return Removed(n_removed, lost, header.version + 1)


def _finish_earlier(target: Target, header: StoreHeader) -> Removal | None:
    """Finish a removal that was stopped; return which it was, without a name if none is known."""
    removal = header.removal
    if removal is None:
        # A version of zarrts that did not write down whose removal it was.
        last = header.gone[-1].why if header.gone else ""
        is_removal = last == _WHY.format(header.version)
        names = [it.name for it in target.leftovers]
        left = [it for it in names if it.partition(".")[0].isdigit() and not it.endswith(".json")]
        # Manifests are deleted last. Without that of the version before, what is left is of a
        # removal that was stopped before it was published.
        is_removal = is_removal and f"{header.version - 1}.json" in names
        if not is_removal or not left or target.unfinished is not None:
            return None
        removal = Removal("", 0, tuple(left))
    finish_removal(target)
    return removal


def _header(old: StoreHeader, segments: tuple[Segment, ...], removal: Removal) -> StoreHeader:
    version = old.version + 1
    names = {it.name for it in segments}
    kept = tuple(it for it in old.versions if names.issuperset(it.segments))
    still = {it.version for it in kept}
    lost = tuple(it.version for it in old.versions if it.version not in still)
    gone = (*old.gone, Gone(lost, _WHY.format(version)))
    latest = Version.of(version, (it.name for it in segments), old.labels.n_classes)
    return replace(
        old,
        version=version,
        write_id=combined_id(segments),
        segments=segments,
        needs=combined_needs(segments),
        versions=(*kept, latest),
        gone=gone,
        removal=removal,
    )


class _Rewrite:
    """Writes the recordings of a segment that are kept as a segment of their own."""

    def __init__(
        self, root: Location, segment: Segment, table: RecordingTable, name: str, workers: int
    ) -> None:
        self._root, self._old, self._table = root, segment, table
        self._name, self._workers = name, workers

    def without(
        self,
        is_removed: NDArray[np.bool_],
        written: list[WrittenShard],
    ) -> Segment:
        """Write it; add its shards to `written`."""
        old, kept = self._old, np.flatnonzero(~is_removed)
        lengths = np.diff(self._table.starts)[kept]
        n_rows = int(lengths.sum())
        packing = {name: it.rows(kept) for name, it in self._table.packing.items()}
        n_labels = len(kept) if old.labels_per == "recording" else n_rows
        segment = create_segment(
            self._root,
            self._name,
            x=((n_rows, *old.x.row_shape), old.x_values.dtype),
            y=((n_labels, *old.y.row_shape), old.y.dtype),
            chunk_rows=old.x.chunk_rows,
            shard_rows=old.x.shard_rows,
            codec=codec_of_segment(old),
            axes=old.axes,
            labels_per=old.labels_per,
            n_recordings=len(kept),
            steps={name: it.steps for name, it in old.inputs.items()},
            needs=old.needs,
            label_steps=old.label_steps,
            packing=packing,
            shuffles={
                name: str(it.spec.compressor.get("shuffle", "shuffle"))
                for name, it in old.inputs.items()
            },
        )
        files: list[WrittenShard] = []
        results = self._write(segment, kept.tolist(), lengths, files, packing)
        write_checksums(self._root, segment, files)
        write_table(self._root, self._name, self._table_of(kept.tolist(), lengths, results))
        written += files
        digest = hashlib.sha256(f"{old.write_id} without {is_removed.tolist()}".encode())
        write_id = digest.hexdigest()[:32]
        return replace(
            segment,
            stored_bytes=sum(it.size for it in files),
            table_sha256=digest_of_table(self._root, self._name),
            write_id=write_id,
            provenance=write_id,  # no conversion makes it
            options=old.options,
        )

    def _write(
        self,
        segment: Segment,
        kept: list[int],
        lengths: IntArray,
        files: list[WrittenShard],
        packing: Mapping[str, Packing],
    ) -> list[WrittenTask]:
        """Write every array; add its shards to `files`."""
        x, y = open_inputs(self._root, self._old), open_labels(self._root, self._old)
        mask = open_mask(self._root, self._old)
        every = stored_recordings(self._old, self._table, x, y, mask)
        recordings = [every[number] for number in kept]
        results: list[WrittenTask] = []
        countings = {name: Counting(packing=it, are_counts=True) for name, it in packing.items()}
        # Labels are stored already, and stay as they are.
        labels = LabelScheme(encoding="numbers", dtype=segment.y.dtype, class_names=None)
        job = Job(
            root=self._root,
            segment=segment,
            recordings=dict(enumerate(recordings)),
            labels=labels,
            encoding=Encoding(dtype=segment.x_values.dtype, countings=countings),
            on_rows=lambda n_rows: None,
            on_task=results.append,
        )
        try:
            write_tasks(job, shard_tasks(lengths.tolist(), segment.x.shard_rows), self._workers)
            results.sort(key=lambda task: task.shard)
            files += [shard for task in results for shard in task.files]
            starts = np.cumsum([0, *lengths])
            files += write_recordwise(self._root, segment, starts, recordings, labels)
        finally:
            for reader in (x, y, mask):
                if reader is not None:
                    reader.close()
        return results

    def _table_of(
        self,
        kept: list[int],
        lengths: IntArray,
        results: list[WrittenTask],
    ) -> RecordingTable:
        old, starts = self._table, np.cumsum([0, *lengths])
        return RecordingTable(
            subject=tuple(old.subject[number] for number in kept),
            source=tuple(old.source[number] for number in kept),
            fingerprint=tuple(old.fingerprint[number] for number in kept),
            starts=starts,
            source_starts=old.source_starts[kept],
            label_counts=None if old.label_counts is None else old.label_counts[kept],
            moments=merged_moments(results, len(kept), self._old.n_channels),
            sketch=None if old.sketch is None else old.sketch[kept],
            groups=tuple(old.groups[number] for number in kept) if old.groups else (),
            gaps=Gaps.joined(
                (first, part_of_gaps(old.gaps, *old.starts[number : number + 2].tolist()))
                for first, number in zip(starts[:-1].tolist(), kept, strict=True)
            ),
            packing={name: it.rows(kept) for name, it in old.packing.items()},
        )
