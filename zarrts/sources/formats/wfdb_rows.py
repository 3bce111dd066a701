"""Rows of signals of one rate in a WFDB record, of one or many segments."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.libraries import as_source_error, needed
from zarrts.sources.formats.signal_file import refuse_changes
from zarrts.sources.rows.files import FileStamp
from zarrts.sources.rows.reader import Rows
from zarrts.types import AnyArray

_PIECE_VALUES = 1 << 17
"""In one request, for which wfdb reads the header anew, and holds several arrays."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a record, which is a record by itself.

    Attributes
    ----------
    path : str
        Without suffix; "" where nothing was recorded.
    start, stop : int
        Frames of the whole record: start <= frame < stop.
    columns : tuple of int
        Position of each signal in the segment; -1 where the segment has not got it.
    """

    path: str
    start: int
    stop: int
    columns: tuple[int, ...]


@dataclass(frozen=True)
class WfdbRows(Rows):
    """Samples of some signals, in their physical units; NaN where nothing was recorded.

    Attributes
    ----------
    segments : tuple of Segment
        In order, without gaps between them.
    per_frame : int
        Samples of each signal in a frame.
    stamps : tuple of FileStamp
        All files that the record consists of.
    to : dtype
    label : str
        How errors name the record.
    """

    segments: tuple[Segment, ...]
    per_frame: int
    stamps: tuple[FileStamp, ...]
    to: np.dtype[Any]
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.segments[-1].stop * self.per_frame, len(self.segments[0].columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 where counts have at most 24 bits, else float64."""
        return self.to

    @property
    def block_rows(self) -> int:
        """About as many as make up for what wfdb does for each piece."""
        return max(1, min(4096, self.shape[0]))

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.full((stop - start, self.shape[1]), np.nan, self.to)
        if start == stop:
            return out
        refuse_changes(self.stamps)
        each = self.per_frame
        step = max(1, _PIECE_VALUES // (each * self.shape[1]))
        first, last = start // each, -(-stop // each)
        for segment in self.segments:
            begin, end = max(first, segment.start), min(last, segment.stop)
            for at in range(begin, end, step):
                upto = min(end, at + step)
                low, high = max(start, at * each), min(stop, upto * each)
                if segment.path:
                    values = self._frames(segment, at - segment.start, upto - segment.start)
                    out[low - start : high - start] = values[low - at * each : high - at * each]
        return out

    def _frames(self, segment: Segment, start: int, stop: int) -> AnyArray:
        """Return frames of a segment, shape (samples, signal), NaN where it lacks a signal."""
        wfdb = needed("wfdb", "wfdb", "WFDB records", self.label)
        n_rows = (stop - start) * self.per_frame
        found = np.full((n_rows, len(segment.columns)), np.nan)
        there = [it for it in segment.columns if it >= 0]
        if not there:
            return found
        with as_source_error(self.label, "wfdb"):
            record = wfdb.rdrecord(
                segment.path, sampfrom=start, sampto=stop, channels=there, smooth_frames=False
            )
        by_column = dict(zip(there, record.e_p_signal, strict=True))
        for at, column in enumerate(segment.columns):
            if column < 0:
                continue
            if len(by_column[column]) != n_rows:
                raise SourceError(
                    f"{self.label}: {len(by_column[column]):,} of {n_rows:,} samples are there; "
                    "copy it again."
                )
            found[:, at] = by_column[column]
        return found
