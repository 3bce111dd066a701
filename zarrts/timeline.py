"""Rows of a recording and their times, where something may be missing between them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gaps:
    """Rows before which something is missing.

    Attributes
    ----------
    rows : int64, shape (n_gaps,)
        Ascending; each is the first row after a gap, and none is the first of a recording.
    seconds : float64, shape (n_gaps,)
        How much is missing, beside the step from one row to the next; 0 where nobody knows.
    """

    rows: IntArray
    seconds: FloatArray

    @staticmethod
    def of(rows: Sequence[int] | IntArray, seconds: Sequence[float] | FloatArray) -> "Gaps | None":
        """Return gaps, or None where there are none."""
        if len(rows) == 0:
            return None
        return Gaps(np.asarray(rows, np.int64), np.asarray(seconds, np.float64))

    @staticmethod
    def joined(parts: Iterable[tuple[int, "Gaps | None"]]) -> "Gaps | None":
        """Return the gaps of recordings that lie one after the other; each with its first row."""
        some = [(first, it) for first, it in parts if it is not None]
        if not some:
            return None
        return Gaps(
            np.concatenate([first + it.rows for first, it in some]),
            np.concatenate([it.seconds for _, it in some]),
        )

    def part(self, start: int, stop: int) -> "Gaps | None":
        """Return those of rows `start` to `stop`, counted from `start`."""
        inside = (self.rows > start) & (self.rows < stop)
        return Gaps.of(self.rows[inside] - start, self.seconds[inside])


def part_of_gaps(gaps: Gaps | None, start: int, stop: int) -> Gaps | None:
    """Return the gaps of rows `start` to `stop`, where there may be none."""
    return None if gaps is None else gaps.part(start, stop)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The rows of a recording in time, the first of them at 0.

    Attributes
    ----------
    rate_hz : float
    gaps : Gaps, or None

    Examples
    --------
    Ten rows a second, with three seconds missing before row 20:

    >>> time = Timeline(rate_hz=10, gaps=Gaps.of([20], [3.0]))
    >>> time.seconds(np.array([19, 20, 30])).tolist()
    [1.9, 5.0, 6.0]
    >>> time.rows(np.array([1.9, 2.5, 5.0, 6.04])).tolist()
    [19, 20, 20, 30]
    """

    rate_hz: float
    gaps: Gaps | None = None

    def seconds(self, rows: IntArray) -> FloatArray:
        """Return when some rows are."""
        times = rows / self.rate_hz
        if self.gaps is not None:
            before = np.concatenate([[0.0], np.cumsum(self.gaps.seconds)])
            times = times + before[np.searchsorted(self.gaps.rows, rows, "right")]
        return np.asarray(times)

    def rows(self, seconds: FloatArray) -> IntArray:
        """Return the row nearest to each time; of times in a gap, the first one after it.

        Times before the first row are below 0, and those after the last are counted on.
        """
        seconds = np.asarray(seconds, np.float64)
        if self.gaps is None:
            return np.rint(seconds * self.rate_hz).astype(np.int64)
        firsts = np.concatenate([[0], self.gaps.rows])
        begins = self.seconds(firsts)
        which = np.searchsorted(begins, seconds + 0.5 / self.rate_hz, "right") - 1
        which = np.maximum(which, 0)
        rows = firsts[which] + np.rint((seconds - begins[which]) * self.rate_hz).astype(np.int64)
        stops = np.append(firsts[1:], np.iinfo(np.int64).max)
        return np.asarray(np.minimum(rows, stops[which]))

    def row(self, seconds: float) -> int:
        """Return the row nearest to a time; see `rows`."""
        if self.gaps is None:
            return round(seconds * self.rate_hz)
        return int(self.rows(np.array([seconds]))[0])


def stretches(offsets: IntArray, breaks: IntArray) -> tuple[IntArray, IntArray]:
    """Return first row, and the one after the last, of the stretches between gaps.

    Parameters
    ----------
    offsets : int64, shape (n_recordings + 1,)
        First row of each recording, and the number of rows.
    breaks : int64
        Rows before which something is missing, counted as the offsets are.
    """
    edges = np.union1d(offsets, breaks)
    return edges[:-1], edges[1:]


# From time stamps ------------------------------------------------------------------------------

_BLOCK = 4096
_LEAST, _MOST = 0.4, 1.5  # steps between rows that follow each other
_ALIKE = 1e-3


class IrregularError(ValueError):
    """Time stamps that are not those of a fixed rate; the message is the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The rate and the gaps that time stamps show.

    Attributes
    ----------
    rate_hz : float, or None
        None for fewer than two rows.
    gaps : Gaps, or None
    first_s : float, or None
        The first stamp; None where there is none.
    """

    rate_hz: float | None
    gaps: Gaps | None
    first_s: float | None


def timing_of(blocks: Iterable[FloatArray], wanted_hz: float | None = None) -> Timing:
    """Return what time stamps in seconds say, which come in blocks of any size.

    Rows follow each other where their stamps are 0.4 to 1.5 steps apart; from there on there is a
    gap. In a block of 4,096 rows, stamps may be half a step off their grid, as those
    are that were rounded.

    Parameters
    ----------
    wanted_hz : float, optional
        The rate, where somebody says it: it is the one that is found, if it fits.

    Raises
    ------
    IrregularError
        If stamps go back, are missing, or follow no fixed rate; says how far they are off.
    """
    found = _Stamps()
    for block in blocks:
        found.add(block)
    return found.timing(wanted_hz)


