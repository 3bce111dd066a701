"""Runs: stretches of rows without a gap and without a missing value, and what lies beyond them.

A filter works on each run by itself. Beyond its ends a run goes on as its own mirror image, turned
by half around the last value ("odd reflection": 2 * x[0] - x[i]), as far as it is long, and is zero
import itertools
from there on: the "reflect_limited" of MNE.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True)
class Run:
    """Rows `start` to `stop` of a window, of some columns.

    Attributes
    ----------
    columns : slice or int64 array
    is_first, is_last : bool
        Whether it begins, or ends, there; else the window cuts it.
    """

    start: int
    stop: int
    columns: slice | IntArray
    is_first: bool
    is_last: bool


def runs_in(window: AnyArray, cuts: Sequence[int]) -> Iterator[Run]:
    """Yield the runs of a window of rows.

    Parameters
    ----------
    window : float64, shape (n_rows, n_columns)
    cuts : sequence of int
        Rows of the window where a run has to begin, ascending: gaps, and the first row and the
        end of the recording where these are among 0 to n_rows.
    """
    n_rows = len(window)
    with np.errstate(all="ignore"):
        total = np.add.reduce(window, axis=None)
    if np.isfinite(total):  # NaN and infinity stay in a sum
        yield from _between(np.ones(n_rows, bool), cuts, slice(None))
        return
    is_there = np.isfinite(window)
    alike: dict[bytes, list[int]] = {}
    for column in range(window.shape[1]):
        alike.setdefault(is_there[:, column].tobytes(), []).append(column)
    for columns in alike.values():
        yield from _between(is_there[:, columns[0]], cuts, np.array(columns))


def _between(is_there: AnyArray, cuts: Sequence[int], columns: slice | IntArray) -> Iterator[Run]:
    n_rows = len(is_there)
    changes = np.flatnonzero(np.diff(is_there.astype(np.int8))) + 1
    edges = sorted({0, n_rows, *changes.tolist(), *(it for it in cuts if 0 <= it <= n_rows)})
    known = {*changes.tolist(), *cuts}
    for start, stop in itertools.pairwise(edges):
        if is_there[start]:
            yield Run(start, stop, columns, start in known, stop in known)


def extended(run: AnyArray, n_before: int, n_after: int) -> AnyArray:
    """Return a run with its odd reflections around it.

    Examples
    --------
    >>> import numpy as np
    >>> extended(np.array([[1.0], [2.0], [4.0]]), 3, 1)[:, 0]
    array([ 0., -2.,  0.,  1.,  2.,  4.,  6.])
    """
    n_rows = len(run)
    out = np.zeros((n_before + n_rows + n_after, *run.shape[1:]))
    out[n_before : n_before + n_rows] = run
    n_left, n_right = min(n_before, n_rows - 1), min(n_after, n_rows - 1)
    if n_left > 0:
        out[n_before - n_left : n_before] = 2 * run[0] - run[n_left:0:-1]
    if n_right > 0:
        end = n_before + n_rows
        out[end : end + n_right] = 2 * run[-1] - run[-2 : -2 - n_right : -1]
    return out


def cuts_in(bounds: Sequence[int], start: int, stop: int) -> list[int]:
    """Return the bounds of runs that lie in rows `start` to `stop`, counted from `start`."""
    low = int(np.searchsorted(bounds, start, "left"))
    high = int(np.searchsorted(bounds, stop, "right"))
    return [int(it) - start for it in bounds[low:high]]
