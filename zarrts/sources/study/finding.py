"""Find the recordings of a study, whatever kind of files they are in."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.sources.formats import registry
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.formats.registry import find_drafts, format_of, suffixes
from zarrts.sources.rows.files import SourceFile, SourcePath
from zarrts.sources.rows.records import are_named
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study import (
    bids,
    class_folders,
    fingerprint,
    in_memory,
    label_every,
    ragged,
    recording_table,
    subject_names,
    subject_runs,
)
from zarrts.sources.study.agreement import gathered
from zarrts.sources.study.declared import as_declared, inputs_as_declared
from zarrts.sources.study.inputs import align, with_values
from zarrts.sources.study.meaning import alike_inputs
from zarrts.sources.study.new_inputs import align_like, choose_inputs
from zarrts.sources.study.search import Search, search
from zarrts.sources.study.standards import Reference
from zarrts.types import (
    Description,
    Recording,
    RowReader,
    SeriesList,
    SourceInput,
    SourceRecording,
)

Source = str | os.PathLike[str] | Recording
"""A file, a folder, a glob pattern, an address of any of these, or arrays."""


@dataclass(frozen=True)
class Found:
    """Result of `find`.

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
    misfits : tuple of str
        Those of the problems that are about what columns and rows mean.
    description : Description
        What columns and rows of all of them mean.
    notes : tuple of str
        What was done so that columns and rows mean the same, and which files say nothing of it.
    """

    recordings: tuple[SourceRecording, ...]
    problems: tuple[str, ...]
    has_subjects_given: bool
    passed_over: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()
    description: Description = field(default_factory=Description.unknown)
    notes: tuple[str, ...] = ()


def find(
    source: Source | Sequence[Source],
    options: SourceOptions | None = None,
    *,
    has_subject_arrays: bool | None = None,
    mounts: Mounts | None = None,
    reference: Reference | None = None,
    stored: Sequence[SourceRecording] = (),
) -> Found:
    """Find the recordings in `source`; reads headers, and blocks of the files for fingerprints.

    Parameters
    ----------
    source : path, address, glob pattern, Recording, or a list of these
        Folders are searched to the bottom, hidden names and Zarr stores passed over. A `.csv`
        file is a table of recordings; see `recording_table.find_drafts`.
    options : SourceOptions, optional
        What files hold, and whose they are.
    has_subject_arrays : bool, optional
        Split files where an array of theirs says whose each row is; by default, where neither
        `subject` nor `folders` says it.
    mounts : Mounts, optional
        How addresses are reached.
    reference : Reference, optional
        What columns and rows have to mean, such as those of a store that is added to.
    stored : sequence of SourceRecording
        Recordings of stores, which are found already; with some, there need be no source.

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
    paths, tables, recordings = _sorted_out(source, may_be_none=bool(stored))
    mounts = mounts or Mounts()
    found = _search(paths, mounts, options.follow_links)
    if not (stored or found.files or found.problems or tables or recordings):
        raise found.nothing(paths, suffixes())
    findings = Findings()
    findings.note("place", found.problems)
    data_sets = bids.DataSets.of(found, options, mounts)
    data_sets.find_drafts(options, findings)
    _find_in_folders(data_sets.elsewhere, options, findings)
    findings.drafts.sort(key=lambda draft: draft.origin)
    for table in tables:
        recording_table.find_drafts(table, options, mounts, findings)
    if options.label_names:
        _note_single_arrays(findings)
    timed = options
    if reference is not None and options.rate_hz is None:
        timed = replace(options, rate_hz=reference.description.rate_hz)
    findings.drafts = label_every.spread(findings.drafts, timed, findings, "file")
    if has_subject_arrays is None:
        has_subject_arrays = options.subject is None and options.folders == "auto"
    if has_subject_arrays:
        subject_runs.split(findings)
    are_given = all(it.subject is not None for it in findings.drafts)
    subject_names.assign(options.subject, mounts, findings)
    ragged.settle_lists(findings, "ragged" if options.is_series else options.kind)
    drafts = findings.drafts
    of_files = _with_fingerprints(findings)
    of_arrays = in_memory.find_recordings(recordings, options, findings)
    of_arrays = label_every.spread(of_arrays, timed, findings, "array")
    settled = ragged.settle([*of_files, *of_arrays, *stored], options, findings)
    # A value that is missing is one of the file, before units are converted.
    settled = as_declared(with_values(settled), options)
    alike, description, notes = _brought_together(settled, options, reference, findings)
    alike = align(alike, description, options, findings)
    return Found(
        recordings=tuple(alike),
        problems=findings.sentences(),
        has_subjects_given=options.subject is not None or are_given,
        passed_over=_passed_over(data_sets.others, drafts),
        misfits=tuple(findings.problems.get("meaning", ())),
        description=description,
        notes=(
            *data_sets.notes,
            *gathered(f"{it.origin}: {text}" for it in drafts for text in it.notes),
            *notes,
        ),
    )


