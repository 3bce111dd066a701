"""Rows that need the whole recording at once."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.steps.frames import FramedRows
from zarrts.types import AnyArray

COPIES = 4
"""Copies of a whole recording in float64 that its calculation takes, with the one that is kept."""


@dataclass(frozen=True)
class WholeRows(FramedRows):
    """Rows that are computed from all rows of the recording together, in memory.

    Attributes
    ----------
    bounds : tuple of int
        The rows where stretches of consecutive rows begin, and the number of rows.
    """

    bounds: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    @property
    def is_sequential(self) -> bool:
        """Always, so that the shards of a recording are written by one thread after the other.

        Each thread that reads rows computes all of them.
        """
        return True

    @property
    def frame_rows(self) -> int:
        """All of them."""
        return max(1, self.shape[0])

    @property
    def working_bytes(self) -> int:
        """Bytes for the whole recording."""
        columns = max(self.rows.shape[1], self.shape[1])
        return COPIES * self.rows.shape[0] * columns * 8

    def _frame(self, number: int) -> AnyArray:
        rows = self.rows.read(0, self.rows.shape[0]).astype(np.float64, copy=False)
        return self._whole(rows, self.bounds)

    @abstractmethod
    def _whole(self, rows: AnyArray, bounds: Sequence[int]) -> AnyArray:
        """Return the rows of a whole recording."""
