"""Small tables with named columns: CSV files, mappings, structured arrays and data frames."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import OptionError

MAX_LINES = 5_000_000

Columns = dict[str, NDArray[Any]]
"""Columns of equal length by name, in lower case."""


def columns_of(given: Any, name: str) -> Columns:
    """Return the columns of a table, however it is given; text is stripped of blanks.

    Parameters
    ----------
    given : path, mapping, structured array, or data frame of pandas, polars or pyarrow
    name : str
        Of the table, in errors.

    Raises
    ------
    OptionError
        If it is not a table.
    """
    if isinstance(given, str | os.PathLike):
        try:
            with open(given, "rb") as stream:
                return columns_of_csv(stream, os.fspath(given))
        except OSError as error:
            raise OptionError(f"{os.fspath(given)}: cannot be read ({error}).") from error
    names = getattr(getattr(given, "dtype", None), "names", None)
    if isinstance(given, Mapping):
        names = [*given]
    elif names is None:
        names = getattr(given, "column_names", None) or getattr(given, "columns", None)
    if names is None:
        raise OptionError(
            f"{name} has to be a table: the path of a CSV file, a dictionary of columns, a "
            f"structured array or a data frame, not {type(given).__name__}."
        )
    columns = {str(it).strip().lower(): _array(given[it]) for it in names}
    lengths = {key: len(it) for key, it in columns.items()}
    if len({*lengths.values()}) > 1 or len(columns) < len(names):
        raise OptionError(f"{name}: its columns need names that differ, and one length: {lengths}.")
    return columns


def _array(column: Any) -> NDArray[Any]:
    if hasattr(column, "to_numpy"):
        is_arrow = type(column).__module__.startswith("pyarrow")
        column = column.to_numpy(zero_copy_only=False) if is_arrow else column.to_numpy()
    values = np.asarray(column)
    if values.dtype.kind in "OT":
        texts = ["" if it is None or it != it else it for it in values.tolist()]
        values = np.array([str(it).strip() for it in texts], np.str_)
    return np.char.strip(values) if values.dtype.kind == "U" else values


def columns_of_csv(stream: BinaryIO, where: str) -> Columns:
    """Return the columns of a CSV file in UTF-8 as text; its first line names them.

    Commas, semicolons or tabs part them, whichever the first line has most of.

    Raises
    ------
    OptionError
        If it cannot be read, has no lines, or too many.
    """
    try:
        with io.TextIOWrapper(stream, newline="", encoding="utf-8-sig") as text:
            first = text.readline()
            separator = max(",;\t", key=first.count)
            names = [
                it.strip().lower() for it in next(csv.reader([first], delimiter=separator), [])
            ]
            lines: list[list[str]] = []
            for line in csv.reader(text, delimiter=separator, skipinitialspace=True):
                if len(lines) >= MAX_LINES:
                    raise OptionError(f"{where}: has more than {MAX_LINES:,} lines.")
                if line:
                    lines.append(line)
    except (UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{where}: cannot be read ({error}); save it in UTF-8.") from error
    short = [number for number, line in enumerate(lines, 2) if len(line) < len(names)]
    twice = sorted({it for it in names if names.count(it) > 1})
    if short or not lines or twice:
        what = f"line {short[0]} has fewer values than columns" if short else "has no lines"
        what = f"two columns are called {twice[0]!r}" if twice else what
        raise OptionError(f"{where}: {what}; correct it.")
    return {
        name: np.array([line[column].strip() for line in lines], np.str_)
        for column, name in enumerate(names)
    }


def first_of(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first of some names that is among the columns."""
    known = {*columns}
    return next((name for name in names if name in known), None)


def numbers_of(values: NDArray[Any], name: str, where: str) -> NDArray[np.float64]:
    """Return a column as numbers.

    Raises
    ------
    OptionError
        Naming the first that is not a finite number.
    """
    if values.dtype.kind in "biuf":
        found = values.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(found))
    else:
        found = np.full(len(values), np.nan)
        for number, it in enumerate(values.tolist()):
            try:
                found[number] = float(it)
            except (TypeError, ValueError):
                break
        bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        number = int(bad[0])
        raise OptionError(
            f"{where}: line {number + 2} has {values[number]!s:.40} in column {name!r}, which is "
            "not a number; correct it."
        )
    return found
