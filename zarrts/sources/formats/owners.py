"""Files of several subjects: an array beside inputs and labels that says whose each row is."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.array_names import usual_name
from zarrts.sources.formats.drafts import Draft
from zarrts.sources.rows.views import PartOfRows, count_rows
from zarrts.types import AnyArray, RowReader, SeriesList

NAMES = frozenset(
    ["subject", "subjects", "subject_id", "subject_ids", "participant", "participants"]
)
"""Names of such an array, in lower case, with "_" for "-"."""

_MAX_BYTES = 64 << 20
_MAX_RUNS = 20_000


def is_of_owner(origin: str) -> bool:
    """Return whether a recording's origin is one that `split` gives, or one of a list below it."""
    return re.search(r"\[\d+:\d+\](\[\d+\])?$", origin) is not None


def array_of_owners(names: Sequence[str]) -> str | None:
    """Return which array of a file says whose its rows are; None of several, or of two arrays."""
    found = [name for name in names if usual_name(name) in NAMES]
    return found[0] if len(found) == 1 and len(names) > 2 else None


def read_owners(rows: RowReader | SeriesList, where: str) -> tuple[str, ...]:
    """Return the subject of each row, or the only one.

    Raises
    ------
    SourceError
        If the array holds no names or numbers, or some are missing.
    """
    if isinstance(rows, SeriesList):
        raise SourceError(f"{where}: is a list of arrays, but has to say whose each row is.")
    n_values = int(np.prod(rows.shape, dtype=object))
    if n_values * rows.dtype.itemsize > _MAX_BYTES or n_values != max(rows.shape):
        raise SourceError(
            f"{where}: has shape {rows.shape} and dtype {rows.dtype}, but a subject for each row "
            "is one short name or number each."
        )
    values = rows.read(0, rows.shape[0]).reshape(-1)
    rows.close()
    return tuple(_names_of(values, where))


def _names_of(values: AnyArray, where: str) -> list[str]:
    if values.dtype.kind == "f":
        whole = np.nan_to_num(values, nan=0.5, posinf=0.5, neginf=0.5)
        if (whole != np.floor(whole)).any():
            raise SourceError(
                f"{where}: holds {values[whole != np.floor(whole)][0]}, which is no subject; use "
                "whole numbers or text."
            )
        values = whole.astype(np.int64)
    names = [str(value).strip() for value in values.tolist()]
    if "" in names:
        raise SourceError(f"{where}: row {names.index('')} has no subject; fill it in.")
    return names


def split(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """Return a recording for each run of rows of one subject, and a sentence per bad file."""
    found: list[Draft] = []
    problems: list[str] = []
    for draft in drafts:
        try:
            found += _runs(draft)
        except SourceError as error:
            problems.append(str(error))
    return found, problems


def _runs(draft: Draft) -> list[Draft]:
    owners = draft.owners
    if not owners:
        return [draft]
    if len(owners) == 1:
        return [replace(draft, subject=owners[0])]
    n_rows, n_labels = count_rows(draft.x), count_rows(draft.y)
    if len(owners) != n_rows or n_labels != n_rows:
        raise SourceError(
            f"{draft.origin}: its array of subjects has {len(owners):,} entries, but "
            f"{draft.x_name!r} has {n_rows:,} rows and {draft.y_name!r} {n_labels:,}; it needs one "
            "for each row, or a single one. Where it means something else, say who is who with "
            "subject= (--subject)."
        )
    names = np.array(owners)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), n_rows]
    if len(starts) - 1 > _MAX_RUNS:
        raise SourceError(
            f"{draft.origin}: its subjects alternate {len(starts) - 2:,} times, and at most "
            f"{_MAX_RUNS:,} times are kept apart; sort its rows by subject and save it again."
        )
    if len(starts) == 2:
        return [replace(draft, subject=owners[0])]
    return [
        replace(
            draft,
            origin=f"{draft.origin}[{start}:{stop}]",
            subject=owners[start],
            x=_part(draft.x, start, stop),
            y=_part(draft.y, start, stop),
            part=f"{draft.part}[{start}:{stop}]",
            first_row=draft.first_row + start,
        )
        for start, stop in itertools.pairwise(starts)
    ]


def _part(rows: Any, start: int, stop: int) -> RowReader | SeriesList:
    if isinstance(rows, SeriesList):
        return SeriesList(rows.readers[start:stop])
    return PartOfRows(rows, start, stop)
