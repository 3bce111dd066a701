"""Turn `balance=` and `order=`, as people give them, into the samples that an epoch shows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.ordering.balance import MAX_DRAWN
from zarrts.ordering.sampling import Balanced, Listed, Resample, Sampling, distinct
from zarrts.ordering.strata import blocks_of
from zarrts.reading.load import read_classes
from zarrts.reading.selection import Selection
from zarrts.sizes import format_budget
from zarrts.types import AnyArray, IntArray

_BALANCED_BYTES = 8  # of each sample: its group, twice while they are read, and its place in it
_LISTED_BYTES = 64
_LITTLE_BYTES = 1 << 20  # which takes no notice of a budget
_LEAST_DRAWN, _BYTES_PER_DRAW = 1 << 14, 2048

Balance = Literal["class", "subject", "class+subject"] | AnyArray | Sequence[int | str]
"""The groups of which every batch holds equally many; an array names that of each sample."""


def sampling_of(
    selection: Selection,
    *,
    balance: Balance | None,
    resample: Resample,
    order: Sequence[int] | IntArray | None,
    shuffle: object,
    memory_bytes: int,
) -> Sampling | None:
    """Return which samples an epoch shows, or None if it shows each one once.

    What each option means stands at `BatchOptions`. What is kept of each sample may take half of
    the memory.

    Raises
    ------
    SampleError
        If they exclude each other, or do not fit the samples.
    """
    if balance is None and order is None:
        return None
    if balance is not None and order is not None:
        raise SampleError("order= says which samples come, so that nothing is left to balance=.")
    _refuse_many(len(selection) if order is None else len(order), order is None, memory_bytes)
    if order is not None:
        return Listed(_numbers_of(selection, np.asarray(order)))
    if shuffle is not True:
        raise SampleError(f"balance= has an order of its own: leave shuffle={shuffle!r} out.")
    max_drawn = max(_LEAST_DRAWN, min(MAX_DRAWN, memory_bytes // _BYTES_PER_DRAW))
    if isinstance(balance, str):
        return Balanced(_codes_of(selection, balance), resample, max_drawn)
    groups = np.asarray(balance)
    if groups.shape != (len(selection),):
        raise SampleError(
            f"balance= has shape {groups.shape}, but there are {len(selection):,} "
            "samples: name the group of each."
        )
    known = distinct(groups)
    codes = np.empty(len(groups), np.min_scalar_type(-len(known) - 1))
    for block in blocks_of(len(groups)):
        codes[block] = np.searchsorted(known, groups[block])
    return Balanced(codes, resample, max_drawn)


def _refuse_many(n_samples: int, is_balanced: bool, memory_bytes: int) -> None:
    """Raise SampleError where what is kept of each sample is more than half of the memory."""
    each = _BALANCED_BYTES if is_balanced else _LISTED_BYTES
    if each * n_samples > max(memory_bytes // 2, _LITTLE_BYTES):
        option = "balance=" if is_balanced else "order="
        raise SampleError(
            f"{option} keeps {format_budget(each * n_samples)} for the order of {n_samples:,} "
            f"samples, more than half of memory={format_budget(memory_bytes)}; raise memory to at "
            f"least {format_budget(2 * each * n_samples)}."
        )


def _codes_of(selection: Selection, balance: str) -> AnyArray:
    if balance not in ("class", "subject", "class+subject"):
        raise SampleError(
            f"balance={balance!r} is unknown; use 'class', 'subject', 'class+subject', or an array "
            "with the group of each sample."
        )
    catalog = selection.store.catalog
    n_subjects = len(catalog.subjects)
    subjects: AnyArray = np.zeros(1, np.int8)
    if balance != "class":
        small = catalog.subject_codes.astype(np.min_scalar_type(-n_subjects))
        subjects = np.repeat(small, selection.per_recording)
    if balance == "subject":
        return subjects
    n_codes = len(selection.scheme.class_names or ()) * (n_subjects if balance != "class" else 1)
    try:
        classes = read_classes(selection.reader, selection.scheme, np.min_scalar_type(-n_codes - 1))
    except SampleError as error:
        raise SampleError(
            f"balance={balance!r}: {error} Give an array with the group of each sample instead."
        ) from error
    if balance == "class":
        return classes
    for block in blocks_of(len(classes)):
        some = classes[block]
        some[:] = np.where(some < 0, -1, some * some.dtype.type(n_subjects) + subjects[block])
    return classes


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
