"""Summarise a store, for people and for programs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zarrts.commands.wording import (
    count_lengths,
    describe_classes,
    describe_error,
    describe_lengths,
    describe_shape,
)
from zarrts.inputs import each_input, handed_out
from zarrts.loops import library
from zarrts.reading.memory_plan import window_amplification
from zarrts.sizes import format_count, format_size, parse_size
from zarrts.split import Split
from zarrts.storage.readers import InputReaders
from zarrts.store import Store

_BUDGETS = ("128MiB", "512MiB")
_MUCH = 1.15


def _label_arrays(store: Store) -> dict[str, dict[str, Any]]:
    labels = store.header.labels
    n_steps_axes = int(store.header.segments[0].label_steps > 1)
    return {
        array.removeprefix("y/"): {
            "class_names": scheme.class_names and list(scheme.class_names),
            "encoding": scheme.encoding,
            "dtype": spec.dtype.name,
            "shape": list(spec.row_shape[n_steps_axes:]),
        }
        for array, spec in store.header.segments[0].labels.items()
        for scheme in [labels.parts.get(array.removeprefix("y/"), labels)]
    }


def summarize(store: Store) -> dict[str, Any]:
    """Return what a store holds, as `zarrts info --json` prints it."""
    catalog = store.catalog
    counts = catalog.class_counts
    per_subject = None
    if counts is not None:
        summed = np.zeros((len(catalog.subjects), counts.shape[1]), np.int64)
        np.add.at(summed, catalog.subject_codes, counts)
        per_subject = dict(zip(catalog.subjects, summed.tolist(), strict=True))
    sizes = np.zeros(len(catalog.subjects), np.int64)
    np.add.at(sizes, catalog.subject_codes, np.diff(catalog.starts))
    lengths = count_lengths(np.diff(catalog.row_starts)) if store.is_ragged else None
    return {
        "path": store.path,
        "version": store.version,
        "kind": store.kind,
        "n_samples": store.n_samples,
        "sample_shape": each_input(store.sample_shape, list),
        "lengths": lengths,
        "dtype": each_input(store.dtype, lambda it: it.name),
        "labels_per": store.header.labels_per,
        "class_names": store.class_names,
        "labels": _label_arrays(store),
        "channels": store.channels,
        "rate_hz": store.rate_hz,
        "units": store.units,
        "steps": store.header.steps,
        "subjects": dict(zip(catalog.subjects, sizes.tolist(), strict=True)),
        "class_counts": per_subject,
        "n_unlabelled": store.samples.n_unlabelled,
        "packed": _packed(store),
        "raw_bytes": sum(it.n_rows * it.x_values.row_bytes for it in store.header.segments),
        "stored_bytes": sum(it.stored_bytes for it in store.header.segments),
        "window_amplification": _window_costs(store),
        "chunk_samples": [it.x.chunk_rows for it in store.header.segments],
        "reads_directly": all(it.is_direct for it in store.readers.x),
        "loops": library.describe(),
    }


def _packed(store: Store) -> dict[str, Any] | None:
    """Return how x is stored as 16-bit counts; None where all of it is stored as values.

    Of several inputs, by name, those that are packed.
    """
    found = {it.name: _packed_input(store, it) for it in store.readers.inputs}
    packed = {name: it for name, it in found.items() if it is not None}
    return handed_out(packed) if packed else None


def _packed_input(store: Store, one: InputReaders) -> dict[str, Any] | None:
    segments = store.header.segments
    packed = [it.packed[one.name] for it in segments if one.name in it.packed]
    if not packed:
        return None
    return {
        "n_parts": len(packed),
        "all": len(packed) == len(segments),
        "largest_error": max(it.error for it in packed),
        "has_one_scale": one.are_counts
        and store.readers.tables.packing(one.name).of_all is not None,
    }


def _window_costs(store: Store) -> dict[str, float] | None:
    """Return what is decoded for each byte that windows use, by memory budget."""
    if not store.is_ragged:
        return None
    reader = store.samples.selection.reader
    chunk_bytes = reader.units.chunk_rows * reader.unit_row_bytes
    return {
        memory: round(window_amplification(parse_size(memory, "memory"), chunk_bytes), 3)
        for memory in _BUDGETS
    }


def describe_store(store: str, summary: Mapping[str, Any]) -> list[str]:
    """Return what `summarize` found, but for the subjects, one thing a line."""
    n_samples = f"{summary['n_samples']:,},"
    if summary["lengths"] is not None:
        n_samples = format_count(summary["n_samples"], "recording")
    lines = [f"{store}, version {summary['version']}"]
    if isinstance(summary["dtype"], dict):
        lines.append(f"samples   {n_samples.removesuffix(',')}")
        lines += _lines_of_inputs(summary)
    else:
        what = f"{describe_sample(summary)}, {summary['dtype']}"
        lines.append(f"samples   {n_samples} {what}")
    if len(summary["labels"]) > 1:
        first, *rest = _describe_label_arrays(summary["labels"])
        lines += [f"labels    {first}", *(f"          {line}" for line in rest)]
    if summary["n_unlabelled"]:
        lines.append(
            f"no label  {format_count(summary['n_unlabelled'], 'sample')}, kept out of training"
        )
    if summary["channels"] and not isinstance(summary["channels"], dict):
        lines.append(f"channels  {', '.join(summary['channels'])}")
    if summary["units"] and not isinstance(summary["units"], dict):
        alike = list(dict.fromkeys(summary["units"]))
        units = alike if len(alike) == 1 else [it or "-" for it in summary["units"]]
        lines.append(f"units     {', '.join(units)}")
    if summary["rate_hz"] and not isinstance(summary["rate_hz"], dict):
        lines.append(f"rate      {summary['rate_hz']:g} Hz")
    if summary["steps"]:
        # What reads sources comes in with it, and most stores have none.
        from zarrts.sources.step_records import described_steps

        lines.append(f"steps     {'; '.join(described_steps(summary['steps']))}")
    if summary["packed"] and not isinstance(summary["dtype"], dict):
        lines.append(f"stored    {_describe_packed(summary['packed'])}")
    raw, stored = summary["raw_bytes"], summary["stored_bytes"]
    lines.append(f"size      {format_size(raw)} raw, {format_size(stored)} stored")
    piece = "samples" if summary["lengths"] is None else "time steps"
    way = "straight into memory" if summary["reads_directly"] else "through zarr-python, slower"
    lines.append(f"reading   {way}, {summary['chunk_samples'][0]:,} {piece} at a time")
    lines.append(f"loops     {summary['loops']}")
    if summary["window_amplification"]:
        lines.append(f"windows   {describe_windows(summary['window_amplification'])}")
    lines += [
        f"{name:9} {format_count(part['n_samples'], 'sample')} of "
        f"{format_count(len(part['subjects']), 'subject')}; reading "
        f"them decodes {part['amplification']:.3g} times their size"
        for name, part in summary.get("split", {}).items()
    ]
    return lines


def _describe_packed(packed: Mapping[str, Any]) -> str:
    which = "" if packed["all"] else f", {format_count(packed['n_parts'], 'part')} of the store"
    return f"in 16 bits{describe_error(packed['largest_error'])}{which}"


def describe_inputs(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return shape, dtype, rate and channels of each of several inputs, by name."""
    found = {}
    for name, dtype in summary["dtype"].items():
        shape = [it for it in summary["sample_shape"][name] if it is not None]
        what = describe_shape(tuple(shape))
        if len(shape) < len(summary["sample_shape"][name]):
            wide = format_count(shape[0], "channel") if len(shape) == 1 else what
            what = f"time steps x {wide}"
        rate, channels = summary["rate_hz"][name], summary["channels"][name]
        packed = (summary["packed"] or {}).get(name)
        stored = _describe_packed(packed) if packed else ""
        parts = [what, dtype, stored, f"{rate:g} Hz" if rate else "", ", ".join(channels or ())]
        found[name] = ", ".join(filter(None, parts))
    return found


