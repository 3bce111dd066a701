"""A recording as one series of time steps, read a stretch at a time, with its labels as runs.

Rows are read as values, whatever way they are stored.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zarrts.labels.scheme import LabelScheme
from zarrts.samples import Samples
from zarrts.storage.chunks import read_rows
from zarrts.store import Store
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


@dataclass(frozen=True)
class Part:
    """One input of a store, as a part of a series.

    Attributes
    ----------
    place : int
        In `readers.inputs` of the store.
    steps : int
        Its time steps in a row of the store.
    names : tuple of str
        Of its channels.
    columns : slice
        Its channels in the table of recordings.
    """

    place: int
    steps: int
    names: tuple[str, ...]
    columns: slice

    @staticmethod
    def every_of(store: Store) -> "list[Part]":
        """Return the inputs that follow in time, or are one of each sample."""
        header, found = store.header, []
        segment = header.segments[0]
        for place, (name, it) in enumerate(segment.inputs.items()):
            if not it.steps and len(segment.inputs) > 1:
                continue  # its value does not change, and is no signal
            inner = it.spec.row_shape
            if store.is_ragged:
                steps, n_channels = max(1, it.steps), math.prod(inner[int(it.steps > 1) :])
            else:
                steps = math.prod(inner[: max(1, len(inner) - 1)])
                n_channels = inner[-1] if len(inner) > 1 else 1
            known = header.description.of_inputs[name].channels or ()
            names = known if len(known) == n_channels else _numbered(n_channels)
            prefix = f"{name} " if name else ""
            named = tuple(f"{prefix}{channel}" for channel in names)
            found.append(Part(place, steps, named, segment.channel_slices[name]))
        return found


def _numbered(n_channels: int) -> tuple[str, ...]:
    return tuple(f"channel {i}" for i in range(n_channels))


class Series:
    """A recording of a store: time steps (of its samples one after the other) and channels.

    Of several inputs, steps are those of the fastest, and channels are those of all that change in
    time; of slower ones, a value is that of each step in its time.

    Parameters
    ----------
    samples : Samples
        All samples of an open store.
    number : int
        Of the recording, as in `store.recordings`.
    """

    def __init__(self, samples: Samples, number: int) -> None:
        self._samples, self.number = samples, number
        self._store = store = samples.store
        self.info = store.recordings[number]
        self.is_ragged = bool(store.is_ragged)
        self._parts = Part.every_of(store)
        fastest = max(self._parts, key=lambda it: it.steps)
        label_steps = store.header.segments[0].label_steps
        self.row_steps = int(max(fastest.steps, label_steps))
        row_rate_hz = store.header.row_rate_hz
        self.rate_hz: float | None = row_rate_hz and row_rate_hz * self.row_steps
        if not self.is_ragged:
            names = [*store.header.segments[0].inputs]
            self.rate_hz = store.header.description.of_inputs[names[fastest.place]].rate_hz
        self.n_channels = sum(len(it.names) for it in self._parts)
        lengths = [it.n_rows for it in store.header.segments]
        first = int(store.catalog.row_starts[number])
        edges = np.cumsum([0, *lengths])
        # Of segments without rows, none has a recording with some.
        self._segment = min(int(np.searchsorted(edges, first, "right")) - 1, len(lengths) - 1)
        self._first = first - int(edges[self._segment])

    @property
    def n_steps(self) -> int:
        """Number of time steps."""
        return int(self.info.n_rows) * self.row_steps

    @property
    def channels(self) -> list[str]:
        """Names of the channels, or their numbers."""
        return [name for it in self._parts for name in it.names]

    def some_channels(self, most: int) -> list[int]:
        """Return some of the channels, of each input as many as of the others."""
        each, first, found = max(1, most // len(self._parts)), 0, list[int]()
        for it in self._parts:
            found += range(first, first + min(each, len(it.names)))
            first += len(it.names)
        return found[:most]

    def of_table(self, values: AnyArray) -> AnyArray:
        """Return what a table of recordings has of this one's channels; NaN where it has none.

        Parameters
        ----------
        values : shape (n_recordings, n_channels)
            Of all inputs.
        """
        found = []
        for it in self._parts:
            own = values[self.number, it.columns].reshape(-1)
            found.append(own if len(own) == len(it.names) else np.full(len(it.names), np.nan))
        return np.concatenate(found)

    # Values ------------------------------------------------------------------------------

    def x(self, start: int, stop: int) -> AnyArray:
        """Return values of steps `start` to `stop`, shape (stop - start, n_channels), real."""
        start, stop = max(0, start), min(stop, self.n_steps)
        if start >= stop:
            return np.zeros((0, self.n_channels), np.float32)
        low, high = start // self.row_steps, -(-stop // self.row_steps)
        columns = []
        for it in self._parts:
            reader = self._store.readers.inputs[it.place].readers[self._segment]
            rows = read_rows(reader, self._first + low, self._first + high)
            steps = rows.reshape((high - low) * it.steps, len(it.names)).real
            columns.append(steps[self._at(start, stop, it.steps) - low * it.steps])
        return np.concatenate(columns, axis=1)

    def _at(self, start: int, stop: int, n_each: int) -> IntArray:
        """Return which of the `n_each` values of each row those of some steps are."""
        rows, inside = np.divmod(np.arange(start, stop), self.row_steps)
        return np.asarray(rows * n_each + inside * n_each // self.row_steps)

    @property
    def piece_steps(self) -> int:
        """Steps that are read at once: about 4 MiB, in whole rows."""
        steps = max(1, _PIECE_BYTES // (4 * max(1, self.n_channels)))
        return int(-(-steps // self.row_steps) * self.row_steps)

    # Labels ------------------------------------------------------------------------------

    @cached_property
    def tracks(self) -> list[Track]:
        """The arrays of labels that have one label a step, a row or a recording."""
        return [Track(name, it) for name, it in self._schemes.items() if self._n_labels(name)]

    @property
    def hidden_tracks(self) -> list[str]:
        """Names of arrays of labels that have several at once, and are not drawn."""
        return [name or "y" for name in self._schemes if not self._n_labels(name)]

    @property
    def _schemes(self) -> dict[str, LabelScheme]:
        scheme = self._samples.selection.scheme
        return dict(scheme.parts) or {"": scheme}

    def _n_labels(self, name: str) -> int:
        """Return how many labels a row has, one after the other; 0 where several are at once."""
        segment = self._store.header.segments[0]
        shape = tuple(segment.labels[f"y/{name}" if name else "y"].row_shape)
        if self._schemes[name].encoding == "one_hot":
            shape = shape[:-1]
        if segment.label_steps > 1:
            return segment.label_steps if shape == (segment.label_steps,) else 0
        if shape == ():
            return 1
        shapes = (it.spec.row_shape for it in segment.inputs.values())
        is_by_step = not self.is_ragged and any(len(it) == 2 and shape == it[:1] for it in shapes)
        return shape[0] if is_by_step else 0

    @property
    def _is_by_row(self) -> bool:
        return str(self._store.header.labels_per) != "recording"

    def stored(self, name: str) -> Iterator[AnyArray]:
        """Yield labels as stored, rows after rows; of one for all, that one."""
        if self.n_steps == 0:
            return
        if not self._is_by_row:
            before = sum(it.n_samples for it in self._store.header.segments[: self._segment])
            yield self._labels(name, self.number - before, self.number - before + 1)[0]
            return
        step = max(1, _LABEL_STEPS // self.row_steps)
        for first in range(0, self.info.n_rows, step):
            stop = min(first + step, self.info.n_rows)
            yield self._labels(name, self._first + first, self._first + stop)

    def _labels(self, name: str, start: int, stop: int) -> AnyArray:
        """Return labels of some rows of the segment, as they are stored."""
        rows = read_rows(self._store.readers.y[self._segment], start, stop)
        return np.ascontiguousarray(rows[name] if name else rows)

    def runs(self, track: Track) -> Runs:
        """Return the classes of all steps, read a piece at a time."""
        if not self._is_by_row:
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
        found = Runs.of_pieces(pieces)
        rows, inside = np.divmod(found.edges, self._n_labels(track.name))
        inside = -(-inside * self.row_steps // self._n_labels(track.name))
        return Runs(rows * self.row_steps + inside, found.codes)

    def numbers(self, track: Track, start: int, stop: int) -> NDArray[np.float64]:
        """Return labels that are numbers, of steps `start` to `stop`; NaN where one is missing."""
        if not self._is_by_row:
            found = next(self.stored(track.name)).reshape(1)
            return np.repeat(_as_numbers(track, found), stop - start)
        low, high = start // self.row_steps, -(-stop // self.row_steps)
        labels = self._labels(track.name, self._first + low, self._first + high)
        n_each = self._n_labels(track.name)
        found = _as_numbers(track, labels).reshape(-1)
        return np.asarray(found[self._at(start, stop, n_each) - low * n_each])


def _as_numbers(track: Track, stored: AnyArray) -> NDArray[np.float64]:
    missing = track.scheme.is_missing(stored)
    return np.where(missing, np.nan, stored.astype(np.float64))
