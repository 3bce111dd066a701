"""Find the recordings of a study, whatever kind of files they are in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from zarrts.buckets.mounts import Mounts
from zarrts.sources.formats.drafts import Draft, Findings, Kind
from zarrts.sources.formats.registry import find_drafts, suffixes
from zarrts.sources.rows.files import SourceFile, SourcePath
from zarrts.sources.rows.inputs import InputRows
from zarrts.sources.rows.records import are_named
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.step_lists import by_input, with_further
from zarrts.sources.step_options import Step
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
from zarrts.sources.study.declared import as_declared
from zarrts.sources.study.elsewhere import Intervals, attach
from zarrts.sources.study.given import Source, passed_over, search_files, sorted_out
from zarrts.sources.study.joining_inputs import join_all
from zarrts.sources.study.standards import Reference
from zarrts.types import (
    Description,
    SeriesList,
    SourceRecording,
)


@dataclass(frozen=True)
class Scanned:
    """Result of `scan`: recordings that need not mean the same yet.

    Attributes
    ----------
    problems : mapping
        See `Findings`.
    recordings, has_subjects_given, passed_over, notes
        As of `Found`.
    """

    recordings: tuple[SourceRecording, ...]
    problems: Mapping[Kind, tuple[str, ...]]
    has_subjects_given: bool
    passed_over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def with_step(self, steps: Sequence[Step], step: Step) -> tuple[Step, ...]:
        """Return steps with one more; some may be taken already on recordings of stores."""
        for it in self.recordings:
            if it.steps_taken:
                inputs = it.x.by_name if isinstance(it.x, InputRows) else {"": it.x}
                dtypes = {name: rows.dtype.name for name, rows in inputs.items()}
                return with_further(steps, [step], it.steps_taken, dtypes)
        return by_input([*steps, step])

    @property
    def may_depend_on_steps(self) -> bool:
        """Whether signals of one rate that a step picks would make other recordings of files."""
        has_inputs = any(isinstance(it.x, InputRows) for it in self.recordings)
        return has_inputs or any(self.problems.values())


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
        What was done so that columns and rows mean the same, the steps among it, and which files
        say nothing of it.
    before_steps : Description, or None
        What columns and rows meant before the first step that computes; None without steps.
    """

    recordings: tuple[SourceRecording, ...]
    problems: tuple[str, ...]
    has_subjects_given: bool
    passed_over: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()
    description: Description = field(default_factory=Description.unknown)
    notes: tuple[str, ...] = ()
    before_steps: Description | None = None


def find(
    source: Source | Sequence[Source],
    options: SourceOptions | None = None,
    *,
    has_subject_arrays: bool | None = None,
    mounts: Mounts | None = None,
    reference: Reference | None = None,
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
    scanned = scan(
        source,
        options,
        has_subject_arrays=has_subject_arrays,
        mounts=mounts,
        reference=reference,
    )
    return brought_together(scanned, options, reference)


def scan(
    source: Source | Sequence[Source],
    options: SourceOptions,
    *,
    has_subject_arrays: bool | None = None,
    mounts: Mounts | None = None,
    reference: Reference | None = None,
    stored: Sequence[SourceRecording] = (),
) -> Scanned:
    """Find the recordings in `source`, whose columns and rows are not compared; see `find`.

    Parameters
    ----------
    stored : sequence of SourceRecording
        Recordings of stores, which are found already; with some, there need be no source.
    """
    options.check_axes()
    paths, tables, recordings = sorted_out(source, options, may_be_none=bool(stored))
    mounts = mounts or Mounts()
    intervals = None if options.labels is None else Intervals(options.labels, mounts)
    found = search_files(paths, mounts, options, intervals)
    if not (stored or found.files or found.problems or tables or recordings):
        raise found.nothing(paths, suffixes(options))
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
        known = options.before_steps or reference.description
        parts = {name: it.rate_hz for name, it in known.parts.items() if it.rate_hz}
        timed = replace(options, rate_hz=parts or known.rate_hz)
    findings.drafts = label_every.spread(findings.drafts, timed, findings, "file")
    if has_subject_arrays is None:
        has_subject_arrays = options.subject is None and options.folders == "auto"
    if has_subject_arrays:
        subject_runs.split(findings)
    are_given = all(it.subject is not None for it in findings.drafts)
    subject_names.assign(None if findings.names_subjects else options.subject, mounts, findings)
    findings.drafts = attach(findings.drafts, intervals, timed, findings, "file")
    ragged.settle_lists(findings, "ragged" if options.is_series else options.kind)
    drafts = findings.drafts
    of_files = _with_fingerprints(findings)
    of_arrays = in_memory.find_recordings(recordings, options, findings)
    of_arrays = attach(of_arrays, intervals, timed, findings, "array")
    if intervals is not None and not findings.sentences():
        findings.note("study", intervals.problems())
    of_arrays = label_every.spread(of_arrays, timed, findings, "array")
    settled = ragged.settle([*of_files, *of_arrays, *stored], options, findings)
    # A value that is missing is one of the file, before units are converted.
    settled = as_declared(settled, options)
    return Scanned(
        recordings=tuple(settled),
        problems={kind: tuple(some) for kind, some in findings.problems.items()},
        has_subjects_given=options.subject is not None or are_given,
        passed_over=passed_over(data_sets.others, drafts),
        notes=(
            *data_sets.notes,
            *gathered(f"{it.origin}: {text}" for it in drafts for text in it.notes),
        ),
    )


def brought_together(
    scanned: Scanned, options: SourceOptions, reference: Reference | None = None
) -> Found:
    """Return recordings whose columns and rows mean the same, after the steps of the options."""
    findings = Findings(problems={kind: [*some] for kind, some in scanned.problems.items()})
    joined = join_all(scanned.recordings, options, reference)
    findings.note("meaning", joined.problems)
    return Found(
        recordings=joined.recordings,
        problems=findings.sentences(),
        has_subjects_given=scanned.has_subjects_given,
        passed_over=scanned.passed_over,
        misfits=joined.problems,
        description=joined.description,
        notes=(*scanned.notes, *joined.notes),
        before_steps=joined.before,
    )


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
                first_s=draft.first_s,
            )
        ]

    return findings.collect("content", findings.drafts, recording)