def _lines_of_inputs(summary: Mapping[str, Any]) -> list[str]:
    width = max(map(len, summary["dtype"]))
    described = describe_inputs(summary).items()
    lines = [f"{name:{width}}  {line}" for name, line in described]
    return [f"{'' if i else 'inputs':9} {line}" for i, line in enumerate(lines)]


def describe_sample(summary: Mapping[str, Any]) -> str:
    """Return the shape of a sample in words; of recordings, how long they are."""
    lengths, shape = summary["lengths"], tuple(summary["sample_shape"])
    return describe_shape(shape) if lengths is None else describe_lengths(lengths, shape[1:])


def _describe_label_arrays(arrays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each array of labels that `summarize` found."""
    width = max(len(name) for name in arrays)
    lines = []
    for name, of in arrays.items():
        names = of["class_names"]
        text = f"numbers, {of['dtype']}" if names is None else describe_classes(names)
        shape = f", of shape {tuple(of['shape'])} each" if of["shape"] else ""
        lines.append(f"{name:{width}}  {text}{shape}")
    return lines


def describe_windows(costs: Mapping[str, float]) -> str:
    """Return what windows in a random order cost to read, and the remedy where it is much."""
    shown = ", ".join(f"{cost:.3g} times with memory {it}" for it, cost in costs.items())
    text = f"in random order, bytes decoded for each byte of theirs: {shown}"
    if max(costs.values()) > _MUCH:
        text += "; a smaller --chunk lowers that"
    return text


def describe_split(split: Split) -> dict[str, dict[str, Any]]:
    """Return who is in each part of a split, and what reading it costs."""
    return {
        name: {
            "n_samples": len(part),
            "subjects": part.subjects,
            "amplification": part.amplification,
        }
        for name, part in zip(split.names, split, strict=True)
    }
