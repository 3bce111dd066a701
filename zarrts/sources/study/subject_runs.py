"""Split files of several subjects into a recording for each run of rows of one subject."""

import itertools
import re
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.rows.inputs import part_of_rows
from zarrts.sources.rows.views import count_rows
from zarrts.types import RowReader, SeriesList

_MAX_RUNS = 20_000


def is_subject_run(origin: str) -> bool:
    """Return whether a recording's origin is one that `split` gives, or one of a list below it."""
    return re.search(r"\[\d+:\d+\](\[\d+\])?$", origin) is not None


def split(findings: Findings) -> None:
    """Split recordings where an array in the file says whose each row is."""
    findings.drafts = findings.collect("file", findings.drafts, _runs)


def _runs(draft: Draft) -> list[Draft]:
    row_subjects = draft.row_subjects
    if not row_subjects:
        return [draft]
    if len(row_subjects) == 1:
        return [replace(draft, subject=row_subjects[0])]
    n_rows, n_labels = count_rows(draft.x), count_rows(draft.y)
    if len(row_subjects) != n_rows or n_labels != n_rows:
        raise SourceError(
            f"{draft.origin}: its array of subjects has {len(row_subjects):,} entries, but "
            f"{draft.x_name!r} has {n_rows:,} rows and {draft.y_name!r} {n_labels:,}; it needs one "
            "for each row, or a single one. Where it means something else, say who is who with "
            "subject= (--subject)."
        )
    names = np.array(row_subjects)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), n_rows]
    if len(starts) - 1 > _MAX_RUNS:
        raise SourceError(
            f"{draft.origin}: its subjects alternate {len(starts) - 2:,} times, and at most "
            f"{_MAX_RUNS:,} times are kept apart; sort its rows by subject and save it again."
        )
    if len(starts) == 2:
        return [replace(draft, subject=row_subjects[0])]
    return [
        replace(
            _part_of_x(draft, start, stop),
            origin=f"{draft.origin}[{start}:{stop}]",
            subject=row_subjects[start],
            y=_part(draft.y, start, stop),
            part=f"{draft.part}[{start}:{stop}]",
            first_row=draft.first_row + start,
        )
        for start, stop in itertools.pairwise(starts)
    ]


def _part_of_x(draft: Draft, start: int, stop: int) -> Draft:
    if isinstance(draft.x, SeriesList):
        return replace(draft, x=SeriesList(draft.x.readers[start:stop]))
    return draft.rows(start, stop)


def _part(rows: Any, start: int, stop: int) -> RowReader | SeriesList:
    if isinstance(rows, SeriesList):
        return SeriesList(rows.readers[start:stop])
    return part_of_rows(rows, start, stop)
