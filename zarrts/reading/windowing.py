"""Cut the recordings of a ragged store into windows: what `Samples` can do of it."""

import warnings
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np

from zarrts.errors import SampleError
from zarrts.keywords import refuse_unknown
from zarrts.reading.contents import Contents
from zarrts.samples.cuts import View
from zarrts.samples.units import Ranges
from zarrts.samples.windows import (
    Gaps,
    WindowLabel,
    WindowOptions,
    numbers_of_gaps,
    rows_of_time,
    sequences_of,
)
from zarrts.types import IntArray

_MISSING_CODE = -1
_MAX_NAMED = 3


class Windowed:
    """Samples that can be cut into windows; `Samples` is one, and adds all else."""

    store: Contents
    selection: Ranges
    view: View

    @property
    def starts(self) -> IntArray:
        """First id of each recording of the store, selected or not, and the number of ids."""
        raise NotImplementedError

    def viewed(self, view: View) -> Self:
        """Return the samples of another view that lie in the recordings of these."""
        raise NotImplementedError

    def windows(
        self,
        length: int | str,
        stride: int | str = 1,
        sampling_rate: int = 1,
        *,
        start: int | str = 0,
        stop: int | str | None = None,
        reverse: bool = False,
        label: WindowLabel = "recording",
        horizon: int | str | Sequence[int] = 1,
        target: Literal["labels", "x"] = "labels",
        channels: Sequence[int | str] | None = None,
        gaps: Gaps | None = None,
        **unknown: object,
    ) -> Self:
        """Return windows of these recordings as samples; nothing is copied or read.

        No window crosses the end of a recording, and those whose target would lie outside do not
        exist; recordings that are too short for any are counted in a warning. Sample ids count
        the windows of the whole store, selected or not.

        Parameters
        ----------
        length : int or str
            Rows (time steps) that a window spans, as in Keras' TimeseriesGenerator; or a time
            such as "30s", where the store knows its rate.
        stride : int or str
            Rows, or time, from the start of one window to that of the next.
        sampling_rate : int
            Takes every so manieth row of a window: ceil(length / sampling_rate) steps.
        start, stop : int or str
            Of each recording, only these rows, as in a slice; or a time after its begin.
        reverse : bool
            Time runs backwards in x (and in y with label="all").
        label : str or callable
            "recording": the label of the recording. "first", "last": of the first or last row of
            the window. "next": of the row that follows, or `horizon` rows later. "majority": the
            most frequent of all rows, of several the smallest. "all": of each step, shape (steps,).
            A function is given the stored labels of all rows of some windows, (n, length, ...),
            and returns (n, ...).
        horizon : int, str or sequence of int
            With label="next": how many rows after the last one of the window; 1 is the next.
            Several give several targets.
        target : "labels" or "x"
            "x": forecast x itself: y are the values of the row that `label` says, scaled as x is.
        channels : sequence of int or str, optional
            With target="x": these channels only, by number or name.
        gaps : mapping, optional
            For some recordings (by number, or by source as in `store.recordings`), the rows before
            which something is missing; no window crosses them.

        Raises
        ------
        SampleError
            If these samples are no recordings, labels are not of the kind asked for, or no window
            fits.
        """
        refuse_unknown(self.windows, unknown)
        self._refuse_view()
        rate_hz = self.store.rate_hz
        ahead: int | tuple[int, ...]
        if isinstance(horizon, int | str | np.integer):
            ahead = rows_of_time("horizon", horizon, rate_hz)
        else:
            ahead = tuple(int(it) for it in horizon)
        options = WindowOptions(
            length=rows_of_time("length", length, rate_hz),
            stride=rows_of_time("stride", stride, rate_hz),
            sampling_rate=sampling_rate,
            start=rows_of_time("start", start, rate_hz),
            stop=None if stop is None else rows_of_time("stop", stop, rate_hz),
            reverse=reverse,
            label=label,
            horizon=ahead,
            target=target,
            channels=None if channels is None else self._numbers_of(channels),
        )
        self._check_labels(options)
        recordings = self.store.recordings if gaps else ()
        found = numbers_of_gaps(gaps or {}, [it.source for it in recordings])
        key = (*options.key, tuple((i, tuple(sorted(rows))) for i, rows in sorted(found.items())))
        index = options.index(self.store.catalog.row_starts, found)
        is_code = self.store.header.labels.encoding == "codes"
        cut = options.cut(missing=_MISSING_CODE if is_code else None)
        return self._filled(View(index, cut, key), "window")

    def sequences(self, n: int, stride: int | None = None) -> Self:
        """Return n consecutive windows as one sample (n, time, channel), with n labels.

        Parameters
        ----------
        n : int
            Windows in a sequence; those at the end of a recording that fill none are left out.
        stride : int, optional
            Windows from the start of one sequence to that of the next; by default `n`, so that no
            window is in two.

        Raises
        ------
        SampleError
            If these samples are no windows, or no recording has `n`.
        """
        return self._filled(sequences_of(self.view, n, stride), "sequence")

    def stateful_order(self, batch_size: int) -> IntArray:
        """Return ids in the order that stateful networks need, for `order=`.

        In batches of `batch_size`, sample i of a batch follows sample i of the batch before: the
        samples are cut into as many stretches, and each batch has the next one of each. Where a
        recording ends inside a stretch, the next one follows. All batches are full; up to
        `batch_size` - 1 samples at the end are left out.

        Raises
        ------
        SampleError
            If there are fewer samples than `batch_size`.
        """
        n_batches = len(self.selection) // batch_size if batch_size > 0 else 0
        if n_batches == 0:
            raise SampleError(
                f"stateful_order({batch_size}): {len(self.selection):,} samples make no full "
                "batch; choose between 1 and that."
            )
        numbers = np.arange(n_batches * batch_size).reshape(batch_size, n_batches)
        return self.selection.ids(numbers.T.ravel())

    def _filled(self, view: View, what: str) -> Self:
        found = self.viewed(view)
        if len(found.selection) == 0:
            raise SampleError(f"No {what} fits into these recordings, only into others; lower it.")
        before, after = self._recordings(), found._recordings()
        lost = np.setdiff1d(before, after)
        if len(lost):
            sources = [self.store.recordings[i].source for i in lost[:_MAX_NAMED].tolist()]
            more = f" and {len(lost) - _MAX_NAMED:,} more" if len(lost) > _MAX_NAMED else ""
            warnings.warn(
                f"{len(lost):,} of {len(before):,} recordings are too short for a {what} and give "
                f"none: {', '.join(sources)}{more}.",
                stacklevel=3,
            )
        return found

    def _recordings(self) -> IntArray:
        """Return the numbers of the recordings that these samples are of."""
        return np.flatnonzero(np.diff(self.selection.count_below(self.starts)))

    def _refuse_view(self) -> None:
        if not self.store.is_ragged:
            raise SampleError(
                f"windows() cuts recordings whose rows follow in time, but {self.store.path} holds "
                f"samples of shape {self.store.sample_shape}; convert with kind='ragged' for that."
            )
        if self.view is not self.store.view:
            raise SampleError("These samples are windows; cut store.samples, or a part of these.")

    def _check_labels(self, options: WindowOptions) -> None:
        if options.target == "x":
            return
        if self.store.header.labels_per == "recording":
            if options.label != "recording":
                raise SampleError(
                    f"label={options.label!r} needs a label for each row, but {self.store.path} "
                    "has one for each recording; use label='recording'."
                )
        elif options.label == "recording":
            raise SampleError(
                f"label='recording' needs one label for each recording, but {self.store.path} has "
                "one for each row; use 'last', 'majority', 'all', ..."
            )
        labels = self.store.header.labels
        if options.label == "majority" and labels.class_names is None:
            raise SampleError("label='majority' needs classes, but these labels are numbers.")

    def _numbers_of(self, channels: Sequence[int | str]) -> tuple[int, ...]:
        names, count = self.store.channels or [], self.store.header.segments[0].x.shape[-1]
        numbers = [names.index(it) if it in names else it for it in channels]
        for number in numbers:
            if not isinstance(number, int | np.integer) or not 0 <= number < count:
                known = ", ".join(names) or f"0 to {count - 1}"
                raise SampleError(f"channels: there is no channel {number!r}; there are {known}.")
        return tuple(int(number) for number in numbers)
