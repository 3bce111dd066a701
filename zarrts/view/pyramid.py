"""Least and most of a series at every zoom: a pyramid that is built once, in the background.

Level l has one bin for base · 4^l steps, with the least and the most of each channel, so that a
picture of any width needs a few thousand bins however long the series is:

    steps   . . . . . . . . . . . . . . . .        read from the store where a picture has room
    level 0 [     ] [     ] [     ] [     ]        base steps each
    level 1 [                              ]       four bins of the level below each
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.types import AnyArray

Floats = NDArray[np.float32]
Read = Callable[[int, int], AnyArray]

_FACTOR = 4
_BASE_STEPS = 64
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Stretch:
    """Least and most of consecutive bins of a series.

    Attributes
    ----------
    start : int
        First step of the first bin.
    bin_steps : int
        Steps of a bin; 1 where values are as stored.
    low, high : float32, shape (n_bins, n_channels)
        NaN where a bin has no values.
    ready : float
        Which part of the series was read so far, 0 to 1; bins beyond are NaN.
    """

    start: int
    bin_steps: int
    low: Floats
    high: Floats
    ready: float


class Pyramid:
    """Least and most of a series at every zoom.

    `_starting` guards `_thread`: there is one that builds, whoever looks first.

    Parameters
    ----------
    read : callable
        Takes start and stop, and returns these steps, shape (stop - start, n_channels); from any
        thread.
    n_steps, n_channels : int
    piece_steps : int
        How many steps to read at once.
    max_bytes : int
        Memory that it may take: bins of the lowest level are made longer to fit.
    """

    def __init__(
        self,
        read: Read,
        n_steps: int,
        n_channels: int,
        piece_steps: int,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._read, self.n_steps, self.n_channels = read, n_steps, n_channels
        base, bin_bytes = _BASE_STEPS, 2 * 4 * max(1, n_channels)
        while -(-n_steps // base) * bin_bytes * _FACTOR / (_FACTOR - 1) > max_bytes:
            base *= 2
        self.base_steps = base
        self._piece = max(1, piece_steps // base) * base
        self._levels: list[tuple[Floats, Floats]] = []
        n_bins = -(-n_steps // base)
        while True:
            shape = (n_bins, n_channels)
            self._levels.append((np.full(shape, np.nan, "f4"), np.full(shape, np.nan, "f4")))
            if n_bins <= 1:
                break
            n_bins = -(-n_bins // _FACTOR)
        # Written by the thread that builds, after the bins below it: readers see whole ones.
        self._done_steps = 0
        self._is_closed = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None

    @property
    def n_bytes(self) -> int:
        """Memory of all levels."""
        return sum(low.nbytes + high.nbytes for low, high in self._levels)

    @property
    def ready(self) -> float:
        """The part of the series that was read so far, 0 to 1."""
        return 1.0 if self.n_steps == 0 else self._done_steps / self.n_steps

    def start(self) -> None:
        """Begin to build in a thread of its own; does nothing if that is going on, or done."""
        with self._starting:
            if self._thread is None and self._done_steps < self.n_steps:
                self._thread = threading.Thread(
                    target=self._run, name="zarrts-pyramid", daemon=True
                )
                self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all is read, or the time is over."""
        self.start()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def close(self) -> None:
        """Stop building, and wait for the thread."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.build()
        except Exception as error:  # handed to whoever looks, by `between`
            self.error = error

    def build(self) -> None:
        """Read the series once, a piece at a time, and fill all levels."""
        for start in range(0, self.n_steps, self._piece):
            if self._is_closed.is_set():
                return
            stop = min(start + self._piece, self.n_steps)
            self._fill(start, self._read(start, stop))
            self._done_steps = stop

    def _fill(self, start: int, x: AnyArray) -> None:
        low, high = reduced(x, x, self.base_steps)
        at = start // self.base_steps
        for number, (lows, highs) in enumerate(self._levels):
            lows[at : at + len(low)], highs[at : at + len(high)] = low, high
            if number + 1 == len(self._levels):
                break
            # A bin that began before this piece is made again, of all that is there now.
            first = at // _FACTOR * _FACTOR
            last = at + len(low)
            low, high = reduced(lows[first:last], highs[first:last], _FACTOR)
            at = first // _FACTOR

    def between(self, start: int, stop: int, width: int) -> Stretch:
        """Return at least `width` / 2 bins, and at most 2 · `width`, of steps `start` to `stop`.

        Each has two values, and so a picture of that width no fewer than one a pixel. There are
        fewer where there are fewer steps. What was not read yet is NaN.

        Raises
        ------
        Exception
            That reading the series raised.
        """
        start, stop = max(0, start), min(stop, self.n_steps)
        n_steps = max(0, stop - start)
        wanted = max(1, 2 * n_steps // max(1, width))
        if wanted < self.base_steps:
            x = self._read(start, stop)
            bin_steps = 1 if n_steps <= 2 * width else wanted
            low, high = reduced(x, x, bin_steps)
            return Stretch(start, bin_steps, low, high, 1.0)
        self.start()
        if self.error is not None:
            raise self.error
        level = 0
        while level + 1 < len(self._levels) and self.base_steps * _FACTOR ** (level + 1) <= wanted:
            level += 1
        each = self.base_steps * _FACTOR**level
        lows, highs = self._levels[level]
        first, last = start // each, -(-stop // each)
        group = max(1, wanted // each)
        low, high = reduced(lows[first:last], highs[first:last], group)
        return Stretch(first * each, each * group, low, high, self.ready)


def reduced(low: AnyArray, high: AnyArray, n: int) -> tuple[Floats, Floats]:
    """Return least and most of each n consecutive rows, NaN left out; the last may have fewer."""
    if n == 1:
        return low.astype(np.float32), high.astype(np.float32)
    whole = len(low) // n * n
    lows = np.fmin.reduce(low[:whole].reshape(-1, n, low.shape[1]), axis=1)
    highs = np.fmax.reduce(high[:whole].reshape(-1, n, high.shape[1]), axis=1)
    if whole < len(low):
        lows = np.concatenate([lows, np.fmin.reduce(low[whole:], axis=0)[None]])
        highs = np.concatenate([highs, np.fmax.reduce(high[whole:], axis=0)[None]])
    return lows.astype(np.float32), highs.astype(np.float32)


class PyramidCache:
    """The pyramids of the recordings that were looked at last, within some memory.

    `_lock` guards `_held`; pyramids are closed outside it.
    """

    def __init__(self, make: Callable[[int], Pyramid], max_bytes: int) -> None:
        self._make, self._max_bytes = make, max_bytes
        self._held: OrderedDict[int, Pyramid] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, number: int) -> Pyramid:
        """Return the pyramid of a recording, new or kept."""
        with self._lock:
            if number not in self._held:
                self._held[number] = self._make(number)
            self._held.move_to_end(number)
            found, dropped = self._held[number], []
            while len(self._held) > 1 and self.n_bytes > self._max_bytes:
                dropped.append(self._held.popitem(last=False)[1])
        for it in dropped:
            it.close()
        return found

    @property
    def n_bytes(self) -> int:
        """Memory of all that are held."""
        return sum(it.n_bytes for it in self._held.values())

    def close(self) -> None:
        """Stop all that are being built."""
        with self._lock:
            held, self._held = list(self._held.values()), OrderedDict()
        for it in held:
            it.close()
