"""Turn the counts of open chunks into values, scaled where that is asked for, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zarrts.indexing.cuts import Fit
from zarrts.loops import gathering
from zarrts.loops.gathering import Gathering
from zarrts.loops.packing import scaled_unpacking, unpacking
from zarrts.loops.scratch import scratch
from zarrts.stats.scaling import LinearScaler, SampleScaler, Scaler
from zarrts.storage.packing import COUNTS, Packing
from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Unpacking:
    """Turns runs of counts into what the network gets, in any number of threads.

    Attributes
    ----------
    packing : Packing
        Of all recordings of the store.
    recordings_of : callable
        Returns the recordings that some sample ids belong to.
    scaler : Scaler, or None
        What scales x.
    linear_rows : int64, shape (n_recordings,), or None
        Where a `LinearScaler` has numbers per subject, which of them each recording gets.
    dtype : numpy.dtype
        Of batches.
    fills : bool
        NaN are replaced.
    """

    packing: Packing
    recordings_of: Callable[[IntArray], IntArray]
    scaler: Scaler | None
    linear_rows: IntArray | None
    dtype: np.dtype[Any]
    fills: bool

    def gather(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        ids: IntArray,
        fit: Fit | None,
    ) -> bool:
        """Write runs of rows of counts into `out`, all done; see `PostProcessing.gather`.

        Returns
        -------
        bool
            False where this takes values in between (`values_into`); nothing is written then.
        """
        if isinstance(self.scaler, SampleScaler):
            scaler = self.scaler
            if not self._scales_counts:
                return False
            if len(starts) == len(ids):
                scaler.gather(memory, starts, length, out, ids, fit)
            else:
                rows = scratch("counts", out.shape, COUNTS)
                gathering.take_runs(memory, starts, length, rows)
                scaler.into(rows, out, ids, fit)
            return True
        if self._direct is None:
            return False
        change, codes = self._direct
        change.into(memory, starts, length, out, self._tables(codes, ids, len(starts)))
        return True

    def values_into(
        self, memory: AnyArray, starts: IntArray, length: int, out: AnyArray, ids: IntArray
    ) -> None:
        """Write the values of runs of rows of counts into `out`, of the dtype of values."""
        tables = self._tables(self._codes, ids, len(starts))
        self.packing.unpacking.into(memory, starts, length, out, tables)

    def _tables(self, codes: IntArray | None, ids: IntArray, n_runs: int) -> IntArray | None:
        if len(ids) == 0 or codes is None:
            return None
        which = codes[self.recordings_of(ids)]
        return which if n_runs == len(ids) else np.repeat(which, n_runs // len(ids))

    @cached_property
    def _scales_counts(self) -> bool:
        """Whether a sample's counts, scaled by their own statistics, are what its values are."""
        scaler = self.scaler
        return (
            isinstance(scaler, SampleScaler)
            and scaler.scale != "robust"
            and not scaler.has_nan
            and scaler.dtype.itemsize >= np.dtype(np.float32).itemsize
            and bool((self.packing.gain > 0).all())
        )

    @cached_property
    def _codes(self) -> IntArray | None:
        return _if_several(self.packing.codes)

    @cached_property
    def _direct(self) -> tuple[Gathering, IntArray | None] | None:
        """The change in one pass, and which of its tables each recording has, of several."""
        missing = self.packing.packed.missing
        if self.scaler is None:
            if self.dtype != self.packing.packed.dtype:
                return None  # rounded twice, as values are that are stored
            if not self.fills:
                return self.packing.unpacking, self._codes
            gain, offset = self.packing.distinct
            change = unpacking(gain, offset, dtype=self.dtype, missing=missing)
            fill = None if missing is None else np.zeros(gain.shape)
            filled = Gathering(
                dtype=self.dtype,
                n_channels=gain.shape[1],
                change=change.change,
                fill=fill,
                missing=missing,
            )
            return filled, self._codes
        if not isinstance(self.scaler, LinearScaler):
            return None
        linear, codes = self.scaler.linear, self.packing.codes
        rows = np.zeros(len(codes), np.int64) if self.linear_rows is None else self.linear_rows
        pairs, tables = np.unique(np.stack([codes, rows], axis=1), axis=0, return_inverse=True)
        gain, offset = (it[pairs[:, 0]] for it in self.packing.distinct)
        shift, spread, fill = (
            np.atleast_2d(it)[pairs[:, 1]] for it in (linear.shift, linear.spread, linear.fill)
        )
        has_fill = self.fills and missing is not None
        change = scaled_unpacking(
            gain,
            offset,
            shift,
            spread,
            dtype=self.dtype,
            missing=missing,
            fill=fill if has_fill else None,
        )
        return change, _if_several(tables.reshape(-1))


def _if_several(codes: IntArray) -> IntArray | None:
    """Return the tables that recordings have, or None where all have the first."""
    return codes if codes.any() else None
