"""The stream of batches: decode units ahead into reused memory, gather batches from it.

One lock guards what is next, in a `JobQueue`; threads of our own read, decode, gather and finish
outside it. The memory of open units lives as long as the loader, because touching fresh memory
is ten times slower than decoding into old. A batch that was handed out is the consumer's: its
memory is used again once nothing refers to it.
"""

import contextlib
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zarrts.batch import Batch
from zarrts.errors import AccessError, ReadError
from zarrts.indexing.units import format_ids
from zarrts.loading.disk_waits import DiskClock, DiskWaits
from zarrts.loading.gathering import Building, Gatherer
from zarrts.loading.job_queue import JobQueue
from zarrts.loading.postprocessing import PostProcessing
from zarrts.loading.schedule import Decode, Gather, Job, PlanBatches, Schedule
from zarrts.ordering.order import Order
from zarrts.reading.memory import BatchMemory, UnitMemory
from zarrts.reading.read_ahead import PlacesAhead
from zarrts.reading.sample_reader import SampleReader
from zarrts.storage.open_files import OPEN_FILES

TAKEN_AHEAD = 2  # batches that tf.data takes before they are needed


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The parts that all streams of a loader share.

    Attributes
    ----------
    memory : UnitMemory
        Of open units.
    batches : sequence of BatchMemory
        Of batches, for each input.
    max_ready : int
        Batches that may be on their way at once.
    fetched_bytes : int
        What of a remote store may be asked for ahead.
    skips_damage : bool
        Samples that cannot be read are left out, with a warning.
    """

    reader: SampleReader
    memory: UnitMemory
    batches: Sequence[BatchMemory]
    finish: PostProcessing
    n_threads: int
    max_ready: int
    fetched_bytes: int = 0
    skips_damage: bool = False

    def queue(self, order: Order, schedule: Schedule, first_batch: int) -> JobQueue:
        """Return the jobs of an epoch."""
        readers, ahead = self.reader.readers, None
        if readers.is_remote:
            every = (*(it.held for it in self.reader.inputs_read), readers.y)
            ahead = PlacesAhead(every, order.n_places, self.fetched_bytes)
        return JobQueue(
            order,
            schedule,
            self.memory,
            first_batch,
            max_ready=self.max_ready,
            ahead=ahead,
            reads_labels=self.finish.target is not None,
        )


class _Work:
    """The work of the threads of one stream. `lock` guards every attribute below it."""

    def __init__(self, resources: Resources, order: Order, *, epoch: int, first_batch: int) -> None:
        self.resources, self.order, self.epoch = resources, order, epoch
        self.reader, self.memory = resources.reader, resources.memory
        self.finish = resources.finish
        self._unit_chunk_bytes = sum(it.held[0].spec.chunk_bytes for it in self.reader.inputs_read)
        self._waits = DiskWaits()
        self.gatherer = Gatherer(self.reader, self.memory, self.finish)
        self.schedule = Schedule(order, self.reader, self.memory, self.finish.lengths)
        # Reentrant, because a collection of garbage may close the stream from under it.
        self.lock = threading.RLock()
        self.has_job = threading.Condition(self.lock)
        self.has_batch = threading.Condition(self.lock)
        self.is_closed = False
        self.error: BaseException | None = None
        self.queue = resources.queue(order, self.schedule, first_batch)
        self.n_active = 0  # threads that have a job
        self.most_active = resources.n_threads
        self.n_taken_ahead = 0  # batches that the consumer takes before it needs them
        self.building: dict[int, Building] = {}
        self.ready: dict[int, Batch] = {}
        self.warnings: list[str] = []  # that the consumer has not given yet

    def take_job(self) -> Job | None:
        """Return what is most urgent, or None if there is nothing to do; with the lock held.

        Whoever takes it does it, and says so: `do`.
        """
        if self.n_active >= self.most_active:
            return None
        job = self.queue.take()
        if job is None:
            return None
        if isinstance(job, Gather) and job.piece.batch not in self.building:
            self.building[job.piece.batch] = self.gatherer.begin(job, self.resources.batches)
        self.n_active += 1
        return job

    def note_ready(self) -> None:
        """Note that batches were added to those that are ready, or taken; with the lock held.

        The more of them there are, the fewer threads work: where the network is slower than they
        are, they would only take processors and the interpreter's lock from it.
        """
        n_threads, max_ready = self.resources.n_threads, self.resources.max_ready
        # One that takes ahead has all that it takes, where it leaves one that is ready.
        n_ahead = len(self.ready) + self.n_taken_ahead * bool(self.ready)
        self.most_active = max(1, -(-n_threads * (max_ready - n_ahead) // max_ready))

    def wake(self) -> None:
        """Wake a thread if one more may work; with the lock held."""
        if self.n_active < self.most_active:
            self.has_job.notify()

    def do(self, job: Job) -> None:
        """Do a job that was taken; take the lock only to say what came of it."""
        try:
            if isinstance(job, Decode):
                self._decode(job)
            elif isinstance(job, Gather):
                self._gather(job)
            else:
                self._plan(job)
        except BaseException as error:  # it has to reach the consumer, whatever it is
            with self.lock:
                self.error = self.error or error
                self.is_closed = True
                self.has_batch.notify_all()
                self.has_job.notify_all()

    def _decode(self, job: Decode) -> None:
        readers = self.reader.readers
        y = readers.y[job.segment]
        is_slow, clock = False, DiskClock()
        try:
            self.memory.read_x(job.segment, job.chunk, job.n_chunks, job.slot, job.at)
            is_slow = self._waits.have_come(clock, self._unit_chunk_bytes * job.n_chunks)
            labels = self.memory.labels
            if self.finish.target is not None and labels is not None:
                labels.read(y, job.chunk, job.n_chunks, job.unit, job.slot, job.at)
        except ReadError as error:
            if not self.resources.skips_damage or isinstance(error, AccessError):
                raise
            self._leave_out(job.unit, error)
        with self.lock:
            advised = self.queue.note_decoded(job, is_slow)
            self.wake()
        if advised is not None:
            self._advise(advised)

    def _advise(self, coming: Decode) -> None:
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

    def _plan(self, job: PlanBatches) -> None:
        gathers = self.schedule.gathers(job.start, job.stop)
        with self.lock:
            self.queue.note_planned(job, gathers)
            self.wake()

    def _gather(self, job: Gather) -> None:
        piece = job.piece
        building = self.building[piece.batch]
        self.gatherer.gather(job, building)
        with self.lock:
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
                self.note_ready()
                self.has_batch.notify_all()


def _work(work: _Work) -> None:
    """Do jobs until the stream is closed: what each of its threads runs."""
    has_done = False
    while True:
        with work.lock:
            work.n_active -= has_done
            job = None
            while not work.is_closed and (job := work.take_job()) is None:
                work.has_job.wait()
            if job is None:
                return
            work.wake()  # there may be more to do
        work.do(job)
        has_done = True


def _close(work: _Work, threads: Sequence[threading.Thread]) -> None:
    with work.lock:
        work.is_closed = True
        work.has_job.notify_all()
        work.has_batch.notify_all()
    # Garbage may be collected anywhere, also where this thread holds the lock of open files, which
    # those that would be joined wait for: then they end by themselves.
    for thread in threads:
        if thread is not threading.current_thread() and not OPEN_FILES.is_locked_here:
            thread.join()
    work.ready.clear()  # after the last thread, which may have finished a batch meanwhile


class BatchStream(Iterator[Batch]):
    """Batches of one epoch, in order, read ahead by threads.

    Its threads end when it is exhausted, closed, dropped, or when one of them fails; then the
    error is raised where the next batch is asked for.
    """

    def __init__(self, resources: Resources, order: Order, *, epoch: int, first_batch: int) -> None:
        self._work = _Work(resources, order, epoch=epoch, first_batch=first_batch)
        self._n_empty, self._has_warned = 0, False
        # A thread of tf.data's has nothing else to do while it waits, and then needs not be woken.
        # In the main thread, which trains, Ctrl-C could come while a job is done.
        self._works = threading.current_thread() is not threading.main_thread()
        self._work.n_taken_ahead = TAKEN_AHEAD * self._works
        self.waited_s = 0.0  # how long batches were waited for, in all
        threads = [
            threading.Thread(target=_work, args=(self._work,), name="zarrts-loader", daemon=True)
            for _ in range(max(1, resources.n_threads - self._works))
        ]
        # The threads know the work, not the stream, so that a dropped stream ends them; and at
        # exit, finalizers run while daemon threads can still be joined.
        self._finalizer = weakref.finalize(self, _close, self._work, threads)
        for thread in threads:
            thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether the stream gives no more batches."""
        return not self._finalizer.alive

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> Batch:
        while True:
            batch = self.take()
            if len(batch.sample_id):
                return batch

    def take(self) -> Batch:
        """Return the next batch, even if it is empty because none of its samples can be read."""
        work, queue = self._work, self._work.queue
        if queue.consumed >= work.order.batching.n_batches:
            self.close()
            raise StopIteration
        with work.lock:
            if queue.consumed not in work.ready:
                started = time.perf_counter()
                self._await_next()
                self.waited_s += time.perf_counter() - started
            batch = work.ready.pop(queue.consumed, None)
            if batch is not None:
                work.note_ready()
                queue.consumed += 1
                work.wake()
            messages, work.warnings = work.warnings, []
        self._has_warned |= bool(messages)
        for message in messages:
            warnings.warn(message, stacklevel=3)
        if batch is None:
            self.close()
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
                    stacklevel=3,
                )
        return batch

    def _await_next(self) -> None:
        """Wait until the next batch is ready, or never will be; with the lock held."""
        work = self._work
        while work.queue.consumed not in work.ready and not work.is_closed:
            job = work.take_job() if self._works else None
            if job is None:
                # With a timeout, Ctrl-C is heard on Windows too.
                work.has_batch.wait(timeout=1.0)
                continue
            work.lock.release()
            try:
                work.do(job)
            finally:
                work.lock.acquire()
                work.n_active -= 1

    def close(self) -> None:
        """End the threads; twice does no harm."""
        self._finalizer()

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
