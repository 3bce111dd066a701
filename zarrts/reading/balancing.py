"""What `balance=` and `order=` of some samples mean, as people say it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.labels.scheme import LabelScheme
from zarrts.ordering.sampling import Balanced, Listed, Resample, Sampling
from zarrts.reading.catalog import Catalog
from zarrts.reading.load import read_classes
from zarrts.reading.sample_reader import SampleReader
from zarrts.types import AnyArray, IntArray

Balance = Literal["class", "subject", "class+subject"] | AnyArray | Sequence[int | str]
"""What every batch holds equally many of; an array names the group of each sample."""


def sampling_of(
    reader: SampleReader,
    scheme: LabelScheme,
    catalog: Catalog,
    per_recording: IntArray,
    *,
    balance: Balance | None,
    resample: Resample,
    order: Sequence[int] | IntArray | None,
    shuffle: object,
) -> Sampling | None:
    """Return which samples an epoch shows, or None if it shows each one once.

    Parameters
    ----------
    per_recording : int64, shape (n_recordings,)
        How many of the selected samples each recording holds.
    balance, resample, order, shuffle
        As for `Samples.batches`.

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
        return Listed(_numbers_of(reader, np.asarray(order)))
    if shuffle is not True:
        raise SampleError(f"balance= has an order of its own: leave shuffle={shuffle!r} out.")
    if isinstance(balance, str):
        return Balanced(_codes_of(reader, scheme, catalog, per_recording, balance), resample)
    groups = np.asarray(balance)
    if groups.shape != (len(reader.units.selection),):
        raise SampleError(
            f"balance= has shape {groups.shape}, but there are {len(reader.units.selection):,} "
            "samples: name the group of each."
        )
    return Balanced(np.unique(groups, return_inverse=True)[1], resample)


def _codes_of(
    reader: SampleReader,
    scheme: LabelScheme,
    catalog: Catalog,
    per_recording: IntArray,
    balance: str,
) -> IntArray:
    if balance not in ("class", "subject", "class+subject"):
        raise SampleError(
            f"balance={balance!r} is unknown; use 'class', 'subject', 'class+subject', or an array "
            "with the group of each sample."
        )
    subjects = np.zeros(1, np.int64)
    if balance != "class":
        subjects = np.repeat(catalog.subject_codes, per_recording)
    if balance == "subject":
        return subjects
    try:
        classes = read_classes(reader, scheme)
    except SampleError as error:
        raise SampleError(
            f"balance={balance!r}: {error} Give an array with the group of each sample instead."
        ) from error
    return np.where(classes < 0, -1, classes * len(catalog.subjects) + subjects)


def _numbers_of(reader: SampleReader, ids: AnyArray) -> IntArray:
    """Return the numbers of some sample ids among those that are selected."""
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or len(ids) == 0:
        raise SampleError(
            f"order= has shape {ids.shape} and dtype {ids.dtype}; give sample ids, at least one."
        )
    selection = reader.units.selection
    numbers = selection.count_below(ids)
    known = selection.ids(np.minimum(numbers, len(selection) - 1)) if len(selection) else ids - 1
    unknown = np.unique(ids[known != ids])
    if len(unknown):
        raise SampleError(
            f"order= has {len(unknown):,} ids that are not among these samples, such as "
            f"{unknown[0]}."
        )
    return numbers
