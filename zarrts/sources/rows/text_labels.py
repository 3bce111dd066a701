"""Labels that are text of any length, which are held in memory."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.types import AnyArray

MAX_TEXT_BYTES = 64 << 20
_PIECE_ROWS = 10_000


def text_labels(shape: tuple[int, ...], read: Callable[[Any], Any], where: str) -> AnyArray:
    """Return labels that are text, read by pieces.

    Parameters
    ----------
    shape : tuple of int
        One axis; or none, of a single label.
    read : function of a slice, or of ()
        Returns texts, or their bytes in UTF-8.

    Raises
    ------
    SourceError
        If they have more axes, or are too long.
    """
    n_rows = math.prod(shape)
    if len(shape) > 1 or n_rows * 4 > MAX_TEXT_BYTES:
        raise SourceError(
            f"{where}: is text of shape {shape}; labels that are text need one axis, and at most "
            f"{MAX_TEXT_BYTES // 4:,} rows."
        )
    starts = range(0, n_rows, _PIECE_ROWS)
    rows: list[str] = []
    for piece in [slice(it, it + _PIECE_ROWS) for it in starts] if shape else [()]:
        rows += [_text(it) for it in np.asarray(read(piece), object).reshape(-1).tolist()]
        if max(map(len, rows), default=0) * len(rows) * 4 > MAX_TEXT_BYTES:
            raise SourceError(f"{where}: its text is too long for labels; save codes instead.")
    return np.array(rows, dtype=np.str_)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
