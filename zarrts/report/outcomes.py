"""The parts of the page that show a split, and what a network said of samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts import markup
from zarrts.report import figures
from zarrts.report.overview import MAX_ROWS, Overview
from zarrts.report.subjects import and_more
from zarrts.results import Evaluation
from zarrts.results.scores import NAMES
from zarrts.split import Split
from zarrts.store import Store
from zarrts.types import IntArray


def parts_of_split(store: Store, overview: Overview, split: Split) -> list[str]:
    """Return who is in which part."""
    starts, codes = store.catalog.starts, store.catalog.subject_codes
    by_part: dict[str, IntArray] = {}
    rows = []
    for name, part in zip(split.names, split, strict=True):
        counts = np.zeros(len(overview.subjects), np.int64)
        np.add.at(counts, codes, np.diff(part.selection.ids.count_below(starts)))
        by_part[name] = overview.groups.sum(counts)
        cells: list[Any] = [name, f"{len(part):,}", f"{len(part) / max(1, store.n_samples):.1%}"]
        cells.append(f"{len(part.subjects):,}")
        if store.n_classes is not None:
            shares = part.class_counts / max(1, int(part.class_counts.sum()))
            cells += [f"{share:.1%}" for share in shares[:MAX_ROWS]]
        rows.append(cells)
    names = overview.groups.names
    classes = [str(it) for it in (store.class_names or [])[:MAX_ROWS]]
    caption = "Samples of each subject in " + ", ".join(split.names)
    svg = figures.stacks(names, by_part, label="samples", alt=caption, key="split")
    by_group = [
        [name, *(f"{counts[i]:,}" for counts in by_part.values())] for i, name in enumerate(names)
    ]
    header = ["part", "samples", "share", "subjects", *classes]
    who = ["subject", *split.names]
    return [
        markup.heading(2, "Split"),
        markup.table("Parts, and shares of classes in them", header, rows, name="split"),
        markup.figure(svg, caption),
        markup.table(caption, who, by_group, name="split-subjects", is_shown=False),
    ]


def results(it: Evaluation) -> list[str]:
    """Return what is correct by subject, and what was taken for what."""
    accuracy, names = it.subject_accuracy, [str(name) for name in it.class_names]
    known = ~np.isnan(accuracy)
    n_known = int(known.sum())
    caption = f"{it.accuracy:.3f} of {int(it.confusion.sum()):,} samples are correct"
    if n_known:
        caption += (
            f"; by subject {np.nanmin(accuracy):.3f} to {np.nanmax(accuracy):.3f}, "
            f"median {np.nanmedian(accuracy):.3f}"
        )
    parts = [markup.heading(2, "Results"), markup.paragraph(caption), *_scores(it, names)]
    if 0 < n_known <= MAX_ROWS:
        who = [name for name, is_known in zip(it.subjects, known, strict=True) if is_known]
        svg = figures.bars(who, accuracy[known], label="correct", alt=caption, key="subject")
        parts.append(markup.figure(svg, "Correct by subject"))
    elif n_known:
        labels = ("correct", "subjects")
        svg = figures.histogram(accuracy[known], labels=labels, alt=caption, key="subject")
        parts.append(markup.figure(svg, "How many subjects have which part correct"))
    worst = np.argsort(np.where(known, accuracy, np.inf), kind="stable")[:MAX_ROWS]
    rows = [
        [it.subjects[i], f"{it.n_samples[i]:,}", _share(accuracy[i]), *map(_share, it.recall[i])]
        for i in worst
    ]
    header = ["subject", "samples", "correct", *names]
    caption = "Correct by subject and class, the worst first" + and_more(len(it.subjects))
    parts.append(markup.table(caption, header, rows, name="results", is_shown=False))
    return parts + _confusion(it.confusion.sum(axis=0), names)


def _scores(it: Evaluation, names: Sequence[str]) -> list[str]:
    """Return the scores that studies publish, of all samples and by subject, and by class."""
    rows = [
        [
            name.replace("_", " "),
            _share(getattr(it, name)),
            *map(_share, it.mean_and_spread(name)),
        ]
        for name in NAMES
    ]
    header = ["score", "all samples", "mean of subjects", "deviation of subjects"]
    table = zip(
        names, it.class_precision, it.class_recall, it.class_f1, it.total.sum(axis=1), strict=True
    )
    by_class = [[name, _share(a), _share(b), _share(c), f"{n:,}"] for name, a, b, c, n in table]
    of_class = ["class", "precision", "recall", "F1", "samples"]
    return [
        markup.table("Scores", header, rows, name="scores"),
        markup.table(
            "Scores of each class" + and_more(len(by_class)),
            of_class,
            by_class[:MAX_ROWS],
            name="class-scores",
        ),
    ]


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _confusion(counts: IntArray, names: Sequence[str]) -> list[str]:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    caption = "True class (rows) and the class that the network says (columns)"
    some = names[:MAX_ROWS]
    svg = figures.heat_map(
        counts[:MAX_ROWS, :MAX_ROWS],
        shares[:MAX_ROWS, :MAX_ROWS],
        some,
        some,
        labels=("true", "predicted"),
        alt=caption,
        key="confusion",
    )
    rows = [
        [name, *(f"{n:,}" for n in row)]
        for name, row in zip(some, counts[:MAX_ROWS, :MAX_ROWS].tolist(), strict=True)
    ]
    table = markup.table(caption, ["true", *some], rows, name="confusion", is_shown=False)
    return [markup.figure(svg, caption), table]
