"""The strata that a balanced order draws from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zarrts.indexing.units import ChunkUnits
from zarrts.types import AnyArray, IntArray

_BLOCK = 1 << 16  # samples that are sorted at once


@dataclass(frozen=True, kw_only=True)
class Strata:
    """The strata of the selected samples, and the units that these lie in.

    A *pair* is what one unit holds of one stratum; pairs are sorted by stratum, then unit.

    Attributes
    ----------
    members : int, shape (n_members,)
        Numbers of the selected samples, stratum by stratum, ascending in each.
    starts : int64, shape (n_strata + 1,)
        Where in `members` each stratum starts.
    stratum, unit, first, count : int64, shape (n_pairs,)
        Of each pair; its samples are members[first : first + count].
    """

    members: IntArray
    starts: IntArray
    stratum: IntArray
    unit: IntArray
    first: IntArray
    count: IntArray

    @staticmethod
    def of(codes: AnyArray, units: ChunkUnits) -> "Strata":
        """Sort samples into strata.

        Parameters
        ----------
        codes : int, shape (n_samples,)
            Of each selected sample its stratum, from 0 on without gaps; below 0 for none.
        """
        starts = np.concatenate([[0], np.cumsum(sizes_of(codes))])
        members = _sorted_by_code(codes, starts)
        # Block by block: whole arrays of these would take fifty bytes a sample.
        firsts, units_of, unit_before = [], [], -1
        for block in blocks_of(len(members)):
            found = units.unit_of_number(members[block].astype(np.int64))
            is_new = np.diff(found, prepend=unit_before) != 0
            is_new[starts[(starts >= block.start) & (starts < block.stop)] - block.start] = True
            inside = np.flatnonzero(is_new)
            firsts.append(inside + block.start)
            units_of.append(found[inside])
            unit_before = int(found[-1])
        first = np.concatenate([np.zeros(0, np.int64), *firsts])
        return Strata(
            members=members,
            starts=starts,
            stratum=np.searchsorted(starts, first, "right") - 1,
            unit=np.concatenate([np.zeros(0, np.int64), *units_of]),
            first=first,
            count=np.diff(np.append(first, len(members))),
        )

    @property
    def sizes(self) -> IntArray:
        """Number of samples of each stratum."""
        return np.diff(self.starts)


def blocks_of(n: int) -> Iterator[slice]:
    """Yield slices that together are all of `n` things, a bounded number each."""
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))


def sizes_of(codes: AnyArray) -> IntArray:
    """Return how many times each code from 0 on occurs; others are below 0."""
    n_codes = int(codes.max(initial=-1)) + 1
    sizes = np.zeros(n_codes, np.int64)
    for block in blocks_of(len(codes)):
        some = codes[block]
        sizes += np.bincount(some[some >= 0], minlength=n_codes)
    return sizes


def _sorted_by_code(codes: AnyArray, starts: IntArray) -> IntArray:
    """Return which samples have code 0, then 1, and so on, ascending in each.

    Parameters
    ----------
    starts : int64, shape (n_codes + 1,)
        Where those of each code start.
    """
    members = np.empty(int(starts[-1]), np.min_scalar_type(max(len(codes), 1)))
    filled = starts[:-1].copy()
    for block in blocks_of(len(codes)):
        some = codes[block]
        order = np.argsort(some, kind="stable")
        order = order[np.searchsorted(some, 0, sorter=order) :]
        ordered = some[order].astype(np.int64)
        counts = np.bincount(ordered, minlength=len(filled))
        before = np.cumsum(counts) - counts
        members[(filled - before)[ordered] + np.arange(len(ordered))] = order + block.start
        filled += counts
    return members
