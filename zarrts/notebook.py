"""The table that a notebook shows of a store, or of samples; no sample is read for it."""

import numpy as np

from zarrts import markup
from zarrts.reading.selection import Selection
from zarrts.sizes import format_count

_MAX_SUBJECTS = 12
_MAX_CLASSES = 12


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
    what += f", each {store.sample_shape} {store.dtype}" if is_stored else ""
    rate = f", {store.rate_hz:g} Hz" if store.rate_hz else ""
    caption = f"{store.path}: {what}{rate}; {format_count(len(present), 'subject')}"
    return markup.table(caption, header, rows)
