"""Plain values for what a pickle of arrays names and calls; nothing is imported or called.

Of all names in a pickle these alone are known: those that `ndarray.__reduce__`,
`ndarray.__reduce_ex__` and `dtype.__reduce__` write, in old NumPy and new; of dtypes, StringDType
as well.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.rows.array_checks import MAX_AXES

_TYPE = re.compile(r"[biufcSUVOMm]\d{1,9}")
REMEDY = "save plain arrays instead: np.savez(file, x=..., y=...)"
_MAX_SHOWN = 80


@dataclass(frozen=True)
class Raw:
    """Bytes that stay in the file.

    Attributes
    ----------
    offset, n_bytes : int
        Where they lie.
    is_text : bool
        They are UTF-8 text, whose characters (all below 256) are the bytes that are meant.
    """

    offset: int
    n_bytes: int
    is_text: bool = False


@dataclass
class PickledArray:
    """An array in a pickle; `data` is where its values lie, or themselves, or a list of objects."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    is_fortran: bool = False
    data: "Raw | bytes | list[Any] | None" = None


@dataclass(frozen=True)
class Name:
    """Something that a pickle names; never imported."""

    meaning: str


@dataclass
class Dtype:
    """A dtype; its byte order comes after it was made."""

    dtype: np.dtype[Any]


MEANINGS = {
    **{
        (f"numpy.{core}.multiarray", name): Name(name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): Name("_frombuffer") for core in ("core", "_core")},
    ("numpy", "ndarray"): Name("ndarray"),
    ("numpy", "memmap"): Name("ndarray"),  # its values are pickled as those of any array
    ("numpy", "dtype"): Name("dtype"),
    ("_codecs", "encode"): Name("encode"),
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs"): Name("text"),
}
"""Every name that is known, by module and name."""


def _reconstruct(subtype: Any, shape: Any, typecode: Any) -> PickledArray:
    if not (isinstance(subtype, Name) and subtype.meaning == "ndarray"):
        raise ValueError("an array of another class")
    return PickledArray()


def fill(array: PickledArray, shape: Any, dtype: Any, data: Any, *, is_fortran: bool) -> None:
    """Give an array what it consists of, as `ndarray.__setstate__` does; ValueError if it cannot.

    Objects are copied, so that nothing is appended to them later.
    """
    if not isinstance(shape, tuple) or len(shape) > MAX_AXES or not isinstance(dtype, Dtype):
        raise ValueError("an array without shape or dtype")
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("an array of an impossible shape")
    if isinstance(data, str) and not dtype.dtype.hasobject:  # a str of Python 2
        data = data.encode("latin-1")
    if dtype.dtype.hasobject and isinstance(data, list):
        if len(data) != math.prod(shape):
            raise ValueError(f"{len(data):,} objects in an array of shape {shape}")
        data = list(data)
    elif dtype.dtype.hasobject or not isinstance(data, Raw | bytes):
        raise ValueError("an array without values")
    array.shape, array.dtype, array.is_fortran, array.data = shape, dtype.dtype, is_fortran, data


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    if order not in ("C", "F") or (isinstance(dtype, Dtype) and dtype.dtype.hasobject):
        raise ValueError("an array in no known order")
    array = PickledArray()
    fill(array, shape, dtype, data, is_fortran=order == "F")
    return array


def _new_dtype(name: Any, align: Any = False, copy: Any = True) -> Dtype:
    if not isinstance(name, str) or not _TYPE.fullmatch(name):
        raise ValueError(f"no dtype {shown(name)}")
    return Dtype(np.dtype(name))


def set_state(target: Dtype, version: Any, order: Any, *rest: Any) -> None:
    """Give a dtype its byte order, as `dtype.__setstate__` does; ValueError if it has fields."""
    if version not in (3, 4) or order not in ("<", ">", "|", "=") or len(rest) < 3:
        raise ValueError(f"a dtype of version {shown(version)}")
    subarray, names, fields = rest[:3]
    if not subarray is names is fields is None:
        raise ValueError("a dtype with fields, which is not a plain array's")
    if order in "<>":
        target.dtype = target.dtype.newbyteorder(order)


def _encoded(text: Any, encoding: Any) -> Raw | bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {shown(encoding)}")
    if isinstance(text, Raw) and text.is_text:
        return text
    if not isinstance(text, str):
        raise ValueError("bytes of what is not text")
    return text.encode("latin-1")


def _scalar(dtype: Any, data: Any) -> PickledArray:
    array = PickledArray()
    fill(array, (), dtype, data, is_fortran=False)
    return array


CALLS: dict[str, Callable[..., Any]] = {
    "_reconstruct": _reconstruct,
    "_frombuffer": _from_buffer,
    "dtype": _new_dtype,
    "encode": _encoded,
    "scalar": _scalar,
    # StringDType: a list of texts, whatever stands for one that is missing.
    "text": lambda coerces, missing=None: Dtype(np.dtype(object)),
}
"""The action of each name when it is called."""


def shown(value: Any) -> str:
    """Return a value for a message, shortened; a nest of lists can be longer than any memory."""
    if isinstance(value, str):
        return repr(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}...")
    return str(value) if type(value) is int and value.bit_length() < 64 else type(value).__name__
