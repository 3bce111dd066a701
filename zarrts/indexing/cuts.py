"""Cut samples out of the rows of a store: choose the rows that are x, and those that are y."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.indexing.indexes import RecordingIndex, RowIndex, SampleIndex
from zarrts.types import AnyArray, IntArray, LabelsPer

TargetOf = Literal["row", "recording", "sample", "x"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """The rows of a sample, counted from its first one, that become its x and its y.

    Attributes
    ----------
    x_steps : int64, or None
        A sample's x is (*x_steps.shape, *row_shape); None: all rows of a sample, which are of
        unequal lengths.
    y_steps : int64, or None
        The same for y; of a label per recording, only the shape counts.
    y_of : str
        "row": the labels of these rows. "recording": the label of the recording. "sample": one of
        `labels`. "x": values of these rows, of the channels `y_channels`.
    y_channels : int64, shape (n_channels,), or None
        All of them by default.
    y_input : str
        Name of the input that y is of, where it is one of several.
    reduce : callable, or None
        Turns stored labels of windows, (n, y_steps.shape[-1], ...), into one each; see `reduced`.
    labels : array, shape (n_samples,), or None
        Of all samples of the view, as stored labels are.
    """

    x_steps: IntArray | None
    y_steps: IntArray | None
    y_of: TargetOf
    y_channels: IntArray | None = None
    y_input: str = ""
    reduce: Callable[[AnyArray], AnyArray] | None = None
    labels: AnyArray | None = None

    @property
    def is_of_equal_lengths(self) -> bool:
        """Whether every sample's x has the same shape."""
        return self.x_steps is not None

    @property
    def of_first_row(self) -> "Cut":
        """The same with the first row of a sample as its x, for what does not change in time."""
        return replace(self, x_steps=_FIRST)

    @property
    def n_label_axes(self) -> int:
        """Number of axes of y that count labels of a sample, where samples have equally many."""
        n_axes = 0 if self.y_steps is None else self.y_steps.ndim
        return n_axes - (self.reduce is not None)

    def reduced(self, stored: AnyArray) -> AnyArray:
        """Return y of some samples from the labels of their steps, (n, *y_steps.shape, ...).

        In sequences of windows, each window is reduced by itself.
        """
        if self.reduce is None:
            return stored
        before = stored.shape[: 1 + self.n_label_axes]
        found = np.asarray(self.reduce(stored.reshape(-1, *stored.shape[len(before) :])))
        return found.reshape(*before, *found.shape[1:])

    @cached_property
    def x_runs(self) -> tuple[IntArray, int] | None:
        """First step and length of the runs of consecutive rows in x, where x is made of such."""
        steps = self.x_steps
        if steps is None or steps.ndim == 0 or steps.shape[-1] < 2 or (np.diff(steps) != 1).any():
            return None
        return steps[..., 0], steps.shape[-1]

    def n_x(self, fit: "Fit | None") -> tuple[int, ...]:
        """Return how many steps x has, along each of its axes of steps."""
        return _shape(self.x_steps, fit)

    def n_y(self, fit: "Fit | None") -> tuple[int, ...]:
        """Return how many steps y has, along each of its axes of steps."""
        return _shape(self.y_steps, fit)

    def x_rows(self, firsts: IntArray, fit: "Fit | None") -> IntArray:
        """Return the rows of some samples that become x, shape (n_samples, ...).

        Parameters
        ----------
        firsts : int64, shape (n_samples,)
            First row of each, wherever they are counted from.
        fit : Fit, or None
            How samples of unequal lengths are brought to one length.
        """
        return _rows(firsts, self.x_steps, fit)

    def y_rows(self, firsts: IntArray, fit: "Fit | None") -> IntArray:
        """Return the rows whose labels or values become y, shape (n_samples, ...)."""
        return _rows(firsts, self.y_steps, fit)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """The way some samples of unequal lengths are brought to one length.

    A longer sample loses its end, or with `keeps_end` its beginning. What is behind the end of a
    shorter one repeats its last row, for the caller to overwrite.

    Attributes
    ----------
    lengths : int64, shape (n_samples,)
        In rows, each at least 1.
    n_steps : int
        That all get.
    keeps_end : bool
    """

    lengths: IntArray
    n_steps: int
    keeps_end: bool = False

    @property
    def kept(self) -> IntArray:
        """Number of rows of each sample that are kept."""
        return np.minimum(self.lengths, self.n_steps)

    @property
    def is_behind(self) -> NDArray[np.bool_]:
        """The steps behind the end of a sample, bool of shape (n_samples, n_steps)."""
        return np.asarray(np.arange(self.n_steps) >= self.lengths[:, None])

    def rows(self, firsts: IntArray) -> IntArray:
        """Return the rows of the samples, shape (n_samples, n_steps)."""
        if self.keeps_end:
            firsts = firsts + self.lengths - self.kept
        inside = np.minimum(np.arange(self.n_steps), self.kept[:, None] - 1)
        return np.asarray(firsts[:, None] + inside)

    def __getitem__(self, some: slice | NDArray[np.bool_]) -> "Fit":
        return Fit(lengths=self.lengths[some], n_steps=self.n_steps, keeps_end=self.keeps_end)


@dataclass(frozen=True)
class View:
    """The samples of a store, as they are cut from its rows.

    Attributes
    ----------
    index : SampleIndex
        Which rows they are.
    cut : Cut
        What of these rows is x, and what y is.
    key : tuple
        The same for views of the same samples, whose ids can be compared.
    drops_bad : bool
        Samples with NaN, or rows that are masked, were left out, and are where new data are cut
        alike.
    before : int, or None
        Of windows at events: rows from the first one to that of the event.
    """

    index: SampleIndex
    cut: Cut
    key: tuple[object, ...]
    drops_bad: bool = False
    before: int | None = None


_FIRST = np.zeros((), np.int64)

DENSE = Cut(x_steps=_FIRST, y_steps=_FIRST, y_of="row")
"""A row is a sample, with a label of its own."""

RECORDINGS = Cut(x_steps=None, y_steps=_FIRST, y_of="recording")
"""A recording is a sample, with one label."""

LABELLED_ROWS = Cut(x_steps=None, y_steps=None, y_of="row")
"""A recording is a sample, and each of its rows has a label."""


def view_of_store(offsets: IntArray, labels_per: LabelsPer) -> View:
    """Return the samples of a store as they were stored: rows, or recordings of any length.

    Parameters
    ----------
    offsets : int64, shape (n_recordings + 1,)
        First row of each recording; the last entry is the total.
    """
    if labels_per == "sample":
        return View(RowIndex(int(offsets[-1])), DENSE, ("rows",))
    cut = LABELLED_ROWS if labels_per == "row" else RECORDINGS
    return View(RecordingIndex.of(offsets), cut, ("recordings",))


def _shape(steps: IntArray | None, fit: Fit | None) -> tuple[int, ...]:
    if steps is not None:
        return steps.shape
    assert fit is not None, "samples of unequal lengths are not brought to one"
    return (fit.n_steps,)


def _rows(firsts: IntArray, steps: IntArray | None, fit: Fit | None) -> IntArray:
    if steps is _FIRST:
        return firsts
    if steps is not None:
        return np.asarray(firsts.reshape(-1, *(1 for _ in steps.shape)) + steps)
    assert fit is not None, "samples of unequal lengths are not brought to one"
    return fit.rows(firsts)
