"""Parquet files as recordings: columns of numbers, read in pieces through PyArrow."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.libraries import needed
from zarrts.sources.formats.table_groups import table_format
from zarrts.sources.formats.table_rows import Kind
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.types import AnyArray

SUFFIXES = (".parquet", ".pq")
_BATCH_ROWS = 1 << 15
_BUFFER_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class ParquetTable:
    """A Parquet file.

    Attributes
    ----------
    stamp : Stamp
    origin : str
    columns, kinds : tuple of str
        Names of the columns, and what is in them; see `Table.kind_of`.
    firsts : tuple of int
        First row of each group of rows, and the number of rows.
    """

    stamp: Stamp
    origin: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    firsts: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.firsts[-1]

    @property
    def block_rows(self) -> int:
        """Rows of the largest group: within one, rows are reached in order only."""
        return int(np.diff(self.firsts).max(initial=1))

    def kind_of(self, column: str) -> str:
        """Return what is in a column; see `Table`."""
        return self.kinds[self.columns.index(column)]

    def blocks(
        self, columns: Sequence[str], kind: Kind, start: int = 0
    ) -> Iterator[tuple[int, list[AnyArray]]]:
        """Yield (first row, values of each column); see `Table`."""
        import pyarrow

        group = int(np.searchsorted(self.firsts, start, "right")) - 1
        first = self.firsts[group]
        groups = [*range(group, len(self.firsts) - 1)]
        try:
            with self.stamp.open() as stream, _parquet(stream) as file:
                batches = file.iter_batches(
                    batch_size=_BATCH_ROWS, row_groups=groups, columns=[*columns], use_threads=False
                )
                for batch in batches:
                    if first + len(batch) > start:
                        yield first, [_values(batch[name], kind) for name in columns]
                    first += len(batch)
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"{self.origin}: cannot be read ({error}).") from error


@contextlib.contextmanager
def _parquet(stream: Any) -> Iterator[Any]:
    from pyarrow import parquet

    # By default the reader keeps all that it has read of a file.
    with parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
        yield file


def _values(column: Any, kind: Kind) -> AnyArray:
    import pyarrow

    if kind == "number":
        return np.asarray(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
    if kind == "any" and pyarrow.types.is_timestamp(column.type):
        plain = column.cast(pyarrow.timestamp("us"), safe=False)
        return np.asarray(plain.to_numpy(zero_copy_only=False))
    if kind == "any" and not _is_text(column.type):
        return np.asarray(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
    texts = column.cast(pyarrow.string()).fill_null("").to_numpy(zero_copy_only=False)
    return texts.astype(np.str_) if len(texts) else np.zeros(0, "U1")


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _kind(kind: Any) -> str:
    from pyarrow import types

    if _is_text(kind):
        return "text"
    if types.is_timestamp(kind):
        return "time"
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return "number" if is_number else "other"


def open_table(file: SourceFile) -> ParquetTable:
    """Read the header of a file, which is at its end.

    Raises
    ------
    SourceError
        If PyArrow is not installed, or the file is damaged.
    """
    pyarrow = needed("pyarrow", "tables", "CSV and Parquet files", file.origin)
    try:
        with opened(file.path, file.origin) as (stream, stamp), _parquet(stream) as parsed:
            schema, metadata = parsed.schema_arrow, parsed.metadata
            counts = [metadata.row_group(it).num_rows for it in range(metadata.num_row_groups)]
            return ParquetTable(
                stamp,
                file.origin,
                tuple(schema.names),
                tuple(_kind(it.type) for it in schema),
                tuple(np.cumsum([0, *counts]).tolist()),
            )
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(
            f"{file.origin}: is not a Parquet file, or is damaged ({error}); copy it again."
        ) from error


FORMAT = table_format(SUFFIXES, open_table, "a Parquet file")
