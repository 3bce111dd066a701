"""Count how often each row of a store occurs in the selected samples."""

import numpy as np

from zarrts.indexing.indexes import SampleIndex
from zarrts.indexing.units import Ranges
from zarrts.types import IntArray


def count_occurrences(
    index: SampleIndex, selection: Ranges, steps: IntArray | None, low: int, high: int
) -> IntArray:
    """Return in how many of the selected samples each of some rows is used.

    Parameters
    ----------
    steps : int64, or None
        Which rows of a sample are used, counted from its first one; None: all, of samples that
        share none.
    low, high : int
        The rows, counted through the store.

    Returns
    -------
    int64, shape (high - low,)
    """
    if steps is None:
        return _in_recordings(index, selection, low, high)
    steps = np.sort(steps.ravel())
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
    rates = np.diff(steps)
    if (rates != rates[0]).any():
        return sum(
            (begins[last - step : n_rows - (step - first)] for step in steps.tolist()),
            np.zeros(high - low, np.int64),
        )
    # A sample raises the count of every rate-th row from its first on, and lowers it behind its
    # last: sums along these rows.
    rate = int(rates[0])
    lengths = -(-n_rows // rate)
    changes = np.zeros(lengths * rate, np.int64)
    changes[:n_rows] = begins[:n_rows]
    behind = len(steps) * rate
    changes[behind:n_rows] -= begins[: max(0, n_rows - behind)]
    sums = changes.reshape(lengths, rate).cumsum(axis=0).ravel()
    return np.asarray(sums[low - origin : n_rows])


def _in_recordings(index: SampleIndex, selection: Ranges, low: int, high: int) -> IntArray:
    """Return 1 for rows of selected samples that share none, else 0."""
    # The last that starts at or below `low` may reach in.
    bounds = index.count_before(np.array([low + 1, high]))
    numbers = selection.count_below(bounds - np.array([1, 0]))
    ids = selection.ids(np.arange(max(0, numbers[0]), numbers[1]))
    starts = index.first_rows(ids)
    stops = starts + index.n_rows(ids)
    changes = np.zeros(high - low + 1, np.int64)
    np.add.at(changes, np.clip(starts, low, high) - low, 1)
    np.add.at(changes, np.clip(stops, low, high) - low, -1)
    return np.asarray(changes.cumsum()[:-1])


def samples_with(index: SampleIndex, selection: Ranges, steps: IntArray | None, row: int) -> int:
    """Return the id of the first selected sample that uses a row; there has to be one."""
    if steps is None:
        return int(index.count_before(np.array(row + 1))) - 1
    steps = np.sort(steps.ravel())
    bounds = index.count_before(np.array([max(0, row - int(steps[-1])), row + 1]))
    numbers = selection.count_below(bounds)
    ids = selection.ids(np.arange(numbers[0], numbers[1]))
    return int(ids[np.isin(row - index.first_rows(ids), steps)][0])
