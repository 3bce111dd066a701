"""Rows that a converter counted: whole numbers of 16 bits, each times a gain, plus an offset."""

from dataclasses import dataclass

from zarrts.types import RowReader


@dataclass(frozen=True)
class Counted:
    """A reader of counts, and what makes values of them: float32(count * gain + offset).

    The values are those that the reader of the same rows gives, bit by bit.

    Attributes
    ----------
    rows : RowReader
        Of int16, with the shape of the rows.
    gain, offset : tuple of float
        Of each column; no gain is 0.
    missing : int or None
        The count that stands for NaN.
    error : float
        The largest that rounding made when they were counted; 0: none, as far as is known.
    """

    rows: RowReader
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    missing: int | None = None
    error: float = 0.0


def counted_of(rows: RowReader) -> Counted | None:
    """Return the counts behind some rows; None where there are none, or no 16 bits hold them."""
    found = getattr(rows, "counted", None)
    return found if isinstance(found, Counted) else None
