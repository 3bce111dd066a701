"""Tables of recordings: a CSV file with a line for each, for layouts of any kind."""

import csv
import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.keywords import did_you_mean
from zarrts.lists import listed
from zarrts.sources.formats import edf, zarr_folders
from zarrts.sources.formats.carried import description_of
from zarrts.sources.formats.contents import Scoring
from zarrts.sources.formats.drafts import (
    Draft,
    Findings,
    gaps_of,
    mask_of,
    unlabelled_series,
)
from zarrts.sources.formats.registry import open_contents
from zarrts.sources.rows.files import SourceFile, SourcePath, beside, located, opened
from zarrts.sources.rows.folders import is_folder
from zarrts.sources.rows.inputs import part_of_rows
from zarrts.sources.rows.label_rows import IntervalRows, RepeatedRows
from zarrts.sources.rows.views import ConstantRows, PartOfRows, count_rows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.sources.study import scoring
from zarrts.sources.study.label_every import rows_of_label
from zarrts.sources.study.search import located_zarr
from zarrts.timeline import Gaps, part_of_gaps
from zarrts.types import Description, LabelsPer, RowReader, SeriesList

LINE_OF_A_TABLE = "a line of a table"
"""The text of a line that was recognised, where nothing else is said of it."""

SUFFIX = ".csv"
COLUMNS = ("subject", "x", "y", "label", "start", "stop", "offset")
_SEPARATOR = "::"

Find = Callable[[str], SourceFile]


def with_table(source: Any, table: str | os.PathLike[str] | None) -> Any:
    """Return sources with a table among them; `source` may be None.

    Raises
    ------
    SourceError
        If the table is no `.csv` file.
    """
    if table is None:
        return source
    if not os.fspath(table).lower().endswith(SUFFIX):
        raise SourceError(f"table={os.fspath(table)!r} has to be a .csv file.")
    table = TablePath(os.fspath(table))
    if source is None:
        return table
    return [*(source if isinstance(source, list | tuple) else [source]), table]


class TablePath(str):
    """The path of a table of recordings, where CSV files may be recordings themselves."""


@dataclass(frozen=True)
class _Line:
    where: str
    subject: str
    x: str
    y: str
    label: str
    start: int
    stop: int | None
    offset_s: float | None


def find_drafts(path: str, options: SourceOptions, mounts: Mounts, findings: Findings) -> None:
    """Find the recordings that a table names, in its order.

    Parameters
    ----------
    path : str
        Or address: a CSV file in UTF-8 whose first line names the columns: subject; x and perhaps
        y, files relative to the table's folder, or addresses, with "::" and a name where a file
        holds several arrays; label, one for all samples, instead of y; start and stop, rows of
        the file; offset, for annotations and CSV files of labels: when y starts, in seconds from
        the first row of the file of x. Further columns are passed over. With a label, an array of
        at most 2 axes is one sample, unless `axes` names "sample".
    mounts : Mounts
        How addresses are reached.

    Raises
    ------
    SourceError
        If the table cannot be read, or lacks a column.
    """
    table = located(path, mounts)

    def find_file(file_name: str) -> SourceFile:
        place = beside(table, file_name)
        try:
            found = located_zarr(place, mounts) or located(place, mounts)
            kind = zarr_folders.SUFFIX if is_folder(found) else ""
            return SourceFile(found, file_name, file_name, kind)
        except SourceError as error:
            raise SourceError(
                f"{file_name}: no such file; paths are relative to the table's folder."
                if "no such file" in str(error)
                else str(error)
            ) from error

    for line in _read_lines(table, options.is_unlabelled):
        with findings.noting("file", f"{line.where}: "):
            findings.drafts.append(_draft(line, find_file, options))


