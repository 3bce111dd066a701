"""Say how samples are fed to a network, as a spec keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from zarrts.indexing.windows import picked_label
from zarrts.inputs import handed_out
from zarrts.keras.counted_inputs import CountedInputs
from zarrts.keras.input_spec import InputSpec
from zarrts.keras.spec import Spec, columns_of
from zarrts.labels.merges import Merges
from zarrts.loading.settings import Settings
from zarrts.loops.votes import majority
from zarrts.reading.selection import Selection
from zarrts.types import Label


def _named(merges: Merges, names: tuple[Label, ...]) -> tuple[tuple[Label, Label | None], ...]:
    return tuple(
        (old, names[code] if code >= 0 else None)
        for old, code in zip(merges.stored_names, merges.codes, strict=True)
    )


def spec_of(selection: Selection, settings: Settings) -> Spec:
    """Return how some samples are fed to a network."""
    options, header = settings.options, selection.store.header
    cut, padding = selection.view.cut, options.padding
    lengths, merges = settings.processing.lengths, selection.scheme.merges
    share, purity = None, 0.0
    if isinstance(cut.reduce, partial) and cut.reduce.func is majority:
        share, purity = (cut.reduce.keywords[name] for name in ("min_labelled", "purity"))
    picked = None
    if isinstance(cut.reduce, partial) and cut.reduce.func is picked_label:
        picked = cut.reduce.keywords["step"]
    is_known = cut.reduce is None or share is not None or picked is not None
    inputs = {
        it.name: InputSpec(
            row_shape=it.spec.row_shape,
            stored_dtype=it.spec.dtype.str,
            dtype=settings.processing.inputs[it.name].dtype.str,
            scaling=settings.scalings[it.name],
            channels=described.channels,
            units=described.units,
            rate_hz=described.rate_hz,
            by_hand=tuple(sorted(described.by_hand)),
            steps=it.steps,
            counts=CountedInputs.of(selection.store, it.name) if options.hands_out_stored else None,
        )
        for it in selection.choosing(options.inputs).reader.inputs
        for described in [header.description.of_inputs[it.name]]
    }
    # Of the only one, what is said stands where older versions look for it.
    one = inputs.get("", next(iter(inputs.values())))
    is_one = "" in inputs
    return Spec(
        class_names=selection.scheme.class_names,
        row_shape=one.row_shape if is_one else (),
        x_steps=None if cut.x_steps is None else cut.x_steps.tolist(),
        stored_dtype=one.stored_dtype,
        dtype=one.dtype,
        scaling=one.scaling if is_one else None,
        batch_size=options.batch_size,
        memory_bytes=options.memory_bytes,
        padding=None if padding is None else asdict(padding),
        has_mask=options.mask,
        nan=options.nan,
        channels=one.channels if is_one else None,
        missing=header.segments[0].options.get("missing"),
        units=one.units if is_one else None,
        rate_hz=one.rate_hz if is_one else None,
        lengths=None if lengths is None else lengths.choices,
        merges=None if merges is None else _named(merges, selection.scheme.class_names or ()),
        y_steps=None if cut.y_steps is None else cut.y_steps.tolist(),
        y_of=cut.y_of if is_known else None,
        majority=share,
        by_hand=one.by_hand if is_one else (),
        drops_bad=selection.view.drops_bad,
        inputs={} if is_one else inputs,
        is_alone=isinstance(options.inputs, str),
        picked=picked,
        label_steps=header.segments[0].label_steps,
        purity=purity,
        before=selection.view.before,
        columns=columns_of(header.segments[0].options.get("x")),
        time=header.segments[0].options.get("time"),
        counts=one.counts if is_one else None,
        **_steps_of(header.segments[0].options, [*inputs]),
    )


def _steps_of(told: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what a spec keeps of the steps that a store was made with, on some inputs."""
    steps = [it for it in told.get("steps", ()) if it.get("input", "") in names]
    if not steps:
        return {}
    before = told["before_steps"]
    channels = {
        name: _source_channels(told["channels"], before.get("parts", {}).get(name, before), some)
        for name in names
        if (some := [it for it in steps if it.get("input", "") == name])
    }
    return {
        "steps": steps,
        "before_steps": dict(before),
        "source_channels": handed_out(channels),
    }


def _source_channels(
    told: Any, before: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]
) -> tuple[str, ...] | None:
    """Return the channels of files that steps are taken on, where they have to be these."""
    # Those that are picked have other names in files; else the files' are the names before.
    picked = told.get(steps[0].get("input")) if isinstance(told, Mapping) else told
    channels = picked if steps[0]["step"] == "pick" else before["channels"]
    return None if channels is None else tuple(channels)
