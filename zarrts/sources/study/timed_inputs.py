"""Align the inputs of a recording that start, or are interrupted, each at times of its own.

Rows are cut to the time that all inputs have; see `study.common_time`. What is left out is said,
and so is how far a step is from the time of its row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zarrts.errors import SourceError
from zarrts.sizes import format_count
from zarrts.sources.rows.inputs import (
    GroupedRows,
    InputRows,
    InputTime,
    PiecesOfRows,
    WorstOfRows,
    records_of,
)
from zarrts.sources.rows.label_rows import RepeatedRows
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.steps.cleaning import JoinedMasks
from zarrts.sources.study.common_time import (
    Grid,
    Stretch,
    Track,
    common_stretches,
    gaps_between,
)
from zarrts.sources.study.ragged import is_unlabelled
from zarrts.types import RowReader, SourceRecording

_START = InputTime(0.0)
_SINCE_1970 = 1e8
_FEW = 4
_FAR = 0.01  # of a step


@dataclass(frozen=True)
class _Timed:
    """A recording whose inputs have times, on a grid of rows.

    Attributes
    ----------
    recording : SourceRecording
    x : InputRows
    grid : Grid
    tracks : dict
        Of the inputs that change in time; seconds are from the first step of any on.
    begin_s : float
        That moment, as times have it.
    stretches : list of Stretch
    """

    recording: SourceRecording
    x: InputRows
    grid: Grid
    tracks: Mapping[str, Track]
    begin_s: float
    stretches: list[Stretch]

    @property
    def n_rows(self) -> int:
        return sum(it.n_rows for it in self.stretches)

    @property
    def row_s(self) -> float:
        assert self.grid.rate is not None
        return float(1 / self.grid.rate)

    def cut(self, rows: RowReader, name: str) -> RowReader:
        """Return what has an entry for each step of an input, for the steps that are in rows."""
        n_steps = self.tracks[name].steps
        pieces = [(it.firsts[name], it.firsts[name] + it.n_rows * n_steps) for it in self.stretches]
        return PiecesOfRows(rows, tuple(pieces))

    def like(self, count: int) -> list[str]:
        """Return the inputs of so many steps; of those whose steps are the same ones, the first."""
        found: dict[tuple[int, ...], str] = {}
        for name, it in self.tracks.items():
            if self.x.by_name[name].shape[0] == count:
                found.setdefault((it.steps, *(one.firsts[name] for one in self.stretches)), name)
        return list(found.values())


@dataclass
class Said:
    """Collects what is said of recordings: by kind, how much it is, and the words."""

    found: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def add(self, kind: str, amount: float, text: str) -> None:
        """Add a sentence."""
        self.found.setdefault(kind, []).append((amount, text))

    def notes(self) -> tuple[str, ...]:
        """Return the sentences; of many of a kind, those with the greatest amount, and a count."""
        lines = []
        for kind, some in self.found.items():
            ordered = sorted(some, key=lambda it: -it[0])
            n_shown = len(some) if len(some) <= _FEW else _FEW - 1
            lines += [text for _, text in ordered[:n_shown]]
            if len(some) > n_shown:
                lines.append(f"{kind} of {len(some) - n_shown:,} more recordings, by less")
        return tuple(lines)


def aligned_in_time(recording: SourceRecording, grid: Grid, said: Said) -> SourceRecording:
    """Return inputs as records of the rows that all of them have; what is left out is said.

    Raises
    ------
    SourceError
        If they have no row in common, or it is not clear when labels are.
    """
    timed = _timed(recording, grid)
    x = timed.x
    inputs = {
        name: timed.cut(it, name) if name in timed.tracks else it for name, it in x.by_name.items()
    }
    y, label_steps = _labels(timed)
    first_s = None if recording.first_s is None else timed.begin_s + timed.stretches[0].start_s
    _say(timed, said)
    return replace(
        recording,
        x=records_of(inputs, grid.steps, timed.n_rows),
        y=y,
        label_steps=label_steps,
        mask=_mask(timed),
        gaps=gaps_between(timed.stretches, timed.row_s),
        first_s=first_s,
    )


def _timed(recording: SourceRecording, grid: Grid) -> _Timed:
    x = recording.x
    assert isinstance(x, InputRows) and grid.rate is not None
    moving = {name: it for name, it in x.by_name.items() if name not in grid.fixed}
    flat = [name for name, it in moving.items() if len(it.shape) < 2]
    if flat:
        raise SourceError(
            f"{recording.origin}: {', '.join(flat)}: a series is (time, channel); for a single "
            "channel, save x[:, None]."
        )
    times = {name: x.times.get(name, _START) for name in moving}
    unknown = [name for name, it in times.items() if it.gaps and not it.gaps.seconds.all()]
    if unknown:
        raise SourceError(
            f"{recording.origin}: nobody knows for how long {', '.join(unknown)} was interrupted, "
            "so that it cannot be aligned with other inputs; give the times of its steps, or a "
            "recording for each part."
        )
    begin_s = min(it.start_s for it in times.values())
    tracks = {
        name: Track.of(
            moving[name].shape[0],
            float(grid.rate * grid.steps[name]),
            grid.steps[name],
            it.start_s - begin_s,
            it.gaps,
        )
        for name, it in times.items()
    }
    empty = [name for name, it in moving.items() if it.shape[0] == 0]
    stretches = [] if empty else common_stretches(tracks)
    if not stretches:
        row_s = float(1 / grid.rate)
        raise SourceError(
            f"{recording.origin}: its inputs have no time in common that is a whole row of "
            f"{row_s:g} s: {_shown(tracks, _clock(begin_s))}; correct when they start (start_s=, "
            "times=), or leave it out."
        )
    return _Timed(recording, x, grid, tracks, begin_s, stretches)


def _clock(begin_s: float) -> float:
    """Return what is added to times in messages: those since 1970 are counted from the first."""
    return begin_s if abs(begin_s) < _SINCE_1970 else 0.0


def _shown(tracks: Mapping[str, Track], more_s: float) -> str:
    spans = {name: it.span_s for name, it in tracks.items()}
    return ", ".join(
        f"{name} from {low + more_s:.10g} to {high + more_s:.10g} s"
        for name, (low, high) in spans.items()
    )


# Labels and masks ---------------------------------------------------------------------------------


def _labels(timed: _Timed) -> tuple[RowReader, int]:
    """Return the labels of the rows, and how many are in a row."""
    recording, y, grid = timed.recording, timed.recording.y, timed.grid
    if recording.labels_per != "row":
        return y, 1
    if is_unlabelled(y):
        return ConstantRows("", timed.n_rows), 1
    own = timed.x.times.get("y")
    like = timed.like(y.shape[0])
    if own is not None:
        like = [it for it in like if timed.x.times.get(it) == own][:1]
    if grid.label_rate is not None:
        like = [it for it in like if timed.tracks[it].rate_hz == float(grid.label_rate)]
    if len(like) > 1:
        raise SourceError(
            f"{recording.origin}: {format_count(y.shape[0], 'label')} in {recording.y_name!r} "
            f"could be those of the steps of {' or of '.join(like)}, which start at other times; "
            "say when they start, with start_s={..., 'y': ...}."
        )
    if like:
        steps = timed.tracks[like[0]].steps
        return _grouped(timed.cut(y, like[0]), steps, recording), steps
    if grid.label_rate is None:
        raise SourceError(
            f"{recording.origin}: {format_count(y.shape[0], 'label')} in {recording.y_name!r} are "
            f"as many as the steps of no input: {_counts(timed)}; say how many labels are for a "
            "second, with rate_hz={..., 'y': ...}."
        )
    start_s = (own or _START).start_s - timed.begin_s
    return _of_own_rate(timed, float(grid.label_rate), start_s)


def _of_own_rate(timed: _Timed, rate_hz: float, start_s: float) -> tuple[RowReader, int]:
    """Return labels that are at a rate of their own, from `start_s` on."""
    recording, y, row_s = timed.recording, timed.recording.y, timed.row_s
    of_row = rate_hz * row_s
    every, steps = (round(1 / of_row), 1) if of_row < 1 else (1, round(of_row))
    if abs(of_row - steps / every) > 1e-6 * of_row:
        raise SourceError(
            f"{recording.origin}: a label is for {1 / rate_hz:g} s, but a row of its inputs is "
            f"{row_s:g} s, the shortest time that is a whole number of steps of each; resample an "
            "input."
        )
    n_entries = y.shape[0] * every
    entries_hz = steps / row_s
    pieces = []
    for it in timed.stretches:
        first = int(np.floor((it.start_s - start_s) * entries_hz + 0.5))
        pieces.append((first, first + it.n_rows * steps))
    if pieces[0][0] < 0 or pieces[-1][1] > n_entries:
        last, more_s = timed.stretches[-1], _clock(timed.begin_s)
        raise SourceError(
            f"{recording.origin}: {format_count(y.shape[0], 'label')} in {recording.y_name!r} at "
            f"{rate_hz:g} Hz are for {start_s + more_s:.10g} to "
            f"{start_s + n_entries / entries_hz + more_s:.10g} s, but its inputs have rows from "
            f"{timed.stretches[0].start_s + more_s:.10g} to "
            f"{last.start_s + last.n_rows * row_s + more_s:.10g} s: "
            f"{_shown(timed.tracks, more_s)}; say when labels start, with start_s={{..., 'y': "
            "...}, or save one for all of that time."
        )
    entries = y if every == 1 else RepeatedRows(y, every, n_entries)
    return _grouped(PiecesOfRows(entries, tuple(pieces)), steps, recording), steps


def _grouped(rows: RowReader, steps: int, recording: SourceRecording) -> RowReader:
    if steps == 1:
        return rows
    if rows.dtype.names is not None:
        raise SourceError(
            f"{recording.origin}: {steps:,} labels of several arrays are in a row, which all "
            "inputs share; of several arrays of labels, save one label for each row."
        )
    return GroupedRows(rows, steps)


def _mask(timed: _Timed) -> RowReader | None:
    """Return the mask of rows, of which one is no good where a step of an input is not."""
    joined: RowReader | None = None
    for name, mask in (timed.x.masks or _mask_given(timed)).items():
        steps, own = timed.tracks[name].steps, timed.cut(mask, name)
        part = own if steps == 1 else WorstOfRows(GroupedRows(own, steps))
        joined = part if joined is None else JoinedMasks(joined, part)
    return joined


def _mask_given(timed: _Timed) -> Mapping[str, RowReader]:
    """Return the mask of a recording by the name of the input whose steps it is of."""
    mask = timed.recording.mask
    if mask is None:
        return {}
    like = timed.like(mask.shape[0])
    if len(like) != 1:
        raise SourceError(
            f"{timed.recording.origin}: has a mask of {mask.shape[0]:,} steps, which are those of "
            f"{' or of '.join(like) or 'no input'}: {_counts(timed)}; give a mask of the steps of "
            "one of them."
        )
    return {like[0]: mask}


def _counts(timed: _Timed) -> str:
    return ", ".join(f"{timed.x.by_name[name].shape[0]:,} in {name}" for name in timed.tracks)


# What is said of it -------------------------------------------------------------------------------


def _say(timed: _Timed, said: Said) -> None:
    """Say what is left out of a recording, and how far steps are from the times of rows."""
    where, stretches, tracks = timed.recording.origin, timed.stretches, timed.tracks
    last = stretches[-1]
    low, high = stretches[0].start_s, last.start_s + last.n_rows * timed.row_s
    spans = [it.span_s for it in tracks.values()]
    lost = max(max(low - begin, end - high) for begin, end in spans)
    n_gaps = len(stretches) - 1
    if lost >= timed.row_s or n_gaps:
        gaps = f", with {format_count(n_gaps, 'gap')}" if n_gaps else ""
        more_s = _clock(timed.begin_s)
        text = (
            f"inputs are cut to what all have, {low + more_s:.10g} to {high + more_s:.10g} s"
            f"{gaps}: {_shown(tracks, more_s)}"
        )
        said.add("inputs are cut to what all have", lost, f"{where}: {text}")
    off = {name: _most_off(it, stretches, name) for name, it in tracks.items()}
    some = [f"{name} {by:.2g} s" for name, by in off.items() if by * tracks[name].rate_hz > _FAR]
    if some:
        text = f"steps are off the time of their row by up to {', '.join(some)}"
        said.add("steps are off the time of their row", max(off.values()), f"{where}: {text}")


def _most_off(track: Track, stretches: Sequence[Stretch], name: str) -> float:
    """Return by how many seconds the step with which a stretch begins is off, at most."""
    starts = np.array([it.start_s for it in stretches])
    firsts = np.array([it.firsts[name] for it in stretches])
    which = np.searchsorted(track.edges, firsts, "right") - 1
    at = track.begins[which] + (firsts - track.edges[which]) / track.rate_hz
    return float(np.abs(at - starts).max())
