"""The most frequent of some labels."""

import numpy as np

from zarrts.loops.library import code_of, compiled_for
from zarrts.loops.scratch import scratch
from zarrts.types import AnyArray

_MAX_CODES = 1 << 12
_NO_CODE = -(1 << 63)
_INT32 = np.dtype(np.int32)


def majority(labels: AnyArray, missing: int | None = None) -> AnyArray:
    """Return the most frequent of the labels on the last axis; of several, the smallest.

    Parameters
    ----------
    labels : integers or bool, shape (..., n), n at least 1
    missing : int, optional
        Is taken only where there is nothing else.
    """
    if labels.size == 0:
        return np.empty(labels.shape[:-1], labels.dtype)
    codes = labels.view(np.uint8) if labels.dtype == np.bool_ else labels
    compiled = compiled_for(codes)
    if compiled is not None and codes.dtype.kind in "iu":
        least, most = int(codes.min()), int(codes.max())
        n_codes = most - least + 1
        if n_codes <= _MAX_CODES and most < 1 << 63:
            winners = np.empty(codes.shape[:-1], codes.dtype)
            compiled.vote(
                code_of(codes.dtype),
                codes,
                winners.size,
                codes.shape[-1],
                least,
                n_codes,
                _NO_CODE if missing is None else missing,
                scratch("votes", (n_codes,), _INT32),
                winners,
            )
            return winners.view(labels.dtype)
    return _majority(labels, missing)


def _majority(labels: AnyArray, missing: int | None) -> AnyArray:
    values, which = np.unique(labels, return_inverse=True)
    rows = which.reshape(-1, labels.shape[-1])
    cells = np.arange(len(rows))[:, None] * len(values) + rows
    found = np.bincount(cells.ravel(), minlength=len(rows) * len(values))
    counts = 2 * found.reshape(len(rows), len(values))
    if missing is not None:
        is_missing = values == missing
        counts[:, is_missing] = np.minimum(counts[:, is_missing], 1)
    return np.asarray(values[counts.argmax(axis=1)].reshape(labels.shape[:-1]))
