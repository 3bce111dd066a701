"""Rows that are no array of a file as it is: values in memory, a whole array, a part of one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.rows.strided import check_range
from zarrts.types import AnyArray, RowReader, SeriesList


def count_rows(rows: RowReader | SeriesList) -> int:
    """Return how many rows, or series, there are."""
    return len(rows.readers) if isinstance(rows, SeriesList) else rows.shape[0]


class RowsInMemory:
    """What readers have in common whose rows need no file, or are reached one by one."""

    @property
    def is_sequential(self) -> bool:
        """Never: any row can be reached."""
        return False

    @property
    def block_rows(self) -> int:
        """1: no more than is asked for has to be read."""
        return 1

    def close(self) -> None:
        """Do nothing: no file is open."""


@dataclass(frozen=True)
class RowsOfAnother:
    """Another reader's rows, but for what a subclass says."""

    rows: RowReader

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the rows."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the rows."""
        return self.rows.dtype

    @property
    def is_sequential(self) -> bool:
        """As the rows are."""
        return self.rows.is_sequential

    @property
    def block_rows(self) -> int:
        """As of the rows."""
        return self.rows.block_rows

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        return self.rows.read(start, stop)

    def close(self) -> None:
        """Release what the rows hold."""
        self.rows.close()


@dataclass(frozen=True)
class ConstantRows(RowsInMemory):
    """The same text in every row."""

    value: str
    n_rows: int

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis."""
        return (self.n_rows,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Text as long as the value."""
        return np.dtype(f"U{max(1, len(self.value))}")

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as an array that the caller owns."""
        check_range(start, stop, self.n_rows, self.value)
        return np.full(stop - start, self.value, self.dtype)


@dataclass(frozen=True, eq=False)
class ValueRows(RowsInMemory):
    """A few values that were read already, such as the labels in a list."""

    values: AnyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """In native byte order."""
        return self.values.dtype

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, len(self.values), "values")
        return np.array(self.values[start:stop], order="C")


@dataclass(frozen=True)
class OneSample(RowsOfAnother):
    """A whole array as the only row of another."""

    @property
    def shape(self) -> tuple[int, ...]:
        """One row."""
        return (1, *self.rows.shape)

    @property
    def is_sequential(self) -> bool:
        """Never: there is one row."""
        return False

    @property
    def block_rows(self) -> int:
        """1: there is one row."""
        return 1

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, 1, "a series")
        if start == stop:
            return np.empty((0, *self.rows.shape), self.rows.dtype)
        return self.rows.read(0, self.rows.shape[0])[None]


@dataclass(frozen=True)
class PartOfRows(RowsOfAnother):
    """Rows `start` to `stop` of another reader."""

    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """As many rows as the part has."""
        return (self.stop - self.start, *self.rows.shape[1:])

    @property
    def block_rows(self) -> int:
        """As of all rows, but no more than there are."""
        return max(1, min(self.rows.block_rows, self.stop - self.start))

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, self.stop - self.start, "a part")
        return self.rows.read(self.start + start, self.start + stop)


@dataclass(frozen=True)
class FlatRows(RowsOfAnother):
    """Rows of one value each, without their second axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis."""
        return self.rows.shape[:1]

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        return self.rows.read(start, stop).reshape(-1)


@dataclass(frozen=True)
class CastRows(RowsOfAnother):
    """Rows in another dtype, which holds all of their values."""

    to: np.dtype[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The other one."""
        return self.to

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        return self.rows.read(start, stop).astype(self.to)
