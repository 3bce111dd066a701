"""What was understood of sources, and what a store holds, in plain words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.conversion.prepare import Prepared
from zarrts.labels.scheme import LabelCounter, LabelScheme
from zarrts.reading.memory import window_amplification
from zarrts.selection import Samples
from zarrts.sizes import format_budget, format_size, parse_size
from zarrts.sources import LINE_OF_A_TABLE
from zarrts.splits.disjoint import Split
from zarrts.study import Store
from zarrts.types import IntArray, Label

_FEW_PERCENT = 10
_MAX_NAMES = 12
_MAX_LACKS = 3
_FEW_FILES = 4
_FEW_RECORDINGS, _FEW_LABELS = 100, 10_000
_BUDGETS = ("128MiB", "512MiB")
_MUCH = 1.15
_LABELLED = {"recording": "recording", "row": "time step"}


def describe_plan(prepared: Prepared) -> list[str]:
    """Return what a conversion would do, one sentence a line."""
    recordings, layout = prepared.recordings, prepared.layout
    subjects = list(dict.fromkeys(it.subject for it in recordings))
    dtypes = sorted({it.x.dtype.name for it in recordings})
    dtype = " and ".join(dtypes)
    if dtypes != [layout.dtype.name]:
        dtype += f" -> {layout.dtype.name}"
    names = [
        f"x {_name([it.x_name for it in recordings])}",
        f"y {_name([it.y_name for it in recordings])}",
    ]
    width = max(len(name) for name in names) + 2
    number = {subject: i for i, subject in enumerate(subjects)}
    owners = np.array([number[it.subject] for it in recordings])
    labels = _describe_scheme(prepared.labels, prepared.counters, owners, subjects)
    label_shape = recordings[0].y.shape[1:]
    if prepared.labels.encoding == "numbers" and prepared.labels.class_names is None:
        labels += _describe_whole(prepared)
    if label_shape and prepared.labels.encoding != "one_hot":
        labels += f", of shape {label_shape} each"
    if prepared.is_ragged:
        labels += f"; one for each {_LABELLED[prepared.labels_per]}"
    lines = [
        _describe_files(prepared, subjects),
        *_describe_kinds(prepared),
        f"{names[0]:{width}}{_describe_samples(prepared)}, {dtype}",
        f"{names[1]:{width}}{labels}",
        *_describe_passed_over(prepared.passed_over),
        f"reads {format_size(prepared.source_bytes)}, "
        f"writes about {format_size(prepared.stored_bytes)}{_describe_room(prepared)}, "
        f"memory {format_budget(prepared.options.memory_bytes)}, about "
        f"{_duration(prepared.seconds)}",
    ]
    return lines + [f"Warning: {warning}" for warning in prepared.warnings]


def next_lines(store: str, prepared: Prepared) -> list[str]:
    """Return code that trains on a store; of recordings of unequal lengths, on windows of them."""
    samples = f'zarrts.open("{Path(store).as_posix()}").samples'
    lines = ["import zarrts"]
    if prepared.is_ragged:
        length = min(200, *(it.x.shape[0] or 200 for it in prepared.recordings))
        label = ', label="last"' if prepared.labels_per == "row" else ""
        lines.append(f"windows = {samples}.windows({length}, stride={max(1, length // 2)}{label})")
        samples = "windows"
    if len({it.subject for it in prepared.recordings}) > 1:
        lines.append(f"train, test = {samples}.split(test=1)")
    else:
        lines.append(f"train = {samples}")
    sequence = "zarrts.ZarrSequence(train, batch_size=32, stats=train.stats())"
    return [*lines, f"model.fit({sequence}, epochs=10)"]


def _describe_room(prepared: Prepared) -> str:
    free = prepared.free_bytes
    return "" if free is None else f" ({format_size(free)} free)"


def _describe_files(prepared: Prepared, subjects: Sequence[str]) -> str:
    recordings = prepared.recordings
    n_files = len({path for it in recordings for path in it.paths})
    one, many, found = "file", "files", _count(n_files, "file")
    if all(it.found == LINE_OF_A_TABLE for it in recordings):
        one, many = "line", "lines"
        found = f"{_count(len(recordings), one)} of a table, {found}"
    elif n_files == 2 * len(recordings) and all(len(it.paths) == 2 for it in recordings):
        one, many, found = "pair", "pairs", f"{_count(len(recordings), 'pair')} of files"
    elif n_files != len(recordings):
        one, many = "recording", "recordings"
        n_recordings = _count(len(recordings), one)
        found = f"{found}, {n_recordings}" if n_files else n_recordings
    head = f"{found} -> {_count(len(subjects), 'subject')}"
    if not prepared.has_subjects_given:
        return f"{head} (one {one} each). Several {many} per person? --subject REGEX"
    n_each = Counter(it.subject for it in recordings)
    shown = [f"{name} ({_count(n_each[name], one)})" for name in subjects[:_MAX_NAMES]]
    more = f", and {len(subjects) - _MAX_NAMES} more" if len(subjects) > _MAX_NAMES else ""
    return f"{head}: {', '.join(shown)}{more}"


def _describe_kinds(prepared: Prepared) -> list[str]:
    kinds = Counter(it.found for it in prepared.recordings if it.found)
    if not kinds:
        return []
    if len(kinds) == 1:
        return [f"each is {next(iter(kinds))}"]
    return ["; ".join(f"{count:,} times {kind}" for kind, count in kinds.most_common())]


def _describe_whole(prepared: Prepared) -> str:
    """Return how to make classes of labels that look like some, though they are floats."""
    found: set[float] = set()
    for rows in (it.y for it in prepared.recordings[:_FEW_RECORDINGS]):
        if rows.dtype.kind != "f" or len(rows.shape) != 1:
            return ""
        found.update(rows.read(0, min(_FEW_LABELS, rows.shape[0])).tolist())
        rows.close()
        if len(found) > _MAX_NAMES or not all(it.is_integer() for it in found):
            return ""
    return f"; if they are classes: --class-names {','.join(f'{it:.0f}' for it in sorted(found))}"


def _describe_passed_over(paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    if len(paths) <= _FEW_FILES:
        return [f"passed over  {', '.join(paths)}"]
    kinds = Counter(Path(path).suffix.lower() or "without suffix" for path in paths)
    return [
        f"passed over  {', '.join(f'{n:,} {kind}' for kind, n in kinds.most_common(_MAX_NAMES))}"
    ]


def _name(names: Sequence[str]) -> str:
    return repr(names[0]) if len(set(names)) == 1 else f"{names[0]!r} ..."


def _describe_samples(prepared: Prepared) -> str:
    layout = prepared.layout
    if not prepared.is_ragged:
        return f"{layout.n_rows:,} samples, {describe_shape(layout.row_shape)}"
    lengths = _lengths(np.array([it.x.shape[0] for it in prepared.recordings]))
    n_recordings = _count(len(prepared.recordings), "recording")
    return f"{n_recordings} {describe_lengths(lengths, layout.row_shape)}"


def _lengths(n_rows: IntArray) -> dict[str, int]:
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
        wide = _count(row_shape[0], "channel")
    low, high = lengths["shortest"], lengths["longest"]
    if low == high:
        return f"of {_count(low, 'time step')} x {wide}"
    return f"of {low:,} to {high:,} time steps (median {lengths['median']:,}) x {wide}"


def describe_shape(sample_shape: tuple[int, ...]) -> str:
    """Return a sample's shape in words."""
    if len(sample_shape) == 2:
        time, channels = sample_shape
        return f"{_count(time, 'time step')} x {_count(channels, 'channel')}"
    if len(sample_shape) == 1:
        return _count(sample_shape[0], "value")
    return " x ".join(str(length) for length in sample_shape) or "single values"


