"""The part of the page that says who has how much of which class, or where numbers lie."""

from collections.abc import Callable

import numpy as np

from zarrts import markup
from zarrts.report import figures
from zarrts.report.amounts import (
    Amounts,
    amounts_of_labels,
    amounts_of_rows,
    are_alike,
    duration,
    label_rows,
    span_text,
)
from zarrts.report.overview import MAX_ROWS, ClassTable, NumberTable, Overview
from zarrts.types import IntArray


def subjects_and_labels(overview: Overview) -> list[str]:
    """Return how much there is of each subject, and its labels."""
    parts = [markup.heading(2, "Subjects and labels")]
    parts += _per_subject(overview)
    for it in overview.labels:
        if it.name:
            parts.append(markup.heading(3, f"Labels {it.name}"))
        parts += (
            _class_table(it, overview) if isinstance(it, ClassTable) else _numbers(it, overview)
        )
    return [*parts, *_missing(overview)]


def _per_subject(overview: Overview) -> list[str]:
    """Return samples of each subject; of recordings, how many and how long. No equal bars."""
    store, values = overview.store, overview.n_rows
    largest = float(values.max(initial=0))
    amounts = amounts_of_rows(store, largest)
    shown = span_text(amounts, values) if len(values) else "none"
    middle = f", median {amounts.cell(float(np.median(values)))}" if len(values) else ""
    caption = f"Samples of each subject: {shown.removesuffix(' samples')}{middle}"
    if store.is_ragged:
        counts = overview.n_recordings
        n_each = span_text(Amounts("recordings"), counts)
        caption = f"Each subject has {n_each}, {shown} in all{middle}"
    if are_alike(values):
        return [markup.paragraph(caption.removesuffix(middle))]
    unit = amounts.unit if not store.is_ragged else f"recorded {amounts.unit}"
    if len(values) <= MAX_ROWS:
        names = overview.subjects
        svg = figures.bars(names, amounts.of(values), label=unit, alt=caption, key="samples")
    else:
        labels = (f"{unit} of a subject", "subjects")
        svg = figures.histogram(amounts.of(values), labels=labels, alt=caption, key="samples")
    return [markup.figure(svg, caption)]


def _class_table(it: ClassTable, overview: Overview) -> list[str]:
    groups, key = overview.groups, f"classes-{it.name}" if it.name else "classes"
    counts = groups.sum(it.counts)
    amounts = amounts_of_labels(overview.store, float(counts.max(initial=0)))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    shades = shares / max(1e-9, float(shares.max(initial=0)))
    what = (
        f"{amounts.unit.capitalize()} of each class" if amounts.is_time else "Labels of each class"
    )
    caption = (
        f"{what} ({', '.join(it.classes)}) by subject; the stronger the colour, the larger the "
        "share of the subject's labels"
    )
    columns = it.classes
    svg = figures.heat_map(
        counts,
        shades,
        groups.names,
        columns,
        labels=("subject", "class"),
        alt=caption,
        key=key,
        shown=amounts.cell,
    )
    header = ["subject", *columns, "all"]
    table = markup.table(
        f"{what} by subject",
        header,
        _with_sums(groups.names, counts, amounts.cell),
        name=key,
        is_shown=False,
    )
    total = counts.sum(axis=0)
    overall = amounts_of_labels(overview.store, float(total.max(initial=0)))
    said = [f"{name} {overall.cell(n)}" for name, n in zip(columns, total.tolist(), strict=True)]
    unit = f" in {overall.unit}" if overall.is_time else ""
    bars = f"Labels of each class{unit}: {', '.join(said)}"
    label = overall.unit if overall.is_time else "labels"
    return [
        markup.figure(svg, caption),
        table,
        *_own_lengths(it, overview),
        *_gaps(it, overview),
        markup.figure(
            figures.bars(columns, overall.of(total), label=label, alt=bars, key="total"), bars
        ),
    ]


def _with_sums(
    names: list[str], counts: IntArray, cell: Callable[[float], str]
) -> list[list[object]]:
    every = np.concatenate([counts, counts.sum(axis=0, keepdims=True)]).tolist()
    return [
        [name, *map(cell, (*row, sum(row)))]
        for name, row in zip([*names, "all"], every, strict=True)
    ]


