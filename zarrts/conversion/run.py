"""Run a conversion: take up what an earlier run finished, write the rest, publish."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from zarrts.conversion.cluster import write_on_cluster
from zarrts.conversion.crew import LOCAL, hired, refuse_data
from zarrts.conversion.plan import ShardTask, carried, stored_axes, task_bytes
from zarrts.conversion.prepare import Prepared
from zarrts.conversion.publish import create_segment, publish, write_checksums
from zarrts.conversion.recordwise import write_recordwise
from zarrts.conversion.targets import (
    JOURNAL,
    Hold,
    drop_partial,
    has_leftovers,
    only_writer,
    read_unfinished,
    sweep,
)
from zarrts.conversion.tasks import Job, OnRows, write_tasks
from zarrts.errors import PlanError, SourceError, ZarrtsError
from zarrts.labels.scheme import LabelScheme
from zarrts.sources import refuse_changes
from zarrts.stats.sketches import count_points
from zarrts.storage.checksums import crc32c_of_file
from zarrts.storage.journal import (
    JournalContent,
    JournalWriter,
    WrittenTask,
    merged_moments,
    read_journal,
    sketches_of,
)
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment, read_segment
from zarrts.storage.store import Gone, StoreHeader, Version, combined_id, is_store, read_header
from zarrts.storage.table import RecordingTable, digest_of_table, write_table

WriteTasks = Callable[[Job, Sequence[ShardTask]], None]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(prepared: Prepared, on_rows: OnRows = lambda n_rows: None) -> None:
    """Write the store that was prepared; it exists once all of it is on the disk.

    What an earlier run of the same plan finished is checked and kept.

    Raises
    ------
    PlanError
        If the target is in use, or the disk is full.
    SourceError
        If a source cannot be read to its end.
    """
    target = prepared.target
    if prepared.is_done:
        _clear_leftovers(prepared)
        return
    with _writing(prepared) as write, only_writer(target) as hold:
        if prepared.is_done:  # by another process since
            return
        prepared.refuse_target()
        old = read_header(target) if is_store(target) else None
        if prepared.base is not None and (old is None or old.version != prepared.base.version):
            raise PlanError(f"{target} was changed by somebody else meanwhile; try again.")
        with _explained(prepared, hold):
            _write_store(prepared, old, on_rows, write, hold)


@contextlib.contextmanager
def _writing(prepared: Prepared) -> Iterator[WriteTasks]:
    """Yield the function that writes tasks: here, or on the workers of a scheduler."""
    options = prepared.options
    if options.scheduler is None:
        yield partial(write_tasks, workers=prepared.workers)
        return
    refuse_data(prepared.recordings)
    with hired(
        options.scheduler,
        workers=prepared.workers if options.scheduler == LOCAL else options.workers,
        memory_bytes=options.memory_bytes,
        part_bytes=task_bytes(prepared.recordings, prepared.layout),
    ) as crew:
        yield partial(write_on_cluster, crew=crew)


def _clear_leftovers(prepared: Prepared) -> None:
    """Delete what a run that was killed after it had published left behind."""
    # Unless somebody writes to the store, or nobody can: the next run tries again.
    with contextlib.suppress(PlanError, OSError):
        if has_leftovers(prepared.target, prepared.plan):
            with only_writer(prepared.target):
                if has_leftovers(prepared.target, prepared.plan):
                    sweep(prepared.target)


def _write_store(
    prepared: Prepared,
    old: StoreHeader | None,
    on_rows: OnRows,
    write: WriteTasks,
    hold: Hold,
) -> None:
    target = prepared.target
    segment, finished = _resume(prepared, on_rows) or (_start(prepared, old), {})
    finished = _write(prepared, segment, finished, on_rows, write, hold)
    drop_partial(target, segment.name)
    results = [finished[task.shard] for task in prepared.layout.tasks]
    table = _table(prepared, results)
    written = [shard for result in results for shard in result.files]
    written += write_recordwise(target, segment, table.starts, prepared.recordings, prepared.labels)
    refuse_changes(prepared.recordings)
    write_table(target, segment.name, table)
    write_checksums(target, segment, written)
    segment = replace(
        segment,
        stored_bytes=sum(shard.size for shard in written),
        table_sha256=digest_of_table(target, segment.name),
    )
    hold.check()
    publish(target, _header(prepared, segment, old), written)
    with contextlib.suppress(OSError):  # the store is complete; Windows deletes no open file
        sweep(target)


# Beginning, and beginning again ---------------------------------------------------------------


def _start(prepared: Prepared, old: StoreHeader | None) -> Segment:
    target, layout = prepared.target, prepared.layout
    sweep(target)
    # Never a name that is in use: whoever has the old store open goes on reading it.
    name = str(1 + max((int(it.name) for it in old.segments), default=-1)) if old else "0"
    n_recordings = len(prepared.recordings)
    n_labels = n_recordings if prepared.labels_per == "recording" else layout.n_rows
    return create_segment(
        target,
        name,
        x=((layout.n_rows, *layout.row_shape), layout.dtype),
        y=((n_labels, *prepared.recordings[0].y.shape[1:]), prepared.labels.dtype),
        chunk_rows=layout.chunk_rows,
        shard_rows=layout.shard_rows,
        codec=prepared.options.codec,
        axes=stored_axes(prepared.options.axes),
        labels_per=prepared.labels_per,
        n_recordings=n_recordings,
    )


def _resume(prepared: Prepared, on_rows: OnRows) -> tuple[Segment, dict[int, WrittenTask]] | None:
    """Return the segment that an earlier run began, and its tasks that are as they were written."""
    target = prepared.target
    journal = read_unfinished(target)
    if (
        journal is None
        or journal.plan.write_id != prepared.plan.write_id
        or prepared.options.restart
    ):
        return None
    sweep(target, unfinished=journal.segment)
    try:
        segment = read_segment(target, journal.segment)
    except (OSError, ValueError, LookupError):
        return None
    # Content is compared by samples of the bytes: what came from a file that was touched since is
    # written again.
    touched = {
        number
        for number, it in enumerate(prepared.recordings)
        if journal.stamps.get(it.origin) != it.stamp
    }
    kept = [
        task
        for task in prepared.layout.tasks
        if task.shard in journal.entries and touched.isdisjoint(it.recording for it in task.spans)
    ]
    with ThreadPoolExecutor(prepared.workers) as pool:
        is_whole = pool.map(lambda task: _is_whole(target, journal.entries[task.shard]), kept)
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
        plan=prepared.plan,
        segment=segment.name,
        stamps={it.origin: it.stamp for it in prepared.recordings},
        entries=finished,
    )
    with contextlib.closing(JournalWriter(prepared.target / JOURNAL, content)) as journal:

        def on_task(task: WrittenTask) -> None:
            hold.check()
            journal.add(task)
            done[task.shard] = task

        job = Job(
            root=prepared.target,
            segment=segment,
            recordings=dict(enumerate(prepared.recordings)),
            labels=prepared.labels,
            n_points=_n_points(prepared),
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
    target = prepared.target
    try:
        yield
    except BaseException as error:
        if not hold.is_held:  # what is there may be another's
            raise
        is_of_no_use = prepared.is_done or _is_of_no_use_after(error)
        n_kept = _clear_up(target, everything=is_of_no_use)
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


def _clear_up(target: Location, *, everything: bool) -> int:
    """Delete what is of no use, and return how many finished tasks are left."""
    # What cannot be deleted now opens as nothing, and the next conversion deletes it.
    with contextlib.suppress(OSError):
        journal = read_journal(target / JOURNAL)
        if journal is not None and journal.entries and not everything:
            return len(journal.entries)
        sweep(target)
    return 0


# Publishing ---------------------------------------------------------------------------------


def _table(prepared: Prepared, results: Sequence[WrittenTask]) -> RecordingTable:
    labels, layout = prepared.labels, prepared.layout
    counts = None
    if labels.class_names:
        counts = np.stack([labels.counts_by_class(counter) for counter in prepared.counters])
    return RecordingTable(
        subject=tuple(it.subject for it in prepared.recordings),
        source=tuple(it.origin for it in prepared.recordings),
        fingerprint=tuple(it.fingerprint for it in prepared.recordings),
        starts=np.cumsum([0, *(it.x.shape[0] for it in prepared.recordings)]),
        source_starts=np.array([it.first_row for it in prepared.recordings], np.int64),
        label_counts=counts,
        moments=merged_moments(results, len(prepared.recordings), layout.row_shape),
        sketch=sketches_of(
            results,
            len(prepared.recordings),
            layout.row_shape,
            layout.dtype,
            _n_points(prepared),
        ),
    )


def _n_points(prepared: Prepared) -> int:
    row_shape = prepared.layout.row_shape
    return count_points(len(prepared.recordings), row_shape[-1] if row_shape else 1)


def _header(prepared: Prepared, segment: Segment, old: StoreHeader | None) -> StoreHeader:
    plan, base = prepared.plan, prepared.base
    segment = replace(segment, write_id=plan.write_id, options=dict(plan.options))
    if base is not None:
        return _added(base, segment, prepared.labels)
    first, options = prepared.recordings[0], prepared.options
    channels, rate_hz = carried(prepared.recordings)
    version = old.version + 1 if old else 1
    gone = old.gone if old else ()
    if old:
        lost = tuple(it.version for it in old.versions)
        gone = (*gone, Gone(lost, f"version {version} replaced it"))
    return StoreHeader(
        version=version,
        kind="ragged" if prepared.is_ragged else "dense",
        labels_per=prepared.labels_per,
        write_id=plan.write_id,
        labels=prepared.labels,
        x_name=first.x_name,
        y_name=first.y_name,
        channels=options.channels or channels,
        rate_hz=options.rate_hz or rate_hz,
        segments=(segment,),
        versions=(Version(version, (segment.name,), prepared.labels.n_classes),),
        gone=gone,
    )


def _added(base: StoreHeader, segment: Segment, labels: LabelScheme) -> StoreHeader:
    """Return the header of a store with one segment more."""
    segments = (*base.segments, segment)
    version = base.version + 1
    names = tuple(it.name for it in segments)
    return replace(
        base,
        version=version,
        write_id=combined_id(segments),
        labels=labels,
        segments=segments,
        versions=(*base.versions, Version(version, names, labels.n_classes)),
    )
