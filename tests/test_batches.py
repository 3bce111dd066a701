"""From a folder of files to batches, through a real store: nothing lost, mixed up or left open."""

import dataclasses
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from chunk_reads import note_reads, tell_of_reads
from conftest import make_study
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_threads import loader_threads, no_threads_stay

import zarrts
from zarrts.errors import ReadError, SampleError
from zarrts.loading import stream
from zarrts.loading.epochs import Passes
from zarrts.loading.gathering import Gatherer
from zarrts.loading.job_queue import JobQueue
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions
from zarrts.reading.memory import UnitMemory

SIZES = (40, 7, 25, 1, 60)
N = sum(SIZES)
ROWS, SHARD_ROWS = 5, 25  # samples of a chunk, and of a shard
SAMPLE_BYTES = 6 * 3 * 4
UNIT_BYTES = ROWS * (SAMPLE_BYTES + 8)
SHUFFLES = [True, "global", False]
DEADLINE_S = 60
pytestmark = pytest.mark.timeout(120)

FITS, TIGHT = "1MiB", 6 * UNIT_BYTES  # all chunks fit; four chunks of 27, and batches of 15


def convert(study, target, **options):
    """Convert with chunks of 5 samples and shards of 25."""
    sample_bytes = study.x[0][0].size * 4
    options = {"chunk": ROWS * sample_bytes, "shard": SHARD_ROWS * sample_bytes} | options
    zarrts.convert(study.folder, target, progress=False, **options).close()
    return target


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return (study, path of its store) for each kind of labels, made when first asked for."""
    known = {}

    def get(labels="int"):
        if labels not in known:
            folder = tmp_path_factory.mktemp(labels)
            study = make_study(folder / "sources", sizes=SIZES, labels=labels)
            known[labels] = study, convert(study, folder / "store.zarr")
        return known[labels]

    return get


@pytest.fixture(autouse=True)
def nothing_is_left_open(made, no_leaks):
    """Every test here ends without threads and files of the loader."""


@pytest.fixture
def study(made, nothing_is_left_open):
    return made()[0]


@pytest.fixture
def store(made, nothing_is_left_open):
    with zarrts.open(made()[1]) as store:
        yield store


@pytest.fixture
def broken(made, tmp_path, nothing_is_left_open):
    """Return the folder of a store that a test may damage."""
    return shutil.copytree(made()[1], tmp_path / "broken.zarr")


def each(batches):
    """Yield the batches of a stream; one that hangs is closed, and so ends early."""
    watchdog = threading.Timer(DEADLINE_S, batches.close)
    watchdog.start()
    try:
        yield from batches
    finally:
        watchdog.cancel()
        watchdog.join()


def copied(batch):
    """Return (x, y, ids) as they are now."""
    return tuple(None if it is None else it.copy() for it in (batch.x, batch.y, batch.sample_id))


def snapshot(batches):
    """Return (x, y, ids) of every batch of a stream, copied at once."""
    return [copied(batch) for batch in each(batches)]


def same(one, other):
    return len(one) == len(other) and all(
        all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
        for left, right in zip(one, other, strict=True)
    )


# Every sample once, whole, and with its own label


@settings(deadline=None, max_examples=60)
@given(
    labels=st.sampled_from(["int", "bool", "one_hot", "float"]),
    memory_and_size=st.one_of(
        st.tuples(st.just(TIGHT), st.integers(1, 3)),
        st.tuples(st.just(8000), st.integers(1, 15)),
        st.tuples(st.just(40_000), st.integers(1, 90)),
        st.tuples(st.just(FITS), st.integers(1, 200)),
    ),
    shuffle=st.sampled_from(SHUFFLES),
    world_size=st.integers(1, 4),
    workers=st.integers(1, 4),
    chosen=st.sampled_from(["all", "subjects", "ids"]),
    seed=st.integers(0, 5),
)
def test_every_batch_holds_the_rows_of_its_ids_and_each_id_comes_once(
    made, labels, memory_and_size, shuffle, world_size, workers, chosen, seed
):
    study, path = made(labels)
    x, y = study.all_x, study.all_y
    memory, size = memory_and_size
    with zarrts.open(path) as store:
        samples = store.samples
        expected = np.arange(N)
        if chosen == "subjects":
            samples = samples.select(subjects=["s04", "s01"])
            expected = np.flatnonzero(np.isin(study.subject, ["s01", "s04"]))
        elif chosen == "ids":
            expected = np.flatnonzero(np.random.default_rng(seed).random(N) < 0.4)
            samples = samples.select(ids=np.random.default_rng(0).permutation(expected))
        found = []
        for rank in range(world_size):
            batches = samples.batches(
                size,
                shuffle=shuffle,
                seed=seed,
                epoch=seed,
                memory=memory,
                rank=rank,
                world_size=world_size,
                workers=workers,
            )
            for batch in each(batches):
                assert batch.x.dtype == x.dtype
                assert np.array_equal(batch.x, x[batch.sample_id])
                assert batch.y.dtype == y.dtype
                assert np.array_equal(batch.y, y[batch.sample_id])
                found.append(batch.sample_id)
        together = np.concatenate(found)
        assert np.array_equal(np.sort(together), expected)
        if not shuffle:
            assert np.array_equal(together, expected)


def test_text_labels_come_as_codes_of_the_class_names(made):
    study, path = made("text")
    with zarrts.open(path) as store:
        assert store.class_names == sorted(set(study.all_y.tolist()))
        for mode in ("raw", "int"):
            for batch in store.samples.batches(16, label_mode=mode):
                names = [store.class_names[code] for code in batch.y]
                assert names == study.all_y[batch.sample_id].tolist()


def test_without_labels_y_is_none(store):
    assert all(batch.y is None for batch in store.samples.batches(16, label_mode=None))


@pytest.mark.parametrize("dtype", ["float64", "int16", "uint8"])
@pytest.mark.parametrize("shape", [(4,), (6, 3), (3, 2, 5)])
def test_samples_of_any_shape_and_dtype_come_through(tmp_path, dtype, shape):
    study = make_study(tmp_path / "in", sizes=(20, 13), sample_shape=shape, dtype=dtype, seed=4)
    path = convert(study, tmp_path / "out.zarr", kind="dense", dtype="keep", chunk=1000, shard=3000)
    with zarrts.open(path) as store:
        assert store.sample_shape == shape
        for batch in store.samples.batches(7, memory=20_000):
            assert batch.x.dtype == dtype
            assert np.array_equal(batch.x, study.all_x[batch.sample_id])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("memory", [TIGHT, FITS])
def test_dtype_converts_every_value(study, store, dtype, memory):
    for batch in store.samples.batches(2, dtype=dtype, memory=memory):
        assert batch.x.dtype == dtype
        assert np.array_equal(batch.x, study.all_x[batch.sample_id].astype(dtype))


# Pure functions


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("memory", [TIGHT, FITS])
def test_batches_do_not_depend_on_the_number_of_threads(store, shuffle, memory):
    one, four, again = (
        snapshot(store.samples.batches(3, shuffle=shuffle, memory=memory, workers=workers))
        for workers in (1, 4, 4)
    )
    assert same(one, four)
    assert same(one, again)


@pytest.mark.parametrize("shuffle", [True, "global"])
def test_epochs_and_seeds_give_other_orders_of_the_same_samples(store, shuffle):
    orders = [
        np.concatenate(
            [it.sample_id for it in store.samples.batches(8, shuffle=shuffle, seed=s, epoch=e)]
        )
        for s in (0, 1)
        for e in (0, 1)
    ]
    assert len({tuple(it.tolist()) for it in orders}) == 4
    assert all(np.array_equal(np.sort(it), np.arange(N)) for it in orders)


def loader(store, **options):
    options = {"batch_size": 3, "memory": TIGHT, "label_mode": "raw"} | options
    return EpochLoader(store.samples.selection, BatchOptions(**options))


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("memory", [TIGHT, 2**20])
def test_a_batch_by_itself_and_a_stream_from_it_equal_the_stream(store, shuffle, memory):
    made = loader(store, shuffle=shuffle, memory=memory, workers=2)
    epochs = [snapshot(made.stream(epoch)) for epoch in (0, 1)]
    for epoch, index in ((1, 44), (0, 0), (1, 7), (0, 20)):
        assert same([copied(made.batch(epoch, index))], epochs[epoch][index : index + 1])
        assert same(snapshot(made.stream(epoch, index)), epochs[epoch][index:])
    made.close()
    assert same(snapshot(made.stream(0)), epochs[0])


# Whose memory it is


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("memory", [TIGHT, 2**20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_is_aligned_contiguous_and_nobody_elses(store, shuffle, memory, dtype):
    options = {"shuffle": shuffle, "memory": memory, "dtype": np.dtype(dtype)}
    expected = [snapshot(loader(store, **options).stream(epoch)) for epoch in (0, 1)]
    spoilt = loader(store, **options)
    kept = []
    for epoch in (0, 1):
        found = []
        for batch in spoilt.stream(epoch):
            assert batch.x.ctypes.data % 64 == 0
            for array in (batch.x, batch.y):
                assert array.flags.c_contiguous
                assert array.flags.writeable
            found.append(copied(batch))
            batch.x[:], batch.y[:], batch.sample_id[:] = -1, -1, -1
            kept.append(batch)
        assert same(found, expected[epoch])
    # What was handed out is not used again, either.
    assert all((batch.x == -1).all() and (batch.y == -1).all() for batch in kept)
    assert all((batch.sample_id == -1).all() for batch in kept)


def test_the_loader_stays_within_its_memory(tmp_path):
    study = make_study(tmp_path / "in", sizes=(3000, 3000), sample_shape=(64, 8), seed=1)
    path = convert(study, tmp_path / "out.zarr", chunk="32KiB", shard="1MiB")
    budget = 4 << 20
    assert study.all_x.nbytes > 2 * budget
    del study
    with zarrts.open(path) as store:
        next(store.samples.batches(32, memory=budget))  # what is allocated only once
        tracemalloc.start()
        for _ in store.samples.batches(32, memory=budget, workers=2):
            time.sleep(0.001)  # a consumer slower than the loader, which gets as far as it may
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # Beside it: compressed bytes in each thread, the index of each open file, the order.
    assert peak < budget + (1 << 20)


# Budgets


def test_too_little_memory_is_refused_with_what_is_enough(tmp_path):
    study = make_study(tmp_path / "in", sizes=(2000,), sample_shape=(64, 16))
    path = convert(study, tmp_path / "out.zarr", chunk="1MiB", shard="4MiB")
    with zarrts.open(path) as store:
        with pytest.raises(
            SampleError,
            match=r"memory=3MiB is too little .* of 1026KiB; raise memory to at least 3848KiB\.",
        ):
            store.samples.batches(1, memory="3MiB")
        list(store.samples.batches(100, memory="4MiB"))
        with pytest.raises(
            SampleError,
            match=r"One batch takes 4008KiB, .* leaves 1018KiB .* at least 20MiB, or lower",
        ):
            store.samples.batches(1000, memory="4MiB")
        list(store.samples.batches(1000, memory="20MiB"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, SampleError, "batch_size is 0"),
        ({"seed": -1}, SampleError, "seed=-1 has to be 0 or more"),
        ({"workers": 0}, SampleError, "workers=0 has to be at least 1"),
        ({"workers": -1}, SampleError, "workers=-1 has to be at least 1"),
        ({"shuffle": "yes"}, SampleError, "shuffle='yes' is unknown"),
        ({"world_size": 500}, SampleError, f"{N} samples cannot be shared by 500"),
        ({"rank": 3, "world_size": 2}, SampleError, "rank is 3"),
        ({"label_mode": "sparse"}, SampleError, "label_mode='sparse' is unknown"),
        ({"label_mode": "binary"}, SampleError, "needs two classes, but there are 3"),
        ({"memory": "lots"}, ValueError, "memory='lots' is not a size"),
        ({"batch_size": 200, "drop_last": True}, SampleError, f"{N} samples make no batch of 200"),
    ],
)
def test_batches_that_cannot_be_are_refused_before_a_thread_starts(store, options, error, message):
    with pytest.raises(error, match=message):
        store.samples.batches(**{"batch_size": 4} | options)
    assert loader_threads() == []


def test_a_chunk_is_decoded_once_an_epoch_and_never_again_where_all_fit(store, monkeypatch):
    read = note_reads(monkeypatch)
    tight = loader(store, workers=3)
    for epoch in (0, 1):
        list(tight.stream(epoch))
        assert len(read) == len(set(read))
        # Some may still be open from the epoch before.
        assert len(read) == 2 * 27 if epoch == 0 else len(read) >= 2 * 23
        read.clear()
    roomy = loader(store, memory=2**20, workers=3)
    for epoch in (0, 1):
        list(roomy.stream(epoch))
    assert len(read) == len(set(read)) == 2 * 27


# Transforms


def noisy(batch, rng):
    return dataclasses.replace(batch, x=batch.x + rng.standard_normal(batch.x.shape))


def test_a_transform_gets_the_same_randomness_whatever_the_threads(store):
    def noise(**options):
        plain = snapshot(store.samples.batches(8, **options))
        found = snapshot(store.samples.batches(8, transform=noisy, **options))
        return [a[0] - b[0] for a, b in zip(found, plain, strict=True)]

    one = noise(workers=1)
    for workers in (1, 4):
        again = noise(workers=workers)
        assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    # Another generator for every batch, epoch, seed and rank.
    drawn = [*one[:3], noise(epoch=1)[0], noise(seed=1)[0]]
    drawn += [noise(world_size=2, rank=rank)[0] for rank in (0, 1)][1:]
    for i, a in enumerate(drawn):
        assert all(abs(a - b).max() > 0.1 for b in drawn[:i])


def test_a_transform_gets_the_finished_batch(study, store):
    seen = []

    def look(batch, rng):
        seen.append(batch)
        return dataclasses.replace(batch, y=batch.y * 2)

    for batch in store.samples.batches(
        8, transform=look, label_mode="int", dtype="float64", workers=1
    ):
        codes = np.searchsorted([-2, 3, 7], study.all_y[batch.sample_id])
        assert np.array_equal(batch.y, 2 * codes)
    assert all(it.x.dtype == np.float64 and it.y.dtype == np.int32 for it in seen)


def fail_at_77(batch, rng):
    if 77 in batch.sample_id:
        raise ZeroDivisionError("sample 77")
    return batch


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_in_a_transform_reaches_the_caller_and_ends_the_threads(store, workers):
    batches = store.samples.batches(8, shuffle=False, transform=fail_at_77, workers=workers)
    with pytest.raises(ZeroDivisionError, match="sample 77"):
        list(batches)
    assert batches.is_closed
    assert loader_threads() == []
    with pytest.raises(ZeroDivisionError):  # and not the end of an epoch
        next(batches)


def in_another_thread(call):
    """Return what a call returns, or raise what it raises, in a thread as tf.data has them."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(DEADLINE_S)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("memory", [TIGHT, FITS])
