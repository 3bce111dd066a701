"""What reading a selection costs: how much is decoded for what is used."""

from zarrts.ordering.order import UNITS_PER_PART, filled_units
from zarrts.samples.units import ChunkUnits


def amplification(units: ChunkUnits) -> float:
    """Return bytes decoded over bytes used, at least 1, of one pass over the selected samples.

    Chunks are decoded whole: a selection that takes single samples of many pays for the others.
    Rows that are in several samples are used once.
    """
    if len(units.selection) == 0:
        return 1.0
    filled = filled_units(units)
    decoded = 0
    for start in range(0, len(filled), UNITS_PER_PART):
        some = filled[start : start + UNITS_PER_PART].astype("int64")
        decoded += int(units.rows_read(some).sum())
    return decoded / units.index.count_rows(units.selection.starts, units.selection.stops)
