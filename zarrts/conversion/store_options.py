"""Stores that are sources, and options of their conversion: what is not said is as in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.pack_option import Pack
from zarrts.errors import SourceError
from zarrts.sources.option_records import description_from
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.step_lists import with_further
from zarrts.sources.step_options import Step
from zarrts.sources.step_records import described_steps, recorded_steps, steps_from_recorded
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment
from zarrts.storage.store import StoreHeader
from zarrts.types import Label

_ABOUT_FILES = ("x", "y", "axes", "label_every", "annotations", "missing_chunks")
_KEPT = ("x", "y", "axes", "folders", "channels", "units", "rate_hz", "annotations")


@dataclass(frozen=True)
class SourceStore:
    """A store that is a source.

    Attributes
    ----------
    name : str
        What it is called in messages, and before the names of its subjects.
    root : Location
    header : StoreHeader
    """

    name: str
    root: Location
    header: StoreHeader


def _options_of(segment: Segment) -> SourceOptions:
    """Return the options that a segment was made with, but for its steps."""
    return SourceOptions.from_recorded({**segment.options, "steps": ()})


def steps_taken(segment: Segment) -> tuple[Step, ...]:
    """Return the steps that rows of a segment are after; no function is looked for, or called."""
    recorded = segment.options.get("steps", ())
    maps = (it["function"]["path"] for it in recorded if "function" in it)
    return steps_from_recorded(recorded, dict.fromkeys(maps, _is_not_called))


def _is_not_called(*_: Any) -> None:
    raise AssertionError("a step that was taken already is taken again")


def options_for(
    options: ConvertOptions, stores: Sequence[SourceStore], *, is_all: bool
) -> ConvertOptions:
    """Return options of a conversion of stores: what is not said is as in them.

    Parameters
    ----------
    is_all : bool
        There are no sources but stores.

    Raises
    ------
    SourceError
        If an option is about files, and there are none.
    """
    if not stores:
        return options
    kinds = {it.header.kind for it in stores}
    kind = kinds.pop() if options.kind == "auto" and len(kinds) == 1 else options.kind
    options = _after_steps_of(stores, replace(options, kind=kind), is_all=is_all)
    if not is_all:
        return options
    then = _options_of(stores[0].header.segments[0])
    # Another look at a study that was scanned brings those of the stores with it.
    said = [it for it in _ABOUT_FILES if getattr(options, it) not in (None, getattr(then, it))]
    if said or options.folders not in ("auto", then.folders):
        name = said[0] if said else "folders"
        raise SourceError(
            f"{name}= is about files, but {', '.join(it.name for it in stores)} are stores; leave "
            "it out."
        )
    if isinstance(then.rate_hz, Mapping):  # of labels, the store has its own
        then = replace(then, rate_hz={it: of for it, of in then.rate_hz.items() if it != "y"})
    kept: dict[str, Any] = {
        name: getattr(then, name)
        for name in _KEPT
        if getattr(options, name) in (None, "auto") and name != "folders"
    }
    return replace(
        options,
        **kept,
        folders=then.folders,
        dtype="keep" if options.dtype == "auto" else options.dtype,
        pack=_pack_option(options, stores),
        class_names=options.class_names or _class_names(stores),
    )


def _after_steps_of(
    stores: Sequence[SourceStore], options: ConvertOptions, *, is_all: bool
) -> ConvertOptions:
    """Return options with the steps of stores before those that are given.

    Raises
    ------
    SourceError
        If stores have other steps than each other, or channels are chosen that steps were taken on.
    """
    every = {it.name: steps_taken(it.header.segments[0]) for it in stores}
    taken = every[stores[0].name]
    if any(it != taken for it in every.values()):
        shown = ", ".join(
            f"{name} ({'; '.join(described_steps(recorded_steps(it))) or 'none'})"
            for name, it in every.items()
        )
        raise SourceError(
            f"{', '.join(every)}: were made with other steps than each other: {shown}; rows that "
            "mean the same are after the same steps: convert the files that they were made from."
        )
    if not taken or options.before_steps is not None:
        return options
    said = [it for it in ("channels", "units", "rate_hz") if getattr(options, it) is not None]
    if said and is_all:
        raise SourceError(
            f"{said[0]}= is about rows before the steps of {', '.join(every)}; leave it out, and "
            "choose channels by a step, such as steps=[('pick', ['C3'])] (--step 'pick C3')."
        )
    recorded = stores[0].header.segments[0].options
    if not is_all:  # steps are taken on files beside them
        taken = SourceOptions.from_recorded(recorded).steps
    before = description_from(recorded.get("before_steps"))
    values = stores[0].header.segments[0].x_values.dtype
    dtypes = {
        name: (values[name].base if name else values).name
        for name in stores[0].header.segments[0].inputs
    }
    steps = with_further(taken, options.steps, taken, dtypes)
    return replace(options, steps=steps, before_steps=before)


def _pack_option(options: ConvertOptions, stores: Sequence[SourceStore]) -> Pack:
    """Return how inputs are packed: as in the first store that is, unless somebody says it."""
    packed = (seg for it in stores for seg in it.header.segments if seg.packed)
    first = next(packed, None)
    if options.pack != "auto" or first is None:
        return options.pack
    found: Pack = first.options.get("pack", "auto")
    return found


def _class_names(stores: Sequence[SourceStore]) -> tuple[str | int, ...] | None:
    """Return the classes of all stores, those of the first one first, in their order."""
    schemes = [it.header.labels for it in stores]
    if any(it.parts or it.class_names is None or it.encoding == "one_hot" for it in schemes):
        return None
    names: list[Label] = [name for it in schemes for name in it.class_names or ()]
    if any(isinstance(name, bool) for name in names) or len({type(it) for it in names}) != 1:
        return None
    return tuple(dict.fromkeys(names))
