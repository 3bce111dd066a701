"""Prove that the parts of a split have nothing in common."""

from collections.abc import Mapping

import numpy as np

from zarrts.errors import SampleError
from zarrts.keywords import first_names
from zarrts.reading.selection import Selection
from zarrts.sizes import format_count


def refuse_overlaps(parts: Mapping[str, Selection], *, allow_overlap: bool) -> None:
    """Raise an error if parts of a study share samples, or subjects unless that is allowed.

    Raises
    ------
    SampleError
        If two parts have something in common, or are of different stores.
    """
    checked: dict[str, Selection] = {}
    for name, part in parts.items():
        for other_name, other in checked.items():
            if part.store is not other.store and _identity(part) != _identity(other):
                raise SampleError(
                    f"{name} is of {part.store.path}, version {part.store.version}, but "
                    f"{other_name} of {other.store.path}, version {other.store.version}; parts of "
                    "one split come from one store."
                )
            if part.view.key != other.view.key:
                raise SampleError(
                    f"{other_name} and {name} are not cut alike; split before windows are cut, or "
                    "cut all parts into the same windows."
                )
            _refuse_overlap(f"{other_name} and {name}", other, part, allow_overlap)
        checked[name] = part


def _identity(part: Selection) -> tuple[str, int]:
    return part.store.header.write_id, part.store.version


def _refuse_overlap(names: str, one: Selection, other: Selection, allow_overlap: bool) -> None:
    n_shared = len(one.ids & other.ids)
    if n_shared:
        raise SampleError(
            f"{names} share {format_count(n_shared, 'sample')}; no sample may be in two parts."
        )
    shared = np.intersect1d(one.subject_codes, other.subject_codes, assume_unique=True)
    if len(shared) and not allow_overlap:
        known = one.store.catalog.subjects
        raise SampleError(
            f"{names} share the subjects {first_names([known[code] for code in shared])}: the "
            "network would be tested on people whom it knows. Divide by subjects; or, if that is "
            "meant, allow_overlap=True."
        )
