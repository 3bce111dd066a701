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
from zarrts.sources.formats import npy_header as npy
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.pickle_machine import MAX_OPERATIONS, read_pickle
from zarrts.sources.formats.pickle_text import TextMember
from zarrts.sources.formats.pickle_values import REMEDY, PickledArray, Raw
from zarrts.sources.rows.array_checks import check_array, check_rows, rows_of
from zarrts.sources.rows.arrays import fill_missing
from zarrts.sources.rows.compressed import SpooledRows, StreamedRows
from zarrts.sources.rows.files import Stamp
from zarrts.sources.rows.strided import ByteLayout, StridedRows, native_dtype, to_native
from zarrts.sources.rows.views import ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import AnyArray, RowReader, SeriesList

_MAX_LETTERS = 16_000_000
"""Of all labels in a list; NumPy takes four bytes for each."""


_Entry = PickledArray | list[PickledArray] | AnyArray | SourceError


@dataclass(frozen=True)
class _PickledArrays:
    """The arrays of one pickle.

    Attributes
    ----------
    stamp : Stamp
    origin : str
    arrays : dict
        By name: a PickledArray of numbers or text, a list of these (series), a NumPy array of
        few values, or why it is none of these, which matters only if it is asked for.
    """

    stamp: Stamp
    origin: str
    arrays: dict[str, _Entry]

    def contents(self, found: str, *, is_named: bool) -> Contents:
        """Return the arrays by name."""
        return Contents(
            names=tuple(self.arrays),
            found=found,
            is_named=is_named,
            shape=self.shape,
            summary=self.summary,
            reader=self.reader,
            description=undescribed,
        )

    def where(self, name: str) -> str:
        return self.origin if len(self.arrays) == 1 else f"{self.origin}: array {name!r}"

    def shape(self, name: str) -> tuple[int, ...]:
        array = self.arrays[name]
        if isinstance(array, SourceError):
            raise array
        if isinstance(array, list):
            return (len(array), *array[0].shape)
        return array.shape

    def summary(self, name: str) -> str:
        array = self.arrays[name]
        if isinstance(array, SourceError):
            return f"{name} (no array)"
        if isinstance(array, list):
            return f"{name} ({len(array):,} series, the first {array[0].shape} {array[0].dtype})"
        return f"{name} {array.shape} {array.dtype}"

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        array, where = self.arrays[name], self.where(name)
        if isinstance(array, SourceError):
            raise array
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
        shape = rows_of(role, array.shape)
        layout = ByteLayout.of(array.dtype, shape, is_fortran=array.is_fortran, order=order)
        check_rows(layout.shape, where)
        return self._stored(array, layout, where)

    def _stored(self, array: PickledArray, layout: ByteLayout, where: str) -> RowReader:
        label = f"{self.stamp.path}{where.removeprefix(self.origin)}"
        data = array.data
        if isinstance(data, bytes):
            _check_size(len(data), layout, where)
            buffer = np.frombuffer(data, np.uint8).copy()
            return ValueRows(layout.arrange(buffer, layout.n_rows, label))
        assert isinstance(data, Raw)
        if data.is_text:
            # A byte above 127 is two in UTF-8.
            if not layout.total_bytes <= data.n_bytes <= 2 * layout.total_bytes:
                _check_size(data.n_bytes, layout, where)
            member = TextMember(self.stamp, data.offset, data.n_bytes, label)
            return (StreamedRows if layout.is_rows_first else SpooledRows)(member, layout)
        _check_size(data.n_bytes, layout, where)
        return StridedRows(self.stamp, data.offset, layout, label)

    def _series(
        self, arrays: Sequence[PickledArray], role: Role, options: SourceOptions, where: str
    ) -> SeriesList:
        layouts: dict[Any, ByteLayout] = {}
        readers = []
        for number, array in enumerate(arrays):
            key = (array.shape, array.dtype, array.is_fortran)
            if key not in layouts:
                layouts[key] = self._layout_of_series(array, role, options, f"{where}[{number}]")
            readers.append(self._stored(array, layouts[key], f"{where}[{number}]"))
        return SeriesList(tuple(readers))

    def _layout_of_series(
        self, array: PickledArray, role: Role, options: SourceOptions, where: str
    ) -> ByteLayout:
        assert array.dtype is not None
        check_array(array.dtype, array.shape, role, where)
        order = options.order_of_series(role, array.shape, where)
        layout = ByteLayout.of(array.dtype, array.shape, is_fortran=array.is_fortran, order=order)
        check_rows(layout.shape, where)
        return layout


def _check_size(n_bytes: int, layout: ByteLayout, where: str) -> None:
    if n_bytes != layout.total_bytes:
        raise SourceError(
            f"{where}: declares the shape {layout.shape} of {layout.stored_dtype} "
            f"({layout.total_bytes:,} bytes), but {n_bytes:,} bytes are there; save it again."
        )


# What people put together ----------------------------------------------------------------------


