"""Series of one length that lie scattered over a file, read as one array of samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows import FileStamp, Layout, check_range, fill_from
from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True, eq=False)
class SeriesRows:
    """Rows that are whole arrays, each at a place of its own.

    Attributes
    ----------
    stamp : FileStamp
        Of the file.
    places : int64, shape (n_rows, 4)
        Byte offset and number of bytes of each; 1 if it lies in Fortran order; 1 if it is UTF-8
        text whose characters are the bytes.
    layout, fortran_layout : Layout
        Of one row, in either order.
    label : str
        How errors name the array.
    """

    stamp: FileStamp
    places: IntArray
    layout: Layout
    fortran_layout: Layout
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (len(self.places), *self.layout.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """In native byte order."""
        return self.layout.dtype

    @property
    def is_sequential(self) -> bool:
        """Never: any row can be reached."""
        return False

    @property
    def block_rows(self) -> int:
        """1: each row lies together."""
        return 1

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop` as a C-contiguous array that the caller owns."""
        check_range(start, stop, len(self.places), self.label)
        rows = np.empty((stop - start, *self.layout.shape), self.layout.dtype)
        if rows.size:
            with self.stamp.open() as file:
                for row, place in zip(rows, self.places[start:stop].tolist(), strict=True):
                    offset, n_bytes, is_fortran, is_text = place
                    buffer = np.empty(n_bytes, np.uint8)
                    fill_from(file, offset, buffer.data, self.label)
                    if is_text:
                        buffer = self._encoded(buffer)
                    layout = self.fortran_layout if is_fortran else self.layout
                    row[...] = layout.arrange(buffer, layout.n_rows, self.label)
        return rows

    def _encoded(self, text: AnyArray) -> AnyArray:
        try:
            content = text.tobytes().decode("utf-8").encode("latin-1")
        except UnicodeError as error:
            raise SourceError(
                f"{self.label}: its values are damaged ({error}); copy or save the file again."
            ) from error
        if len(content) != self.layout.total_bytes:
            raise SourceError(
                f"{self.label}: {len(content):,} bytes are there of a series of "
                f"{self.layout.total_bytes:,}; save it again."
            )
        return np.frombuffer(content, np.uint8).copy()

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        stamp = self.stamp
        where = (stamp.path, stamp.size, stamp.mtime_ns, stamp.ctime_ns)
        return ("zarrts.SeriesRows", *where, self.places.tobytes(), *self.layout.token())