def _own_lengths(it: ClassTable, overview: Overview) -> list[str]:
    """Return how many labels there are, where each was given for a stretch of many time steps."""
    n_rows = label_rows(overview.store)
    if n_rows is None:
        return []
    counts = overview.groups.sum(it.counts)
    name = f"classes-{it.name}-each" if it.name else "classes-each"
    header = ["subject", *it.classes, "all"]

    def cell(n: float) -> str:
        return f"{n / n_rows:,.10g}" if n % n_rows == 0 else f"{n / n_rows:,.1f}"

    rows = _with_sums(overview.groups.names, counts, cell)
    caption = f"Labels of {duration(overview.store, n_rows)} each, by subject"
    return [markup.table(caption, header, rows, name=name, is_shown=False)]


def _missing(overview: Overview) -> list[str]:
    """Return whose labels and values are missing, and how much of them."""
    store, groups = overview.store, overview.groups
    unlabelled = overview.n_unlabelled
    lost = np.zeros(len(groups.names), np.int64) if unlabelled is None else groups.sum(unlabelled)
    moments = overview.moments_by_group
    total = moments.count + moments.nan_count
    shares = moments.nan_count / np.maximum(1, total)
    worst = shares.argmax(axis=1) if shares.size else np.zeros(len(groups.names), np.int64)
    share = shares[np.arange(len(shares)), worst] if shares.size else np.zeros(len(groups.names))
    chosen = np.flatnonzero((lost > 0) | (share > 0))
    if len(chosen) == 0:
        return []
    amounts = amounts_of_labels(store, float(lost.max(initial=0)))
    channels = overview.channels
    rows = [
        [
            groups.names[i],
            amounts.text(int(lost[i])) if lost[i] else "-",
            f"{share[i]:.2%} of {channels[worst[i]]}" if share[i] else "-",
        ]
        for i in chosen
    ]
    header = ["subject", "without a label", "missing values (NaN), at most"]
    caption = f"Stretches without a label, or without values ({len(chosen):,})"
    return [markup.table(caption, header, rows, name="missing")]


def _gaps(it: ClassTable, overview: Overview) -> list[str]:
    gaps = np.argwhere(it.counts == 0)
    if len(gaps) == 0:
        return []
    n_subjects = len(np.unique(gaps[:, 0]))
    rows = [
        (overview.subjects[s], ", ".join(it.classes[c] for c in gaps[gaps[:, 0] == s, 1]))
        for s in np.unique(gaps[:, 0])[:MAX_ROWS]
    ]
    caption = f"{n_subjects:,} of {len(overview.subjects):,} subjects lack a class" + and_more(
        n_subjects
    )
    name = f"gaps-{it.name}" if it.name else "gaps"
    return [markup.table(caption, ["subject", "has no"], rows, name=name, is_shown=False)]


def and_more(n_rows: int) -> str:
    """Return what a caption says where a table does not hold all of its rows."""
    return f"; the first {MAX_ROWS}" if n_rows > MAX_ROWS else ""


def _numbers(it: NumberTable, overview: Overview) -> list[str]:
    groups, key = overview.groups, f"labels-{it.name}" if it.name else "labels"
    count = groups.sum(it.count)
    n_groups = len(groups.names)
    low, high, total = np.full(n_groups, np.inf), np.full(n_groups, -np.inf), np.zeros(n_groups)
    np.minimum.at(low, groups.of_subject, it.min)
    np.maximum.at(high, groups.of_subject, it.max)
    np.add.at(total, groups.of_subject, np.nan_to_num(it.mean) * it.count)
    rows = [
        [name, f"{n:,}", *(number(v) for v in (a, t / max(1, n), b))]
        for name, n, a, t, b in zip(groups.names, count, low, total, high, strict=True)
    ]
    caption = "Labels are numbers: how many lie where"
    parts = [
        markup.table(
            "Labels by subject",
            ["subject", "labels", "least", "mean", "most"],
            rows,
            name=key,
            is_shown=False,
        )
    ]
    if len(it.some):
        svg = figures.histogram(it.some, labels=("label", "labels"), alt=caption, key=key)
        parts.insert(0, markup.figure(svg, caption))
    return parts


def number(value: float) -> str:
    """Return a number in few letters, or a dash where there is none."""
    return f"{value:.4g}" if np.isfinite(value) else "-"