def _read_lines(path: SourcePath, is_unlabelled: bool) -> list[_Line]:
    try:
        with (
            opened(path, str(path)) as (stream, _),
            io.TextIOWrapper(stream, newline="", encoding="utf-8-sig") as file,
        ):
            rows = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in ("subject", "x") if name not in (rows.fieldnames or ())]
            if missing:
                raise SourceError(
                    f"{path}: its first line has the columns {listed(rows.fieldnames or ())}, but "
                    f"subject and x are needed, and y or label; add {listed(missing)}."
                    + "".join(did_you_mean(it, rows.fieldnames or ()) for it in missing)
                )
            lines, problems = [], []
            for row in rows:
                where = f"{path}: line {rows.line_num}"
                try:
                    lines.append(_line(row, where, is_unlabelled))
                except ValueError as error:
                    problems.append(f"line {rows.line_num}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: the table cannot be read ({error}).") from error
    if problems:
        raise SourceError(f"{path}: {listed(problems)}.")
    if not lines:
        raise SourceError(f"{path}: names no recordings; add a line for each.")
    return lines


def _line(row: dict[str, str | None], where: str, is_unlabelled: bool) -> _Line:
    texts = {name: (row.get(name) or "").strip() for name in COLUMNS}
    lacking = [name for name in ("subject", "x") if not texts[name]]
    if lacking:
        raise ValueError(f"{' and '.join(lacking)} left empty; fill it in")
    if bool(texts["y"]) == bool(texts["label"]) and not is_unlabelled:
        raise ValueError("needs y or label, and not both")
    numbers = {name: int(texts[name]) for name in ("start", "stop") if texts[name]}
    start, stop = numbers.get("start", 0), numbers.get("stop")
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"rows {start} to {stop} are none")
    offset_s = float(texts["offset"]) if texts["offset"] else None
    if offset_s is not None and not math.isfinite(offset_s):
        raise ValueError(f"an offset of {offset_s} s is none")
    return _Line(
        where, texts["subject"], texts["x"], texts["y"], texts["label"], start, stop, offset_s
    )


def _draft(line: _Line, find_file: Find, options: SourceOptions) -> Draft:
    x_file, x_name, whole, of_x = _reader(line.x, find_file, "x", options)
    description, x = of_x.description, _part(whole, line, x_name)
    paths = [x_file.path]
    is_part = (line.start, line.stop) != (0, None)
    labels_per: LabelsPer = "sample"
    y: RowReader | SeriesList
    if options.is_unlabelled:
        y, y_name = ConstantRows("", count_rows(x)), "y"
    elif line.label:
        if not isinstance(x, SeriesList) and len(x.shape) <= 2 and not options.names_samples:
            x = SeriesList((x,))
        y = ConstantRows(line.label, count_rows(x))
        y_name = "label"
    else:
        y_file, y_name, y = _labels(line, find_file, whole, of_x, options)
        every = rows_of_label(options, [description.rate_hz]) if is_part else None
        if isinstance(y, IntervalRows):
            y, labels_per = _part(y, line, y_name), "row"
        elif every is not None and not isinstance(x, SeriesList) and not isinstance(y, SeriesList):
            # start and stop count time steps, in labels too.
            y, labels_per = _of_stretches(y, every, line, x.shape[0], y_name), "row"
        else:
            y = _part(y, line, y_name)
        paths += [y_file.path] if y_file.path != x_file.path else []
    rows = f" rows {line.start} to {line.stop or 'the end'}" if is_part else ""
    found = Draft(
        origin=line.x + rows,
        name=x_file.stem,
        path_name=line.x,
        paths=tuple(paths),
        x=x,
        y=y,
        x_name=x_name,
        y_name=y_name,
        found=LINE_OF_A_TABLE,
        description=description,
        subject=line.subject,
        part=f"{line.x} {line.y} {line.label} {line.start} {line.stop}"
        + ("" if line.offset_s is None else f" {line.offset_s}"),
        first_row=line.start,
        labels_per=labels_per,
        mask=of_x.mask and PartOfRows(of_x.mask, line.start, line.start + count_rows(x)),
        gaps=part_of_gaps(of_x.gaps, line.start, line.start + count_rows(x)),
    )
    is_bare = x_name == edf.SIGNALS and options.is_unlabelled
    return unlabelled_series(found, options) if is_bare else found


