"""Plan which steps of several inputs belong together, where each has a start and gaps of its own.

A row of the timeline is some whole steps of each input. It begins with a step of the slowest one,
and the others give the steps that are nearest to that, so that none is more than half of one of its
own steps off:

    fast   |0 1 2 3|4 5 6 7|8 9 . .         starts at 0 s, 4 steps a second
    slow     .   0    |   1   |   2    ...  starts at 0.6 s, a step a second
    rows              2..5    6..9          of fast, with steps 0 and 1 of slow
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from zarrts.timeline import FloatArray, Gaps, IntArray, Timeline

_MAX_DENOMINATOR = 10_000
_NEAR = 1e-9
_ALIKE = 1e-6
_SAME = 1e-3  # of a step: what rounding of seconds may make


def as_fraction(rate_hz: float) -> Fraction:
    """Return a rate as the fraction that it stands for: 33.3333 Hz may be 100 / 3."""
    return Fraction(rate_hz).limit_denominator(_MAX_DENOMINATOR)


def common_rate(rates: Sequence[Fraction]) -> Fraction:
    """Return the greatest rate of which all rates are multiples."""
    denominator = math.lcm(*(it.denominator for it in rates))
    return Fraction(math.gcd(*(int(it * denominator) for it in rates)), denominator)


def shared_rate(rates_hz: Sequence[float]) -> Fraction:
    """Return the greatest rate of which some rates are multiples, as they are, or to each other.

    Of 100 and 1 samples in records of 1.000123 s, the rates are no plain numbers, but one is a
    hundred times the other.
    """
    plain = common_rate([as_fraction(it) for it in rates_hz])
    most = max(rates_hz)
    ratios = [as_fraction(most / it) for it in rates_hz]
    pairs = zip(ratios, rates_hz, strict=True)
    if not all(abs(float(ratio) * it / most - 1) < _NEAR for ratio, it in pairs):
        return plain
    return max(plain, as_fraction(most) * common_rate([1 / it for it in ratios]))


def are_same(one: Fraction, other: Fraction) -> bool:
    """Return whether two rates differ by nothing but how they are written."""
    return abs(float(one / other) - 1) < _ALIKE


@dataclass(frozen=True)
class Grid:
    """Rows per second, where it is known, and what each input has of them.

    `steps` are as in `AlignedRows`; `fixed` are the inputs that do not change in time.
    """

    rate: Fraction | None
    steps: Mapping[str, int]
    label_rate: Fraction | None

    @property
    def fixed(self) -> set[str]:
        """Names of the inputs that do not change in time."""
        return {name for name, steps in self.steps.items() if steps == 0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """The steps of an input in time.

    Attributes
    ----------
    rate_hz : float
    steps : int
        In a row.
    begins : float64, shape (n_stretches,)
        When each stretch without a gap begins, in seconds.
    edges : int64, shape (n_stretches + 1,)
        The step with which each begins, and the number of steps.
    """

    rate_hz: float
    steps: int
    begins: FloatArray
    edges: IntArray

    @classmethod
    def of(
        cls, n_steps: int, rate_hz: float, steps: int, start_s: float, gaps: Gaps | None
    ) -> "Track":
        """Return the track of an input whose first step is at `start_s`."""
        firsts = np.array([0, *([] if gaps is None else gaps.rows.tolist())], np.int64)
        begins = start_s + Timeline(rate_hz=rate_hz, gaps=gaps).seconds(firsts)
        edges = np.append(firsts, n_steps)
        return cls(rate_hz=rate_hz, steps=steps, begins=begins, edges=edges)

    def end(self, number: int) -> float:
        """Return when a stretch ends."""
        n_steps = int(self.edges[number + 1] - self.edges[number])
        return float(self.begins[number]) + n_steps / self.rate_hz

    @property
    def span_s(self) -> tuple[float, float]:
        """The time from the first step to the end of the last."""
        return float(self.begins[0]), self.end(len(self.begins) - 1)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Rows that follow each other in all inputs.

    Attributes
    ----------
    start_s : float
    n_rows : int
    firsts : dict
        The first step of each input.
    """

    start_s: float
    n_rows: int
    firsts: Mapping[str, int]


def common_stretches(tracks: Mapping[str, Track]) -> list[Stretch]:
    """Return the stretches of whole rows that all inputs have, in order of time.

    No step of an input is in two rows. The first step of a stretch is never more than half a step
    away from the time at which the stretch starts, but where that would be a step twice.
    """
    found: list[Stretch] = []
    slowest = min(tracks, key=lambda name: (tracks[name].rate_hz, name))
    at = dict.fromkeys(tracks, 0)
    free = dict.fromkeys(tracks, 0)  # the first step of each that no row has yet
    while all(at[name] < len(it.begins) for name, it in tracks.items()):
        stretch = _stretch(tracks, at, free, slowest)
        if stretch is not None:
            found.append(stretch)
            for name, it in tracks.items():
                free[name] = stretch.firsts[name] + stretch.n_rows * it.steps
        ends = {name: it.end(at[name]) for name, it in tracks.items()}
        at[min(ends, key=ends.__getitem__)] += 1
    return found


def _stretch(
    tracks: Mapping[str, Track], at: Mapping[str, int], free: Mapping[str, int], slowest: str
) -> Stretch | None:
    """Return the rows that one stretch of each input has, if there are any."""
    slow, number = tracks[slowest], at[slowest]
    # The nearest step of an input may be half a step later than a row.
    begin_s = max(float(it.begins[at[name]]) - 0.5 / it.rate_hz for name, it in tracks.items())
    first = int(slow.edges[number])
    more = int(np.ceil((begin_s - float(slow.begins[number])) * slow.rate_hz - _SAME))
    start = max(first + max(0, more), free[slowest])
    start_s = float(slow.begins[number]) + (start - first) / slow.rate_hz
    firsts = {
        name: start if name == slowest else max(_nearest(it, at[name], start_s), free[name])
        for name, it in tracks.items()
    }
    n_rows = min(
        (int(it.edges[at[name] + 1]) - firsts[name]) // it.steps for name, it in tracks.items()
    )
    return Stretch(start_s=start_s, n_rows=n_rows, firsts=firsts) if n_rows > 0 else None


def _nearest(track: Track, number: int, seconds: float) -> int:
    """Return the step of a stretch that is nearest to a time, but not before the stretch."""
    steps = (seconds - float(track.begins[number])) * track.rate_hz
    return int(track.edges[number]) + max(0, int(np.floor(steps + 0.5)))


def gaps_between(stretches: list[Stretch], row_s: float) -> Gaps | None:
    """Return the rows at which stretches begin, but for the first, and what is missing there."""
    rows = np.cumsum([it.n_rows for it in stretches])[:-1]
    ends = [it.start_s + it.n_rows * row_s for it in stretches[:-1]]
    missing = [max(0.0, it.start_s - end) for it, end in zip(stretches[1:], ends, strict=True)]
    return Gaps.of(rows, np.round(missing, 6))
