"""Time stamps of rows: numbers, dates or text, and the rate and gaps that follow from them."""

import re
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from zarrts.errors import SourceError
from zarrts.timeline import FloatArray, IrregularError, Timing, timing_of
from zarrts.types import AnyArray, RowReader

_BLOCK_ROWS = 1 << 18
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
# Since 1970, a time between 1973 and the year 5138 has so many seconds, ms, us or ns at least.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def seconds_of(values: AnyArray, where: str) -> FloatArray:
    """Return time stamps in seconds; dates in seconds since 1970, NaN where there is none.

    Numbers are seconds, but those of 1e11 and more are milliseconds, microseconds or nanoseconds
    since 1970. Text is ISO 8601, such as "2026-03-01 10:00:00.020"; where a zone is given, it is
    the same in all, and times are those of its clocks.

    Raises
    ------
    SourceError
        If text is not a date.
    """
    kind = values.dtype.kind
    if kind in "OT":
        values, kind = values.astype(np.str_), "U"
    if kind == "U":
        try:
            values, kind = _dates(values), "M"
        except ValueError as error:
            raise SourceError(
                f"{where}: {error}; write times as 2026-03-01 10:00:00.020, or as seconds."
            ) from error
    if kind == "M":
        whole = values.astype("datetime64[us]").astype(np.int64)
        seconds = whole / 1e6
        seconds[np.isnat(values)] = np.nan
        return np.asarray(seconds)
    if kind == "m":
        return np.asarray(values / np.timedelta64(1, "s"), np.float64)
    if kind not in "iuf":
        raise SourceError(f"{where}: holds {values.dtype}, which is not a time; give seconds.")
    most = float(np.nanmax(np.abs(values), initial=0.0))
    factor = next((by for least, by in _UNITS if most >= least), 1.0)
    return np.asarray(values / factor, np.float64)


def _dates(texts: AnyArray) -> AnyArray:
    """Return text as dates."""
    plain = np.char.strip(texts)
    given = plain[plain != ""]
    found = _ZONE.search(str(given[0])) if len(given) else None
    if found is not None:
        zone = found[0]
        other = given[~np.char.endswith(given, zone)]
        if len(other):
            raise ValueError(f"some times are in the zone {zone}, and {str(other[0])!r} is not")
        plain = np.char.partition(plain, zone)[..., 0]
    odd = [it for it in np.unique(plain).tolist() if it and not _DATE.match(it)]
    if odd:  # or "now" would be a date
        raise ValueError(f"{odd[0]!r} is not a date")
    plain = np.where(plain == "", "NaT", plain)
    return np.asarray(plain.astype("datetime64[ns]"))


def read_timing(rows: RowReader, where: str, wanted_hz: float | None = None) -> Timing:
    """Return what the time stamps of all rows say; they are read in pieces.

    Raises
    ------
    SourceError
        If they are not times, go back, or follow no fixed rate.
    """

    def blocks() -> Iterator[FloatArray]:
        for start in range(0, rows.shape[0], _BLOCK_ROWS):
            block = rows.read(start, min(start + _BLOCK_ROWS, rows.shape[0]))
            yield seconds_of(block.reshape(len(block)), where)

    with closing(rows):
        if len(rows.shape) > 1 and rows.shape[1:] != (1,):
            raise SourceError(
                f"{where}: has shape {rows.shape}, but there is one time stamp for each row."
            )
        try:
            return timing_of(blocks(), wanted_hz)
        except IrregularError as error:
            raise SourceError(f"{where}: time stamps: {error}.") from error
