"""Rows of data sets in HDF5 files, which are opened for each read and never kept open.

h5py has one lock for the process, so that reads by several threads wait for each other.
"""

import contextlib
import importlib
import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.buckets.remote_file import RemoteFile, RemoteStream
from zarrts.errors import SourceError
from zarrts.sources.formats.libraries import needed
from zarrts.sources.rows.files import Stamp, opened
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import native_dtype, to_native
from zarrts.types import AnyArray

HDF5_ERRORS = (OSError, KeyError, ValueError, RuntimeError, TypeError, OverflowError)
"""Errors that h5py raises where a file is damaged, or a filter is not there."""

_UNLOCKED = {"locking": "best-effort"}


@contextlib.contextmanager
def opened_hdf5(file: Stamp, where: str, stream: RemoteStream | None = None) -> Iterator[Any]:
    """Open an HDF5 file, as it was seen before, for reading; one at an address through a stream.

    Raises
    ------
    SourceError
        If h5py is not installed, or the file is none; also for what is wrong inside `with`.
    """
    path = file.path
    h5py = needed("h5py", "mat" if path.lower().endswith(".mat") else "hdf5", "HDF5 files", where)
    try:
        if isinstance(file, RemoteFile) and stream is None:
            stream = RemoteStream(file)
        with h5py.File(stream or path, "r", **({} if stream else _UNLOCKED)) as opened:
            yield opened
    except HDF5_ERRORS as error:
        if stream is not None and stream.error is not None:
            raise stream.error from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{where}: is not an HDF5 file, or is damaged ({reason}); copy or save it again."
        ) from error
    finally:
        # The error knows h5py's frames, and these HDF5's hold on the stream: a circle that nobody
        # would break before Python ends, and HDF5, which lets go of it after that, would crash.
        if stream is not None:
            stream.error = None


def check_filters(dataset: Any, where: str) -> None:
    """Raise SourceError where HDF5 lacks a filter that a data set was packed with.

    The package hdf5plugin brings the usual ones, and makes them known by being imported.
    """
    import h5py

    packed = dataset.id.get_create_plist()
    filters = [packed.get_filter(number) for number in range(packed.get_nfilters())]
    if all(h5py.h5z.filter_avail(code) for code, *_ in filters):
        return
    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")
    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            told = f" ({name.decode('utf-8', 'replace')})" if name else ""
            raise SourceError(
                f"{where}: is packed with the HDF5 filter {code}{told}, which is not installed: "
                "python -m pip install hdf5plugin, or pack it anew where it is: h5repack -f GZIP=4"
            )


