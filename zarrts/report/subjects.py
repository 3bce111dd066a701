"""The part of the page that says who has how much of which class, or where numbers lie."""

import numpy as np

from zarrts import markup
from zarrts.report import figures
from zarrts.report.overview import MAX_ROWS, ClassTable, NumberTable, Overview
from zarrts.types import AnyArray, IntArray


def subjects_and_labels(overview: Overview) -> list[str]:
    """Return samples of each subject, and its labels."""
    parts = [markup.heading(2, "Subjects and labels")]
    parts += _per_subject(overview.n_samples, overview)
    for it in overview.labels:
        if it.name:
            parts.append(markup.heading(3, f"Labels {it.name}"))
        parts += (
            _class_table(it, overview) if isinstance(it, ClassTable) else _numbers(it, overview)
        )
    return parts


def _per_subject(values: AnyArray, overview: Overview) -> list[str]:
    n_subjects = len(overview.subjects)
    caption = (
        f"Samples of each subject: {values.min():,} to {values.max():,}, median "
        f"{np.median(values):,.0f}"
    )
    if n_subjects <= MAX_ROWS:
        names = overview.subjects
        svg = figures.bars(names, values, label="samples", alt=caption, key="samples")
    else:
        labels = ("samples of a subject", "subjects")
        svg = figures.histogram(values, labels=labels, alt=caption, key="samples")
    return [markup.figure(svg, caption)]


def _class_table(it: ClassTable, overview: Overview) -> list[str]:
    groups, key = overview.groups, f"classes-{it.name}" if it.name else "classes"
    counts = groups.sum(it.counts)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    shades = shares / max(1e-9, float(shares.max(initial=0.0)))
    caption = (
        f"Labels of each class ({', '.join(it.classes)}) by subject; the darker, the larger the "
        "share of the subject's labels"
    )
    columns = it.classes
    svg = figures.heat_map(
        counts, shades, groups.names, columns, labels=("subject", "class"), alt=caption, key=key
    )
    rows = [[name, *_count_cells(row)] for name, row in zip(groups.names, counts, strict=True)]
    rows.append(["all", *_count_cells(counts.sum(axis=0))])
    header = ["subject", *columns, "all"]
    table = markup.table("Labels of each class by subject", header, rows, name=key, is_shown=False)
    total = counts.sum(axis=0)
    bars = f"Labels of each class: {', '.join(map(_counted, columns, total.tolist()))}"
    return [
        markup.figure(svg, caption),
        table,
        *_gaps(it, overview),
        markup.figure(figures.bars(columns, total, label="labels", alt=bars, key="total"), bars),
    ]


def _count_cells(counts: IntArray) -> list[str]:
    return [f"{n:,}" for n in (*counts.tolist(), int(counts.sum()))]


def _counted(name: str, count: int) -> str:
    return f"{name} {count:,}"


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
