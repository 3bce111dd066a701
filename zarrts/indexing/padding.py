"""Bring samples of unequal lengths into one array: choose the length of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.cuts import Fit
from zarrts.types import IntArray

Pad = Literal["batch", "longest"] | int
Truncate = Literal["pre", "post"]


@dataclass(frozen=True, kw_only=True)
class Padding:
    """The options of padding, as `BatchOptions` describes them."""

    pad: Pad
    value: float = 0.0
    truncate: Truncate = "post"
    buckets: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        is_length = isinstance(self.pad, int) and not isinstance(self.pad, bool) and self.pad > 0
        if self.pad not in ("batch", "longest") and not is_length:
            raise SampleError(f"pad={self.pad!r} is unknown; use 'batch', 'longest' or a length.")
        if self.truncate not in ("pre", "post"):
            raise SampleError(f"truncate={self.truncate!r} is unknown; use 'pre' or 'post'.")
        if self.buckets is None:
            return
        if self.pad != "batch":
            raise SampleError(
                f"buckets= are lengths of batches: say pad='batch', not {self.pad!r}."
            )
        lengths = (self.buckets,) if isinstance(self.buckets, int) else self.buckets
        if not lengths or min(lengths) < 1:
            raise SampleError(
                f"buckets={self.buckets!r} has to be a number of lengths, or the lengths."
            )

    def lengths_of(self, lengths: IntArray) -> "BatchLengths":
        """Return which lengths batches get.

        Parameters
        ----------
        lengths : int64, shape (n_samples,)
            Of all samples of the store, so that all parts of a split get the same.

        Raises
        ------
        SampleError
            If a sample is longer than the longest bucket.
        """
        longest = int(lengths.max(initial=1))
        keeps_end = self.truncate == "pre"
        if isinstance(self.pad, int):
            return BatchLengths((self.pad,), keeps_end)
        if self.pad == "longest":
            return BatchLengths((longest,), keeps_end)
        if self.buckets is None:
            return BatchLengths((), keeps_end)
        if isinstance(self.buckets, int):
            shares = np.arange(1, self.buckets + 1) / self.buckets
            found = np.quantile(lengths, shares, method="higher")
            return BatchLengths(tuple(sorted({int(it) for it in found})), keeps_end)
        if max(self.buckets) < longest:
            raise SampleError(
                f"buckets= end at {max(self.buckets):,} rows, but the longest sample has "
                f"{longest:,}; add that, or cut samples with pad={max(self.buckets)}."
            )
        return BatchLengths(tuple(sorted({*self.buckets})), keeps_end)


@dataclass(frozen=True)
class BatchLengths:
    """The lengths that batches may have, ascending; without any, each that of its longest."""

    choices: tuple[int, ...]
    keeps_end: bool

    def fit(self, lengths: IntArray) -> Fit:
        """Return how the samples of one batch are brought to one length."""
        longest = int(lengths.max(initial=1))
        n_steps = longest
        if self.choices:
            place = int(np.searchsorted(self.choices, longest))
            n_steps = self.choices[min(place, len(self.choices) - 1)]
        return Fit(lengths=lengths, n_steps=n_steps, keeps_end=self.keeps_end)

    def most(self, longest: int) -> int:
        """Return the most steps that a batch gets."""
        return self.choices[-1] if self.choices else longest


def describe_lengths(lengths: IntArray) -> str:
    """Return the range of lengths in words."""
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low:,} to {high:,} rows" if low < high else f"{low:,} rows"


def padding_of(
    pad: Pad | None, value: float, truncate: Truncate, buckets: int | Sequence[int] | None
) -> Padding | None:
    """Return what was asked for, or None where samples are not padded.

    Raises
    ------
    SampleError
        If something is asked for that does not go without `pad`.
    """
    if pad is None:
        if (value, truncate, buckets) != (0.0, "post", None):
            raise SampleError("pad_value=, truncate= and buckets= say how to pad: give pad= too.")
        return None
    if buckets is not None and not isinstance(buckets, int):
        buckets = tuple(int(length) for length in buckets)
    return Padding(pad=pad, value=value, truncate=truncate, buckets=buckets)
