"""Inputs that are stored as 16-bit counts, and read as the values that they stand for.

The value is float32(count * gain + offset), computed in float64; gain and offset are those of a
recording and channel. Whoever reads a store gets values, and never knows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from zarrts.loops.gathering import FloatArray, Gathering
from zarrts.loops.packing import unpacking
from zarrts.loops.scratch import scratch
from zarrts.storage.chunks import ChunkReader
from zarrts.types import AnyArray, IntArray, Packed

COUNTS = np.dtype(np.int16)
"""The dtype of counts."""


@dataclass(frozen=True, eq=False)
class Packing:
    """The values of an array of counts, recording by recording: gains and offsets.

    Attributes
    ----------
    packed : Packed
        Dtype of the values, and the count that stands for NaN.
    gain, offset : float64, shape (n_recordings, n_channels)
    channels : slice
        The channels of the array, where those of several inputs are counted one after the other.
    """

    packed: Packed
    gain: FloatArray
    offset: FloatArray
    channels: slice = field(default_factory=lambda: slice(None))  # no default for Python 3.11

    @staticmethod
    def joined(parts: "Sequence[Packing]") -> "Packing":
        """Return that of the recordings of several arrays, which are packed alike."""
        return Packing(
            parts[0].packed,
            np.concatenate([it.gain for it in parts]),
            np.concatenate([it.offset for it in parts]),
            parts[0].channels,
        )

    def rows(self, recordings: Sequence[int] | IntArray) -> "Packing":
        """Return that of some recordings."""
        some = np.asarray(recordings, np.int64)
        return replace(self, gain=self.gain[some], offset=self.offset[some])

    @property
    def of_all(self) -> tuple[FloatArray, FloatArray] | None:
        """Gain and offset of each channel, where all recordings have the same; else None."""
        if len(self.gain) == 0 or (self.codes > 0).any():
            return None
        return self.gain[0], self.offset[0]

    @cached_property
    def _distinct(self) -> tuple[FloatArray, IntArray]:
        pairs = np.concatenate([self.gain, self.offset], axis=1)
        distinct, codes = np.unique(pairs, axis=0, return_inverse=True)
        return distinct, codes.reshape(-1)

    @property
    def codes(self) -> IntArray:
        """Index of each recording's gain and offset among the `distinct` ones."""
        return self._distinct[1]

    @property
    def distinct(self) -> tuple[FloatArray, FloatArray]:
        """Gains and offsets that differ, each of shape (n_distinct, n_channels)."""
        gain, offset = np.split(self._distinct[0], 2, axis=1)
        return np.ascontiguousarray(gain), np.ascontiguousarray(offset)

    @cached_property
    def unpacking(self) -> Gathering:
        """The change of counts into values, with a table for each of the `distinct` ones."""
        return unpacking(*self.distinct, dtype=self.packed.dtype, missing=self.packed.missing)

    def unpack(self, counts: AnyArray, first: int, starts: IntArray, out: AnyArray) -> None:
        """Write the values of consecutive rows of counts into `out`.

        Parameters
        ----------
        first : int
            Number of the first of these rows in the array.
        starts : int64, shape (n_recordings + 1,)
            First row of each recording in the array, and the number of rows.
        """
        stop = first + len(counts)
        number = int(np.searchsorted(starts, first, "right")) - 1
        low = first
        while low < stop:
            high = min(stop, int(starts[number + 1]))
            if high > low:
                rows, table = slice(low - first, high - first), self.codes[number : number + 1]
                self.unpacking.into(
                    counts[rows], np.zeros(1, np.int64), high - low, out[rows], table
                )
            low, number = max(low, high), number + 1


@dataclass(frozen=True)
class PackedRows:
    """The packing of an array, and where its recordings begin; see `Packing.unpack`."""

    packing: Packing
    starts: IntArray


class ValueReader:
    """Reads the values of an array of counts, chunk by chunk; see `ChunkReader`.

    Parameters
    ----------
    counts : ChunkReader
    rows : callable
        Returns the packing of the array; called when something is read.
    """

    def __init__(self, counts: ChunkReader, rows: Callable[[], PackedRows]) -> None:
        self.counts, self._rows_of = counts, rows
        self.spec = counts.spec.of_values

    @cached_property
    def _rows(self) -> PackedRows:
        return self._rows_of()  # two threads may both ask: they get the same

    @property
    def is_direct(self) -> bool:
        """Whether chunks are decoded straight into memory, without zarr-python."""
        return self.counts.is_direct

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with the values of a chunk; see `ChunkReader`."""
        spec, rows = self.counts.spec, self._rows
        counts = scratch("counts of a chunk", spec.chunk_shape, COUNTS)
        self.counts.read_into(chunk, counts)
        n_rows = spec.rows_of(chunk)
        rows.packing.unpack(counts[:n_rows], chunk * spec.chunk_rows, rows.starts, out[:n_rows])

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network."""
        return self.counts.is_remote

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Ask for consecutive chunks to be read soon; see `ChunkReader`."""
        return self.counts.will_need(chunk, n_chunks)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self.counts.close()
