"""Columns that are chosen by name, in another order, or as differences of two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.views import DerivedRows
from zarrts.sources.step_options import Column, Pick
from zarrts.types import AnyArray, Description

_MAX_NAMES = 8


@dataclass(frozen=True)
class PickedRows(DerivedRows):
    """Columns of other rows, some of them minus another, some of them missing.

    Attributes
    ----------
    plus, minus : tuple of int
        Which column of the other rows each is, and which is subtracted; -1 where there is none,
        and in `plus` for a column of NaN.
    is_average : bool
        The mean of all columns that are there is subtracted.
    """

    plus: tuple[int, ...]
    minus: tuple[int, ...]
    is_average: bool

    label = "picked columns"

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other rows, with the columns that are picked."""
        return (*self.rows.shape[:-1], len(self.plus))

    @property
    def is_plain(self) -> bool:
        """Whether values stay as they are."""
        return not self.is_average and -1 not in self.plus and {*self.minus} == {-1}

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the other rows, or where there is arithmetic or NaN, a float that holds them."""
        dtype = self.rows.dtype
        return dtype if self.is_plain else np.result_type(dtype, np.float32)

    def _read(self, start: int, stop: int) -> AnyArray:
        block = self.rows.read(start, stop)
        if self.is_plain:
            return np.ascontiguousarray(block[..., list(self.plus)])
        out = np.full((*block.shape[:-1], len(self.plus)), np.nan)
        for column, (plus, minus) in enumerate(zip(self.plus, self.minus, strict=True)):
            if plus >= 0:
                out[..., column] = block[..., plus]
            if minus >= 0:
                out[..., column] -= block[..., minus]
        if self.is_average:
            self._subtract_average(out)
        return out.astype(self.dtype)

    def _subtract_average(self, out: AnyArray) -> None:
        """Subtract the mean of the columns that hold a value, summed in their order."""
        total, count = np.zeros(out.shape[:-1]), np.zeros(out.shape[:-1], np.int64)
        for column in range(out.shape[-1]):
            is_there = ~np.isnan(out[..., column])
            total += np.where(is_there, out[..., column], 0.0)
            count += is_there
        out -= (total / np.maximum(count, 1))[..., None]


@dataclass(frozen=True)
class Picked:
    """The columns of one recording that a step picks.

    Attributes
    ----------
    absent : tuple of str
        Names of the columns that the recording lacks.
    """

    plus: tuple[int, ...]
    minus: tuple[int, ...]
    description: Description
    absent: tuple[str, ...]


def picked_from(step: Pick, description: Description, n_columns: int, origin: str) -> Picked:
    """Return which columns of a recording a step picks.

    Raises
    ------
    SourceError
        If it does not name its columns, names one twice, or subtracts unlike units.
    """
    names = description.channels
    if names is None:
        raise SourceError(
            f"{origin}: does not name its channels, so that none can be picked; name them with "
            "channels= (--channels), or as an array such as ch_names in the file."
        )
    if len(names) != n_columns:
        raise SourceError(
            f"{origin}: names {len(names)} channels, but its rows have {n_columns} (the last "
            "axis); correct them, or say which axis is which with axes=."
        )
    units = description.units or ("",)
    units = units * n_columns if len(units) == 1 else units
    if len(units) != n_columns:
        raise SourceError(
            f"{origin}: names {len(units)} units, but its rows have {n_columns} (the last axis); "
            "correct them."
        )
    plus, minus, absent, found_units = [], [], [], []
    for column in step.columns:
        first = _position(column.of, names, origin)
        second = _position(column.minus, names, origin) if column.minus else -1
        if first < 0 or (column.minus and second < 0):
            absent.append(_shown(column, first))
            first = second = -1
        plus.append(first)
        minus.append(second)
        unit = units[first] if first >= 0 else ""
        if second >= 0 and units[second] and unit and units[second] != unit:
            raise SourceError(
                f"{origin}: {column.name} is {names[first]} in {unit} minus {names[second]} in "
                f"{units[second]}; give both one unit before."
            )
        found_units.append(unit)
    return Picked(
        plus=tuple(plus),
        minus=tuple(minus),
        description=Description(
            channels=tuple(it.name for it in step.columns),
            units=tuple(found_units) if any(found_units) else None,
            rate_hz=description.rate_hz,
            by_hand=description.by_hand,
        ),
        absent=tuple(absent),
    )


def _position(wanted: Sequence[str], names: Sequence[str], origin: str) -> int:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        return -1
    if names.count(found) > 1:
        raise SourceError(f"{origin}: has {names.count(found)} channels named {found}.")
    return names.index(found)


def _shown(column: Column, first: int) -> str:
    if first >= 0:
        return f"{column.name} (no {' or '.join(column.minus)})"
    others = [it for it in column.of if it != column.name]
    return f"{column.name} (nor {', '.join(others)})" if others else column.name
