"""Rows of a recording that MNE opened without loading it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.libraries import as_source_error
from zarrts.sources.formats.signal_file import refuse_changes
from zarrts.sources.rows.files import FileStamp
from zarrts.sources.rows.reader import Rows
from zarrts.types import AnyArray, IntArray

_PIECE_VALUES = 1 << 17
"""In one request, which MNE answers in float64 and channel by channel."""

_CHECKED_ROWS = 1 << 12
_CHECKED_PIECES = (1, 7, 128, 977)


@dataclass(frozen=True, eq=False)
class MneRows(Rows):
    """Samples of some channels, in their own units.

    MNE's object is kept as it was when headers were read: it holds no open file and no samples,
    reads pieces in any thread, and its pickle is small.

    Attributes
    ----------
    raw : mne.io.BaseRaw
    picks : int64, shape (n_channels,)
        Which of its channels are the columns.
    factors : float64, shape (n_channels,)
        What the values that MNE gives (in units of the SI) are multiplied by.
    skipped : tuple of pairs of int
        Rows (start, stop) that the file does not hold, which MNE gives as zeros; they are NaN.
    stamps : tuple of FileStamp
        All files that it consists of.
    to : dtype
    label : str
        How errors name the file.
    """

    raw: Any
    picks: IntArray
    factors: AnyArray
    skipped: tuple[tuple[int, int], ...]
    stamps: tuple[FileStamp, ...]
    to: np.dtype[Any]
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (int(self.raw.n_times), len(self.picks))

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 where the file has at most 24 bits, else float64."""
        return self.to

    @property
    def block_rows(self) -> int:
        """About a second: many formats keep samples in blocks."""
        return max(1, min(round(float(self.raw.info["sfreq"])), self.shape[0]))

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, len(self.picks)), self.to)
        refuse_changes(self.stamps)
        step = max(1, _PIECE_VALUES // len(self.picks))
        with as_source_error(self.label, "MNE"):
            for first in range(start, stop, step):
                last = min(stop, first + step)
                values = self.raw.get_data(picks=self.picks, start=first, stop=last)
                if values.shape != (len(self.picks), last - first):
                    raise SourceError(
                        f"{self.label}: MNE gives {values.shape[1]:,} of rows {first:,} to "
                        f"{last:,}; copy it again."
                    )
                out[first - start : last - start] = values.T * self.factors
        for begin, end in self.skipped:
            out[max(0, begin - start) : max(0, end - start)] = np.nan
        return out


def refuse_wrong_pieces(rows: MneRows, origin: str) -> None:
    """Raise SourceError unless small pieces of a file equal large ones, at beginning and end.

    For readers of MNE that nobody compared: with some, a piece that does not begin with a block
    of the file is something else than that part of the whole.
    """
    n_rows = rows.shape[0]
    for start in dict.fromkeys((0, max(0, n_rows - _CHECKED_ROWS))):
        stop = min(n_rows, start + _CHECKED_ROWS)
        whole = rows.read(start, stop)
        at, number = start, 0
        while at < stop:
            end = min(stop, at + _CHECKED_PIECES[number % len(_CHECKED_PIECES)])
            if not np.array_equal(rows.read(at, end), whole[at - start : end - start], True):
                raise SourceError(
                    f"{origin}: MNE reads rows {at:,} to {end:,} otherwise by themselves than "
                    f"within rows {start:,} to {stop:,}, so that it cannot be read piece by "
                    "piece; export it to another format, such as EDF or BrainVision."
                )
            at, number = end, number + 1