def _search(paths: Sequence[str], mounts: Mounts, follow_links: bool = False) -> Search:
    """Find files; those that have a known suffix, but are of another kind, are such files."""
    found = search(paths, suffixes(), follow_links=follow_links, mounts=mounts)
    unlike = {it.origin for it in found.files if format_of(it) is None}
    files = [it for it in found.files if it.origin not in unlike]
    return replace(found, files=files, others=sorted([*found.others, *unlike]))


def _passed_over(others: Sequence[str], drafts: Sequence[Draft]) -> tuple[str, ...]:
    """Return the files of other kinds that belong to no recording: a header names its data."""
    taken = {
        "/".join(filter(None, (it.origin.rpartition("/")[0], os.path.basename(path))))
        for it in drafts
        for path in it.paths
        if isinstance(path, str)
    }
    return tuple(it for it in others if it not in taken)


def _brought_together(
    recordings: Sequence[SourceRecording],
    options: SourceOptions,
    reference: Reference | None,
    findings: Findings,
) -> tuple[list[SourceRecording], Description, tuple[str, ...]]:
    """Return recordings whose columns and rows mean the same, what they mean, and notes."""
    # Of no rows nothing is stored, and another problem is said of them.
    filled = [it for it in recordings if it.x.shape[0] or it.labels_per != "sample"]
    inputs = [(it.origin, it.x, it.description) for it in filled]
    changed, description, notes, problems, _ = alike_inputs(inputs, options, reference)
    findings.note("meaning", problems)
    by_id = {id(it): x for it, x in zip(filled, changed, strict=True)}
    alike = [
        replace(it, x=by_id[id(it)], description=description) if id(it) in by_id else it
        for it in recordings
    ]
    return alike, description, notes


def find_inputs(
    source: Source | Sequence[Source],
    options: SourceOptions,
    storage_options: Mapping[str, Any] | None = None,
    reference: Reference | None = None,
) -> list[SourceInput]:
    """Return the inputs in sources that need no labels.

    Warns of columns that are put in order, units that are converted, and of what files do not say.

    Parameters
    ----------
    source : path, address, glob pattern, Recording, or a list of these
        Files come in sorted order; then what tables (`.csv`) name, and recordings, in theirs.
    options : SourceOptions
        What files hold.
        `y` is False. `channels` are those of files that hold signals by name; no other file is
        asked for them.
    storage_options : mapping, optional
        Of addresses.
    reference : Reference, optional
        What columns and rows have to mean, as those that a network was trained with.

    Raises
    ------
    SourceError
        Naming every file that cannot be used.
    """
    options.check_axes()
    paths, tables, recordings = _sorted_out(source)
    mounts = Mounts(storage_options)
    found = _search(paths, mounts)
    if found.problems or not (found.files or tables or recordings):
        raise SourceError("\n".join(found.problems) or str(found.nothing(paths, suffixes())))
    findings = Findings()
    data_sets = bids.DataSets.of(found, options, mounts)
    data_sets.find_drafts(options, findings)
    registry.find_inputs(data_sets.elsewhere, options, findings)
    findings.drafts.sort(key=lambda draft: draft.origin)
    for table in tables:
        recording_table.find_drafts(table, options, mounts, findings)
    ragged.settle_lists(findings, "ragged" if options.is_series else options.kind)
    inputs = [
        (_input(it, it.x, options), it.description)
        for it in findings.drafts
        if not isinstance(it.x, SeriesList)
    ]
    unlabelled = [replace(it, y=None) for it in recordings]
    inputs += [
        (_input(it, it.x, options), it.description)
        for it in in_memory.find_recordings(unlabelled, options, findings)
    ]
    if problems := findings.sentences():
        raise SourceError("\n".join(problems))
    return _as_in(reference, inputs, options)


