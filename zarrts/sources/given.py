"""Recordings that are no files: arrays that the caller gives."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources import fingerprint
from zarrts.sources.absent import filled
from zarrts.sources.intervals import IntervalRows
from zarrts.sources.kind import ArrayOptions, Role, check_array, check_rows
from zarrts.sources.named import named_rows
from zarrts.sources.rows import check_range, native_dtype, to_native
from zarrts.types import AnyArray, LabelsPer, Recording, RowReader, SourceRecording

_INTERVAL = ("start", "stop", "label")


class ArrayRows:
    """Rows of an array that is given as it is: NumPy, Dask, h5py, zarr, a list or a function.

    Parameters
    ----------
    array : array-like
        Has `shape`, `dtype` and slices on axis 0; or has `shape` and `dtype` and is called with
        start and stop; or is turned into a NumPy array.
    label : str
        How errors name the array.
    """

    def __init__(self, array: Any, label: str) -> None:
        if isinstance(array, np.ma.MaskedArray):
            raise SourceError(
                f"{label}: is a masked array, whose mask would be lost; fill it first: "
                "array.filled(value)."
            )
        self._array = _as_rows(array, label)
        self._label = label
        self._shape = _known_shape(self._array, label)
        self._dtype = native_dtype(_dtype_of(self._array, label))
        # Contents are too big to hash, and two arrays may agree in everything that is small.
        self._token = uuid.uuid4().hex

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """In native byte order."""
        return self._dtype

    @property
    def is_sequential(self) -> bool:
        """Never: any row can be reached."""
        return False

    @property
    def block_rows(self) -> int:
        """Rows of the array's own largest piece, where it is stored in pieces; else 1."""
        pieces = getattr(self._array, "shards", None) or getattr(self._array, "chunks", None)
        if not isinstance(pieces, tuple) or not pieces:
            return 1
        first = max(pieces[0], default=1) if isinstance(pieces[0], tuple) else pieces[0]
        return max(1, min(int(first), self._shape[0]))

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, self._shape[0], self._label)
        rows = np.asarray(
            self._array(start, stop) if callable(self._array) else self._array[start:stop]
        )
        if rows.shape != (stop - start, *self._shape[1:]):
            raise SourceError(
                f"{self._label}: rows {start} to {stop} came back with shape {rows.shape}, but "
                f"the array declares {self._shape}."
            )
        if native_dtype(rows.dtype) != self._dtype:
            raise SourceError(
                f"{self._label}: rows came back as {rows.dtype}, but the array declares "
                f"{self._dtype}."
            )
        native = to_native(rows, self._label)
        return native.copy() if np.may_share_memory(native, rows) else native

    def close(self) -> None:
        """Do nothing: the array belongs to whoever gave it."""

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("zarrts.ArrayRows", self._token)


def _as_rows(array: Any, label: str) -> Any:
    # Slices of a pandas Series go by its index, not by position.
    if hasattr(array, "to_numpy"):
        array = array.to_numpy()
    if isinstance(array, list):
        array = filled(array)
    try:
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            array = np.asarray(array)
    except ValueError as error:
        raise SourceError(f"{label}: cannot be made an array ({error}).") from error
    if isinstance(array, np.ndarray) and array.dtype == object and array.size:
        values = filled(array.reshape(-1).tolist())
        kinds = {type(value) for value in values}
        if kinds in ({str}, {float}):
            array = np.array(values).reshape(array.shape)
    return array


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
            return np.asarray(array[:0]).dtype
        except (TypeError, ValueError, RuntimeError) as error:
            raise SourceError(f"{label}: cannot be read as a NumPy array ({error}).") from error


def find_recordings(
    recordings: Sequence[Recording], options: ArrayOptions
) -> tuple[list[SourceRecording], list[str]]:
    """Return what `recordings` hold, in their order, and a sentence per array that is no good."""
    found: list[SourceRecording] = []
    problems: list[str] = []
    if options.axes is not None and recordings:
        raise SourceError(
            "axes= is about files; bring the arrays of a Recording into the order "
            "(sample, time, channel) before, with numpy.transpose."
        )
    for number, recording in enumerate(recordings, start=1):
        origin = f"recording {number} ({recording.subject})"
        try:
            found.append(_found(recording, origin))
        except SourceError as error:
            problems.append(str(error))
    return found, problems


def _found(recording: Recording, origin: str) -> SourceRecording:
    if not (isinstance(recording.subject, str) and recording.subject):
        raise SourceError(f"{origin}: its subject must be a name, not {recording.subject!r}.")
    x = _rows(recording.x, "x", origin)
    y, labels_per = _labels(recording.y, x.shape[0], origin)
    return SourceRecording(
        subject=recording.subject,
        origin=origin,
        x=x,
        y=y,
        x_name="x",
        y_name=", ".join(map(str, recording.y)) if isinstance(recording.y, Mapping) else "y",
        size_bytes=0,
        fingerprint=fingerprint.of_readers((x, y)),
        is_sampled=not callable(recording.x) and fingerprint.are_sampled((x, y)),
        labels_per=labels_per,
    )


def _labels(labels: Any, n_rows: int, origin: str) -> tuple[RowReader, LabelsPer]:
    """Return the labels of a recording, and whether it is said what has one."""
    if isinstance(labels, Mapping):
        found = {str(name): _labels(it, n_rows, f"{origin}: {name}") for name, it in labels.items()}
        kinds = {labels_per for _, labels_per in found.values()}
        if len(kinds) > 1:
            raise SourceError(
                f"{origin}: some of its labels are one for all rows, and some are not; give all "
                "alike."
            )
        rows = named_rows({name: it for name, (it, _) in found.items()}, origin)
        return rows, kinds.pop()
    if isinstance(labels, str | bool | int | float | np.generic) or _is_single(labels):
        return _rows(np.asarray(labels)[None], "y", origin), "recording"
    names = getattr(getattr(labels, "dtype", None), "names", None)
    if names is not None and {*_INTERVAL} <= {*names}:
        where = f"{origin}: y"
        starts, stops = (labels[name] for name in _INTERVAL[:2])
        of_intervals = _rows(labels[_INTERVAL[2]], "y", origin)
        values = of_intervals.read(0, of_intervals.shape[0])
        return IntervalRows.of(starts, stops, values, n_rows, where), "row"
    return _rows(labels, "y", origin), "sample"


def _is_single(labels: Any) -> bool:
    return isinstance(labels, np.ndarray) and labels.ndim == 0


def _rows(array: object, role: Role, origin: str) -> ArrayRows:
    where = f"{origin}: {role}"
    rows = ArrayRows(array, where)
    check_array(rows.dtype, rows.shape, role, where)
    check_rows(rows.shape, where)
    return rows
