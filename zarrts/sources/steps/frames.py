"""Rows that are computed in frames of a fixed grid, and the few frames that are kept.

The bits of a row must not depend on the range that is asked for. A Fourier transform of other
length, or of other rows, gives other bits; so frame k always holds rows k * n .. (k + 1) * n of a
recording, and is always computed from the same rows with the same arithmetic. A request takes what
it needs of the frames that it meets:

    frames     |-------0-------|-------1-------|-------2-------|---3---|
    a request          |.............................|
    another                          |....|
"""

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zarrts.sources.rows.views import DerivedRows
from zarrts.system import count_cpus
from zarrts.types import AnyArray

_N_TAILS = max(8, 2 * count_cpus())


class FrameCache:
    """The last frame of each step that each thread computed, of one recording at a time.

    A request that ends within a frame is followed by one that begins there. A thread that turns to
    another recording forgets the frames of the one before, so that memory is bounded by the number
    of threads, whatever the number of recordings. Nothing is shared between threads, and no lock is
    needed. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return FrameCache, ()

    def frame(
        self, recording: object, step: int, number: int, compute: Callable[[int], AnyArray]
    ) -> AnyArray:
        """Return a frame of a step of a recording; nobody may write to it."""
        kept = self._of_thread
        if getattr(kept, "recording", None) != recording:
            kept.recording, kept.frames = recording, {}
        found = kept.frames.get(step)
        if found is not None and found[0] == number:
            return np.asarray(found[1])
        kept.frames.pop(step, None)  # or both would be there while the new one is computed
        frame = compute(number)
        # The steps below were asked for rows meanwhile, perhaps of a copy of this recording.
        if getattr(kept, "recording", None) == recording:
            kept.frames[step] = number, frame
        return frame

    def forget(self) -> None:
        """Forget the frames of this thread."""
        self._of_thread.__dict__.clear()


@dataclass(frozen=True)
class Place:
    """The place of a step's rows: whose cache they use, and by which names.

    Attributes
    ----------
    recording : str
        Names the recording among those that share the cache.
    step : int
        Number of the step.
    cache : FrameCache
    """

    recording: str
    step: int
    cache: FrameCache = field(default_factory=FrameCache, compare=False, repr=False)


@dataclass(frozen=True)
class FramedRows(DerivedRows):
    """Rows that are computed by frames of `frame_rows` rows."""

    place: Place

    @property
    @abstractmethod
    def frame_rows(self) -> int:
        """Rows of a frame; the last one of a recording has fewer."""

    @abstractmethod
    def _frame(self, number: int) -> AnyArray:
        """Return the rows of a frame."""

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if start == stop:
            return out
        size = self.frame_rows
        for number in range(start // size, -(-stop // size)):
            first = number * size
            frame = self.place.cache.frame(
                self.place.recording, self.place.step, number, self._frame
            )
            low, high = max(start, first), min(stop, first + size)
            out[low - start : high - start] = frame[low - first : high - first]
        return out

    def close(self) -> None:
        """Release what the other rows hold, and the frames of this thread."""
        self.place.cache.forget()
        self.rows.close()


class Tails:
    """The last rows that were read of some recordings which can only be read forward.

    At most `_N_TAILS` of them: of the one that waited longest, reading begins again. The lock
    guards the dictionary; no reading happens inside. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tails: OrderedDict[str, tuple[int, AnyArray]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return Tails, ()

    def take(self, recording: str) -> tuple[int, AnyArray] | None:
        """Return the first row and the rows that are kept of a recording, and forget them."""
        with self._lock:
            return self._tails.pop(recording, None)

    def keep(self, recording: str, first: int, rows: AnyArray) -> None:
        """Keep rows of a recording."""
        with self._lock:
            self._tails[recording] = first, rows
            while len(self._tails) > _N_TAILS:
                self._tails.popitem(last=False)


@dataclass(frozen=True)
class ForwardRows(DerivedRows):
    """Rows of a reader that only goes forward; the last of them are kept for who looks back.

    Frames overlap, and a compressed file that is read backwards begins again at its first row.

    Attributes
    ----------
    recording : str
        Names the recording among those that share `tails`.
    n_kept : int
        Rows before the last one that was read which can be read again.
    tails : Tails
    """

    recording: str
    n_kept: int
    tails: Tails = field(default_factory=Tails, compare=False, repr=False)

    label = "rows read forward"

    def _read(self, start: int, stop: int) -> AnyArray:
        nothing = np.empty((0, *self.shape[1:]), self.dtype)
        first, tail = self.tails.take(self.recording) or (start, nothing)
        last = first + len(tail)
        if not first <= start <= last + self.n_kept:
            first, last, tail = start, start, nothing
        if stop > last:
            # What lies between is read as well: it has to be decoded anyway.
            tail = np.concatenate([tail, self.rows.read(last, stop)])
        found = np.array(tail[start - first : stop - first], order="C")
        begin = max(0, len(tail) - self.n_kept)
        self.tails.keep(self.recording, first + begin, tail[begin:].copy())
        return found
