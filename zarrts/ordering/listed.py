"""The order of a list: these samples one after the other, as often as they stand in it."""

from collections.abc import Iterator

import numpy as np

from zarrts.indexing.units import ChunkUnits
from zarrts.ordering.order import Batching, Piece
from zarrts.types import IntArray


class ListedOrder:
    """Samples as somebody listed them, repeated ones included.

    A unit is read when the list comes to it, unless it was read so lately that it is still open.

    Parameters
    ----------
    units : ChunkUnits
    batching : Batching
        Of as many samples as the list has.
    numbers : int64, shape (n,)
        Which of the selected samples.
    slots : int, or None
        How many units may be open at once, at least 3; None if all fit.
    """

    def __init__(
        self, units: ChunkUnits, batching: Batching, numbers: IntArray, slots: int | None
    ) -> None:
        self.batching = batching
        self._numbers = numbers[batching.start : batching.stop]
        # A piece opens at most a quarter of what fits; what it finds was opened lately enough.
        self._max_samples = len(self._numbers) if slots is None else max(1, slots // 4)
        wanted = units.unit_of_number(self._numbers)
        kept = None if slots is None else slots - self._max_samples
        self._units, self._places = _opened(wanted, kept)
        self._lowest = np.minimum.accumulate(self._places[::-1])[::-1]

    @property
    def n_places(self) -> int:
        """Number of times that a unit is read."""
        return len(self._units)

    def units(self, start: int, stop: int) -> IntArray:
        """Return the units at some places."""
        return self._units[start:stop]

    def pieces(self, batch: int) -> Iterator[Piece]:
        """Yield the samples of a batch, no more at a time than can be open together."""
        start, _ = self.batching.bounds(batch)
        for low, high in self.batching.parts(batch, self._max_samples):
            yield Piece(
                batch=batch,
                start=low - start,
                stop=high - start,
                places=self._places[low:high],
                numbers=self._numbers[low:high],
                low=int(self._lowest[low]),
                high=int(self._places[low:high].max()) + 1,
            )


def _opened(wanted: IntArray, kept: int | None) -> tuple[IntArray, IntArray]:
    """Return which units are opened in turn, and in which of these turns each is found.

    Parameters
    ----------
    wanted : int64, shape (n,)
        The unit of each sample.
    kept : int, or None
        A unit is found among the last so many that were opened; None: among all.
    """
    if kept is None:
        units, first, inverse = np.unique(wanted, return_index=True, return_inverse=True)
        order = np.argsort(first)
        turn_of_unit = np.empty(len(units), np.int64)
        turn_of_unit[order] = np.arange(len(units))
        return units[order], turn_of_unit[inverse]
    starts = np.flatnonzero(np.diff(wanted, prepend=-1))
    turns: list[int] = []
    opened: list[int] = []
    latest: dict[int, int] = {}
    runs: list[int] = wanted[starts].tolist()
    for unit in runs:
        turn = latest.get(unit, -1)
        if turn < 0 or turn < len(opened) - kept:
            turn = latest[unit] = len(opened)
            opened.append(unit)
        turns.append(turn)
    lengths = np.diff(np.append(starts, len(wanted)))
    return np.array(opened, np.int64), np.repeat(np.array(turns, np.int64), lengths)