def _describe_scheme(
    scheme: LabelScheme,
    counters: Sequence[LabelCounter],
    owners: IntArray,
    subjects: Sequence[str],
) -> str:
    if scheme.parts:
        parts = {
            name: _describe_scheme(it, [one.parts[name] for one in counters], owners, subjects)
            for name, it in scheme.parts.items()
        }
        return " | ".join(f"{name}: {text}" for name, text in parts.items())
    counts = None
    if scheme.class_names is not None:
        counts = np.stack([scheme.counts_by_class(it) for it in counters])
    text = describe_labels(scheme.class_names, counts, owners, subjects)
    if scheme.class_names is None:
        text += f", {scheme.dtype.name}"
    return f"{text}; one-hot" if scheme.encoding == "one_hot" else text


def describe_labels(
    names: Sequence[Label] | None,
    counts: IntArray | None,
    owners: IntArray,
    subjects: Sequence[str],
) -> str:
    """Return classes, the rare ones, and who lacks which; `owners` is each row's subject."""
    if names is None or counts is None:
        return "numbers"
    parts = [_classes(names)]
    shares = 100 * counts.sum(axis=0) / max(1, counts.sum())
    rare = int(shares.argmin())
    if shares[rare] < _FEW_PERCENT and len(names) > 1:
        parts.append(
            f"{names[rare]} {shares[rare]:.0f} %"
            if shares[rare] >= 0.5
            else f"{names[rare]} below 1 %"
        )
    per_subject = np.zeros((len(subjects), len(names)), np.int64)
    np.add.at(per_subject, owners, counts)
    lacks = np.argwhere(per_subject == 0)
    parts += [f"{subjects[s]} has no {names[c]}" for s, c in lacks[:_MAX_LACKS]]
    if len(lacks) > _MAX_LACKS:
        parts.append(f"and {len(lacks) - _MAX_LACKS} more such gaps")
    return "; ".join(parts)


