"""Labels that are in a table of their own: intervals of time of subjects, or of files."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from zarrts.buckets.mounts import Mounts
from zarrts.errors import OptionError, SourceError
from zarrts.lists import listed
from zarrts.sources.formats.drafts import Draft, Findings, Kind
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.rows.files import SourcePath, located, opened
from zarrts.sources.rows.inputs import InputRows, InputTime
from zarrts.sources.rows.stamps import seconds_of
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.scoring import DURATIONS, LABELS, ONSETS
from zarrts.tables import Columns, columns_of, columns_of_csv, first_of
from zarrts.timeline import FloatArray
from zarrts.types import RowReader, SeriesList, SourceRecording

_Labelled = TypeVar("_Labelled", Draft, SourceRecording)

_STARTS, _STOPS = (
    ("start", "begin", "start_time", *ONSETS),
    ("stop", "end", "stop_time", "end_time"),
)
_FILES = ("file", "source", "recording", "path")
_CLOCK = 1e8
"""Times from 1973 on, in seconds since 1970; others are counted from some beginning."""


class Intervals:
    """The intervals in a table, with their labels.

    Parameters
    ----------
    given : path, address, or table
        With the columns subject or file; start and stop (or onset and duration), in seconds or as
        dates; and label.
    mounts : Mounts
        How addresses are reached.

    Raises
    ------
    SourceError
        If it cannot be read, lacks a column, or holds no times.
    """

    def __init__(self, given: Any, mounts: Mounts) -> None:
        self.path: SourcePath | None = None
        self.name = "labels="
        try:
            if isinstance(given, str | os.PathLike):
                self.name = os.fspath(given)
                self.path = located(self.name, mounts)
                with opened(self.path, self.name) as (stream, _):
                    columns = columns_of_csv(stream, self.name)
            else:
                columns = columns_of(given, "labels=")
        except OptionError as error:
            raise SourceError(str(error)) from error
        file, subject = first_of(columns, _FILES), first_of(columns, ("subject",))
        start, stop = first_of(columns, _STARTS), first_of(columns, _STOPS)
        lasts, label = first_of(columns, DURATIONS), first_of(columns, LABELS)
        if start is None or (stop or lasts) is None or label is None or (file or subject) is None:
            raise SourceError(
                f"{self.name}: has the columns {listed(columns)}, but labels need subject or file, "
                "start and stop (or duration), in seconds or as dates, and label."
            )
        self._by_file = file is not None
        self._owners = columns[file or "subject"].astype(np.str_)
        self._labels = columns[label].astype(np.str_)
        self._starts = self._times(columns, start)
        if stop is not None:
            self._stops = self._times(columns, stop)
        else:
            assert lasts is not None
            self._stops = self._starts + self._times(columns, lasts)
        bad = np.flatnonzero(~(self._stops > self._starts))
        if len(bad):
            line = int(bad[0])
            raise SourceError(
                f"{self.name}: line {line + 2} ends where it starts, or before; each interval "
                "needs a start, and a stop after it."
            )
        self._used = np.zeros(len(self._starts), bool)

    def _times(self, columns: Columns, name: str) -> FloatArray:
        values = columns[name]
        if values.dtype.kind == "U":
            with contextlib.suppress(ValueError):  # dates
                values = np.where(values == "", "nan", values).astype(np.float64)
        seconds = seconds_of(values, f"{self.name}: column {name!r}")
        lacking = np.flatnonzero(~np.isfinite(seconds))
        if len(lacking):
            raise SourceError(
                f"{self.name}: line {int(lacking[0]) + 2} has no time in column {name!r}; fill it "
                "in."
            )
        return seconds

    def of(self, subject: str, origin: str, first_s: float | None) -> list[Annotation]:
        """Return the intervals of a recording, counted from its first row.

        Raises
        ------
        SourceError
            If there are none, or they are dates, and nobody says when the recording began.
        """
        names = _names_of(origin) if self._by_file else {subject}
        mine = np.isin(self._owners, sorted(names))
        self._used |= mine
        if not mine.any():
            what, named = ("file", origin) if self._by_file else ("subject", subject)
            raise SourceError(
                f"{origin}: {self.name} has no line for the {what} {named}; it names "
                f"{listed(dict.fromkeys(self._owners.tolist()))}."
            )
        starts, stops = self._starts[mine], self._stops[mine]
        are_dates = float(np.median(starts)) >= _CLOCK
        if are_dates and first_s is None:
            raise SourceError(
                f"{origin}: {self.name} gives dates, but it is not known when the recording began; "
                "name its time stamps with time= (--time), or give seconds from the first row."
            )
        # Without dates on one side, seconds are counted from the first row; unless both count from
        # another moment, such as when a device was switched on.
        shift = first_s if first_s is not None and (are_dates or first_s < _CLOCK) else 0.0
        return [
            Annotation(float(start - shift), float(stop - start), str(label))
            for start, stop, label in zip(starts, stops, self._labels[mine], strict=True)
        ]

    def problems(self) -> list[str]:
        """Return a sentence on lines that are of no recording."""
        unused = [*dict.fromkeys(self._owners[~self._used].tolist())]
        if not unused:
            return []
        what = "file" if self._by_file else "subject"
        return [
            f"{self.name}: names {listed(unused, 4)}, which is no {what} here; correct the table, "
            "or take those lines out."
        ]


def _names_of(origin: str) -> set[str]:
    plain = origin.replace("\\", "/")
    base = plain.rpartition("/")[2]
    return {plain, base, base.rpartition(".")[0] or base}


def attach(
    recordings: Sequence[_Labelled],
    intervals: Intervals | None,
    options: SourceOptions,
    findings: Findings,
    kind: Kind,
) -> list[_Labelled]:
    """Return recordings with the labels of a table; those that have none are noted."""
    if intervals is None:
        return list(recordings)

    def labelled(it: _Labelled) -> list[_Labelled]:
        if isinstance(it.x, SeriesList):
            raise SourceError(
                f"{it.origin}: is a list of series, and labels= are of one series each; save a "
                "file for each."
            )
        timed, rate_hz, time = _timed(it, options)
        if rate_hz is None:
            raise SourceError(
                f"{it.origin}: labels= are intervals of time, but the rate is not known; say "
                "rate_hz= (--rate-hz), or name its time stamps with time= (--time)."
            )
        assert it.subject is not None
        found = intervals.of(it.subject, it.origin, time.start_s if time else it.first_s)
        n_rows, where = timed.shape[0], f"{it.origin}: {intervals.name}"
        gaps = time.gaps if time else it.gaps
        y = labels_of(found, rate_hz, n_rows, options, where, "", gaps)
        paths: tuple[Any, ...] = it.paths
        if intervals.path is not None and not isinstance(it, SourceRecording):
            paths = (*paths, intervals.path)
        x, description = it.x, it.description
        if isinstance(x, InputRows):
            description = replace(description, rate_hz=rate_hz)
            x = x if time is None else replace(x, times={**x.times, "y": time})
        return [
            replace(
                it,
                x=x,
                description=description,
                y=y,
                y_name="labels",
                labels_per="row",
                labels_from=intervals.name,
                paths=paths,
            )
        ]

    return findings.collect(kind, recordings, labelled)


def _timed(
    it: Draft | SourceRecording, options: SourceOptions
) -> tuple[RowReader, float | None, InputTime | None]:
    """Return the input for whose rows labels are, the fastest of several; its rate, and times."""
    x, description = it.x, it.description
    assert not isinstance(x, SeriesList)
    if not isinstance(x, InputRows):
        return x, options.only_rate_hz or description.rate_hz, None
    if isinstance(options.rate_hz, Mapping) and "y" in options.rate_hz:
        raise SourceError("rate_hz= names y, but labels= are intervals of time; leave y out of it.")
    known = {
        name: options.of_input(name).rate_hz or description.parts[name].rate_hz for name in x.names
    }
    rates = {name: rate for name, rate in known.items() if rate}
    if not rates:
        return x, None, None
    name = max(rates, key=rates.__getitem__)
    return x.by_name[name], rates[name], x.times.get(name)
