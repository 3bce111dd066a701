"""Run a conversion: take up what an earlier run finished, write the rest, publish."""

import contextlib
import errno
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from zarrts.conversion.cluster import write_on_cluster
from zarrts.conversion.comparison import differing
from zarrts.conversion.counting import UnfitError
from zarrts.conversion.header import header_of_store, n_points_of, table_of
from zarrts.conversion.lock import Hold, only_writer
from zarrts.conversion.packing import as_counted
from zarrts.conversion.plan import ShardTask, needs_of, stored_axes, task_bytes
from zarrts.conversion.prepare import refuse_writing
from zarrts.conversion.prepared import Prepared
from zarrts.conversion.provenance import write_id_of
from zarrts.conversion.publish import create_segment, finish_removal, publish, write_checksums
from zarrts.conversion.recordwise import write_recordwise
from zarrts.conversion.stamps import stamps_of, write_stamps
from zarrts.conversion.target import (
    JOURNAL,
    Target,
    drop_partial,
    read_target,
    refuse_changed,
    sweep,
)
from zarrts.conversion.tasks import Job, OnRows, write_tasks
from zarrts.conversion.workers import LOCAL, connected_workers, refuse_data
from zarrts.errors import PlanError, SourceError, ZarrtsError
from zarrts.sources import refuse_changes, steps_of
from zarrts.storage.checksums import crc32c_of_file
from zarrts.storage.journal import (
    JournalContent,
    JournalWriter,
    WrittenTask,
)
from zarrts.storage.location import Location
from zarrts.storage.schema import STEPS
from zarrts.storage.segments import Segment, read_segment
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import digest_of_table, write_table

WriteTasks = Callable[[Job, Sequence[ShardTask]], None]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(prepared: Prepared, on_rows: OnRows = lambda n_rows: None) -> StoreHeader | None:
    """Write the store that was prepared; it exists once all of it is on the disk.

    Returns what its root says, if it was written now: that of many parts takes long to read.

    What an earlier run of the same plan finished is checked and kept. Sources of a store that is
    complete are compared with it where they were touched since.

    Raises
    ------
    PlanError
        If the target is in use, sources of a complete store have changed, or the disk is full.
    SourceError
        If a source cannot be read to its end.
    """
    root = prepared.target.root
    if prepared.is_done:
        _refuse_changed(prepared, on_rows)
        _clear_leftovers(prepared)
        return None
    with _writing(prepared) as write, only_writer(root) as hold:
        target = read_target(root, prepared.target)
        if _is_published(prepared, target):
            return None  # by another process
        refuse_writing(prepared, target)
        if prepared.base is not None and target.version != prepared.base.version:
            raise PlanError(f"{root} was changed by somebody else meanwhile; try again.")
        with _explained(prepared, hold):
            return _write_store(prepared, target, on_rows, write, hold)


@contextlib.contextmanager
def _writing(prepared: Prepared) -> Iterator[WriteTasks]:
    """Yield the function that writes tasks: here, or on the workers of a scheduler."""
    options = prepared.options
    if options.scheduler is None:
        yield partial(write_tasks, workers=prepared.workers)
        return
    refuse_data(prepared.recordings)
    with connected_workers(
        options.scheduler,
        workers=prepared.workers if options.scheduler == LOCAL else options.workers,
        memory_bytes=options.memory_bytes,
        part_bytes=task_bytes(prepared.recordings, prepared.layout),
    ) as workers:
        yield partial(write_on_cluster, workers=workers)


def _is_published(prepared: Prepared, target: Target) -> bool:
    """Return whether what was prepared has been published since."""
    is_there = target.holds(prepared.provenance, is_append=prepared.base is not None)
    return is_there and target.version > prepared.target.version


def _refuse_changed(prepared: Prepared, on_rows: OnRows) -> None:
    """Compare sources that were touched with the complete store; raise PlanError if any changed."""
    header, root = prepared.target.header, prepared.target.root
    if not prepared.touched or header is None:
        return
    changed = differing(
        root,
        header.segments[-1],
        header.labels,
        prepared.recordings,
        prepared.touched,
        prepared.workers,
        on_rows,
    )
    if changed:
        refuse_changed(
            root,
            [prepared.recordings[number].origin for number in changed],
            is_append=prepared.base is not None,
        )
    # Unless somebody writes to the store, or nobody can: the next run compares again.
    if stamps_of(prepared.recordings):
        with contextlib.suppress(PlanError, OSError), only_writer(root):
            if read_target(root).version == prepared.target.version:
                _write_stamps(prepared, header)


