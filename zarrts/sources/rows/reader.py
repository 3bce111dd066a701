"""The base of all readers of rows."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from zarrts.types import AnyArray


class Rows(ABC):
    """Read rows of one array: what `zarrts.types.RowReader` promises, once for all readers.

    A subclass says `shape`, `dtype` and `label` (how errors name the array), and reads rows in
    `_read`. Where rows are not reached in any order, or not one by one, it says that as well.
    """

    label: str

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, rows first."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Dtype of what `read` returns, in native byte order."""

    @property
    def is_sequential(self) -> bool:
        """Whether reading backwards starts again from the first row."""
        return False

    @property
    def block_rows(self) -> int:
        """The fewest rows worth reading at once."""
        return 1

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns.

        Raises
        ------
        IndexError
            Unless 0 <= `start` <= `stop` <= the number of rows.
        SourceError
            If the source has changed, is damaged or cannot be read.
        """
        n_rows = self.shape[0]
        if not 0 <= start <= stop <= n_rows:
            raise IndexError(f"{self.label}: rows {start} to {stop} of {n_rows}")
        return self._read(start, stop)

    @abstractmethod
    def _read(self, start: int, stop: int) -> AnyArray:
        """Return rows that are known to be there."""

    def close(self) -> None:  # noqa: B027 - most readers keep nothing open
        """Release files and buffers; a later `read` opens them again."""