def test_who_waits_in_another_thread_works_too(store, monkeypatch, workers, shuffle, memory):
    def batches():
        return store.samples.batches(8, shuffle=shuffle, memory=memory, workers=workers)

    doers = set()
    do = stream._Work.do

    def noting(work, job):
        doers.add(threading.current_thread().name)
        do(work, job)

    expected = snapshot(batches())
    monkeypatch.setattr(stream._Work, "do", noting)
    n_epochs = 0
    while n_epochs < 3 or not any(it.startswith("ThreadPool") for it in doers):
        assert same(in_another_thread(lambda: snapshot(batches())), expected)
        assert loader_threads() == []
        n_epochs += 1
        assert n_epochs < 100
        if workers == 1:  # of which its own thread may have all
            break


def in_main_thread_too(monkeypatch, make, is_enough):
    """Iterate over `make()` again and again until the main thread did a job and it is enough."""
    doers, do = [], stream._Work.do

    def noting(work, job):
        doers.append(threading.current_thread())
        do(work, job)

    monkeypatch.setattr(stream._Work, "do", noting)
    for _ in range(100):
        found = snapshot(make())
        if threading.main_thread() in doers and is_enough():
            return found
    raise AssertionError("the main thread only waits")


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_who_only_waits_in_the_main_thread_works_too(store, monkeypatch, workers, shuffle):
    def batches():
        return store.samples.batches(8, shuffle=shuffle, memory=TIGHT, workers=workers)

    expected = snapshot(batches())
    assert same(in_main_thread_too(monkeypatch, batches, lambda: True), expected)
    assert loader_threads() == []


