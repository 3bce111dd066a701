"""A few samples of each class, from different subjects, cut short where they are long."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from zarrts.labels.scheme import LabelScheme
from zarrts.report.amounts import label_rows
from zarrts.samples import Samples
from zarrts.types import AnyArray, IntArray
from zarrts.view.series import Runs, Series

MAX_CHANNELS = 8
"""Channels of a specimen."""

_EACH = 3
_MAX_CLASSES = 8
_SECONDS = 10
_STEPS = 500
_MAX_STEPS = 1 << 20  # of what has no time and no end, such as a feature vector


@dataclass(frozen=True)
class Specimen:
    """A sample, or a stretch of one.

    Attributes
    ----------
    subject : str
    start : int
        Its first time step; counted in its recording where the store is ragged, else 0.
    x : array, shape (n_steps, n_channels)
    channels : list of str
        Names of those that are shown, of the first of x.
    rate_hz : float, or None
        Time steps per second.
    bands : list of (int, int, int)
        Start, stop (time steps counted as `start` is) and class of stretches of one class; -1
        where there is no label. Empty where a sample has one label.
    """

    subject: str
    start: int
    x: AnyArray
    channels: list[str]
    rate_hz: float | None
    bands: list[tuple[int, int, int]] = field(default_factory=list)


def specimens_by_class(samples: Samples) -> dict[str, list[Specimen]]:
    """Return at most three specimens of each of at most eight classes; "" where there are none.

    Which ones depends on nothing but the store.
    """
    counts = samples.store.catalog.class_counts
    names = samples.store.class_names
    chooser = _Chooser(samples)
    if counts is None or names is None:
        every = np.flatnonzero(np.diff(samples.store.catalog.row_starts))
        return {"": chooser.specimens(every, None)}
    chosen = np.sort(np.argsort(-counts.sum(axis=0), kind="stable")[:_MAX_CLASSES])
    found = {
        str(names[code]): chooser.specimens(np.flatnonzero(counts[:, code]), int(code))
        for code in chosen
    }
    return {name: some for name, some in found.items() if some}


class _Chooser:
    """Cuts specimens out of recordings; remembers the runs of labels of the last recording."""

    def __init__(self, samples: Samples) -> None:
        self._samples, self._catalog = samples, samples.store.catalog
        self._runs: dict[int, Runs] = {}

    def specimens(self, recordings: IntArray, code: int | None) -> list[Specimen]:
        found = []
        for number in _spread_out(recordings, self._catalog.subject_codes):
            series = Series(self._samples, number)
            if self._samples.store.is_ragged:
                found.append(self._stretch(series, code))
            else:
                found.append(self._sample(series, code))
        return found

    def _runs_of(self, series: Series) -> Runs | None:
        """Return the classes of the steps, where steps have some of their own."""
        if series.number not in self._runs:
            track = next((it for it in series.tracks if it.class_names is not None), None)
            has_steps = self._samples.store.header.labels_per == "row" or not series.is_ragged
            if track is None or not has_steps or track.name:
                return None
            self._runs = {**dict(list(self._runs.items())[-2 * _EACH :])}
            self._runs[series.number] = series.runs(track)
        return self._runs[series.number]

    def _sample(self, series: Series, code: int | None) -> Specimen:
        """Return the middle one of the samples of a class."""
        n_each, n_samples = series.row_steps, series.info.n_rows
        runs = None if code is None else self._runs_of(series)
        place = n_samples // 2
        if runs is None and code is not None:
            place = _place_of(series, self._samples.selection.scheme, code)
        if runs is not None:
            starts, stops = runs.edges[:-1][runs.codes == code], runs.edges[1:][runs.codes == code]
            firsts, lasts = starts // n_each, -(-stops // n_each)
            before = np.concatenate([[0], np.cumsum(lasts - firsts)])
            middle = int(before[-1]) // 2
            which = int(np.searchsorted(before, middle, "right")) - 1
            place = int(firsts[which]) + middle - int(before[which])
        x = series.x(place * n_each, place * n_each + min(n_each, _MAX_STEPS))
        bands = [] if runs is None else _bands(runs, place * n_each, (place + 1) * n_each)
        bands = [(a - place * n_each, b - place * n_each, it) for a, b, it in bands]
        return _specimen(series, 0, x, bands if len(bands) > 1 else [])

    def _stretch(self, series: Series, code: int | None) -> Specimen:
        """Return a stretch of a recording: around the middle of the longest run of a class."""
        rate_hz = series.rate_hz
        wanted = max(2, int(_SECONDS * rate_hz)) if rate_hz else _STEPS
        label_steps = (label_rows(self._samples.store) or 0) * series.row_steps
        steps = min(series.n_steps, max(wanted, label_steps))
        runs = None if code is None else self._runs_of(series)
        middle = series.n_steps // 2
        if runs is None and code is not None and self._samples.store.header.labels_per == "row":
            middle = _place_of(series, self._samples.selection.scheme, code) * series.row_steps
        if runs is not None:
            lengths = np.where(runs.codes == code, np.diff(runs.edges), 0)
            longest = int(lengths.argmax())
            middle = int(runs.edges[longest] + runs.edges[longest + 1]) // 2
        start = min(max(0, middle - steps // 2), series.n_steps - steps)
        bands = [] if runs is None else _bands(runs, start, start + steps)
        return _specimen(series, start, series.x(start, start + steps), bands)


def _specimen(
    series: Series, start: int, x: AnyArray, bands: list[tuple[int, int, int]]
) -> Specimen:
    """Return a specimen of a recording, with some of its channels first."""
    shown = series.some_channels(MAX_CHANNELS)
    names = [series.channels[i] for i in shown]
    return Specimen(series.info.subject, start, x[:, shown], names, series.rate_hz, bands)


def _place_of(series: Series, scheme: LabelScheme, code: int) -> int:
    """Return the position of labels that hold a class, among several at once."""
    done = 0
    for stored in series.stored(""):
        classes = scheme.classes_of(stored).reshape(len(stored), -1)
        has = np.flatnonzero((classes == code).any(axis=1))
        if len(has):
            return done + int(has[len(has) // 2])
        done += len(stored)
    return 0


def _bands(runs: Runs, start: int, stop: int) -> list[tuple[int, int, int]]:
    starts, stops, codes, _ = runs.binned(start, stop, _STEPS)
    return list(zip(starts.tolist(), stops.tolist(), codes.tolist(), strict=True))


def _spread_out(recordings: IntArray, subject_codes: IntArray) -> Sequence[int]:
    """Return three of some recordings, of as many subjects as there are."""
    _, firsts = np.unique(subject_codes[recordings], return_index=True)
    some = recordings[np.sort(firsts)]
    if len(some) < _EACH:
        rest = np.setdiff1d(recordings, some)
        some = np.sort(np.concatenate([some, rest[: _EACH - len(some)]]))
    places = np.unique(np.linspace(0, len(some) - 1, min(_EACH, len(some))).round().astype(int))
    return [int(some[place]) for place in places]
