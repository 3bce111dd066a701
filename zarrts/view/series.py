"""A recording as one series of time steps, read a stretch at a time, with its labels as runs.

Only public methods of Samples are used, so that values are what a network would get, whatever way
they are stored.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.labels.scheme import LabelScheme
from zarrts.samples import Samples
from zarrts.types import AnyArray, IntArray, Label

_PIECE_BYTES = 4 << 20
_LABEL_STEPS = 1 << 17


@dataclass(frozen=True)
class Track:
    """One array of labels of a store that can be drawn beside its signals.

    Attributes
    ----------
    name : str
        "" where there is only one.
    scheme : LabelScheme
    """

    name: str
    scheme: LabelScheme

    @property
    def class_names(self) -> tuple[Label, ...] | None:
        """The classes; None where labels are numbers."""
        return self.scheme.class_names


@dataclass(frozen=True, eq=False)
class Runs:
    """The classes of consecutive steps: stretches that share one.

    Attributes
    ----------
    edges : int64, shape (n_runs + 1,)
        Step where each run starts, ascending from 0; the last entry is the number of steps.
    codes : int64, shape (n_runs,)
        Class of each; -1 where there is no label. Neighbours differ.
    """

    edges: IntArray
    codes: IntArray

    @staticmethod
    def of_pieces(pieces: Iterator[IntArray], n_each: int = 1) -> "Runs":
        """Return the runs of codes that come piece by piece, each that of `n_each` steps."""
        starts, codes, done, last = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, None
        for piece in pieces:
            if len(piece) == 0:
                continue
            new = np.flatnonzero(np.concatenate([[piece[0] != last], piece[1:] != piece[:-1]]))
            starts.append(done + new)
            codes.append(piece[new])
            done, last = done + len(piece), piece[-1]
        edges = np.append(np.concatenate(starts), done).astype(np.int64)
        return Runs(edges * n_each, np.concatenate(codes).astype(np.int64))

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_steps(self) -> int:
        """Steps of all runs."""
        return int(self.edges[-1])

    def between(self, start: int, stop: int) -> tuple[IntArray, IntArray, IntArray]:
        """Return start, stop and code of the runs in a range of steps, cut at its ends."""
        first = int(np.searchsorted(self.edges, start, "right")) - 1
        last = int(np.searchsorted(self.edges, stop, "left"))
        edges = np.clip(self.edges[max(0, first) : last + 1], start, stop)
        codes = self.codes[max(0, first) : last]
        return edges[:-1], edges[1:], codes

    def binned(self, start: int, stop: int, most: int) -> tuple[IntArray, IntArray, IntArray, bool]:
        """Return as `between`, but no more than `most` runs, and whether some were left out.

        Where there are more, the range is cut into `most` equal parts, and each is given the class
        that most of its steps have.
        """
        starts, stops, codes = self.between(start, stop)
        if len(codes) <= most:
            return starts, stops, codes, False
        cuts = np.linspace(start, stop, most + 1).round().astype(np.int64)
        best, chosen = np.zeros(most, np.int64), np.full(most, -1, np.int64)
        for code in np.unique(codes):
            done = np.concatenate([[0], np.cumsum(np.where(codes == code, stops - starts, 0))])
            own = np.diff(np.interp(cuts, np.append(starts, stop), done))
            chosen, best = np.where(own > best, code, chosen), np.maximum(own, best)
        new = np.flatnonzero(np.concatenate([[True], chosen[1:] != chosen[:-1]]))
        return cuts[:-1][new], np.append(cuts[:-1][new][1:], stop), chosen[new], True


class Series:
    """A recording of a store: time steps (of its samples one after the other) and channels.

    Parameters
    ----------
    samples : Samples
        All samples of an open store.
    number : int
        Of the recording, as in `store.recordings`.
    """

    def __init__(self, samples: Samples, number: int) -> None:
        self._samples, self.number = samples, number
        store = samples.store
        self.info = store.recordings[number]
        self.is_ragged = bool(store.is_ragged)
        self.rate_hz: float | None = store.rate_hz
        # Only the time of recordings has no fixed length.
        inner = tuple(it or 0 for it in store.sample_shape[1 if self.is_ragged else 0 :])
        steps = 1 if self.is_ragged else math.prod(inner[: max(1, len(inner) - 1)])
        self.steps_per_sample = int(steps)
        if self.is_ragged and len(inner) > 1:
            self.n_channels = int(math.prod(inner))
        else:
            has_channels = len(inner) > (0 if self.is_ragged else 1)
            self.n_channels = int(inner[-1]) if has_channels else 1
        self._step_bytes = max(1, self.n_channels * int(store.dtype.itemsize))

    @property
    def n_steps(self) -> int:
        """Number of time steps."""
        return int(self.info.n_rows) * self.steps_per_sample

    @property
    def channels(self) -> list[str]:
        """Names of the channels, or their numbers."""
        known = self._samples.store.channels
        if known and len(known) == self.n_channels:
            return list(known)
        return [f"channel {i}" for i in range(self.n_channels)]

    # Values ------------------------------------------------------------------------------

    def x(self, start: int, stop: int) -> AnyArray:
        """Return values of steps `start` to `stop`, shape (stop - start, n_channels), real."""
        start, stop = max(0, start), min(stop, self.n_steps)
        if start >= stop:
            return np.zeros((0, self.n_channels), np.float32)
        if self.is_ragged:
            rows = self._window(start, stop, "first")[0][0]
            return np.asarray(rows).reshape(stop - start, -1).real
        n_each = self.steps_per_sample
        first, last = start // n_each, -(-stop // n_each)
        found = self._some(first, last).load("4GiB")[0]
        series = np.asarray(found).reshape((last - first) * n_each, -1)
        return series[start - first * n_each : stop - first * n_each].real

    @property
    def piece_steps(self) -> int:
        """Steps that are read at once: about 4 MiB, in whole samples."""
        steps = max(1, _PIECE_BYTES // self._step_bytes)
        return int(-(-steps // self.steps_per_sample) * self.steps_per_sample)

    def _window(self, start: int, stop: int, by_row: Literal["all", "first"] = "all") -> Samples:
        """Return the steps of a ragged recording as a single window."""
        one = self._samples.select(ids=[self.number])
        label = by_row if self._is_by_row else "recording"
        return one.windows(stop - start, start=start, stop=stop, label=label)

    def _some(self, first: int, last: int) -> Samples:
        """Return samples `first` to `last` of a dense recording."""
        return self._samples.select(ids=np.arange(self.info.start + first, self.info.start + last))

    # Labels ------------------------------------------------------------------------------

    @cached_property
    def tracks(self) -> list[Track]:
        """The arrays of labels that have one label a step, a sample or a recording."""
        return [Track(name, it) for name, it in self._schemes.items() if self._n_each(name)]

    @property
    def hidden_tracks(self) -> list[str]:
        """Names of arrays of labels that have several at once, and are not drawn."""
        return [name or "y" for name in self._schemes if not self._n_each(name)]

    @property
    def _schemes(self) -> dict[str, LabelScheme]:
        scheme = self._samples.selection.scheme
        return dict(scheme.parts) or {"": scheme}

    def _n_each(self, name: str) -> int:
        """Return how many steps share a label; 0 where there are several labels at once."""
        labels = self._samples.store.header.segments[0].labels
        shape = tuple(labels[f"y/{name}" if name else "y"].row_shape)
        if self._schemes[name].encoding == "one_hot":
            shape = shape[:-1]
        if self.is_ragged:
            return int(shape == ())
        inner = self._samples.store.sample_shape
        is_by_step = len(inner) == 2 and shape == (inner[0],)
        if is_by_step:
            return 1
        return self.steps_per_sample if shape == () else 0

    @property
    def _is_by_row(self) -> bool:
        return str(self._samples.store.header.labels_per) == "row"

    def stored(self, name: str) -> Iterator[AnyArray]:
        """Yield labels as stored, a piece after the other; of one for all, that one."""
        if self.n_steps == 0:
            return
        if self.is_ragged:
            n_steps = self.n_steps if self._is_by_row else 1
            for start in range(0, n_steps, _LABEL_STEPS):
                found = self._window(start, min(start + _LABEL_STEPS, n_steps)).load_labels()
                yield _array(found, name)[0]
            return
        step = max(1, _LABEL_STEPS // self.steps_per_sample)
        for first in range(0, self.info.n_rows, step):
            found = self._some(first, min(first + step, self.info.n_rows)).load_labels()
            yield _array(found, name)

    def runs(self, track: Track) -> Runs:
        """Return the classes of all steps, read a piece at a time."""
        if self.is_ragged and not self._is_by_row:
            codes = [
                int(track.scheme.classes_of(it.reshape(1, *it.shape))[0])
                for it in self.stored(track.name)
            ]
            edges = np.array([0, self.n_steps][: 1 + len(codes)], np.int64)
            return Runs(edges, np.array(codes, np.int64))
        pieces = (
            np.asarray(track.scheme.classes_of(it), np.int64).reshape(-1)
            for it in self.stored(track.name)
        )
        return Runs.of_pieces(pieces, self._n_each(track.name))

    def numbers(self, track: Track, start: int, stop: int) -> NDArray[np.float64]:
        """Return labels that are numbers, of steps `start` to `stop`; NaN where one is missing."""
        if self.is_ragged and not self._is_by_row:
            found = next(self.stored(track.name)).reshape(1)
            return np.repeat(_as_numbers(track, found), stop - start)
        if self.is_ragged:
            labels = self._window(start, stop).load_labels()
            return _as_numbers(track, _array(labels, track.name)[0])
        n_each = self._n_each(track.name)
        first, last = start // self.steps_per_sample, -(-stop // self.steps_per_sample)
        labels = self._some(first, last).load_labels()
        found = _as_numbers(track, _array(labels, track.name))
        skip = start - first * self.steps_per_sample
        return np.repeat(found.reshape(-1), n_each)[skip : skip + stop - start]


def _as_numbers(track: Track, stored: AnyArray) -> NDArray[np.float64]:
    missing = track.scheme.is_missing(stored)
    return np.where(missing, np.nan, stored.astype(np.float64))


def _array(labels: Any, name: str) -> AnyArray:
    """Return one of several arrays of labels by its name, or the only one."""
    return np.ascontiguousarray(labels[name] if name else labels)
