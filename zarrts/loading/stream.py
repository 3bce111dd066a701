"""The stream of batches: decode units ahead into reused memory, gather batches from it.

One lock guards what is next, in a `JobQueue`; threads of our own read, decode, gather and finish
outside it. The memory of open units lives as long as the loader, because touching fresh memory
is ten times slower than decoding into old. A batch that was handed out is the consumer's: its
memory is used again once nothing refers to it.
"""

import atexit
import contextlib
import contextvars
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from zarrts.batch import Batch
from zarrts.errors import AccessError, ReadError, SampleError
from zarrts.indexing.units import format_ids
from zarrts.loading.disk_waits import DiskClock, DiskWaits
from zarrts.loading.gathering import Building, Gatherer
from zarrts.loading.pace import JobClock, Pace
from zarrts.loading.resources import Resources
from zarrts.loading.schedule import Decode, Gather, Job, PlanBatches, Schedule
from zarrts.ordering.order import Order
from zarrts.reading.memory import PlacedUnit

_LISTENS_S = 1.0  # after which a wait begins again, or Ctrl-C is not heard on Windows, nor a drop


class _Work:
    """The work of the threads of one stream. `lock` guards every attribute below it."""

    def __init__(self, resources: Resources, order: Order, *, epoch: int, first_batch: int) -> None:
        self.resources, self.order, self.epoch = resources, order, epoch
        self.process_id = os.getpid()
        self.reader, self.memory = resources.reader, resources.memory
        self.finish = resources.finish
        self._unit_chunk_bytes = sum(it.held[0].spec.chunk_bytes for it in self.reader.inputs_read)
        self._waits = DiskWaits()
        self.gatherer = Gatherer(self.reader, self.memory, self.finish)
        self.schedule = Schedule(order, self.reader, self.memory, self.finish.lengths)
        # Reentrant, because a collection of garbage may end the stream from under it.
        self.lock = threading.RLock()
        self.has_job = threading.Condition(self.lock)
        self.has_batch = threading.Condition(self.lock)
        self.is_closed = False
        self.error: BaseException | None = None
        self.queue = resources.queue(order, self.schedule, first_batch)
        self.pace = Pace(resources.n_threads, resources.max_ready)
        self.n_active = 0  # of the stream's own threads, those that have a job
        self.building: dict[int, Building] = {}
        self.ready: dict[int, Batch] = {}
        self.warnings: list[str] = []  # that the consumer has not given yet
        self.threads = tuple(
            threading.Thread(target=_work, args=(self,), name="zarrts-loader", daemon=True)
            for _ in range(self.pace.n_started)
        )

    @property
    def may_work(self) -> bool:
        """Whether one more of the stream's own threads may; with the lock held."""
        return self.n_active < self.pace.most_own

    def end(self) -> None:
        """Tell the threads to end, and wait for them; once more does no harm."""
        if self.process_id != os.getpid():
            return  # a forked child has none of them, but may have their lock, held for ever
        with self.lock:
            self.is_closed = True
            self.has_job.notify_all()
            self.has_batch.notify_all()
        join_all(self.threads)
        self.ready.clear()  # after the last thread, which may have finished a batch meanwhile

    def take_job(self) -> Job | None:
        """Return what is most urgent, or None if there is nothing to do; with the lock held.

        Whoever takes it does it, and says so: `do`.
        """
        job = self.queue.take()
        if job is None:
            return None
        if isinstance(job, Gather) and job.piece.batch not in self.building:
            self.building[job.piece.batch] = self.gatherer.begin(job, self.resources.batches)
        return job

    def wake(self) -> None:
        """Wake a thread if one more may work; with the lock held."""
        if self.may_work:
            self.has_job.notify()

    def do(self, job: Job) -> None:
        """Do a job that was taken; take the lock only to say what came of it."""
        has_transform = self.finish.transform is not None
        clock = JobClock(may_wait=has_transform or isinstance(job, Decode))
        try:
            if isinstance(job, Decode):
                self._decode(job, clock)
            elif isinstance(job, Gather):
                self._gather(job, clock)
            else:
                self._plan(job, clock)
        except BaseException as error:  # it has to reach the consumer, whatever it is
            with self.lock:
                self.error = self.error or error
                self.is_closed = True
                self.has_batch.notify_all()
                self.has_job.notify_all()

    def _decode(self, job: Decode, clock: JobClock) -> None:
        units, labels, y = job.units, self.memory.labels, self.reader.readers.y
        needs_labels = self.finish.target is not None and labels is not None
        disk_clock = DiskClock()
        n_read = self.memory.read_first(units, y if needs_labels else None)
        left = [it for it in units[n_read:] if self._is_read(it, self.memory.read_x)]
        n_chunks = sum(it.n_chunks for it in units)
        is_slow = self._waits.have_come(disk_clock, self._unit_chunk_bytes * n_chunks)
        if needs_labels and labels is not None:
            for unit in left:
                self._is_read(unit, lambda it: labels.read(y[it.segment], it))
        with self.lock:
            self.pace.note_work(clock.lap())
            advised = [self.queue.note_decoded(unit, is_slow) for unit in units]
            self.wake()
        for coming in advised:
            if coming is not None:
                self._advise(coming)

    def _is_read(self, unit: PlacedUnit, read: Callable[[PlacedUnit], None]) -> bool:
        """Read something of a unit, or leave its samples out where these are skipped."""
        try:
            read(unit)
        except ReadError as error:
            if not self.resources.skips_damage or isinstance(error, AccessError):
                raise
            self._leave_out(unit.unit, error)
            return False
        return True

    def _advise(self, coming: PlacedUnit) -> None:
        """Have the chunks of a unit read ahead by the system."""
        clock = DiskClock()
        with contextlib.suppress(ReadError):  # which reading it will raise
            for it in self.reader.inputs_read:
                it.held[coming.segment].will_need(coming.chunk, coming.n_chunks)
        if clock.has_read:  # it was not in memory, nor are others, it seems
            with self.lock:
                self.queue.advise_on()

    def _leave_out(self, unit: int, error: ReadError) -> None:
        """Note that the samples of a unit cannot be read; the consumer warns of it once."""
        units = self.reader.units
        low, high = units.edges(np.array([unit, unit + 1]))
        ids = units.selection.ids(np.arange(low, high))
        with self.lock:
            if unit not in self.memory.damaged:
                self.memory.damaged |= {unit}
                self.warnings.append(f"{error} Left out of every epoch: samples {format_ids(ids)}.")

    def _plan(self, job: PlanBatches, clock: JobClock) -> None:
        gathers = self.schedule.gathers(job.start, job.stop)
        with self.lock:
            self.pace.note_work(clock.lap())
            self.queue.note_planned(job, gathers)
            self.wake()

    def _gather(self, job: Gather, clock: JobClock) -> None:
        piece = job.piece
        building = self.building[piece.batch]
        self.gatherer.gather(job, building)
        with self.lock:
            self.pace.note_work(clock.lap())
            self.queue.note_gathered(job)
            building.missing -= piece.stop - piece.start
            is_whole = building.missing == 0
            self.wake()
        if is_whole:
            batch, stored = building.batch(self.reader)
            if len(batch.sample_id):
                if self.finish.target is not None:
                    stored = self.reader.cut.reduced(stored)
                batch = self.finish.complete(batch, stored, self.epoch, piece.batch)
            with self.lock:
                del self.building[piece.batch]
                self.ready[piece.batch] = batch
                self.pace.note_work(clock.lap())
                self.pace.note_ready(len(self.ready))
                self.has_batch.notify_all()


