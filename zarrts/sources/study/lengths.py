"""Whether the rows of a study are samples or steps in time, decided over all of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from zarrts.sources.rows.views import OneSample
from zarrts.types import LabelsPer, SourceRecording

_WORDS = {
    "sample": "samples on its first axis",
    "row": "a label for each of its rows",
    "recording": "one label for all of its rows",
}


def settle(
    recordings: Sequence[SourceRecording], kind: str, *, is_said: bool = False
) -> tuple[list[SourceRecording], list[str]]:
    """Return recordings of which all or none are series, and a sentence for each that differs.

    Rows are steps in time where options or the source say so, and where a 2-D array has one
    label; all others go with these. A recording with as many rows as labels, in a study where
    nothing is said, stays as it is.

    Parameters
    ----------
    kind : "auto", "dense" or "ragged"
    is_said : bool
        Options say that rows are steps in time.
    """
    if kind == "dense":
        return [_as_samples(it) for it in recordings], []
    forms = [_form(it, is_said=is_said) for it in recordings]
    counts = Counter(form for form in forms if form is not None)
    if not is_said and not counts.keys() & {"row", "recording"}:
        return list(recordings), []
    usual: LabelsPer = counts.most_common(1)[0][0] if counts else "row"
    pairs = list(zip(recordings, forms, strict=True))
    like = next((it.origin for it, form in pairs if form == usual), "")
    problems = [
        f"{it.origin}: has {_WORDS[form]}, but {counts[usual]} of {len(recordings)} recordings, "
        f"such as {like}, have {_WORDS[usual]}; save all alike."
        for it, form in pairs
        if form is not None and form != usual
    ]
    return [replace(it, labels_per=form or usual) for it, form in pairs], problems


def as_in_store(recording: SourceRecording, labels_per: LabelsPer) -> SourceRecording:
    """Return a recording with what has a label in a store, where it could be one or the other."""
    could_be_either = recording.labels_per == "row" and recording.x.shape[0] == 1
    if labels_per == "recording" and could_be_either and recording.y.shape[0] == 1:
        return replace(recording, labels_per=labels_per)
    return recording


def _as_samples(recording: SourceRecording) -> SourceRecording:
    if recording.labels_per == "recording":
        return replace(recording, x=OneSample(recording.x), labels_per="sample")
    return replace(recording, labels_per="sample")


def _form(recording: SourceRecording, *, is_said: bool) -> LabelsPer | None:
    """Return what has a label if the rows are steps in time; "sample" if they are not.

    None where it could be one or the other.
    """
    if recording.labels_per != "sample":
        return recording.labels_per
    if len(recording.x.shape) != 2 and not is_said:
        return "sample"
    n_rows, n_labels = recording.x.shape[0], recording.y.shape[0]
    if n_labels == 1 and n_rows != 1:
        return "recording"
    return "row" if is_said and n_rows > 1 else None
