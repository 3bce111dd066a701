"""The most frequent of some labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zarrts.loops.library import code_of, compiled_for
from zarrts.loops.scratch import scratch
from zarrts.types import AnyArray

_MAX_CODES = 1 << 12
_INT32 = np.dtype(np.int32)


def majority(
    labels: AnyArray,
    missing: Sequence[int] = (),
    min_labelled: float = 0.5,
    purity: float = 0.0,
) -> AnyArray:
    """Return the most frequent of the labels on the last axis; of several, the smallest.

    Parameters
    ----------
    labels : integers or bool, shape (..., n)
    missing : sequence of int
        Values that stand for no label, and so do not count.
    min_labelled : float
        Where a smaller share of the labels than this is there, or none, the result is
        `missing[0]`.
    purity : float
        The same, where the most frequent label has a smaller share of those that are there.

    Returns
    -------
    shape (...), of the dtype of `labels`
    """
    if labels.size == 0:
        return np.empty(labels.shape[:-1], labels.dtype)
    n_labels = labels.shape[-1]
    rows = labels.reshape(-1, n_labels)
    found, n_labelled = _compiled(rows, missing) or _counted(rows, missing)
    if len(missing):
        is_none = (n_labelled == 0) | (n_labelled < min_labelled * n_labels)
        if purity > 0:
            n_found = (rows == found[:, None]).sum(axis=1)
            is_none |= n_found < purity * n_labelled
        found[is_none] = missing[0]
    return found.reshape(labels.shape[:-1])


def _compiled(
    rows: AnyArray, missing: Sequence[int]
) -> tuple[AnyArray, NDArray[np.integer]] | None:
    """Return the winner of each row, and how many labels are there; None without the library."""
    codes = rows.view(np.uint8) if rows.dtype == np.bool_ else rows
    compiled = compiled_for(codes)
    if compiled is None or codes.dtype.kind not in "iu":
        return None
    least, most = int(codes.min()), int(codes.max())
    n_codes = most - least + 1
    if n_codes > _MAX_CODES or most >= 1 << 63:
        return None
    is_missing = np.isin(np.arange(least, most + 1), missing).astype(np.int32)
    winners, n_labelled = np.empty(len(codes), codes.dtype), np.empty(len(codes), np.int32)
    compiled.vote(
        code_of(codes.dtype),
        codes,
        *codes.shape,
        least,
        n_codes,
        is_missing,
        scratch("votes", (n_codes,), _INT32),
        winners,
        n_labelled,
    )
    return winners.view(rows.dtype), n_labelled


def _counted(rows: AnyArray, missing: Sequence[int]) -> tuple[AnyArray, NDArray[np.integer]]:
    values, which = np.unique(rows, return_inverse=True)
    cells = np.arange(len(rows))[:, None] * len(values) + which.reshape(rows.shape)
    found = np.bincount(cells.ravel(), minlength=len(rows) * len(values))
    counts = found.reshape(len(rows), len(values))
    if len(missing):
        counts[:, np.isin(values, missing)] = 0
    return values[counts.argmax(axis=1)], counts.sum(axis=1)
