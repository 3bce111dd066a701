"""NaN and infinite values in samples: which is the first that is refused."""

from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.occurrences import samples_with
from zarrts.reading.chunk_pass import pass_over
from zarrts.reading.sample_reader import SampleInput, SampleReader
from zarrts.storage.catalog import Catalog
from zarrts.types import AnyArray, IntArray

OnNan = Literal["error", "keep", "fill"]


def check_nan(nan: str) -> None:
    """Refuse a policy that is none of ours."""
    if nan not in ("error", "keep", "fill"):
        raise SampleError(f"nan={nan!r} is unknown; use 'error', 'keep' or 'fill'.")


def refuse_nan(
    reader: SampleReader,
    one: SampleInput,
    catalog: Catalog,
    names: tuple[str, ...] | None,
    channels: slice,
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
    one : SampleInput
        The input that is looked at.
    names : tuple of str, or None
        Of its channels.
    channels : slice
        Which those are among the channels of all inputs.

    Raises
    ------
    SampleError
        That names the first sample with NaN.
    """
    cut = reader.cut
    has_targets = cut.y_of == "x" and cut.y_input == one.name
    is_input = any(it.name == one.name for it in reader.inputs)
    for what, steps, some in (
        ("x", one.cut.x_steps, None),
        ("its target", cut.y_steps, cut.y_channels),
    ):
        if what == "x" and (nan == "fill" or not is_input):
            continue
        if what != "x" and not has_targets:
            continue
        found = _first(reader, one, steps, some, skips_damage, np.isnan)
        if found is not None:
            row, channel = found
            n_nan = int(catalog.moments.nan_count[:, channels][_recording(reader, row), channel])
            remedy = (
                "nan='fill' puts the mean of the channel there, nan='keep' hands NaN on"
                if what == "x"
                else "no number can stand for a target; nan='keep' hands NaN on"
            )
            raise SampleError(
                f"{_place(reader, catalog, steps, row)}: {what} is NaN in "
                f"{_channel(one, names, channel)}, as are {n_nan:,} values of that recording; "
                f"{remedy}, and select(ids=...) leaves samples out."
            )


def refuse_infinite(
    reader: SampleReader,
    one: SampleInput,
    catalog: Catalog,
    names: tuple[str, ...] | None,
    *,
    skips_damage: bool,
) -> None:
    """Read samples of recordings with infinite values until one is found, as `refuse_nan`.

    Raises
    ------
    SampleError
        That names the first sample with one.
    """
    found = _first(reader, one, one.cut.x_steps, None, skips_damage, np.isinf)
    if found is not None:
        row, channel = found
        raise SampleError(
            f"{_place(reader, catalog, one.cut.x_steps, row)}: x is infinite in "
            f"{_channel(one, names, channel)}, which has no mean to scale the sample by; replace "
            "such values in the source files and convert again, or leave samples out with "
            "select(ids=...)."
        )


def _first(
    reader: SampleReader,
    one: SampleInput,
    steps: IntArray | None,
    some: IntArray | None,
    skips_damage: bool,
    is_refused: np.ufunc,
) -> tuple[int, int] | None:
    """Return row, counted through the store, and channel of the first such value that is used."""

    def find(rows: AnyArray, counts: IntArray, first: int) -> tuple[int, int] | None:
        values = rows.reshape(len(rows), -1, rows.shape[-1] if rows.ndim > 1 else 1)
        is_met = is_refused(values).any(axis=1) & (counts > 0)[:, None]
        if some is not None:
            is_other = np.ones(is_met.shape[1], bool)
            is_other[some] = False
            is_met[:, is_other] = False
        where = np.argwhere(is_met)
        return (first + int(where[0, 0]), int(where[0, 1])) if len(where) else None

    parts = pass_over(reader, one, steps, find, skips_damage=skips_damage)
    return next((found for found in parts if found is not None), None)


def _recording(reader: SampleReader, row: int) -> int:
    return int(reader.recordings(np.array(row)))


def _place(reader: SampleReader, catalog: Catalog, steps: IntArray | None, row: int) -> str:
    number = _recording(reader, row)
    recording = catalog.recordings[number]
    file_row = row - int(catalog.row_starts[number]) + recording.source_start
    sample = samples_with(reader.units.index, reader.units.selection, steps, row)
    return (
        f"Sample {sample:,} of subject {recording.subject} ({recording.source}, row {file_row:,})"
    )


def _channel(one: SampleInput, names: tuple[str, ...] | None, channel: int) -> str:
    of_input = f" of {one.name}" if one.name else ""
    return f"channel {channel}" + (f" ({names[channel]})" if names else "") + of_input
