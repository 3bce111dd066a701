"""Divide the samples of each subject in time: the past trains, what comes later is held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.types import IntArray

Span = tuple[int, int]
"""Half-open, of the samples of one subject counted in their order."""


def hold_out_last(
    n_samples: int, *, val: float | None, test: float | None, gap: int, who: str
) -> dict[str, Span]:
    """Return the span of each part: "train" first, then "val" and "test", as time goes on.

    Parameters
    ----------
    n_samples : int
        Of one subject.
    val, test : fraction or count of its samples, or None
        A fraction is rounded to the nearest count, at least 1.
    gap : int
        Samples that are left out between two parts.
    who : str
        What messages call the subject.

    Raises
    ------
    SampleError
        If nothing is left to train on.
    """
    sizes = {
        name: _count(part, n_samples, name)
        for name, part in (("val", val), ("test", test))
        if part is not None
    }
    if not sizes:
        raise SampleError("Say what to hold out: split(test=0.2, within='subject'), ...")
    needed = sum(sizes.values()) + gap * len(sizes)
    if needed >= n_samples:
        raise SampleError(
            f"{who} has {n_samples:,} samples, but {needed:,} are held out or left out as gaps; "
            "nothing is left to train on. Hold out less, or lower gap."
        )
    spans = {}
    stop = n_samples
    for name in reversed(sizes):
        spans[name] = (stop - sizes[name], stop)
        stop -= sizes[name] + gap
    return {"train": (0, stop), **{name: spans[name] for name in sizes}}


def _count(part: float, n_samples: int, name: str) -> int:
    is_count = isinstance(part, int) and not isinstance(part, bool)
    if not isinstance(part, int | float) or part <= 0 or not (is_count or part < 1):
        raise SampleError(
            f"{name}={part!r}: within a subject, give a fraction of its samples between 0 and 1, "
            "or a count of samples."
        )
    return int(part) if is_count else max(1, round(part * n_samples))


def check_blocks(n_samples: int, k: int, *, gap: int, who: str) -> None:
    """Raise the error of k folds in time that cannot be, or leave nothing to train on."""
    if not 2 <= k <= n_samples:
        raise SampleError(
            f"folds({k}) within {who}, which has {n_samples:,} samples: the number of folds has to "
            f"lie between 2 and {n_samples:,}."
        )
    for number in range(k):
        before, after, _ = block(n_samples, k, number, gap=gap)
        if before[0] >= before[1] and after[0] >= after[1]:
            raise SampleError(
                f"gap={gap} leaves nothing of {who} ({n_samples:,} samples) to train on; lower gap."
            )


def block(n_samples: int, k: int, number: int, *, gap: int) -> tuple[Span, Span, Span]:
    """Return what trains before and after, and what one of k folds tests; each is tested once.

    `gap` samples before and after what is tested are in neither; a span may be empty.
    """
    start, stop = n_samples * number // k, n_samples * (number + 1) // k
    return (0, max(0, start - gap)), (min(n_samples, stop + gap), n_samples), (start, stop)


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

    def parts(self, spans: Sequence[Span]) -> Ranges:
        """Return the samples in a span of each stretch."""
        bounds = np.array(spans, np.int64)[self.of_recording]
        start = np.clip(bounds[:, 0] - self.done, 0, self.count)
        stop = np.clip(bounds[:, 1] - self.done, start, self.count)
        filled = stop > start
        low = self.selection.ids((self.first + start)[filled])
        high = self.selection.ids((self.first + stop)[filled] - 1) + 1
        return Ranges.of_bounds(low, high) & self.selection
