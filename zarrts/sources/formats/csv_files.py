"""CSV and TSV files as recordings: columns of numbers, read in pieces through PyArrow.

A CSV file says neither how many rows it has nor where they are. So it is read once, in pieces, and
every column that is used is looked at: where lines begin, what is no number, how long text is. Then
rows are reached by the pieces that hold them.
"""

import contextlib
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.libraries import needed
from zarrts.sources.formats.table_groups import table_format
from zarrts.sources.formats.table_rows import Kind
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.sources.rows.strided import fill_from
from zarrts.types import AnyArray

SUFFIXES = (".csv", ".tsv")
_BLOCK_BYTES = 1 << 20
_MAX_LINE = 1 << 16
_QUOTE, _NEWLINE = 34, 10


@dataclass(frozen=True, eq=False)
class CsvTable:
    """A CSV file whose lines were looked at.

    Attributes
    ----------
    stamp : Stamp
    origin : str
    columns : tuple of str
    separator, decimal : str
        What parts the columns, and the digits of numbers.
    starts : tuple of int
        Bytes where blocks of whole lines begin, and the size of the file.
    firsts : tuple of int
        First row of each block, and the number of rows.
    """

    stamp: Stamp
    origin: str
    columns: tuple[str, ...]
    separator: str
    decimal: str
    starts: tuple[int, ...]
    firsts: tuple[int, ...] = field(default=(0,))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.firsts[-1]

    @property
    def block_rows(self) -> int:
        """Most rows of a block."""
        return int(np.diff(self.firsts).max(initial=1))

    def kind_of(self, column: str) -> str:
        """Return "text": any column may be."""
        return "text"

    def blocks(
        self, columns: Sequence[str], kind: Kind, start: int = 0
    ) -> Iterator[tuple[int, list[AnyArray]]]:
        """Yield (first row, values of each column); see `Table`."""
        number = int(np.searchsorted(self.firsts, start, "right")) - 1
        with self.stamp.open() as file:
            for block in range(number, len(self.starts) - 1):
                yield self.firsts[block], self.parse(file, block, columns, kind)

    def parse(self, file: Any, block: int, columns: Sequence[str], kind: Kind) -> list[AnyArray]:
        """Return the values of some columns in a block."""
        content = bytearray(self.starts[block + 1] - self.starts[block])
        fill_from(file, self.starts[block], memoryview(content), self.origin)
        first = self.firsts[block] if block < len(self.firsts) else 0
        import pyarrow

        try:
            table = self._table(bytes(content), columns, kind)
        except pyarrow.ArrowInvalid as error:
            raise self._problem(bytes(content), columns, kind, first, error) from error
        if kind == "number":
            return [table[name].to_numpy() for name in columns]
        texts = (table[name].fill_null("").to_numpy(zero_copy_only=False) for name in columns)
        return [np.char.strip(it.astype(np.str_)) if len(it) else np.zeros(0, "U1") for it in texts]

    def _table(self, content: bytes, columns: Sequence[str], kind: Kind) -> Any:
        import pyarrow
        from pyarrow import csv as arrow_csv

        of_kind = pyarrow.float64() if kind == "number" else pyarrow.string()
        return arrow_csv.read_csv(
            pyarrow.BufferReader(content),
            read_options=arrow_csv.ReadOptions(
                column_names=[*self.columns], use_threads=False, block_size=len(content) + 1
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.separator,
                newlines_in_values=True,
                # Of a single column, an empty line is a value that is missing.
                ignore_empty_lines=len(self.columns) > 1,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=[*columns],
                column_types=dict.fromkeys(columns, of_kind),
                strings_can_be_null=True,
                decimal_point=self.decimal,
            ),
        )

    def _problem(
        self, content: bytes, columns: Sequence[str], kind: Kind, first: int, error: Exception
    ) -> SourceError:
        """Return what is wrong with a block, with the line and the value where they are found."""
        import pyarrow

        where = f"after row {first:,}"
        with contextlib.suppress(pyarrow.ArrowInvalid):
            table = self._table(content, columns, "text")
            for name in columns if kind == "number" else ():
                for number, value in enumerate(table[name].to_pylist()):
                    if value is not None and not _is_number(value, self.decimal):
                        return SourceError(
                            f"{self.origin}: row {first + number:,} has {value!r:.40} in column "
                            f"{name!r}, which is not a number; correct it, leave it empty where a "
                            "value is missing, or name other columns with x=."
                        )
        reason = str(error).splitlines()[0]
        return SourceError(f"{self.origin}: cannot be read {where} ({reason}); correct that line.")


