"""Check the labels that a function of a user's makes of rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.keywords import first_names
from zarrts.labels.scheme import LabelScheme
from zarrts.types import AnyArray


def labels_of_function(
    scheme: LabelScheme, function: Callable[[AnyArray], Any], rows: AnyArray
) -> AnyArray:
    """Return the labels that a function makes of stored ones, if they are labels of the scheme.

    Parameters
    ----------
    scheme : LabelScheme
        Of the labels as stored.
    function : callable
    rows : array, shape (n, length, ...)
        Stored labels of all rows of n windows.

    Raises
    ------
    SampleError
        If it does not return one label a window, or labels that the store does not know.
    """
    found = np.asarray(function(rows))
    name = f"label={getattr(function, '__qualname__', repr(function))}"
    if found.shape[:1] != rows.shape[:1]:
        raise SampleError(
            f"{name} returned shape {found.shape} for {len(rows)} windows; it has to return a "
            f"label for each, shape ({len(rows)}, ...)."
        )
    if scheme.parts:
        if found.dtype.names != rows.dtype.names:
            raise SampleError(
                f"{name} returned dtype {found.dtype}, but labels are records of "
                f"{', '.join(scheme.parts)}; return an array of dtype {rows.dtype}."
            )
        return found
    if found.dtype.kind not in "biuf":
        raise SampleError(
            f"{name} returned dtype {found.dtype}, but labels are numbers as they are stored: "
            f"{_known(scheme) or rows.dtype}."
        )
    if scheme.class_names is None:
        return found
    if scheme.encoding == "one_hot":
        is_known = (np.isin(found, (0, 1)) & (found.sum(axis=-1, keepdims=True) == 1)).all()
        if found.shape[-1] != len(scheme.class_names) or not is_known:
            raise SampleError(
                f"{name} returned shape {found.shape}, but a label is a row of "
                f"{len(scheme.class_names)} with one 1."
            )
        return found
    known = range(-1, len(scheme.class_names)) if scheme.encoding == "codes" else scheme.class_names
    is_unknown = ~np.isin(found, np.array(list(known)))
    if is_unknown.any():
        raise SampleError(
            f"{name} returned {found[is_unknown].flat[0]!s}, which is not a label here: "
            f"{_known(scheme)}. Return one of these for each window."
        )
    return found.astype(rows.dtype)


def _known(scheme: LabelScheme) -> str:
    if scheme.class_names is None:
        return ""
    if scheme.encoding == "numbers":
        return f"the classes are {first_names(scheme.class_names)}"
    codes = [f"{code} ({name})" for code, name in enumerate(scheme.class_names)]
    return f"the codes of the classes are {first_names(codes)}, and -1 is no label"