class _Stamps:
    """Collects stamps; remembers no more than a block of them, and the gaps."""

    def __init__(self) -> None:
        self._rest: FloatArray = np.zeros(0)
        self._n_rows, self._first = 0, np.nan
        self._period = 0.0
        self._sum, self._count, self._run, self._longest = 0.0, 0, 0, 0
        self._gap_rows: list[int] = []
        self._gap_steps: list[float] = []

    def add(self, block: FloatArray) -> None:
        """Add stamps that follow the last ones."""
        block = np.asarray(block, np.float64)
        lacking = np.flatnonzero(~np.isfinite(block))
        if len(lacking):
            row = self._n_rows + len(self._rest) - bool(self._n_rows) + int(lacking[0])
            raise IrregularError(f"row {row:,} has none; fill it in, or leave that row out")
        self._rest = np.concatenate([self._rest, block])
        while len(self._rest) > _BLOCK:
            self._take(self._rest[: _BLOCK + 1])
            self._rest = self._rest[_BLOCK:]

    def _take(self, stamps: FloatArray) -> None:
        """Take stamps, of which the first was the last before; but not at the beginning."""
        base = max(0, self._n_rows - 1)
        if self._n_rows == 0:
            self._first = float(stamps[0])
        steps = np.diff(stamps)
        back = np.flatnonzero(steps <= 0)
        if len(back):
            row = base + int(back[0]) + 1
            raise IrregularError(
                f"they do not grow from row {row - 1:,} ({stamps[back[0]]:.6f} s) to row {row:,} "
                f"({stamps[back[0] + 1]:.6f} s); sort the rows by time, remove what is there "
                "twice, or save stamps with more digits"
            )
        if self._period == 0 and len(steps):
            self._period = self._typical(steps)
        self._n_rows = base + len(stamps)
        ends = np.flatnonzero(steps >= _MOST * self._period)
        self._refuse_short(steps, base)
        for low, high in itertools.pairwise([0, *(ends + 1).tolist(), len(stamps)]):
            self._refuse_jitter(stamps[low:high], base + low)
            self._run = self._run + high - low - 1 if low == 0 else high - low - 1
            self._longest = max(self._longest, self._run)
        self._gap_rows += (base + ends + 1).tolist()
        self._gap_steps += steps[ends].tolist()
        self._sum += float(steps.sum() - steps[ends].sum())
        self._count += len(steps) - len(ends)

    def _typical(self, steps: FloatArray) -> float:
        """Return the mean of the steps that are like most, which rounding does not change."""
        # Of two, one of which is a gap, the shorter one.
        middle = float(np.sort(steps)[(len(steps) - 1) // 2])
        return float(steps[(steps > _LEAST * middle) & (steps < _MOST * middle)].mean())

    def _refuse_short(self, steps: FloatArray, base: int) -> None:
        short = np.flatnonzero(steps <= _LEAST * self._period)
        if len(short):
            row = base + int(short[0]) + 1
            raise IrregularError(
                f"they are {self._period:g} s apart mostly, but those of rows {row - 1:,} and "
                f"{row:,} {steps[short[0]]:g} s ({self._share(steps[short[0]])} off); bring the "
                "rows to a fixed rate before"
            )

    def _refuse_jitter(self, stamps: FloatArray, first: int) -> None:
        if len(stamps) < 3:
            return
        own = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
        off = stamps - stamps[0] - own * np.arange(len(stamps))
        if off.max() - off.min() > self._period:
            worst = int(np.abs(np.diff(stamps) - own).argmax())
            step = float(np.diff(stamps)[worst])
            raise IrregularError(
                f"they follow no fixed rate: from row {first:,} to {first + len(stamps) - 1:,} "
                f"they are up to {(off.max() - off.min()) / 2 / own:.2g} steps off those of "
                f"{1 / own:g} Hz, with steps of {own:g} s that vary by up to {self._share(step)} "
                f"(at row {first + worst + 1:,}); bring the rows to a fixed rate before"
            )

    def _share(self, step: float) -> str:
        return f"{abs(step - self._period) / self._period:.0%}"

    def timing(self, wanted_hz: float | None) -> Timing:
        """Return what all stamps say."""
        if len(self._rest) > (self._n_rows > 0):
            self._take(self._rest)
        if self._n_rows == 0:
            return Timing(rate_hz=None, gaps=None, first_s=None)
        if self._count == 0:
            if self._gap_rows:
                raise IrregularError("there is a gap after each of them; give the rate with more")
            return Timing(rate_hz=wanted_hz, gaps=None, first_s=self._first)
        rate_hz = self._plain(self._count / self._sum, wanted_hz)
        # Seconds since 1970 hold a fraction of a microsecond.
        missing = np.array(self._gap_steps, np.float64) - 1 / rate_hz
        seconds = np.asarray(np.round(np.maximum(missing, 0.0), 6), np.float64)
        return Timing(rate_hz=rate_hz, gaps=Gaps.of(self._gap_rows, seconds), first_s=self._first)

    def _plain(self, rate_hz: float, wanted_hz: float | None) -> float:
        """Return the plainest number of Hz (or seconds) that the stamps cannot be told from."""
        # Over the longest stretch, it is less than half a step off at the end.
        near = min(_ALIKE, 0.5 / self._longest)
        if wanted_hz is not None and abs(wanted_hz / rate_hz - 1) <= 0.5 / self._longest:
            return wanted_hz
        plain = [1 / max(1, round(1 / rate_hz))] if rate_hz < 1 else []
        for candidate in (*plain, *(round(rate_hz, digits) for digits in range(4))):
            if candidate > 0 and abs(candidate / rate_hz - 1) <= near:
                return float(candidate)
        return float(rate_hz)
