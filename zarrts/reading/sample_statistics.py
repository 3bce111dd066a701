"""Statistics of samples: a merge of what is stored for whole recordings, a pass over the others."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.reading.chunk_pass import measure_samples, sketch_samples
from zarrts.reading.nans import OnNan, check_nan, refuse_infinite, refuse_nan
from zarrts.reading.sample_reader import SampleInput
from zarrts.reading.selection import Selection
from zarrts.stats.moments import Moments, merge_all, pool, pool_by
from zarrts.stats.scaling import Scaling
from zarrts.stats.sketches import Sketch
from zarrts.stats.statistics import CountScale, Linear, Scale, Statistics, check_scale
from zarrts.types import IntArray

OneStats = Moments | Scaling | Literal["subject", "sample"]
Stats = OneStats | Mapping[str, OneStats | None]
Scales = Scale | Mapping[str, Scale]


def statistics_of(selection: Selection) -> dict[str, Statistics]:
    """Return count, mean, std, min, max and quantiles per channel of exactly these samples.

    What each promises stands at `Samples.stats`; here they are by the name of the input.

    Raises
    ------
    SampleError
        If there are no samples.
    """
    return {name: statistics_of_input(selection, name) for name in channels_of(selection)}


def channels_of(selection: Selection) -> Mapping[str, slice]:
    """Return the channels of each input, among those of all as the table counts them."""
    return selection.store.header.segments[0].channel_slices


def statistics_of_input(selection: Selection, name: str) -> Statistics:
    """Return the statistics of one input.

    Raises
    ------
    SampleError
        If there are no samples.
    """
    if len(selection) == 0:
        raise SampleError("The selection holds no samples.")
    whole, partial = selection.whole_and_partial()
    kept = selection.store.catalog.moments.channels(channels_of(selection)[name])
    parts = [pool(kept.row(whole))] if len(whole) else []
    if partial is not None:
        parts.append(measure_samples(partial.reader, partial.reader.input(name)))
    return Statistics.with_sketch(
        merge_all(parts),
        functools.partial(_sketch, selection, name, whole, partial),
        functools.partial(scale_of_counts, selection, name),
    )


def scale_of_counts(selection: Selection, name: str) -> CountScale | None:
    """Return gain and offset of each channel of an input of counts; None of one of values.

    Raises
    ------
    SampleError
        If they are not the same throughout the store.
    """
    store = selection.store
    if not any(name in it.packed for it in store.header.segments):
        return None
    is_whole = selection.reader.input(name).are_counts
    found = store.readers.tables.packing(name).of_all if is_whole else None
    if found is None:
        of_input = f" of {name}" if name else ""
        raise SampleError(
            f"Batches of dtype='stored' are 16-bit counts here, but recordings{of_input} of this "
            "store have several gains or offsets for one channel, or are stored as values in part; "
            "leave dtype= and stored= out."
        )
    return found


def _sketch(selection: Selection, name: str, whole: IntArray, partial: Selection | None) -> Sketch:
    parts = []
    if len(whole):
        kept = selection.store.catalog.sketch(whole, channels_of(selection)[name])
        reader = selection.of_recordings(whole).reader
        parts.append(kept or sketch_samples(reader, reader.input(name)))
    if partial is not None:
        parts.append(sketch_samples(partial.reader, partial.reader.input(name)))
    return Sketch.joined(parts)


# Scaling ----------------------------------------------------------------------------------


def scalings_of(
    selection: Selection, stats: Stats | None, scale: Scales = "standard"
) -> dict[str, Scaling | None]:
    """Return how each input of these samples is scaled; see `BatchOptions`.

    Parameters
    ----------
    stats : Moments, "subject", "sample", Scaling or None, or a mapping of these by input
        Inputs that a mapping does not name are not scaled.
    scale : str, or a mapping by input

    Raises
    ------
    SampleError
        If a name is not that of an input, or as for `scaling_of`.
    """
    names = [*channels_of(selection)]
    of_stats = by_input("stats", stats, names, None)
    chosen = by_input("scale", scale, names, "standard")
    # A scale that is meant for other inputs asks nothing of one that is not scaled.
    is_for_some = isinstance(stats, Mapping)
    for name in names:
        if is_for_some and of_stats[name] is None:
            chosen[name] = "standard"
    return {name: scaling_of(selection, of_stats[name], chosen[name], name) for name in names}


def by_input(option: str, given: Any, names: Sequence[str], default: Any) -> dict[str, Any]:
    """Return an option for each input, which may be given for all, or by name.

    Raises
    ------
    SampleError
        If there is no such input; names both sides.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    if names == [""]:
        raise SampleError(
            f"{option}= names the inputs {', '.join(map(str, given))}, but these samples have one "
            "input without a name; give its value alone."
        )
    unknown = [str(name) for name in given if name not in names]
    if unknown:
        raise SampleError(
            f"{option}= names {', '.join(unknown)}, but the inputs are {', '.join(names)}."
        )
    return {name: given.get(name, default) for name in names}


