"""Run a conversion: survey the sources, refuse early, write shard by shard with Dask, publish.

Each Dask task owns one whole shard of every array and pulls its rows from whichever files
overlap it, a chunk at a time, so that a task takes the memory of a few chunks whatever the size
of files and shards. (A Dask array of blocks stored into Zarr would hold whole shards, several
times over, and two tasks that meet in a shard lose data without a word.)
"""

import contextlib
import copy
import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import PlanError, SourceError
from zarrts.labels import LabelScheme
from zarrts.moments import Moments, measure, merge_all
from zarrts.plan import ShardTask, Span, block_rows, stored_axes
from zarrts.prepare import Prepared, cast_rows
from zarrts.publish import create_segment, publish, refuse_target, sweep, write_table
from zarrts.shards import ShardWriter, WrittenShard
from zarrts.store import RecordingTable, Segment, StoreHeader, is_store, read_header
from zarrts.types import AnyArray, SourceRecording

OnRows = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What all tasks share."""

    root: Path
    segment: Segment
    recordings: tuple[SourceRecording, ...]
    labels: LabelScheme
    on_rows: OnRows
    stop: threading.Event


@dataclass(frozen=True)
class _ShardResult:
    shards: tuple[WrittenShard, ...]
    moments: tuple[tuple[int, Moments], ...]


def run(prepared: Prepared, on_rows: OnRows = lambda n_rows: None) -> None:
    """Write the store that was prepared; it exists once all of it is on the disk.

    Raises
    ------
    PlanError
        If the target is in use, or the disk is full.
    SourceError
        If a source cannot be read to its end.
    """
    target = prepared.target
    if prepared.is_done:
        return
    refuse_target(target, prepared.write_id, overwrite=prepared.options.overwrite)
    old = read_header(target) if is_store(target) else None
    with _nothing_half_written(target):
        sweep(target)
        segment = _create(prepared, _next_segment(old))
        results = _write_shards(prepared, segment, on_rows)
        written = [shard for result in results for shard in result.shards]
        write_table(target, segment.name, _table(prepared, results))
        header = _header(prepared, segment, sum(shard.size for shard in written), old)
        publish(target, header, written)
        sweep(target)


def _next_segment(old: StoreHeader | None) -> str:
    # Never a name that is in use: whoever has the old store open goes on reading it.
    return str(1 + max((int(it.name) for it in old.segments), default=-1)) if old else "0"


@contextlib.contextmanager
def _nothing_half_written(target: Path) -> Iterator[None]:
    """Delete what an error left, keep what was there, and say why nothing can be written."""
    new_folders = [it for it in (target, *target.parents) if not it.exists()]
    try:
        yield
    except BaseException as error:
        # What cannot be deleted now opens as nothing, and the next conversion deletes it.
        with contextlib.suppress(OSError):
            sweep(target)
            for folder in new_folders:
                folder.rmdir()
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise PlanError(
                f"{target}: the disk is full; what was written has been removed. Make room or "
                "choose another disk."
            ) from error
        raise PlanError(
            f"{target}: cannot be written ({error.strerror or error}); choose another folder."
        ) from error


def _create(prepared: Prepared, name: str) -> Segment:
    layout = prepared.layout
    y_shape = (layout.n_samples, *prepared.recordings[0].y.shape[1:])
    return create_segment(
        prepared.target,
        name,
        x=((layout.n_samples, *layout.sample_shape), layout.dtype),
        y=(y_shape, prepared.labels.dtype),
        chunk_rows=layout.chunk_rows,
        shard_rows=layout.shard_rows,
        codec=prepared.options.codec,
        axes=stored_axes(prepared.options.axes),
    )


def _write_shards(prepared: Prepared, segment: Segment, on_rows: OnRows) -> list[_ShardResult]:
    from dask.base import compute
    from dask.delayed import delayed

    job = _Job(
        root=prepared.target,
        segment=segment,
        recordings=prepared.recordings,
        labels=prepared.labels,
        on_rows=on_rows,
        stop=threading.Event(),
    )
    write = delayed(partial(_write_shard, job), name="write-shard", pure=False)
    latest: dict[int, Any] = {}  # last task on each compressed file
    written = []
    for task in prepared.layout.tasks:
        first = task.spans[0].recording
        # Shards of one compressed file are written in order, so that it is read only once.
        is_sequential = _is_sequential(prepared.recordings[first])
        after = latest.get(first) if is_sequential else None
        written.append(write(delayed(task, traverse=False), after))
        latest[task.spans[-1].recording] = latest[first] = written[-1]
    # Dask gives up at the first error and leaves other tasks running in its own pool. This one is
    # waited for: nothing may write to the target while it is swept.
    pool = ThreadPoolExecutor(prepared.workers, thread_name_prefix="zarrts-convert")
    try:
        return list(compute(*written, scheduler="threads", pool=pool))  # type: ignore[no-untyped-call]
    finally:
        job.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        for recording in prepared.recordings:
            recording.x.close()
            recording.y.close()


def _is_sequential(recording: SourceRecording) -> bool:
    return recording.x.is_sequential or recording.y.is_sequential


def _write_shard(job: _Job, task: ShardTask, after: object) -> _ShardResult:
    """Write one shard of each array; `after` only says which task has to come before."""
    segment = job.segment
    moments: list[tuple[int, Moments]] = []
    with contextlib.ExitStack() as stack:
        x, y, owner = (
            _ChunkFiller(stack.enter_context(ShardWriter(job.root, spec, task.shard)))
            for spec in (segment.x, segment.y, segment.recording)
        )
        for position, span in enumerate(task.spans):
            recording = job.recordings[span.recording]
            parts = []
            for inputs, labels in _blocks(recording, span, segment.x.chunk_rows, position > 0):
                if job.stop.is_set():
                    raise KeyboardInterrupt
                converted = cast_rows(inputs, segment.x.dtype, recording.origin)
                parts.append(measure(converted))
                x.add(converted)
                y.add(_encode(job.labels, labels, recording))
                owner.add(np.full(len(inputs), span.recording, np.int32))
                job.on_rows(len(inputs))
                del inputs, labels, converted
            moments.append((span.recording, merge_all(parts)))
        return _ShardResult(tuple(it.commit() for it in (x, y, owner)), tuple(moments))


class _ChunkFiller:
    """Collects rows into chunks and hands full ones to a shard's writer."""

    def __init__(self, writer: ShardWriter) -> None:
        self._writer = writer
        self._chunk = np.zeros(writer.spec.chunk_shape, writer.spec.dtype)
        self._n_rows = 0

    def add(self, rows: AnyArray) -> None:
        while len(rows):
            count = min(len(rows), len(self._chunk) - self._n_rows)
            self._chunk[self._n_rows : self._n_rows + count] = rows[:count]
            self._n_rows += count
            rows = rows[count:]
            if self._n_rows == len(self._chunk):
                self._writer.append(self._chunk)
                self._n_rows = 0

    def commit(self) -> WrittenShard:
        if self._n_rows:
            self._chunk[self._n_rows :] = 0
            self._writer.append(self._chunk)
        return self._writer.commit()


