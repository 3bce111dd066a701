"""Names of channels, units and rate, as files carry them: beside the inputs, or as attributes."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.array_names import usual_name
from zarrts.sources.formats.contents import Contents
from zarrts.sources.source_options import SourceOptions
from zarrts.types import AnyArray, Description, RowReader

CHANNELS = ("channels", "channel_names", "ch_names")
UNITS = ("channel_units", "ch_units", "units")
RATES = ("rate_hz", "sampling_rate", "sample_rate", "sfreq", "fs")

_MAX_NAMES = 100_000


def names_in(value: Any) -> tuple[str, ...] | None:
    """Return the texts in a value, or None if there is anything else; commas part a single one."""
    values = np.asarray(value).reshape(-1).tolist()
    if len(values) == 1 and isinstance(values[0], str) and "," in values[0]:
        values = [name.strip() for name in values[0].split(",")]
    names = [it.decode("utf-8", "replace") if isinstance(it, bytes) else it for it in values]
    is_names = bool(names) and all(isinstance(it, str) and it for it in names)
    return tuple(names) if is_names else None


def units_in(value: Any) -> tuple[str, ...] | None:
    """Return the texts in a value, of which some may be "", or None if there is anything else."""
    values = np.asarray(value).reshape(-1).tolist()
    units = [it.decode("utf-8", "replace") if isinstance(it, bytes) else it for it in values]
    return tuple(units) if units and all(isinstance(it, str) for it in units) else None


def rate_in(value: Any) -> float | None:
    """Return the rate in a value, or None if it is not one number above 0."""
    values = np.asarray(value).reshape(-1)
    is_number = values.size == 1 and values.dtype.kind in "iuf"
    return float(values[0]) if is_number and 0 < values[0] < np.inf else None


def description_of(contents: Contents, name: str, options: SourceOptions) -> Description:
    """Return the description of an array: its own, and what other arrays of the file say.

    Files without attributes often have the names of channels and the rate as small arrays beside
    the inputs: `np.savez("s01.npz", x=x, y=y, ch_names=["Fz", "Cz"], fs=100)`.
    """
    found = contents.description(name, options)
    if not contents.is_named:
        return found
    others = [
        it for it in contents.names if it not in (name, options.input_name, *_labels(options))
    ]
    if found.channels is None:
        value = _first(contents, others, CHANNELS, options)
        found = replace(found, channels=None if value is None else names_in(value))
    if found.units is None:
        value = _first(contents, others, UNITS, options)
        found = replace(found, units=None if value is None else units_in(value))
    if found.rate_hz is None:
        value = _first(contents, others, RATES, options)
        found = replace(found, rate_hz=None if value is None else rate_in(value))
    return found


def _labels(options: SourceOptions) -> Iterable[str | None]:
    return options.label_names or (options.label_name,)


def _first(
    contents: Contents, names: Iterable[str], known: tuple[str, ...], options: SourceOptions
) -> AnyArray | None:
    """Return the values of the first array that has one of the known names, if there is any."""
    # Fields of structs by their own names, where no array has the name.
    of_name = {usual_name(it.rpartition(".")[2]): it for it in reversed([*names])}
    of_name |= {usual_name(it): it for it in reversed([*names])}
    chosen = next((of_name[it] for it in known if it in of_name), None)
    if chosen is None:
        return None
    try:
        rows = contents.reader(chosen, "y", options)
        if not isinstance(rows, RowReader) or math.prod(rows.shape) > _MAX_NAMES:
            return None
        values = rows.read(0, rows.shape[0])
    except SourceError:
        return None  # an array that is nothing of ours, whatever it is called
    rows.close()
    return values
