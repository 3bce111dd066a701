"""Rows that are no array of a file as it is: values in memory, a whole array, a part of one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.rows import check_range
from zarrts.types import AnyArray, RowReader


@dataclass(frozen=True)
class ConstantRows:
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

    @property
    def is_sequential(self) -> bool:
        """Never: any row can be reached."""
        return False

    @property
    def block_rows(self) -> int:
        """1: there is nothing to be read."""
        return 1

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as an array that the caller owns."""
        check_range(start, stop, self.n_rows, self.value)
        return np.full(stop - start, self.value, self.dtype)

    def close(self) -> None:
        """Do nothing: no file is open."""


@dataclass(frozen=True)
class OneSample:
    """A whole array as the only row of another."""

    rows: RowReader

    @property
    def shape(self) -> tuple[int, ...]:
        """One row."""
        return (1, *self.rows.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the array."""
        return self.rows.dtype

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

    def close(self) -> None:
        """Release what the array holds."""
        self.rows.close()


@dataclass(frozen=True)
class PartOfRows:
    """Rows `start` to `stop` of another reader."""

    rows: RowReader
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """As many rows as the part has."""
        return (self.stop - self.start, *self.rows.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of all rows."""
        return self.rows.dtype

    @property
    def is_sequential(self) -> bool:
        """As all rows are."""
        return self.rows.is_sequential

    @property
    def block_rows(self) -> int:
        """As of all rows, but no more than there are."""
        return max(1, min(self.rows.block_rows, self.stop - self.start))

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, self.stop - self.start, "a part")
        return self.rows.read(self.start + start, self.start + stop)

    def close(self) -> None:
        """Release what the reader holds."""
        self.rows.close()


@dataclass(frozen=True, eq=False)
class ValueRows:
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

    @property
    def is_sequential(self) -> bool:
        """Never: any row can be reached."""
        return False

    @property
    def block_rows(self) -> int:
        """1: they are in memory."""
        return 1

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, len(self.values), "values")
        return np.array(self.values[start:stop], order="C")

    def close(self) -> None:
        """Do nothing: no file is open."""


@dataclass(frozen=True)
class FlatRows:
    """Rows of one value each, without their second axis."""

    rows: RowReader

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis."""
        return self.rows.shape[:1]

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
        return self.rows.read(start, stop).reshape(-1)

    def close(self) -> None:
        """Release what the rows hold."""
        self.rows.close()


@dataclass(frozen=True)
class CastRows:
    """Rows in another dtype, which holds all of their values."""

    rows: RowReader
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the rows."""
        return self.rows.shape

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
        return self.rows.read(start, stop).astype(self.dtype)

    def close(self) -> None:
        """Release what the rows hold."""
        self.rows.close()
