"""How often each row of a store occurs as x in the selected samples."""

import numpy as np

from zarrts.cuts import Cut
from zarrts.indexes import SampleIndex
from zarrts.samples import Ranges
from zarrts.types import IntArray


def count_occurrences(
    index: SampleIndex, selection: Ranges, cut: Cut, low: int, high: int
) -> IntArray:
    """Return in how many of the selected samples each of some rows is part of x.

    A row that is only a target, or that a window steps over, is not.

    Parameters
    ----------
    cut : Cut
        Of samples of one length.
    low, high : int
        The rows, counted through the store.

    Returns
    -------
    int64, shape (high - low,)
    """
    assert cut.x_steps is not None, "samples of unequal lengths are whole recordings"
    steps = np.sort(cut.x_steps.ravel())
    first, last = int(steps[0]), int(steps[-1])
    # Samples that start below may reach in.
    bounds = index.count_before(np.array([max(0, low - last), max(0, high - first)]))
    numbers = selection.count_below(bounds)
    starts = index.first_rows(selection.ids(np.arange(numbers[0], numbers[1]))) + first
    origin = low - (last - first)
    n_rows = high - origin
    begins = np.bincount(starts - origin, minlength=n_rows)
    if len(steps) == 1:
        return begins[:n_rows].astype(np.int64)
    # A sample raises the count of every rate-th row from its first on, and lowers it behind its
    # last: sums along these rows.
    rate = int(steps[1] - steps[0])
    lengths = -(-n_rows // rate)
    changes = np.zeros(lengths * rate, np.int64)
    changes[:n_rows] = begins[:n_rows]
    behind = len(steps) * rate
    changes[behind:n_rows] -= begins[: max(0, n_rows - behind)]
    sums = changes.reshape(lengths, rate).cumsum(axis=0).ravel()
    return np.asarray(sums[low - origin : n_rows])
