"""The file and the time that each prediction is of."""

import numpy as np

from zarrts.keras.source_cuts import SourceCuts
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
    cuts: SourceCuts,
    ids: IntArray,
    recordings: IntArray,
) -> Places:
    """Return where samples lie that `batches_of_files` cut from files, in rows of each file."""
    starts, stops = cuts.places(ids, recordings)
    return Places(
        subjects=None,
        sources=tuple(it.origin for it in cuts.inputs),
        starts=starts,
        stops=stops,
    )
