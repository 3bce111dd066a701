"""Rows derived from those of other readers, and values in memory."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.counted import Counted, counted_of
from zarrts.sources.rows.reader import Rows
from zarrts.types import AnyArray, RowReader, SeriesList


def count_rows(rows: RowReader | SeriesList) -> int:
    """Return how many rows, or series, there are."""
    return len(rows.readers) if isinstance(rows, SeriesList) else rows.shape[0]


@dataclass(frozen=True)
class ConstantRows(Rows):
    """The same text in every row."""

    value: str
    n_rows: int

    label = "a constant"

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis."""
        return (self.n_rows,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Text as long as the value."""
        return np.dtype(f"U{max(1, len(self.value))}")

    def _read(self, start: int, stop: int) -> AnyArray:
        return np.full(stop - start, self.value, self.dtype)


@dataclass(frozen=True, eq=False)
class ValueRows(Rows):
    """A few values that were read already, such as the labels in a list."""

    values: AnyArray

    label = "values"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values, rows first."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values, in native byte order."""
        return self.values.dtype

    def _read(self, start: int, stop: int) -> AnyArray:
        return np.array(self.values[start:stop], order="C")


# Of one other reader ---------------------------------------------------------------------------


@dataclass(frozen=True)
class DerivedRows(Rows):
    """Another reader's rows, but for what a subclass says."""

    rows: RowReader

    label = "derived rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other rows."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the other rows."""
        return self.rows.dtype

    @property
    def is_sequential(self) -> bool:
        """As the other rows are."""
        return self.rows.is_sequential

    @property
    def block_rows(self) -> int:
        """As of the other rows."""
        return self.rows.block_rows

    def _read(self, start: int, stop: int) -> AnyArray:
        return self.rows.read(start, stop)

    def close(self) -> None:
        """Release what the other rows hold."""
        self.rows.close()


@dataclass(frozen=True)
class OneSample(DerivedRows):
    """A whole array as the only row of another."""

    label = "a series"

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

    def _read(self, start: int, stop: int) -> AnyArray:
        if start == stop:
            return np.empty((0, *self.rows.shape), self.rows.dtype)
        return self.rows.read(0, self.rows.shape[0])[None]


@dataclass(frozen=True)
class PartOfRows(DerivedRows):
    """Rows `start` to `stop` of another reader."""

    start: int
    stop: int

    label = "a part"

    @property
    def shape(self) -> tuple[int, ...]:
        """As many rows as the part has."""
        return (self.stop - self.start, *self.rows.shape[1:])

    @property
    def block_rows(self) -> int:
        """As of all rows, but no more than there are."""
        return max(1, min(self.rows.block_rows, self.stop - self.start))

    @property
    def counted(self) -> Counted | None:
        """The counts behind these rows."""
        found = counted_of(self.rows)
        return found and replace(found, rows=PartOfRows(found.rows, self.start, self.stop))

    def _read(self, start: int, stop: int) -> AnyArray:
        return self.rows.read(self.start + start, self.start + stop)


@dataclass(frozen=True)
class RowsOfRow(DerivedRows):
    """Row `number` of another reader, which is an array with rows of its own."""

    number: int

    label = "one of a stack"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the row."""
        return self.rows.shape[1:]

    @property
    def block_rows(self) -> int:
        """All of them: they are read together."""
        return max(1, self.shape[0])

    def _read(self, start: int, stop: int) -> AnyArray:
        return np.array(self.rows.read(self.number, self.number + 1)[0, start:stop], order="C")


@dataclass(frozen=True)
class FlatRows(DerivedRows):
    """Rows of one value each, without their second axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """One axis."""
        return self.rows.shape[:1]

    def _read(self, start: int, stop: int) -> AnyArray:
        return self.rows.read(start, stop).reshape(-1)


@dataclass(frozen=True)
class CastRows(DerivedRows):
    """Rows in another dtype, which holds all of their values."""

    to: np.dtype[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that is asked for."""
        return self.to

    def _read(self, start: int, stop: int) -> AnyArray:
        return self.rows.read(start, stop).astype(self.to)


@dataclass(frozen=True)
class AdjustedRows(DerivedRows):
    """Rows with their columns (the last axis) chosen and in another order, or in other units.

    Attributes
    ----------
    columns : tuple of int, or None
        Which columns of the other rows these are; None is all, as they are.
    factors : tuple of float, or None
        What the values of each column of these are multiplied by, in float64.
    """

    columns: tuple[int, ...] | None
    factors: tuple[float, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other rows, with the columns that are chosen."""
        shape = self.rows.shape
        return shape if self.columns is None else (*shape[:-1], len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the other rows; where values are multiplied, a float that holds them."""
        if self.factors is None:
            return self.rows.dtype
        return np.result_type(self.rows.dtype, np.float32)

    @property
    def counted(self) -> Counted | None:
        """The counts behind these rows, unless their values are in other units."""
        found = counted_of(self.rows)
        if found is None or self.factors is not None or self.columns is None:
            return found if self.factors is None else None
        return replace(
            found,
            rows=AdjustedRows(found.rows, self.columns, None),
            gain=tuple(found.gain[it] for it in self.columns),
            offset=tuple(found.offset[it] for it in self.columns),
        )

    def _read(self, start: int, stop: int) -> AnyArray:
        block = self.rows.read(start, stop)
        if self.columns is not None:
            block = np.ascontiguousarray(block[..., list(self.columns)])
        if self.factors is not None:
            factors = np.array(self.factors if len(block.shape) > 1 else self.factors[0])
            block = (block * factors).astype(self.dtype)
        return block


@dataclass(frozen=True)
class IntegerRows(DerivedRows):
    """Labels that were saved as floats, as the integers that they are.

    Reading another value is a SourceError, which names `origin`.
    """

    origin: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """int64."""
        return np.dtype(np.int64)

    def _read(self, start: int, stop: int) -> AnyArray:
        block = self.rows.read(start, stop)
        found = as_integers(block)
        is_other = found != block
        if is_other.any():
            raise SourceError(
                f"{self.origin}: the label {block[is_other][0]} is not a whole number, and so not "
                "a class; for a label that is missing, save a number such as -1, and leave that "
                "out with samples.labelled(missing=-1)."
            )
        return found


def as_integers(block: AnyArray) -> AnyArray:
    """Return floats as int64; those that are not whole numbers differ from the result."""
    with np.errstate(invalid="ignore"):  # NaN and what is too large become another number
        return block.astype(np.int64)


# Of several other readers ----------------------------------------------------------------------


@dataclass(frozen=True)
class StackedRows(Rows):
    """Rows that are whole arrays of one shape, each with a reader of its own."""

    readers: tuple[RowReader, ...]

    label = "a list of series"

    @property
    def shape(self) -> tuple[int, ...]:
        """One row an array."""
        return (len(self.readers), *self.readers[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """One that holds the values of all."""
        return np.result_type(*{reader.dtype for reader in self.readers})

    def _read(self, start: int, stop: int) -> AnyArray:
        rows = np.empty((stop - start, *self.readers[0].shape), self.dtype)
        for row, reader in zip(rows, self.readers[start:stop], strict=True):
            row[...] = reader.read(0, reader.shape[0])
        return rows

    def close(self) -> None:
        """Release what the readers hold."""
        for reader in self.readers:
            reader.close()
