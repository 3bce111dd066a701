"""One page that shows a store, a split of it, and what a network said: what `zarrts report` writes.

Pages hold summaries, so that a study of ten thousand subjects has one of the same size. A text
that comes from a file, such as a subject's name, is shown and never understood.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zarrts import markup
from zarrts.commands.outputs import refuse_folder_of
from zarrts.commands.summary import describe_sample, summarize
from zarrts.report import figures
from zarrts.report.outcomes import parts_of_split, results
from zarrts.report.overview import MAX_ROWS, Overview
from zarrts.report.signals import channels_by_subject, some_samples
from zarrts.report.subjects import subjects_and_labels
from zarrts.results import Evaluation
from zarrts.selection import Samples
from zarrts.sizes import format_count, format_size
from zarrts.splits.disjoint import Split
from zarrts.study import Store, open_store
from zarrts.system import replace_file


def write_report(
    store: str | Path,
    out: str | Path,
    *,
    split: str | Path | None = None,
    results: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of a store.

    Parameters
    ----------
    store : path or address
    out : path
        Of the page, `.html`.
    split : path, optional
        A split that `split.save` wrote.
    results : path, optional
        What `zarrts.evaluate(...).save` wrote.
    storage_options : dict, optional
        Of an address.

    Raises
    ------
    StoreError, SampleError
        If there is no store, or the split or results are none.
    ImportError
        Without Matplotlib.
    """
    refuse_folder_of(Path(out))
    with open_store(store, storage_options=storage_options) as opened:
        chosen = None if split is None else opened.load_split(split)
        evaluation = None if results is None else Evaluation.load(results)
        content = page_of(opened, split=chosen, evaluation=evaluation)
    replace_file(Path(out), content.encode("utf-8"))


def page_of(
    store: Store, *, split: Split[Samples] | None = None, evaluation: Evaluation | None = None
) -> str:
    """Return the page of a store as HTML."""
    overview = Overview(store.samples)
    name = Path(store.path).name
    parts = [markup.heading(1, name), *_facts(store, overview)]
    parts += subjects_and_labels(overview)
    parts += some_samples(store)
    parts += channels_by_subject(overview)
    parts += _lengths(store, overview)
    parts += _sizes(store)
    if split is not None:
        parts += parts_of_split(store, overview, split)
    if evaluation is not None:
        parts += results(evaluation)
    return markup.page(f"{name}: a zarrts store", parts)


def _facts(store: Store, overview: Overview) -> list[str]:
    summary = summarize(store)
    rows = [
        ("samples", f"{store.n_samples:,}"),
        ("subjects", f"{len(overview.subjects):,}"),
        ("recordings", f"{len(overview.lengths):,}"),
        ("each sample", f"{describe_sample(summary)}, {store.dtype}"),
        ("channels", ", ".join(overview.channels[:MAX_ROWS])),
        ("rate", f"{store.rate_hz:g} Hz" if store.rate_hz else "not known"),
        ("version", store.version),
    ]
    return [markup.table("What the store holds", ["", ""], rows, name="facts")]


def _lengths(store: Store, overview: Overview) -> list[str]:
    lengths = overview.lengths
    unit, scale = ("time steps", 1.0) if store.is_ragged else ("samples", 1.0)
    if store.is_ragged and store.rate_hz:
        unit, scale = "seconds", 1 / store.rate_hz
    order = np.argsort(lengths, kind="stable")
    rows = [
        (
            what,
            f"{lengths[i] * scale:,.6g}",
            store.recordings[i].subject,
            store.recordings[i].source,
        )
        for what, i in (
            ("shortest", order[0]),
            ("median", order[len(order) // 2]),
            ("longest", order[-1]),
        )
    ]
    caption = f"Lengths of {format_count(len(lengths), 'recording')}, in {unit}"
    svg = figures.histogram(lengths * scale, labels=(unit, "recordings"), alt=caption, key="length")
    return [
        markup.heading(2, "Lengths of recordings"),
        markup.figure(svg, caption),
        markup.table(
            f"Shortest, median and longest, in {unit}",
            ["", unit, "subject", "file"],
            rows,
            name="lengths",
        ),
    ]


def _sizes(store: Store) -> list[str]:
    segments = store.header.segments
    raw = sum(it.n_rows * it.x.row_bytes for it in segments)
    stored = sum(it.stored_bytes for it in segments)
    rows = []
    for it in segments[-MAX_ROWS:]:
        n_bytes = it.n_rows * it.x.row_bytes
        codec = (it.x.compressor or {}).get("cname", "none")
        times = f"{n_bytes / max(1, it.stored_bytes):.2f}"
        sizes = (format_size(n_bytes), format_size(it.stored_bytes))
        rows.append((it.name, f"{it.n_samples:,}", *sizes, times, codec))
    caption = f"{format_size(raw)} of x take {format_size(stored)} on the disk, labels included"
    names = ["in memory", "on the disk"]
    svg = figures.bars(names, np.array([raw, stored]) / 1e6, label="MB", alt=caption, key="size")
    header = ["part", "samples", "in memory", "on the disk", "times smaller", "codec"]
    return [
        markup.heading(2, "Sizes"),
        markup.figure(svg, caption),
        markup.table("Each part of the store", header, rows, name="sizes"),
    ]
