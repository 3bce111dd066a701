"""Samples that are cut from the inputs of source files, as a network takes them."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from zarrts.indexing.indexes import RecordingIndex, RowIndex, SampleIndex, WindowIndex
from zarrts.keras.spec import Spec
from zarrts.timeline import stretches
from zarrts.types import IntArray, SourceInput


class SourceCuts:
    """Where the samples of some source files lie; their ids count through all files.

    Parameters
    ----------
    inputs : sequence of SourceInput
    spec : Spec
        How the network was trained.
    stride : int, optional
        Of windows, in rows; by default they do not overlap.
    """

    def __init__(self, inputs: Sequence[SourceInput], spec: Spec, stride: int | None) -> None:
        self.inputs, self.spec = tuple(inputs), spec
        self._stride = stride

    @cached_property
    def steps(self) -> IntArray | None:
        """Rows of a sample that are x, counted from its first; None: a whole recording."""
        return None if self.spec.x_steps is None else np.array(self.spec.x_steps, np.int64)

    @cached_property
    def span(self) -> int:
        """Rows from the first to the last of a window."""
        steps = self.steps
        return int(steps.max()) + 1 if steps is not None and steps.size else 1

    @cached_property
    def indexes(self) -> tuple[SampleIndex, ...]:
        """The samples of each file, by its own rows."""
        return tuple(map(self._index, self.inputs))

    @cached_property
    def firsts(self) -> IntArray:
        """Id of the first sample of each file, and the number of samples."""
        return np.concatenate([[0], np.cumsum([it.n_samples for it in self.indexes])]).astype(int)

    @property
    def n_samples(self) -> int:
        """Number of samples of all files."""
        return int(self.firsts[-1])

    def _index(self, source: SourceInput) -> SampleIndex:
        bounds = np.array([0, source.x.shape[0]], np.int64)
        if self.steps is None:
            return RecordingIndex.of(bounds)
        if self.steps.ndim == 0:
            return RowIndex(source.x.shape[0])
        breaks = bounds if source.gaps is None else source.gaps.rows
        return WindowIndex.of(*stretches(bounds, breaks), self.span, self._stride or self.span)

    def places(self, ids: IntArray, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Return first row of some samples, and the one after the last, by files they are of."""
        starts, stops = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        for number in np.unique(numbers).tolist():
            some, index = numbers == number, self.indexes[number]
            own = ids[some] - self.firsts[number]
            starts[some] = index.first_rows(own)
            stops[some] = starts[some] + index.n_rows(own)
        return starts, stops
