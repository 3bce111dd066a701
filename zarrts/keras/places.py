"""The file and the time that each prediction is of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts.keras.spec import Spec
from zarrts.results import Places
from zarrts.samples import Samples
from zarrts.types import IntArray


def places_of_samples(samples: Samples, ids: IntArray, recordings: IntArray) -> Places:
    """Return where samples of a store lie, by their ids and the numbers of their recordings."""
    store, index = samples.store, samples.selection.view.index
    starts = index.first_rows(ids) - store.catalog.row_starts[recordings]
    return Places(
        subjects=tuple(it.subject for it in store.recordings),
        sources=tuple(it.source for it in store.recordings),
        starts=np.asarray(starts, np.int64),
        stops=np.asarray(starts + index.n_rows(ids), np.int64),
        rate_hz=store.header.row_rate_hz if store.is_ragged else None,
    )


def places_of_files(
    readers: Sequence[tuple[str, Any]],
    spec: Spec,
    stride: int | None,
    ids: IntArray,
    recordings: IntArray,
) -> Places:
    """Return where samples lie that `batches_of_files` cut from files, in rows of each file."""
    lengths = np.array([reader.shape[0] for _, reader in readers], np.int64)
    starts, stops = np.zeros(len(ids), np.int64), lengths[recordings]
    if spec.x_steps is not None:
        steps = np.array(spec.x_steps, np.int64)
        span = int(steps.max()) + 1 if steps.size else 1
        step = (stride or span) if steps.ndim else 1
        # Ids count through all files; those of a file are consecutive, from its first window on.
        _, first = np.unique(recordings, return_index=True)
        before = np.repeat(ids[first], np.diff([*first, len(ids)]))
        starts = (ids - before) * step
        stops = starts + span
    return Places(
        subjects=None,
        sources=tuple(origin for origin, _ in readers),
        starts=starts,
        stops=stops,
    )
