"""Masks: for each row of a recording, whether it is no good."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.views import DerivedRows
from zarrts.types import AnyArray, RowReader

_MAX_REASON = 255


@dataclass(frozen=True)
class MaskRows(DerivedRows):
    """A mask as uint8: 0 in rows that are good, above 0 in those that are not.

    Attributes
    ----------
    where : str
        What the mask is called in errors.
    """

    where: str

    label = "a mask"

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def _read(self, start: int, stop: int) -> AnyArray:
        given = self.rows.read(start, stop)
        if given.dtype.kind in "iu" and len(given):
            least, most = int(given.min()), int(given.max())
            if least < 0 or most > _MAX_REASON:
                raise SourceError(
                    f"{self.where}: holds {least if least < 0 else most}, but the numbers of a "
                    f"mask are 0 (good) to {_MAX_REASON}; give True where a row is no good."
                )
        return given.astype(np.uint8)


def mask_rows(rows: RowReader, n_rows: int, where: str) -> MaskRows:
    """Return an array as the mask of `n_rows` rows.

    Raises
    ------
    SourceError
        If it is not one boolean (or whole number) for each row.
    """
    if rows.dtype.kind not in "biu" or rows.shape != (n_rows,):
        raise SourceError(
            f"{where}: a mask is True (or 1 to {_MAX_REASON}) for each time step of x that is no "
            f"good, of shape ({n_rows:,},), not {rows.dtype} of shape {rows.shape}."
        )
    return MaskRows(rows, where)
