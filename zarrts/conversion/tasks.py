"""Write the shards of a segment with Dask, from whichever recordings overlap them.

Here by threads; `cluster` does the same on many machines. Each Dask task owns one whole shard of
every array and pulls its rows from whichever files overlap it, a chunk at a time, so that a task
takes the memory of a few chunks whatever the size of files and shards. (A Dask array of blocks
stored into Zarr would hold whole shards, several times over, and two tasks that meet in a shard
lose data without a word.)
"""

import contextlib
import copy
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from zarrts.conversion.axes import fields
from zarrts.conversion.encoding import Encoding, Measuring
from zarrts.conversion.plan import ShardTask, Span, block_rows
from zarrts.errors import SourceError
from zarrts.labels.scheme import LabelScheme
from zarrts.stats.moments import Moments, MomentsList
from zarrts.stats.sketches import Drawing
from zarrts.storage.journal import WrittenTask
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment, input_path, part_of
from zarrts.storage.shards import ShardWriter, WrittenShard
from zarrts.types import AnyArray, SourceRecording

OnRows = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The values that all tasks of a conversion share.

    Attributes
    ----------
    root : Location
    segment : Segment
        Whose metadata are on the disk.
    recordings : dict
        By number, those that are in the tasks.
    labels : LabelScheme
    encoding : Encoding
        How rows become what is stored.
    n_points : int
        Of the sketch of a recording; 0: none is made.
    on_rows : callable
        Called with each number of rows done, from any thread.
    on_task : callable
        Called with each finished task, one at a time.
    is_wanted : callable
        Called with each shard before it takes its place; False leaves what is there.
    attempt : str
        Makes the names of unfinished files this job's own, where another machine that was taken
        for dead may still write to the same shard.
    """

    root: Location
    segment: Segment
    recordings: Mapping[int, SourceRecording]
    labels: LabelScheme
    encoding: Encoding
    n_points: int = 0
    on_rows: OnRows = lambda n_rows: None
    on_task: Callable[[WrittenTask], None] = lambda task: None
    is_wanted: Callable[[WrittenShard], bool] = lambda shard: True
    attempt: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


def write_tasks(job: Job, tasks: Sequence[ShardTask], workers: int) -> None:
    """Write the shards of some tasks, `workers` at a time.

    Raises
    ------
    SourceError
        If a source cannot be read to its end.
    OSError
        If the shards cannot be written.
    """
    from dask.base import compute
    from dask.delayed import delayed
    from dask.threaded import get

    commits = _Commits(job, workers)
    write = delayed(partial(_write_after, commits), name="write-shard", pure=False)
    written = []
    for chain in chains_of(tasks, job.recordings):
        latest = None
        for task in chain:
            # Dask takes what is ready by name: in the order of the rows, and of the files.
            name = f"write-shard-{task.shard:09d}"
            latest = write(delayed(task, traverse=False), latest, dask_key_name=name)
            written.append(latest)
    # Dask gives up at the first error and leaves other tasks running in its own pool. This one is
    # waited for: nothing may write to the target while it is swept.
    pool = ThreadPoolExecutor(workers, thread_name_prefix="zarrts-convert")
    try:
        try:
            # By name, Dask would first import all of distributed, to look for a cluster.
            compute(*written, scheduler=get, pool=pool)  # type: ignore[no-untyped-call]
        finally:
            job.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            commits.close()
            for recording in job.recordings.values():
                close_rows(recording)
    except KeyboardInterrupt:
        commits.raise_first()  # which is why the tasks were told to stop
        raise
    commits.raise_first()


def chains_of(
    tasks: Sequence[ShardTask], recordings: Mapping[int, SourceRecording]
) -> list[list[ShardTask]]:
    """Return the tasks in chains, each to be written in order; most are chains of one.

    Shards that begin in one compressed file are a chain, so that it is read only once.

    Examples
    --------
    Recording 0 can only be read from its start, recording 1 from anywhere:

    >>> from types import SimpleNamespace as Rows
    >>> from zarrts.conversion.plan import shard_tasks
    >>> packed, plain = Rows(is_sequential=True), Rows(is_sequential=False)
    >>> recordings = {
    ...     number: Rows(x=x, y=plain, paths=(f"{number}.npz",), origin=f"{number}.npz")
    ...     for number, x in enumerate([packed, plain])
    ... }
    >>> chains = chains_of(shard_tasks([6, 4], shard_rows=3), recordings)
    >>> [[task.shard for task in chain] for chain in chains]
    [[0, 1], [2], [3]]
    """
    chains: dict[object, list[ShardTask]] = {}
    for task in tasks:
        first = recordings[task.spans[0].recording]
        # Several recordings of one file share its stream.
        key = (first.paths or first.origin) if is_sequential(first) else task.shard
        chains.setdefault(key, []).append(task)
    return list(chains.values())


def is_sequential(recording: SourceRecording) -> bool:
    """Return whether reading backwards starts again from the first row."""
    return recording.x.is_sequential or recording.y.is_sequential


class _Commits:
    """Waits for the disk in threads of its own, while those that write go on with other shards.

    At most two shards a worker are written or waited for at once.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self.job = job
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="zarrts-convert")
        self._free = threading.Semaphore(2 * workers)
        self._errors: list[BaseException] = []

    def write(self, task: ShardTask) -> None:
        """Write a task's shards, and leave it to another thread to commit them."""
        self._free.acquire()
        try:
            shards = _write(self.job, task)
        except BaseException:
            self._free.release()
            raise
        self._pool.submit(self._commit, shards)

    def _commit(self, shards: "_WrittenShards") -> None:
        try:
            written = shards.commit(self.job.is_wanted)
            with self.job.lock:
                self.job.on_task(written)
        except BaseException as error:
            self._errors.append(error)
            self.job.stop.set()
        finally:
            self._free.release()

    def close(self) -> None:
        """Wait until all that was written is committed, or failed."""
        self._pool.shutdown(wait=True)

    def raise_first(self) -> None:
        """Raise the first error of a commit, if there was any."""
        if self._errors:
            raise self._errors[0]