def _write_stamps(prepared: Prepared, header: StoreHeader) -> None:
    *others, last = (it.name for it in header.segments)
    write_stamps(prepared.target.root, last, prepared.recordings, others)


def _clear_leftovers(prepared: Prepared) -> None:
    """Delete what a run that was killed after it had published left behind."""
    target, provenance = prepared.target, prepared.provenance
    if not target.may_be_swept(provenance):
        return
    # Unless somebody writes to the store, or nobody can: the next run tries again.
    with contextlib.suppress(PlanError, OSError), only_writer(target.root):
        now = read_target(target.root)
        if now.may_be_swept(provenance):
            finish_removal(now) if now.header and now.header.removal else sweep(now)


def _write_store(
    prepared: Prepared,
    target: Target,
    on_rows: OnRows,
    write: WriteTasks,
    hold: Hold,
) -> StoreHeader | None:
    root = target.root
    segment, finished = _resume(prepared, target, on_rows) or (_start(prepared, target), {})
    is_written = False
    while not is_written:
        try:
            finished = _write(prepared, segment, finished, on_rows, write, hold)
            is_written = True
        except UnfitError as error:
            left = prepared.with_values_of(error.input)
            if left is None:
                raise
            what = f"{error.input} is stored as values instead"
            if left.packing is None:
                what = "the store holds values instead, and is as large as with pack=False"
            warnings.warn(f"{error}: {what}.", stacklevel=2)
            prepared, target = left, read_target(root)
            segment, finished = _start(prepared, target), {}
    drop_partial(root, segment.name)
    results = [finished[task.shard] for task in prepared.layout.tasks]
    table = table_of(prepared, results)
    written = [shard for result in results for shard in result.files]
    written += write_recordwise(root, segment, table.starts, prepared.recordings, prepared.labels)
    refuse_changes(prepared.recordings)
    write_table(root, segment.name, table)
    write_checksums(root, segment, written)
    segment = replace(
        segment,
        stored_bytes=sum(shard.size for shard in written),
        table_sha256=digest_of_table(root, segment.name),
    )
    write_id = write_id_of(prepared.provenance, segment.name, written)
    header = header_of_store(prepared, replace(segment, write_id=write_id), target)
    hold.check()
    published = publish(target, header, written)
    with contextlib.suppress(OSError):  # the store is complete; Windows deletes no open file
        _write_stamps(prepared, header)
        sweep(read_target(root, published))
    return published.header


# Beginning, and beginning again ---------------------------------------------------------------


def _start(prepared: Prepared, target: Target) -> Segment:
    layout = prepared.layout
    sweep(target)
    n_recordings = len(prepared.recordings)
    n_labels = n_recordings if prepared.labels_per == "recording" else layout.n_rows
    return create_segment(
        target.root,
        target.next_segment,
        x=((layout.n_rows, *layout.row_shape), layout.dtype),
        y=((n_labels, *prepared.recordings[0].y.shape[1:]), prepared.labels.dtype),
        chunk_rows=layout.chunk_rows,
        shard_rows=layout.shard_rows,
        codec=prepared.options.codec,
        axes=stored_axes(prepared.options.axes),
        labels_per=prepared.labels_per,
        n_recordings=n_recordings,
        steps=steps_of(prepared.recordings[0].x),
        label_steps=prepared.recordings[0].label_steps,
        needs=(*needs_of(prepared.recordings), *((STEPS,) if prepared.options.steps else ())),
        packing=prepared.encoding.packing,
        shuffles=prepared.packing.shuffles if prepared.packing else {},
    )


