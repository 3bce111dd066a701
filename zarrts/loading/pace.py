"""Decide who makes batches: how many of a stream's own threads, and whoever waits for them.

Nothing here locks: whoever calls holds the lock of the stream.
"""

import math
import threading
import time

TAKEN_AHEAD = 2  # batches that tf.data takes before they are needed
_KEPT_OF_MEAN = 0.9  # with each batch: those of about the last ten count
_LEAST_SHARED_S = 2e-4  # work on a batch: to hand a smaller one over takes longer than to make it
_COARSE_S = 1e-4  # resolution of a clock that is of no use here

# Of the processor: to wait for the interpreter's lock is no work. Windows counts in ticks of 16 ms.
_is_fine = time.get_clock_info("thread_time").resolution < _COARSE_S
_WORK_CLOCK = time.thread_time if _is_fine else time.perf_counter


class _Mean:
    """The mean of numbers, of which about the last ten count."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, number: float) -> None:
        self._sum = self._sum * _KEPT_OF_MEAN + number
        self._weight = self._weight * _KEPT_OF_MEAN + 1

    @property
    def value(self) -> float:
        """The mean; infinite before the first number."""
        return self._sum / self._weight if self._weight else math.inf


class JobClock:
    """A clock of the work on one job, for `Pace`.

    Parameters
    ----------
    may_wait : bool
        For a disk, or for what a transform of users waits for; all else waits for nothing.
    """

    def __init__(self, *, may_wait: bool) -> None:
        self._clock = time.perf_counter if may_wait else _WORK_CLOCK
        self._since = self._clock()

    def lap(self) -> float:
        """Return the seconds since the job began, or since the last lap."""
        before, self._since = self._since, self._clock()
        return self._since - before


class Pace:
    """The number of threads of a stream that may work, from how it goes so far.

    The more batches are ready, the fewer: where the network is slower than they are, they would
    only take processors and the interpreter's lock from it.

    Whoever waits for batches more than it is away, which neither trains nor waits for a processor
    of its own to, does a share of the work itself: it needs not be woken then, and of threads
    beyond the processors each only waits for the lock of the interpreter. Where batches are small,
    it does all.

    It has to be made in the thread that takes the batches. One that is not the main thread is of
    tf.data, which has nothing else to do, and takes batches ahead.

    Attributes
    ----------
    waited_s : float
        Seconds for which batches were waited for, in all.
    consumer_works : bool
        Whoever waits for batches does jobs meanwhile.
    most_active : int
        Threads that may work at once, the consumer among them.
    """

    def __init__(self, n_threads: int, max_ready: int) -> None:
        self._n_threads, self._max_ready = n_threads, max_ready
        self._only_waits = threading.current_thread() is not threading.main_thread()
        self._n_taken_ahead = TAKEN_AHEAD * self._only_waits
        self._work, self._worked_s = _Mean(), 0.0
        self._waited, self._away = _Mean(), _Mean()
        self._left_at = time.perf_counter()
        self.waited_s = 0.0
        self.consumer_works = self._only_waits
        self.most_active = n_threads

    @property
    def n_started(self) -> int:
        """Threads that the stream needs, beside its consumer."""
        return max(1, self._n_threads - self._only_waits)

    @property
    def is_alone(self) -> bool:
        """Whether the consumer makes all batches itself; never the first, whose units are many."""
        return self.consumer_works and self._work.value < _LEAST_SHARED_S

    @property
    def most_own(self) -> int:
        """Most of the stream's own threads that may work at once."""
        return 0 if self.is_alone else max(1, self.most_active - self.consumer_works)

    def note_ready(self, n_ready: int) -> None:
        """Note how many batches are ready."""
        # One that takes ahead has all that it takes, where it leaves one that is ready.
        left = self._max_ready - n_ready - self._n_taken_ahead * bool(n_ready)
        self.most_active = max(1, -(-self._n_threads * left // self._max_ready))

    def note_work(self, seconds: float) -> None:
        """Note how long somebody worked."""
        self._worked_s += seconds

    def note_taken(self, came_at: float, left_at: float) -> None:
        """Note when the next batch was asked for, and when it was there (`time.perf_counter`)."""
        self.waited_s += left_at - came_at
        self._waited.add(left_at - came_at)
        self._away.add(came_at - self._left_at)
        self._left_at = left_at
        self._work.add(self._worked_s)
        self._worked_s = 0.0
        self.consumer_works = self._only_waits or self._waited.value > self._away.value