def _write_after(commits: _Commits, task: ShardTask, after: object) -> None:
    """Write a task's shards; `after` only says which task has to come before."""
    commits.write(task)


def write_shard(job: Job, task: ShardTask) -> WrittenTask:
    """Write one shard of each array, and return what was written.

    Raises
    ------
    SourceError
        If a source cannot be read to its end; UnfitError where a value is none of counts'.
    OSError
        If the shards cannot be written.
    KeyboardInterrupt
        If the job was told to stop.
    """
    return _write(job, task).commit(job.is_wanted)


@dataclass(frozen=True, kw_only=True)
class _WrittenShards:
    """A shard of each array, written but for its name and the disk's word that it is there."""

    task: ShardTask
    writers: Sequence[ShardWriter]
    moments: Moments
    drawn: tuple[tuple[int, str, AnyArray], ...]

    def commit(self, is_wanted: Callable[[WrittenShard], bool]) -> WrittenTask:
        """Wait for the disk, give the shards their names, and return what was written."""
        files = []
        with contextlib.ExitStack() as stack:
            for writer in self.writers:
                stack.enter_context(writer)
            for writer in self.writers:
                written = writer.finish()
                files.append(writer.commit() if is_wanted(written) else written)
        return WrittenTask(
            shard=self.task.shard,
            files=tuple(files),
            recordings=np.array([span.recording for span in self.task.spans], np.int64),
            moments=self.moments,
            drawn=self.drawn,
        )


def _write(job: Job, task: ShardTask) -> _WrittenShards:
    """Read the rows of a task and write them; see `write_shard`."""
    segment = job.segment
    moments = MomentsList()
    drawn: list[tuple[int, str, AnyArray]] = []
    with contextlib.ExitStack() as stack:
        fillers = {
            name: _ChunkFiller(
                stack.enter_context(ShardWriter(job.root, spec, task.shard, job.attempt))
            )
            for name, spec in segment.row_arrays.items()
        }
        n_done, first = 0, task.spans[0].recording
        for span in task.spans:
            recording = job.recordings[span.recording]
            encoding, number, row = job.encoding, span.recording, span.start
            measuring = Measuring(encoding, number)
            drawings = {
                name: Drawing(
                    shape,
                    span.start,
                    job.n_points,
                    partial(encoding.values, name, number=number),
                )
                for name, shape, _ in fields(recording.x.shape, recording.x.dtype)
            }
            is_others = n_done > 0 and recording.paths != job.recordings[first].paths
            blocks = read_blocks(
                recording, span, segment.x.chunk_rows, n_done, has_other_reader=is_others
            )
            for inputs, labels in blocks:
                if job.stop.is_set():
                    raise KeyboardInterrupt
                converted = encoding.stored(inputs, number, recording.origin)
                measuring.add(converted)
                for name, rows in converted.items():
                    drawings[name].add(rows)
                    fillers[input_path(name)].add(rows)
                if segment.labels_per != "recording":
                    encoded = encode_labels(job.labels, labels, recording)
                    for name in segment.labels:
                        fillers[name].add(part_of(encoded, name))
                if "mask" in fillers:
                    fillers["mask"].add(read_mask(recording, row, row + len(inputs)))
                    row += len(inputs)
                if "recording" in fillers:
                    fillers["recording"].add(np.full(len(inputs), span.recording, np.int32))
                job.on_rows(len(inputs))
                del inputs, labels, converted, rows
            moments.append(measuring.moments())
            if job.n_points:
                drawn += [(number, name, it.values()) for name, it in drawings.items()]
            n_done += span.stop - span.start
        writers = [it.finish() for it in fillers.values()]
        stack.pop_all()  # the files are for `commit` to close
    return _WrittenShards(task=task, writers=writers, moments=moments.stacked(), drawn=tuple(drawn))