def _is_number(text: str, decimal: str) -> bool:
    try:
        float(text.replace(decimal, "."))
    except ValueError:
        return False
    return "_" not in text


def open_table(file: SourceFile) -> CsvTable:
    """Look at the lines of a file, and return it as a table.

    Raises
    ------
    SourceError
        If PyArrow is not installed, or the file is not a CSV file with names in its first line.
    """
    needed("pyarrow", "tables", "CSV and Parquet files", file.origin)
    with opened(file.path, file.origin) as (stream, stamp):
        head = stream.read(3)
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise SourceError(f"{file.origin}: is UTF-16; save it as UTF-8.")
        begin = 3 if head == b"\xef\xbb\xbf" else 0
        stream.seek(begin)
        line = stream.readline(_MAX_LINE)
        columns, separator = _names(line, file.origin)
        sample = stream.read(_MAX_LINE)
        body = begin + len(line)
        starts = _line_blocks(stream, body, stamp.size)
    decimal = "," if separator != "," and _has_decimal_commas(sample, separator) else "."
    table = CsvTable(stamp, file.origin, columns, separator, decimal, starts)
    with stamp.open() as again:
        counts = [
            len(table.parse(again, block, columns[:1], "text")[0])
            for block in range(len(starts) - 1)
        ]
    firsts = tuple(np.cumsum([0, *counts]).tolist())
    return CsvTable(stamp, file.origin, columns, separator, decimal, starts, firsts)


def _names(line: bytes, where: str) -> tuple[tuple[str, ...], str]:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: its first line is not UTF-8 ({error}); save it so.") from error
    separator = max(",;\t", key=text.count)
    names = [it.strip() for it in next(csv.reader([text], delimiter=separator), [])]
    if not any(names):
        raise SourceError(f"{where}: its first line is empty; it has to name the columns.")
    if all(_is_number(it, ".") for it in names if it):
        raise SourceError(
            f"{where}: its first line holds numbers ({text:.60}), but it has to name the columns; "
            "add such a line."
        )
    twice = sorted({it for it in names if names.count(it) > 1})
    if twice:
        raise SourceError(f"{where}: several columns are called {twice[0]!r}; give each its name.")
    return tuple(names), separator


def _has_decimal_commas(sample: bytes, separator: str) -> bool:
    """Return whether a value among some bytes of a file is a number with a comma."""
    edge = rb"[%s\r\n]" % re.escape(separator.encode())
    number = rb"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*"
    return re.search(edge + number + edge, b"\n" + sample) is not None


def _line_blocks(stream: Any, begin: int, size: int) -> tuple[int, ...]:
    """Return where blocks of whole lines begin; a line end within quotes ends no line."""
    starts, done, is_quoted = [begin], begin, False
    stream.seek(begin)
    while done < size:
        content = np.frombuffer(stream.read(_BLOCK_BYTES), np.uint8)
        if len(content) == 0:
            break
        quotes = np.cumsum(content == _QUOTE) + is_quoted
        ends = np.flatnonzero((content == _NEWLINE) & (quotes % 2 == 0))
        is_quoted = bool(quotes[-1] % 2)
        if len(ends):
            starts.append(done + int(ends[-1]) + 1)
        done += len(content)
    if starts[-1] < size:
        starts.append(size)
    return tuple(starts)


FORMAT = table_format(SUFFIXES, open_table, "a CSV file")
