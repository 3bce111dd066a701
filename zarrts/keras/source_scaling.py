"""Scale source files that no store has as samples of a store would be."""

import math
from contextlib import closing
from functools import partial

import numpy as np

from zarrts.errors import SourceError
from zarrts.indexing.indexes import SampleIndex
from zarrts.indexing.occurrences import count_occurrences
from zarrts.indexing.units import Ranges
from zarrts.keras.source_cuts import SourceCuts
from zarrts.keras.spec import Spec
from zarrts.stats.moments import Moments, measure_repeated, merge_all
from zarrts.stats.sketches import Sketch, draw, places
from zarrts.stats.statistics import Linear, Statistics
from zarrts.types import AnyArray, RowReader

_BLOCK_VALUES = 1 << 20
_DRAWN = 1 << 14


def linear_of_files(cuts: SourceCuts) -> list[Linear | None]:
    """Return what scales each of some arrays: the statistics of all arrays of its file.

    Nothing is read, and None returned, where the network was not trained with those of subjects.
    """
    spec = cuts.spec
    if spec.scaling is None or spec.scaling.per != "subject":
        return [None for _ in cuts.inputs]
    parts: dict[str, list[tuple[Moments, Sketch]]] = {}
    for it, index in zip(cuts.inputs, cuts.indexes, strict=True):
        with closing(it.x):
            parts.setdefault(it.origin, []).append(_measure(it.x, index, cuts))
    found: dict[str, Linear] = {}
    for origin, some in parts.items():
        moments, sketches = merge_all([it for it, _ in some]), [it for _, it in some]
        stats = Statistics.with_sketch(moments, partial(Sketch.joined, sketches))
        found[origin] = Linear.of(stats, spec.scaling.scale)
    return [found[it.origin] for it in cuts.inputs]


def _measure(reader: RowReader, index: SampleIndex, cuts: SourceCuts) -> tuple[Moments, Sketch]:
    spec, steps = cuts.spec, cuts.steps
    n_rows, n_channels = reader.shape[0], spec.row_shape[-1] if spec.row_shape else 1
    every = Ranges.of_bounds(np.zeros(1, np.int64), np.array([index.n_samples]))
    per_row = math.prod(spec.row_shape) // n_channels
    step = max(1, n_rows * per_row // _DRAWN)
    block = max(1, _BLOCK_VALUES // math.prod(spec.row_shape))
    moments = [Moments.empty(n_channels)]
    sketches = [Sketch(np.zeros((0, n_channels)), np.zeros((0, n_channels)))]
    for low in range(0, n_rows, block):
        high = min(low + block, n_rows)
        counts = count_occurrences(index, every, steps, low, high)
        if counts.any():
            rows = reader.read(low, high).astype(spec.stored_dtype, copy=False)
            moments.append(measure_repeated(rows, counts))
            drawn = places(low * per_row, high * per_row, step) // per_row - low
            weights = np.repeat(counts[drawn, None], n_channels, axis=1).astype(np.float64)
            sketches.append(Sketch(draw(rows, low, step).astype(np.float64), weights))
    return merge_all(moments), Sketch.joined(sketches)


def refuse_nan_in(rows: AnyArray, spec: Spec, origin: str) -> None:
    """Refuse samples of a file with NaN, if the network was trained without any.

    And with infinite values, if each sample is scaled by its own.

    Raises
    ------
    SourceError
    """
    if rows.dtype.kind != "f":
        return
    if spec.nan == "error" and np.isnan(rows).any():
        raise SourceError(
            f"{origin}: {_channel_with(np.isnan(rows), spec)} holds NaN, and the network was "
            "trained without; train with nan='fill', or replace them in the file."
        )
    if spec.scaling is not None and spec.scaling.per == "sample" and np.isinf(rows).any():
        raise SourceError(
            f"{origin}: {_channel_with(np.isinf(rows), spec)} is infinite somewhere, and has no "
            "mean to scale a sample by; replace such values in the file."
        )


def _channel_with(is_met: AnyArray, spec: Spec) -> str:
    return f"channel {int(np.argwhere(is_met)[0][-1]) if spec.row_shape else 0}"
