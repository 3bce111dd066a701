"""`.npy` files: recordings in one file each, and those stored as a pair of files (x and y)."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from zarrts.errors import SourceError
from zarrts.sources.formats import npy_header as npy
from zarrts.sources.formats import npy_pairs, pickled
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.drafts import Draft, Findings, draft_of
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.input_files import FileGroup, group_files
from zarrts.sources.rows.array_checks import check_rows, rows_of
from zarrts.sources.rows.files import SourceFile, Stamp, ahead, opened
from zarrts.sources.rows.inputs import input_rows
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import Description, RowReader, SeriesList

MAX_ARRAYS = 1000
"""More than this many headers in one file are not a study."""

# Thousands of small files have one layout, and share it.
_layout_of = functools.lru_cache(maxsize=64)(ByteLayout.of)


@dataclass(frozen=True)
class _SavedArrays:
    """Arrays that `np.save` wrote one after the other into one file.

    Attributes
    ----------
    stamp : Stamp
    origin : str
    headers : tuple of ArrayHeader
    starts : tuple of int
        Byte of the file at which the values of each array start.
    """

    stamp: Stamp
    origin: str
    headers: tuple[npy.ArrayHeader, ...]
    starts: tuple[int, ...]

    def contents(self) -> Contents:
        """Return the arrays by number."""
        n_arrays = len(self.headers)
        return Contents(
            names=tuple(map(str, range(n_arrays))),
            found=f"an .npy file of {n_arrays} arrays, one after the other",
            is_named=False,
            shape=lambda name: self.headers[int(name)].shape,
            summary=lambda name: f"{name} {self.headers[int(name)]}",
            reader=self.reader,
            description=undescribed,
        )

    def reader(self, name: str, role: Role, options: SourceOptions) -> RowReader:
        number = int(name)
        header, start = self.headers[number], self.starts[number]
        is_only = len(self.headers) == 1
        where = self.origin if is_only else f"{self.origin}: array {number}"
        is_last = number == len(self.headers) - 1
        available = self.stamp.size - start if is_last else header.data_bytes
        npy.check_header(header, role, available, where)
        order = options.order(role, header.shape, where)
        shape = rows_of(role, header.shape)
        layout = _layout_of(header.dtype, shape, is_fortran=header.is_fortran, order=order)
        check_rows(layout.shape, where)
        label = self.stamp.path if is_only else f"{self.stamp.path}: array {number}"
        return StridedRows(self.stamp, start, layout, label)


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Read the headers of an `.npy` file and give its arrays.

    Raises
    ------
    SourceError
        If it is damaged, or holds objects other than arrays.
    """
    with opened(file.path, file.origin) as (stream, stamp):
        header = npy.read_header(stream, file.origin)
        if header.dtype.hasobject:
            contents = pickled.read_contents(stream, stamp, header, file.origin)
        else:
            contents = _saved_arrays(stream, stamp, header, file.origin)
    yield contents


def _saved_arrays(stream: BinaryIO, stamp: Stamp, header: npy.ArrayHeader, origin: str) -> Contents:
    headers, starts = [header], [header.offset]
    while len(headers) <= MAX_ARRAYS:
        end = starts[-1] + headers[-1].data_bytes
        if end + len(npy.MAGIC) > stamp.size:
            break
        stream.seek(end)
        if stream.read(len(npy.MAGIC)) != npy.MAGIC:
            break  # whoever reads the last array says that something follows it
        stream.seek(end)
        headers.append(npy.read_header(stream, f"{origin}: array {len(headers)}"))
        starts.append(end + headers[-1].offset)
    else:
        raise SourceError(
            f"{origin}: holds more than {MAX_ARRAYS:,} arrays one after the other; save the "
            "inputs as one array, and the labels as another."
        )
    return _SavedArrays(stamp, origin, tuple(headers), tuple(starts)).contents()