def _blocks(
    recording: SourceRecording, span: Span, chunk_rows: int, is_head: bool
) -> Iterator[tuple[AnyArray, AnyArray]]:
    """Yield inputs and labels of a span, a bounded number of rows at a time."""
    x, y = recording.x, recording.y
    # The head of a compressed file that another task reads from there on: a reader of its own,
    # or the other's would start again from the first row.
    with contextlib.ExitStack() as stack:
        if is_head and _is_sequential(recording):
            x, y = (stack.enter_context(contextlib.closing(copy.copy(it))) for it in (x, y))
        step = block_rows(recording, chunk_rows)
        for start in range(span.start, span.stop, step):
            stop = min(start + step, span.stop)
            try:
                inputs, labels = x.read(start, stop), y.read(start, stop)
            except OSError as error:
                raise SourceError(f"{recording.origin}: cannot be read ({error}).") from error
            yield inputs, labels
            del inputs, labels  # or they would be there still while the next ones are read


def _encode(labels: LabelScheme, block: AnyArray, recording: SourceRecording) -> AnyArray:
    try:
        return labels.encode(block)
    except SourceError as error:
        raise SourceError(f"{recording.origin}: {error}; convert again.") from error


# Publishing ---------------------------------------------------------------------------------


def _table(prepared: Prepared, results: Sequence[_ShardResult]) -> RecordingTable:
    parts: list[list[Moments]] = [[] for _ in prepared.recordings]
    for result in results:
        for recording, moments in result.moments:
            parts[recording].append(moments)
    labels = prepared.labels
    counts = None
    if labels.class_names is not None:
        counts = np.stack([labels.counts_by_class(counter) for counter in prepared.counters])
    return RecordingTable(
        subject=tuple(it.subject for it in prepared.recordings),
        source=tuple(it.origin for it in prepared.recordings),
        fingerprint=tuple(it.fingerprint for it in prepared.recordings),
        starts=np.cumsum([0, *(it.x.shape[0] for it in prepared.recordings)]),
        source_starts=np.zeros(len(prepared.recordings), np.int64),
        label_counts=counts,
        moments=Moments.stack([merge_all(of_recording) for of_recording in parts]),
    )


def _header(
    prepared: Prepared, segment: Segment, stored_bytes: int, old: StoreHeader | None
) -> StoreHeader:
    first, options = prepared.recordings[0], prepared.options
    return StoreHeader(
        version=old.version + 1 if old else 1,
        kind="dense",
        write_id=prepared.write_id,
        labels=prepared.labels,
        x_name=first.x_name,
        y_name=first.y_name,
        channels=options.channels or first.channels,
        rate_hz=options.rate_hz or first.rate_hz,
        segments=(
            Segment(
                name=segment.name,
                x=segment.x,
                y=segment.y,
                recording=segment.recording,
                stored_bytes=stored_bytes,
            ),
        ),
    )
