"""Labels of rows, from labels that are given for intervals or for equal lengths of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.views import DerivedRows
from zarrts.types import AnyArray, IntArray, RowReader

_MAX_SHOWN = 3


@dataclass(frozen=True, eq=False)
class IntervalRows(Rows):
    """One label for each row, from intervals of rows that share a label.

    Rows in no interval have no label: "" in text, NaN in floats.

    Attributes
    ----------
    starts, stops : int64, shape (n_intervals,)
        Ascending, half-open, apart from each other.
    labels : array, shape (n_intervals, ...)
    n_rows : int
    """

    starts: IntArray
    stops: IntArray
    labels: AnyArray
    n_rows: int

    label = "labels of intervals"

    @classmethod
    def of(
        cls,
        starts: Sequence[int] | IntArray,
        stops: Sequence[int] | IntArray,
        labels: AnyArray,
        n_rows: int,
        where: str,
    ) -> "IntervalRows":
        """Check and sort intervals, given in any order.

        Raises
        ------
        SourceError
            If some are empty, overlap or lie outside; or rows have no label that cannot be
            missing.
        """
        begins, ends = (np.asarray(it) for it in (starts, stops))
        if begins.dtype.kind not in "iu" or ends.dtype.kind not in "iu":
            raise SourceError(
                f"{where}: start and stop are rows, whole numbers, not {begins.dtype} and "
                f"{ends.dtype}; multiply times by the rate and round them."
            )
        order = np.argsort(begins, kind="stable")
        begins, ends, labels = (
            begins[order].astype(np.int64),
            ends[order].astype(np.int64),
            labels[order],
        )
        bad = np.flatnonzero((begins < 0) | (ends > n_rows) | (begins >= ends))
        if len(bad):
            shown = ", ".join(f"{begins[i]:,} to {ends[i]:,}" for i in bad[:_MAX_SHOWN])
            raise SourceError(
                f"{where}: {len(bad)} intervals are empty or outside the {n_rows:,} rows "
                f"({shown}); start is the first row, stop the one after the last."
            )
        over = np.flatnonzero(begins[1:] < ends[:-1])
        if len(over):
            i = int(over[0])
            raise SourceError(
                f"{where}: the intervals {begins[i]:,} to {ends[i]:,} and {begins[i + 1]:,} to "
                f"{ends[i + 1]:,} overlap, so that a row has two labels; give each row one."
            )
        n_without = n_rows - int((ends - begins).sum())
        if n_without and labels.dtype.kind not in "Uf":
            raise SourceError(
                f"{where}: {n_without:,} of {n_rows:,} rows are in no interval, and a label of "
                f"{labels.dtype} cannot be missing; give text, or floats."
            )
        return cls(begins, ends, labels, n_rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return (self.n_rows, *self.labels.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""
        return self.labels.dtype

    def _read(self, start: int, stop: int) -> AnyArray:
        missing = np.nan if self.dtype.kind == "f" else self.dtype.type()
        out = np.full((stop - start, *self.labels.shape[1:]), missing, self.dtype)
        low = int(np.searchsorted(self.stops, start, "right"))
        high = int(np.searchsorted(self.starts, stop, "left"))
        for i in range(low, high):
            out[max(0, self.starts[i] - start) : self.stops[i] - start] = self.labels[i]
        return out


@dataclass(frozen=True)
class RepeatedRows(DerivedRows):
    """One label for each row, from labels for `every` rows each; the last may be for fewer.

    Row i has label i // every, as after np.repeat(labels, every)[:n_rows].
    """

    every: int
    n_rows: int

    label = "labels of stretches"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return (self.n_rows, *self.rows.shape[1:])

    def _read(self, start: int, stop: int) -> AnyArray:
        first = start // self.every
        labels = self.rows.read(first, -(-stop // self.every) if stop > start else first)
        return np.asarray(labels[np.arange(start, stop) // self.every - first])


def every_of(rows: RowReader) -> int | None:
    """Return how many rows have one label together; None where each has its own."""
    while isinstance(rows, DerivedRows) and not isinstance(rows, RepeatedRows):
        rows = rows.rows
    return rows.every if isinstance(rows, RepeatedRows) else None