def test_settings_of_numpy_in_the_main_thread_are_not_those_of_jobs(store, monkeypatch):
    """Or a transform would fail in some batches, and by chance in others."""
    seen = []

    def tell(batch, rng):
        seen.append((threading.current_thread(), np.geterr()["over"]))
        return batch

    def batches():
        return store.samples.batches(8, memory=TIGHT, workers=2, transform=tell)

    def is_enough():
        return any(thread is threading.main_thread() for thread, _ in seen)

    with np.errstate(over="raise"):
        in_main_thread_too(monkeypatch, batches, is_enough)
    assert {over for _, over in seen} == {"warn"}


def test_a_thread_that_collects_a_dropped_stream_does_not_wait_for_the_others(store, monkeypatch):
    """They wait for the lock that it holds, and the loader waits for all before it goes on."""
    is_dropped, has_collected = threading.Event(), threading.Event()
    gather, note_gathered = Gatherer.gather, JobQueue.note_gathered

    def is_own():
        return threading.current_thread().name == "zarrts-loader"

    def waiting(gatherer, job, building):
        gather(gatherer, job, building)
        if job.piece.batch and is_own():  # the first is to be taken before
            is_dropped.wait(DEADLINE_S)

    def collecting(queue, job):  # with the lock held
        if is_own() and is_dropped.is_set() and not has_collected.is_set():
            has_collected.set()
            gc.collect()
        note_gathered(queue, job)

    made = loader(store, workers=4)
    expected = snapshot(made.stream(1))
    monkeypatch.setattr(Gatherer, "gather", waiting)
    monkeypatch.setattr(JobQueue, "note_gathered", collecting)
    gc.disable()
    try:
        dropped = made.stream(0)
        next(dropped)
        cycle = [dropped]
        cycle.append(cycle)
        del dropped, cycle
        is_dropped.set()
        assert has_collected.wait(DEADLINE_S)
    finally:
        gc.enable()
    assert same(snapshot(made.stream(1)), expected)
    made.close()
    assert loader_threads() == []


