"""Arrays in a file that name the subject of each row."""

from collections.abc import Sequence

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.array_names import usual_name
from zarrts.types import AnyArray, RowReader, SeriesList

NAMES = frozenset(
    ["subject", "subjects", "subject_id", "subject_ids", "participant", "participants"]
)
"""Names of such an array, in lower case, with "_" for "-"."""

_MAX_BYTES = 64 << 20


def subject_array(names: Sequence[str]) -> str | None:
    """Return the name of the array of subjects in a file; None if there is not exactly one.

    A file of two arrays has none: they are inputs and labels.
    """
    found = [name for name in names if usual_name(name) in NAMES]
    return found[0] if len(found) == 1 and len(names) > 2 else None


def read_subjects(rows: RowReader | SeriesList, where: str) -> tuple[str, ...]:
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
                f"{where}: holds {values[whole != np.floor(whole)][0]}, which is not a subject; "
                "use whole numbers or text."
            )
        values = whole.astype(np.int64)
    names = [str(value).strip() for value in values.tolist()]
    if "" in names:
        raise SourceError(f"{where}: row {names.index('')} has no subject; fill it in.")
    return names
