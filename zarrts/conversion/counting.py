"""Turn rows of sources into the 16-bit counts that are stored, and verify every one."""

from dataclasses import dataclass

import numpy as np

from zarrts.conversion.casting import cast_rows
from zarrts.errors import SourceError
from zarrts.loops.packing import pack
from zarrts.stats.count_moments import CountMoments, of_values
from zarrts.stats.moments import Moments
from zarrts.storage.packing import COUNTS, Packing
from zarrts.types import AnyArray


class UnfitError(SourceError):
    """A value that no count stands for.

    Attributes
    ----------
    input : str
        The input that has it; "" is the only one.
    """

    input = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counting:
    """The conversion of rows to counts.

    Attributes
    ----------
    packing : Packing
        Of all recordings of the segment.
    are_counts : bool
        The sources give the counts themselves.
    """

    packing: Packing
    are_counts: bool = False

    def counts(self, rows: AnyArray, number: int, origin: str) -> AnyArray:
        """Return the counts of rows of a recording.

        Raises
        ------
        UnfitError
            If a value is none of those that counts stand for.
        """
        if self.are_counts:
            return rows.astype(COUNTS, copy=False)
        packed = self.packing.packed
        values = np.ascontiguousarray(cast_rows(rows, packed.dtype, origin))
        gain, offset = self.packing.gain[number], self.packing.offset[number]
        shape = values.shape if values.ndim > 1 else (len(values), 1)
        counts, unfit = pack(
            values.reshape(shape),
            gain,
            offset,
            tolerance=packed.error,
            missing=packed.missing,
        )
        if unfit is not None:
            raise UnfitError(
                f"{origin}: the value {values.reshape(-1)[unfit]} of channel "
                f"{unfit % len(gain)} is none of those that 16-bit counts can stand for here"
            )
        return counts.reshape(values.shape)

    def measuring(self) -> CountMoments:
        """Return what measures counts of a recording; see `moments`."""
        return CountMoments(self.packing.gain.shape[1], self.packing.packed.missing)

    def moments(self, measured: CountMoments, number: int) -> Moments:
        """Return the statistics, which are exact, of the values of counts that were measured."""
        return of_values(measured.moments(), self.packing.gain[number], self.packing.offset[number])

    def values(self, counts: AnyArray, number: int) -> AnyArray:
        """Return the values of counts (n, n_channels) of a recording."""
        out = np.empty(counts.shape, self.packing.packed.dtype)
        table = self.packing.codes[number : number + 1]
        self.packing.unpacking.into(
            np.ascontiguousarray(counts), np.zeros(1, np.int64), len(counts), out, table
        )
        return out

    def is_same(self, rows: AnyArray, counts: AnyArray, number: int, origin: str) -> AnyArray:
        """Return for each row of values whether these counts stand for it.

        Parameters
        ----------
        rows : shape (n_rows, ...)
            Of the source.
        counts : int16, shape (n_rows, ...)
            As they are stored.
        """
        values = cast_rows(rows, self.packing.packed.dtype, origin)
        n_channels = self.packing.gain.shape[1]
        stored = self.values(counts.reshape(-1, n_channels), number).reshape(values.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            is_near = np.abs(stored.astype(np.float64) - values) <= self.packing.packed.error
        is_near |= np.isnan(stored) & np.isnan(values)
        return np.asarray(is_near.reshape(len(rows), -1).all(axis=1))
