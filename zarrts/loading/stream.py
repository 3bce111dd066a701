"""The stream of batches: decode units ahead into reused memory, gather batches from it.

One lock guards the bookkeeping of a stream; threads of our own read, decode, gather and finish
outside it. The memory of open units lives as long as the loader, because touching fresh memory
is ten times slower than decoding into old. A batch that was handed out is the consumer's: its
memory is used again once nothing refers to it.
"""

import contextlib
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from zarrts.errors import ReadError
from zarrts.loading.finish import Finish
from zarrts.loading.gathering import Building, Gatherer
from zarrts.loading.schedule import Decode, Gather, Job, Plan, Schedule
from zarrts.ordering.order import Order, Piece
from zarrts.reading.memory import BatchMemory, UnitMemory
from zarrts.reading.read_ahead import PlacesAhead
from zarrts.reading.sample_reader import SampleReader
from zarrts.samples.units import format_ids
from zarrts.types import Batch

_PLANNED_PIECES, _PLANNED_SAMPLES = 32, 2048
_ADVISED_AHEAD, _ADVISED_FOR = 24, 256
_WARM_BYTES_PER_S = 1e9  # of x, in one thread: slower means that the disk was waited for


class _Work:
    """The bookkeeping of one stream. `lock` guards every attribute below it."""

    def __init__(
        self,
        order: Order,
        reader: SampleReader,
        memory: UnitMemory,
        batches: BatchMemory,
        finish: Finish,
        epoch: int,
        first_batch: int,
        max_ready: int,
        fetched_bytes: int,
        skips_damage: bool,
    ) -> None:
        self.skips_damage = skips_damage
        self.order, self.reader = order, reader
        self.units, self.readers = reader.units, reader.readers
        self.memory, self.finish, self.max_ready = memory, finish, max_ready
        self.batches, self.epoch = batches, epoch
        self.gatherer = Gatherer(reader, memory, finish)
        # Reentrant, because a collection of garbage may close the stream from under it.
        self.lock = threading.RLock()
        self.has_job = threading.Condition(self.lock)
        self.has_batch = threading.Condition(self.lock)
        self.is_closed = False
        self.error: BaseException | None = None
        self.consumed = first_batch  # batches before this one were handed out
        self.planned = first_batch  # batches before this one are in `pending` or beyond
        self.is_planning = False
        self.pending: deque[Gather] = deque()
        self.gathering: list[int] = []  # limit of each piece that is being gathered
        self.limit = 0  # places below may be decoded once nothing is gathered
        self.next_place = -1  # the next to decode; unknown before the first piece
        self.opened = 0  # all places below are decoded
        self.schedule = Schedule(order, reader, memory, finish.lengths)
        self.ahead: PlacesAhead | None = None  # where the store is remote
        if self.readers.is_remote:
            arrays = (self.readers.x, self.readers.y)
            self.ahead = PlacesAhead(arrays, order.n_places, fetched_bytes)
        self.advised_left = 0  # how many more units to read ahead, because reading was slow
        self.decoding: dict[int, tuple[int, list[int]]] = {}  # slot: unit, places that wait for it
        self.decoded: set[int] = set()  # places at or above `opened` that are decoded
        self.building: dict[int, Building] = {}
        self.ready: dict[int, Batch] = {}
        self.warnings: list[str] = []  # that the consumer has not given yet

    # With the lock held ------------------------------------------------------------------

    def take_job(self) -> Job | None:
        """Return what is most urgent, or None if there is nothing to do just now."""
        if self._can_gather():
            return self._take_gather()
        decode = self._take_decode()
        if decode is not None:
            return decode
        # Units that were there already may be all that the next piece waited for.
        if self._can_gather():
            return self._take_gather()
        wants_plan = self.planned < self.order.batching.n_batches
        if wants_plan and not self.is_planning and len(self.pending) < _PLANNED_PIECES:
            self.is_planning = True
            return Plan()
        return None

    def _can_gather(self) -> bool:
        if not self.pending:
            return False
        piece = self.pending[0].piece
        return piece.high <= self.opened and piece.batch < self.consumed + self.max_ready

    def _take_gather(self) -> Gather:
        gather = self.pending.popleft()
        self.limit = self._limit_of(gather.piece)
        self.gathering.append(self.limit)
        if gather.piece.batch not in self.building:
            self.building[gather.piece.batch] = self.gatherer.begin(gather, self.batches)
        return gather

    def _take_decode(self) -> Decode | None:
        """Take the next unit that is not there yet, if the slot that it gets is free."""
        limit = self.limit
        if self.gathering:
            limit = min(self.gathering)
        elif self.pending:
            limit = self._limit_of(self.pending[0].piece)
        while 0 <= self.next_place < min(limit, self.order.n_places):
            decode = self.schedule[self.next_place]
            unit, waiting = self.decoding.get(decode.slot, (decode.unit, None))
            if unit != decode.unit:
                return None  # the slot was of a place that nobody needs any more: not for long
            self.next_place += 1
            if waiting is not None:
                waiting.append(decode.place)
            elif self.memory.held[decode.slot] == decode.unit:
                self._mark_decoded(decode.place)
            else:
                self.memory.held[decode.slot] = -1
                self.decoding[decode.slot] = decode.unit, [decode.place]
                if self.ahead is not None:
                    self._ask_ahead(self.ahead, decode)
                return decode
        return None

    def _limit_of(self, piece: Piece) -> int:
        """Return the first place that must not be decoded while a piece is gathered."""
        if self.memory.keeps_all:
            return self.order.n_places
        return piece.low + self.memory.slots if piece.limit is None else piece.limit

    def _ask_ahead(self, ahead: PlacesAhead, decode: Decode) -> None:
        """Ask a remote store for what will be decoded next; nobody waits for it here."""
        coming = {it: self.schedule[it] for it in ahead.next_places(decode.place, decode.n_chunks)}
        held, labels = self.memory.held, self.memory.labels
        ahead.ask(0, {at: it for at, it in coming.items() if held[it.slot] != it.unit})
        if self.finish.target is not None and labels is not None:
            ahead.ask(1, {at: it for at, it in coming.items() if not labels.has(it.unit)})

    def _mark_decoded(self, place: int) -> None:
        self.decoded.add(place)
        if self.ahead is not None:
            self.ahead.forget(place)
        while self.opened in self.decoded:
            self.decoded.remove(self.opened)
            self.opened += 1

    # Without the lock --------------------------------------------------------------------

    def do(self, job: Job) -> None:
        """Do a job; take the lock only to say what came of it."""
        if isinstance(job, Decode):
            self._decode(job)
        elif isinstance(job, Gather):
            self._gather(job)
        else:
            self._plan()

    def _decode(self, job: Decode) -> None:
        x, y = self.readers.x[job.segment], self.readers.y[job.segment]
        started = time.perf_counter()
        elapsed = 0.0
        try:
            self.memory.read_x(x, job.chunk, job.n_chunks, job.slot, job.at)
            elapsed = time.perf_counter() - started
            labels = self.memory.labels
            if self.finish.target is not None and labels is not None:
                labels.read(y, job.chunk, job.n_chunks, job.unit, job.slot, job.at)
        except ReadError as error:
            if not self.skips_damage:
                raise
            self._leave_out(job.unit, error)
        ahead = None
        with self.lock:
            self.memory.held[job.slot] = job.unit
            for place in self.decoding.pop(job.slot)[1]:
                self._mark_decoded(place)
            # Asking for what the page cache holds already costs as much as a twentieth of
            # decoding it, so it is asked for only where reading was slow lately.
            is_slow = elapsed > job.n_chunks * x.spec.chunk_bytes / _WARM_BYTES_PER_S
            if is_slow and self.ahead is None:
                self.advised_left = _ADVISED_FOR
            if self.advised_left and job.place + _ADVISED_AHEAD < self.order.n_places:
                self.advised_left -= 1
                ahead = self.schedule[job.place + _ADVISED_AHEAD]
            self.has_job.notify_all()
        if ahead is not None:
            with contextlib.suppress(ReadError):  # which reading it will raise
                for chunk in range(ahead.chunk, ahead.chunk + ahead.n_chunks):
                    self.readers.x[ahead.segment].will_need(chunk)

    def _leave_out(self, unit: int, error: ReadError) -> None:
        """Note that the samples of a unit cannot be read; the consumer warns of it once."""
        low, high = self.units.edges(np.array([unit, unit + 1]))
        ids = self.units.selection.ids(np.arange(low, high))
        with self.lock:
            if unit not in self.memory.damaged:
                self.memory.damaged |= {unit}
                self.warnings.append(f"{error} Left out of every epoch: samples {format_ids(ids)}.")

    def _plan(self) -> None:
        batching = self.order.batching
        # Many at once, because work on short arrays costs as much as on longer ones.
        count = max(1, min(_PLANNED_SAMPLES // batching.batch_size, _PLANNED_PIECES))
        stop = min(self.planned + count, batching.n_batches)
        gathers = self.schedule.gathers(self.planned, stop)
        with self.lock:
            if self.next_place < 0:
                self.next_place = self.opened = gathers[0].piece.low
                self.limit = self._limit_of(gathers[0].piece)
            self.pending.extend(gathers)
            self.planned = stop
            self.is_planning = False
            self.has_job.notify_all()

    def _gather(self, job: Gather) -> None:
        piece = job.piece
        building = self.building[piece.batch]
        self.gatherer.gather(job, building)
        with self.lock:
            self.gathering.remove(self._limit_of(piece))
            building.missing -= piece.stop - piece.start
            is_whole = building.missing == 0
            self.has_job.notify_all()
        if is_whole:
            batch, stored = building.batch()
            if len(batch.sample_id):
                if self.finish.target is not None:
                    stored = self.reader.cut.reduced(stored)
                batch = self.finish.complete(batch, stored, self.epoch, piece.batch)
            with self.lock:
                del self.building[piece.batch]
                self.ready[piece.batch] = batch
                self.has_batch.notify_all()


def _work(work: _Work) -> None:
    """Do jobs until the stream is closed: what each of its threads runs."""
    while True:
        with work.lock:
            job = None
            while not work.is_closed and (job := work.take_job()) is None:
                work.has_job.wait()
            if job is None:
                return
        try:
            work.do(job)
        except BaseException as error:  # it has to reach the consumer, whatever it is
            with work.lock:
                work.error = work.error or error
                work.is_closed = True
                work.has_batch.notify_all()
                work.has_job.notify_all()
            return


def _close(work: _Work, threads: Sequence[threading.Thread]) -> None:
    with work.lock:
        work.is_closed = True
        work.has_job.notify_all()
        work.has_batch.notify_all()
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()
    work.ready.clear()  # after the last thread, which may have finished a batch meanwhile


class BatchStream(Iterator[Batch]):
    """Batches of one epoch, in order, read ahead by threads.

    Its threads end when it is exhausted, closed, dropped, or when one of them fails; then the
    error is raised where the next batch is asked for.
    """

    def __init__(
        self,
        order: Order,
        reader: SampleReader,
        memory: UnitMemory,
        batches: BatchMemory,
        finish: Finish,
        *,
        epoch: int,
        first_batch: int,
        max_ready: int,
        n_threads: int,
        fetched_bytes: int = 0,
        skips_damage: bool = False,
    ) -> None:
        self._work = _Work(
            order,
            reader,
            memory,
            batches,
            finish,
            epoch,
            first_batch,
            max_ready,
            fetched_bytes,
            skips_damage,
        )
        self.waited_s = 0.0  # how long batches were waited for, in all
        threads = [
            threading.Thread(target=_work, args=(self._work,), name="zarrts-loader", daemon=True)
            for _ in range(n_threads)
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
        work = self._work
        if work.consumed >= work.order.batching.n_batches:
            self.close()
            raise StopIteration
        with work.lock:
            started = time.perf_counter()
            while work.consumed not in work.ready and not work.is_closed:
                # With a timeout, Ctrl-C is heard on Windows too.
                work.has_batch.wait(timeout=1.0)
            self.waited_s += time.perf_counter() - started
            batch = work.ready.pop(work.consumed, None)
            if batch is not None:
                work.consumed += 1
                work.has_job.notify_all()
            messages, work.warnings = work.warnings, []
        for message in messages:
            warnings.warn(message, stacklevel=3)
        if batch is None:
            self.close()
            if isinstance(work.error, StopIteration):  # which would end the epoch early
                raise RuntimeError("transform raised StopIteration") from work.error
            if work.error is not None:
                raise work.error
            raise StopIteration
        if work.consumed == work.order.batching.n_batches:
            self.close()
        return batch

    def close(self) -> None:
        """End the threads; twice does no harm."""
        self._finalizer()

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