def _work(work: _Work) -> None:
    """Do jobs until the stream is closed: what each of its threads runs."""
    has_done = False
    while True:
        with work.lock:
            work.n_active -= has_done
            if work.pace.is_alone:
                work.has_batch.notify()  # the consumer has to go on from here
            job = None
            while not work.is_closed:
                if work.may_work and (job := work.take_job()) is not None:
                    break
                work.has_job.wait(_LISTENS_S)
            if job is None:
                return
            work.n_active += 1
            work.wake()  # there may be more to do
        work.do(job)
        has_done = True


def _tell_to_end(work: _Work) -> None:
    """Tell the threads of a dropped stream to end, and wait for nobody.

    Garbage may be collected anywhere, also where this thread holds a lock that they wait for.
    """
    work.is_closed = True
    if work.lock.acquire(blocking=False):  # else they look in a moment
        work.has_job.notify_all()
        work.lock.release()


def join_all(threads: Sequence[threading.Thread]) -> None:
    """Wait until threads have ended, but for the one that asks."""
    for thread in threads:
        is_started = thread.ident is not None  # Ctrl-C may come before all are
        if is_started and thread is not threading.current_thread():
            thread.join()


class BatchStream(Iterator[Batch]):
    """Batches of one epoch, in order, read ahead by threads.

    Its threads have ended when it is exhausted or closed, and end soon after it is dropped, or one
    of them fails; then the error is raised where the next batch is asked for.
    """

    def __init__(self, resources: Resources, order: Order, *, epoch: int, first_batch: int) -> None:
        self._work = _Work(resources, order, epoch=epoch, first_batch=first_batch)
        self._n_empty, self._has_warned = 0, False
        # The threads know the work, not the stream, so that a dropped stream ends them.
        self._finalizer = weakref.finalize(self, _tell_to_end, self._work)
        self._finalizer.atexit = False  # there all that run are ended
        _WORKS.add(self._work)

    def start(self) -> None:
        """Begin to read ahead, once somebody knows the threads."""
        try:
            for thread in self.threads:
                thread.start()
        except BaseException:  # Ctrl-C
            self.close()
            raise

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those of its own, to be waited for before its memory is used again."""
        return self._work.threads

    @property
    def is_closed(self) -> bool:
        """Whether the stream gives no more batches."""
        return not self._finalizer.alive

    @property
    def waited_s(self) -> float:
        """Seconds for which batches were waited for, in all."""
        return self._work.pace.waited_s

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> Batch:
        while True:
            batch = self.take()
            if len(batch.sample_id):
                return batch

    def take(self) -> Batch:
        """Return the next batch, even if it is empty because none of its samples can be read."""
        if self._work.process_id != os.getpid():
            raise SampleError(
                "These batches were begun in the process that this one was forked from, and what "
                "reads them is there; begin them here."
            )
        try:
            return self._take()
        except BaseException:  # with Ctrl-C, a job may be left undone that this thread had
            self.close()
            raise

    def _take(self) -> Batch:
        work, queue = self._work, self._work.queue
        if queue.consumed >= work.order.batching.n_batches:
            raise StopIteration
        came_at = time.perf_counter()
        self._await_next()
        with work.lock:
            work.pace.note_taken(came_at, time.perf_counter())
            batch = work.ready.pop(queue.consumed, None)
            if batch is not None:
                work.pace.note_ready(len(work.ready))
                queue.consumed += 1
                work.wake()
            messages, work.warnings = work.warnings, []
        self._has_warned |= bool(messages)
        for message in messages:
            warnings.warn(message, stacklevel=4)
        if batch is None:
            if isinstance(work.error, StopIteration):  # which would end the epoch early
                raise RuntimeError("transform raised StopIteration") from work.error
            if work.error is not None:
                raise work.error
            raise StopIteration
        self._n_empty += len(batch.sample_id) == 0
        n_batches = work.order.batching.n_batches
        if queue.consumed == n_batches:
            self.close()
            if self._n_empty and self._has_warned:  # later epochs leave the same samples out
                warnings.warn(
                    f"{self._n_empty:,} of {n_batches:,} batches are left out of epoch "
                    f"{work.epoch}: none of their samples can be read (on_error='skip').",
                    stacklevel=4,
                )
        return batch

    def _await_next(self) -> None:
        """Wait until the next batch is ready, or never will be, and work meanwhile."""
        work = self._work
        while True:
            with work.lock:
                if work.queue.consumed in work.ready or work.is_closed:
                    return
                pace = work.pace
                works = pace.consumer_works and work.n_active < pace.most_active
                job = work.take_job() if works else None
                if job is None:
                    work.has_batch.wait(_LISTENS_S)
                    continue
                work.wake()  # there may be more to do
            # As in a thread: not in the caller's context, which may have numpy.errstate set.
            contextvars.Context().run(work.do, job)

    def close(self) -> None:
        """End the threads; twice does no harm."""
        self._finalizer.detach()
        self._work.end()

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# As long as there is the stream, or a thread, which may be for some time after it was dropped.
_WORKS: weakref.WeakSet[_Work] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all threads before the interpreter does, which stops them wherever they are."""
    for work in list(_WORKS):
        work.end()
