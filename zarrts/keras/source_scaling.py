"""Scale source files that no store has as samples of a store would be."""

import math
from collections.abc import Mapping
from contextlib import closing
from functools import partial

import numpy as np

from zarrts.errors import SourceError
from zarrts.indexing.indexes import SampleIndex
from zarrts.indexing.occurrences import count_occurrences
from zarrts.indexing.units import Ranges
from zarrts.keras.input_spec import InputSpec
from zarrts.keras.source_cuts import SourceCuts
from zarrts.keras.spec import Spec
from zarrts.sources import AlignedRows
from zarrts.stats.moments import Moments, measure_repeated, merge_all
from zarrts.stats.scaling import Scaling
from zarrts.stats.sketches import Sketch, draw, places
from zarrts.stats.statistics import Linear, Statistics
from zarrts.storage.segments import parts_of
from zarrts.types import AnyArray, RowReader

_BLOCK_VALUES = 1 << 20
_DRAWN = 1 << 14


def linear_of_files(cuts: SourceCuts) -> list[Mapping[str, Linear]]:
    """Return what scales each input of some arrays: the statistics of all arrays of its file.

    Nothing is read, and nothing returned, of inputs that were not scaled by those of subjects.
    """
    found: list[dict[str, Linear]] = [{} for _ in cuts.inputs]
    for name, one in cuts.spec.of_inputs.items():
        if one.scaling is not None and one.scaling.per == "subject":
            own = _linear_of_input(cuts, name, one, one.scaling)
            for of_file, linear in zip(found, own, strict=True):
                of_file[name] = linear
    return [*found]


def _input_of(reader: RowReader, name: str) -> RowReader:
    """Return the reader of one of several inputs; of the only one, that itself."""
    return reader.by_name[name] if isinstance(reader, AlignedRows) else reader


def _linear_of_input(cuts: SourceCuts, name: str, one: InputSpec, scaling: Scaling) -> list[Linear]:
    parts: dict[str, list[tuple[Moments, Sketch]]] = {}
    for it, index in zip(cuts.inputs, cuts.indexes, strict=True):
        with closing(it.x):
            measured = _measure(_input_of(it.x, name), index, cuts, one)
            parts.setdefault(it.origin, []).append(measured)
    found: dict[str, Linear] = {}
    for origin, some in parts.items():
        moments, sketches = merge_all([it for it, _ in some]), [it for _, it in some]
        stats = Statistics.with_sketch(moments, partial(Sketch.joined, sketches))
        found[origin] = Linear.of(stats, scaling.scale)
    return [found[it.origin] for it in cuts.inputs]


def _measure(
    reader: RowReader, index: SampleIndex, cuts: SourceCuts, one: InputSpec
) -> tuple[Moments, Sketch]:
    steps, n_rows, n_channels = cuts.steps, reader.shape[0], one.n_channels
    if not one.steps and steps is not None:
        steps = steps.reshape(-1)[:1]  # one value a sample
    every = Ranges.of_bounds(np.zeros(1, np.int64), np.array([index.n_samples]))
    per_row = math.prod(one.row_shape) // n_channels
    step = max(1, n_rows * per_row // _DRAWN)
    block = max(1, _BLOCK_VALUES // max(1, math.prod(one.row_shape)))
    moments = [Moments.empty(n_channels)]
    sketches = [Sketch(np.zeros((0, n_channels)), np.zeros((0, n_channels)))]
    for low in range(0, n_rows, block):
        high = min(low + block, n_rows)
        counts = count_occurrences(index, every, steps, low, high)
        if counts.any():
            rows = reader.read(low, high).astype(one.stored_dtype, copy=False)
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
    for name, values in parts_of(rows).items():
        if name in spec.of_inputs and values.dtype.kind == "f":
            _refuse_nan(values, spec, name, origin)


def _refuse_nan(rows: AnyArray, spec: Spec, name: str, origin: str) -> None:
    one = spec.of_inputs[name]
    where = f"{origin}: {name}" if name else origin
    if spec.nan == "error" and np.isnan(rows).any():
        raise SourceError(
            f"{where}: {_channel_with(np.isnan(rows), one)} holds NaN, and the network was "
            "trained without; train with nan='fill', or replace them in the file."
        )
    if one.scaling is not None and one.scaling.per == "sample" and np.isinf(rows).any():
        raise SourceError(
            f"{where}: {_channel_with(np.isinf(rows), one)} is infinite somewhere, and has no "
            "mean to scale a sample by; replace such values in the file."
        )


def _channel_with(is_met: AnyArray, one: InputSpec) -> str:
    return f"channel {int(np.argwhere(is_met)[0][-1]) if one.row_shape else 0}"
