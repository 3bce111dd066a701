"""Samples of studies that exist only as counts: no files, no arrays."""

from types import SimpleNamespace

import numpy as np

from zarrts.indexing.cuts import view_of_store
from zarrts.indexing.units import Ranges
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.selection import Selection
from zarrts.samples import Samples
from zarrts.stats.moments import Moments
from zarrts.storage.catalog import Catalog
from zarrts.storage.table import RecordingTable


def samples_of(recordings, *, n_classes=3, chunk_rows=8, write_id="0"):
    """Return all samples of a study given as (subject, counts of its classes) of each recording."""
    subjects = tuple(subject for subject, _ in recordings)
    counts = np.array([counts for _, counts in recordings], np.int64).reshape(-1, n_classes)
    starts = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
    table = RecordingTable(
        subject=subjects,
        source=tuple(f"{subject}-{i}.npz" for i, subject in enumerate(subjects)),
        fingerprint=tuple(str(i) for i in range(len(subjects))),
        starts=starts,
        source_starts=np.zeros(len(subjects), np.int64),
        label_counts=counts,
        moments=Moments.empty(len(subjects), 1),
    )
    catalog = Catalog([table], n_classes)
    names = tuple(range(n_classes))
    segment = SimpleNamespace(
        n_samples=int(starts[-1]),
        n_rows=int(starts[-1]),
        write_id=write_id,
        x=SimpleNamespace(chunk_rows=chunk_rows),
    )
    store = SimpleNamespace(
        path="study.zarr",
        version=1,
        catalog=catalog,
        readers=None,
        view=view_of_store(catalog.row_starts, "sample"),
        subjects=catalog.subjects,
        recordings=catalog.recordings,
        class_names=list(names),
        n_samples=int(starts[-1]),
        header=SimpleNamespace(
            write_id=write_id,
            segments=(segment,),
            labels=LabelScheme(encoding="numbers", dtype=np.dtype(np.int64), class_names=names),
        ),
    )
    every = Ranges.of_bounds(np.zeros(1, np.int64), starts[-1:])
    return Samples(Selection(store, every, store.view, store.header.labels))
