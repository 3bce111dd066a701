"""Find the recordings of a study, whatever kind of files they are in."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.sources import (
    fingerprint,
    given,
    lengths,
    listing,
    owners,
    series,
    stretches,
    subjects,
    unlabelled,
)
from zarrts.sources.files import SourcePath
from zarrts.sources.formats import (
    SUFFIXES,
    find_drafts,
    find_drafts_in_classes,
    open_contents,
)
from zarrts.sources.kind import ArrayOptions, Draft, SourceFile
from zarrts.sources.named import are_named
from zarrts.sources.search import search
from zarrts.sources.subjects import SubjectOption
from zarrts.types import FOLDERS, Recording, RowReader, SeriesList, SourceRecording

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
    *,
    subject: SubjectOption | None = None,
    x: str | None = None,
    y: str | Sequence[str] | None = None,
    kind: str = "auto",
    axes: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    label_every: int | str | None = None,
    rate_hz: float | None = None,
    folders: str = "auto",
    class_names: Sequence[str] | None = None,
    follow_links: bool = False,
    has_owners: bool | None = None,
    mounts: Mounts | None = None,
) -> Found:
    """Find the recordings in `source`; reads headers, and blocks of the files for fingerprints.

    Parameters
    ----------
    source : path, address, glob pattern, Recording, or a list of these
        Folders are searched to the bottom, hidden names and Zarr stores passed over. A `.csv`
        file is a table of recordings; see `listing.find_drafts`.
    subject : str, path, mapping or callable, optional
        Who a file belongs to: a regular expression (its group 1, or all of the match) for the
        relative path with "/"; a function of that path; a mapping from relative path (or name
        without suffix) to subject; or path or address of a `.csv` table with the columns file and
        subject. By default each file (pair) is a subject of its own name, or of its relative
        path where two have the same name. Says nothing about a Recording, which has a subject.
    x, y : str, optional
        Names of the arrays in files of several; for pairs of `.npy` files see `names.pair_up`. A
        list for y names several arrays of labels.
    kind : str
        "dense": rows are samples; "ragged": they are steps in time. "auto": see `series.settle`
        for lists of series, and `lengths.settle`.
    axes : sequence of str, optional
        What the axes of x in the files are called, such as ("sample", "channel", "time"). They
        come out with "sample" first, then "time", others as given, "channel" last.
        ("time", "channel"), in either order, are those of one series.
    channels : sequence of str, optional
        Which signals of EDF and BDF files are inputs, in this order.
    label_every : int or str, optional
        Each label is for so many rows, or so much time; rows are steps in time then.
    rate_hz : float, optional
        Rows per second, instead of what files carry.
    folders : str
        "auto": folders mean nothing, but name the files. "subjects": the first level of folders
        names the subjects. "classes" and what follows it in `FOLDERS`: see `sources.classes`.
    class_names : sequence of str, optional
        All classes that folders may name.
    follow_links : bool
        Search links to folders as well.
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
    # In class folders each file is a series anyway, so that its axes say nothing more.
    has_classes = folders not in ("auto", "subjects")
    is_series = label_every is not None or lengths.is_series(kind, None if has_classes else axes)
    has_samples = not has_classes and not is_series
    options = ArrayOptions.of(
        x,
        y,
        axes,
        channels=channels,
        label_every=label_every,
        rate_hz=rate_hz,
        has_samples=has_samples,
    )
    paths, tables, recordings = _sorted_out(source)
    mounts = mounts or Mounts()
    found = search(paths, SUFFIXES, follow_links=follow_links, mounts=mounts)
    if not (found.files or found.problems or tables or recordings):
        raise found.nothing(paths, SUFFIXES)
    drafts, problems = _in_folders(found.files, options, folders, class_names)
    drafts.sort(key=lambda draft: draft.origin)
    for table in tables:
        of_table, bad_lines = listing.find_drafts(table, options, open_contents, mounts)
        drafts += of_table
        problems += bad_lines
    if options.several:
        problems += _with_one_array(drafts)
    drafts, misfits = stretches.spread(drafts, options)
    if has_owners if has_owners is not None else subject is None and folders == "auto":
        drafts, unowned = owners.split(drafts)
        problems += unowned
    owned, more = _with_subjects(drafts, subject, mounts)
    settled, unsettled = series.settle(owned, "ragged" if is_series else kind)
    of_files, unread = _with_fingerprints(settled)
    of_arrays, bad_arrays = given.find_recordings(recordings, options)
    of_arrays, misfitting = stretches.spread(of_arrays, options)
    alike, mixed = lengths.settle([*of_files, *of_arrays], kind, is_said=is_series)
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
        has_subjects_given=subject is not None or all(it.subject is not None for it in drafts),
        passed_over=tuple(found.others),
    )


def find_inputs(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    x: str | None = None,
    axes: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    is_series: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> list[tuple[str, RowReader]]:
    """Return (name of the file, reader) of the inputs in files that need no labels.

    Parameters
    ----------
    source, x, axes
        As for `find`; files in sorted order.
    channels : sequence of str, optional
        Of files that hold signals by name, these; no other file is asked for them.
    is_series : bool
        Each file is one series of steps, not samples.
    storage_options : mapping, optional
        Of addresses.

    Raises
    ------
    SourceError
        Naming every file that cannot be used.
    """
    options = ArrayOptions.of(x, None, axes, channels=channels, has_samples=not is_series)
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
    files: Sequence[SourceFile],
    options: ArrayOptions,
    folders: str,
    class_names: Sequence[str] | None,
) -> tuple[list[Draft], list[str]]:
    """Return the recordings in files, whatever folders mean, and a sentence per bad file."""
    if folders not in FOLDERS:
        raise SourceError(f"folders={folders!r} is unknown; use one of {', '.join(FOLDERS)}.")
    if folders not in ("auto", "subjects"):
        return find_drafts_in_classes(files, options, folders, class_names)
    drafts, problems = find_drafts(files, options)
    if folders == "subjects":
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
                is_sampled=look.is_sampled,
                paths=draft.paths,
                stamp=look.stamp,
                found=draft.found,
                channels=draft.channels,
                rate_hz=draft.rate_hz,
                first_row=draft.first_row,
                labels_per=draft.labels_per,
            )
        )
    return found, problems
