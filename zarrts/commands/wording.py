"""Numbers, shapes and classes in plain words."""

from collections.abc import Mapping, Sequence

import numpy as np

from zarrts.sizes import format_count
from zarrts.types import IntArray, Label

MAX_NAMES = 12


def count_lengths(n_rows: IntArray) -> dict[str, int]:
    """Return how long recordings are, in rows: the extremes, the median and all together."""
    return {
        "shortest": int(n_rows.min()),
        "median": int(np.median(n_rows)),
        "longest": int(n_rows.max()),
        "total": int(n_rows.sum()),
    }


def describe_lengths(lengths: Mapping[str, int], row_shape: tuple[int, ...]) -> str:
    """Return how long recordings are, in words, and how wide."""
    wide = " x ".join(str(length) for length in row_shape)
    if len(row_shape) == 1:
        wide = format_count(row_shape[0], "channel")
    low, high = lengths["shortest"], lengths["longest"]
    if low == high:
        return f"of {format_count(low, 'time step')} x {wide}"
    return f"of {low:,} to {high:,} time steps (median {lengths['median']:,}) x {wide}"


def describe_shape(sample_shape: tuple[int, ...]) -> str:
    """Return a sample's shape in words."""
    if len(sample_shape) == 2:
        time, channels = sample_shape
        return f"{format_count(time, 'time step')} x {format_count(channels, 'channel')}"
    if len(sample_shape) == 1:
        return format_count(sample_shape[0], "value")
    return " x ".join(str(length) for length in sample_shape) or "single values"


def describe_classes(names: Sequence[Label]) -> str:
    """Return how many classes there are, and the first of them."""
    some = " ".join(str(name) for name in names[:MAX_NAMES])
    more = " ..." if len(names) > MAX_NAMES else ""
    return f"{format_count(len(names), 'class', 'classes')} {some}{more}"


def describe_error(error: float) -> str:
    """Return what is lost of values that are stored in 16 bits."""
    return f" with errors up to {error:g}" if error else " without loss"