def test_ctrl_c_before_all_threads_are_started_ends_those_that_are(store, monkeypatch):
    start, n_started = threading.Thread.start, []

    def interrupted(thread):
        if thread.name == "zarrts-loader":
            if len(n_started) == 2:
                raise KeyboardInterrupt
            n_started.append(1)
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.samples.batches(8, workers=4)
    assert loader_threads() == []


def test_ctrl_c_in_a_job_of_the_main_thread_ends_the_stream(store, monkeypatch):
    do, n_left = stream._Work.do, [0]

    def interrupted(work, job):
        if threading.current_thread() is threading.main_thread():
            n_left[0] -= 1
            if n_left[0] == 0:
                raise KeyboardInterrupt
        do(work, job)

    monkeypatch.setattr(stream._Work, "do", interrupted)
    expected = snapshot(store.samples.batches(8, memory=TIGHT, workers=2))
    n_interrupted = 0
    for n_jobs in [1, 2, 5] * 30:
        n_left[0] = n_jobs
        batches = store.samples.batches(8, memory=TIGHT, workers=2)
        try:
            list(batches)
        except KeyboardInterrupt:
            n_interrupted += 1
            assert batches.is_closed
            assert loader_threads() == []
        n_left[0] = 0
        assert same(snapshot(store.samples.batches(8, memory=TIGHT, workers=2)), expected)
    assert n_interrupted


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_where_the_waiting_thread_works_ends_the_threads(store, workers):
    batches = in_another_thread(
        lambda: store.samples.batches(8, shuffle=False, transform=fail_at_77, workers=workers)
    )
    with pytest.raises(ZeroDivisionError, match="sample 77"):
        in_another_thread(lambda: list(batches))
    assert batches.is_closed
    assert loader_threads() == []


def test_a_transform_that_returns_no_batch_is_a_type_error(store):
    batches = store.samples.batches(8, transform=lambda batch, rng: batch.x)
    with pytest.raises(TypeError, match=r"transform returned ndarray, .* return a Batch"):
        next(batches)


# The end of a stream


@pytest.mark.parametrize("n_taken", [0, 1, 5])
def test_a_dropped_iterator_ends_its_threads(store, n_taken):
    batches = store.samples.batches(2, memory=TIGHT, workers=4)
    for _ in range(n_taken):
        next(batches)
    assert len(loader_threads()) == 4
    del batches
    gc.collect()
    assert no_threads_stay()


def test_to_drop_a_stream_waits_for_no_lock_that_its_threads_wait_for(store):
    """Garbage may be collected anywhere, such as where threads begin and end, which locks too."""
    lock, is_waiting = threading.Lock(), threading.Event()

    def locking(batch, rng):
        is_waiting.set()
        with lock:
            return batch

    with lock:
        dropped = store.samples.batches(8, workers=2, transform=locking)
        assert is_waiting.wait(DEADLINE_S)
        del dropped  # within this lock
        gc.collect()
    assert no_threads_stay()


def test_threads_end_whoever_holds_the_lock_of_a_dropped_stream(store, monkeypatch):
    monkeypatch.setattr(stream, "_LISTENS_S", 0.05)
    dropped = store.samples.batches(8, workers=2)
    lock = dropped._work.lock
    is_held, is_dropped = threading.Event(), threading.Event()

    def hold():
        with lock:
            is_held.set()
            is_dropped.wait(DEADLINE_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(DEADLINE_S)
    del dropped
    gc.collect()
    is_dropped.set()
    holder.join()
    assert no_threads_stay()


AT_EXIT = """
import os, sys, time
import zarrts
def telling(batch, rng):
    os.write(1, b"(")
    time.sleep(0.2)
    os.write(1, b")")
    return batch
store = zarrts.open(sys.argv[1])
batches = store.samples.batches(8, workers=3, transform=telling)
next(batches)
if sys.argv[2] == "dropped":
    del batches
"""


@pytest.mark.parametrize("stream", ["dropped", "kept"])
def test_the_end_of_the_interpreter_waits_for_threads_that_work(made, stream):
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(made()[1]), stream], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("(") == done.stdout.count(")") > 1