def _resume(
    prepared: Prepared, target: Target, on_rows: OnRows
) -> tuple[Segment, dict[int, WrittenTask]] | None:
    """Return the segment that an earlier run began, and its tasks that are as they were written."""
    root, journal = target.root, target.unfinished
    if (
        journal is None
        or journal.provenance.digest != prepared.provenance.digest
        or prepared.options.restart
    ):
        return None
    sweep(target, unfinished=journal.segment)
    try:
        segment = read_segment(root, journal.segment)
    except (OSError, ValueError, LookupError):
        return None
    # Content was compared by samples of the bytes: what came from a file that was touched since, or
    # from a large array in memory, is written again.
    again = {
        number
        for number, it in enumerate(prepared.recordings)
        if journal.stamps.get(it.origin) != it.stamp or (it.is_sampled and not it.paths)
    }
    kept = [
        task
        for task in prepared.layout.tasks
        if task.shard in journal.entries and again.isdisjoint(it.recording for it in task.spans)
    ]
    with ThreadPoolExecutor(prepared.workers) as pool:
        is_whole = pool.map(lambda task: _is_whole(root, journal.entries[task.shard]), kept)
        finished = {
            task.shard: journal.entries[task.shard]
            for task, whole in zip(kept, is_whole, strict=True)
            if whole
        }
    on_rows(sum(task.n_rows for task in kept if task.shard in finished))
    return segment, finished


def _is_whole(root: Location, task: WrittenTask) -> bool:
    try:
        return all(crc32c_of_file(root / it.key) == (it.size, it.checksum) for it in task.files)
    except OSError:
        return False


def _write(
    prepared: Prepared,
    segment: Segment,
    finished: Mapping[int, WrittenTask],
    on_rows: OnRows,
    write: WriteTasks,
    hold: Hold,
) -> dict[int, WrittenTask]:
    """Write the tasks that are not finished, and return all."""
    done = dict(finished)
    content = JournalContent(
        provenance=prepared.provenance,
        segment=segment.name,
        stamps={it.origin: it.stamp for it in prepared.recordings},
        entries=finished,
    )
    with contextlib.closing(JournalWriter(prepared.target.root / JOURNAL, content)) as journal:

        def on_task(task: WrittenTask) -> None:
            hold.check()
            journal.add(task)
            done[task.shard] = task

        job = Job(
            root=prepared.target.root,
            segment=segment,
            recordings=dict(enumerate(as_counted(prepared.recordings, prepared.encoding))),
            labels=prepared.labels,
            encoding=prepared.encoding,
            n_points=n_points_of(prepared),
            on_rows=on_rows,
            on_task=on_task,
        )
        todo = [task for task in prepared.layout.tasks if task.shard not in finished]
        if todo:
            write(job, todo)
    return done


# What an error leaves --------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(prepared: Prepared, hold: Hold) -> Iterator[None]:
    """Keep what is finished if the same command could go on from it, else nothing; say which."""
    target = prepared.target.root
    try:
        yield
    except BaseException as error:
        if not hold.is_held:  # what is there may be another's
            raise
        n_kept = _clear_up(prepared, everything=_is_of_no_use_after(error))
        if isinstance(error, ZarrtsError) and not n_kept:
            raise
        kept = (
            f"{n_kept} of {len(prepared.layout.tasks)} parts are finished, and the same command "
            "goes on from there"
            if n_kept
            else "what was written has been removed"
        )
        if isinstance(error, SourceError | PlanError):
            raise type(error)(f"{error} {kept}.") from error
        if not isinstance(error, OSError):
            raise
        if error.errno in _FULL:
            raise PlanError(
                f"{target}: the disk is full; {kept}. Make room"
                f"{'' if n_kept else ' or choose another disk'}."
            ) from error
        raise PlanError(
            f"{target}: cannot be written ({error.strerror or error}); {kept}"
            f"{'' if n_kept else '; choose another folder'}."
        ) from error


def _is_of_no_use_after(error: BaseException) -> bool:
    """Return whether other sources or options are needed, rather than another attempt."""
    is_said = isinstance(error, ZarrtsError) and not isinstance(error, PlanError | OSError)
    return is_said and not isinstance(error.__cause__, OSError)


def _clear_up(prepared: Prepared, *, everything: bool) -> int:
    """Delete what is of no use, and return how many finished tasks are left."""
    # What cannot be deleted now opens as nothing, and the next conversion deletes it.
    with contextlib.suppress(OSError):
        target = read_target(prepared.target.root)
        is_of_no_use = everything or _is_published(prepared, target)
        if target.journal and target.journal.entries and not is_of_no_use:
            return len(target.journal.entries)
        sweep(target)
    return 0