class _ChunkFiller:
    """Collects rows into chunks and hands full ones to a shard's writer."""

    def __init__(self, writer: ShardWriter) -> None:
        self._writer = writer
        self._chunk = np.zeros(writer.spec.chunk_shape, writer.spec.dtype)
        self._n_rows = 0

    def add(self, rows: AnyArray) -> None:
        size = len(self._chunk)
        while len(rows):
            if self._n_rows == 0 and len(rows) >= size:
                self._writer.append(np.ascontiguousarray(rows[:size]))
                rows = rows[size:]
                continue
            count = min(len(rows), len(self._chunk) - self._n_rows)
            self._chunk[self._n_rows : self._n_rows + count] = rows[:count]
            self._n_rows += count
            rows = rows[count:]
            if self._n_rows == len(self._chunk):
                self._writer.append(self._chunk)
                self._n_rows = 0

    def finish(self) -> ShardWriter:
        """Write what is left, and the shard's index."""
        if self._n_rows:
            self._chunk[self._n_rows :] = 0
            self._writer.append(self._chunk)
        self._writer.finish()
        return self._writer


def close_rows(recording: SourceRecording) -> None:
    """Release the files of a recording."""
    for rows in (recording.x, recording.y, recording.mask):
        if rows is not None:
            rows.close()


def read_blocks(
    recording: SourceRecording,
    span: Span,
    chunk_rows: int,
    n_before: int = 0,
    *,
    has_other_reader: bool = False,
) -> Iterator[tuple[AnyArray, AnyArray]]:
    """Yield inputs and labels of a span, a bounded number of rows at a time.

    A label for the whole recording is not among them: the labels are empty then.

    `n_before` rows of other recordings are in the shard already: blocks end where chunks do.
    """
    x, y = recording.x, recording.y
    is_one_label = recording.labels_per == "recording"
    # The head of a compressed file that another task reads from there on: a reader of its own,
    # or the other's would start again from the first row.
    with contextlib.ExitStack() as stack:
        if has_other_reader and is_sequential(recording):
            x, y = (stack.enter_context(contextlib.closing(copy.deepcopy(it))) for it in (x, y))
        step = block_rows(recording, chunk_rows)
        cuts = range(span.start + step - n_before % step, span.stop, step)
        for start, stop in itertools.pairwise([span.start, *cuts, span.stop]):
            try:
                inputs = x.read(start, stop)
                labels = y.read(0, 0) if is_one_label else y.read(start, stop)
            except OSError as error:
                raise SourceError(f"{recording.origin}: cannot be read ({error}).") from error
            yield inputs, labels
            del inputs, labels  # or they would be there still while the next ones are read


def read_mask(recording: SourceRecording, start: int, stop: int) -> AnyArray:
    """Return the mask of some rows of a recording, 0 where it has none; uint8."""
    if recording.mask is None:
        return np.zeros(stop - start, np.uint8)
    try:
        return recording.mask.read(start, stop)
    except OSError as error:
        raise SourceError(f"{recording.origin}: cannot be read ({error}).") from error


def encode_labels(labels: LabelScheme, block: AnyArray, recording: SourceRecording) -> AnyArray:
    """Return labels of a recording as they are stored."""
    try:
        return labels.encode(block)
    except SourceError as error:
        raise SourceError(f"{recording.origin}: {error}; convert again.") from error