IN_A_CHILD = """
import os, sys
import zarrts
store = zarrts.open(sys.argv[1])
batches = store.samples.batches(8, workers=3)
next(batches)
child = os.fork()
if child == 0:
    try:
        next(batches)
    except zarrts.SampleError as error:
        print(error, flush=True)
    batches.close()
    print(len(list(store.samples.batches(8, workers=3))), flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(list(batches)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process cannot be forked here")
def test_a_forked_child_cannot_go_on_with_batches_but_begin_others(made):
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", IN_A_CHILD]
    done = subprocess.run(
        [*command, str(made()[1])], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    said, of_child, of_parent = done.stdout.splitlines()
    assert said.endswith("begin them here.")
    assert (int(of_child), int(of_parent)) == (-(-N // 8), -(-N // 8) - 1)


def test_a_close_that_ctrl_c_broke_off_can_be_finished(store, monkeypatch):
    is_at_work, may_end = threading.Event(), threading.Event()

    def waiting(batch, rng):
        is_at_work.set()
        may_end.wait(DEADLINE_S)
        return batch

    def interrupted(threads):
        raise KeyboardInterrupt

    batches = store.samples.batches(8, workers=2, transform=waiting)
    assert is_at_work.wait(DEADLINE_S)
    with monkeypatch.context() as patched:
        patched.setattr(stream, "join_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batches.close()
    assert loader_threads()
    may_end.set()
    batches.close()
    assert loader_threads() == []


def test_a_stream_waits_for_the_threads_of_one_whose_start_was_broken_off(store, monkeypatch):
    """Its memory is theirs until then."""
    is_at_work, may_end = threading.Event(), threading.Event()
    read_first, start = UnitMemory.read_first, threading.Thread.start

    def waiting(memory, units, y):
        is_at_work.set()
        may_end.wait(DEADLINE_S)
        return read_first(memory, units, y)

    def interrupted(*_):
        raise KeyboardInterrupt

    def start_one(thread):
        start(thread)
        if thread.name == "zarrts-loader":
            assert is_at_work.wait(DEADLINE_S)
            raise KeyboardInterrupt

    made = loader(store, workers=3)
    expected = snapshot(loader(store, workers=3).stream(1))
    monkeypatch.setattr(UnitMemory, "read_first", waiting)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_one)
        patched.setattr(stream, "join_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made.stream(0)
    (left,) = loader_threads()
    threading.Timer(0.2, may_end.set).start()
    assert same(snapshot(made.stream(1)), expected)
    assert not left.is_alive()
    made.close()


def test_a_pass_that_ends_while_others_are_asked_frees_what_it_read_ahead(store):
    passes = Passes(loader(store, workers=2))
    current = passes.begin()
    passes.take(current)
    with passes._locked():  # as somebody else may have
        passes.end(current)
        assert loader_threads()
    assert no_threads_stay()
    passes.close()


def test_an_exhausted_iterator_has_ended_its_threads(store):
    batches = store.samples.batches(8, workers=2)
    assert len(list(batches)) == -(-N // 8)
    assert loader_threads() == []
    assert list(batches) == []


def test_leaving_the_block_closes_and_closing_twice_does_no_harm(store):
    with store.samples.batches(2, memory=TIGHT, workers=2) as batches:
        next(batches)
    assert batches.is_closed
    assert loader_threads() == []
    batches.close()


def test_breaking_off_one_epoch_does_not_touch_the_next(store):
    expected = snapshot(loader(store).stream(1))
    for n_taken in (0, 1, 4, 30):
        made = loader(store, workers=3)
        batches = made.stream(0)
        for _ in range(n_taken):
            next(batches)
        assert same(snapshot(made.stream(1)), expected)
        assert batches.is_closed


@pytest.mark.parametrize(
    ("n_batches", "workers"),
    [(1, 1), (1, 4), (2, 1), (2, 4), (3, 1)],
)
def test_an_epoch_of_few_batches_comes_again_from_memory(store, n_batches, workers):
    made = loader(store, memory=2**20, batch_size=-(-N // n_batches), workers=workers)
    for epoch in range(3):
        assert len(snapshot(made.stream(epoch))) == n_batches


def test_samples_in_source_order_are_kept_for_whoever_comes_again(store, monkeypatch):
    read = note_reads(monkeypatch)
    monkeypatch.setattr("zarrts.loading.loader._SOURCE_ORDER_SLOTS", 4)
    n_read = {}
    for memory in (TIGHT, FITS):
        made = loader(store, memory=memory, shuffle=False)
        found = []
        for _ in range(4):
            read.clear()
            found.append(snapshot(made.stream(0)))
            n_read.setdefault(memory, []).append(len([it for it in read if it[0].endswith("/x")]))
        assert all(same(one, found[0]) for one in found)
        made.close()
        read.clear()
        snapshot(made.stream(0))
        assert len(read) == 2 * 27  # what was kept is gone
    # Through few slots once, kept the next time, and from memory after that.
    assert n_read[FITS] == [27, 27, 0, 0]
    assert min(n_read[TIGHT]) >= 23


@pytest.mark.parametrize("memory", [TIGHT, 8000, FITS])
@pytest.mark.parametrize("size", [1, 3])
def test_one_thread_is_enough_for_the_exact_shuffle(store, memory, size):
    batches = store.samples.batches(size, shuffle="global", memory=memory, workers=1)
    assert len(snapshot(batches)) == -(-N // size)


def test_the_exact_shuffle_decodes_no_chunk_that_is_read_at_the_same_time(store, monkeypatch):
    read = []

    def slow(*of_chunk):
        read.append(of_chunk)
        time.sleep(0.002)

    tell_of_reads(monkeypatch, slow)
    list(each(store.samples.batches(8, shuffle="global", memory=FITS, workers=4)))
    assert len(read) == len(set(read)) == 2 * 27


def test_a_closed_stream_gives_no_more_batches(store):
    is_ready = threading.Event()

    def tell(batch, rng):
        if 20 in batch.sample_id:
            is_ready.set()
        return batch

    batches = store.samples.batches(8, shuffle=False, transform=tell, workers=1)
    next(batches)
    assert is_ready.wait(60)  # batch 2 is being finished, so batch 1 is there
    batches.close()
    assert list(batches) == []


def test_a_transform_that_runs_out_of_something_does_not_end_the_epoch(store):
    def run_out(batch, rng):
        return next(iter([])) if 50 in batch.sample_id else batch

    batches = store.samples.batches(8, shuffle=False, transform=run_out)
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(batches)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted on Linux")
def test_a_dropped_store_closes_its_files(made):
    def count():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = count()
    store = zarrts.open(made()[1])
    store.samples.load()
    assert count() > before
    del store
    after = count()
    with zarrts.open(made()[1]) as store:  # never runs out of descriptors in a notebook
        store.samples.load()
    assert after == before


def test_a_closed_store_opens_its_files_again(study, store):
    batches = store.samples.batches(2, memory=TIGHT)
    for batch in batches:
        store.close()
        assert np.array_equal(batch.x, study.all_x[batch.sample_id])


# Statistics


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("memory", [TIGHT, FITS])
def test_scaled_batches_are_x_minus_mean_over_std_of_the_training_part(study, store, dtype, memory):
    train, test = store.samples.split(test=["s04"])
    rows = study.all_x[study.subject != "s04"].reshape(-1, 3).astype(np.float64)
    expected = (study.all_x - rows.mean(axis=0)) / rows.std(axis=0)
    for part in (train, test):
        for batch in part.batches(2, stats=train.stats(), dtype=dtype, memory=memory):
            assert batch.x.dtype == dtype
            assert batch.x == pytest.approx(expected[batch.sample_id], rel=1e-4, abs=1e-5)


def test_a_small_signal_on_a_large_offset_keeps_its_digits(tmp_path):
    x = 1e6 + np.random.default_rng(0).normal(size=(200, 6, 3))
    recording = zarrts.Recording("s", x, np.zeros(200, int))
    with zarrts.convert(recording, tmp_path / "a.zarr", dtype="keep", progress=False) as store:
        stats = store.samples.stats()
        batch = next(store.samples.batches(200, shuffle=False, stats=stats, dtype="float32"))
    expected = (x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1))
    np.testing.assert_allclose(batch.x, expected, atol=1e-6)


def test_a_constant_channel_becomes_zero(tmp_path):
    study = make_study(tmp_path / "in", sizes=(30, 20), dtype="float64")
    for name, x, y in zip(study.names, study.x, study.y, strict=True):
        x[..., 1] = 0.1
        np.savez(study.folder / f"{name}.npz", x=x, y=y)
    path = convert(study, tmp_path / "out.zarr", dtype="keep", chunk=1000, shard=4000)
    with zarrts.open(path) as store:
        for dtype in ("float32", "float64"):
            for batch in store.samples.batches(16, stats=store.samples.stats(), dtype=dtype):
                assert abs(batch.x[..., 1]).max() < 1e-7
                assert abs(batch.x[..., 0]).max() > 0.1


def test_scaling_needs_floats_and_as_many_channels(store):
    stats = store.samples.stats()
    with pytest.raises(SampleError, match="Scaling by stats needs a float dtype, not int16"):
        store.samples.batches(4, stats=stats, dtype="int16")
    two = dataclasses.replace(stats, mean=stats.mean[:2])
    with pytest.raises(SampleError, match="stats are of 2 channels, but these samples have 3"):
        store.samples.batches(4, stats=two)


def assert_stats_of(samples, x):
    rows = x.reshape(-1, 3).astype(np.float64)
    found = samples.stats()
    assert found.count.tolist() == [len(rows)] * 3
    assert found.mean == pytest.approx(rows.mean(axis=0), rel=1e-9, abs=1e-9)
    assert found.std == pytest.approx(rows.std(axis=0), rel=1e-9)
    assert found.min.tolist() == rows.min(axis=0).tolist()
    assert found.max.tolist() == rows.max(axis=0).tolist()
    assert found.nan_count.tolist() == [0, 0, 0]


def test_stats_are_those_of_exactly_the_selected_samples(study, store):
    x, samples = study.all_x, store.samples
    assert_stats_of(samples, x)
    assert_stats_of(samples.select(subjects=["s00", "s03"]), np.concatenate([x[:40], x[72:73]]))
    some = np.array([0, 3, 39, 40, 45, 72, 73, 131])  # cuts three recordings, holds one whole
    assert_stats_of(samples.select(ids=some), x[some])
    assert_stats_of(samples.select(classes=[7]), x[study.all_y == 7])
    with pytest.raises(SampleError, match="holds no samples"):
        samples.select(ids=[0]).select(ids=[]).stats()


# Choosing


def test_select_by_subjects_classes_and_ids_meets_every_condition(study, store):
    y, subject = study.all_y, study.subject
    cases = [
        ({"subjects": ["s02", "s00"]}, np.isin(subject, ["s00", "s02"])),
        ({"subjects": "s04"}, subject == "s04"),
        ({"classes": [7, -2]}, np.isin(y, [-2, 7])),
        ({"classes": [3], "subjects": ["s04"]}, (y == 3) & (subject == "s04")),
        ({"ids": [5, 60, 61]}, np.isin(np.arange(N), [5, 60, 61])),
        ({"ids": [61, 5, 60]}, np.isin(np.arange(N), [5, 60, 61])),
        ({"ids": [60, 61], "subjects": ["s02", "s01"]}, np.isin(np.arange(N), [60, 61])),
        ({"subjects": []}, np.zeros(N, bool)),
    ]
    for conditions, expected in cases:
        found = store.samples.select(**conditions)
        assert found.ids.tolist() == np.flatnonzero(expected).tolist()
        assert len(found) == expected.sum()
        assert found.subjects == sorted(set(subject[expected].tolist()))
        assert found.subject.tolist() == subject[expected].tolist()
        assert found.filenames == [f"{name}.npz" for name in subject[expected]]
        loaded_x, loaded_y = found.load()
        assert np.array_equal(loaded_x, study.all_x[expected])
        assert np.array_equal(loaded_y, y[expected])
        assert np.array_equal(found.load_labels(), y[expected])


def test_a_sample_by_position_is_that_of_the_selection(study, store):
    some = store.samples.select(subjects=["s01", "s04"])
    ids = np.flatnonzero(np.isin(study.subject, ["s01", "s04"]))
    for position in (0, 6, 7, len(ids) - 1, -1, -len(ids), np.int64(3)):
        x, y = some[position]
        assert np.array_equal(x, study.all_x[ids[position]])
        assert y == study.all_y[ids[position]]
    for position in (len(ids), -len(ids) - 1):
        with pytest.raises(IndexError, match=f"sample {position} of {len(ids)}"):
            some[position]
    with pytest.raises(TypeError, match=r"use select\(ids=\.\.\.\)"):
        some[1:3]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"subjects": ["s00", "bob"]}, "No subject named bob; the subjects are s00, s01"),
        ({"classes": [7, 8]}, "No class named 8; the classes are -2, 3, 7"),
        ({"ids": [0, N, N + 1]}, "2 of the ids are not among these samples"),
        ({"ids": [5, 60], "subjects": ["s02"]}, "1 of the ids are not among these samples"),
        ({"ids": np.arange(N) % 2 == 0}, "whole numbers, not bool"),
        ({"ids": [-1]}, "1 of the ids are not among these samples"),
        ({"ids": slice(3)}, r"a list of whole numbers, such as samples.ids\[:3\]"),
    ],
)
def test_what_is_not_there_cannot_be_selected(store, conditions, message):
    with pytest.raises(SampleError, match=message):
        store.samples.select(**conditions)


def test_numbers_are_no_classes(made):
    with zarrts.open(made("float")[1]) as store:
        with pytest.raises(SampleError, match="numbers, not classes"):
            store.samples.select(classes=[1])
        with pytest.raises(SampleError, match="numbers, not classes"):
            store.samples.class_weight()


def test_load_is_refused_above_its_budget(store):
    # 133 samples of 72 + 8 bytes.
    with pytest.raises(
        SampleError, match="133 samples take 10640B in memory, more than memory=10639B"
    ):
        store.samples.load(memory=133 * 80 - 1)
    assert len(store.samples.load(memory=133 * 80)[0]) == N


@pytest.mark.parametrize("labels", ["int", "text", "bool", "one_hot"])
def test_class_weight_balances_as_scikit_learn_does(made, labels):
    study, path = made(labels)
    y = study.all_y.argmax(axis=1) if labels == "one_hot" else study.all_y
    selections = {
        "all": np.ones(N, bool),
        "subjects": study.subject == "s04",
        "ids": np.arange(N) % 3 == 0,
        "one": np.arange(N) == 5,
    }
    names = sorted(set(y.tolist()))
    with zarrts.open(path) as store:
        for chosen in selections.values():
            found = store.samples.select(ids=np.flatnonzero(chosen)).class_weight()
            present = set(y[chosen].tolist())
            assert found == {
                names.index(name): pytest.approx(
                    chosen.sum() / (len(present) * (y[chosen] == name).sum())
                )
                for name in present
            }


# Splits


def test_a_split_gives_whole_subjects_with_training_first(study, store):
    train, val, test = store.samples.split(val=1, test=["s03", "s01"], seed=5)
    assert test.subjects == ["s01", "s03"]
    assert len(val.subjects) == 1
    parts = np.concatenate([train.ids, val.ids, test.ids])
    assert np.array_equal(np.sort(parts), np.arange(N))
    owners = [set(study.subject[part.ids].tolist()) for part in (train, val, test)]
    assert [set(part.subjects) for part in (train, val, test)] == owners
    assert sum(map(len, owners)) == 5


def test_folds_test_every_sample_once(store):
    for k in (None, 2, 3):
        tested = [test.ids for _, test in store.samples.folds(k)]
        assert len(tested) == (k or 5)
        assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(N))
    for train, val, test in store.samples.folds(val=2):
        assert len(train) + len(val) + len(test) == N
        assert len(val.subjects) == 2


def test_splitting_a_part_keeps_to_its_subjects(store):
    train, test = store.samples.split(test=["s04"])
    inner, val = train.split(val=2)
    assert set(inner.subjects) | set(val.subjects) == set(train.subjects)
    with pytest.raises(SampleError, match="no subject named s04"):
        train.split(val=["s04"])
    assert test.subjects == ["s04"]


def test_a_split_shows_what_a_fraction_came_to_and_prints_nothing(store, capsys):
    split = store.samples.split(test=0.3)
    test = split.test
    names = test.subjects
    share = round(100 * len(test) / N)
    assert len(names) == 2
    drawn = f"{len(test)} samples of 2 subjects ({', '.join(names)}), {share}% of samples"
    assert repr(split).endswith(f"; test: {drawn}>")
    store.samples.split(test=["s03"], val=1)
    assert capsys.readouterr().out == ""


@pytest.fixture
def one_class_is_rare(tmp_path, nothing_is_left_open):
    """Return a store in which only subject s02 has class "REM"."""
    study = make_study(tmp_path / "in", sizes=(20, 20, 20), labels="text")
    for name, x, y in zip(study.names, study.x, study.y, strict=True):
        y[y == "REM"] = "N1"
        y[:2] = "REM" if name == "s02" else "N2"
        y[2:5] = ["N1", "N2", "wake"]
        np.savez(study.folder / f"{name}.npz", x=x, y=y)
    with zarrts.open(convert(study, tmp_path / "out.zarr")) as store:
        yield store


def test_a_class_that_training_lacks_is_warned_of_once_where_the_split_is(one_class_is_rare):
    samples = one_class_is_rare.samples
    with pytest.warns(UserWarning, match="no sample of class 'REM', which s02 has") as caught:
        samples.split(test=["s02"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="no sample of class 'REM'") as caught:
        list(samples.folds())
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_no_warning_where_training_has_every_class(one_class_is_rare):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_class_is_rare.samples.split(test=["s00"], val=["s01"])


# Damage: never silent, and never zeros


def shard_path(folder, array, shard):
    return folder / "0" / array / "c" / str(shard) / ("0/0" if array == "x" else "")


def chunk_place(path, chunk):
    """Return offset and size of a chunk, from the index at the end of its shard."""
    index = np.frombuffer(path.read_bytes()[-4 - 16 * SHARD_ROWS // ROWS : -4], "<u8")
    return index.reshape(-1, 2)[chunk].tolist()


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def assert_both_ways_raise(folder, message):
    with zarrts.open(folder) as store:
        with pytest.raises(ReadError, match=message):
            store.samples.load()
        for shuffle in SHUFFLES:
            with pytest.raises(ReadError, match=message):
                list(store.samples.batches(2, memory=TIGHT, shuffle=shuffle))
        assert loader_threads() == []


@pytest.mark.parametrize("array", ["x", "y"])
@pytest.mark.parametrize(("shard", "chunk"), [(0, 0), (1, 2), (5, 1)])
def test_a_flipped_bit_is_a_read_error_that_names_file_and_rows(broken, array, shard, chunk):
    path = shard_path(broken, array, shard)
    offset, size = chunk_place(path, chunk)
    flip(path, offset + size // 2)
    first = shard * SHARD_ROWS + chunk * ROWS
    last = min(first + ROWS, N) - 1
    assert_both_ways_raise(broken, f"{path}.* rows {first} to {last} of 0/{array} does not match")


def test_rows_that_are_not_damaged_can_still_be_read(study, broken):
    path = shard_path(broken, "x", 1)
    flip(path, chunk_place(path, 2)[0])
    with zarrts.open(broken) as store:
        rest = np.setdiff1d(np.arange(N), np.arange(35, 40))
        x, _ = store.samples.select(ids=rest).load()
        assert np.array_equal(x, study.all_x[rest])


def test_every_bit_of_a_shard_counts(broken):
    path = shard_path(broken, "x", 2)
    good = path.read_bytes()
    for offset in np.random.default_rng(0).integers(0, len(good), 25).tolist():
        path.write_bytes(good)
        flip(path, offset)
        with zarrts.open(broken) as store, pytest.raises(ReadError, match=f"{path}"):
            store.samples.load()
    path.write_bytes(good)
    with zarrts.open(broken) as store:
        store.samples.load()


@pytest.mark.parametrize("array", ["x", "y"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "cut to the index"])
def test_a_damaged_file_is_a_read_error_that_names_it_and_its_rows(broken, array, damage):
    path = shard_path(broken, array, 1)
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut short":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.write_bytes(path.read_bytes()[-84:])  # a valid index of chunks that are not there
    assert_both_ways_raise(broken, f"{path}.*rows 25 to 49 of 0/{array}")


def test_statistics_of_some_samples_that_are_single_values(tmp_path):
    x = np.arange(20.0, dtype="f4")
    store = zarrts.convert(
        zarrts.Recording("s", x, np.zeros(20, int)), tmp_path / "a.zarr", progress=False
    )
    with store:
        stats = store.samples.select(ids=range(5)).stats()
    assert stats.count.tolist() == [5]
    assert stats.mean.tolist() == [2.0]


# Memory of labels


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_labels_are_right_whether_or_not_they_are_kept(study, store, monkeypatch, shuffle, share):
    monkeypatch.setattr("zarrts.reading.memory_plan._SHARE_OF_LABELS", share)
    made = loader(store, shuffle=shuffle, memory=TIGHT)
    assert not made.keeps_all
    for epoch in range(3):
        for _, y, ids in snapshot(made.stream(epoch)):
            np.testing.assert_array_equal(y, study.all_y[ids])
    made.close()


def test_the_more_batches_are_ready_the_fewer_threads_work(made, monkeypatch):
    """Threads that are ahead would take processors from the network."""
    _, path = made()
    seen, works = [], []
    take_job = stream._Work.take_job

    def counting(work):
        job = take_job(work)
        if job is not None:
            works.append(work)
            seen.append((len(work.ready), work.n_active + 1))
        return job

    def wait_until_all_is_ready(n_taken):
        """Be slower than the threads: wait until they have got as far as they may."""
        work, pause = works[-1], threading.Event()
        most = min(work.resources.max_ready, -(-N // 4) - n_taken)
        while len(work.ready) < most:
            pause.wait(0.001)

    monkeypatch.setattr(stream._Work, "take_job", counting)
    with zarrts.open(path) as store:
        fast = [batch.x for batch in store.samples.batches(4, workers=4, memory=FITS)]
        seen.clear()
        slow = []
        for batch in store.samples.batches(4, workers=4, memory=FITS):
            slow.append(batch.x)
            wait_until_all_is_ready(len(slow))
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {n for ready, n in seen if ready >= 12} == {1}  # of 16 that may be ready
