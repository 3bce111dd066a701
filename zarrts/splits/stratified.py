"""Divide groups among parts so that every part gets its share of every class.

SplitGroups stay whole, and parts keep their numbers of groups: only who is in which part changes.
"""

import numpy as np

from zarrts.types import IntArray

_MAX_SWEEPS = 50
_MAX_SWAPPED = 1000
_LEAST_GAIN = 1e-12


def even_parts(counts: IntArray, parts: IntArray) -> IntArray:
    """Return the part of each group after swaps that bring class proportions together.

    Each group in turn changes places with the one that helps most, until no swap helps. As
    scikit-learn's StratifiedGroupKFold does, this weighs a class by its share in all groups, so
    that rare classes count as much as frequent ones; unlike there, parts keep their sizes. Of
    more than 1,000 groups, about as many of all parts change places, which is enough to make up
    for what the others are in excess.

    Parameters
    ----------
    counts : int64, shape (n_groups, n_classes)
        Labels of each class in each group.
    parts : int64, shape (n_groups,)
        The part of each group to begin with: 0 .. n_parts - 1, each of which occurs.

    Returns
    -------
    int64, shape (n_groups,); as many groups in each part as before. The sum over parts and classes
    of (share of the class - share of the groups)² / share of the groups is never above that of
    `parts`.
    """
    all_parts, weights = parts.copy(), _weights(counts)
    sizes = np.bincount(parts) / len(parts)
    excess = _excess(weights, parts, sizes)
    movable = _movable(parts)
    parts, weights = parts[movable], weights[movable]
    for _ in range(_MAX_SWEEPS):
        has_changed = False
        for group in range(len(parts)):
            here = parts[group]
            moved = weights - weights[group]
            own = (2 * excess[here] * moved + moved**2).sum(axis=1) / sizes[here]
            others = (-2 * excess[parts] * moved + moved**2).sum(axis=1) / sizes[parts]
            gain = np.where(parts == here, 0, own + others)
            best = int(gain.argmin())
            if gain[best] < -_LEAST_GAIN:
                excess[here] += moved[best]
                excess[parts[best]] -= moved[best]
                parts[group], parts[best] = parts[best], here
                has_changed = True
        if not has_changed:
            break
    all_parts[movable] = parts
    return all_parts


def _movable(parts: IntArray) -> IntArray:
    """Return the groups that may change places: all, or of many some of each part."""
    if len(parts) <= _MAX_SWAPPED:
        return np.arange(len(parts))
    sizes = np.bincount(parts)
    order = np.argsort(parts, kind="stable")
    nth = np.arange(len(parts)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # Half of them as parts are large, and half the same of each, or small parts would get none.
    wanted = _MAX_SWAPPED * (sizes / len(parts) + 1 / len(sizes)) / 2
    some = np.sort(order[nth < np.ceil(wanted)[parts[order]]])
    return some[:: -(-len(some) // (2 * _MAX_SWAPPED))]


def _weights(counts: IntArray) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return which share of each class each group has."""
    weights: np.ndarray[tuple[int, int], np.dtype[np.float64]] = counts / np.maximum(
        counts.sum(axis=0), 1
    )
    return weights


def _excess(
    weights: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    parts: IntArray,
    sizes: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return by how much each part's share of each class is above its share of the groups."""
    total = np.zeros((len(sizes), weights.shape[1]))
    np.add.at(total, parts, weights)
    # A class that does not occur is nowhere in excess.
    return total - np.where(weights.any(axis=0), sizes[:, None], 0)
