"""Checks of dtype and shape: what arrays can serve as inputs and labels."""

import math
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.source_options import Role

MAX_AXES = 32
"""NumPy's own limit before version 2."""


def check_array(dtype: np.dtype[Any], shape: tuple[int, ...], role: Role, where: str) -> None:
    """Raise SourceError unless the array can serve as inputs ("x") or labels ("y").

    Inputs are bool, integers or floats of at most 8 bytes; labels may be text as well.
    """
    if dtype.hasobject:
        raise SourceError(
            f"{where}: holds Python objects (pickled), which are never loaded because loading "
            "them can run code; save plain arrays instead: np.savez(file, x=..., y=...)."
        )
    kinds = "biuf" if role == "x" else "biufSU"
    if dtype.kind not in kinds or dtype.itemsize == 0 or dtype.kind + str(dtype.itemsize) in _LONG:
        allowed = "numbers" if role == "x" else "numbers or text"
        kind = _KINDS.get(dtype.kind, "not supported")
        raise SourceError(
            f"{where}: dtype {dtype} is {kind}, but {role} must be {allowed} (bool, integers, "
            "floats of at most 64 bits"
            f"{'' if role == 'x' else ', str'}); convert it with astype and save it again."
        )
    if not shape and role == "x":
        raise SourceError(
            f"{where}: is a single value (0 axes), but x needs its rows on axis 0; "
            "save an array with at least one axis."
        )
    nonzero = math.prod(length for length in shape if length) * dtype.itemsize
    if len(shape) > MAX_AXES or nonzero >= 2**63:
        raise SourceError(f"{where}: shape {shape} is more than any array can have.")


def rows_of(role: Role, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in which an array is read: a single label is one row."""
    return shape if shape or role == "x" else (1,)


def check_rows(shape: tuple[int, ...], where: str) -> None:
    """Raise SourceError if rows hold no value; `shape` has the rows first. No rows are fine."""
    if 0 in shape[1:]:
        raise SourceError(f"{where}: shape {shape} leaves no value in a row; leave the file out.")


_LONG = {"f12", "f16"}
_KINDS = {
    "V": "structured",
    "M": "datetime",
    "m": "timedelta",
    "c": "complex",
    "f": "a long double",
    "S": "text",
    "U": "text",
}
