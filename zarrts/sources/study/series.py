"""Lists of series: samples where all of a study are equally long, else a recording each."""

from collections.abc import Sequence
from dataclasses import replace

from zarrts.sources.formats.drafts import Draft
from zarrts.sources.rows.records import NamedRows
from zarrts.sources.rows.views import PartOfRows, StackedRows, count_rows
from zarrts.types import LabelsPer, RowReader, SeriesList


def settle(drafts: Sequence[Draft], kind: str) -> tuple[list[Draft], list[str]]:
    """Return recordings without lists of series, and a sentence for each that cannot be used.

    Parameters
    ----------
    kind : "auto", "dense" or "ragged"
        "dense": each list is an array of samples. "ragged": each of its series is a recording.
        "auto": the first where all series of all lists have one shape, else the second.
    """
    shapes = {
        reader.shape
        for draft in drafts
        if isinstance(draft.x, SeriesList)
        for reader in draft.x.readers
    }
    is_ragged = kind == "ragged" or (kind == "auto" and len(shapes) > 1)
    found: list[Draft] = []
    problems: list[str] = []
    for draft in drafts:
        problem = None
        if isinstance(draft.x, SeriesList):
            problem = _mismatch(draft, draft.x)
            if problem is None and not is_ragged:
                problem = _unequal(draft, draft.x)
        elif isinstance(draft.y, SeriesList):
            problem = _mismatch(draft, draft.y)
            if problem is None:
                problem = _unequal(draft, draft.y)
        if problem is not None:
            problems.append(problem)
        elif is_ragged and isinstance(draft.x, SeriesList):
            found += _each(draft, draft.x)
        else:
            found.append(replace(draft, x=_stacked(draft.x), y=_stacked(draft.y)))
    return found, problems


def _stacked(rows: RowReader | SeriesList) -> RowReader:
    if not isinstance(rows, SeriesList):
        return rows
    named = [it for it in rows.readers if isinstance(it, NamedRows)]
    if not named:
        return StackedRows(rows.readers)
    columns = zip(*(it.readers for it in named), strict=True)
    return NamedRows(named[0].names, tuple(StackedRows(column) for column in columns))


def _mismatch(draft: Draft, series: SeriesList) -> str | None:
    n_x, n_y = count_rows(draft.x), count_rows(draft.y)
    if not series.readers:
        return f"{draft.origin}: holds an empty list; leave the file out."
    if n_x == n_y:
        return None
    return (
        f"{draft.origin}: {n_x:,} series in {draft.x_name!r}, but {n_y:,} labels in "
        f"{draft.y_name!r}; each series needs one label, or labels for its time steps."
    )


def _unequal(draft: Draft, series: SeriesList) -> str | None:
    """Return why a list is no array, if it is none."""
    shapes = {reader.shape for reader in series.readers}
    if len({reader.dtype.kind == "U" for reader in series.readers}) > 1:
        return f"{draft.origin}: is a list of text and of numbers; save all alike."
    if len(shapes) == 1:
        return None
    lengths = sorted(shape[0] for shape in shapes)
    return (
        f"{draft.origin}: holds {len(series.readers):,} series of {len(shapes):,} different shapes "
        f"({lengths[0]:,} to {lengths[-1]:,} rows), which are no array of samples; say "
        "kind='ragged' (--kind ragged), or cut them to one length."
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
