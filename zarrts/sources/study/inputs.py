"""Find inputs that need no labels: new data for a network."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.sources.formats import registry
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.formats.registry import suffixes
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study import bids, in_memory, ragged, recording_table
from zarrts.sources.study.declared import inputs_as_declared
from zarrts.sources.study.given import Source, search_files, sorted_out
from zarrts.sources.study.joining_inputs import join_all
from zarrts.sources.study.standards import Reference
from zarrts.types import Description, RowReader, SeriesList, SourceInput, SourceRecording


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
    paths, tables, recordings = sorted_out(source, options)
    mounts = Mounts(storage_options)
    found = search_files(paths, mounts, options)
    if found.problems or not (found.files or tables or recordings):
        raise SourceError("\n".join(found.problems) or str(found.nothing(paths, suffixes(options))))
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
    if reference is None and not options.steps:
        return [it for it, _ in found]
    recordings = [_unlabelled(*it, options) for it in found]
    joined = join_all(recordings, options, reference)
    if joined.problems:
        raise SourceError("\n".join(joined.problems))
    for text in (*joined.notes, *joined.warnings):
        if text not in joined.steps:
            warnings.warn(text, stacklevel=4)
    return [
        SourceInput(origin=it.origin, x=it.x, mask=it.mask, gaps=it.gaps, subject=it.subject)
        for it in joined.recordings
    ]


def _unlabelled(
    it: SourceInput, description: Description, options: SourceOptions
) -> SourceRecording:
    """Return inputs as a recording without labels."""
    return SourceRecording(
        subject=it.subject or it.origin,
        origin=it.origin,
        x=it.x,
        y=ConstantRows("", it.x.shape[0]),
        x_name="x",
        y_name="y",
        size_bytes=0,
        fingerprint="",
        description=description,
        labels_per="sample" if options.kind == "dense" else "row",
        mask=it.mask,
        gaps=it.gaps,
    )
