"""Find the grid that values lie on: x = float32(k * gain + offset) for whole numbers k.

Values that an analogue-to-digital converter counted lie on one, whatever was done with them in
float64 since, as long as it was linear; filters and references take them off it. What is found is
a guess from some values: whoever uses it verifies every value (`loops.packing.pack`).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from zarrts.stats.moments import FloatArray
from zarrts.types import AnyArray, IntArray

MOST_STEPS = (1 << 16) - 2
"""Steps between the least and the greatest value that 16 bits hold, beside a count for NaN."""

_DIVISORS = range(1, 13)  # of the least difference that was seen
_LEAST_STEP = 8.0  # in rounding errors: a finer grid cannot be told from none
_BISECTIONS = 60
_NOISE = 4 * np.finfo(np.float64).eps
_MAX_VALUES = 4096  # that a guess is made from
_MAX_ATTEMPTS = 6
_SIMPLE_BITS = 40  # that a number takes which somebody may have chosen
_SURPRISE_BITS = 5
_BITS_PER_DIGIT = 3.4
_SINGLE_BITS = 24
_NEAR_ZERO = 1e-9  # of a step


@dataclass(frozen=True)
class Grid:
    """Values k * gain + offset.

    Attributes
    ----------
    gain, offset : float
    low, high : int
        The least and the greatest k that was seen.
    """

    gain: float
    offset: float
    low: int
    high: int


def grid_of(values: AnyArray) -> Grid | None:
    """Return the grid that all of some float32 values lie on, or None if there is none.

    NaN are passed over.

    Parameters
    ----------
    values : float32, shape (n,)
    """
    found = np.unique(values[~np.isnan(values)] + np.float32(0)).astype(np.float64)
    if len(found) == 0:
        return Grid(1.0, 0.0, 0, 0)
    if not np.isfinite(found).all():
        return None
    if len(found) == 1:
        return Grid(abs(float(found[0])) or 1.0, 0.0, 0, 0) if found[0] == 0 else _constant(found)
    some = found if len(found) <= _MAX_VALUES else found[_spread(len(found))]
    for _ in range(_MAX_ATTEMPTS):
        # Half a unit in the last place: what rounding to float32 may have taken from each.
        errors = np.spacing(np.abs(some).astype(np.float32)).astype(np.float64) / 2
        errors += _NOISE * np.abs(some).max()  # of float64, with which a 0 may come out as 1e-13
        steps = _steps(some, errors)
        if steps is None:
            return None
        others: list[FloatArray] = []
        for grid in _candidates(some, errors, steps):
            off = found[~_fitting(grid, found)]
            if len(off) == 0:
                return grid
            others.append(off)
        # Those that the best guess missed narrow the next one down.
        fewest = min(others, key=len)
        more = np.union1d(some, fewest[:: max(1, len(fewest) // _MAX_VALUES)])
        if len(more) == len(some):
            return None
        some = more
    return None


def _constant(found: FloatArray) -> Grid:
    """Return the grid of a single value: 1 unit, if it is whole, or the value itself."""
    value = float(found[0])
    return Grid(1.0, value, 0, 0)


def _spread(n_values: int) -> IntArray:
    """Return which values a guess is made from: neighbours, all over the range.

    The least difference is that of neighbours.
    """
    n_blocks = 64
    length = _MAX_VALUES // n_blocks
    starts = np.linspace(0, n_values - length, n_blocks).astype(np.int64)
    return np.unique(np.minimum(starts[:, None] + np.arange(length), n_values - 1))


def _steps(found: FloatArray, errors: FloatArray) -> IntArray | None:
    """Return how many steps each value is above the least one, or None if there is no such step."""
    differences, slack = np.diff(found), errors[1:] + errors[:-1]
    least = differences.min()
    if (found[-1] - found[0]) / least > MOST_STEPS:
        return None
    close = differences < 1.5 * least
    start = float(np.median(differences[close]))
    for divisor in _DIVISORS:
        gain = start / divisor
        if gain < _LEAST_STEP * slack.max() or (found[-1] - found[0]) / gain > MOST_STEPS:
            return None
        counts = _counted(differences, slack, gain)
        if counts is not None:
            return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return None


def _counted(differences: FloatArray, slack: FloatArray, gain: float) -> IntArray | None:
    """Return differences in steps of about `gain`, which is refined from small ones to large."""
    order = np.argsort(differences)
    counts = np.empty(len(differences), np.int64)
    done, total, n_steps, uncertain = 0, 0.0, 0, float(slack.max())
    while done < len(differences):
        # As far as the gain is known well enough to count.
        limit = gain * max(1.5, 0.2 * gain / max(uncertain, 1e-300))
        stop = int(np.searchsorted(differences[order], limit, "right"))
        some = order[done : max(stop, done + 1)]
        found = np.rint(differences[some] / gain)
        residual = np.abs(differences[some] - found * gain)
        if (found < 1).any() or (residual > slack[some] + found * uncertain + 1e-12 * gain).any():
            return None
        counts[some] = found
        total += float(differences[some].sum())
        n_steps += int(found.sum())
        gain = total / n_steps
        uncertain = min(uncertain, float(slack.max()) * max(1.0, len(order) ** 0.5) / n_steps)
        done += len(some)
    return counts


def _candidates(found: FloatArray, errors: FloatArray, steps: IntArray) -> list[Grid]:
    """Return grids that the values may lie on, the simplest first."""
    gain, low, high = _feasible(found, errors, steps)
    grids = []
    # An offset that was added leaves 1e-17 where 0 was meant.
    rest = found[np.abs(found).argmin()]
    nearest = abs(float(rest))
    # In steps from 0, which is on the grid of most converters; or halfway between two.
    for shift in (0.0, 0.5):
        first = round(float(found[0]) / gain - shift)
        whole = steps + first + shift
        used = whole != 0
        ends = (found + errors * [[-1], [1]])[:, used] / whole[used]
        least, most = float(ends.min(axis=0).max()), float(ends.max(axis=0).min())
        if least <= most:
            gains = [*_simple_numbers(least, most), (least + most) / 2]
            grids += [_grid(it, shift * it, first, steps) for it in gains]
            if 0 < nearest < _NEAR_ZERO * gain and not shift:
                grids += [_grid(it, float(rest), first, steps) for it in gains]
    for it in [*_simple_numbers(low, high), gain]:
        least, most = _offsets(found, errors, steps, it)
        first = round((least + most) / 2 / it)
        rest = first * it
        offsets = [*_simple_numbers(least - rest, most - rest), (least + most) / 2 - rest]
        grids += [_grid(it, offset, first, steps) for offset in offsets]
    return grids


def _simple_numbers(low: float, high: float) -> list[float]:
    """Return numbers between two that somebody may have chosen, the simplest first.

    Decimals, quotients of small numbers, these with a power of two below, and float32 numbers.
    """
    if not low < high:
        return []
    decimal, n_digits = _shortest_decimal(low, high)
    quotient = _simplest(low, high)
    dyadic = _simplest_dyadic(low, high)
    ways = [
        (_BITS_PER_DIGIT * n_digits, decimal),
        (
            quotient.numerator.bit_length() + quotient.denominator.bit_length(),
            quotient.numerator / quotient.denominator,
        ),
        (dyadic.numerator.bit_length() + 4, dyadic.numerator / dyadic.denominator),
    ]
    # What was computed in float32 throughout, from a gain of any kind.
    with np.errstate(over="ignore"):
        single = float(np.float32((low + high) / 2))
    if low <= single <= high:
        ways.append((_SINGLE_BITS, single))
    # Some number is as simple as the range is narrow; one that is much simpler is no accident.
    limit = min(_SIMPLE_BITS, np.log2(max(abs(low), abs(high)) / (high - low)) - _SURPRISE_BITS)
    return list(dict.fromkeys(it for bits, it in sorted(ways) if bits <= limit))


def _shortest_decimal(low: float, high: float) -> tuple[float, int]:
    """Return the number between two that has the fewest decimal digits, and their number."""
    middle = (low + high) / 2
    for digits in range(17):
        found = float(f"{middle:.{digits}e}")
        if low <= found <= high:
            return found, digits + 1
    return middle, 17


def _simplest_dyadic(low: float, high: float) -> Fraction:
    """Return the fraction between two numbers whose denominator is the least power of two."""
    power = max(-64, -int(np.ceil(np.log2(high - low))) - 64)
    while True:
        unit = Fraction(2) ** -power
        found = -(-Fraction(low) // unit) * unit
        if found <= high:
            return found
        power += 1


def _grid(gain: float, offset: float, first: int, steps: IntArray) -> Grid:
    return Grid(float(gain), float(offset), first, first + int(steps[-1]))


def _feasible(found: FloatArray, errors: FloatArray, steps: IntArray) -> tuple[float, float, float]:
    """Return the gain in the middle of those that some offset goes with, and the range of these.

    The room that an offset has is a concave function of the gain.
    """
    span, slack = float(steps[-1]), float(errors.max())
    middle = (found[-1] - found[0]) / span
    low, high = middle - 2 * slack / span, middle + 2 * slack / span

    def room(gain: float) -> float:
        least, most = _offsets(found, errors, steps, gain)
        return most - least

    for _ in range(_BISECTIONS):
        third = (high - low) / 3
        if room(low + third) < room(high - third):
            low += third
        else:
            high -= third
    best = (low + high) / 2
    if room(best) <= 0:
        return best, best, best
    edges = []
    for far in (middle - 2 * slack / span, middle + 2 * slack / span):
        inside, outside = best, far
        for _ in range(_BISECTIONS):
            half = (inside + outside) / 2
            inside, outside = (half, outside) if room(half) > 0 else (inside, half)
        edges.append(inside)
    return best, min(edges), max(edges)


def _offsets(
    found: FloatArray, errors: FloatArray, steps: IntArray, gain: float
) -> tuple[float, float]:
    """Return the least and the greatest offset that fits a gain; the first is more if none does."""
    rest = found - steps * gain
    return float((rest - errors).max()), float((rest + errors).min())


def _simplest(low: float, high: float) -> Fraction:
    """Return the fraction with the least denominator between two numbers (Stern and Brocot)."""
    if low <= 0 <= high:
        return Fraction(0)
    if high < 0:
        return -_simplest(-high, -low)
    return _between(Fraction(low), Fraction(high))


def _between(low: Fraction, high: Fraction) -> Fraction:
    whole = -(-low.numerator // low.denominator)
    if whole <= high:
        return Fraction(whole)
    floor = whole - 1
    return floor + 1 / _between(1 / (high - floor), 1 / (low - floor))


def _fitting(grid: Grid, found: FloatArray) -> NDArray[np.bool_]:
    """Return which values are exactly those of a grid, computed as counts are read."""
    counts = np.rint((found - grid.offset) / grid.gain)
    values = (counts * grid.gain + grid.offset).astype(np.float32)
    return np.asarray(values == found)
