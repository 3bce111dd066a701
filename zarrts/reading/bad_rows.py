"""Windows without rows that are no good: NaN, or rows that the mask of a store marks."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.indexing.indexes import SampleIndex
from zarrts.indexing.units import Ranges
from zarrts.lists import listed
from zarrts.reading.chunk_pass import pass_over
from zarrts.reading.sample_reader import SampleInput, SampleReader
from zarrts.reading.selection import Selection
from zarrts.types import AnyArray, IntArray

_BLOCK_IDS, _PARTS_AT_ONCE = 1 << 14, 1 << 8
_MAX_NAMED = 3

IsBad = Callable[[AnyArray], NDArray[np.bool_]]
"""Returns which of some rows are no good."""


def without_bad_rows(selection: Selection) -> Selection:
    """Return those of some windows whose x (and targets that are values of x) is all good.

    Labels play no part. The mask is read, and x of recordings that hold NaN.

    Raises
    ------
    SampleError
        If none is left.
    """
    found = [_samples_with(*it) for it in _passes(selection)]
    if not any(map(len, found)):
        return selection
    good = _complement(Ranges.union(found), selection.view.index.n_samples)
    left = selection.narrowed(good)
    if len(left) == 0:
        raise SampleError(
            f"nan='drop' leaves none of {len(selection):,} windows: each has a row that is NaN or "
            "masked; choose shorter windows, or nan='keep'."
        )
    _warn_of_lost(selection, left)
    return left


def _passes(
    selection: Selection,
) -> Iterator[tuple[SampleReader, SampleInput, IntArray, IsBad]]:
    """Yield samples, one of their arrays, which of their rows count, and what is bad in a row."""
    cut = selection.view.cut
    assert cut.x_steps is not None
    of_targets = cut.y_steps if cut.y_of == "x" else None
    nan_counts = selection.store.catalog.moments.nan_count
    channels = selection.store.header.segments[0].channel_slices
    for one in selection.reader.inputs:
        own = nan_counts[:, channels[one.name]]
        holding = selection.of_recordings(np.flatnonzero(own.any(axis=1)))
        if len(holding):
            steps = one.cut.x_steps
            assert steps is not None
            yield holding.reader, one, steps, lambda rows: _is_nan(rows, None)
            if of_targets is not None and one.name == cut.y_input:
                yield holding.reader, one, of_targets, lambda rows: _is_nan(rows, cut.y_channels)
    masked = _as_masks(selection)
    if masked is not None:
        reader, one = masked
        yield reader, one, cut.x_steps, lambda rows: rows > 0
        if of_targets is not None:
            yield reader, one, of_targets, lambda rows: rows > 0


def _is_nan(rows: AnyArray, channels: IntArray | None) -> NDArray[np.bool_]:
    values = rows if channels is None else rows[..., channels]
    return np.asarray(np.isnan(values).reshape(len(rows), -1).any(axis=1))


def _as_masks(selection: Selection) -> tuple[SampleReader, SampleInput] | None:
    """Return a reader of samples in segments with a mask, and what gives that as an input."""
    readers, segments = selection.store.readers, selection.store.header.segments
    has_mask = [
        mask is not None
        for mask, it in zip(readers.mask, segments, strict=True)
        for _ in range(it.n_samples)
    ]  # a sample of a ragged segment is a recording
    masked = selection.of_recordings(np.array(has_mask, bool))
    if len(masked) == 0:
        return None
    # Of other segments no sample is there, so that their x is not read.
    of_masks = tuple(
        x if mask is None else mask for x, mask in zip(readers.x, readers.mask, strict=True)
    )
    reader = masked.reader
    return reader, SampleInput(
        name="mask", readers=of_masks, held=of_masks, steps=1, cut=reader.cut
    )


def _samples_with(reader: SampleReader, one: SampleInput, steps: IntArray, is_bad: IsBad) -> Ranges:
    """Return the ids of samples that have a bad row among those that count."""
    index, offsets = reader.units.index, np.unique(steps)

    def find(rows: AnyArray, counts: IntArray, first: int) -> Ranges:
        where = np.flatnonzero(is_bad(rows) & (counts > 0)) + first
        return samples_using(index, offsets, Ranges.of_ids(where))

    found = [Ranges.of_ids(np.zeros(0, np.int64))]
    for part in pass_over(reader, one, steps, find):
        if len(part):
            found.append(part)
        if len(found) == _PARTS_AT_ONCE:
            found = [Ranges.union(found)]
    return Ranges.union(found)


def samples_using(index: SampleIndex, steps: IntArray, rows: Ranges) -> Ranges:
    """Return the samples of equal length that use one of some rows.

    Parameters
    ----------
    steps : int64
        Rows of a sample that it uses, counted from its first one; ascending.
    rows : Ranges
        Counted through the store.

    Examples
    --------
    Windows of four rows, two apart, of ten rows of which row 5 is bad:

    >>> from zarrts.indexing.indexes import WindowIndex
    >>> index = WindowIndex.of(np.array([0]), np.array([10]), n_rows=4, stride=2)
    >>> found = samples_using(index, np.arange(4), Ranges.of_ids(np.array([5])))
    >>> found.ids(np.arange(len(found))).tolist()
    [1, 2]
    """
    first, last = int(steps[0]), int(steps[-1])
    near = Ranges.of_bounds(
        index.count_before(rows.starts - last), index.count_before(rows.stops - first)
    )
    if len(steps) == last - first + 1:
        return near
    # With rows between that are not used, those that are near need not use any.
    kept = []
    for start in range(0, len(near), _BLOCK_IDS):
        ids = near.ids(np.arange(start, min(start + _BLOCK_IDS, len(near))))
        used = index.first_rows(ids)[:, None] + steps
        n_bad = rows.count_below(used + 1) - rows.count_below(used)
        kept.append(ids[n_bad.any(axis=1)])
    return Ranges.of_ids(np.concatenate([np.zeros(0, np.int64), *kept]))


def _complement(ids: Ranges, n_ids: int) -> Ranges:
    edges = np.concatenate([[0], np.ravel(np.column_stack([ids.starts, ids.stops])), [n_ids]])
    return Ranges.of_bounds(edges[::2], edges[1::2])


def _warn_of_lost(before: Selection, after: Selection) -> None:
    lost = np.flatnonzero((before.per_recording > 0) & (after.per_recording == 0))
    if len(lost):
        sources = (before.store.recordings[i].source for i in lost.tolist())
        warnings.warn(
            f"{len(lost):,} recordings have no window without NaN or masked rows, and give none: "
            f"{listed(sources, _MAX_NAMED)}.",
            stacklevel=5,
        )
