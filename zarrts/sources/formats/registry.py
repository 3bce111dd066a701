"""Registry of the file formats: those of this package, and those that other packages add."""

import functools
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from zarrts.errors import SourceError
from zarrts.sources.formats import (
    actipy_files,
    audio,
    csv_files,
    edf,
    eeglab,
    empatica,
    hdf5,
    matlab,
    mne_files,
    npy,
    npy_pairs,
    npz,
    parquet_files,
    ts_files,
    wfdb_files,
    xdf_files,
    zarr_folders,
)
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import (
    Draft,
    Findings,
    NoInputsError,
    draft_of,
    unlabelled_series,
)
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.signal_inputs import notes_by_rate, unlike_inputs
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.source_options import SourceOptions
from zarrts.types import RowReader

GROUP = "zarrts.formats"
"""The group of entry points by which another package adds a format."""

_OWN = (
    *(npy.FORMAT, npz.FORMAT, hdf5.FORMAT, matlab.FORMAT, edf.FORMAT, ts_files.FORMAT),
    *mne_files.FORMATS,
    *actipy_files.FORMATS,
    empatica.FORMAT,
    wfdb_files.FORMAT,
    xdf_files.FORMAT,
    *(zarr_folders.FORMAT, audio.FORMAT, eeglab.FORMAT, parquet_files.FORMAT),
)

_MAYBE = csv_files.FORMAT
"""Lists of files, of subjects and of labels are CSV files too: as recordings they are read where
columns of x are named, and there are no files of another kind."""


@functools.cache
def formats() -> tuple[Format, ...]:
    """Return all formats; those of other packages are looked for once, at the first call.

    Raises
    ------
    SourceError
        If a package adds a format that cannot be loaded, or one for files that are known already;
        names the package.
    """
    found = list(_OWN)
    for point in entry_points(group=GROUP):
        added = _loaded(point)
        known = {suffix for it in found for suffix in it.suffixes}
        twice = known & {*added.suffixes}
        if twice:
            raise SourceError(_of_another(point, twice))
        found.append(added)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Readable:
    """A format as it can be read here, or not.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
    package : str
        The one that adds it; "" for those of zarrts.
    lacking : str
        What has to be done before it can be read; "" where it can.
    """

    name: str
    suffixes: tuple[str, ...]
    package: str = ""
    lacking: str = ""


def readable() -> list[Readable]:
    """Return all formats, and what is lacking of those that cannot be read here."""
    found = [
        Readable(name=it.name or it.suffixes[0], suffixes=it.suffixes, lacking=_lacking(it))
        for it in _OWN
    ]
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist is not None else point.module
        try:
            added = _loaded(point)
        except SourceError as error:
            found.append(
                Readable(name=point.name, suffixes=(), package=package, lacking=str(error))
            )
            continue
        known = {suffix for it in found for suffix in it.suffixes}
        twice = known & {*added.suffixes}
        found.append(
            Readable(
                name=added.name or point.name,
                suffixes=added.suffixes,
                package=package,
                lacking=_of_another(point, twice) if twice else _lacking(added),
            )
        )
    return found


def _lacking(it: Format) -> str:
    """Return the command that installs what a format needs, where that is not there."""
    if all(find_spec(module) is not None for module in it.needs):
        return ""
    wanted = f"'zarrts[{it.extra}]'" if it in _OWN else it.extra or " ".join(it.needs)
    of_some = f"{it.partial}: " if it.partial else ""
    return f"{of_some}python -m pip install {wanted}"


def _of_another(point: EntryPoint, suffixes: Iterable[str]) -> str:
    return (
        f"{_named(point)} is for {', '.join(sorted(suffixes))} files, which another format reads "
        "already; uninstall one of them."
    )


def _loaded(point: EntryPoint) -> Format:
    try:
        added: object = point.load()
    except Exception as error:  # whatever the code of another package raises
        raise SourceError(
            f"{_named(point)} cannot be loaded ({type(error).__name__}: {error}); update or "
            "uninstall that package."
        ) from error
    if not isinstance(added, Format):
        raise SourceError(
            f"{_named(point)} names {point.value}, which is not a zarrts.sources.Format but "
            f"{type(added).__name__}; update or uninstall that package."
        )
    bad = [it for it in added.suffixes if not (it.startswith(".") and it == it.lower())]
    if bad or not added.suffixes:
        raise SourceError(
            f"{_named(point)} has the suffixes {added.suffixes!r}, which have to be in lower case "
            "and begin with a point; update or uninstall that package."
        )
    return added


