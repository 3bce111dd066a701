"""One-hot labels of which some rows are none: said by file and row."""

from collections.abc import Sequence

from zarrts.labels.counting import LabelCounter
from zarrts.types import SourceRecording

_MAX_SHOWN = 3


def rows_without_one(
    recordings: Sequence[SourceRecording], counters: Sequence[LabelCounter]
) -> list[str]:
    """Return a warning where labels are one-hot but for a few rows without a 1."""
    pairs = [(it, one) for it, one in zip(recordings, counters, strict=True) if it.y.shape[0]]
    if not all(one.may_be_one_hot for _, one in pairs):
        return []
    n_empty, n_rows = sum(it.n_empty for it in counters), sum(it.n_rows for it in counters)
    if not 0 < n_empty < n_rows / 2:
        return []
    odd = [(it.origin, it.y_name, one.first_odd[0]) for it, one in pairs if one.first_odd]
    shown = ", ".join(
        f"row {row} of {name!r} in {origin}" for origin, name, row in odd[:_MAX_SHOWN]
    )
    width = recordings[0].y.shape[-1]
    return [
        f"{n_empty:,} of {n_rows:,} labels have no 1, and all others have one, so that they are "
        f"kept as rows of 0 and 1, not as {width} classes: {shown}"
        f"{' ...' if len(odd) > _MAX_SHOWN else ''}. Train them with Dense({width}, 'sigmoid') and "
        "'binary_crossentropy'; or if each sample is of one class, leave these rows out, or give "
        "them a column of their own."
    ]


def where_not_one_hot(
    recordings: Sequence[SourceRecording], counters: Sequence[LabelCounter]
) -> str:
    """Return the first file and row whose label has not exactly one 1, for the end of a message."""
    for it, one in zip(recordings, counters, strict=True):
        if one.first_odd is not None:
            row, n_ones = one.first_odd
            return f" {it.origin}: row {row} of {it.y_name!r} has {n_ones or 'no'} 1."
    return ""
