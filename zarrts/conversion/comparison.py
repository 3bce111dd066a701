"""Comparison of recordings with what a store holds of them, row by row and bit by bit."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.conversion.encoding import Encoding, same_rows
from zarrts.conversion.plan import Span
from zarrts.conversion.stored import StoredRows
from zarrts.conversion.tasks import (
    OnRows,
    close_rows,
    encode_labels,
    read_blocks,
    read_mask,
)
from zarrts.errors import ReadError
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.location import Location
from zarrts.storage.readers import open_inputs, open_labels, open_mask
from zarrts.storage.segments import Segment
from zarrts.storage.table import read_table
from zarrts.types import IntArray, SourceRecording


@dataclass(frozen=True)
class ComparedRows:
    """Consecutive rows of a recording, compared with those of a store.

    Attributes
    ----------
    start : int
        Row of the recording that is the first of them.
    is_same : bool, shape (n_rows,)
        True where input and label are what is stored.
    error : ReadError, or None
        Why they could not be compared; `is_same` is True then.
    """

    start: int
    is_same: NDArray[np.bool_]
    error: ReadError | None = None


class StoredRecording:
    """A recording as a store holds it, to be compared with its source.

    Parameters
    ----------
    number : int
        Of the recording in the segment.
    starts : int64, shape (n_recordings + 1,)
        First row of each recording of the segment, and the number of rows.
    encoding : Encoding
        Of the segment.
    """

    def __init__(
        self,
        root: Location,
        segment: Segment,
        labels: LabelScheme,
        number: int,
        starts: IntArray,
        encoding: Encoding,
    ) -> None:
        self._segment, self._labels, self._number = segment, labels, number
        self._encoding = encoding
        first, stop = int(starts[number]), int(starts[number + 1])
        self._n_rows = stop - first
        self._has_one_label = segment.labels_per == "recording"
        entries = (number, number + 1) if self._has_one_label else (first, stop)
        self._x = StoredRows(open_inputs(root, segment), first, stop)
        self._y = StoredRows(open_labels(root, segment), *entries)
        mask = open_mask(root, segment)
        self._mask = None if mask is None else StoredRows(mask, first, stop)

    def compare(self, recording: SourceRecording) -> Iterator[ComparedRows]:
        """Compare every row with its source, in order; labels too where rows have some.

        Raises
        ------
        SourceError
            If the source cannot be read, or cannot be stored.
        """
        step, done = self._segment.x.chunk_rows, 0
        for inputs, labels in read_blocks(recording, Span(self._number, 0, self._n_rows), step):
            stop = done + len(inputs)
            try:
                is_same = self._encoding.is_same(
                    inputs, self._x.read(done, stop), self._number, recording.origin
                )
                if not self._has_one_label:
                    encoded = encode_labels(self._labels, labels, recording)
                    is_same &= same_rows(encoded, self._y.read(done, stop))
                if self._mask is not None:
                    is_same &= self._mask.read(done, stop) == read_mask(recording, done, stop)
                yield ComparedRows(done, is_same)
            except ReadError as error:
                yield ComparedRows(done, np.ones(len(inputs), bool), error)
            done = stop

    def has_label_of(self, recording: SourceRecording) -> bool:
        """Return whether the label of a whole recording is the same; True where rows have some."""
        if not self._has_one_label:
            return True
        encoded = encode_labels(self._labels, recording.y.read(0, 1), recording)
        return bool(same_rows(encoded, self._y.read(0, 1)).all())

    def close(self) -> None:
        """Close the files of the store."""
        for rows in (self._x, self._y, self._mask):
            if rows is not None:
                rows.close()


def differing(
    root: Location,
    segment: Segment,
    labels: LabelScheme,
    recordings: Sequence[SourceRecording],
    numbers: Sequence[int],
    workers: int,
    on_rows: OnRows = lambda n_rows: None,
) -> list[int]:
    """Return those of some recordings of a segment that are not what is stored, ascending.

    Parameters
    ----------
    recordings : sequence of SourceRecording
        All of the segment.
    numbers : sequence of int
        Those that are compared, wholly; reading stops at the first row that differs.

    Raises
    ------
    SourceError
        If a source cannot be read.
    ReadError
        If the store cannot.
    """
    starts = np.cumsum([0, *(it.x.shape[0] for it in recordings)])
    encoding = Encoding(dtype=segment.x_values.dtype)
    if segment.packed:
        encoding = Encoding.of(segment, read_table(root, segment))
    of_file: dict[object, list[int]] = {}
    for number in numbers:  # several recordings of one file share its stream
        it = recordings[number]
        of_file.setdefault(it.paths or it.origin, []).append(number)

    def compare(some: list[int]) -> list[int]:
        return [number for number in some if not is_same(number)]

    def is_same(number: int) -> bool:
        recording = recordings[number]
        stored = StoredRecording(root, segment, labels, number, starts, encoding)
        try:
            for rows in stored.compare(recording):
                if rows.error is not None:
                    raise rows.error
                on_rows(len(rows.is_same))
                if not rows.is_same.all():
                    return False
            return stored.has_label_of(recording)
        finally:
            stored.close()
            close_rows(recording)

    with ThreadPoolExecutor(workers, thread_name_prefix="zarrts-compare") as pool:
        return sorted(number for some in pool.map(compare, of_file.values()) for number in some)