def _classes(names: Sequence[Label]) -> str:
    some = " ".join(str(name) for name in names[:_MAX_NAMES])
    more = " ..." if len(names) > _MAX_NAMES else ""
    return f"{_count(len(names), 'class', 'classes')} {some}{more}"


def describe_label_arrays(arrays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each array of labels that `summarize` found."""
    width = max(len(name) for name in arrays)
    lines = []
    for name, of in arrays.items():
        names = of["class_names"]
        text = f"numbers, {of['dtype']}" if names is None else _classes(names)
        shape = f", of shape {tuple(of['shape'])} each" if of["shape"] else ""
        lines.append(f"{name:{width}}  {text}{shape}")
    return lines


def _label_arrays(store: Store) -> dict[str, dict[str, Any]]:
    labels = store.header.labels
    return {
        array.removeprefix("y/"): {
            "class_names": scheme.class_names and list(scheme.class_names),
            "encoding": scheme.encoding,
            "dtype": spec.dtype.name,
            "shape": list(spec.row_shape),
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
    lengths = _lengths(np.diff(catalog.row_starts)) if store.is_ragged else None
    return {
        "path": store.path,
        "version": store.version,
        "kind": store.kind,
        "n_samples": store.n_samples,
        "sample_shape": list(store.sample_shape),
        "lengths": lengths,
        "dtype": store.dtype.name,
        "labels_per": store.header.labels_per,
        "class_names": store.class_names,
        "labels": _label_arrays(store),
        "channels": store.channels,
        "rate_hz": store.rate_hz,
        "subjects": dict(zip(catalog.subjects, sizes.tolist(), strict=True)),
        "class_counts": per_subject,
        "n_unlabelled": store.samples.n_unlabelled,
        "raw_bytes": sum(it.n_rows * it.x.row_bytes for it in store.header.segments),
        "stored_bytes": sum(it.stored_bytes for it in store.header.segments),
        "window_amplification": _window_costs(store),
        "chunk_samples": [it.x.chunk_rows for it in store.header.segments],
        "reads_directly": all(it.is_direct for it in store.readers.x),
    }


def _window_costs(store: Store) -> dict[str, float] | None:
    """Return what is decoded for each byte that windows use, by memory budget."""
    if not store.is_ragged:
        return None
    reader = store.samples.reader
    chunk_bytes = reader.units.chunk_rows * reader.unit_row_bytes
    return {
        memory: round(window_amplification(parse_size(memory, "memory"), chunk_bytes), 3)
        for memory in _BUDGETS
    }


def describe_windows(costs: Mapping[str, float]) -> str:
    """Return what windows in a random order cost to read, and the remedy where it is much."""
    shown = ", ".join(f"{cost:.3g} times with memory {it}" for it, cost in costs.items())
    text = f"in random order, bytes decoded for each byte of theirs: {shown}"
    if max(costs.values()) > _MUCH:
        text += "; a smaller --chunk lowers that"
    return text


def describe_split(split: Split[Samples]) -> dict[str, dict[str, Any]]:
    """Return who is in each part of a split, and what reading it costs."""
    return {
        name: {
            "n_samples": len(part),
            "subjects": part.subjects,
            "amplification": part.amplification,
        }
        for name, part in zip(split.names, split, strict=True)
    }


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
