"""Quantiles from a sample of the values, drawn at places that depend on their number alone.

Of a recording, one value a channel is drawn from each of some runs of equal length, at least
`n_points` (where there are as many) and up to 32 times as many where the recording is long. What
is kept are `n_points` of these, evenly spaced in rank. So the rank of a quantile is wrong by what
a random sample of that many values would be wrong (of 4,096: below 0.03 in 99.9 % of cases, by
the inequality of Dvoretzky, Kiefer and Wolfowitz), and by at most 1 / n_points from the thinning.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.keyed import keyed_bits
from zarrts.types import AnyArray, IntArray

FloatArray = NDArray[np.float64]

_MIN_POINTS, _MAX_POINTS = 16, 256
_POINT_VALUES = 1 << 19  # of all recordings of a segment
_MOST_VALUES = 1 << 21  # the same, where the least number of points makes more than those
_DRAWN_PER_POINT = 16
_DRAWN_SHARE = 32  # of the values of a long recording: more would slow the conversion
_KEY = np.uint64(0x5A41525254535154)


def count_points(n_recordings: int, n_channels: int) -> int:
    """Return how many points a channel of each recording gets; 0, none, if these are too many.

    Thousands of small recordings would take more memory for their points than for all else.
    """
    n_sketches = max(1, n_recordings * n_channels)
    if n_sketches * _MIN_POINTS > _MOST_VALUES:
        return 0
    return min(max(_POINT_VALUES // n_sketches, _MIN_POINTS), _MAX_POINTS)


def count_joined_points(n_points: Sequence[int], n_recordings: int, n_channels: int) -> int:
    """Return how many points are kept of recordings of parts that become one; 0: none.

    As many as the part has that has fewest, unless these are too many in all.

    Parameters
    ----------
    n_points : sequence of int
        Of each recording, in each part.
    """
    fewest = min(n_points)
    if fewest * n_recordings * n_channels <= _MOST_VALUES:
        return fewest
    return min(fewest, count_points(n_recordings, n_channels))


def step_of(n_values: int, n_points: int) -> int:
    """Return from how many values of a channel one is drawn."""
    wanted = min(_DRAWN_PER_POINT * n_points, n_values // _DRAWN_SHARE)
    return max(1, n_values // max(wanted, n_points))


def places(low: int, high: int, step: int) -> IntArray:
    """Return which of the values `low` to `high` are drawn: one of each `step`, counted from 0."""
    runs = np.arange(low // step, -(-high // step), dtype=np.int64)
    inside = (keyed_bits(_KEY, runs) % np.uint64(step)).astype(np.int64)
    found = runs * step + inside
    return np.asarray(found[(found >= low) & (found < high)])


def draw(rows: AnyArray, low: int, step: int) -> AnyArray:
    """Return the drawn values, shape (n, n_channels), of rows of which `low` is the first."""
    n_channels = rows.shape[-1] if rows.ndim > 1 else 1
    values = rows.reshape(-1, n_channels)
    first = low * (len(values) // max(1, len(rows)))
    return values[places(first, first + len(values), step) - first]


class Drawing:
    """Draws values from the rows of a recording, or of a part of it, as they come.

    Parameters
    ----------
    shape : tuple of int
        Of the recording.
    first : int
        Row of it that is the first of those that come.
    n_points : int
        Of its sketch; 0: nothing is drawn.
    values_of : callable
        Turns what is drawn from the rows, (n, n_channels), into values.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        first: int,
        n_points: int,
        values_of: Callable[[AnyArray], AnyArray] = lambda drawn: drawn,
    ) -> None:
        self._n_channels = shape[-1] if len(shape) > 1 else 1
        per_row = math.prod(shape[1:]) // max(1, self._n_channels)  # values of a channel
        n_values = shape[0] * per_row
        self._n_points, self._n_values, self._values_of = n_points, n_values, values_of
        self._first = self._next = first * per_row
        self._drawn: list[AnyArray] = []
        if n_points:
            self._places = places(self._first, n_values, step_of(n_values, n_points))

    def add(self, rows: AnyArray) -> None:
        """Draw from the next rows."""
        if self._n_points:
            values = rows.reshape(-1, self._n_channels)
            stop = self._next + len(values)
            some = slice(*np.searchsorted(self._places, (self._next, stop)))
            self._drawn.append(values[self._places[some] - self._next])
            self._next = stop

    def values(self) -> AnyArray:
        """Return what was drawn; of a whole recording, its points."""
        drawn = self._values_of(np.concatenate(self._drawn))
        is_whole = self._first == 0 and self._next == self._n_values
        return condense(drawn, self._n_points) if is_whole else drawn


