"""Rows of arrays that are given as they are, and values that are missing among objects."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import native_dtype, to_native
from zarrts.sources.rows.text_labels import MAX_TEXT_BYTES
from zarrts.types import AnyArray


def fill_missing(values: Sequence[Any]) -> list[Any]:
    """Return values with "" for None and NaN among text, and NaN for None among numbers.

    Both are labels that are missing. Other values stay as they are, None alone included.
    """
    present = [value for value in values if not _is_missing(value)]
    if len(present) == len(values) or not present:
        return list(values)
    if all(isinstance(value, str) for value in present):
        return ["" if _is_missing(value) else value for value in values]
    if all(isinstance(value, bool | int | float) for value in present):
        return [float("nan") if value is None else float(value) for value in values]
    return list(values)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float) and value != value


_MISSING = ("NAType", "NaTType")
"""Classes of pandas whose values stand for missing ones, and are equal to nothing."""


class ArrayRows(Rows):
    """Rows of an array that is given as it is: NumPy, Dask, h5py, zarr, a list or a function.

    Parameters
    ----------
    array : array-like
        Has `shape`, `dtype` and slices on axis 0; or has `shape` and `dtype` and is called with
        start and stop; or is turned into a NumPy array.
    label : str
        Name of the array in errors.
    """

    def __init__(self, array: Any, label: str) -> None:
        if isinstance(array, np.ma.MaskedArray):
            raise SourceError(
                f"{label}: is a masked array, whose mask would be lost; fill it first: "
                "array.fill_missing(value)."
            )
        self._array = _as_rows(array, label)
        self.label = label
        self._shape = _known_shape(self._array, label)
        self._dtype = native_dtype(_dtype_of(self._array, label))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype, in native byte order."""
        return self._dtype

    @property
    def block_rows(self) -> int:
        """Rows of the array's own largest piece, where it is stored in pieces; else 1."""
        pieces: Any = None
        with contextlib.suppress(NotImplementedError):  # Zarr's chunks of unequal lengths
            pieces = getattr(self._array, "shards", None) or getattr(self._array, "chunks", None)
        if pieces is None and hasattr(self._array, "read_chunk_sizes"):
            pieces = self._array.read_chunk_sizes
        if not isinstance(pieces, tuple) or not pieces:
            return 1
        first = max(pieces[0], default=1) if isinstance(pieces[0], tuple) else pieces[0]
        return max(1, min(int(first), self._shape[0]))

    def _read(self, start: int, stop: int) -> AnyArray:
        rows = np.asarray(
            self._array(start, stop) if callable(self._array) else self._array[start:stop]
        )
        if rows.shape != (stop - start, *self._shape[1:]):
            raise SourceError(
                f"{self.label}: rows {start} to {stop} came back with shape {rows.shape}, but "
                f"the array declares {self._shape}."
            )
        if native_dtype(rows.dtype) != self._dtype:
            raise SourceError(
                f"{self.label}: rows came back as {rows.dtype}, but the array declares "
                f"{self._dtype}."
            )
        native = to_native(rows, self.label)
        return native.copy() if np.may_share_memory(native, rows) else native


def _as_rows(array: Any, label: str) -> Any:
    # Slices of a pandas Series go by its index, not by position.
    if hasattr(array, "to_numpy"):
        is_arrow = type(array).__module__.startswith("pyarrow")
        array = array.to_numpy(zero_copy_only=False) if is_arrow else array.to_numpy()
    if isinstance(array, list):
        array = fill_missing(array)
    try:
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            array = np.asarray(array)
    except ValueError as error:
        raise SourceError(f"{label}: cannot be made an array ({error}).") from error
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    if isinstance(array, np.ndarray) and kind == "T":  # NumPy's StringDType
        array = array.astype(object)
    elif kind in ("O", "T") and not isinstance(array, np.ndarray) and not callable(array):
        array = _texts(array, label)
    if isinstance(array, np.ndarray) and array.dtype == object and array.size:
        values = fill_missing(array.reshape(-1).tolist())
        kinds = {type(value) for value in values}
        if kinds in ({str}, {float}):
            array = np.array(values).reshape(array.shape)
    return array


def _texts(array: Any, label: str) -> Any:
    """Return text in an array of h5py, Zarr or another library, read by pieces, as objects."""
    if len(array.shape) != 1:
        return array
    found: list[Any] = []
    n_bytes = 0
    for start in range(0, int(array.shape[0]), 10_000):
        for value in np.asarray(array[start : start + 10_000], dtype=object).tolist():
            found.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
            n_bytes += 4 * len(value) if isinstance(value, str | bytes) else 8
        if n_bytes > MAX_TEXT_BYTES:
            raise SourceError(f"{label}: its text is too long for labels; give codes instead.")
    objects = np.empty(len(found), object)
    objects[:] = found
    return objects


def _known_shape(array: Any, label: str) -> tuple[int, ...]:
    lengths = tuple(array.shape)
    if not lengths:
        raise SourceError(f"{label}: is a single value, not an array with rows on axis 0.")
    if any(length is None or length != length for length in lengths):
        raise SourceError(
            f"{label}: has the unknown shape {lengths}; for a Dask array call "
            "compute_chunk_sizes() first."
        )
    return tuple(int(length) for length in lengths)


def _dtype_of(array: Any, label: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(array.dtype)
        return dtype
    except TypeError:
        # Other libraries have dtypes of their own; what an empty slice becomes is the truth.
        try:
            empty: AnyArray = np.asarray(array[:0])
            return empty.dtype
        except (TypeError, ValueError, RuntimeError) as error:
            raise SourceError(f"{label}: cannot be read as a NumPy array ({error}).") from error
