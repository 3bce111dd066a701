"""Rows of a store as a source: what is compared with the sources, or written anew without them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts.storage.chunks import ChunkReader, read_rows
from zarrts.storage.segments import Segment
from zarrts.storage.table import RecordingTable
from zarrts.types import AnyArray, Description, SourceRecording


class StoredRows:
    """Consecutive rows of an array of a store.

    Parameters
    ----------
    reader : ChunkReader
    start, stop : int
        Rows of the array.
    """

    def __init__(self, reader: ChunkReader, start: int, stop: int) -> None:
        self._reader, self._start, self._stop = reader, start, stop

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (self._stop - self._start, *self._reader.spec.row_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self._reader.spec.dtype

    @property
    def is_sequential(self) -> bool:
        """Never: any chunk can be read."""
        return False

    @property
    def block_rows(self) -> int:
        """Rows of a chunk."""
        return self._reader.spec.chunk_rows

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows `start` to `stop`, counted from the first of these."""
        return read_rows(self._reader, self._start + start, self._start + stop)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self._reader.close()


def stored_recordings(
    segment: Segment,
    table: RecordingTable,
    x: ChunkReader,
    y: ChunkReader,
    mask: ChunkReader | None = None,
) -> Sequence[SourceRecording]:
    """Return the recordings of a segment, with rows and labels as they are stored."""
    is_one_label = segment.labels_per == "recording"
    return [
        SourceRecording(
            subject=subject,
            origin=origin,
            x=StoredRows(x, start, stop),
            y=StoredRows(y, number, number + 1) if is_one_label else StoredRows(y, start, stop),
            x_name=f"{segment.name}/x",
            y_name=f"{segment.name}/y",
            size_bytes=0,
            fingerprint=fingerprint,
            description=Description.unknown(),
            labels_per=segment.labels_per,
            mask=None if mask is None else StoredRows(mask, start, stop),
            groups=table.groups[number] if table.groups else {},
        )
        for number, (subject, origin, fingerprint, start, stop) in enumerate(
            zip(
                table.subject,
                table.source,
                table.fingerprint,
                table.starts[:-1].tolist(),
                table.starts[1:].tolist(),
                strict=True,
            )
        )
    ]
