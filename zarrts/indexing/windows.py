"""Windows of recordings: which ones there are, and what each has as x and as y.

A view: nothing is copied, and a billion windows are a few arrays. The words are those of Keras'
TimeseriesGenerator; what each of its arguments is here stands in docs/windows.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from zarrts import sizes
from zarrts.errors import SampleError
from zarrts.indexing.cuts import Cut, TargetOf, View
from zarrts.indexing.indexes import WindowIndex
from zarrts.indexing.units import Ranges
from zarrts.loops.votes import majority
from zarrts.types import AnyArray, IntArray

WindowLabel = (
    Literal["recording", "first", "last", "next", "majority", "all"]
    | Callable[[AnyArray], AnyArray]
)
Gaps = Mapping[int | str, Iterable[int]]
_NAMED = ("recording", "first", "last", "next", "majority", "all")


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """The options of windows, all in rows; `Samples.windows` describes each.

    `target_input` is the input that targets are values of, where it is one of several.
    `label_steps` are the labels in a row; of more than one, `horizon` counts labels.
    """

    length: int
    stride: int = 1
    sampling_rate: int = 1
    start: int = 0
    stop: int | None = None
    reverse: bool = False
    label: WindowLabel = "recording"
    horizon: int | tuple[int, ...] = 1
    target: Literal["labels", "x"] = "labels"
    channels: tuple[int, ...] | None = None
    min_labelled: float = 0.5
    target_input: str = ""
    label_steps: int = 1
    purity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("length", "stride", "sampling_rate"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                raise SampleError(f"{name}={value!r} has to be a whole number, at least 1.")
        if not callable(self.label) and self.label not in _NAMED:
            known = ", ".join(repr(it) for it in _NAMED)
            raise SampleError(f"label={self.label!r} is unknown; use {known}, or a function.")
        if self.target not in ("labels", "x"):
            raise SampleError(f"target={self.target!r} is unknown; use 'labels' or 'x'.")
        if self.target == "x" and self.label not in ("first", "last", "next", "all"):
            raise SampleError(
                f"target='x' takes values of some rows, but label={self.label!r} names none; use "
                "label='next', 'last', 'first' or 'all'."
            )
        for name in ("min_labelled", "purity"):
            share = getattr(self, name)
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise SampleError(f"{name}={share!r} has to be a share of rows, from 0 to 1.")
        if self.purity and self.label != "majority":
            raise SampleError(
                f"purity={self.purity} is the share of the majority: say label='majority' too."
            )
        if self.channels is not None and self.target != "x":
            raise SampleError("channels= chooses values of x as the target: say target='x' too.")
        if not self._ahead or min(self._ahead) < 1:
            raise SampleError(
                f"horizon={self.horizon!r} counts rows behind a window, from 1, the next one, on."
            )

    @property
    def _ahead(self) -> tuple[int, ...]:
        return (self.horizon,) if isinstance(self.horizon, int) else self.horizon

    @property
    def x_steps(self) -> IntArray:
        """Rows of a window that become x, counted from its first one, in their order."""
        steps = np.arange(0, self.length, self.sampling_rate)
        return steps[::-1].copy() if self.reverse else steps

    @property
    def y_steps(self) -> IntArray:
        """Rows whose labels, or values, become y."""
        last = self.length - 1
        if self._picked is not None:
            return np.array([self._picked // self.label_steps])
        if self.label in ("recording", "first"):
            return np.zeros((), np.int64)
        if self.label == "last":
            return np.array(last)
        if self.label == "next":
            ahead = last + np.array(self._ahead, np.int64)
            return ahead[0] if isinstance(self.horizon, int) else ahead
        return self.x_steps if self.label == "all" else np.arange(self.length)

    @property
    def _picked(self) -> int | None:
        """The label of a window, counted from its first one, where rows have several."""
        if self.label_steps == 1 or self.target == "x":
            return None
        n_labels = self.length * self.label_steps
        if self.label == "next" and not isinstance(self.horizon, int):
            raise SampleError(
                f"horizon={self.horizon!r}: of labels that are for shorter steps than a row of all "
                "inputs, one can be chosen; give a single number."
            )
        assert isinstance(self.horizon, int)
        picked = {"first": 0, "last": n_labels - 1, "next": n_labels - 1 + self.horizon}
        return picked.get(self.label) if isinstance(self.label, str) else None

    @property
    def n_rows(self) -> int:
        """Rows that a window and its target need."""
        return max(self.length, int(self.y_steps.max()) + 1)

    def cut(
        self,
        missing: Sequence[int] = (),
        checked: Callable[[Callable[[AnyArray], Any], AnyArray], AnyArray] | None = None,
    ) -> Cut:
        """Return what becomes x and y.

        Parameters
        ----------
        missing : sequence of int
            Labels of rows that have none.
        checked : callable, optional
            Calls a function that makes labels of rows, and checks what it returns.
        """
        y_of: TargetOf = "x" if self.target == "x" else "row"
        reduce: Callable[[AnyArray], AnyArray] | None = None
        if self.label == "recording":
            y_of = "recording"
        elif self.label == "majority":
            if self.purity and not missing:
                raise SampleError(
                    "purity= leaves windows without a label, but these labels are numbers, of "
                    "which none stands for that; convert with labels that are text."
                )
            reduce = partial(
                majority, missing=missing, min_labelled=self.min_labelled, purity=self.purity
            )
        elif self._picked is not None:
            reduce = partial(picked_label, step=self._picked % self.label_steps)
        elif callable(self.label):
            reduce = self.label if checked is None else partial(checked, self.label)
        return Cut(
            x_steps=self.x_steps,
            y_steps=np.asarray(self.y_steps),
            y_of=y_of,
            y_channels=None if self.channels is None else np.array(self.channels, np.int64),
            reduce=reduce,
            y_input=self.target_input,
        )

    @property
    def key(self) -> tuple[object, ...]:
        """Return what fixes which windows there are, gaps aside."""
        return ("windows", self.n_rows, self.stride, self.start, self.stop)

    def index(
        self,
        offsets: IntArray,
        gaps: Mapping[int, Iterable[int]],
        breaks: IntArray | None = None,
    ) -> WindowIndex:
        """Return where the windows lie.

        Parameters
        ----------
        offsets : int64, shape (n_recordings + 1,)
            Row where each recording starts; the last entry is the total.
        gaps : mapping
            For some recordings, by number, the rows (counted in the recording) before which
            something is missing.
        breaks : int64, optional
            More of such rows, counted as `offsets` are.

        Raises
        ------
        SampleError
            If no recording is long enough, or a gap lies outside its recording.
        """
        starts, stops = self._stretches(offsets)
        if gaps or breaks is not None:
            starts, stops = _cut_at(starts, stops, offsets, gaps, breaks)
        found = WindowIndex.of(starts, stops, self.n_rows, self.stride)
        if found.n_samples == 0:
            longest = int((stops - starts).max(initial=0))
            raise SampleError(
                f"No window fits: one takes {self.n_rows:,} rows with its target, but the longest "
                f"stretch has {longest:,}; lower length."
            )
        return found

    def _stretches(self, offsets: IntArray) -> tuple[IntArray, IntArray]:
        lengths = np.diff(offsets)
        start = np.clip(self.start if self.start >= 0 else lengths + self.start, 0, lengths)
        stop = lengths
        if self.stop is not None:
            stop = np.clip(self.stop if self.stop >= 0 else lengths + self.stop, start, lengths)
        starts, stops = offsets[:-1] + start, offsets[:-1] + stop
        filled = starts < stops
        return starts[filled], stops[filled]


def picked_label(labels: AnyArray, step: int) -> AnyArray:
    """Return one of the labels of a row."""
    return labels[:, step]


def _cut_at(
    starts: IntArray,
    stops: IntArray,
    offsets: IntArray,
    gaps: Mapping[int, Iterable[int]],
    breaks: IntArray | None,
) -> tuple[IntArray, IntArray]:
    """Return stretches that end where a gap is."""
    borders = [np.zeros(0, np.int64) if breaks is None else breaks]
    for recording, rows in gaps.items():
        inside = np.array(sorted({int(row) for row in rows}), np.int64)
        n_rows = int(offsets[recording + 1] - offsets[recording])
        if len(inside) and not 0 <= inside[0] <= inside[-1] <= n_rows:
            raise SampleError(
                f"gaps: recording {recording} has {n_rows:,} rows, but a gap at row "
                f"{int(inside[0] if inside[0] < 0 else inside[-1]):,}."
            )
        borders.append(offsets[recording] + inside)
    every = np.sort(np.concatenate(borders))
    owner = np.searchsorted(starts, every, "right") - 1
    kept = owner >= 0
    every, owner = every[kept], owner[kept]
    inner = every[(every > starts[owner]) & (every < stops[owner])]
    return np.union1d(starts, inner), np.union1d(stops, inner)


def sequences_of(view: View, n: int, stride: int | None) -> View:
    """Return samples of `n` consecutive windows each, as x (n, time, channel) with n labels.

    Parameters
    ----------
    stride : int, optional
        Windows from one sequence to the next; by default `n`, so that each window is in one.

    Raises
    ------
    SampleError
        If no stretch has `n` windows.
    """
    step = n if stride is None else stride
    if not all(isinstance(it, int | np.integer) and it >= 1 for it in (n, step)):
        raise SampleError(
            f"sequences({n!r}, stride={stride!r}): both count windows, and have to be whole "
            "numbers of at least 1."
        )
    index, cut = view.index, view.cut
    if not isinstance(index, WindowIndex) or cut.x_steps is None or cut.y_steps is None:
        raise SampleError(
            "sequences() joins windows that follow each other at a fixed step: "
            "samples.windows(length).sequences(n)."
        )
    counts = np.maximum((index.counts - n) // step + 1, 0)
    filled = counts > 0
    if not filled.any():
        raise SampleError(
            f"No sequence fits: it takes {n:,} windows, but the longest stretch has "
            f"{int(index.counts.max()):,}; lower n."
        )
    shifts = np.arange(n) * index.stride
    joined = WindowIndex(
        index.starts[filled],
        counts[filled],
        index.max_rows + int(shifts[-1]),
        index.stride * step,
    )
    x_steps, y_steps = _shifted(shifts, cut.x_steps), _shifted(shifts, cut.y_steps)
    joined_cut = replace(cut, x_steps=x_steps, y_steps=y_steps)
    return View(joined, joined_cut, ("sequences", n, step, *view.key), view.drops_bad)


def sequences_within(index: WindowIndex, ids: Ranges, n: int, step: int) -> Ranges:
    """Return the sequences all of whose windows are in a set, by their ids.

    Parameters
    ----------
    index : WindowIndex
        Of the windows.
    ids : Ranges
        Some of them.
    n, step : int
        Windows of a sequence, and from one to the next.
    """
    first = index.first_ids
    inner = first[1:-1]
    inside = inner[ids.count_below(inner + 1) - ids.count_below(inner - 1) == 2]
    # Runs of selected windows, each in one stretch.
    starts, stops = np.union1d(ids.starts, inside), np.union1d(ids.stops, inside)
    which = np.searchsorted(first, starts, "right") - 1
    counts = np.maximum((index.counts - n) // step + 1, 0)
    before = np.concatenate([[0], np.cumsum(counts)])
    low = -(-(starts - first[which]) // step)
    high = np.minimum((stops - n - first[which]) // step + 1, counts[which])
    high = np.maximum(high, low)
    return Ranges.of_bounds(before[which] + low, before[which] + high)


def _shifted(shifts: IntArray, steps: IntArray) -> IntArray:
    return np.asarray(shifts.reshape(-1, *(1 for _ in steps.shape)) + steps)


def rows_of_time(name: str, value: int | str, rate_hz: float | None) -> int:
    """Return a number of rows that is given as such, or as a time such as "30s".

    Raises
    ------
    SampleError
        If it is neither, no rate is known, or the time is no whole number of rows.
    """
    try:
        return sizes.rows_of_time(name, value, rate_hz)
    except ValueError as error:
        raise SampleError(str(error)) from error


def numbers_of_gaps(gaps: Gaps, sources: Sequence[str]) -> dict[int, list[int]]:
    """Return gaps by the number of the recording, where they may be by its source.

    Raises
    ------
    SampleError
        If there is no such recording, or several.
    """
    found: dict[int, list[int]] = {}
    for key, rows in gaps.items():
        numbers = (
            [i for i, it in enumerate(sources) if it == key] if isinstance(key, str) else [key]
        )
        if len(numbers) != 1 or not 0 <= numbers[0] < len(sources):
            known = f"{len(numbers)} are named so" if len(numbers) > 1 else "there is none"
            raise SampleError(
                f"gaps: {key!r} names no recording ({known}); use its number, or its source as in "
                "store.recordings."
            )
        found.setdefault(int(numbers[0]), []).extend(int(row) for row in rows)
    return found