def _named(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else point.module
    return f"the file format {point.name!r} of the package {package}"


def formats_for(options: SourceOptions) -> tuple[Format, ...]:
    """Return the formats whose files are recordings."""
    known = formats()
    has_own = any({*it.suffixes} & {*_MAYBE.suffixes} for it in known)
    return (*known, _MAYBE) if options.has_columns and not has_own else known


def suffixes(options: SourceOptions | None = None) -> tuple[str, ...]:
    """Return the suffixes of all files that can be read as recordings."""
    known = formats() if options is None else formats_for(options)
    return tuple(suffix for it in known for suffix in it.suffixes)


def are_lists(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Return those files that are not recordings, because others are of another kind."""
    some = [it for it in files if it.is_kind(_MAYBE.suffixes) and _format_of_any(it) is _MAYBE]
    return some if len(some) < len(files) else []


def format_of(file: SourceFile, options: SourceOptions | None = None) -> Format | None:
    """Return the format of a file; None if nobody reads it. A damaged file has one."""
    for it in formats() if options is None else formats_for(options):
        if file.is_kind(it.suffixes) and _recognises(it, file):
            return it
    return None


def _recognises(one: Format, file: SourceFile) -> bool:
    if one.recognises is None:
        return True
    try:
        return one.recognises(file)
    except SourceError:
        return True  # whoever opens it says why not


def open_contents(file: SourceFile) -> AbstractContextManager[Contents]:
    """Open a file of any format for reading its headers; SourceError if its format is unknown."""
    found = _format_of_any(file)
    if found is None:
        known = ", ".join(suffixes())
        raise SourceError(f"{file.origin}: is not of a kind that can be read ({known}).")
    return found.open(file)


def _format_of_any(file: SourceFile) -> Format | None:
    """Return the format of a file that is a recording, whatever options say of others."""
    for it in (*formats(), _MAYBE):
        if file.is_kind(it.suffixes) and _recognises(it, file):
            return it
    return None


def without_parts(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Return files without those that belong to another one, such as data beside a header."""
    parts = {origin for it in formats() if it.parts for origin in it.parts(files)}
    return [it for it in files if it.origin not in parts]


def find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find the recordings in files of all formats.

    Raises
    ------
    SourceError
        If files of several formats could be one study twice.
    """
    files = without_parts(files)
    of_format: dict[Format, list[SourceFile]] = {it: [] for it in formats_for(options)}
    for file in files:
        found = format_of(file, options)
        if found is not None:
            of_format[found].append(file)
    _refuse_mixture(of_format)
    if options.is_unlabelled:
        find_inputs(files, options, findings)
        return
    for it, some in of_format.items():
        it.find(some, options, findings)


def find_inputs(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    """Find the recordings in files of all formats, without their labels.

    Files that hold no inputs, such as hypnograms beside recordings and the labels of pairs of
    files, are passed over, unless all do.
    """
    files = without_parts(files)
    arrays = [file.origin for file in files if file.is_kind(npy.FORMAT.suffixes)]
    of_labels = {pair.y for pair in npy_pairs.pair_up(arrays)[0]}
    empty = []

    def draft(file: SourceFile) -> list[Draft]:
        try:
            with open_contents(file) as contents:
                found = draft_of(file, contents, options)
                if contents.scoring is None:
                    return [found]
                # Signals with annotations follow in time, whatever is asked for.
                notes = (*found.notes, *notes_by_rate(found.description, options))
                return [replace(unlabelled_series(found, options), notes=notes)]
        except NoInputsError as error:
            empty.append(str(error))
            return []

    in_groups = []
    tables = (parquet_files.FORMAT, csv_files.FORMAT)
    for it in (hdf5.FORMAT, zarr_folders.FORMAT, audio.FORMAT, eeglab.FORMAT, *tables):
        of_format = [file for file in files if _format_of_any(file) is it]
        it.find(of_format, options, findings)
        in_groups += of_format
    of_arrays = [file for file in files if _format_of_any(file) is npy.FORMAT]
    if npy.are_of_inputs(of_arrays, options):
        npy.FORMAT.find(of_arrays, options, findings)
        in_groups += of_arrays
    some = [it for it in files if it.origin not in of_labels and it not in in_groups]
    drafts = findings.collect("file", ahead(some), draft)
    findings.note("file", unlike_inputs([it for it in drafts if it.x_name == edf.SIGNALS]))
    findings.drafts += drafts
    if not findings.drafts:
        findings.note("file", empty)


def refuse_mixture(files: Sequence[SourceFile]) -> None:
    """Raise SourceError where files of several formats could be one study twice."""
    _refuse_mixture({it: [one for one in files if one.is_kind(it.suffixes)] for it in formats()})


def _refuse_mixture(of_format: dict[Format, list[SourceFile]]) -> None:
    counts: dict[str, int] = {}
    shown: dict[str, list[str]] = {}
    for it, some in of_format.items():
        family = it.family or it.suffixes[0]
        counts[family] = counts.get(family, 0) + len(some)
        shown.setdefault(family, []).extend(it.suffixes)
    some_of = [f"{n:,} {'/'.join(shown[family])}" for family, n in counts.items() if n]
    if len(some_of) > 1:
        raise SourceError(
            f"There are {' and '.join(some_of)} files, which may hold the same recordings twice; "
            "give those of one kind, for example with a pattern: 'subjects/**/*.npz'."
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