def _find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find the recordings in files.

    A file of several arrays is a recording; files of one array are paired by name.
    """
    halves: dict[str, SourceFile] = {}
    opened: dict[str, Contents] = {}
    for file in ahead(files):
        with findings.noting("file"), open_contents(file) as contents:
            if len(contents.names) > 1:
                findings.drafts.append(draft_of(file, contents, options))
                continue
            opened[file.origin] = contents
        halves[file.origin] = file
    find_pairs(halves, opened, options, findings, "a pair of .npy files")


def are_of_inputs(files: Sequence[SourceFile], options: SourceOptions) -> bool:
    """Return whether files of one array each are called as several inputs of a recording."""
    if not options.inputs:
        return False
    return group_files(files, options.inputs, options, needs_labels=True) is not None


def find_pairs(
    halves: dict[str, SourceFile],
    opened: dict[str, Contents],
    options: SourceOptions,
    findings: Findings,
    found: str,
) -> None:
    """Find the recordings in files of one array, which are paired by name.

    Parameters
    ----------
    halves : dict from origin to SourceFile
    opened : dict from origin to Contents
        Of those that are not damaged; what is wrong with the others is noted already.
    found : str
        What a pair is called.
    """
    damaged = tuple(f"{origin}: " for origin in halves if origin not in opened)
    grouped = None
    if options.inputs:
        grouped = group_files(halves.values(), options.inputs, options, needs_labels=True)
    if grouped is not None:
        groups, problems = grouped
        findings.note("file", (it for it in problems if not it.startswith(damaged)))
        whole = [it for it in groups if all(one.origin in opened for one in it.files)]
        findings.drafts += findings.collect(
            "file", whole, lambda it: [_draft_of_group(it, opened, options)]
        )
        return
    pairs, unpaired = npy_pairs.pair_up(halves, x=options.input_name, y=options.label_name)
    findings.note("file", (it for it in unpaired if not it.startswith(damaged)))
    for pair in pairs:
        readers: list[RowReader | SeriesList] = []
        for origin, role in zip((pair.x, pair.y), npy_pairs.ROLES, strict=True):
            if origin in opened:
                with findings.noting("file"):
                    (name,) = opened[origin].names
                    readers.append(opened[origin].reader(name, role, options))
        if len(readers) == 2:
            (name,) = opened[pair.x].names
            description = opened[pair.x].description(name, options)
            x, y = readers
            findings.drafts.append(
                _draft_of_pair(pair, halves[pair.x], halves[pair.y], x, y, description, found)
            )


def _draft_of_pair(
    pair: npy_pairs.Pair,
    x_file: SourceFile,
    y_file: SourceFile,
    x: RowReader | SeriesList,
    y: RowReader | SeriesList,
    description: Description,
    found: str,
) -> Draft:
    folder = pair.folder
    # Where the name is nothing but x and y, the folder is what names the subject.
    name = pair.name or folder.rpartition("/")[2] or npy_pairs.folder_name(str(x_file.path))
    path = "/".join(part for part in (folder, pair.name) if part)
    return Draft(
        origin=x_file.origin,
        name=name,
        path_name=path or name,
        paths=(x_file.path, y_file.path),
        x=x,
        y=y,
        x_name=x_file.origin.rpartition("/")[2],
        y_name=y_file.origin.rpartition("/")[2],
        found=found,
        description=description,
    )


def _draft_of_group(
    group: FileGroup, opened: Mapping[str, Contents], options: SourceOptions
) -> Draft:
    """Return the recording that several files of one array each are."""

    def read(file: SourceFile, role: Role) -> RowReader:
        contents = opened[file.origin]
        (name,) = contents.names
        # A single value is read as the single label of a recording is.
        rows = contents.reader(name, role if contents.shape(name) else "y", options)
        if isinstance(rows, SeriesList):
            raise SourceError(
                f"{file.origin}: is a list of arrays, and several inputs (x=) are arrays: save a "
                "file for each recording."
            )
        return rows

    readers = {name: read(file, "x") for name, file in group.inputs.items()}
    x = input_rows(readers, group.origin)
    parts = {
        name: opened[file.origin].description(opened[file.origin].names[0], options.of_input(name))
        for name, file in group.inputs.items()
    }
    labels = group.labels
    return group.draft(
        x,
        ConstantRows("", x.shape[0]) if labels is None else read(labels, "y"),
        y_name="y" if labels is None else labels.origin.rpartition("/")[2],
        each="files",
        description=replace(Description.unknown(), parts=parts),
    )


FORMAT = Format(
    name="NumPy arrays", suffixes=(".npy",), open=open_contents, group=_find_drafts, family="numpy"
)
