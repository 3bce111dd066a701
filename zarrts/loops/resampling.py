"""Weighted sums of rows: the inner loop of another rate."""

import numpy as np

from zarrts.loops.library import compiled_for
from zarrts.types import AnyArray, IntArray

_PIECE_BYTES = 256 << 10  # of sums that stay in the cache while all weights are added


def weighted_sums(
    rows: AnyArray, weights: AnyArray, branches: IntArray, firsts: IntArray
) -> AnyArray:
    """Return for each i the sum over k of weights[branches[i], k] * rows[firsts[i] + k].

    Each sum is taken in ascending order of k, in float64, whatever others are asked for with it.

    Parameters
    ----------
    rows : float64, shape (n_rows, n_columns)
    weights : float64, shape (n_branches, n_weights)
    branches, firsts : int64, shape (n_sums,)

    Returns
    -------
    float64, shape (n_sums, n_columns)
    """
    out = np.zeros((len(firsts), rows.shape[1]))
    compiled = compiled_for(rows, weights, branches, firsts)
    if compiled is not None:
        compiled.weighted_sums(
            rows, *rows.shape, weights, *weights.shape, branches, firsts, len(firsts), out
        )
        return out
    step = max(1, _PIECE_BYTES // max(1, rows.shape[1] * 8))
    for start in range(0, len(firsts), step):
        sums, some = out[start : start + step], firsts[start : start + step]
        factors = weights[branches[start : start + step]]
        term = np.empty_like(sums)
        for k in range(weights.shape[1]):
            np.take(rows, some + k, axis=0, out=term, mode="clip")
            term *= factors[:, k : k + 1]
            sums += term
    return out