def scaling_of(
    selection: Selection, stats: OneStats | None, scale: Scale = "standard", name: str = ""
) -> Scaling | None:
    """Return how one input of these samples is scaled; what each means stands at `BatchOptions`.

    Parameters
    ----------
    stats : Moments, "subject", "sample", Scaling or None
        A Scaling is that of other samples: each subject that it knows stays as it is there.
    name : str
        Of the input.

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
            _refuse_single_steps(selection, name)
        if stats.linear is not None:
            _refuse_channels(selection, name, stats.linear.shift.shape[-1])
        is_own = stats.per == "subject"
        return _per_subject(selection, name, stats.scale, stats) if is_own else stats
    if isinstance(stats, Moments):
        _refuse_channels(selection, name, stats.mean.shape[-1])
        return Scaling(scale=scale, per="all", linear=Linear.of(stats, scale))
    if isinstance(stats, str) and stats == "subject":
        return _per_subject(selection, name, scale, None)
    if isinstance(stats, str) and stats == "sample":
        _refuse_single_steps(selection, name)
        return Scaling(scale=scale, per="sample")
    raise SampleError(
        f"stats={stats!r} is unknown; give samples.stats() of the training part, 'subject' or "
        "'sample'."
    )


def _per_subject(
    selection: Selection, input_name: str, scale: Scale, known: Scaling | None
) -> Scaling:
    origin = selection.store.header.segments[0].write_id
    rows: dict[str, Linear] = {}
    if known is not None and known.linear is not None and known.origin == origin:
        rows = {name: known.linear.row(i) for i, name in enumerate(known.subjects)}
    new = [name for name in selection.subjects if name not in rows]
    rows.update(_linear_by_subject(selection, input_name, new, scale) if new else {})
    return Scaling(
        scale=scale,
        per="subject",
        linear=Linear.stack(list(rows.values())),
        subjects=tuple(rows),
        origin=origin,
    )


def _linear_by_subject(
    selection: Selection, input_name: str, names: Sequence[str], scale: Scale
) -> dict[str, Linear]:
    """Return how each of some subjects is scaled by its own samples."""
    catalog = selection.store.catalog
    whole, partial = selection.whole_and_partial()
    if partial is not None:
        own = {name: selection.of_recordings(catalog.recordings_of(name)) for name in names}
        return {
            name: Linear.of(statistics_of_input(it, input_name), scale) for name, it in own.items()
        }
    numbers = np.full(len(catalog.subjects), -1)
    numbers[[catalog.codes[name] for name in names]] = np.arange(len(names))
    numbers = numbers[catalog.subject_codes[whole]]
    whole, numbers = whole[numbers >= 0], numbers[numbers >= 0]
    own_moments = catalog.moments.channels(channels_of(selection)[input_name])
    moments = pool_by(own_moments.row(whole), numbers)
    if scale != "robust":
        linear = Linear.of(moments, scale)
        return {name: linear.row(i) for i, name in enumerate(names)}
    edges = np.cumsum(np.bincount(numbers))[:-1]
    recordings = np.split(whole[np.argsort(numbers, kind="stable")], edges)

    def of_subject(number: int) -> Linear:
        def sketch() -> Sketch:
            return _sketch(selection, input_name, recordings[number], None)

        return Linear.of(Statistics.with_sketch(moments.row(number), sketch), scale)

    return {name: of_subject(number) for number, name in enumerate(names)}


def _refuse_channels(selection: Selection, name: str, n_channels: int) -> None:
    expected = selection.reader.input(name).n_channels
    if n_channels != expected:
        of_input = f" in {name}" if name else ""
        raise SampleError(
            f"stats are of {n_channels} channels, but these samples have {expected}{of_input}; "
            "take them from samples of the same store."
        )


def _refuse_single_steps(selection: Selection, name: str) -> None:
    one = selection.reader.input(name)
    shape = one.shape
    if shape[:-1] in ((), (1,)) and (len(one.spec.row_shape) > 0 or not one.steps):
        of_input = f" of {name}" if name else ""
        raise SampleError(
            f"stats='sample' scales each channel of a sample by its own statistics, but these "
            f"samples{of_input}, of shape {shape}, have one value a channel; use stats='subject' "
            "or samples.stats()."
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
    found = [
        _input_may_hold_nan(selection, one, nan, skips_damage=skips_damage)
        for one in selection.reader.inputs_read
    ]
    return any(found)


def _input_may_hold_nan(
    selection: Selection, one: SampleInput, nan: OnNan, *, skips_damage: bool
) -> bool:
    store = selection.store
    if one.spec.dtype.kind != "f":
        return False
    channels = channels_of(selection)[one.name]
    counts = store.catalog.moments.nan_count[:, channels]
    holds = (counts > 0).any(axis=1) & (selection.per_recording > 0)
    if not holds.any():
        return False
    if nan != "keep":
        some, names = selection.of_recordings(holds), _names_of(selection, one)
        refuse_nan(
            some.reader, one, store.catalog, names, channels, nan=nan, skips_damage=skips_damage
        )
    return nan != "error"


def _names_of(selection: Selection, one: SampleInput) -> tuple[str, ...] | None:
    return selection.store.header.description.of_inputs[one.name].channels


def refuse_infinite_samples(
    selection: Selection, scalings: Mapping[str, Scaling | None], *, skips_damage: bool
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
    for one in selection.reader.inputs:
        scaling = scalings[one.name]
        if scaling is None or scaling.per != "sample" or one.spec.dtype.kind != "f":
            continue
        moments = store.catalog.moments.channels(channels_of(selection)[one.name])
        is_infinite = (moments.count > 0) & (np.isinf(moments.min) | np.isinf(moments.max))
        holds = is_infinite.any(axis=1) & (selection.per_recording > 0)
        if holds.any():
            some, names = selection.of_recordings(holds), _names_of(selection, one)
            refuse_infinite(some.reader, one, store.catalog, names, skips_damage=skips_damage)
