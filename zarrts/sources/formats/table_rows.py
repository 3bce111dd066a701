"""Columns of tables as rows: numbers side by side, or labels, time stamps and names of subjects."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from zarrts.sources.rows.reader import Rows
from zarrts.types import AnyArray

Kind = Literal["number", "text", "any"]
"""The form in which a column is read: floats with NaN, text with "", or as the file has it."""


class Table(Protocol):
    """A file of named columns, read by rows; small, and picklable."""

    @property
    def origin(self) -> str:
        """The name of the table in messages."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        ...

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def block_rows(self) -> int:
        """Rows that are read together."""
        ...

    def kind_of(self, column: str) -> str:
        """Return "number", "text", "time" or "other"; "text" where the file does not say it."""
        ...

    def blocks(
        self, columns: Sequence[str], kind: Kind, start: int = 0
    ) -> Iterator[tuple[int, list[AnyArray]]]:
        """Yield (first row, values of each column) from the block that holds row `start` on.

        Raises
        ------
        SourceError
            Naming file, line, column and value of what is not of the kind.
        """
        ...


class ColumnRows(Rows):
    """Columns of a table as an array.

    Parameters
    ----------
    table : Table
    columns : sequence of str
    dtype : numpy.dtype
    is_matrix : bool
        Whether there is an axis of columns.
    """

    def __init__(
        self, table: Table, columns: Sequence[str], dtype: np.dtype[Any], *, is_matrix: bool
    ) -> None:
        self._table, self._columns = table, tuple(columns)
        self._dtype, self._is_matrix = dtype, is_matrix
        self.label = f"{table.origin}: {', '.join(columns)}"
        self._latest: tuple[int, list[AnyArray]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_latest": None}

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and columns where it is a matrix."""
        n_rows = self._table.n_rows
        return (n_rows, len(self._columns)) if self._is_matrix else (n_rows,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values; text is as long as the longest."""
        return self._dtype

    @property
    def block_rows(self) -> int:
        """Rows of a block of the file."""
        return max(1, min(self._table.block_rows, self._table.n_rows))

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, *self.shape[1:]), self._dtype)
        done = start
        for first, values in self._from(start) if stop > start else ():
            low, high = max(start, first), min(stop, first + len(values[0]))
            for number, column in enumerate(values):
                part = column[low - first : high - first]
                (out[:, number] if self._is_matrix else out)[low - start : high - start] = part
            self._latest = first, values
            done = high
            if done >= stop:
                break
        return out

    def _from(self, start: int) -> Iterator[tuple[int, list[AnyArray]]]:
        """Yield blocks from the one of row `start` on; that read last is kept."""
        latest = self._latest  # of one task: no two read in one recording's rows at a time
        if latest is not None and latest[0] <= start < latest[0] + len(latest[1][0]):
            yield latest
            start = latest[0] + len(latest[1][0])
        if start < self._table.n_rows:
            kind: Kind = "text" if self._dtype.kind == "U" else "number"
            yield from self._table.blocks(self._columns, kind, start)

    def close(self) -> None:
        """Forget the block that was read last."""
        self._latest = None
