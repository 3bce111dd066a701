"""Recordings in files of named columns: which columns are x, y, times, and who each row is of."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from zarrts.errors import SourceError
from zarrts.keywords import did_you_mean
from zarrts.lists import listed
from zarrts.sources.formats.array_names import usual_name
from zarrts.sources.formats.contents import Contents, undescribed
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.formats.subject_arrays import NAMES
from zarrts.sources.formats.table_rows import ColumnRows, Table
from zarrts.sources.rows.files import SourceFile, ahead
from zarrts.sources.rows.inputs import input_rows, part_of_rows
from zarrts.sources.rows.records import named_rows
from zarrts.sources.rows.stamps import seconds_of
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import FloatArray, IrregularError, Timing, timing_of
from zarrts.types import AnyArray, Description, RowReader

_MAX_RUNS = 20_000
_FLOAT, _INT = np.dtype(np.float64), np.dtype(np.int64)

Open = Callable[[SourceFile], Table]


def find_in_tables(
    files: Sequence[SourceFile],
    options: SourceOptions,
    findings: Findings,
    open_table: Open,
    found: str,
) -> None:
    """Find the recordings in files of named columns; each run of rows of a subject is one."""
    named = 0

    def drafts(file: SourceFile) -> list[Draft]:
        nonlocal named
        table = open_table(file)
        owner = owner_of(table, options)
        named += owner is not None and owner == options.subject
        return _drafts(file, table, owner, options, found)

    findings.drafts += findings.collect("file", ahead(files), drafts)
    findings.names_subjects |= 0 < named == len(files)


def _drafts(
    file: SourceFile, table: Table, owner: str | None, options: SourceOptions, found: str
) -> list[Draft]:
    if table.n_rows == 0:
        raise SourceError(f"{file.origin}: has no rows; leave it out.")
    x, description = x_of(table, options)
    path_name = "/".join(part for part in (file.folder, file.stem) if part)
    whole = Draft(
        origin=file.origin,
        name=file.stem,
        path_name=path_name,
        paths=(file.path,),
        x=x,
        y=labels_in(table, options),
        x_name=", ".join(x_columns(table, options)),
        y_name=", ".join(options.label_names) or options.label_name or "y",
        found=f"{found} of {len(table.columns)} columns",
        description=description,
        labels_per="row",
    )
    runs = [("", 0, table.n_rows)] if owner is None else runs_of(table, owner)
    if len(runs) == 1:
        one = replace(whole, subject=runs[0][0] or None)
        return [_timed(one, table, options, 0, table.n_rows)]
    return [
        _timed(
            replace(
                whole.rows(start, stop),
                y=_part(whole.y, start, stop),
                origin=f"{file.origin}[{start}:{stop}]",
                subject=subject,
                part=f"[{start}:{stop}]",
                first_row=start,
            ),
            table,
            options,
            start,
            stop,
        )
        for subject, start, stop in runs
    ]


def _part(rows: object, start: int, stop: int) -> RowReader:
    assert isinstance(rows, RowReader)
    return part_of_rows(rows, start, stop)


def x_columns(table: Table, options: SourceOptions) -> tuple[str, ...]:
    """Return the columns that are x: those that x= names, or else channels=.

    Raises
    ------
    SourceError
        If none are named, some are not there, or hold no numbers.
    """
    names = options.channels if isinstance(options.channels, tuple) else None
    given = (options.x,) if isinstance(options.x, str) else options.x or names
    if isinstance(given, Mapping):
        given = tuple(dict.fromkeys(it for some in options.inputs.values() for it in some))
    if not given:
        raise SourceError(
            f"{table.origin}: has the columns {listed(table.columns)}; name those that are inputs, "
            f"such as x={[*table.columns[1:3]]} (--x {','.join(table.columns[1:3])})."
        )
    refuse_lacking(table, given, "x=")
    return tuple(given)


def x_of(table: Table, options: SourceOptions) -> tuple[RowReader, Description]:
    """Return the columns that are x, and what they mean; several inputs where x= names some.

    Raises
    ------
    SourceError
        See `x_columns` and `numbers`.
    """
    columns = x_columns(table, options)
    if not isinstance(options.x, Mapping):
        return numbers(table, columns), replace(Description.unknown(), channels=columns)
    readers = {name: numbers(table, some) for name, some in options.inputs.items()}
    parts = {
        name: replace(Description.unknown(), channels=some) for name, some in options.inputs.items()
    }
    return input_rows(readers, table.origin), replace(Description.unknown(), parts=parts)


def refuse_lacking(table: Table, names: Sequence[str], option: str) -> None:
    """Raise SourceError unless a table has the columns that an option names."""
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        hint = "".join(did_you_mean(name, table.columns) for name in lacking[:1])
        raise SourceError(
            f"{table.origin}: has no column {', '.join(map(repr, lacking))}, which {option} names; "
            f"it has {listed(table.columns)}.{hint}"
        )


def numbers(table: Table, columns: Sequence[str]) -> ColumnRows:
    """Return columns of numbers side by side; all of them are looked at where they may be text.

    Raises
    ------
    SourceError
        Naming row, column and value of what is not a number.
    """
    for name in columns:
        kind = table.kind_of(name)
        if kind in ("time", "other") or (kind == "text" and _is_typed(table)):
            what = {"time": "times", "text": "text"}.get(kind, "neither numbers nor text")
            raise SourceError(
                f"{table.origin}: column {name!r} holds {what}, but x= are numbers; save it as "
                "numbers, or leave it out."
            )
    if not _is_typed(table):
        for _ in table.blocks(columns, "number"):
            pass  # each value is converted, and raises where it is no number
    return ColumnRows(table, columns, _FLOAT, is_matrix=True)


def _is_typed(table: Table) -> bool:
    return any(table.kind_of(name) != "text" for name in table.columns)


def labels_in(table: Table, options: SourceOptions) -> RowReader:
    """Return the columns that are labels; SourceError if none are named, or some are lacking."""
    names = options.label_names or ((options.label_name,) if options.label_name else ())
    if options.is_unlabelled or (not names and options.labels is not None):
        return ConstantRows("", table.n_rows)
    if not names:
        raise SourceError(
            f"{table.origin}: has the columns {listed(table.columns)}; name the one that is the "
            "label with y= (--y), a file of labels with labels= (--labels), or say y=False "
            "(--no-y)."
        )
    refuse_lacking(table, names, "y=")
    readers = {name: values(table, name) for name in names}
    return named_rows(readers, table.origin) if options.label_names else readers[names[0]]


def values(table: Table, column: str) -> ColumnRows:
    """Return a column as labels: whole numbers, numbers, or text; "" and NaN are missing."""
    if table.kind_of(column) in ("time", "other"):
        raise SourceError(f"{table.origin}: column {column!r} cannot be labels; save text.")
    length, is_number, is_whole, has_missing = 1, True, True, False
    for _, (block,) in table.blocks([column], "text"):
        for text in np.unique(block).tolist():
            length = max(length, len(text))
            has_missing |= text == ""
            number = _number(text) if is_number and text else None
            is_number &= text == "" or number is not None
            is_whole &= number is None or number.is_integer()
    if is_number and table.kind_of(column) == "number":
        is_whole &= not has_missing
    if not is_number:
        return ColumnRows(table, [column], np.dtype(f"U{length}"), is_matrix=False)
    dtype = _INT if is_whole and not has_missing else _FLOAT
    return ColumnRows(table, [column], dtype, is_matrix=False)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def owner_of(table: Table, options: SourceOptions) -> str | None:
    """Return the column that names subjects, if there is one."""
    for name in (options.subject, options.subject_column):
        if isinstance(name, str) and name in table.columns:
            return name
    if options.subject is not None or options.folders != "auto":
        return None
    of_inputs = {it for some in options.inputs.values() for it in some}
    columns = of_inputs or x_columns(table, options)
    used = {*columns, options.label_name, *options.label_names, options.time}
    some = [it for it in table.columns if usual_name(it) in NAMES and it not in used]
    return some[0] if len(some) == 1 else None


def runs_of(table: Table, owner: str) -> list[tuple[str, int, int]]:
    """Return (subject, first row, the one after the last) of each run of rows of a subject."""
    runs: list[tuple[str, int]] = []
    for first, (names,) in table.blocks([owner], "text"):
        lacking = np.flatnonzero(names == "")
        if len(lacking):
            raise SourceError(
                f"{table.origin}: row {first + int(lacking[0]):,} has no subject in column "
                f"{owner!r}; fill it in."
            )
        changed = np.flatnonzero(names[1:] != names[:-1]) + 1
        if len(names) and (not runs or runs[-1][0] != names[0]):
            changed = np.append(0, changed)
        runs += [(str(names[row]), first + int(row)) for row in changed]
        if len(runs) > _MAX_RUNS:
            raise SourceError(
                f"{table.origin}: its subjects alternate more than {_MAX_RUNS:,} times; sort its "
                f"rows by {owner!r} and then by time, and save it again."
            )
    stops = [start for _, start in runs[1:]] + [table.n_rows]
    return [(name, start, stop) for (name, start), stop in zip(runs, stops, strict=True)]


def _timed(draft: Draft, table: Table, options: SourceOptions, start: int, stop: int) -> Draft:
    """Return a recording with the rate and the gaps that its time stamps say."""
    if options.time is None:
        return draft
    timing = read_times(table, options.time, start, stop, options.only_rate_hz)
    described = replace(draft.description, rate_hz=timing.rate_hz)
    if described.parts:
        parts = described.parts.items()
        rated = {name: replace(it, rate_hz=timing.rate_hz) for name, it in parts}
        described = replace(described, parts=rated)
    return replace(draft, gaps=timing.gaps, description=described, first_s=timing.first_s)


def read_times(table: Table, column: str, start: int, stop: int, wanted_hz: float | None) -> Timing:
    """Return what the time stamps of some rows say.

    Raises
    ------
    SourceError
        If the column is not there, holds no times, or these follow no fixed rate.
    """
    refuse_lacking(table, [column], "time=")
    where = f"{table.origin}: column {column!r}"
    try:
        return timing_of(_stamps(table, column, start, stop, where), wanted_hz)
    except IrregularError as error:
        at = f" of rows {start:,} to {stop:,}" if (start, stop) != (0, table.n_rows) else ""
        raise SourceError(f"{where}: time stamps{at}: {error}.") from error


def _stamps(table: Table, column: str, start: int, stop: int, where: str) -> Iterator[FloatArray]:
    blocks = table.blocks([column], "any", start)
    with closing(blocks):  # type: ignore[type-var]
        for first, (block,) in itertools.takewhile(lambda it: it[0] < stop, blocks):
            part = block[max(0, start - first) : stop - first]
            yield seconds_of(_as_numbers(part), where)


def _as_numbers(part: AnyArray) -> AnyArray:
    """Return text as numbers, where all of it is."""
    if part.dtype.kind != "U":
        return part
    try:
        return np.where(part == "", "nan", part).astype(np.float64)
    except ValueError:
        return part


def contents_of(table: Table, found: str) -> Contents:
    """Return the columns of a table, each as an array by itself."""

    def reader(name: str, role: Role, options: SourceOptions) -> RowReader:
        return numbers(table, [name]) if role == "x" else values(table, name)

    return Contents(
        names=table.columns,
        found=f"{found} of {len(table.columns)} columns",
        shape=lambda name: (table.n_rows,),
        summary=lambda name: f"{name!r} ({table.n_rows:,} rows)",
        reader=reader,
        description=undescribed,
        side_by_side=lambda options: x_of(table, options),
    )
