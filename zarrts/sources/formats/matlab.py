"""MATLAB files: a recording each, in the formats of version 4, 5 to 7, and 7.3.

Those of version 7.3 are HDF5: arrays are transposed there, and cells are references.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats import matlab4, matlab5
from zarrts.sources.formats import matlab_words as words
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.hdf5 import MAX_OBJECTS
from zarrts.sources.formats.hdf5_rows import Hdf5Rows, check_stored, opened_hdf5
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.compressed import PACKED_ERRORS
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.sources.rows.text_labels import MAX_TEXT_BYTES
from zarrts.sources.rows.views import FlatRows, ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import RowReader, SeriesList

_HDF5 = b"\x89HDF\r\n\x1a\n"


_MAX_DEPTH = 20


@dataclass
class Field73:
    """The content of a field: one array, or one of each struct of an array or a cell of them."""

    items: list[Any] = field(default_factory=list)
    is_list: bool = False


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
        """Return the arrays by name; fields of structs as "EEG.data"."""
        fields = self._fields()
        of_structs = {path.partition(".")[0] for path in fields}
        plain = [name for name in self.variables if name not in of_structs]

        def first(name: str) -> Any:
            return self.variables[name] if name not in fields else fields[name].items[0]

        def summary(name: str) -> str:
            it = first(name)
            many = f" of {len(fields[name].items):,}" if name in fields else ""
            listed = name in fields and fields[name].is_list
            return self.summary(name, it) + (many if listed else "")

        def reader(name: str, role: Role, options: SourceOptions) -> RowReader | SeriesList:
            where = f"{self.file.origin}: variable {name!r}"
            if name in fields and fields[name].is_list:
                return self._of_items(fields[name].items, role, options, where)
            return self._reader(first(name), role, options, where)

        return Contents(
            names=(*plain, *fields) or tuple(self.variables),
            found=f"a MATLAB 7.3 file of {len(self.variables)} variables",
            shape=lambda name: _dims(first(name)),
            summary=summary,
            reader=reader,
            description=undescribed,
        )

    def _fields(self) -> dict[str, Field73]:
        """Return the fields of all structs, and of structs in cells, by their paths."""
        found: dict[str, Field73] = {}
        for name, it in self.variables.items():
            for value, is_list in self._structs_in(it):
                self._walk(value, name, found, is_list=is_list, depth=0)
        return {path: it for path, it in found.items() if it.items}

    def _structs_in(self, it: Any) -> Iterator[tuple[Any, bool]]:
        """Yield the structs that a variable or field is, or has in cells; and if these are many."""
        import h5py

        if _is_group(it):
            if _class_of(it) == "struct":
                yield it, False
            return
        is_cell = _class_of(it) == "cell" and "MATLAB_empty" not in it.attrs
        if not is_cell or not it.size or h5py.check_ref_dtype(it.dtype) is None:
            return
        first = self.opened[it[()].reshape(-1)[0]]
        if it.size > MAX_OBJECTS or not (_is_group(first) and _class_of(first) == "struct"):
            return
        for ref in it[()].reshape(-1):
            if _is_group(value := self.opened[ref]):
                yield value, True

    def _walk(
        self, struct: Any, path: str, found: dict[str, Field73], *, is_list: bool, depth: int
    ) -> None:
        import h5py

        if depth > _MAX_DEPTH:
            raise SourceError(f"{self.file.origin}: holds structs in structs, {depth} deep.")
        for name in struct:
            it, inner = struct[name], f"{path}.{name}"
            # Of an array of structs, a field holds references, and has no class.
            is_array = not _is_group(it) and h5py.check_ref_dtype(it.dtype) is not None
            many = is_array and not _class_of(it)
            if many and it.size > MAX_OBJECTS:
                raise SourceError(f"{self.file.origin}: {inner} has {it.size:,} items.")
            for value in [self.opened[ref] for ref in it[()].reshape(-1)] if many else [it]:
                structs = [*self._structs_in(value)]
                for one, in_list in structs:
                    self._walk(
                        one, inner, found, is_list=is_list or many or in_list, depth=depth + 1
                    )
                if not structs and not _is_group(value):
                    taken = found.setdefault(inner, Field73())
                    taken.items.append(value)
                    taken.is_list |= is_list or many

    def summary(self, name: str, it: Any) -> str:
        """Return a variable or a field in words."""
        if "MATLAB_sparse" in it.attrs:
            return f"{name} (sparse)"
        if _is_group(it):
            return f"{name} {_class_of(it)} of {listed(it)}"
        return f"{name} {_dims(it)} {_class_of(it)}"

    def _reader(
        self, it: Any, role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
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
        return self._of_items(items, role, options, where)

    def _of_items(
        self, items: Sequence[Any], role: Role, options: SourceOptions, where: str
    ) -> RowReader | SeriesList:
        """Return what reads the arrays in cells, or those of a field of several structs."""
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
        If it is damaged, or h5py is needed and not installed.
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
                yield matlab4.Variables(file, stamp, stream).contents()
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
