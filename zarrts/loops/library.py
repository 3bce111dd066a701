"""The compiled library, where there is one that fits this version; NumPy does the same work.

The environment variable ZARRTS_COMPILED says which is used: "0" NumPy, "require" the library or an
error, otherwise the library where it is there. `setup.py` reads the same variable when zarrts is
installed.
"""

import functools
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from zarrts.errors import ZarrtsError
from zarrts.types import AnyArray

VARIABLE = "ZARRTS_COMPILED"
ABI = 4
"""Of the library that this source needs; the C source has the same number."""

NO_COUNT = 1 << 15
"""Says to the library that no count stands for NaN."""

_DTYPES = ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
CODES = {np.dtype(name): i for i, name in enumerate(_DTYPES)}
"""Numbers of dtypes, as in the C source; those of foreign byte order are others."""

_INSTALL = (
    "where a C compiler is, install again: python -m pip install --force-reinstall --no-deps "
    "--no-cache-dir zarrts"
)
_REBUILD = "build it again: python -m pip install -e ."


@dataclass(frozen=True, eq=False)
class Choice:
    """The path that is used, and the reason.

    Attributes
    ----------
    compiled : module, or None
        None: NumPy.
    reason : str
        Why NumPy is used, and the remedy.
    """

    compiled: Any = None
    reason: str = ""


def choose(wanted: str, load: Callable[[], Any]) -> Choice:
    """Return what a value of the environment variable leads to.

    Parameters
    ----------
    wanted : "", "0", "1" or "require"
    load : callable
        Imports the library.

    Raises
    ------
    ZarrtsError
        If the library is required and not there, or the value is another.
    """
    if wanted not in ("", "0", "1", "require"):
        raise ZarrtsError(f"{VARIABLE}={wanted!r} is unknown; use 0, 1 or require.")
    if wanted == "0":
        return Choice(reason=f"{VARIABLE}=0")
    try:
        compiled = load()
    except ImportError as error:
        reason = f"the compiled library is not there ({error}); {_INSTALL}"
    else:
        if compiled.ABI == ABI:
            return Choice(compiled)
        # An editable install keeps the library of an older source.
        reason = f"the compiled library has number {compiled.ABI} and not {ABI}; {_REBUILD}"
        if wanted != "require":
            warnings.warn(f"zarrts runs on NumPy: {reason}", RuntimeWarning, stacklevel=2)
    if wanted == "require":
        raise ZarrtsError(f"{VARIABLE}=require: {reason}")
    return Choice(reason=reason)


@functools.cache
def choice() -> Choice:
    """Return what this process uses; decided at the first call."""
    return choose(os.environ.get(VARIABLE, ""), lambda: import_module("zarrts.loops._compiled"))


def describe() -> str:
    """Return what is used in a few words, for people."""
    found = choice()
    return "compiled" if found.compiled is not None else f"NumPy: {found.reason}"


def compiled_for(*arrays: AnyArray) -> Any:
    """Return the library if it can take all of these arrays, or None.

    It takes C-contiguous, aligned arrays in native byte order, of integers and of floats of 32
    and 64 bits.
    """
    compiled = choice().compiled
    if compiled is None:
        return None
    for array in arrays:
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned and array.dtype in CODES):
            return None
    return compiled


def code_of(dtype: np.dtype[Any]) -> int:
    """Return the number of a dtype that `compiled_for` takes."""
    return CODES[dtype]
