"""NaN in samples: whether there may be any, and which is the first."""

from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.occurrences import samples_with
from zarrts.reading.chunk_pass import pass_over
from zarrts.reading.sample_reader import SampleReader
from zarrts.storage.catalog import Catalog
from zarrts.types import AnyArray, IntArray

OnNan = Literal["error", "keep", "fill"]


def check_nan(nan: str) -> None:
    """Refuse a policy that is none of ours."""
    if nan not in ("error", "keep", "fill"):
        raise SampleError(f"nan={nan!r} is unknown; use 'error', 'keep' or 'fill'.")


def refuse_nan(
    reader: SampleReader,
    catalog: Catalog,
    channels: tuple[str, ...] | None,
    *,
    nan: OnNan,
    skips_damage: bool,
) -> None:
    """Read samples of recordings with NaN until one is found; return if there is none.

    With nan="fill" only targets that are values of x are looked at: a target cannot be made up.

    Parameters
    ----------
    reader : SampleReader
        Of those of the samples that lie in recordings that hold NaN.

    Raises
    ------
    SampleError
        That names the first sample with NaN.
    """
    cut = reader.cut
    has_targets = cut.y_of == "x"
    for what, steps, some in (
        ("x", cut.x_steps, None),
        ("its target", cut.y_steps, cut.y_channels),
    ):
        if (nan == "fill" and what == "x") or (what != "x" and not has_targets):
            continue
        found = _first(reader, steps, some, skips_damage)
        if found is not None:
            row, channel = found
            _refuse(reader, catalog, channels, what, steps, row, channel)


def _first(
    reader: SampleReader, steps: IntArray | None, some: IntArray | None, skips_damage: bool
) -> tuple[int, int] | None:
    """Return row, counted through the store, and channel of the first NaN that is used."""

    def find(rows: AnyArray, counts: IntArray, first: int) -> tuple[int, int] | None:
        values = rows.reshape(len(rows), -1, rows.shape[-1] if rows.ndim > 1 else 1)
        is_nan = np.isnan(values).any(axis=1) & (counts > 0)[:, None]
        if some is not None:
            is_other = np.ones(is_nan.shape[1], bool)
            is_other[some] = False
            is_nan[:, is_other] = False
        where = np.argwhere(is_nan)
        return (first + int(where[0, 0]), int(where[0, 1])) if len(where) else None

    parts = pass_over(reader, steps, find, skips_damage=skips_damage)
    return next((found for found in parts if found is not None), None)


def _refuse(
    reader: SampleReader,
    catalog: Catalog,
    channels: tuple[str, ...] | None,
    what: str,
    steps: IntArray | None,
    row: int,
    channel: int,
) -> None:
    number = int(reader.recordings(np.array(row)))
    recording = catalog.recordings[number]
    file_row = row - int(catalog.row_starts[number]) + recording.source_start
    sample = samples_with(reader.units.index, reader.units.selection, steps, row)
    name = f"channel {channel}" + (f" ({channels[channel]})" if channels else "")
    n_nan = int(catalog.moments.nan_count[number, channel])
    remedy = (
        "nan='fill' puts the mean of the channel there, nan='keep' hands NaN on"
        if what == "x"
        else "no number can stand for a target; nan='keep' hands NaN on"
    )
    raise SampleError(
        f"Sample {sample:,} of subject {recording.subject} ({recording.source}, row {file_row:,}): "
        f"{what} is NaN in {name}, as are {n_nan:,} values of that recording; {remedy}, and "
        "select(ids=...) leaves samples out."
    )
