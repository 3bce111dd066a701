"""The conversion of rows of sources to what a segment stores of each input: values, or counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.conversion.casting import cast_rows
from zarrts.conversion.counting import Counting, UnfitError
from zarrts.stats.count_moments import CountMoments
from zarrts.stats.moments import Moments, measure, merge_all
from zarrts.storage.packing import Packing
from zarrts.storage.segments import Segment, parts_of
from zarrts.storage.table import RecordingTable
from zarrts.types import AnyArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """The conversion of rows of inputs to what is stored.

    Attributes
    ----------
    dtype : numpy.dtype
        Of values; of several inputs, a record with a field for each.
    countings : dict of Counting
        By the name of the input ("" of the only one), of those that are stored as counts.
    """

    dtype: np.dtype[Any]
    countings: Mapping[str, Counting] = field(default_factory=dict)

    @staticmethod
    def of(segment: Segment, table: RecordingTable, *, are_counts: bool = False) -> "Encoding":
        """Return how a segment was written.

        Parameters
        ----------
        are_counts : bool
            The sources of inputs that are packed give counts themselves.
        """
        countings = {
            name: Counting(packing=it, are_counts=are_counts) for name, it in table.packing.items()
        }
        return Encoding(dtype=segment.x_values.dtype, countings=countings)

    @property
    def packing(self) -> dict[str, Packing]:
        """The packing of each input that is stored as counts."""
        return {name: it.packing for name, it in self.countings.items()}

    def stored(self, rows: AnyArray, number: int, origin: str) -> dict[str, AnyArray]:
        """Return rows of a recording as they are stored, by input.

        Raises
        ------
        SourceError
            If values cannot be stored so; UnfitError where they are none of those of counts.
        """
        return {
            name: self._stored(name, part, number, origin) for name, part in parts_of(rows).items()
        }

    def _stored(self, name: str, rows: AnyArray, number: int, origin: str) -> AnyArray:
        where = f"{origin}: {name}" if name else origin
        counting = self.countings.get(name)
        if counting is None:
            return cast_rows(rows, self._dtype_of(name), where)
        try:
            return counting.counts(rows, number, where)
        except UnfitError as error:
            error.input = name
            raise

    def _dtype_of(self, name: str) -> np.dtype[Any]:
        return self.dtype[name].base if name else self.dtype

    def values(self, name: str, stored: AnyArray, number: int) -> AnyArray:
        """Return the values of some of an input that are stored, (n, n_channels)."""
        counting = self.countings.get(name)
        return stored if counting is None else counting.values(stored, number)

    def is_same(
        self, rows: AnyArray, stored: AnyArray, number: int, origin: str
    ) -> NDArray[np.bool_]:
        """Return for each row of a source whether what is stored stands for it."""
        found, of_store = np.ones(len(rows), bool), parts_of(stored)
        for name, part in parts_of(rows).items():
            counting = self.countings.get(name)
            if counting is None:
                found &= same_rows(self._stored(name, part, number, origin), of_store[name])
            else:
                found &= counting.is_same(part, of_store[name], number, origin)
        return found


class Measuring:
    """The statistics of the values of stored rows of a recording, which come in parts."""

    def __init__(self, encoding: Encoding, number: int) -> None:
        self._encoding, self._number = encoding, number
        self._counted: dict[str, CountMoments] = {}
        self._parts: dict[str, list[Moments]] = {}

    def add(self, stored: Mapping[str, AnyArray]) -> None:
        """Add rows of each input, as `Encoding.stored` gives them."""
        for name, rows in stored.items():
            counting = self._encoding.countings.get(name)
            if counting is None:
                self._parts.setdefault(name, []).append(measure(rows))
                continue
            if name not in self._parts:
                self._parts[name], self._counted[name] = [], counting.measuring()
            self._counted[name].add(rows if rows.ndim > 1 else rows[:, None])

    def moments(self) -> Moments:
        """Return the statistics of all, at least one part; inputs one after the other."""
        return Moments.beside(
            [
                self._encoding.countings[name].moments(self._counted[name], self._number)
                if name in self._counted
                else merge_all(parts)
                for name, parts in self._parts.items()
            ]
        )


def same_rows(one: AnyArray, other: AnyArray) -> NDArray[np.bool_]:
    """Return for each row whether it is the same in two arrays of one dtype, bit by bit."""
    width = max(1, one[0].nbytes) if len(one) else 1
    left, right = (
        np.ascontiguousarray(it).view(np.uint8).reshape(len(it), width) for it in (one, other)
    )
    return np.asarray((left == right).all(axis=1))
