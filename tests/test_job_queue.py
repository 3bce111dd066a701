"""The promises of the jobs of a stream, whatever order its threads finish them in."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import whole

from zarrts.loading.job_queue import JobQueue
from zarrts.loading.schedule import Decode, Gather
from zarrts.ordering.order import Batching, SourceOrder
from zarrts.ordering.rolling import RollingOrder
from zarrts.ordering.uniform import UniformOrder
from zarrts.reading.memory import PlacedUnit
from zarrts.reading.memory_plan import MemoryPlan


def order_of(kind, units, batching, plan):
    if kind == "source":
        return SourceOrder(units, batching, max_units=plan.max_steps)
    if kind == "uniform":
        return UniformOrder(units, batching, seed=3, epoch=0, max_samples=max(1, plan.slots // 2))
    if kind == "uniform in memory":
        most = None if units.n_units <= plan.slots else 1
        return UniformOrder(units, batching, seed=3, epoch=0, max_samples=most)
    return RollingOrder(units, batching, span=plan.span, seed=3, epoch=0, max_steps=plan.max_steps)


class Threads:
    """Plays the threads of a stream: `slots` is what lies in memory, `gathered` what came out."""

    def __init__(self, order, n_slots, first_batch, **options):
        self.order, self.first_batch, self.max_ready = order, first_batch, options["max_ready"]
        self.units = order.units(0, order.n_places).tolist()
        keeps_all = len(set(self.units)) <= n_slots
        seats = {unit: seat for seat, unit in enumerate(sorted(set(self.units)))}
        self.slot_of = [
            seats[unit] if keeps_all else place % n_slots for place, unit in enumerate(self.units)
        ]
        schedule = [
            PlacedUnit(place, unit, slot, 0, unit, 1, 0)
            for place, (unit, slot) in enumerate(zip(self.units, self.slot_of, strict=True))
        ]
        self.slots = [None] * n_slots
        memory = SimpleNamespace(
            held=np.full(n_slots, -1), slots=n_slots, keeps_all=keeps_all, labels=None
        )
        self.queue = JobQueue(order, schedule, memory, first_batch, **options)
        self.busy, self.gathered, self.missing = [], [], {}

    def assert_open(self, piece):
        for place in piece.places.tolist():
            assert self.slots[self.slot_of[place]] == self.units[place]

    def begin(self):
        """Take a job, if there is one."""
        job = self.queue.take()
        if job is None:
            return False
        if isinstance(job, Decode):
            for it in job.units:
                assert self.slots[it.slot] != it.unit, "decoded although it is there"
                self.slots[it.slot] = None
        elif isinstance(job, Gather):
            assert job.piece.batch < self.queue.consumed + self.max_ready
            self.assert_open(job.piece)
        self.busy.append(job)
        return True

    def finish(self, number):
        """Finish one of the jobs under way."""
        job = self.busy.pop(number)
        if isinstance(job, Decode):
            for it in job.units:
                self.slots[it.slot] = it.unit
                self.queue.note_decoded(it, is_slow=False)
        elif isinstance(job, Gather):
            self.assert_open(job.piece)
            self.gathered.extend(job.piece.numbers.tolist())
            start, stop = self.order.batching.bounds(job.piece.batch)
            left = self.missing.get(job.piece.batch, stop - start)
            self.missing[job.piece.batch] = left - len(job.piece.numbers)
            self.queue.note_gathered(job)
        else:
            batches = range(job.start, job.stop)
            pieces = [piece for batch in batches for piece in self.order.pieces(batch)]
            self.queue.note_planned(job, [Gather(it, *[None] * 5, 0) for it in pieces])

    def consume(self):
        """Take the next batch, if it is whole."""
        if self.missing.get(self.queue.consumed) != 0:
            return False
        self.queue.consumed += 1
        return True


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(["source", "rolling", "uniform", "uniform in memory"]),
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(3, 24),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_a_piece_is_gathered_from_open_units_and_nothing_is_left(
    kind, n_samples, chunk_rows, batch_size, n_slots, n_threads, random
):
    plan = MemoryPlan.of(int(n_slots / 0.8) + 1, 1)
    batching = Batching(n_samples=n_samples, batch_size=batch_size)
    order = order_of(kind, whole(n_samples, chunk_rows, 1), batching, plan)
    first = random.randrange(batching.n_batches)
    options = {
        "max_ready": random.randint(1, 3),
        "decoded_at_once": random.randint(1, 5),
        "n_threads": n_threads,
    }
    threads = Threads(order, plan.slots, first, **options)
    while threads.queue.consumed < batching.n_batches:
        moves = [threads.consume]
        if len(threads.busy) < n_threads:
            moves.append(threads.begin)
        if threads.busy:
            moves.append(lambda: threads.finish(random.randrange(len(threads.busy))) or True)
        random.shuffle(moves)
        assert any(move() for move in moves), "nobody can go on"
    assert threads.queue.take() is None and not threads.busy
    wanted = [
        number
        for batch in range(first, batching.n_batches)
        for piece in order.pieces(batch)
        for number in piece.numbers.tolist()
    ]
    assert sorted(threads.gathered) == sorted(wanted)


def test_an_epoch_resumed_near_its_end_decodes_what_its_batches_need_and_no_more():
    batching = Batching(n_samples=38, batch_size=7)
    order = order_of("uniform in memory", whole(38, 2, 1), batching, MemoryPlan.of(26, 1))
    last = batching.n_batches - 1
    options = {"max_ready": 1, "decoded_at_once": 1, "n_threads": 40}
    threads = Threads(order, 19, last, **options)
    assert threads.begin(), "the plan"
    threads.finish(0)
    while threads.begin():
        pass
    needed = max(piece.high for piece in order.pieces(last))
    assert needed < order.n_places
    assert {it.place for job in threads.busy for it in job.units} == set(range(needed))