def check_stored(dataset: Any, where: str) -> tuple[str, ...]:
    """Raise SourceError unless every value of a data set was written.

    HDF5 gives a fill value for what is not there. Returns the files (absolute) that a virtual
    data set takes its values from.
    """
    if dataset.external:
        raise SourceError(
            f"{where}: keeps its values in other files ({dataset.external[0][0]!r}), which are not "
            "followed; copy them into one file with h5repack."
        )
    if not dataset.size:
        return ()
    check_filters(dataset, where)
    if dataset.is_virtual:
        return _check_virtual(dataset, where)
    if dataset.chunks is None:
        n_bytes = dataset.id.get_storage_size()
        declared = dataset.size * dataset.id.get_type().get_size()
        # Of text of any length, what is stored here only says where it is.
        if n_bytes != declared and (dataset.dtype.kind != "O" or not n_bytes):
            raise SourceError(
                f"{where}: declares {declared:,} bytes, but {n_bytes:,} were written; save it "
                "again."
            )
        return ()
    expected = math.prod(
        -(-length // piece) for length, piece in zip(dataset.shape, dataset.chunks, strict=True)
    )
    n_chunks = dataset.id.get_num_chunks()
    if n_chunks != expected:
        raise SourceError(
            f"{where}: {n_chunks:,} of its {expected:,} pieces were written, and the rest would be "
            "read as zeros; save it again."
        )
    return ()


def _check_virtual(dataset: Any, where: str) -> tuple[str, ...]:
    if dataset.file.driver == "fileobj":
        raise SourceError(
            f"{where}: is virtual, and takes values from other files, which are not followed at "
            "an address; copy all of them to a folder first."
        )
    folder = os.path.dirname(os.path.abspath(dataset.file.filename))
    mapped, paths = 0, []
    for part in dataset.virtual_sources():
        mapped += part.vspace.get_select_npoints()
        if part.file_name == ".":
            _check_part(dataset.file, part.dset_name, where)
            continue
        path = os.path.abspath(os.path.join(folder, part.file_name))
        if os.path.isabs(part.file_name) or not path.startswith(folder + os.sep):
            raise SourceError(
                f"{where}: is virtual, and takes values from {part.file_name!r}, which is outside "
                "of its folder; put that file beside it."
            )
        if not os.path.isfile(path):
            raise SourceError(
                f"{where}: is virtual, and takes values from {part.file_name!r}, which is not "
                "there; put that file beside it."
            )
        with opened(path, f"{where}: {part.file_name}") as (_, stamp):
            pass
        with opened_hdf5(stamp, f"{where}: {part.file_name}") as file:
            _check_part(file, part.dset_name, f"{where}: {part.file_name}")
        paths.append(path)
    if mapped != dataset.size:
        raise SourceError(
            f"{where}: is virtual, and {mapped:,} of its {dataset.size:,} values have a source; "
            "save it again."
        )
    return tuple(dict.fromkeys(paths))


def _check_part(file: Any, name: str, where: str) -> None:
    import h5py

    group = file
    for step in filter(None, name.split("/")):
        link = group.get(step, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise SourceError(f"{where}: {name!r} is not there, or a link; save it again.")
        group = group[step]
    if not isinstance(group, h5py.Dataset) or group.is_virtual:
        raise SourceError(f"{where}: {name!r} is not a data set of values; save it again.")
    check_stored(group, f"{where}: {name}")


@dataclass(frozen=True)
class Hdf5Rows(Rows):
    """Rows of one data set.

    Attributes
    ----------
    stamp : Stamp
    name : str
        Path of the data set in the file.
    stored_dtype : numpy.dtype
    stored_shape : tuple of int
        As h5py has them.
    axes : tuple of int
        Axis i of the result is axis `axes[i]` of the data set; rows are `axes[0]`.
    piece_rows : int
        Rows that are unpacked together.
    is_bool : bool
        Numbers stand for false and true, as in MATLAB.
    label : str
        Name of the array in errors.
    """

    stamp: Stamp
    name: str
    stored_dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    axes: tuple[int, ...]
    piece_rows: int
    label: str
    is_bool: bool = False

    @classmethod
    def of(
        cls,
        dataset: Any,
        stamp: Stamp,
        axes: tuple[int, ...],
        label: str,
        *,
        is_bool: bool = False,
    ) -> "Hdf5Rows":
        """Return the reader of an open data set whose axes are to come out in an order."""
        piece = 1 if dataset.chunks is None else dataset.chunks[axes[0]]
        if axes[0] != 0:  # rows are scattered: fewer reads of more rows
            piece = max(piece, -(-_LEAST_BYTES // max(1, dataset.dtype.itemsize)))
        rows = max(1, min(piece, dataset.shape[axes[0]]))
        # Without what h5py notes in dtypes, which would be pickled.
        dtype = np.dtype(dataset.dtype.str)
        return cls(stamp, dataset.name, dtype, dataset.shape, axes, rows, label, is_bool)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""
        return tuple(self.stored_shape[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype, in native byte order."""
        return np.dtype(bool) if self.is_bool else native_dtype(self.stored_dtype)

    @property
    def block_rows(self) -> int:
        """As many as are unpacked together."""
        return self.piece_rows

    def _read(self, start: int, stop: int) -> AnyArray:
        if start == stop or 0 in self.shape:
            return np.empty((stop - start, *self.shape[1:]), self.dtype)
        where = tuple(
            slice(start, stop) if axis == self.axes[0] else slice(None)
            for axis in range(len(self.stored_shape))
        )
        stream = RemoteStream(self.stamp) if isinstance(self.stamp, RemoteFile) else None
        with self.stamp.open(), opened_hdf5(self.stamp, self.label, stream) as file:
            dataset = file[self.name]
            if dataset.shape != self.stored_shape or np.dtype(dataset.dtype.str) != (
                self.stored_dtype
            ):
                raise SourceError(f"{self.label}: changed while it was in use; start again.")
            check_filters(dataset, self.label)  # in each process
            if stream is not None:  # or all tasks would wait, with h5py's lock, for each answer
                stream.fetch(self._ranges(dataset, start, stop))
            stored = np.asarray(dataset[where])
        if self.is_bool:
            stored = stored != 0
        return to_native(stored.transpose(self.axes), self.label)

    def _ranges(self, dataset: Any, start: int, stop: int) -> list[tuple[int, int]]:
        """Return (start, stop) in the file of what rows need; nothing where it is scattered."""
        axis, sizes = self.axes[0], dataset.chunks
        if sizes is None:
            offset = dataset.id.get_offset()
            row_bytes = dataset.id.get_storage_size() // self.shape[0]
            if offset is None or axis != 0:
                return []
            return [(offset + start * row_bytes, offset + stop * row_bytes)]
        steps = [range(0, length, size) for length, size in zip(dataset.shape, sizes, strict=True)]
        steps[axis] = range(start // sizes[axis] * sizes[axis], stop, sizes[axis])
        if math.prod(map(len, steps)) > _MAX_RANGES:
            return []
        chunks = map(dataset.id.get_chunk_info_by_coord, itertools.product(*steps))
        return [(it.byte_offset, it.byte_offset + it.size) for it in chunks if it.size]


_LEAST_BYTES = 16 * 1024
_MAX_RANGES = 4096
