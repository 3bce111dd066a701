"""Decide over a whole study whether it is dense or ragged.

`settle_lists` makes each list of series an array of samples, or a recording each; `settle` decides
whether rows are samples or steps in time.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from zarrts.errors import SourceError
from zarrts.sizes import format_count
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.rows.inputs import InputRows, each_input
from zarrts.sources.rows.records import NamedRows
from zarrts.sources.rows.views import (
    ConstantRows,
    OneSample,
    PartOfRows,
    RowsOfRow,
    StackedRows,
    count_rows,
)
from zarrts.sources.source_options import SourceOptions
from zarrts.types import LabelsPer, RowReader, SeriesList, SourceRecording


def settle_lists(findings: Findings, kind: str) -> None:
    """Make lists of series arrays of samples, or a recording each.

    Parameters
    ----------
    kind : "auto", "dense" or "ragged"
        "dense": each list is an array of samples. "ragged": each of its series is a recording.
        "auto": the first where all series of all lists have one shape, else the second.

    Where lists are taken apart, or arrays of matrices differ in their lengths, so are arrays of
    matrices that have a label each.
    """
    shapes = {
        reader.shape
        for draft in findings.drafts
        if isinstance(draft.x, SeriesList)
        for reader in draft.x.readers
    }
    stacks = {
        it.x.shape[1:]
        for it in findings.drafts
        if not isinstance(it.x, SeriesList) and _is_stack(it)
    }
    is_ragged = kind == "ragged" or (kind == "auto" and len(shapes) > 1)
    # With lists of one length, stacks of another are ragged together.
    is_ragged |= kind == "auto" and bool(shapes) and len(shapes | stacks) > 1
    # A stack alone is one series whose steps are matrices, unless their lengths differ.
    takes_apart = is_ragged and (bool(shapes) or differ_in_length(stacks))

    def settled(draft: Draft) -> list[Draft]:
        if takes_apart and _is_stack(draft):
            return _each(replace(draft, y=_labels_of_stack(draft)), _unstacked(draft.x))
        if isinstance(draft.x, SeriesList):
            _refuse_mismatch(draft, draft.x)
            if is_ragged:
                return _each(draft, draft.x)
            _refuse_unequal(draft, draft.x)
        elif isinstance(draft.y, SeriesList):
            _refuse_mismatch(draft, draft.y)
            _refuse_unequal(draft, draft.y)
        return [replace(draft, x=_stacked(draft.x), y=_stacked(draft.y))]

    findings.drafts = findings.collect("series", findings.drafts, settled)


def _is_stack(draft: Draft) -> bool:
    """Return whether a recording is an array of matrices with a label each."""
    x, y = draft.x, draft.y
    if isinstance(x, SeriesList | InputRows) or draft.labels_per != "sample" or len(x.shape) < 3:
        return False
    return count_rows(x) == count_rows(y) > 0


def differ_in_length(shapes: Collection[tuple[int, ...]]) -> bool:
    """Return whether shapes of matrices are alike but for their first axes, which differ."""
    return len({*shapes}) > 1 and len({shape[1:] for shape in shapes}) == 1


def _labels_of_stack(draft: Draft) -> RowReader | SeriesList:
    """Return labels of a stack: one for each matrix, or a list of those of its time steps."""
    x, y = draft.x, draft.y
    if isinstance(x, SeriesList) or isinstance(y, SeriesList):
        return y
    are_of_rows = len(y.shape) > 1 and y.shape[1] == x.shape[1] > 1
    return _unstacked(y) if are_of_rows else y


def _unstacked(rows: RowReader | SeriesList) -> SeriesList:
    assert not isinstance(rows, SeriesList)
    return SeriesList(tuple(RowsOfRow(rows, number) for number in range(rows.shape[0])))


def _stacked(rows: RowReader | SeriesList) -> RowReader:
    if not isinstance(rows, SeriesList):
        return rows
    named = [it for it in rows.readers if isinstance(it, NamedRows)]
    if not named:
        return StackedRows(rows.readers)
    columns = zip(*(it.readers for it in named), strict=True)
    return NamedRows(named[0].names, tuple(StackedRows(column) for column in columns))


def _refuse_mismatch(draft: Draft, series: SeriesList) -> None:
    n_x, n_y = count_rows(draft.x), count_rows(draft.y)
    if not series.readers:
        raise SourceError(f"{draft.origin}: holds an empty list; leave the file out.")
    if n_x != n_y:
        raise SourceError(
            f"{draft.origin}: {n_x:,} series in {draft.x_name!r}, but {n_y:,} labels in "
            f"{draft.y_name!r}; each series needs one label, or labels for its time steps."
        )


def _refuse_unequal(draft: Draft, series: SeriesList) -> None:
    shapes = {reader.shape for reader in series.readers}
    if len({reader.dtype.kind == "U" for reader in series.readers}) > 1:
        raise SourceError(f"{draft.origin}: is a list of text and of numbers; save all alike.")
    if len(shapes) > 1:
        lengths = sorted(shape[0] for shape in shapes)
        raise SourceError(
            f"{draft.origin}: holds {len(series.readers):,} series of {len(shapes):,} different "
            f"shapes ({lengths[0]:,} to {lengths[-1]:,} rows), which are not an array of samples; "
            "say kind='ragged' (--kind ragged), or cut them to one length."
        )


def _each(draft: Draft, series: SeriesList) -> list[Draft]:
    """Return one recording for each series of a list."""
    is_one = len(series.readers) == 1
    return [
        replace(
            draft,
            origin=draft.origin if is_one else f"{draft.origin}[{number}]",
            x=reader,
            y=y,
            labels_per=labels_per,
            part=draft.part if is_one else f"{draft.part}[{number}]",
            first_row=draft.first_row,
        )
        for number, reader in enumerate(series.readers)
        for y, labels_per in [_labels(draft.y, number, reader.shape[0])]
    ]


def _labels(
    labels: RowReader | SeriesList, number: int, n_rows: int
) -> tuple[RowReader, LabelsPer]:
    if not isinstance(labels, SeriesList):
        return PartOfRows(labels, number, number + 1), "recording"
    own = labels.readers[number]
    return own, "recording" if own.shape[0] == 1 != n_rows else "row"


_WORDS = {
    "sample": "samples on its first axis",
    "row": "a label for each of its rows",
    "recording": "one label for all of its rows",
}


def settle(
    recordings: Sequence[SourceRecording], options: SourceOptions, findings: Findings
) -> list[SourceRecording]:
    """Return recordings of which all or none are series; each that differs is noted.

    Rows are steps in time where options or the source say so, and where a 2-D array has one
    label; all others go with these. A recording with as many rows as labels, in a study where
    nothing is said, stays as it is.
    """
    findings.note("study", _unlabelled_among_numbers(recordings))
    settled = _settled(recordings, options, findings)
    findings.note("study", _timed_samples(settled))
    return settled


def _timed_samples(recordings: Sequence[SourceRecording]) -> list[str]:
    """Return what is wrong with samples that have what is said of time steps."""
    of_samples = [it for it in recordings if it.labels_per == "sample"]
    remedy = "if rows follow in time, say kind='ragged' (--kind ragged)."
    return [
        f"{it.origin}: has a mask, which marks time steps, but its rows are samples; leave those "
        f"that are no good out, or {remedy}"
        for it in of_samples
        if it.mask is not None
    ] + [
        f"{it.origin}: has {format_count(len(it.gaps.rows), 'gap')} in time, but its rows are "
        f"samples; {remedy}"
        for it in of_samples
        if it.gaps is not None
    ]


def _settled(
    recordings: Sequence[SourceRecording], options: SourceOptions, findings: Findings
) -> list[SourceRecording]:
    if options.kind == "dense":
        return [_as_samples(it) for it in recordings]
    is_said = options.is_series
    forms = [_form(it, is_said=is_said) for it in recordings]
    counts = Counter(form for form in forms if form is not None)
    if not is_said and not counts.keys() & {"row", "recording"}:
        return list(recordings)
    usual: LabelsPer = "recording" if all(is_unlabelled(it.y) for it in recordings) else "row"
    if counts:
        usual = counts.most_common(1)[0][0]
    pairs = list(zip(recordings, forms, strict=True))
    like = next((it.origin for it, form in pairs if form == usual), "")
    problems = (
        f"{it.origin}: has {_WORDS[form]}, but {counts[usual]} of {len(recordings)} recordings, "
        f"such as {like}, have {_WORDS[usual]}; save all alike."
        for it, form in pairs
        if form is not None and form != usual
    )
    findings.note("study", problems)
    return [_with_labels_per(it, form or usual) for it, form in pairs]


def is_unlabelled(rows: RowReader | SeriesList) -> bool:
    """Return whether labels stand for none, because it was said that there are none."""
    return isinstance(rows, ConstantRows) and rows.value == ""


def _unlabelled_among_numbers(recordings: Sequence[SourceRecording]) -> list[str]:
    """Return what is wrong with recordings without labels, where others have numbers."""
    like = next((it.origin for it in recordings if it.y.dtype.kind != "U"), None)
    return [
        f"{it.origin}: has no labels, but those of others, such as {like}, are numbers, of which "
        "none stands for a label that is missing; give all as text (where '' does), or convert "
        "recordings without labels into a store of their own."
        for it in recordings
        if like is not None and is_unlabelled(it.y)
    ]


def _with_labels_per(recording: SourceRecording, labels_per: LabelsPer) -> SourceRecording:
    y = recording.y
    if is_unlabelled(y):
        y = ConstantRows("", 1 if labels_per == "recording" else recording.x.shape[0])
    return replace(recording, y=y, labels_per=labels_per)


def as_in_store(recording: SourceRecording, labels_per: LabelsPer) -> SourceRecording:
    """Return a recording with what has a label in a store, where it could be one or the other."""
    could_be_either = recording.labels_per == "row" and recording.x.shape[0] == 1
    if labels_per == "recording" and could_be_either and recording.y.shape[0] == 1:
        return replace(recording, labels_per=labels_per)
    return recording


def _as_samples(recording: SourceRecording) -> SourceRecording:
    if recording.labels_per == "recording":
        return replace(recording, x=each_input(recording.x, OneSample), labels_per="sample")
    return replace(recording, labels_per="sample")


def _form(recording: SourceRecording, *, is_said: bool) -> LabelsPer | None:
    """Return what has a label if the rows are steps in time; "sample" if they are not.

    None where it could be one or the other.
    """
    if recording.labels_per != "sample":
        return recording.labels_per
    if len(recording.x.shape) != 2 and not is_said:
        return "sample"
    if is_unlabelled(recording.y):
        return None
    n_rows, n_labels = recording.x.shape[0], recording.y.shape[0]
    if n_labels == 1 and n_rows != 1:
        return "recording"
    return "row" if is_said and n_rows > 1 else None
