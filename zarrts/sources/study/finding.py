"""Find the recordings of a study, whatever kind of files they are in."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.sources.formats import owners
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.formats.registry import (
    SUFFIXES,
    find_drafts,
    find_drafts_in_classes,
    open_contents,
)
from zarrts.sources.rows.files import SourceFile, SourcePath
from zarrts.sources.rows.records import are_named
from zarrts.sources.source_options import SourceOptions, SubjectOption
from zarrts.sources.study import fingerprint, lengths, series, unlabelled
from zarrts.sources.study import in_memory as given
from zarrts.sources.study import label_every as stretches
from zarrts.sources.study import recording_table as listing
from zarrts.sources.study import subject_names as subjects
from zarrts.sources.study.search import search
from zarrts.types import Recording, RowReader, SeriesList, SourceRecording

Source = str | os.PathLike[str] | Recording
"""A file, a folder, a glob pattern, an address of any of these, or arrays."""


@dataclass(frozen=True)
class Found:
    """What `find` found.

    Attributes
    ----------
    recordings : tuple of SourceRecording
        Those of files in sorted order of `origin`, then those of tables and those given as
        arrays, in their order.
    problems : tuple of str
        One complete sentence for each file that cannot be used; none is left out.
    has_subjects_given : bool
        Someone said whose recordings they are; no subject is merely the name of a file.
    passed_over : tuple of str
        The files of other kinds, which are not read.
    """

    recordings: tuple[SourceRecording, ...]
    problems: tuple[str, ...]
    has_subjects_given: bool
    passed_over: tuple[str, ...] = ()


def find(
    source: Source | Sequence[Source],
    options: SourceOptions | None = None,
    *,
    has_owners: bool | None = None,
    mounts: Mounts | None = None,
) -> Found:
    """Find the recordings in `source`; reads headers, and blocks of the files for fingerprints.

    Parameters
    ----------
    source : path, address, glob pattern, Recording, or a list of these
        Folders are searched to the bottom, hidden names and Zarr stores passed over. A `.csv`
        file is a table of recordings; see `listing.find_drafts`.
    options : SourceOptions, optional
        What files hold, and whose they are.
    has_owners : bool, optional
        Split files where an array of theirs says whose each row is; by default, where neither
        `subject` nor `folders` says it.
    mounts : Mounts, optional
        How addresses are reached.

    Returns
    -------
    Found
        With every bad file in `problems`, none raised.

    Raises
    ------
    SourceError
        If an option cannot be used, a path does not exist, or there is nothing to read.
    """
    options = options or SourceOptions()
    options.check_axes()
    paths, tables, recordings = _sorted_out(source)
    mounts = mounts or Mounts()
    found = search(paths, SUFFIXES, follow_links=options.follow_links, mounts=mounts)
    if not (found.files or found.problems or tables or recordings):
        raise found.nothing(paths, SUFFIXES)
    drafts, problems = _in_folders(found.files, options)
    drafts.sort(key=lambda draft: draft.origin)
    for table in tables:
        of_table, bad_lines = listing.find_drafts(table, options, open_contents, mounts)
        drafts += of_table
        problems += bad_lines
    if options.label_names:
        problems += _with_one_array(drafts)
    drafts, misfits = stretches.spread(drafts, options)
    if has_owners is None:
        has_owners = options.subject is None and options.folders == "auto"
    if has_owners:
        drafts, unowned = owners.split(drafts)
        problems += unowned
    owned, more = _with_subjects(drafts, options.subject, mounts)
    settled, unsettled = series.settle(owned, "ragged" if options.is_series else options.kind)
    of_files, unread = _with_fingerprints(settled)
    of_arrays, bad_arrays = given.find_recordings(recordings, options)
    of_arrays, misfitting = stretches.spread(of_arrays, options)
    alike, mixed = lengths.settle([*of_files, *of_arrays], options.kind, is_said=options.is_series)
    return Found(
        recordings=tuple(alike),
        problems=(
            *found.problems,
            *sorted([*problems, *misfits]),
            *more,
            *unsettled,
            *unread,
            *bad_arrays,
            *misfitting,
            *mixed,
        ),
        has_subjects_given=options.subject is not None
        or all(it.subject is not None for it in drafts),
        passed_over=tuple(found.others),
    )


def find_inputs(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    options: SourceOptions,
    storage_options: Mapping[str, Any] | None = None,
) -> list[tuple[str, RowReader]]:
    """Return (name of the file, reader) of the inputs in files that need no labels.

    Parameters
    ----------
    source : path, address, glob pattern, or a list of these
        Files come in sorted order.
    options : SourceOptions
        `channels` are those of files that hold signals by name; no other file is asked for them.
    storage_options : mapping, optional
        Of addresses.

    Raises
    ------
    SourceError
        Naming every file that cannot be used.
    """
    options.check_axes()
    paths, _, _ = _sorted_out(source)
    found = search(paths, SUFFIXES, mounts=Mounts(storage_options))
    if found.problems or not found.files:
        raise SourceError("\n".join(found.problems) or str(found.nothing(paths, SUFFIXES)))
    return unlabelled.find_inputs(found.files, options, open_contents)


def _sorted_out(
    source: Source | Sequence[Source],
) -> tuple[list[str], list[str], list[Recording]]:
    """Return the paths, the tables and the arrays in `source`, each in the order given."""
    items = source if isinstance(source, list | tuple) else [source]
    paths: list[str] = []
    tables: list[str] = []
    recordings: list[Recording] = []
    for item in items:
        if isinstance(item, Recording):
            recordings.append(item)
        elif isinstance(item, str | os.PathLike):
            path = os.fspath(item)
            if not (isinstance(path, str) and path):
                raise SourceError(f"a source must be a path, not {path!r}.")
            (tables if path.lower().endswith(listing.SUFFIX) else paths).append(path)
        else:
            raise SourceError(
                "a source must be a path, a zarrts.Recording('s01', x, y) or a list of these, not "
                f"{type(item).__name__}."
            )
    if not items:
        raise SourceError("no sources were given; give a file, a folder or a zarrts.Recording.")
    return paths, tables, recordings


def _in_folders(
    files: Sequence[SourceFile], options: SourceOptions
) -> tuple[list[Draft], list[str]]:
    """Return the recordings in files, whatever folders mean, and a sentence per bad file."""
    if options.has_class_folders:
        return find_drafts_in_classes(files, options)
    drafts, problems = find_drafts(files, options)
    if options.folders == "subjects":
        drafts, homeless = subjects.of_folders(drafts, files)
        problems += homeless
    return drafts, problems


def _with_one_array(drafts: Sequence[Draft]) -> list[str]:
    """Return a sentence for each recording that has not several arrays of labels."""
    return [
        f"{draft.origin}: has one array of labels, but y= names several; read files whose arrays "
        "have names, such as .npz."
        for draft in drafts
        if not are_named(draft.y)
    ]


def _with_subjects(
    drafts: Sequence[Draft], subject: SubjectOption | None, mounts: Mounts
) -> tuple[list[Draft], list[str]]:
    """Return the recordings whose subjects are known; all series of a list have the same one."""
    names, problems = subjects.assign(drafts, subject, mounts)
    owned = [
        replace(draft, subject=name)
        for draft, name in zip(drafts, names, strict=True)
        if name is not None
    ]
    return owned, problems


def _with_fingerprints(drafts: Sequence[Draft]) -> tuple[list[SourceRecording], list[str]]:
    problems: list[str] = []
    found: list[SourceRecording] = []
    looked_at: dict[tuple[SourcePath, ...], fingerprint.Look] = {}
    for draft in drafts:
        try:
            if draft.paths not in looked_at:
                looked_at[draft.paths] = fingerprint.look_at(draft.paths)
        except SourceError as error:
            problems.append(str(error))
            continue
        look = looked_at[draft.paths]
        assert draft.subject is not None
        assert not isinstance(draft.x, SeriesList) and not isinstance(draft.y, SeriesList)
        found.append(
            SourceRecording(
                subject=draft.subject,
                origin=draft.origin,
                x=draft.x,
                y=draft.y,
                x_name=draft.x_name,
                y_name=draft.y_name,
                size_bytes=look.size_bytes,
                fingerprint=look.digest_of(draft.part),
                paths=draft.paths,
                stamp=look.stamp,
                found=draft.found,
                description=draft.description,
                first_row=draft.first_row,
                labels_per=draft.labels_per,
            )
        )
    return found, problems