def _labels(
    line: _Line,
    find_file: Find,
    x: RowReader | SeriesList,
    of_x: "_Said",
    options: SourceOptions,
) -> tuple[SourceFile, str, RowReader | SeriesList]:
    """Return file, name and rows of y: annotations of EDF, a CSV file, or an array."""
    file_name, _, name = line.y.partition(_SEPARATOR)
    file = find_file(file_name.replace("\\", "/"))
    is_csv = file.is_kind(scoring.SUFFIXES)
    if is_csv and name:
        raise SourceError(f"{line.y}: a CSV file has no arrays; leave {_SEPARATOR}{name} out.")
    found = None if is_csv or name not in ("", edf.ANNOTATIONS) else _scoring_of(file)
    if not is_csv and found is None:
        if line.offset_s is not None:
            raise SourceError(f"{line.y}: offset= is for labels with times, which it has not.")
        return _reader(line.y, find_file, "y", options)[:3]
    if isinstance(x, SeriesList):
        raise SourceError(f"{line.y}: labels with times need x to be one series, not a list.")
    own = _scoring_of(find_file(line.x.partition(_SEPARATOR)[0].replace("\\", "/")))
    rate_hz = options.only_rate_hz or of_x.description.rate_hz
    signals = scoring.Signals(n_rows=x.shape[0], rate_hz=rate_hz, scoring=own, gaps=of_x.gaps)
    if found is None:
        return file, file.stem, scoring.rows_of_csv(file, signals, line.offset_s, options)
    rows = scoring.rows_of_scoring(file, found, signals, line.offset_s, options)
    return file, edf.ANNOTATIONS, rows


def _scoring_of(file: SourceFile) -> Scoring | None:
    """Return the annotations of a file, where it can have some."""
    with open_contents(file) as contents:
        return None if contents.scoring is None else contents.scoring()


def _of_stretches(labels: RowReader, every: int, line: _Line, n_rows: int, name: str) -> PartOfRows:
    """Return a label for each of the `n_rows` that a line chooses."""
    n_labels, stop = labels.shape[0], line.start + n_rows
    n_needed = -(-stop // every)
    if n_labels < n_needed or (line.stop is None and n_labels > n_needed):
        raise SourceError(
            f"{name} has {n_labels:,} labels, one for each {every:,} time steps, but the "
            f"{stop:,} up to the {'last' if line.stop is None else 'stop'} need {n_needed:,}; "
            "correct label_every=, rate_hz= or stop."
        )
    return PartOfRows(RepeatedRows(labels, every, stop), line.start, stop)


def _part(rows: RowReader | SeriesList, line: _Line, name: str) -> RowReader | SeriesList:
    if isinstance(rows, SeriesList):
        if (line.start, line.stop) == (0, None):
            return rows
        raise SourceError(f"{name} is a list of series, of which no rows can be cut out.")
    stop = rows.shape[0] if line.stop is None else line.stop
    if (line.start, stop) == (0, rows.shape[0]):
        return rows
    if stop > rows.shape[0] or line.start >= stop:
        raise SourceError(
            f"rows {line.start:,} to {stop:,} of {name}, which has {rows.shape[0]:,}; correct "
            "start or stop."
        )
    return part_of_rows(rows, line.start, stop)


@dataclass(frozen=True)
class _Said:
    """The columns and rows of an array, as its file describes them."""

    description: Description = field(default_factory=Description.unknown)
    mask: RowReader | None = None
    gaps: Gaps | None = None


def _reader(
    named: str, find_file: Find, role: Role, options: SourceOptions
) -> tuple[SourceFile, str, RowReader | SeriesList, _Said]:
    file_name, _, name = named.partition(_SEPARATOR)
    file_name = file_name.replace("\\", "/")
    file = find_file(file_name)
    with open_contents(file) as contents:
        if not name and role == "x" and contents.scoring is not None:
            name = edf.SIGNALS
        if not name:
            name = contents.names[0] if len(contents.names) == 1 else ""
        if name not in contents.names:
            what = f"no array {name!r}" if name else f"{len(contents.names)} arrays"
            example = (
                f", such as {file_name}{_SEPARATOR}{contents.names[0]}" if contents.names else ""
            )
            held = listed(contents.names) or "nothing"
            raise SourceError(f"{file_name}: has {what}; it holds {held}; name one{example}.")
        reader = contents.reader(name, role, options)
        if role == "y":
            return file, name, reader, _Said()
        mask, gaps = mask_of(contents, name, options), gaps_of(contents, name, options)
        return file, name, reader, _Said(description_of(contents, name, options), mask, gaps)