def read_contents(stream: BinaryIO, stamp: Stamp, header: npy.ArrayHeader, origin: str) -> Contents:
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


def read_member(
    stream: BinaryIO, end: int, stamp: Stamp, where: str, *, is_packed: bool
) -> Contents:
    """Find the one array in the pickle that is a member of an archive; its name is "0".

    Parameters
    ----------
    stream : binary file
        At the first byte of the pickle. Where the member is compressed, what was unpacked of it.
    end : int
        Where the pickle ends.
    is_packed : bool
        `stream` is not the file itself, so that arrays in it can only be read as a whole.

    Raises
    ------
    SourceError
        As `read_contents`; also if it is compressed and holds arrays.
    """
    entry = _Understood(stream, where).array(read_pickle(stream, end, where), "")
    if is_packed and not isinstance(entry, np.ndarray):
        raise SourceError(
            f"{where}: holds arrays as objects and is compressed, so that it would have to be "
            "held in memory whole; save it with np.savez instead of np.savez_compressed."
        )
    found = _PickledArrays(stamp, where, {"0": entry})
    return found.contents("an array of objects", is_named=False)


@dataclass
class _Understood:
    """Sorts out what was found in one pickle.

    Attributes
    ----------
    stream : binary file
    origin : str
    n_left : int
        How many more objects are looked at: one list can be in a pickle a million times.
    """

    stream: BinaryIO
    origin: str
    n_left: int = MAX_OPERATIONS

    def contents(self, stamp: Stamp, found: Any) -> Contents:
        if isinstance(found, dict):
            arrays = {str(name): self.entry(value, str(name)) for name, value in found.items()}
            if len(arrays) < len(found):
                raise SourceError(f"{self.origin}: has a key as text and as a number; rename one.")
            held = _PickledArrays(stamp, self.origin, arrays)
            return held.contents("a pickled dict of arrays", is_named=True)
        parts = self.parts(found)
        understand = self.entry if len(parts) > 1 else self.array
        arrays = {str(i): understand(value, str(i)) for i, value in enumerate(parts)}
        what = "an .npy file of one array of objects"
        if len(parts) > 1:
            what = f"an array of objects of {len(parts)} arrays"
        return _PickledArrays(stamp, self.origin, arrays).contents(what, is_named=False)

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

    def entry(self, value: Any, name: str) -> _Entry:
        """Return an array, or why there is none."""
        try:
            return self.array(value, name)
        except SourceError as error:
            # Without its traceback, which holds all that was looked at.
            return SourceError(str(error))

    def array(self, value: Any, name: str) -> PickledArray | list[PickledArray] | AnyArray:
        """Return an array of numbers or text, series, or values; SourceError for all else."""
        where = f"{self.origin}: {name!r}" if name else self.origin
        if isinstance(value, PickledArray) and not isinstance(value.data, list):
            if value.dtype is None:
                raise SourceError(f"{where}: is an array without values; {REMEDY}.")
            return value
        items, shape = _items(value)
        self.n_left -= len(items)
        if self.n_left < 0:
            raise SourceError(
                f"{where}: has more than {MAX_OPERATIONS:,} objects in all, too many to be held in "
                f"memory; {REMEDY}."
            )
        if isinstance(value, bool | int | float | str):
            items, shape = [value], (1,)  # one label for all
        if not shape:
            raise SourceError(f"{where}: is {_kind(value)}, no array or list; {REMEDY}.")
        arrays = [item for item in items if isinstance(item, PickledArray)]
        is_series = len(arrays) == len(items) and all(
            item.shape and not isinstance(item.data, list) for item in arrays
        )
        if arrays and is_series and len(shape) == 1:
            return arrays
        return self.values(items, shape, where)

    def values(self, items: list[Any], shape: tuple[int, ...], where: str) -> AnyArray:
        """Return single values as an array: labels in a list, or numbers that became objects."""
        singles = fill_missing([None if it is None else self.single(it, where) for it in items])
        kinds = {type(value) for value in singles}
        if kinds - {bool, int, float} and kinds != {str}:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise SourceError(f"{where}: mixes {names}, which are not an array; {REMEDY}.")
        longest = max(map(len, singles)) if kinds == {str} else 0
        if len(singles) * longest > _MAX_LETTERS:
            raise SourceError(
                f"{where}: {len(singles):,} texts of up to {longest:,} letters are too much to be "
                f"held in memory; {REMEDY}."
            )
        try:
            return np.array(singles, None if singles else np.float64).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise SourceError(f"{where}: is not an array ({error}); {REMEDY}.") from error

    def single(self, item: Any, where: str) -> Any:
        if isinstance(item, bool | int | float | str):
            return item
        if isinstance(item, PickledArray) and item.shape == () and item.dtype is not None:
            return self.scalar(item.dtype, item.data, where)
        raise SourceError(
            f"{where}: holds {_kind(item)} among its values, which is not a number or text; "
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


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, PickledArray) else type(value).__name__


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
