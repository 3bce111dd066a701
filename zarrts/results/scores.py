"""The scores that studies publish, from counts of [true class, predicted class].

All take counts of shape (..., n_classes, n_classes), one matrix or several (one a subject), and
give NaN where a score is not defined. Formulas are those of scikit-learn's functions of the same
names, with `zero_division=0`; kappa is Cohen's (1960), unweighted.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.types import IntArray

Floats = NDArray[np.float64]

NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "kappa")


def ratio(part: Any, whole: Any) -> Floats:
    """Return part / whole; NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _hits(counts: IntArray) -> IntArray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def recall(counts: IntArray) -> Floats:
    """Return the correct ones among those that are of each class, shape (..., n_classes)."""
    return ratio(_hits(counts), counts.sum(axis=-1))


def precision(counts: IntArray) -> Floats:
    """Return the correct ones among those taken for each class, shape (..., n_classes)."""
    return ratio(_hits(counts), counts.sum(axis=-2))


def f1(counts: IntArray) -> Floats:
    """Return 2·TP / (2·TP + FP + FN) of each class; NaN where it neither is nor is predicted."""
    return ratio(2 * _hits(counts), counts.sum(axis=-1) + counts.sum(axis=-2))


def accuracy(counts: IntArray) -> Floats:
    """Return the correct ones among all."""
    return ratio(_hits(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def balanced_accuracy(counts: IntArray) -> Floats:
    """Return the mean recall of the classes that occur."""
    return _mean(recall(counts))


def macro_f1(counts: IntArray) -> Floats:
    """Return the mean F1 of the classes that occur or are predicted."""
    return _mean(f1(counts))


def kappa(counts: IntArray) -> Floats:
    """Return Cohen's kappa: agreement beyond chance; NaN where all are of one class, and right."""
    total = counts.sum(axis=(-2, -1)).astype(np.float64)
    by_chance = (counts.sum(axis=-1) * counts.sum(axis=-2, dtype=np.float64)).sum(axis=-1)
    expected = ratio(by_chance, total**2)
    agreed = accuracy(counts)
    return np.asarray(np.where(expected < 1, ratio(agreed - expected, 1 - expected), np.nan))


def score(name: str, counts: IntArray) -> Floats:
    """Return one of the scores of `NAMES` by its name."""
    return {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "kappa": kappa,
    }[name](counts)


def _mean(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))
