"""`.npy` files of objects: inputs and labels as people put them together, never unpickled.

What is understood: [inputs, labels] and other sequences of arrays, a dict of arrays by name, and a
sequence of equally long series, in all the forms that `np.save` makes of them (arrays of objects,
lists, tuples). Where the arrays lie is found by `pickle_machine`; they are read from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources import npy
from zarrts.sources.kind import ArrayOptions, Role, check_array, check_rows
from zarrts.sources.packed import SpooledRows, StreamedRows
from zarrts.sources.pickle_machine import read_pickle
from zarrts.sources.pickle_values import REMEDY, PickledArray, Raw
from zarrts.sources.pickled_text import TextMember
from zarrts.sources.rows import FileStamp, Layout, StridedRows, native_dtype, to_native
from zarrts.sources.series import SeriesRows
from zarrts.sources.views import ValueRows
from zarrts.types import AnyArray, RowReader


@dataclass(frozen=True)
class _PickledContents:
    """The arrays of one pickle.

    Attributes
    ----------
    stamp : FileStamp
    origin : str
    arrays : dict
        A PickledArray of numbers or text, a list of these (series), or a NumPy array of few
        values, by name.
    is_named : bool
    found : str
    """

    stamp: FileStamp
    origin: str
    arrays: dict[str, "PickledArray | list[PickledArray] | AnyArray"]
    is_named: bool
    found: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    def where(self, name: str) -> str:
        return self.origin if len(self.arrays) == 1 else f"{self.origin}: array {name!r}"

    def shape(self, name: str) -> tuple[int, ...]:
        array = self.arrays[name]
        if isinstance(array, list):
            return (len(array), *array[0].shape)
        return array.shape

    def describe(self, name: str) -> str:
        array = self.arrays[name]
        if isinstance(array, list):
            return f"{name} ({len(array):,} series, the first {array[0].shape} {array[0].dtype})"
        return f"{name} {array.shape} {array.dtype}"

    def reader(self, name: str, role: Role, options: ArrayOptions) -> RowReader:
        array, where = self.arrays[name], self.where(name)
        if isinstance(array, list):
            return self._series(array, role, options, where)
        if isinstance(array, np.ndarray):
            check_array(array.dtype, array.shape, role, where)
            order = options.order(role, array.shape, where)
            values = to_native(array if order is None else array.transpose(order), where)
            check_rows(values.shape, where)
            return ValueRows(values)
        assert array.dtype is not None
        check_array(array.dtype, array.shape, role, where)
        order = options.order(role, array.shape, where)
        layout = Layout.of(array.dtype, array.shape, is_fortran=array.is_fortran, order=order)
        check_rows(layout.shape, where)
        return self._stored(array, layout, where)

    def _stored(self, array: PickledArray, layout: Layout, where: str) -> RowReader:
        label = f"{self.stamp.path}{where.removeprefix(self.origin)}"
        data = array.data
        if isinstance(data, bytes):
            _check_size(len(data), layout, where)
            buffer = np.frombuffer(data, np.uint8).copy()
            return ValueRows(layout.arrange(buffer, layout.n_rows, label))
        assert isinstance(data, Raw)
        if data.is_text:
            member = TextMember(self.stamp, data.offset, data.n_bytes, label)
            return (StreamedRows if layout.is_rows_first else SpooledRows)(member, layout)
        _check_size(data.n_bytes, layout, where)
        return StridedRows(self.stamp, data.offset, layout, label)

    def _series(
        self, arrays: Sequence[PickledArray], role: Role, options: ArrayOptions, where: str
    ) -> RowReader:
        first = arrays[0]
        assert first.dtype is not None
        shapes = {array.shape for array in arrays}
        dtypes = {array.dtype for array in arrays}
        if len(shapes) > 1:
            lengths = sorted(shape[0] if shape else 0 for shape in shapes)
            raise SourceError(
                f"{where}: holds {len(arrays):,} series of {len(shapes):,} different shapes "
                f"({lengths[0]:,} to {lengths[-1]:,} rows), which cannot be stored yet; cut them "
                "into samples of one length first, an array of shape (sample, time, channel)."
            )
        if len(dtypes) > 1:
            names = ", ".join(sorted(str(dtype) for dtype in dtypes))
            raise SourceError(
                f"{where}: holds series of several dtypes ({names}); save them alike."
            )
        check_array(first.dtype, (len(arrays), *first.shape), role, where)
        order = options.order(role, (len(arrays), *first.shape), where)
        if order is not None and order[0] != 0:
            raise SourceError(
                f"{where}: is a list of series, one per sample; name 'sample' first in axes=."
            )
        inner = None if order is None else tuple(axis - 1 for axis in order[1:])
        layouts = [
            Layout.of(first.dtype, first.shape, is_fortran=is_fortran, order=inner)
            for is_fortran in (False, True)
        ]
        check_rows((len(arrays), *layouts[0].shape), where)
        places = np.zeros((len(arrays), 4), np.int64)
        for place, array in zip(places, arrays, strict=True):
            data = array.data
            if isinstance(data, bytes):
                raise SourceError(
                    f"{where}: holds series of a few values each, in an old format; {REMEDY}."
                )
            assert isinstance(data, Raw)
            if not data.is_text:
                _check_size(data.n_bytes, layouts[0], where)
            place[:] = data.offset, data.n_bytes, array.is_fortran, data.is_text
        label = f"{self.stamp.path}{where.removeprefix(self.origin)}"
        return SeriesRows(self.stamp, places, layouts[0], layouts[1], label)


def _check_size(n_bytes: int, layout: Layout, where: str) -> None:
    if n_bytes != layout.total_bytes:
        raise SourceError(
            f"{where}: declares the shape {layout.shape} of {layout.stored_dtype} "
            f"({layout.total_bytes:,} bytes), but {n_bytes:,} bytes are there; save it again."
        )


# What people put together ----------------------------------------------------------------------


def read_contents(
    stream: BinaryIO, stamp: FileStamp, header: npy.ArrayHeader, origin: str
) -> _PickledContents:
    """Find the arrays in the pickle that follows the header of an `.npy` file.

    Raises
    ------
    SourceError
        If the pickle is damaged, holds anything but arrays, or it is not clear what they are.
    """
    found = read_pickle(stream, stamp.size, origin)
    if not isinstance(found, PickledArray) or not isinstance(found.data, list):
        raise SourceError(f"{origin}: declares objects, but holds none; save it again.")
    if found.shape != header.shape:
        raise SourceError(
            f"{origin}: declares the shape {header.shape}, but holds objects of shape "
            f"{found.shape}; save it again."
        )
    understood = _Understood(stream, origin)
    if found.shape == ():
        return understood.contents(stamp, found.data[0])
    return understood.contents(stamp, found)


@dataclass(frozen=True)
class _Understood:
    """Sorts out what was found in one pickle."""

    stream: BinaryIO
    origin: str

    def contents(self, stamp: FileStamp, found: Any) -> _PickledContents:
        if isinstance(found, dict):
            arrays = {str(name): self.array(value, str(name)) for name, value in found.items()}
            return _PickledContents(stamp, self.origin, arrays, True, "a pickled dict of arrays")
        parts = self.parts(found)
        arrays = {str(i): self.array(value, str(i)) for i, value in enumerate(parts)}
        what = "an .npy file of one array of objects"
        if len(parts) > 1:
            what = f"an array of objects of {len(parts)} arrays"
        return _PickledContents(stamp, self.origin, arrays, False, what)

    def parts(self, found: Any) -> list[Any]:
        """Return the arrays that a sequence stands for: itself, or what it consists of."""
        items, shape = _items(found)
        if not items:
            return [found]
        if len(shape) == 2 and shape[0] == 2 and _is_array(items[0]) and not _is_array(items[-1]):
            half = shape[1]
            return [items[:half], items[half:]]  # inputs, and then their labels
        if len(shape) == 2 and shape[1] == 2 and _is_array(items[0]) and not _is_array(items[1]):
            return [items[::2], items[1::2]]  # each input with its label
        if len(shape) != 1 or not all(map(_is_array, items)):
            return [found]
        is_alike = len({_n_axes(item) for item in items}) == 1
        is_plain = all(
            isinstance(it, PickledArray) and not isinstance(it.data, list) for it in items
        )
        return [found] if is_alike and is_plain else items

    def array(self, value: Any, name: str) -> PickledArray | list[PickledArray] | AnyArray:
        """Return an array of numbers or text, series, or values; SourceError for all else."""
        if isinstance(value, PickledArray) and not isinstance(value.data, list):
            return value
        where = f"{self.origin}: {name!r}"
        items, shape = _items(value)
        if not shape:
            raise SourceError(
                f"{where}: is {type(value).__name__}, no array, list or dict; {REMEDY}."
            )
        arrays = [item for item in items if isinstance(item, PickledArray)]
        is_series = len(arrays) == len(items) and all(
            item.shape and not isinstance(item.data, list) for item in arrays
        )
        if arrays and is_series and len(shape) == 1:
            return arrays
        return self.values(items, shape, where)

    def values(self, items: list[Any], shape: tuple[int, ...], where: str) -> AnyArray:
        """Return single values as an array: labels in a list, or numbers that became objects."""
        singles = [self.single(item, where) for item in items]
        kinds = {type(value) for value in singles}
        if kinds - {bool, int, float} and kinds != {str}:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise SourceError(f"{where}: mixes {names}, which are no array; {REMEDY}.")
        try:
            return np.array(singles, None if singles else np.float64).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise SourceError(f"{where}: is no array ({error}); {REMEDY}.") from error

    def single(self, item: Any, where: str) -> Any:
        if isinstance(item, bool | int | float | str):
            return item
        if isinstance(item, PickledArray) and item.shape == () and item.dtype is not None:
            return self.scalar(item.dtype, item.data, where)
        raise SourceError(
            f"{where}: holds {type(item).__name__} among its values, which is no number or text; "
            f"{REMEDY}."
        )

    def scalar(self, dtype: np.dtype[Any], data: Any, where: str) -> Any:
        check_array(dtype, (1,), "y", where)
        content = data
        if isinstance(data, Raw):
            self.stream.seek(data.offset)
            content = self.stream.read(min(data.n_bytes, dtype.itemsize + 1))
        if not isinstance(content, bytes) or len(content) != dtype.itemsize:
            raise SourceError(f"{where}: holds a damaged value; save it again.")
        values = np.frombuffer(content, dtype).astype(native_dtype(dtype))
        return to_native(values, where).tolist()[0]


def _items(value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Return the objects in a list, a tuple or an array of objects, in C order, and their shape.

    Anything else has the shape ().
    """
    if isinstance(value, list | tuple):
        return list(value), (len(value),)
    if not isinstance(value, PickledArray):
        return [], ()
    if not isinstance(value.data, list):
        return [], value.shape
    if value.is_fortran and len(value.shape) > 1:
        order = np.arange(len(value.data)).reshape(value.shape, order="F").reshape(-1)
        return [value.data[i] for i in order.tolist()], value.shape
    return value.data, value.shape


def _n_axes(value: Any) -> int:
    items, shape = _items(value)
    return len(shape) + (len(_items(items[0])[1]) if items else 0)


def _is_array(value: Any) -> bool:
    return isinstance(value, list | tuple) or (
        isinstance(value, PickledArray) and value.shape != ()
    )
