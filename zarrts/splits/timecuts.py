"""Divide the samples of each subject in time: the past trains, what comes later is held out.

Positions count the samples of one stretch (a subject, or a recording) in their order. All stretches
are divided at once; arrays have one entry a stretch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.types import IntArray

Spans = tuple[IntArray, IntArray]
"""Half-open, start and stop, of the samples of each stretch."""
LeftOut = Callable[[IntArray], IntArray]
"""Return how many samples to leave out beside a border at some positions."""


def hold_out_last(
    sizes: IntArray,
    *,
    val: float | None,
    test: float | None,
    left_before: LeftOut,
    names: Sequence[str],
) -> dict[str, Spans]:
    """Return the spans of each part: "train" first, then "val" and "test", as time goes on.

    Parameters
    ----------
    sizes : int64, shape (n_stretches,)
        Samples of each.
    val, test : fraction or count of them, or None
        A fraction is rounded to the nearest count, at least 1.
    left_before : callable
        Of the samples before the first of a part, how many are left out.
    names : sequence of str
        Of the stretches, for messages.

    Raises
    ------
    SampleError
        If nothing is left to train on.
    """
    wanted = {
        name: _counts(part, sizes, name)
        for name, part in (("val", val), ("test", test))
        if part is not None
    }
    if not wanted:
        raise SampleError("Say what to hold out: split(test=0.2, within='subject'), ...")
    spans, stop = {}, sizes
    for name in reversed(wanted):
        start = stop - wanted[name]
        spans[name] = (start, stop)
        stop = start - left_before(np.clip(start, 0, sizes))
    is_empty = stop <= 0
    if is_empty.any():
        number = int(is_empty.argmax())
        raise SampleError(
            f"{names[number]} has {sizes[number]:,} samples, but "
            f"{sizes[number] - stop[number]:,} are held out or left out as gaps; "
            "nothing is left to train on. Hold out less, or lower gap."
        )
    return {"train": (np.zeros_like(stop), stop), **{name: spans[name] for name in wanted}}


def _counts(part: float, sizes: IntArray, name: str) -> IntArray:
    is_count = isinstance(part, int | np.integer) and not isinstance(part, bool)
    is_number = is_count or isinstance(part, float | np.floating)
    if not is_number or part <= 0 or not (is_count or part < 1):
        raise SampleError(
            f"{name}={part!r}: within a subject, give a fraction of its samples between 0 and 1, "
            "or a count of samples."
        )
    if is_count:
        return np.full(len(sizes), int(part), np.int64)
    return np.maximum(1, np.round(part * sizes)).astype(np.int64)


def block(
    sizes: IntArray,
    k: int,
    number: int,
    *,
    left_before: LeftOut,
    left_after: LeftOut,
    names: Sequence[str],
) -> tuple[Spans, Spans, Spans]:
    """Return what trains before and after, and what one of k folds tests; each is tested once.

    Samples that are left out before and after what is tested are in neither; a span may be empty.

    Raises
    ------
    SampleError
        If there cannot be k folds, or nothing is left to train on.
    """
    is_bad = (sizes < k) | (k < 2)
    if is_bad.any():
        size = sizes[int(is_bad.argmax())]
        raise SampleError(
            f"folds({k}) within {names[int(is_bad.argmax())]}, which has {size:,} samples: the "
            f"number of folds has to lie between 2 and {size:,}."
        )
    start, stop = sizes * number // k, sizes * (number + 1) // k
    before = np.zeros_like(start), np.maximum(0, start - left_before(start))
    after = np.minimum(sizes, stop + left_after(stop)), sizes
    is_empty = (before[1] <= 0) & (after[0] >= sizes)
    if is_empty.any():
        which = int(is_empty.argmax())
        raise SampleError(
            f"Nothing of {names[which]} ({sizes[which]:,} samples) is left to train on beside fold "
            f"{number}: too many are left out as gaps; lower gap, or the number of folds."
        )
    return before, after, (start, stop)


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """The samples of each subject or recording, one after the other in time.

    Attributes
    ----------
    names : tuple of str
        Of the stretches.
    selection : Ranges
        Of all samples.
    of_recording, first, count : int64, shape (n_recordings,)
        Of each recording with selected samples: its stretch; the number of its first sample,
        counted along the selection; and how many it has.
    done : int64, shape (n_recordings,)
        How many samples of its stretch come before it.
    """

    names: tuple[str, ...]
    selection: Ranges
    of_recording: IntArray
    first: IntArray
    count: IntArray
    done: IntArray

    @staticmethod
    def of(
        selection: Ranges, per_recording: IntArray, of_recording: IntArray, names: tuple[str, ...]
    ) -> "Stretches":
        """Return the stretches of some samples.

        Parameters
        ----------
        per_recording, of_recording : int64, shape (n_recordings,)
            How many of the samples each recording holds, and which stretch it belongs to.
        """
        first = np.cumsum(per_recording) - per_recording
        filled = per_recording > 0
        of_recording, first, count = (it[filled] for it in (of_recording, first, per_recording))
        order = np.argsort(of_recording, kind="stable")
        before = np.cumsum(count[order]) - count[order]
        is_new = np.diff(of_recording[order], prepend=-1) != 0
        done = np.empty_like(before)
        done[order] = before - before[is_new][of_recording[order]]
        return Stretches(
            names=names,
            selection=selection,
            of_recording=of_recording,
            first=first,
            count=count,
            done=done,
        )

    @property
    def sizes(self) -> IntArray:
        """Number of samples of each stretch."""
        sizes = np.zeros(len(self.names), np.int64)
        np.add.at(sizes, self.of_recording, self.count)
        return sizes

    @cached_property
    def _before(self) -> tuple[IntArray, IntArray, IntArray]:
        """Recordings in the order of stretches, samples before each, and before each stretch."""
        order = np.argsort(self.of_recording, kind="stable")
        return order, _sums(self.count[order]), _sums(self.sizes)

    def ids(self, positions: IntArray) -> IntArray:
        """Return the id of the sample at a position of each stretch, all of which exist."""
        order, before_recording, before_stretch = self._before
        place = before_stretch[:-1] + positions
        which = np.searchsorted(before_recording, place, "right") - 1
        numbers = self.first[order][which] + place - before_recording[which]
        return self.selection.ids(numbers)

    def parts(self, spans: Spans) -> Ranges:
        """Return the samples in a span of each stretch."""
        low, high = (it[self.of_recording] for it in spans)
        start = np.clip(low - self.done, 0, self.count)
        stop = np.clip(high - self.done, start, self.count)
        filled = stop > start
        first = self.selection.ids((self.first + start)[filled])
        last = self.selection.ids((self.first + stop)[filled] - 1) + 1
        return Ranges.of_bounds(first, last) & self.selection


def _sums(values: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(values)])
