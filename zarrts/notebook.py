"""The tables that a notebook shows of a store, samples or a split; no sample is read for them."""

from collections.abc import Mapping

import numpy as np

from zarrts import markup
from zarrts.keywords import first_names
from zarrts.reading.selection import Selection
from zarrts.sizes import format_count

_MAX_SUBJECTS = 12
_MAX_CLASSES = 12
_MAX_NAMED = 6


def table_of(selection: Selection) -> str:
    """Return HTML: how many samples each subject has, and of which class."""
    store, catalog = selection.store, selection.store.catalog
    per_recording = selection.per_recording
    codes = catalog.subject_codes
    per_subject = np.bincount(codes, per_recording, len(catalog.subjects)).astype(np.int64)
    present = np.flatnonzero(per_subject)
    header, columns = ["subject", "samples"], [per_subject]
    names = [str(it) for it in store.class_names or ()]
    # Of windows, and of recordings that are selected in part, classes would have to be read.
    is_stored = selection.is_as_stored
    is_whole = bool(((per_recording == 0) | (per_recording == np.diff(selection.starts))).all())
    counts = catalog.class_counts if is_stored else None
    if counts is not None and 0 < len(names) <= _MAX_CLASSES and is_whole:
        chosen = counts * (per_recording > 0)[:, None]
        header += names
        columns += [np.bincount(codes, it, len(per_subject)).astype(np.int64) for it in chosen.T]
    rows = [
        [catalog.subjects[code], *(f"{column[code]:,}" for column in columns)]
        for code in present[:_MAX_SUBJECTS]
    ]
    if len(present) > _MAX_SUBJECTS:
        rows.append([f"and {len(present) - _MAX_SUBJECTS:,} more", *[""] * len(columns)])
    rows.append(["all", *(f"{column.sum():,}" for column in columns)])
    what = format_count(len(selection), "sample" if is_stored else "window")
    shown = ", ".join(
        f"{it.name} {it.shape} {it.spec.dtype}".strip() for it in selection.reader.inputs
    )
    what += f", each {shown}"
    rates = store.rate_hz if isinstance(store.rate_hz, dict) else {"": store.rate_hz}
    rate = "".join(f", {f'{name} ' if name else ''}{it:g} Hz" for name, it in rates.items() if it)
    caption = f"{store.path}: {what}{rate}; {format_count(len(present), 'subject')}"
    return markup.table(caption, header, rows)


def table_of_parts(parts: Mapping[str, Selection]) -> str:
    """Return HTML: samples and subjects of each part of a split, and who is held out."""
    total = max(1, sum(len(it) for it in parts.values()))
    rows = []
    for number, (name, it) in enumerate(parts.items()):
        n_subjects = len(it.subject_codes)
        who = first_names(it.subjects) if number or n_subjects <= _MAX_NAMED else "all others"
        rows.append([name, f"{len(it):,}", f"{len(it) / total:.0%}", f"{n_subjects:,}", who])
    store = next(iter(parts.values())).store
    return markup.table(
        f"A split of {store.path}", ["part", "samples", "share", "subjects", ""], rows
    )
