"""Shapes, dtypes and names of the axes of the arrays of a segment."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_INNER_AXES = {0: (), 1: ("channel",), 2: ("time", "channel")}


def axes_of_x(n_axes: int, axes: Sequence[str] | None, *, is_ragged: bool) -> Sequence[str]:
    """Return what the axes of x are called."""
    if is_ragged:
        inner = (*(f"axis_{n}" for n in range(1, n_axes - 1)), "channel")[: n_axes - 1]
        return ("row", *(axes[1:] if axes else inner))
    return axes or ("sample", *_INNER_AXES.get(n_axes - 1, _many_axes(n_axes - 1)))


def axes_of_input(name: str, n_axes: int, *, is_ragged: bool) -> Sequence[str]:
    """Return what the axes of one of several inputs are called: each has lengths of its own."""
    inner = (*(f"axis_{n}_of_{name}" for n in range(1, n_axes - 2)), f"time_of_{name}")
    own = (*inner, f"channel_of_{name}")[-(n_axes - 1) :] if n_axes > 1 else ()
    return ("row" if is_ragged else "sample", *own)


def _many_axes(n_axes: int) -> tuple[str, ...]:
    return (*(f"axis_{n}" for n in range(1, n_axes - 1)), "time", "channel")


def label_arrays(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """Return (path in the segment, shape, dtype) of each array of labels."""
    return [
        (f"y/{name}" if name else "y", of_field, its_dtype)
        for name, of_field, its_dtype in fields(shape, dtype)
    ]


def fields(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """Return (name, shape, dtype) of each field of records; "" of what has none."""
    if dtype.names is None:
        return [("", shape, dtype)]
    fields = {name: dtype[name] for name in sorted(dtype.names)}
    return [(name, (*shape, *it.shape), it.base) for name, it in fields.items()]


def label_axes(n_axes: int) -> tuple[str, ...]:
    """Return what the axes of labels behind the first are called."""
    return tuple(f"label_axis_{n}" for n in range(1, n_axes))