def condense(values: AnyArray, n_points: int) -> AnyArray:
    """Return `n_points` of the values (n, n_channels), evenly spaced in rank, for each channel.

    NaN are left out; where there is no number, floats are NaN and integers 0.
    """
    is_float = values.dtype.kind == "f"
    nothing = np.array(np.nan if is_float else 0).astype(values.dtype)
    if len(values) == 0:
        return np.full((n_points, values.shape[1]), nothing)
    # The order of -0.0 and 0.0 is no promise of NumPy's sort, and bytes are one of ours. Channels
    # in rows are sorted several times as fast.
    ordered = np.ascontiguousarray((values + values.dtype.type(0) if is_float else values).T)
    ordered.sort(axis=1)
    n_numbers = np.full((values.shape[1], 1), len(values))
    if is_float:
        n_numbers -= np.isnan(ordered).sum(axis=1, keepdims=True)  # which come last
    ranks = (2 * np.arange(n_points) + 1) * n_numbers // (2 * n_points)
    found = np.take_along_axis(ordered, ranks, axis=1)
    return np.ascontiguousarray(np.where(n_numbers > 0, found, nothing).T)


@dataclass(frozen=True, eq=False)
class Sketch:
    """Values, each of which stands for some others.

    Attributes
    ----------
    values : float64, shape (n, n_channels)
        In any order; NaN stand for nothing.
    weights : float64, shape (n, n_channels)
        For how many values.
    """

    values: FloatArray
    weights: FloatArray

    @staticmethod
    def of_points(points: AnyArray, counts: IntArray) -> "Sketch":
        """Return that of recordings.

        Parameters
        ----------
        points : shape (n_recordings, n_points, n_channels)
            As `condense` gives them.
        counts : int64, shape (n_recordings, n_channels)
            Numbers, NaN not counted, of each recording.
        """
        weights = np.broadcast_to(counts[:, None] / points.shape[1], points.shape)
        n_channels = points.shape[2]
        values = points.reshape(-1, n_channels).astype(np.float64)
        return Sketch(values, weights.reshape(-1, n_channels).astype(np.float64))

    @staticmethod
    def joined(parts: "Sequence[Sketch]") -> "Sketch":
        """Return that of all."""
        return Sketch(
            np.concatenate([it.values for it in parts]),
            np.concatenate([it.weights for it in parts]),
        )

    def quantile(self, shares: Sequence[float]) -> FloatArray:
        """Return quantiles, shape (n_shares, n_channels); NaN where there are no numbers."""
        found = np.full((len(shares), self.values.shape[1]), np.nan)
        for channel in range(self.values.shape[1]):
            values, weights = self.values[:, channel], self.weights[:, channel]
            kept = ~np.isnan(values) & (weights > 0)
            if kept.any():
                order = np.argsort(values[kept], kind="stable")
                values, weights = values[kept][order], weights[kept][order]
                ranks = np.cumsum(weights) - weights / 2
                with np.errstate(invalid="ignore"):  # between infinities
                    found[:, channel] = np.interp(np.asarray(shares) * weights.sum(), ranks, values)
        return found
