"""A batch of samples, as loops and transforms have it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.types import IntArray, Labels


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes
    ----------
    x : array, shape (batch, *sample_shape), or dict
        C-contiguous, and nobody else's; a dictionary by name where there are several inputs.
    y : array, shape (batch, ...), or None
        Labels of the same samples; a dictionary by name where there are several arrays, None
        where none were asked for.
    sample_id : int64, shape (batch,)
        Position of each sample in the store's `samples`.
    length : int64, shape (batch,), or None
        How many steps of each sample are its own, where samples are of unequal lengths; the rest
        is padding. Of several inputs, a dictionary of those with an axis of time.
    sample_weight : float32, shape (batch,) or (batch, time), or None
        How much each label counts, where some count more or less than others; a dictionary by
        name where there are several arrays of labels.
    label_length : int64, shape (batch,), or None
        The same as `length` for labels of steps, where inputs are several.
    """

    x: Any
    y: Labels | None
    sample_id: IntArray
    length: Any = None
    sample_weight: Labels | None = None
    label_length: IntArray | None = None

    def __repr__(self) -> str:
        y = self.y.items() if isinstance(self.y, dict) else [("", self.y)]
        shown = [
            f"{f'y[{name!r}]' if name else 'y'} {it.shape} {it.dtype}"
            for name, it in y
            if it is not None
        ]
        x = self.x if isinstance(self.x, dict) else {"": self.x}
        inputs = [
            f"{f'x[{name!r}]' if name else 'x'} {it.shape} {it.dtype}" for name, it in x.items()
        ]
        parts = ", ".join([*inputs, *shown])
        return f"<Batch of {len(self.sample_id):,} samples: {parts}>"

    @property
    def mask(self) -> Any:
        """The steps that are not padding, shape (batch, time); None where lengths are equal.

        Of several inputs, a dictionary by name.
        """
        if isinstance(self.length, dict):
            return {name: _before(it, self.x[name].shape[1]) for name, it in self.length.items()}
        return None if self.length is None else _before(self.length, self.x.shape[1])

    def label_mask(self, n_steps: int) -> NDArray[np.bool_] | None:
        """The steps of labels that are not padding, shape (batch, n_steps)."""
        length = self.length if self.label_length is None else self.label_length
        return None if length is None else _before(length, n_steps)


def _before(length: IntArray, n_steps: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(n_steps) < length[:, None])
