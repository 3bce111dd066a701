"""Answer what the page asks of a store: recordings, signals, labels and predictions."""

import threading
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.reading.selection import Selection
from zarrts.samples import Samples
from zarrts.types import AnyArray, IntArray
from zarrts.view.predictions import NONE, Said, said_of
from zarrts.view.pyramid import Pyramid, PyramidCache, Stretch
from zarrts.view.series import Runs, Series, Track

_MAX_RUNS = 2_000
_MAX_WINDOWS = 2_000_000
_MAX_SHOWN_WINDOWS = 400
_MAX_WIDTH = 8_192
_CACHE_BYTES = 256 << 20
_KEPT_RUNS = 64


@dataclass(frozen=True)
class Jump:
    """The aim of a jump: a stretch of a recording, in time steps; and what is there, in words."""

    recording: int
    start: int
    stop: int
    text: str
    place: int = -1


class Content:
    """A view of samples, and of what a network said of them; reads, and never writes.

    Parameters
    ----------
    samples : Samples
        Whose recordings are shown; windows are drawn where these are windows.
    results : Evaluation, Predictions or path, optional
    memory_bytes : int
        That pyramids may take together.
    """

    def __init__(
        self, samples: Samples, results: Any = None, memory_bytes: int = _CACHE_BYTES
    ) -> None:
        self._samples = samples
        self._store = samples.store
        self._every = Samples(Selection.of(samples.store).with_scheme(samples.selection.scheme))
        self.numbers = _recordings_of(samples)
        if len(self.numbers) == 0:
            raise SampleError("There is nothing to be looked at: these are no samples.")
        first = Series(self._every, int(self.numbers[0]))
        self.said: Said | None = None
        if results is not None:
            sources = [it.source for it in self._store.recordings]
            self.said = said_of(results, first.row_steps, sources)
        self._pyramids = PyramidCache(self._make_pyramid, memory_bytes)
        self._runs = lru_cache(maxsize=_KEPT_RUNS)(self._read_runs)
        self._said_runs = lru_cache(maxsize=_KEPT_RUNS)(self._find_said_runs)
        self._reading = threading.Lock()  # one thread reads labels, others wait for what it found

    def close(self) -> None:
        """Stop what is still being read."""
        self._pyramids.close()

    def series(self, number: int) -> Series:
        """Return a recording.

        Raises
        ------
        SampleError
            If it is not one of those shown.
        """
        place = int(np.searchsorted(self.numbers, number))
        if place >= len(self.numbers) or self.numbers[place] != number:
            raise SampleError(f"There is no recording {number} among those shown.")
        return Series(self._every, number)

    # What there is -----------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return the store in a few words, and its recordings by subject."""
        store = self._store
        by_subject: dict[str, list[list[Any]]] = {}
        for number in self.numbers.tolist():
            it = store.recordings[number]
            by_subject.setdefault(it.subject, []).append([number, it.source])
        subjects = [{"name": name, "recordings": its} for name, its in by_subject.items()]
        names = [str(it) for it in self._samples.selection.scheme.class_names or ()]
        said = None
        if self.said is not None:
            said = {
                "classes": [str(it) for it in self.said.class_names],
                "n": len(self.said.codes),
                "n_wrong": int(self.said.is_wrong.sum()),
            }
        return {
            "name": str(store.path).rstrip("/").rpartition("/")[2],
            "subjects": subjects,
            "classes": names,
            "said": said,
        }

    def recording(self, number: int) -> dict[str, Any]:
        """Return what a recording is: its length, channels, usual values, and label arrays."""
        series = self.series(number)
        unit = "sample"
        scale = 1 / series.row_steps
        if series.is_ragged:
            unit, scale = ("s", 1 / series.rate_hz) if series.rate_hz else ("step", 1.0)
        moments = self._store.catalog.moments
        mean, std = series.of_table(moments.mean), series.of_table(moments.std)
        return {
            "number": number,
            "subject": series.info.subject,
            "source": series.info.source,
            "n_steps": series.n_steps,
            "unit": unit,
            "scale": scale,
            "rate_hz": series.rate_hz,
            "sample_steps": 0 if series.is_ragged else series.row_steps,
            "channels": series.channels,
            "mean": _plain(mean),
            "std": _plain(std),
            "tracks": [
                {"name": it.name, "classes": [str(name) for name in it.class_names or ()]}
                for it in series.tracks
                if it.class_names is not None
            ],
            "numbers": [it.name or "label" for it in _number_tracks(series)],
            "hidden": series.hidden_tracks,
            "has_windows": self._has_windows,
            "has_said": self.said is not None and _any(self.said.of_recording(number)),
        }

    # Signals -----------------------------------------------------------------------------

    def signals(self, number: int, start: int, stop: int, width: int) -> Stretch:
        """Return least and most of all channels, and of labels that are numbers behind them."""
        self.series(number)  # refuses what is not shown
        return self._pyramids.of(number).between(start, stop, min(max(1, width), _MAX_WIDTH))

    def _make_pyramid(self, number: int) -> Pyramid:
        series = self.series(number)
        extra = _number_tracks(series)

        def read(start: int, stop: int) -> AnyArray:
            x = series.x(start, stop)
            if not extra or start >= stop:
                return x if not extra else np.zeros((0, series.n_channels + len(extra)))
            columns = [series.numbers(track, start, stop) for track in extra]
            return np.column_stack([x, *columns])

        n_channels = series.n_channels + len(extra)
        return Pyramid(read, series.n_steps, n_channels, series.piece_steps)

    # Labels and predictions --------------------------------------------------------------

    def labels(self, number: int, start: int, stop: int, width: int) -> dict[str, Any]:
        """Return runs of each array of classes, and of what was predicted, in a range of steps."""
        series = self.series(number)
        start, stop = max(0, start), min(stop, series.n_steps)
        most = min(max(1, width), _MAX_RUNS)
        tracks = [it for it in series.tracks if it.class_names is not None]
        found: dict[str, Any] = {
            "tracks": [
                {"name": track.name, **_shown(self._runs(number, place), start, stop, most)}
                for place, track in enumerate(tracks)
            ],
            "windows": self._windows(number, start, stop, most),
        }
        if self.said is not None:
            predicted, wrong = self._said_runs(number)
            found["predicted"] = _shown(predicted, start, stop, most)
            found["wrong"] = _shown(wrong, start, stop, most)
            found["probabilities"] = self._probabilities(number, start, stop, most)
        return found

    def _read_runs(self, number: int, place: int) -> Runs:
        series = self.series(number)
        track = [it for it in series.tracks if it.class_names is not None][place]
        with self._reading:
            return series.runs(track)

    def _find_said_runs(self, number: int) -> tuple[Runs, Runs]:
        assert self.said is not None
        return self.said.runs(number, self.series(number).n_steps)

    def _probabilities(self, number: int, start: int, stop: int, most: int) -> dict[str, Any]:
        """Return what the network gave: of each stretch, or means of neighbours."""
        assert self.said is not None
        own = self.said.of_recording(number)
        starts, stops = self.said.starts[own], self.said.stops[own]
        inside = np.flatnonzero((starts < stop) & (stops > start)) + own.start
        n_each = max(1, -(-len(inside) // most))
        some = inside[: len(inside) // n_each * n_each].reshape(-1, n_each)
        values = self.said.probabilities[some].mean(axis=1)
        return {
            "starts": self.said.starts[some[:, 0]].tolist(),
            "stops": self.said.stops[some[:, -1]].tolist(),
            "values": [_plain(row) for row in np.round(values, 4)],
            "coarse": n_each > 1,
        }

    @property
    def _has_windows(self) -> bool:
        return not self._samples.selection.is_as_stored and len(self._samples) <= _MAX_WINDOWS

    def _windows(self, number: int, start: int, stop: int, most: int) -> dict[str, Any] | None:
        """Return the windows of a range of steps; of many, what they cover."""
        if not self._has_windows:
            return None
        index, rows = self._samples.selection.view.index, self._store.catalog.row_starts
        ids = self._samples.ids
        low, high = index.count_before(rows[number : number + 2])
        ids = ids[np.searchsorted(ids, low) : np.searchsorted(ids, high)]
        each = self.series(number).row_steps
        starts = (index.first_rows(ids) - rows[number]) * each
        stops = starts + index.n_rows(ids) * each
        inside = (starts < stop) & (stops > start)
        starts, stops = starts[inside], stops[inside]
        if len(starts) <= min(most, _MAX_SHOWN_WINDOWS):
            return {"n": len(starts), "starts": starts.tolist(), "stops": stops.tolist()}
        ends = np.maximum.accumulate(stops)
        first = np.flatnonzero(np.concatenate([[True], starts[1:] > ends[:-1]]))
        borders = np.stack([starts[first], np.append(ends[first[1:] - 1], ends[-1])], axis=1)
        edges = np.clip(np.concatenate([[start], borders.ravel(), [stop]]), start, stop)
        filled = np.diff(edges) > 0
        codes = np.append(np.tile([NONE, 0], len(first)), NONE)
        covered = Runs(np.append(edges[:-1][filled], stop), codes[filled])
        return {"n": len(starts), "covered": _shown(covered, start, stop, most)}

    # Jumps -------------------------------------------------------------------------------

    def jump(
        self, kind: str, number: int, at: int, *, code: int = -1, place: int = -1, back: bool
    ) -> Jump | None:
        """Return the next stretch worth a look, or the one before it; None behind the last.

        Parameters
        ----------
        kind : str
            "wrong": where the network took another class. "uncertain": in the order of certainty,
            the least certain first. "class": a run of the class `code`.
        number, at : int
            Recording and step to start from; the stretch has to begin behind it (before it).
        place : int
            For "uncertain": the place of the last one that was found, -1 at first.
        """
        if kind == "class":
            return self._jump_to_class(number, at, code, back)
        if self.said is None:
            raise SampleError("There are no predictions; give an evaluation with predictions.")
        if kind == "uncertain":
            wanted = place - 1 if back else place + 1
            if not 0 <= wanted < len(self.said.codes):
                return None
            return self._found(int(self.said.by_certainty[wanted]), wanted)
        if kind != "wrong":
            raise SampleError(f"kind={kind!r} is unknown; use 'wrong', 'uncertain' or 'class'.")
        wrong = np.flatnonzero(self.said.is_wrong & np.isin(self.said.recordings, self.numbers))
        recordings, starts = self.said.recordings[wrong], self.said.starts[wrong]
        if back:
            before = (recordings < number) | ((recordings == number) & (starts < at))
            chosen = wrong[before][-1:]
        else:
            behind = (recordings > number) | ((recordings == number) & (starts > at))
            chosen = wrong[behind][:1]
        return self._found(int(chosen[0])) if len(chosen) else None

    def _found(self, i: int, place: int = -1) -> Jump:
        said = self.said
        assert said is not None
        names = [str(name) for name in said.class_names]
        text = f"predicted {names[said.codes[i]]} ({said.certainty[i]:.0%})"
        if said.true[i] >= 0:
            text = f"labelled {names[said.true[i]]}, {text}"
        return Jump(int(said.recordings[i]), int(said.starts[i]), int(said.stops[i]), text, place)

    def _jump_to_class(self, number: int, at: int, code: int, back: bool) -> Jump | None:
        counts = self._store.catalog.class_counts
        others = self.numbers[self.numbers < number][::-1] if back else None
        others = self.numbers[self.numbers > number] if others is None else others
        if self._samples.selection.scheme.merges is not None or code < 0:
            counts = None  # which know nothing of either
        for other in [number, *others.tolist()]:
            if counts is not None and code < counts.shape[1] and counts[other, code] == 0:
                continue
            track = next((it for it in self.series(other).tracks if it.class_names), None)
            if track is None or not -1 <= code < len(track.class_names or ()):
                raise SampleError(f"There is no class {code}.")
            name = str((track.class_names or ())[code]) if code >= 0 else "no label"
            runs = self._runs(other, 0)
            starts, stops = runs.edges[:-1][runs.codes == code], runs.edges[1:][runs.codes == code]
            if other == number:
                chosen = np.flatnonzero(starts < at)[-1:] if back else np.flatnonzero(starts > at)
            else:
                chosen = np.arange(len(starts))[-1:] if back else np.arange(len(starts))
            if len(chosen):
                i = int(chosen[0])
                return Jump(other, int(starts[i]), int(stops[i]), name)
        return None


def as_dict(found: Jump | None) -> dict[str, Any] | None:
    """Return it as JSON has it."""
    return None if found is None else asdict(found)


def _recordings_of(samples: Samples) -> IntArray:
    """Return the numbers of the recordings that some samples are of."""
    return np.flatnonzero(samples.selection.per_recording)


def _number_tracks(series: Series) -> list[Track]:
    return [it for it in series.tracks if it.class_names is None]


def _any(part: slice) -> bool:
    return bool(part.stop > part.start)


def _plain(values: AnyArray) -> list[float | None]:
    """Return numbers as JSON has them: None where there are none."""
    return [float(f"{it:.6g}") if np.isfinite(it) else None for it in values]


def _shown(runs: Runs, start: int, stop: int, most: int) -> dict[str, Any]:
    starts, stops, codes, is_coarse = runs.binned(start, stop, most)
    return {
        "starts": starts.tolist(),
        "stops": stops.tolist(),
        "codes": codes.tolist(),
        "coarse": is_coarse,
    }
