"""Turn `balance=` and `order=`, as people give them, into the samples that an epoch shows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.ordering.sampling import Balanced, Listed, Resample, Sampling
from zarrts.reading.load import read_classes
from zarrts.reading.selection import Selection
from zarrts.types import AnyArray, IntArray

Balance = Literal["class", "subject", "class+subject"] | AnyArray | Sequence[int | str]
"""The groups of which every batch holds equally many; an array names that of each sample."""


def sampling_of(
    selection: Selection,
    *,
    balance: Balance | None,
    resample: Resample,
    order: Sequence[int] | IntArray | None,
    shuffle: object,
) -> Sampling | None:
    """Return which samples an epoch shows, or None if it shows each one once.

    What each option means stands at `BatchOptions`.

    Raises
    ------
    SampleError
        If they exclude each other, or do not fit the samples.
    """
    if balance is None and order is None:
        return None
    if balance is not None and order is not None:
        raise SampleError("order= says which samples come, so that nothing is left to balance=.")
    if order is not None:
        return Listed(_numbers_of(selection, np.asarray(order)))
    if shuffle is not True:
        raise SampleError(f"balance= has an order of its own: leave shuffle={shuffle!r} out.")
    if isinstance(balance, str):
        return Balanced(_codes_of(selection, balance), resample)
    groups = np.asarray(balance)
    if groups.shape != (len(selection),):
        raise SampleError(
            f"balance= has shape {groups.shape}, but there are {len(selection):,} "
            "samples: name the group of each."
        )
    return Balanced(np.unique(groups, return_inverse=True)[1], resample)


def _codes_of(selection: Selection, balance: str) -> IntArray:
    if balance not in ("class", "subject", "class+subject"):
        raise SampleError(
            f"balance={balance!r} is unknown; use 'class', 'subject', 'class+subject', or an array "
            "with the group of each sample."
        )
    catalog = selection.store.catalog
    subjects = np.zeros(1, np.int64)
    if balance != "class":
        subjects = np.repeat(catalog.subject_codes, selection.per_recording)
    if balance == "subject":
        return subjects
    try:
        classes = read_classes(selection.reader, selection.scheme)
    except SampleError as error:
        raise SampleError(
            f"balance={balance!r}: {error} Give an array with the group of each sample instead."
        ) from error
    return np.where(classes < 0, -1, classes * len(catalog.subjects) + subjects)


def _numbers_of(selection: Selection, ids: AnyArray) -> IntArray:
    """Return the numbers of some sample ids among those that are selected."""
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or len(ids) == 0:
        raise SampleError(
            f"order= has shape {ids.shape} and dtype {ids.dtype}; give sample ids, at least one."
        )
    numbers = selection.ids.count_below(ids)
    known = (
        selection.ids.ids(np.minimum(numbers, len(selection) - 1)) if len(selection) else ids - 1
    )
    unknown = np.unique(ids[known != ids])
    if len(unknown):
        raise SampleError(
            f"order= has {len(unknown):,} ids that are not among these samples, such as "
            f"{unknown[0]}."
        )
    return numbers
