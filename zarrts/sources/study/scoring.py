"""Labels of a signal file that are in another file: annotations of EDF, or a CSV file."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Scoring
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.rows.files import SourceFile, opened
from zarrts.sources.rows.label_rows import IntervalRows
from zarrts.sources.rows.views import ValueRows
from zarrts.sources.source_options import SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import RowReader

SUFFIXES = (".csv", ".tsv")
LABELS = ("label", "labels", "stage", "description", "trial_type", "annotation", "text", "event")
ONSETS, DURATIONS = ("onset", "onset_s"), ("duration", "duration_s")
MAX_LINES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Signals:
    """The rows that are labelled: how many, at which rate, and when the first was recorded."""

    n_rows: int
    rate_hz: float | None
    scoring: Scoring | None = None
    gaps: Gaps | None = None


def rows_of_scoring(
    file: SourceFile,
    scoring: Scoring,
    signals: Signals,
    offset_s: float | None,
    options: SourceOptions,
) -> IntervalRows:
    """Return one label a row, from the annotations of another file.

    Parameters
    ----------
    offset_s : float, optional
        From the first row to the start of the other file; by default as the headers of both say,
        and 0 where one of them says nothing.

    Raises
    ------
    SourceError
        If the rate is not known, or no row has a label.
    """
    about, mine = "", signals.scoring
    if offset_s is None:
        offset_s = 0.0 if mine is None else -mine.first_s
        if mine is not None and mine.started is not None and scoring.started is not None:
            starts = scoring.started(), mine.started()
            offset_s += (starts[0] - starts[1]).total_seconds()
            about = f" ({file.origin} starts at {starts[0]}, the recording at {starts[1]})"
    moved = [replace(it, onset_s=it.onset_s + offset_s) for it in scoring.annotations]
    rate_hz, gaps = _rate(signals, file), signals.gaps
    return labels_of(moved, rate_hz, signals.n_rows, options, file.origin, about, gaps)


def _rate(signals: Signals, file: SourceFile) -> float:
    if signals.rate_hz is None:
        raise SourceError(
            f"{file.origin}: its labels are given in seconds, but the rate of x is not known; say "
            "rate_hz= (--rate-hz)."
        )
    return signals.rate_hz


def rows_of_csv(
    file: SourceFile, signals: Signals, offset_s: float | None, options: SourceOptions
) -> RowReader:
    """Return the labels in a CSV file whose first line names the columns, in any order.

    With onset and duration (seconds) and label, or start and stop (rows) and label, these are
    intervals. With label alone, each line is one label: of a row, or of a stretch of rows.

    Raises
    ------
    SourceError
        If the file cannot be read, or lacks a column.
    """
    columns, lines = _read(file)
    of = {name: index for index, name in enumerate(columns)}
    label = _column(of, LABELS)
    onset, duration = _column(of, ONSETS), _column(of, DURATIONS)
    has_rows = "start" in of and "stop" in of
    if label is None or (onset is None) != (duration is None):
        raise SourceError(
            f"{file.origin}: its first line has the columns {listed(columns) or 'of nothing'}, but "
            "labels need label, and onset and duration (in seconds) or start and stop (in rows)."
        )
    texts = [line[label] for line in lines]
    if onset is not None and duration is not None:
        times = _numbers(file, lines, onset, duration)
        found = tuple(
            Annotation(begin, lasting, text)
            for (begin, lasting), text in zip(times, texts, strict=True)
        )
        csv_scoring = Scoring(annotations=found, started=None)
        return rows_of_scoring(file, csv_scoring, signals, offset_s or 0.0, options)
    if has_rows:
        bounds = _numbers(file, lines, of["start"], of["stop"])
        shift = round(offset_s * _rate(signals, file)) if offset_s else 0
        begins, ends = (
            np.array([int(pair[i]) + shift for pair in bounds], np.int64) for i in (0, 1)
        )
        return IntervalRows.of(
            begins.tolist(), ends.tolist(), np.array(texts, np.str_), signals.n_rows, file.origin
        )
    return ValueRows(np.array(texts, np.str_))


def _column(of: dict[str, int], names: Iterable[str]) -> int | None:
    return next((of[name] for name in names if name in of), None)


def _read(file: SourceFile) -> tuple[list[str], list[list[str]]]:
    """Return the columns in the first line of a file, in lower case, and its other lines."""
    try:
        with (
            opened(file.path, file.origin) as (stream, _),
            io.TextIOWrapper(stream, newline="", encoding="utf-8-sig") as text,
        ):
            first = text.readline()
            separator = max(",;\t", key=first.count)
            names = next(csv.reader([first], delimiter=separator), [])
            lines: list[list[str]] = []
            for line in csv.reader(text, delimiter=separator, skipinitialspace=True):
                if len(lines) >= MAX_LINES:
                    raise SourceError(f"{file.origin}: has more than {MAX_LINES:,} lines.")
                if line:
                    lines.append([it.strip() for it in line])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{file.origin}: cannot be read ({error}).") from error
    columns = [name.strip().lower() for name in names]
    short = [number for number, line in enumerate(lines, 2) if len(line) < len(columns)]
    if short or not lines:
        what = f"line {short[0]} has fewer values than columns" if short else "has no lines"
        raise SourceError(f"{file.origin}: {what}; correct it.")
    return columns, lines


def _numbers(
    file: SourceFile, lines: Sequence[Sequence[str]], *columns: int
) -> list[tuple[float, ...]]:
    found = []
    for number, line in enumerate(lines, 2):
        try:
            values = tuple(float(line[column]) for column in columns)
        except ValueError:
            values = (np.nan,)
        if not np.isfinite(values).all():
            shown = ", ".join(line[column] for column in columns)
            raise SourceError(f"{file.origin}: line {number} has {shown}, which are not numbers.")
        found.append(values)
    return found
