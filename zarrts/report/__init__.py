"""One page that shows a store, a split of it, and what a network said: what `zarrts report` writes.

Pages hold summaries, so that a study of ten thousand subjects has one of the same size. A text
that comes from a file, such as a subject's name, is shown and never understood.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zarrts import markup
from zarrts.commands.outputs import refuse_folder_of
from zarrts.commands.summary import describe_inputs, describe_sample, summarize
from zarrts.conversion.codecs import codec_of_segment
from zarrts.progress import show_count
from zarrts.report import figures
from zarrts.report.amounts import amounts_of_rows, are_alike, span_text
from zarrts.report.outcomes import parts_of_split, results
from zarrts.report.overview import MAX_ROWS, Overview
from zarrts.report.signals import channels_by_subject, some_samples
from zarrts.report.strips import strips_of_labels
from zarrts.report.subjects import subjects_and_labels
from zarrts.results import Evaluation
from zarrts.sizes import format_count, format_size
from zarrts.split import Split
from zarrts.store import Store, open_store
from zarrts.system import replace_file


def write_report(
    store: str | Path,
    out: str | Path,
    *,
    split: str | Path | None = None,
    results: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = False,
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
    progress : bool
        Show how far it is, on a terminal.

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
        content = page_of(opened, split=chosen, evaluation=evaluation, progress=progress)
    replace_file(Path(out), content.encode("utf-8"))


def page_of(
    store: Store,
    *,
    split: Split | None = None,
    evaluation: Evaluation | None = None,
    progress: bool = False,
) -> str:
    """Return the page of a store as HTML."""
    overview = Overview(store.samples)
    name = Path(store.path).name
    parts = [markup.heading(1, name)]
    chapters: list[Callable[[], list[str]]] = [
        lambda: _facts(store, overview),
        lambda: subjects_and_labels(overview),
        lambda: strips_of_labels(overview),
        lambda: some_samples(store),
        lambda: channels_by_subject(overview),
        lambda: _lengths(store, overview),
        lambda: _sizes(store),
    ]
    if split is not None:
        chapters.append(lambda: parts_of_split(store, overview, split))
    if evaluation is not None:
        chapters.append(lambda: results(evaluation))
    with show_count("report", len(chapters), progress) as on_chapters:
        for chapter in chapters:
            parts += chapter()
            on_chapters(1)
    return markup.page(f"{name}: a zarrts store", parts)


def _facts(store: Store, overview: Overview) -> list[str]:
    summary = summarize(store)
    rows = [
        ("samples", f"{store.n_samples:,}"),
        ("subjects", f"{len(overview.subjects):,}"),
        ("recordings", f"{len(overview.lengths):,}"),
    ]
    if store.is_ragged and store.header.row_rate_hz:
        n_rows = int(overview.lengths.sum())
        rows.append(("recorded", amounts_of_rows(store, n_rows).text(n_rows)))
    rows += [
        *_facts_of_inputs(store, summary),
        ("channels", ", ".join(overview.channels[:MAX_ROWS])),
        ("version", str(store.version)),
    ]
    return [markup.table("What the store holds", ["", ""], rows, name="facts")]


def _facts_of_inputs(store: Store, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a sample is, and the rate; of several inputs, of each."""
    if not isinstance(store.dtype, dict):
        rate = f"{store.rate_hz:g} Hz" if store.rate_hz else "not known"
        return [("each sample", f"{describe_sample(summary)}, {store.dtype}"), ("rate", rate)]
    return [(f"input {name}", line) for name, line in describe_inputs(summary).items()]


def _lengths(store: Store, overview: Overview) -> list[str]:
    """Return how long recordings are: a picture only where that differs."""
    lengths = overview.lengths
    if len(lengths) == 0:
        return []
    amounts = amounts_of_rows(store, float(np.median(lengths)))
    order = np.argsort(lengths, kind="stable")
    rows = [
        (
            what,
            amounts.cell(float(lengths[i])),
            store.recordings[i].subject,
            store.recordings[i].source,
        )
        for what, i in (
            ("shortest", order[0]),
            ("median", order[len(order) // 2]),
            ("longest", order[-1]),
        )
    ]
    n_recordings = format_count(len(lengths), "recording")
    parts = [markup.heading(2, "Lengths of recordings")]
    caption = f"Lengths of {n_recordings}, in {amounts.unit}"
    if are_alike(lengths):
        parts.append(markup.paragraph(f"{n_recordings} of {span_text(amounts, lengths)}."))
    elif len(lengths) > MAX_ROWS:
        labels = (amounts.unit, "recordings")
        svg = figures.histogram(amounts.of(lengths), labels=labels, alt=caption, key="length")
        parts.append(markup.figure(svg, caption))
    caption = f"Shortest, median and longest, in {amounts.unit}"
    header = ["", amounts.unit, "subject", "file"]
    return [*parts, markup.table(caption, header, rows, name="lengths")]


def _sizes(store: Store) -> list[str]:
    segments = store.header.segments
    raw = sum(it.n_rows * it.x_values.row_bytes for it in segments)
    stored = sum(it.stored_bytes for it in segments)
    rows = []
    for it in segments[-MAX_ROWS:]:
        n_bytes = it.n_rows * it.x_values.row_bytes
        codec = codec_of_segment(it)
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
