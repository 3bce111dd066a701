"""Statistics of samples: a merge of what is stored for whole recordings, a pass over the others."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.reading.chunk_pass import measure_samples, sketch_samples
from zarrts.reading.nans import OnNan, check_nan, refuse_infinite, refuse_nan
from zarrts.reading.selection import Selection
from zarrts.stats.moments import Moments, merge_all, pool, pool_by
from zarrts.stats.scaling import Scaling
from zarrts.stats.sketches import Sketch
from zarrts.stats.statistics import CountScale, Linear, Scale, Statistics, check_scale
from zarrts.types import IntArray

Stats = Moments | Scaling | Literal["subject", "sample"]


def statistics_of(selection: Selection) -> Statistics:
    """Return count, mean, std, min, max and quantiles per channel of exactly these samples.

    What each promises stands at `Samples.stats`.

    Raises
    ------
    SampleError
        If there are no samples.
    """
    if len(selection) == 0:
        raise SampleError("The selection holds no samples.")
    whole, partial = selection.whole_and_partial()
    parts = [pool(selection.store.catalog.moments.row(whole))] if len(whole) else []
    if partial is not None:
        parts.append(measure_samples(partial.reader))
    return Statistics.with_sketch(
        merge_all(parts),
        lambda: _sketch(selection, whole, partial),
        lambda: scale_of_counts(selection),
    )


def scale_of_counts(selection: Selection) -> CountScale | None:
    """Return gain and offset of each channel of a store of counts; None of one of values.

    Raises
    ------
    SampleError
        If they are not the same throughout the store.
    """
    store = selection.store
    if not any(it.x.packed is not None for it in store.header.segments):
        return None
    found = store.readers.tables.packing.of_all if store.readers.are_counts else None
    if found is None:
        raise SampleError(
            "Batches of dtype='stored' are 16-bit counts here, but recordings of this store have "
            "several gains or offsets for one channel, or are stored as values in part; leave "
            "dtype= and stored= out."
        )
    return found


def _sketch(selection: Selection, whole: IntArray, partial: Selection | None) -> Sketch:
    parts = []
    if len(whole):
        kept = selection.store.catalog.sketch(whole)
        parts.append(kept or sketch_samples(selection.of_recordings(whole).reader))
    if partial is not None:
        parts.append(sketch_samples(partial.reader))
    return Sketch.joined(parts)


# Scaling ----------------------------------------------------------------------------------


def scaling_of(
    selection: Selection, stats: Stats | None, scale: Scale = "standard"
) -> Scaling | None:
    """Return how these samples are scaled; what each means stands at `BatchOptions`.

    Parameters
    ----------
    stats : Moments, "subject", "sample", Scaling or None
        A Scaling is that of other samples: each subject that it knows stays as it is there.

    Raises
    ------
    SampleError
        If the statistics are of other channels, or there is no such scale.
    """
    check_scale(scale)
    if stats is None:
        if scale != "standard":
            raise SampleError(f"scale={scale!r} needs numbers: give stats= too.")
        return None
    if isinstance(stats, Scaling):
        if stats.per == "sample":
            _refuse_single_steps(selection)
        if stats.linear is not None:
            _refuse_channels(selection, stats.linear.shift.shape[-1])
        return _per_subject(selection, stats.scale, stats) if stats.per == "subject" else stats
    if isinstance(stats, Moments):
        _refuse_channels(selection, stats.mean.shape[-1])
        return Scaling(scale=scale, per="all", linear=Linear.of(stats, scale))
    if isinstance(stats, str) and stats == "subject":
        return _per_subject(selection, scale, None)
    if isinstance(stats, str) and stats == "sample":
        _refuse_single_steps(selection)
        return Scaling(scale=scale, per="sample")
    raise SampleError(
        f"stats={stats!r} is unknown; give samples.stats() of the training part, 'subject' or "
        "'sample'."
    )


def _per_subject(selection: Selection, scale: Scale, known: Scaling | None) -> Scaling:
    origin = selection.store.header.segments[0].write_id
    rows: dict[str, Linear] = {}
    if known is not None and known.linear is not None and known.origin == origin:
        rows = {name: known.linear.row(i) for i, name in enumerate(known.subjects)}
    new = [name for name in selection.subjects if name not in rows]
    rows.update(_linear_by_subject(selection, new, scale) if new else {})
    return Scaling(
        scale=scale,
        per="subject",
        linear=Linear.stack(list(rows.values())),
        subjects=tuple(rows),
        origin=origin,
    )


def _linear_by_subject(
    selection: Selection, names: Sequence[str], scale: Scale
) -> dict[str, Linear]:
    """Return how each of some subjects is scaled by its own samples."""
    catalog = selection.store.catalog
    whole, partial = selection.whole_and_partial()
    if partial is not None:
        own = {name: selection.of_recordings(catalog.recordings_of(name)) for name in names}
        return {name: Linear.of(statistics_of(it), scale) for name, it in own.items()}
    numbers = np.full(len(catalog.subjects), -1)
    numbers[[catalog.codes[name] for name in names]] = np.arange(len(names))
    numbers = numbers[catalog.subject_codes[whole]]
    whole, numbers = whole[numbers >= 0], numbers[numbers >= 0]
    moments = pool_by(catalog.moments.row(whole), numbers)
    if scale != "robust":
        linear = Linear.of(moments, scale)
        return {name: linear.row(i) for i, name in enumerate(names)}
    edges = np.cumsum(np.bincount(numbers))[:-1]
    recordings = np.split(whole[np.argsort(numbers, kind="stable")], edges)

    def of_subject(number: int) -> Linear:
        def sketch() -> Sketch:
            return _sketch(selection, recordings[number], None)

        return Linear.of(Statistics.with_sketch(moments.row(number), sketch), scale)

    return {name: of_subject(number) for number, name in enumerate(names)}


def _refuse_channels(selection: Selection, n_channels: int) -> None:
    row_shape = selection.store.header.segments[0].x.row_shape
    expected = row_shape[-1] if row_shape else 1
    if n_channels != expected:
        raise SampleError(
            f"stats are of {n_channels} channels, but these samples have {expected}; take "
            "them from samples of the same store."
        )


def _refuse_single_steps(selection: Selection) -> None:
    row_shape = selection.store.header.segments[0].x.row_shape
    shape = selection.view.cut.x_shape(row_shape)
    if shape[:-1] in ((), (1,)) and len(row_shape) > 0:
        raise SampleError(
            f"stats='sample' scales each channel of a sample by its own statistics, but these "
            f"samples, of shape {shape}, have one value a channel; use stats='subject' or "
            "samples.stats()."
        )


# NaN --------------------------------------------------------------------------------------


def may_hold_nan(selection: Selection, nan: OnNan, *, skips_damage: bool = False) -> bool:
    """Return whether batches of these samples may hold NaN, by what the conversion counted.

    Parameters
    ----------
    nan : str
        "error": none may; recordings that hold some are read until one is found.
    skips_damage : bool
        What cannot be read is left out.

    Raises
    ------
    SampleError
        That names the first sample with NaN, if these may hold none.
    """
    check_nan(nan)
    store = selection.store
    if store.dtype.kind != "f":
        return False
    holds = (store.catalog.moments.nan_count > 0).any(axis=1) & (selection.per_recording > 0)
    if not holds.any():
        return False
    if nan != "keep":
        some, names = selection.of_recordings(holds), store.header.channels
        refuse_nan(some.reader, store.catalog, names, nan=nan, skips_damage=skips_damage)
    return nan != "error"


def refuse_infinite_samples(
    selection: Selection, scaling: Scaling | None, *, skips_damage: bool
) -> None:
    """Refuse infinite values where each sample is scaled by its own: all of it would be NaN.

    Statistics of more than one sample refuse them when they are made. Nothing is read where the
    conversion found none.

    Raises
    ------
    SampleError
        That names the first sample with one.
    """
    store = selection.store
    if scaling is None or scaling.per != "sample" or store.dtype.kind != "f":
        return
    moments = store.catalog.moments
    is_infinite = (moments.count > 0) & (np.isinf(moments.min) | np.isinf(moments.max))
    holds = is_infinite.any(axis=1) & (selection.per_recording > 0)
    if holds.any():
        some, names = selection.of_recordings(holds), store.header.channels
        refuse_infinite(some.reader, store.catalog, names, skips_damage=skips_damage)