def _input(it: Draft | SourceRecording, x: RowReader, options: SourceOptions) -> SourceInput:
    declared = inputs_as_declared(x, options)
    return SourceInput(origin=it.origin, x=declared, mask=it.mask, gaps=it.gaps, subject=it.subject)


def _as_in(
    reference: Reference | None,
    found: Sequence[tuple[SourceInput, Description]],
    options: SourceOptions,
) -> list[SourceInput]:
    """Return inputs whose columns and rows mean what they have to mean.

    Raises
    ------
    SourceError
        Naming every file that cannot be brought to that.
    """
    if reference is None:
        return [it for it, _ in found]
    findings = Findings()
    if reference.steps:
        chosen = findings.collect(
            "study", found, lambda it: [(choose_inputs(it[0], [*reference.steps]), it[1])]
        )
        _raise(findings.sentences())
        found = chosen
    given = [(it.origin, it.x, description) for it, description in found]
    changed, _, notes, problems, unsaid = alike_inputs(given, options, reference)
    _raise(problems)
    for text in (*notes, *unsaid):
        warnings.warn(text, stacklevel=4)
    inputs = [replace(it, x=x) for (it, _), x in zip(found, changed, strict=True)]
    if reference.steps:
        inputs = findings.collect("study", inputs, lambda it: [align_like(it, reference.steps)])
        _raise(findings.sentences())
    return inputs


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise SourceError("\n".join(problems))


def _sorted_out(
    source: Source | Sequence[Source], *, may_be_none: bool = False
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
            (tables if path.lower().endswith(recording_table.SUFFIX) else paths).append(path)
        else:
            raise SourceError(
                "a source must be a path, a zarrts.Recording('s01', x, y) or a list of these, not "
                f"{type(item).__name__}."
            )
    if not items and not may_be_none:
        raise SourceError("no sources were given; give a file, a folder or a zarrts.Recording.")
    return paths, tables, recordings


def _find_in_folders(
    files: Sequence[SourceFile], options: SourceOptions, findings: Findings
) -> None:
    """Find the recordings in files, whatever folders mean."""
    if options.has_class_folders:
        class_folders.find_drafts(files, options, findings)
        return
    find_drafts(files, options, findings)
    if options.folders == "subjects":
        subject_names.take_from_folders(files, findings)


def _note_single_arrays(findings: Findings) -> None:
    """Note each recording that has one array of labels, where several are asked for."""
    findings.note(
        "file",
        (
            f"{draft.origin}: has one array of labels, but y= names several; read files whose "
            "arrays have names, such as .npz."
            for draft in findings.drafts
            if not are_named(draft.y)
        ),
    )


def _with_fingerprints(findings: Findings) -> list[SourceRecording]:
    looked_at: dict[tuple[SourcePath, ...], fingerprint.Look] = {}

    def recording(draft: Draft) -> list[SourceRecording]:
        if draft.paths not in looked_at:
            looked_at[draft.paths] = fingerprint.look_at(draft.paths)
        look = looked_at[draft.paths]
        assert draft.subject is not None
        assert not isinstance(draft.x, SeriesList) and not isinstance(draft.y, SeriesList)
        return [
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
                description=draft.description,
                first_row=draft.first_row,
                labels_per=draft.labels_per,
                labels_from=draft.labels_from,
                groups=draft.groups,
                mask=draft.mask,
                gaps=draft.gaps,
            )
        ]

    return findings.collect("content", findings.drafts, recording)
