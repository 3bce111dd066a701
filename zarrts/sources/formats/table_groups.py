"""Recordings in files of named columns: a file each, or a file for each of several inputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.input_files import FileGroup, group_files
from zarrts.sources.formats.table_drafts import (
    Open,
    contents_of,
    find_in_tables,
    labels_in,
    numbers,
    owner_of,
    read_times,
    refuse_lacking,
    runs_of,
)
from zarrts.sources.formats.table_rows import Table
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.rows.inputs import InputTime, input_rows
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import Description, LabelsPer, RowReader


def table_format(suffixes: tuple[str, ...], open_table: Open, found: str) -> Format:
    """Return the format of files of named columns, each of which `open_table` opens."""

    @contextmanager
    def open_contents(file: SourceFile) -> Iterator[Contents]:
        yield contents_of(open_table(file), found)

    def group(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
        find_tables(files, options, findings, open_table, found)

    return Format(suffixes=suffixes, open=open_contents, group=group, family="tables")


def find_tables(
    files: Sequence[SourceFile],
    options: SourceOptions,
    findings: Findings,
    open_table: Open,
    found: str,
) -> None:
    """Find the recordings in files of named columns.

    Where files are called as the inputs that `x` makes of columns, such as acc.csv and hr.csv,
    those of one folder (and of one name beside that) are a recording; else each file is one, or
    each run of rows of a subject.
    """
    grouped = None
    if isinstance(options.x, Mapping):
        words = {name: (name,) for name in options.inputs}
        grouped = group_files(files, words, options, needs_labels=False)
    if grouped is None:
        find_in_tables(files, options, findings, open_table, found)
        return
    groups, problems = grouped
    findings.note("file", problems)
    drafts = findings.collect("file", groups, lambda it: [_draft(it, options, open_table)])
    findings.drafts += drafts
    is_column = isinstance(options.subject, str) and any(it.subject for it in drafts)
    findings.names_subjects |= is_column and all(it.subject for it in drafts)


@dataclass(frozen=True)
class _Labels:
    """The labels of a group of tables; `rate_hz` and `time` are of those that rows have."""

    rows: RowReader
    per: LabelsPer
    name: str
    rate_hz: float | None = None
    time: InputTime | None = None


def _draft(group: FileGroup, options: SourceOptions, open_table: Open) -> Draft:
    tables = {name: open_table(file) for name, file in group.inputs.items()}
    for table in tables.values():
        if table.n_rows == 0:
            raise SourceError(f"{table.origin}: has no rows; leave it out.")
    readers: dict[str, RowReader] = {}
    parts: dict[str, Description] = {}
    times: dict[str, InputTime] = {}
    for name, table in tables.items():
        columns = options.inputs[name]
        refuse_lacking(table, columns, "x=")
        readers[name] = numbers(table, columns)
        time, rate_hz = _time_of(table, options.of_input(name).rate_hz, options)
        parts[name] = replace(Description.unknown(), channels=columns, rate_hz=rate_hz)
        if time is not None:
            times[name] = time
    labels = _labels(group, tables, times, parts, options, open_table)
    if times and labels.time is not None:
        times["y"] = labels.time
    draft = group.draft(
        input_rows(readers, group.origin, times),
        labels.rows,
        y_name=labels.name,
        each="tables",
        description=replace(Description.unknown(), parts=parts, rate_hz=labels.rate_hz),
    )
    return replace(
        draft,
        subject=_subject(tables, options),
        labels_per=labels.per,
        first_s=min((it.start_s for it in times.values()), default=None),
    )


def _time_of(
    table: Table, wanted_hz: float | None, options: SourceOptions
) -> tuple[InputTime | None, float | None]:
    """Return when the rows of a table were, and their rate; of a single row, it may not say it."""
    column = options.time
    if column is None or (table.n_rows == 1 and column not in table.columns):
        return None, None
    timing = read_times(table, column, 0, table.n_rows, wanted_hz)
    return InputTime(timing.first_s or 0.0, timing.gaps), timing.rate_hz


def _subject(tables: Mapping[str, Table], options: SourceOptions) -> str | None:
    """Return whose the tables are, where a column says it.

    Raises
    ------
    SourceError
        If they name several subjects.
    """
    names: dict[str, str] = {}
    for table in tables.values():
        owner = owner_of(table, options)
        if owner is not None:
            names |= {who: table.origin for who, _, _ in runs_of(table, owner)}
    if len(names) > 1:
        raise SourceError(
            f"{listed(dict.fromkeys(names.values()))}: name several subjects, {listed(names, 4)}, "
            "but files that are an input each are of one recording; part them, or put all columns "
            "into one file."
        )
    return next(iter(names), None)


def _labels(
    group: FileGroup,
    tables: Mapping[str, Table],
    times: Mapping[str, InputTime],
    parts: Mapping[str, Description],
    options: SourceOptions,
    open_table: Open,
) -> _Labels:
    """Return the labels: a column of one of the files, or of a file that is called so."""
    if options.is_unlabelled:
        return _Labels(ConstantRows("", 1), "recording", "y")
    names = options.label_names or ((options.label_name,) if options.label_name else ())
    shown = ", ".join(names) or "y"
    if group.labels is not None:
        table = open_table(group.labels)
        rows = labels_in(table, options)
        time, rate_hz = _time_of(table, None, options)
        if time is not None and time.gaps is not None:
            raise SourceError(
                f"{table.origin}: something is missing between its labels (before row "
                f"{int(np.min(time.gaps.rows)):,}); give a table of intervals, labels= (--labels)."
            )
        return _Labels(rows, _per(table), shown, rate_hz, time)
    owners = [name for name, it in tables.items() if names and {*names} <= {*it.columns}]
    if len(owners) != 1:
        where = listed(it.origin for it in tables.values())
        what = "none" if not owners else f"{len(owners)} of these files"
        remedy = (
            "name a column that one of them has with y= (--y)"
            if not owners
            else f"leave it in one of them, or call a file {shown}"
        )
        raise SourceError(
            f"{where}: the column of labels, {shown if names else 'which y= names'}, is in {what}; "
            f"{remedy}, give a table of labels with labels= (--labels), or say y=False (--no-y)."
        )
    table = tables[owners[0]]
    rate_hz = parts[owners[0]].rate_hz or options.of_input(owners[0]).rate_hz
    per = _per(table)
    time = times.get(owners[0])
    return _Labels(labels_in(table, options), per, shown, rate_hz if per == "row" else None, time)


def _per(table: Table) -> LabelsPer:
    return "recording" if table.n_rows == 1 else "row"
