"""Steps on samples that are series of their own: each is taken as a whole recording."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.rows.views import DerivedRows, ValueRows
from zarrts.types import AnyArray, RowReader


@dataclass(frozen=True)
class PerSampleRows(DerivedRows):
    """Samples (time, channel), each of them after a step.

    Attributes
    ----------
    make : callable
        From the rows of a sample to those after the step.
    sample_shape : tuple of int
        Of a sample after the step.
    """

    make: Callable[[RowReader], RowReader]
    sample_shape: tuple[int, ...]

    label = "samples after a step"

    @property
    def shape(self) -> tuple[int, ...]:
        """As many samples, of their new shape."""
        return (self.rows.shape[0], *self.sample_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    @property
    def working_bytes(self) -> int:
        """Bytes for the calculation of a sample."""
        return self.make(_Nothing(self.rows.shape[1:])).working_bytes  # type: ignore[attr-defined, no-any-return]

    def _read(self, start: int, stop: int) -> AnyArray:
        block = self.rows.read(start, stop)
        out = np.empty((stop - start, *self.sample_shape))
        for number, sample in enumerate(block):
            out[number] = self.make(ValueRows(sample)).read(0, self.sample_shape[0])
        return out


class _Nothing(ValueRows):
    """Rows of a shape, of which none is read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(np.broadcast_to(np.zeros(()), shape))
