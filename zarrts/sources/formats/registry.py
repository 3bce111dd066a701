"""The kinds of source files that can be read, and which reader has which."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from zarrts.errors import SourceError
from zarrts.sources.formats import edf, hdf5, matlab, npz
from zarrts.sources.formats import npy as npy_files
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study import class_folders as classes
from zarrts.types import RowReader

_READERS = (npy_files, npz, hdf5, matlab, edf)
"""Each has SUFFIXES, open_contents(file) and find_drafts(files, options) -> (drafts, problems)."""

SUFFIXES = tuple(suffix for reader in _READERS for suffix in reader.SUFFIXES)


def open_contents(file: SourceFile) -> AbstractContextManager[Contents]:
    """Open a file of any kind for reading its headers; SourceError if it is of no such kind."""
    for reader in _READERS:
        if file.is_kind(reader.SUFFIXES):
            opened: AbstractContextManager[Contents] = reader.open_contents(file)
            return opened
    known = ", ".join(SUFFIXES)
    raise SourceError(f"{file.origin}: is not of a kind that can be read ({known}).")


def find_drafts(
    files: Sequence[SourceFile], options: SourceOptions
) -> tuple[list[Draft], list[str]]:
    """Return the recordings in files of all kinds, and a sentence per bad file.

    Raises
    ------
    SourceError
        If files of several kinds could be one study twice.
    """
    drafts: list[Draft] = []
    problems: list[str] = []
    _refuse_mixture(files)
    for reader in _READERS:
        some, bad = reader.find_drafts(_of_kind(files, reader.SUFFIXES), options)
        drafts += some
        problems += bad
    return drafts, problems


def find_drafts_in_classes(
    files: Sequence[SourceFile],
    options: SourceOptions,
) -> tuple[list[Draft], list[str]]:
    """Return the recordings in class folders, and a sentence per bad file; see `classes`."""
    series = _of_kind(files, npy_files.SUFFIXES)
    known = {file.path for file in series}
    others = [file.origin for file in files if file.path not in known]
    problems = [
        f"{origin}: is no .npy file, and class folders hold one series in each .npy file; save it "
        "so, or leave it out."
        for origin in others
    ]
    drafts, bad = classes.find_drafts(series, options)
    return drafts, problems + bad


def _of_kind(files: Sequence[SourceFile], suffixes: tuple[str, ...]) -> list[SourceFile]:
    return [file for file in files if file.is_kind(suffixes)]


def _refuse_mixture(files: Sequence[SourceFile]) -> None:
    kinds = {
        "/".join(suffixes): len(some)
        for suffixes in (
            (*npy_files.SUFFIXES, *npz.SUFFIXES),
            hdf5.SUFFIXES,
            matlab.SUFFIXES,
            edf.SUFFIXES,
        )
        if (some := _of_kind(files, suffixes))
    }
    if len(kinds) > 1:
        counts = " and ".join(f"{count:,} {suffixes}" for suffixes, count in kinds.items())
        raise SourceError(
            f"There are {counts} files, which may hold the same recordings twice; give those of "
            "one kind, for example with a pattern: 'subjects/**/*.npz'."
        )


def load_arrays(path: str) -> dict[str, Any]:
    """Return every array of a file by its name; lists of series as lists. Nothing is unpickled.

    Raises
    ------
    SourceError
        If it is damaged, or holds anything but arrays.
    """
    name = os.path.basename(path)
    loaded: dict[str, Any] = {}
    with open_contents(SourceFile(os.path.abspath(path), name, name)) as contents:
        for it in contents.names:
            rows = contents.reader(it, "y", SourceOptions())
            if isinstance(rows, RowReader):
                loaded[it] = rows.read(0, rows.shape[0])
            else:
                loaded[it] = [one.read(0, one.shape[0]) for one in rows.readers]
    return loaded
