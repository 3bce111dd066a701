"""MATLAB files: a recording each, in the formats of version 5 to 7, and of 7.3.

Those of version 7.3 are HDF5: arrays are transposed there, and cells are references.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats import matlab5
from zarrts.sources.formats import matlab_words as words
from zarrts.sources.formats.array_names import listed
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.hdf5 import MAX_OBJECTS, MAX_TEXT_BYTES
from zarrts.sources.formats.hdf5_rows import Hdf5Rows, check_stored, opened_hdf5
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.compressed import PACKED_ERRORS
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.sources.rows.views import FlatRows, ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import RowReader, SeriesList

_HDF5 = b"\x89HDF\r\n\x1a\n"


_NUMBERS = ("double", "single", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


class _Variables73:
    """The variables of an open file of version 7.3, which is HDF5; used within one `with` block."""

    def __init__(self, file: SourceFile, stamp: Stamp, opened: Any) -> None:
        import h5py

        self.file, self.stamp, self.opened = file, stamp, opened
        self.variables: dict[str, Any] = {}
        for name in opened:
            if not isinstance(opened.get(name, getlink=True), h5py.HardLink):
                raise SourceError(f"{file.origin}: {name} is a link, which MATLAB never writes.")
            if not name.startswith("#"):
                self.variables[name] = opened[name]

    def contents(self) -> Contents:
        """Return the arrays by name."""
        self._refuse_structs_alone()
        return Contents(
            names=tuple(self.variables),
            found=f"a MATLAB 7.3 file of {len(self.variables)} variables",
            shape=lambda name: _dims(self.variables[name]),
            summary=self.summary,
            reader=self.reader,
            description=undescribed,
        )

    def _refuse_structs_alone(self) -> None:
        """Raise SourceError where variables are structs, and nothing else could be asked for."""
        name, it = "", None
        for name, it in self.variables.items():  # noqa: B007 - the last one is named
            if _is_group(it) and _class_of(it) == "struct":
                continue
            if _class_of(it) != "cell" or "MATLAB_empty" in it.attrs or not it.size:
                return
            first = self.opened[it[()].reshape(-1)[0]]
            if not (_is_group(first) and _class_of(first) == "struct"):
                return
        if not self.variables:
            return
        where = f"{self.file.origin}: variable {name!r}"
        if not _is_group(it):
            self._cell(it, "x", SourceOptions(), where)
        raise SourceError(words.of_struct(where, name))

    def summary(self, name: str) -> str:
        """See `Contents`."""
        it = self.variables[name]
        if "MATLAB_sparse" in it.attrs:
            return f"{name} (sparse)"
        if _is_group(it):
            return f"{name} {_class_of(it)} of {listed(it)}"
        return f"{name} {_dims(it)} {_class_of(it)}"

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
        """See `Contents`."""
        it, where = self.variables[name], f"{self.file.origin}: variable {name!r}"
        kind = _class_of(it)
        if "MATLAB_empty" in it.attrs and kind != "char":
            raise SourceError(f"{where}: is an empty {kind}; save it with what it should hold.")
        if kind == "cell":
            return self._cell(it, role, options, where)
        if kind == "char" and role == "y":
            return ValueRows(np.array(_texts(it, where), np.str_))
        return self._numbers(it, role, options, where)

    def _numbers(self, it: Any, role: Role, options: SourceOptions, where: str) -> RowReader:
        kind = _class_of(it)
        if kind not in (*_NUMBERS, "logical") or "MATLAB_empty" in it.attrs or _is_group(it):
            remedy = words.remedy(kind, it.name.rpartition("/")[2])
            raise SourceError(f"{where}: is {_kind_in_words(it)}, which cannot be read; {remedy}.")
        dims, last = _dims(it), len(it.shape) - 1
        check_array(it.dtype, dims, role, where)
        check_stored(it, where)
        label = f"{self.stamp.path}{where.removeprefix(self.file.origin)}"
        is_vector = role == "y" and len(dims) == 2 and 1 in dims
        if is_vector:  # a row or a column; MATLAB has no arrays of one axis
            order: tuple[int, ...] = (0, 1) if dims[1] == 1 else (1, 0)
        else:
            order = options.order(role, dims, where) or tuple(range(len(dims)))
        axes = tuple(last - axis for axis in order)
        rows = Hdf5Rows.of(it, self.stamp, axes, label, is_bool=kind == "logical")
        check_rows(rows.shape, where)
        return FlatRows(rows) if is_vector else rows

    def _cell(
        self, it: Any, role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
        import h5py

        if it.size > MAX_OBJECTS:
            raise SourceError(f"{where}: has {it.size:,} cells, above {MAX_OBJECTS:,}.")
        check_stored(it, where)
        items = [self.opened[ref] for ref in it[()].reshape(-1)]
        groups = [item for item in items if not isinstance(item, h5py.Dataset)]
        if groups:
            fields = listed(groups[0]) if _class_of(groups[0]) == "struct" else ""
            raise SourceError(words.of_structs(where, len(items), fields))
        kinds = {_class_of(item) for item in items}
        if kinds == {"char"} and role == "y":
            texts = [_texts(item, where) for item in items]
            if any(len(text) > 1 for text in texts):
                raise SourceError(f"{where}: has a cell of several lines; a label is one line.")
            return ValueRows(np.array(["".join(text) for text in texts], np.str_))
        if role == "y" and items and all(item.size == 1 for item in items) and "char" not in kinds:
            values = [self._numbers(item, role, options, where).read(0, 1)[0] for item in items]
            return ValueRows(np.array(values))
        named = [
            self._numbers(item, role, options, f"{where}, cell {number}")
            for number, item in enumerate(items, start=1)
        ]
        return SeriesList(tuple(named))


def _class_of(it: Any) -> str:
    value = it.attrs.get("MATLAB_class", b"")
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _kind_in_words(it: Any) -> str:
    if "MATLAB_empty" in it.attrs:
        return "empty"
    if "MATLAB_sparse" in it.attrs:
        return "a sparse array"
    return f"a {_class_of(it) or 'variable of unknown class'}"


def _is_group(it: Any) -> bool:
    return not hasattr(it, "shape")


def _dims(it: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = getattr(it, "shape", None) or ()
    return shape[::-1]


def _texts(it: Any, where: str) -> list[str]:
    """Return the lines of a char array; MATLAB fills short ones up with spaces."""
    if "MATLAB_empty" in it.attrs:
        return [""]
    if it.dtype.kind != "u" or len(it.shape) != 2 or it.size * 4 > MAX_TEXT_BYTES:
        raise SourceError(f"{where}: holds text of shape {_dims(it)}, which cannot be read.")
    check_stored(it, where)
    lines = it[()].T.astype("<u2")
    return [bytes(line.tobytes()).decode("utf-16-le", "replace").rstrip(" \0") for line in lines]


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give the variables of a file.

    Raises
    ------
    SourceError
        If it is damaged, of version 4, or h5py is needed and not installed.
    """
    try:
        with opened(file.path, file.origin) as (stream, stamp):
            head = stream.read(520)
            if head[512:] == _HDF5 or head[:8] == _HDF5:
                with opened_hdf5(stamp, file.origin) as of_hdf5:
                    yield _Variables73(file, stamp, of_hdf5).contents()
            elif len(head) >= 128 and head[124:128] in matlab5.VERSIONS:
                yield matlab5.Variables(file, stamp, stream, head[124:128]).contents()
            else:
                raise SourceError(
                    f"{file.origin}: is not a MATLAB file of version 5 or later; save it again "
                    "with save(file, 'x', 'y', '-v7.3')."
                )
    except PACKED_ERRORS as error:
        raise SourceError(
            f"{file.origin}: cannot be read, or is damaged ({error}); copy or save it again."
        ) from error


FORMAT = Format(
    name="MATLAB",
    needs=("h5py",),
    extra="mat",
    partial="version 7.3",
    suffixes=(".mat",),
    open=open_contents,
)
