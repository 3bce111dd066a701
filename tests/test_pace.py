"""Who makes batches: threads of the stream, whoever waits for it, or both."""

import threading
import time

import numpy as np
import pytest

import zarrts
from zarrts.loading import pace, stream
from zarrts.loading.pace import JobClock, Pace

BIG_S, SMALL_S = 10 * pace._LEAST_SHARED_S, pace._LEAST_SHARED_S / 10


def after(*, waited, away, work, n_batches=50, n_threads=4):
    """Return the pace of a consumer that took batches so."""
    found, now = Pace(n_threads, max_ready=8), time.perf_counter()
    for _ in range(n_batches):
        found.note_work(work)
        found.note_taken(now + away, now + away + waited)
        now += away + waited
    return found


def in_another_thread(make):
    found = []
    thread = threading.Thread(target=lambda: found.append(make()))
    thread.start()
    thread.join()
    return found[0]


def test_all_threads_work_for_a_consumer_that_is_away():
    found = after(waited=SMALL_S, away=BIG_S, work=SMALL_S)
    assert not found.consumer_works and found.most_own == found.n_started == 4


def test_a_consumer_that_waits_does_a_share_of_large_batches():
    found = after(waited=BIG_S, away=SMALL_S, work=BIG_S)
    assert found.consumer_works and not found.is_alone and found.most_own == 3


def test_a_consumer_that_waits_makes_small_batches_alone():
    found = after(waited=2 * SMALL_S, away=SMALL_S, work=SMALL_S)
    assert found.is_alone and found.most_own == 0


def test_a_consumer_in_a_thread_of_its_own_works_from_the_start_and_is_a_thread_less():
    found = in_another_thread(lambda: after(waited=0, away=1, work=BIG_S, n_batches=0))
    assert found.consumer_works and found.n_started == 3 and not found.is_alone
    found = in_another_thread(lambda: after(waited=SMALL_S, away=1, work=BIG_S))
    assert found.consumer_works and found.most_own == 3


def test_the_latest_batches_count():
    found = after(waited=2 * SMALL_S, away=SMALL_S, work=SMALL_S)
    found.note_work(BIG_S * 100)
    found.note_taken(0, BIG_S)
    assert not found.is_alone


def test_fewer_threads_work_the_more_batches_are_ready():
    found = Pace(4, max_ready=8)
    most = []
    for n_ready in range(9):
        found.note_ready(n_ready)
        most.append(found.most_active)
    assert most[0] == 4 and most[-1] == 1 and most == sorted(most, reverse=True)


def test_waits_are_added_up():
    assert after(waited=0.25, away=1, work=0, n_batches=4).waited_s == pytest.approx(1)


def test_waiting_for_a_disk_counts_and_waiting_for_the_interpreter_does_not(monkeypatch):
    monkeypatch.setattr(pace, "_WORK_CLOCK", time.thread_time)
    reading, planning = JobClock(may_wait=True), JobClock(may_wait=False)
    time.sleep(0.05)
    assert reading.lap() > 0.04
    if time.get_clock_info("thread_time").resolution < 1e-4:
        assert planning.lap() < 0.04


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    rows = zarrts.Recording("a", rng.normal(size=(4000, 2)).astype("f4"), np.arange(4000) % 3)
    zarrts.convert([rows], tmp_path / "a.zarr", kind="ragged", progress=False).close()
    with zarrts.open(tmp_path / "a.zarr") as opened:
        yield opened


def test_small_batches_are_made_by_whoever_loops_over_them(store, monkeypatch):
    doers, do = [], stream._Work.do

    def noting(work, job):
        doers.append(threading.current_thread())
        do(work, job)

    monkeypatch.setattr(stream._Work, "do", noting)
    monkeypatch.setattr(pace, "_LEAST_SHARED_S", 1.0)  # small, whatever the machine
    samples = store.samples.windows(10, 1, label="next")
    ids = [batch.sample_id for batch in samples.batches(4, workers=3)]
    assert sorted(np.concatenate(ids)) == sorted(samples.ids)
    assert doers.count(threading.main_thread()) > len(doers) / 2


def test_a_transform_that_waits_is_waited_for_by_several_threads(store):
    """It takes hardly any processor time, so that batches would look small."""
    doers = set()

    def wait(batch, rng):
        doers.add(threading.current_thread())
        time.sleep(0.002)
        return batch

    samples = store.samples.windows(10, 10, label="next")
    assert len(list(samples.batches(4, workers=3, transform=wait))) == 100
    assert len(doers) > 1


def test_the_consumer_goes_on_where_its_threads_may_not(store, monkeypatch):
    """It waited for one that was at work when batches turned out to be small."""
    decode = stream._Work._decode

    def last_of_threads(work, job, clock):
        monkeypatch.setattr(stream._Work, "_decode", decode)
        while not work.has_batch._waiters:
            time.sleep(0.001)
        work.pace.consumer_works = True
        decode(work, job, clock)

    monkeypatch.setattr(stream, "_LISTENS_S", 60.0)
    monkeypatch.setattr(stream._Work, "_decode", last_of_threads)
    monkeypatch.setattr(Pace, "note_work", lambda pace, seconds: None)
    batches = store.samples.windows(10, 10, label="next").batches(4, workers=1)
    assert len(list(batches)) == 100
    assert batches.waited_s < 30, "nobody woke it"
