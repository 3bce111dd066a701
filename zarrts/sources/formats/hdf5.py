"""HDF5 files: a recording as two data sets, or several recordings as a group each."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.carried import (
    CHANNELS,
    RATES,
    UNITS,
    names_in,
    rate_in,
    units_in,
)
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Findings, draft_of
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.groups import grouped
from zarrts.sources.formats.hdf5_rows import Hdf5Rows, check_stored, opened_hdf5
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.files import SourceFile, Stamp, ahead, opened
from zarrts.sources.rows.strided import to_native
from zarrts.sources.rows.text_labels import text_labels
from zarrts.sources.rows.views import ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import Description, RowReader

MAX_OBJECTS = 100_000


class Group:
    """The data sets of an open file, or of one group in it; used within one `with` block."""

    def __init__(self, file: SourceFile, stamp: Stamp, datasets: dict[str, Any]) -> None:
        self.file, self.stamp, self.datasets = file, stamp, datasets
        self.paths: list[str] = []

    def contents(self) -> Contents:
        """Return the data sets by their paths."""
        return Contents(
            names=tuple(self.datasets),
            found=f"an HDF5 file of {len(self.datasets)} data sets",
            shape=lambda name: self.datasets[name].shape,
            summary=self.summary,
            reader=self.reader,
            description=self.description,
            more_paths=self.paths,
        )

    def summary(self, name: str) -> str:
        """See `Contents`."""
        dataset = self.datasets[name]
        return f"{name} {dataset.shape} {dataset.dtype}"

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader:
        """See `Contents`."""
        dataset = self.datasets[name]
        where = f"{self.file.origin}: {dataset.name}"
        if dataset.shape is None:
            raise SourceError(f"{where}: holds nothing; save an array.")
        if role == "y" and is_text(dataset):
            check_stored(dataset, where)
            return ValueRows(text_labels(dataset.shape, dataset.asstr().__getitem__, where))
        _refuse_lists(dataset, where)
        check_array(dataset.dtype, dataset.shape, role, where)
        self.paths += check_stored(dataset, where)
        order = options.order(role, dataset.shape, where)
        label = f"{self.stamp.path}: {dataset.name}"
        if not dataset.shape:
            return ValueRows(to_native(np.asarray(dataset[()]).reshape(1), label))
        axes = tuple(range(len(dataset.shape))) if order is None else order
        rows = Hdf5Rows.of(dataset, self.stamp, axes, label)
        check_rows(rows.shape, where)
        return rows

    def description(self, name: str, options: SourceOptions) -> Description:
        """Return what attributes of a data set, or of what it is in, say."""
        dataset = self.datasets[name]
        places = [dataset, dataset.parent, dataset.file]

        def first(keys: Sequence[str], read: Callable[[Any], Any]) -> Any:
            values = (
                read(place.attrs[key])
                for place, key in itertools.product(places, keys)
                if key in place.attrs
                # Of a group or file, "units" are those of anything.
                and not (key == "units" and place is not dataset)
            )
            return next((it for it in values if it is not None), None)

        return Description(
            channels=first(CHANNELS, names_in),
            units=first(UNITS, units_in),
            rate_hz=first(RATES, rate_in),
        )


def _refuse_lists(dataset: Any, where: str) -> None:
    import h5py

    if is_text(dataset):
        raise SourceError(f"{where}: is text, but x must be numbers.")
    inner = h5py.check_vlen_dtype(dataset.dtype)
    if inner is not None:
        raise SourceError(
            f"{where}: holds {dataset.size:,} arrays of variable length (of {inner}), which are "
            "not read from HDF5; save each as (time, channel) in a list, with "
            "np.savez('s01.npz', *[flat.reshape(-1, n_channels) for flat in "
            f"file[{dataset.name!r}]], labels=labels)."
        )
    if dataset.dtype.kind == "O":
        raise SourceError(
            f"{where}: holds references to other data sets, which are not followed; save the "
            "arrays that they lead to."
        )


def is_text(dataset: Any) -> bool:
    """Return whether a data set holds text of any length."""
    import h5py

    return h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.kind == "O"


def datasets_in(file: Any, where: str) -> dict[str, Any]:
    """Return every data set of a file by its path, without following any but plain links.

    Raises
    ------
    SourceError
        If a link leads into another file, or there are too many objects.
    """
    import h5py

    found: dict[str, Any] = {}
    seen: set[Any] = set()
    todo = [("", file)]
    while todo:
        path, group = todo.pop()
        for name in group:
            if len(found) + len(seen) + len(todo) > MAX_OBJECTS:
                raise SourceError(f"{where}: holds more than {MAX_OBJECTS:,} data sets.")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise SourceError(
                    f"{where}: {path}{name} is a link into {link.filename!r}; other files are not "
                    "followed: give that file itself."
                )
            if not isinstance(link, h5py.HardLink):
                continue  # within the file, and found there
            it = group[name]
            if isinstance(it, h5py.Dataset):
                found[path + name] = it
            elif isinstance(it, h5py.Group):
                address = h5py.h5o.get_info(it.id).addr
                if address not in seen:  # groups can hold themselves
                    seen.add(address)
                    todo.append((f"{path}{name}/", it))
    return dict(sorted(found.items()))


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give all data sets of a file, by their paths.

    Raises
    ------
    SourceError
        If it is damaged, or h5py is not installed.
    """
    with _stamped(file) as (stamp, opened_file):
        yield Group(file, stamp, datasets_in(opened_file, file.origin)).contents()


@contextlib.contextmanager
def _stamped(file: SourceFile) -> Iterator[tuple[Stamp, Any]]:
    with opened(file.path, file.origin) as (_, stamp):
        pass
    with opened_hdf5(stamp, file.origin) as opened_file:
        yield stamp, opened_file


def _find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find the recordings in files.

    Where data sets lie in several groups, and none outside of them, each group is a recording
    named as the group; else all of the file is one.
    """
    for file in ahead(files):
        with findings.noting("file"), _stamped(file) as (stamp, opened_file):
            datasets = datasets_in(opened_file, file.origin)
            if not datasets:
                raise SourceError(f"{file.origin}: holds no data sets; leave it out.")
            for group, own in grouped(datasets, options).items():
                contents = Group(file, stamp, own).contents()
                findings.drafts.append(draft_of(file, contents, options, group=group))


FORMAT = Format(
    name="HDF5",
    needs=("h5py",),
    extra="hdf5",
    suffixes=(".h5", ".hdf5", ".hdf"),
    open=open_contents,
    group=_find_drafts,
)
