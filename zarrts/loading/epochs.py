"""Passes over a loader: who reads which epoch, and from which batch on.

A pass is one run through the batches of an epoch. Each new pass takes the next epoch, unless its
epoch is given; several may be under way, but only the one read last has threads that read ahead.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zarrts.batch import Batch
from zarrts.errors import SampleError
from zarrts.loading.loader import EpochLoader
from zarrts.loading.stream import BatchStream
from zarrts.system import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class EpochPart:
    """Batches `start` to `stop` of an epoch: all of it, or what is left after a resume."""

    epoch: int
    start: int
    stop: int


class Pass:
    """One run through a part of an epoch; `next_batch` is the batch that it gives next.

    Attributes
    ----------
    is_over : bool
        Nobody reads it any more.
    """

    def __init__(self, part: EpochPart, n_closed: int) -> None:
        self.part, self.next_batch = part, part.start
        self.is_over = False
        self.n_closed = n_closed  # how often the passes were closed when it began


class Reader:
    """Whoever reads passes in turn, such as one call of `fit`.

    Attributes
    ----------
    planned : deque of EpochPart
        What its next passes are; those after them take new epochs.
    latest : Pass, or None
        The last that it began.
    """

    def __init__(self) -> None:
        self.planned: deque[EpochPart] = deque()
        self.latest: Pass | None = None


class Passes:
    """Gives the batches of passes over one loader. `_lock` guards every attribute.

    Attributes
    ----------
    n_begun : int
        The epoch that the next new pass takes.
    """

    def __init__(self, loader: EpochLoader) -> None:
        self._loader = loader
        self._lock = threading.Lock()
        self._reading: tuple[Pass, BatchStream] | None = None
        self._n_closed = 0
        self._planned: deque[EpochPart] = deque()
        self._ahead: Pass | None = None
        self.n_begun = 0

    def plan(self, parts: Sequence[EpochPart], n_begun: int, reader: Reader | None = None) -> None:
        """Say what the next passes are, of one reader or of whoever comes first.

        Parameters
        ----------
        n_begun : int
            The epoch of the first new pass after them.
        """
        with self._locked():
            self.n_begun = n_begun
            planned = self._planned if reader is None else reader.planned
            planned.clear()
            planned.extend(parts)

    def begin(self, reader: Reader | None = None, part: EpochPart | None = None) -> Pass:
        """Begin the pass that is planned or given, or else one of the next epoch."""
        with self._locked():
            if part is None and reader is not None and reader.planned:
                part = reader.planned.popleft()
            if part is None and self._planned:
                part = self._planned.popleft()
            if part is None:
                part = EpochPart(epoch=self.n_begun, start=0, stop=self._loader.n_batches)
                self.n_begun += 1
            begun = Pass(part, self._n_closed)
            if reader is not None:
                reader.latest = begun
            return begun

    def take(self, current: Pass) -> Batch | None:
        """Return the next batch of a pass, or None at its end."""
        with self._locked():
            if current.next_batch == current.part.stop:
                return None
            return self._take(current)

    def _take(self, current: Pass) -> Batch:
        # tf.data may still read ahead for a fit that has ended: it must not start threads.
        if current.n_closed < self._n_closed:
            raise SampleError("The sequence was closed while it was read; start again.")
        batch = self._stream_of(current).take()
        current.next_batch += 1
        if current.next_batch == current.part.stop:
            self._reading = None
        return batch

    def _stream_of(self, current: Pass) -> BatchStream:
        if self._reading is not None:
            reading, stream = self._reading
            if reading is current and not stream.is_closed:
                return stream
        keep_freed_memory()
        self._reading = None  # frees what the other pass had read ahead
        stream = self._loader.stream(current.part.epoch, current.next_batch)
        self._reading = (current, stream)
        return stream

    def end(self, current: Pass) -> None:
        """Free what was read ahead for a pass that nobody reads any more.

        It waits for nobody, because garbage may be collected anywhere: whoever has the lock just
        now frees it then.
        """
        current.is_over = True
        self._free_what_is_over()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        finally:
            self._free_what_is_over()

    def _free_what_is_over(self) -> None:
        reading = self._reading
        if reading is None or not reading[0].is_over or not self._lock.acquire(blocking=False):
            return
        try:
            if self._reading is reading:
                self._reading = None
        finally:
            self._lock.release()

    def begin_epoch(self, part: EpochPart | None = None) -> tuple[int, int]:
        """Return the epoch of a new pass, and how often the passes were closed before.

        For a consumer who asks for batches by number: `batch_ahead`.
        """
        begun = self.begin(part=part)
        return begun.part.epoch, begun.n_closed

    def batch_ahead(self, epoch: int, index: int, n_closed: int) -> Batch:
        """Return one batch of an epoch, and read ahead those that follow."""
        with self._locked():
            current = self._ahead
            if (
                current is None
                or (current.part.epoch, current.next_batch) != (epoch, index)
                or current.n_closed != n_closed
            ):
                part = EpochPart(epoch=epoch, start=index, stop=self._loader.n_batches)
                current = self._ahead = Pass(part, n_closed)
            return self._take(current)

    @property
    def has_equal_batches(self) -> bool:
        """Whether all batches have as many samples."""
        with self._locked():
            return self._loader.has_equal_batches

    def batch(self, epoch: int, index: int) -> Batch:
        """Return one batch by itself, whatever passes are under way."""
        with self._locked():
            return self._loader.batch(epoch, index)

    def example(self) -> Batch:
        """Return a batch of one sample, whatever passes are under way."""
        with self._locked():
            return self._loader.example()

    def first_batch(self) -> Batch:
        """Return the first batch of which a sample can be read; whatever passes are under way."""
        with self._locked():
            return self._loader.first_batch()

    def unlike_batches(self) -> list[Batch]:
        """Return batches that differ in length, if any do; whatever passes are under way."""
        with self._locked():
            return self._loader.unlike_batches()

    def close(self) -> None:
        """End the threads, close the files and free the memory; passes that began are over."""
        with self._locked():
            self._n_closed += 1
            self._reading = None
            self._loader.close()
