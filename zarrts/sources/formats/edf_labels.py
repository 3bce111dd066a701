"""Labels of the rows of an EDF recording, from the annotations that are chosen."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.rows.label_rows import IntervalRows
from zarrts.sources.source_options import SourceOptions
from zarrts.timeline import Gaps, Timeline

_TOUCHING_S = 2e-3
"""Onset and duration are often written in milliseconds, each rounded on its own."""

_SAME_S = 1e-6
_MAX_TEXTS = 12


def labels_of(
    annotations: Sequence[Annotation],
    rate_hz: float,
    n_rows: int,
    options: SourceOptions,
    where: str,
    about_times: str = "",
    gaps: Gaps | None = None,
) -> IntervalRows:
    """Return one label a row: the text of the annotation that covers it, or "".

    Parameters
    ----------
    annotations : sequence of Annotation
        Onsets are counted from the first row.
    options : SourceOptions
        `annotations` chooses among the texts; with `unlabelled`, there need be none.
    about_times : str
        What else is said where no annotation lies in the recording.
    gaps : Gaps, optional
        Between the rows.

    Raises
    ------
    SourceError
        If no row has a label, or two annotations overlap; names texts and times.
    """
    chosen = _chosen(annotations, options, where)
    spans = _spans(chosen, Timeline(rate_hz=rate_hz, gaps=gaps), n_rows)
    _refuse_overlaps(spans, annotations, where)
    if not spans and options.unlabelled is None:
        raise SourceError(
            f"{where}: has {len(annotations):,} annotations, and none lasts for a while within the "
            f"recording{about_times}, so that no row has a label; put a hypnogram beside it, or if "
            "what is not annotated is a class, give it a name with unlabelled= (--unlabelled)."
        )
    texts = np.array([it.text for _, _, it in spans], np.str_)
    begins, ends = [it[0] for it in spans], [it[1] for it in spans]
    return IntervalRows.of(
        np.array(begins, np.int64), np.array(ends, np.int64), texts, n_rows, where
    )


def _texts(annotations: Sequence[Annotation]) -> str:
    return listed(
        (repr(it) for it, _ in Counter(a.text for a in annotations).most_common()), _MAX_TEXTS
    )


def _chosen(
    annotations: Sequence[Annotation], options: SourceOptions, where: str
) -> list[Annotation]:
    """Return the annotations whose text `annotations=` names, or its expression finds."""
    wanted = options.annotations
    if wanted is None:
        return list(annotations)
    if isinstance(wanted, str):
        found = [it for it in annotations if re.search(wanted, it.text)]
    else:
        found = [it for it in annotations if it.text in wanted]
    if not found and options.unlabelled is None:
        shown = repr(wanted) if isinstance(wanted, str) else list(wanted)
        raise SourceError(
            f"{where}: annotations={shown} chooses none of its annotations, which are "
            f"{_texts(annotations) or 'none at all'}; correct it, or if rows without one are a "
            "class, give it a name with unlabelled= (--unlabelled)."
        )
    return found


def _spans(
    annotations: Sequence[Annotation], time: Timeline, n_rows: int
) -> list[tuple[int, int, Annotation]]:
    """Return (first row, the one after the last, annotation) in the order of time.

    Where one ends as the next begins, but for rounding, the rows touch as well.
    """
    lasting = [it for it in annotations if it.duration_s > 0]
    ordered = sorted(lasting, key=lambda it: it.onset_s)
    found = []
    for number, it in enumerate(ordered):
        begin = time.row(it.onset_s)
        end_s = it.onset_s + it.duration_s
        end = time.row(end_s)
        if number + 1 < len(ordered):
            later = ordered[number + 1]
            first, over_s = time.row(later.onset_s), end_s - later.onset_s
            is_near = -_SAME_S < over_s < max(_TOUCHING_S, 1 / time.rate_hz)
            if is_near and begin < first and later.onset_s > it.onset_s:
                end = min(end, first) if over_s >= _SAME_S else first
        begin, end = max(0, begin), min(n_rows, end)  # scorers go on after the end
        if begin < end:
            found.append((begin, end, it))
    return found


def _refuse_overlaps(
    spans: Sequence[tuple[int, int, Annotation]],
    annotations: Sequence[Annotation],
    where: str,
) -> None:
    for before, after in itertools.pairwise(spans):
        if after[0] < before[1]:
            one, two = (
                f"{it.text!r} ({it.onset_s:g} s to {it.onset_s + it.duration_s:g} s)"
                for it in (before[2], after[2])
            )
            raise SourceError(
                f"{where}: the annotations {one} and {two} overlap, so that a row has two labels; "
                f"choose those that are the labels, of {_texts(annotations)}, by a list or a "
                f"regular expression: annotations=[{before[2].text!r}, ...] (--annotations)."
            )
