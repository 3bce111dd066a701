"""Describe in plain words what was found in sources."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.commands.wording import (
    MAX_NAMES,
    count_lengths,
    describe_classes,
    describe_error,
    describe_lengths,
    describe_shape,
)
from zarrts.conversion.prepared import Prepared
from zarrts.conversion.understanding import Understood
from zarrts.labels.counting import LabelCounter
from zarrts.labels.scheme import LabelScheme
from zarrts.lists import listed
from zarrts.sizes import format_budget, format_count, format_size
from zarrts.sources import LINE_OF_A_TABLE, every_of, steps_of
from zarrts.sources.step_options import Clean
from zarrts.types import IntArray, Label, RowReader

Understanding = Prepared | Understood

_FEW_PERCENT = 10
_MAX_LACKS = 3
_MAX_MASKED = 8
_FEW_FILES = 4
_FEW_RECORDINGS, _FEW_LABELS = 100, 10_000
_LABELLED = {"recording": "recording", "row": "time step"}


def describe_plan(prepared: Prepared) -> list[str]:
    """Return what a conversion would do, one sentence a line."""
    return [
        *_describe_content(prepared),
        f"reads {format_size(prepared.source_bytes)}, "
        f"writes about {format_size(prepared.stored_bytes)}{_describe_room(prepared)}, "
        f"memory {format_budget(prepared.options.memory_bytes)}, about "
        f"{_duration(prepared.seconds)}",
        *(f"Warning: {warning}" for warning in prepared.warnings),
    ]


def describe_study(study: Understood) -> list[str]:
    """Return what would be stored of a study, one sentence a line."""
    raw_bytes = study.layout.n_rows * study.layout.row_bytes
    return [
        *_describe_content(study),
        f"reads {format_size(study.source_bytes)}, {format_size(raw_bytes)} as arrays; nothing is "
        "read or written yet",
        *(f"Warning: {warning}" for warning in study.warnings),
    ]


def _describe_content(prepared: Understanding) -> list[str]:
    recordings, layout = prepared.recordings, prepared.layout
    subjects = list(dict.fromkeys(it.subject for it in recordings))
    dtype = ""
    if layout.dtype.names is None:
        dtype = _describe_dtype([it.x.dtype for it in recordings], layout.dtype)
        dtype += _describe_packing(prepared, "")
    names = [
        f"x {_name([it.x_name for it in recordings])}",
        f"y {_name([it.y_name for it in recordings])}",
    ]
    width = max(len(name) for name in names) + 2
    number = {subject: i for i, subject in enumerate(subjects)}
    owners = np.array([number[it.subject] for it in recordings])
    labels = _describe_scheme(prepared.labels, prepared.counters, owners, subjects)
    label_shape = recordings[0].y.shape[1 + (recordings[0].label_steps > 1) :]
    if prepared.labels.encoding == "numbers" and prepared.labels.class_names is None:
        labels += _describe_whole(prepared)
    if label_shape and prepared.labels.encoding != "one_hot":
        labels += f", of shape {label_shape} each"
    if prepared.is_ragged:
        labels += f"; one for each {_describe_labelled(prepared)}"
    labels += _describe_unlabelled(prepared)
    missing = prepared.options.missing
    if missing is not None:
        dtype += f"; {missing:g} is missing (NaN)".removeprefix("" if dtype else "; ")
    return [
        _describe_files(prepared, subjects),
        *_describe_kinds(prepared),
        ", ".join(filter(None, [f"{names[0]:{width}}{_describe_samples(prepared)}", dtype])),
        *_describe_inputs(prepared),
        f"{names[1]:{width}}{labels}",
        *prepared.notes,
        *(f"labels of {it.origin} are in {it.labels_from}" for it in recordings if it.labels_from),
        *_describe_passed_over(prepared.passed_over),
    ]


def describe_masks(prepared: Prepared) -> list[str]:
    """Return how many rows of each subject are masked, which reads all of them.

    Nothing where no step masks rows.
    """
    if not any(isinstance(it, Clean) for it in prepared.options.steps):
        return []
    n_rows: Counter[str] = Counter()
    n_masked: Counter[str] = Counter()
    for it in prepared.recordings:
        n_rows[it.subject] += it.x.shape[0]
        if it.mask is not None:
            n_masked[it.subject] += _count_masked(it.mask, prepared.layout.chunk_rows)
    total = sum(n_masked.values())
    lines = [f"masked: {_share(total, sum(n_rows.values()))} of all time steps"]
    worst = [name for name, count in n_masked.most_common() if count]
    shown = [f"{name} {_share(n_masked[name], n_rows[name])}" for name in worst]
    n_none = len(n_rows) - len(worst)
    none = f"; none of {format_count(n_none, 'subject')}" if n_none else ""
    return [f"{lines[0]}: {listed(shown, _MAX_MASKED)}{none}"] if shown else lines


def _count_masked(mask: RowReader, step: int) -> int:
    with closing(mask):
        return sum(
            int(np.count_nonzero(mask.read(start, min(start + step, mask.shape[0]))))
            for start in range(0, mask.shape[0], step)
        )


def _share(count: int, total: int) -> str:
    share = 100 * count / max(1, total)
    return f"{share:.1f} %" if share >= 0.05 or not count else "below 0.1 %"


def _describe_dtype(found: Sequence[np.dtype[Any]], stored: np.dtype[Any]) -> str:
    names = sorted({it.name for it in found})
    arrow = "" if names == [stored.name] else f" -> {stored.name}"
    return f"{' and '.join(names)}{arrow}"


def _describe_inputs(prepared: Understanding) -> list[str]:
    """Return a line for each of several inputs: what a row, or a sample, is, and its rate."""
    dtype, described = prepared.layout.dtype, prepared.description.parts
    steps, width = steps_of(prepared.recordings[0].x), max(map(len, dtype.names or [""]))
    lines = []
    for name in dtype.names or ():
        rate, shape = described[name].rate_hz, dtype[name].shape
        if not steps[name]:
            what = f"{describe_shape(shape)}, for all of a recording"
        elif prepared.is_ragged:
            wide = " x ".join(map(str, shape[steps[name] > 1 :]))
            what = f"time steps x {format_count(shape[-1], 'channel') if len(shape) < 3 else wide}"
            what += f", {rate:g} Hz" if rate else ""
        else:
            what = describe_shape(shape)
        found = [it.x.dtype[name].base for it in prepared.recordings]
        stored = f"{_describe_dtype(found, dtype[name].base)}{_describe_packing(prepared, name)}"
        lines.append(f"  {name:{width}}  {what}, {stored}")
    return lines


def _describe_packing(prepared: Understanding, name: str) -> str:
    """Return how an input is stored, where it is not stored as it is."""
    if not isinstance(prepared, Prepared):
        return ""
    counting = prepared.encoding.countings.get(name)
    if counting is None:
        option = prepared.options.packing.of_input(name)
        asked = prepared.base is None and option.error
        return f"; not within {option.recorded} in 16 bits, and so as it is" if asked else ""
    return f", in 16 bits{describe_error(counting.packing.packed.error)}"


def next_lines(store: str, prepared: Prepared) -> list[str]:
    """Return code that trains on a store; of recordings of unequal lengths, on windows of them."""
    samples = f'zarrts.open("{Path(store).as_posix()}").samples'
    lines = ["import zarrts"]
    if prepared.is_ragged and prepared.layout.dtype.names:
        label = ', label="last"' if prepared.labels_per == "row" else ""
        lines.append(f'windows = {samples}.windows("10s", "5s"{label})')
        samples = "windows"
    elif prepared.is_ragged:
        length = min(200, *(it.x.shape[0] or 200 for it in prepared.recordings))
        stride = max(1, length // 2)
        label = ', label="last"' if prepared.labels_per == "row" else ""
        every = next(filter(None, (every_of(it.y) for it in prepared.recordings)), None)
        if every is not None and every > 1:
            length = stride = every
        lines.append(f"windows = {samples}.windows({length}, stride={stride}{label})")
        samples = "windows"
    if len({it.subject for it in prepared.recordings}) > 1:
        lines.append(f"train, test = {samples}.split(test=1)")
    else:
        lines.append(f"train = {samples}")
    sequence = "zarrts.ZarrSequence(train, batch_size=32, stats=train.stats())"
    return [*lines, f"model.fit({sequence}, epochs=10)"]


def _describe_unlabelled(prepared: Understanding) -> str:
    """Return how many labels that are text are missing, and how to make them a class."""
    counts = [it.counts for it in prepared.counters if it.kind == "text" and it.counts is not None]
    n_all, n_missing = sum(it.total() for it in counts), sum(it[""] for it in counts)
    if not n_missing:
        return ""
    share = 100 * n_missing / n_all
    thing = {"row": "time steps", "recording": "recordings"}.get(prepared.labels_per, "samples")
    return (
        f"; {int(share) or 'below 1'} % of {thing} have no label (if that "
        "is a class, name it: --unlabelled NAME)"
    )


def _describe_labelled(prepared: Understanding) -> str:
    """Return what has a label; of labels for stretches of time, how long these are."""
    readers = [it.y for it in prepared.recordings]
    spread = [(every, it.shape[0]) for it in readers if (every := every_of(it)) is not None]
    if not spread:
        return _LABELLED[prepared.labels_per]
    every = spread[0][0]
    rate_hz = prepared.description.rate_hz
    time = f" ({every / rate_hz:g} s)" if rate_hz else ""
    n_short = sum(n_rows % every > 0 for _, n_rows in spread)
    rest = f"; the last is for fewer in {format_count(n_short, 'recording')}" if n_short else ""
    return f"{format_count(every, 'time step')}{time}{rest}"


def _describe_room(prepared: Prepared) -> str:
    free = prepared.free_bytes
    return "" if free is None else f" ({format_size(free)} free)"


def _describe_files(prepared: Understanding, subjects: Sequence[str]) -> str:
    recordings = prepared.recordings
    n_files = len({path for it in recordings for path in it.paths})
    one, many, found = "file", "files", format_count(n_files, "file")
    if all(it.found == LINE_OF_A_TABLE for it in recordings):
        one, many = "line", "lines"
        found = f"{format_count(len(recordings), one)} of a table, {found}"
    elif n_files == 2 * len(recordings) and all(len(it.paths) == 2 for it in recordings):
        one, many, found = "pair", "pairs", f"{format_count(len(recordings), 'pair')} of files"
    elif n_files != len(recordings):
        one, many = "recording", "recordings"
        n_recordings = format_count(len(recordings), one)
        found = f"{found}, {n_recordings}" if n_files else n_recordings
    head = f"{found} -> {format_count(len(subjects), 'subject')}"
    if not prepared.has_subjects_given:
        return f"{head} (one {one} each). Several {many} per person? --subject REGEX"
    n_each = Counter(it.subject for it in recordings)
    each = (f"{name} ({format_count(n_each[name], one)})" for name in subjects)
    return f"{head}: {listed(each, MAX_NAMES)}"


def _describe_kinds(prepared: Understanding) -> list[str]:
    kinds = Counter(it.found for it in prepared.recordings if it.found)
    if not kinds:
        return []
    if len(kinds) == 1:
        return [f"each is {next(iter(kinds))}"]
    return ["; ".join(f"{count:,} times {kind}" for kind, count in kinds.most_common())]


def _describe_whole(prepared: Understanding) -> str:
    """Return how to make classes of labels that look like some, though they are floats."""
    found: set[float] = set()
    for rows in (it.y for it in prepared.recordings[:_FEW_RECORDINGS]):
        if rows.dtype.kind != "f" or len(rows.shape) != 1:
            return ""
        # Of labels for stretches of time, thousands of rows hold only one.
        n_rows = min(_FEW_LABELS * (every_of(rows) or 1), rows.shape[0])
        for start in range(0, n_rows, _FEW_LABELS):
            found.update(rows.read(start, min(start + _FEW_LABELS, n_rows)).tolist())
        rows.close()
        if len(found) > MAX_NAMES or not all(it.is_integer() for it in found):
            return ""
    return f"; if they are classes: --class-names {','.join(f'{it:.0f}' for it in sorted(found))}"


def _describe_passed_over(paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    if len(paths) <= _FEW_FILES:
        return [f"passed over  {', '.join(paths)}"]
    kinds = Counter(Path(path).suffix.lower() or "without suffix" for path in paths)
    return [
        f"passed over  {', '.join(f'{n:,} {kind}' for kind, n in kinds.most_common(MAX_NAMES))}"
    ]


def _name(names: Sequence[str]) -> str:
    return repr(names[0]) if len(set(names)) == 1 else f"{names[0]!r} ..."


def _describe_samples(prepared: Understanding) -> str:
    layout = prepared.layout
    several = layout.dtype.names
    if not prepared.is_ragged:
        shown = f"{len(several)} inputs" if several else describe_shape(layout.row_shape)
        return f"{layout.n_rows:,} samples, {shown}"
    lengths = count_lengths(np.array([it.x.shape[0] for it in prepared.recordings]))
    n_recordings = format_count(len(prepared.recordings), "recording")
    if several:
        return f"{n_recordings} {_describe_rows(prepared, lengths)}, {len(several)} inputs"
    return f"{n_recordings} {describe_lengths(lengths, layout.row_shape)}"


def _describe_rows(prepared: Understanding, lengths: Mapping[str, int]) -> str:
    """Return how long recordings of several inputs are, in seconds where that is known."""
    steps = steps_of(prepared.recordings[0].x)
    rates = {name: it.rate_hz for name, it in prepared.description.parts.items()}
    row_s = next((steps[name] / rate for name, rate in rates.items() if rate and steps[name]), None)
    low, high, unit = lengths["shortest"], lengths["longest"], "time steps"
    if row_s is None:
        return f"of {low:,} to {high:,} {unit}" if low < high else f"of {low:,} {unit}"
    span = f"{low * row_s:g} to {high * row_s:g} s" if low < high else f"{low * row_s:g} s"
    return f"of {span}"


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
    if not names:
        return "none, as is said: for zarrts.predict, not for training"
    parts = [describe_classes(names)]
    shares = 100 * counts.sum(axis=0) / max(1, int(counts.sum()))
    rare = int(shares.argmin())
    if shares[rare] < _FEW_PERCENT and len(names) > 1:
        parts.append(
            f"only {shares[rare]:.0f} % are {names[rare]}"
            if shares[rare] >= 0.5
            else f"below 1 % are {names[rare]}"
        )
    per_subject = np.zeros((len(subjects), len(names)), np.int64)
    np.add.at(per_subject, owners, counts)
    lacks = np.argwhere(per_subject == 0)
    parts += [f"{subjects[s]} has no {names[c]}" for s, c in lacks[:_MAX_LACKS]]
    if len(lacks) > _MAX_LACKS:
        parts.append(f"and {len(lacks) - _MAX_LACKS} more such gaps")
    return "; ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
