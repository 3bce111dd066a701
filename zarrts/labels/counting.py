"""Count the labels of a recording while it is read."""

from collections import Counter
from typing import Any

import numpy as np

from zarrts.types import AnyArray, IntArray, Label

MAX_CLASSES = 1000
_KINDS = {"U": "text", "b": "true or false", "i": "integers", "u": "integers", "f": "fractions"}


class LabelCounter:
    """Counts the labels of one recording, a block at a time.

    Attributes
    ----------
    kind : str
        "text", "true or false", "integers" or "fractions".
    counts : Counter, or None
        How often each value occurs; None for fractions, and for more than 1,000 values.
    is_one_hot : bool
        Whether every row so far holds one 1 among zeros (two columns or more).
    n_rows, n_empty : int
        All rows so far, and of rows of 0 and 1 those without a 1.
    first_odd : tuple of int, or None
        Of rows of 0 and 1: the first one that has not exactly one 1, and how many it has.
    may_be_one_hot : bool
        All rows so far are of 0 and 1, and none has more than one 1.
    parts : dict
        Of records, a counter for each field, and no more than that.
    """

    def __init__(self, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self.parts = {
            name: LabelCounter(dtype[name].base, dtype[name].shape) for name in dtype.names or ()
        }
        if self.parts:
            dtype = np.dtype(np.float64)
        self.kind = _KINDS[dtype.kind]
        self.counts: Counter[Label] | None = None if dtype.kind == "f" else Counter()
        self.is_one_hot = dtype.kind != "U" and len(row_shape) == 1 and row_shape[0] > 1
        self.column_counts = np.zeros(row_shape if self.is_one_hot else 0, np.int64)
        self.n_rows = self.n_empty = 0
        self.first_odd: tuple[int, int] | None = None
        self.may_be_one_hot = self.is_one_hot

    def add(self, block: AnyArray) -> None:
        """Count the labels of some rows."""
        for name, part in self.parts.items():
            part.add(block[name])
        if self.may_be_one_hot and len(block):
            ones = block == 1
            n_ones = ones.sum(axis=1)
            self._note_odd(n_ones)
            is_of_ones = bool((ones | (block == 0)).all())
            self.is_one_hot &= is_of_ones and self.first_odd is None
            self.may_be_one_hot = is_of_ones and bool((n_ones <= 1).all())
            self.column_counts += ones.sum(axis=0)
        self.n_rows += len(block)
        if self.counts is None:
            return
        values, counts = np.unique(block, return_counts=True)
        self.counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        if len(self.counts) > MAX_CLASSES:
            self.counts = None

    def _note_odd(self, n_ones: IntArray) -> None:
        odd = np.flatnonzero(n_ones != 1)
        self.n_empty += int((n_ones == 0).sum())
        if self.first_odd is None and len(odd):
            self.first_odd = self.n_rows + int(odd[0]), int(n_ones[odd[0]])

    @property
    def can_stop(self) -> bool:
        """Whether further rows would tell nothing."""
        is_done = self.counts is None and not self.may_be_one_hot
        return is_done and all(it.can_stop for it in self.parts.values())
