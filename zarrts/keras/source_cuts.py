"""Samples that are cut from the inputs of source files, as a network takes them."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.events import EventRecording, EventWindows, LazyRows, windows_at
from zarrts.indexing.indexes import RecordingIndex, RowIndex, SampleIndex, WindowIndex
from zarrts.keras.spec import Spec
from zarrts.reading.events import events_of, runs_of_labels
from zarrts.timeline import stretches
from zarrts.types import IntArray, SourceInput


class SourceCuts:
    """The places of samples in some source files; their ids count through all files.

    Parameters
    ----------
    inputs : sequence of SourceInput
    spec : Spec
        How the network was trained.
    stride : int, optional
        Of windows, in rows; by default they do not overlap.
    at : optional
        Events at which windows are cut, as `Samples.windows` has it.
    """

    def __init__(
        self, inputs: Sequence[SourceInput], spec: Spec, stride: int | None, at: Any = None
    ) -> None:
        self.inputs, self.spec = tuple(inputs), spec
        self._stride, self._at = stride, at
        refuse_no_events(spec, stride, at)

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
        if self._at is not None:
            return tuple(it.index for it in self.at_events)
        return tuple(map(self._index, self.inputs))

    @cached_property
    def at_events(self) -> tuple[EventWindows, ...]:
        """The windows of each file, where they are cut at events."""
        recordings = [_event_recording(it, self.spec.rate_hz) for it in self.inputs]
        events = events_of(self._at, recordings)
        none = np.zeros(0, np.int64)
        return tuple(
            windows_at(
                [found],
                np.array([0, it.x.shape[0]], np.int64),
                none if it.gaps is None else it.gaps.rows,
                [it.origin],
                before=self.spec.before or 0,
                n_rows=self.span,
            )
            for it, found in zip(self.inputs, events, strict=True)
        )

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

    @property
    def is_at_events(self) -> bool:
        """Whether windows are cut at events, and labelled by them."""
        return self._at is not None

    def places(self, ids: IntArray, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Return first row of some samples, and the one after the last, by files they are of."""
        starts, stops = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        for number in np.unique(numbers).tolist():
            some, index = numbers == number, self.indexes[number]
            own = ids[some] - self.firsts[number]
            starts[some] = index.first_rows(own)
            stops[some] = starts[some] + index.n_rows(own)
        return starts, stops


def refuse_no_events(spec: Spec, stride: int | None, at: Any) -> None:
    """Raise SampleError unless it is known where the windows of new data are."""
    if at is None and spec.before is not None and stride is None:
        raise SampleError(
            "The network was trained on windows at events: say where these are in the new data "
            "with at= (a table, a function or 'annotations'), or cut windows all along it with "
            "stride=."
        )
    if at is not None and spec.before is None:
        raise SampleError(
            "at= is for networks that were trained on windows at events, samples.windows(at=...), "
            "and this one was not; leave it out."
        )
    if at is not None and stride is not None:
        raise SampleError("at= cuts one window at each event; leave stride= out.")


def _event_recording(it: SourceInput, rate_hz: float | None) -> EventRecording:
    return EventRecording(
        subject=it.subject,
        source=it.origin,
        rate_hz=rate_hz,
        x=LazyRows(it.x.shape, it.x.dtype, it.x.read),
        labels=None if it.y is None else partial(runs_of_labels, it.y),
        gaps=it.gaps,
    )
