"""Scale each run of rows by its own statistics, in two passes over the cache.

Sums are of deviations from the run's own first number, in float64: whatever a signal's offset,
at most the digits of its length are lost (the first value is at most sqrt(n) deviations from the
mean of n). They run over lanes, as many steps side by side as make 64 values, and a power of two;
the lanes of a channel are then added by halves.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zarrts.loops.gathering import FloatArray, blocks_of
from zarrts.loops.library import code_of, compiled_for
from zarrts.loops.scratch import scratch
from zarrts.types import AnyArray, IntArray

OwnScale = Literal["standard", "minmax"]

_MODES: dict[OwnScale, int] = {"standard": 0, "minmax": 1}  # as in the C source
_LEAST_LANES = 64
_SCRATCH_ARRAYS = 11  # as in the C source
_BLOCK_VALUES = 1 << 17  # of NumPy's work: fewer calls are worth more than the second-level cache
_FLOAT64 = np.dtype(np.float64)


@dataclass(frozen=True, kw_only=True)
class OwnScaling:
    """Scales runs by their own statistics per channel, in any number of threads.

    Attributes
    ----------
    scale : "standard" or "minmax"
        (x - mean) / std, or (x - min) / (max - min); of values all alike, 0.
    n_channels : int
    dtype : numpy.dtype
        Of what is handed out.
    has_nan : bool
        Values may be NaN, and are left out of the statistics; without it there must be none.
    fills : bool
        NaN become the mean of the run; 0 where all are NaN.
    """

    scale: OwnScale
    n_channels: int
    dtype: np.dtype[Any]
    has_nan: bool = False
    fills: bool = False

    @property
    def _folds(self) -> int:
        """Number of steps laid side by side: a power of two."""
        return 1 << max(0, math.ceil(math.log2(_LEAST_LANES / self.n_channels)))

    def into(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        kept: IntArray | None = None,
    ) -> None:
        """Write the runs of rows that begin at `starts` into `out`, one after the other.

        Parameters
        ----------
        memory : shape (n_rows, ...)
        starts : int64, shape (n_runs,)
        length : int
            Rows of each run, at least 1.
        out : shape (n_runs, length, ...), or another of as many values
        kept : int64, shape (n_runs,), optional
            How many steps of each run make its statistics; the others are scaled by these, too.

        Raises
        ------
        IndexError
            If rows are not there; nothing was written.
        """
        row_items = math.prod(memory.shape[1:])
        if out.size != len(starts) * length * row_items or row_items % self.n_channels:
            raise ValueError(f"{len(starts)} x {length} rows of {row_items} into {out.shape}")
        if out.size == 0:
            return
        has_nan = self.has_nan and memory.dtype.kind == "f"
        compiled = compiled_for(memory, out)
        if compiled is None or self.dtype.kind != "f":
            self._into(memory, np.asarray(starts, np.int64), length, out, kept, has_nan)
            return
        lanes = self._folds * self.n_channels
        if kept is not None:
            kept = np.ascontiguousarray(kept, np.int64) * self.n_channels
        compiled.scale_own(
            code_of(memory.dtype),
            memory,
            len(memory),
            row_items,
            np.ascontiguousarray(starts, np.int64),
            len(starts),
            length,
            code_of(out.dtype),
            out,
            kept,
            _MODES[self.scale],
            has_nan,
            self.fills,
            self.n_channels,
            self._folds,
            scratch("own", (_SCRATCH_ARRAYS, lanes), _FLOAT64),
        )

    def rows_into(self, rows: AnyArray, out: AnyArray, kept: IntArray | None = None) -> None:
        """Do the same with rows (n, ...) as they are; `out` may be `rows` itself."""
        self.into(rows, np.arange(len(rows)), 1, out, kept)

    # The same in NumPy ------------------------------------------------------------------------

    def _into(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        kept: IntArray | None,
        has_nan: bool,
    ) -> None:
        n_steps = length * math.prod(memory.shape[1:]) // self.n_channels
        if starts.min() < 0 or starts.max() > len(memory) - length:
            raise IndexError("a row that is not there")
        if kept is not None and (kept.min() < 0 or kept.max() > n_steps):
            raise IndexError("more steps are kept than there are")
        block = max(1, _BLOCK_VALUES // (n_steps * self.n_channels))
        flat = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
        flat = flat.reshape(len(starts), n_steps, self.n_channels)
        with np.errstate(over="ignore", invalid="ignore"):
            for part, rows in blocks_of(memory, starts, length, block):
                rows = rows.reshape(-1, n_steps, self.n_channels)
                self._scale(rows, None if kept is None else kept[part], has_nan, flat[part])
        if not out.flags.c_contiguous:
            out[...] = flat.reshape(out.shape)

    def _scale(self, rows: AnyArray, kept: IntArray | None, has_nan: bool, out: AnyArray) -> None:
        """Scale some runs, (n, n_steps, n_channels), a piece at a time where they are long."""
        runs = _Runs(rows, self._folds, kept, has_nan=has_nan)
        base, fill = runs.first_numbers(), np.zeros(runs.n.shape)
        if self.scale == "standard":
            mean, mean_square = runs.sums_from(base)
            variance = mean_square - mean * mean
            gain = 1 / np.sqrt(np.where(variance > 0, variance, 1))
            origin, offset = base, 0.0 - mean * gain
        else:
            low, high = runs.range()
            spread = high - low
            gain, offset = 1 / np.where(spread > 0, spread, 1), np.zeros(runs.n.shape)
            origin = low
            # What is infinite makes NaN as well: a value, or the gain of spreads near 0.
            is_finite = bool((np.isfinite(spread) & np.isfinite(gain)).all())
            if self.fills and has_nan and (runs.has_nan or not is_finite):
                mean, _ = runs.sums_from(base)
                fill = ((base - low) + mean) * gain
        for piece in runs.pieces:
            lanes = runs.deviations(piece, origin)
            lanes *= _tiled(gain, self._folds)
            lanes += _tiled(offset, self._folds)
            if self.fills and has_nan:
                np.copyto(lanes, _tiled(fill, self._folds), where=np.isnan(lanes))
            _put_back(lanes, out[:, piece], self._folds)


class _Runs:
    """Some runs (n, n_steps, n_channels), laid out as lanes a piece at a time.

    The lanes of all of them lie side by side: NumPy is slow on few values in a row. A piece is as
    many steps as keep what is worked on small, and whole rows of lanes, so that sums run over the
    same numbers in the same order whatever its size; many short runs are one piece.

    Attributes
    ----------
    pieces : list of slice
        Of steps.
    has_nan : bool
        Whether any of their values is.
    n : float64, shape (n_runs, n_channels)
        How many numbers make the statistics.
    """

    def __init__(self, rows: AnyArray, folds: int, kept: IntArray | None, *, has_nan: bool) -> None:
        n_runs, n_steps, n_channels = rows.shape
        step = folds * max(1, _BLOCK_VALUES // (n_runs * folds * n_channels))
        self.pieces = [slice(it, min(it + step, n_steps)) for it in range(0, n_steps, step)]
        self._rows, self._folds, self._n_channels = rows, folds, n_channels
        # Of what is scaled in its own place, the last piece is laid out after it was overwritten.
        self._first = rows[:, :1].copy()
        self._stops = np.full(n_runs, n_steps) if kept is None else np.minimum(kept, n_steps)
        self._is_cut = bool((self._stops < n_steps).any())
        self._held: tuple[slice, FloatArray | None, FloatArray] | None = None
        self.has_nan = has_nan and any(np.isnan(rows[:, it]).any() for it in self.pieces)
        self.n = np.repeat(self._stops[:, None], n_channels, axis=1).astype(np.float64)
        if self.has_nan:
            for it in self.pieces:
                is_behind = np.arange(it.start, it.stop) >= self._stops[:, None]
                is_nan = np.isnan(rows[:, it])
                is_nan[is_behind] = False
                self.n -= np.count_nonzero(is_nan, axis=1)

    def first_numbers(self) -> FloatArray:
        """Return the first number of each run and channel; 0 where there is none."""
        first = self._first[:, 0].astype(np.float64)
        first[self.n == 0] = 0
        searched = np.flatnonzero(np.isnan(first).any(axis=1)) if self.has_nan else ()
        for run in searched:
            for it in self.pieces:
                is_number = ~np.isnan(self._rows[run, it])
                at = is_number.argmax(axis=0)
                found = np.take_along_axis(self._rows[run, it], at[None], 0)[0]
                is_new = np.isnan(first[run]) & is_number.any(axis=0)
                first[run] = np.where(is_new, found, first[run])
                if not np.isnan(first[run]).any():
                    break
        return first

    def sums_from(self, base: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the means of deviations from `base`, and of their squares."""
        n_runs, lanes_shape = len(base), (len(base), self._folds * self._n_channels)
        total, squares = np.zeros(lanes_shape), np.zeros(lanes_shape)
        for piece in self.pieces:
            # Before that: an infinite value less itself is no number, either.
            is_out = self._is_out(piece, self.deviations(piece, None))
            deviations = self.deviations(piece, base)
            room = scratch("squared", (1 + len(deviations), *lanes_shape), _FLOAT64)
            numbers = room[1:]
            np.copyto(numbers, deviations)
            if is_out is not None:
                np.copyto(numbers, 0, where=is_out)
            elif n_rest := (piece.stop - piece.start) % self._folds:
                numbers[-1, :, n_rest * self._n_channels :] = 0
            # The sum goes on from the pieces before, row by row.
            room[0] = total
            total = np.add.reduce(room, axis=0)
            np.multiply(numbers, numbers, out=numbers)
            room[0] = squares
            squares = np.add.reduce(room, axis=0)
        total, squares = (_halved(np.add, it, self._n_channels) for it in (total, squares))
        some = np.maximum(self.n, 1).reshape(n_runs, -1)
        return (total + 0.0) / some, squares / some

    def range(self) -> tuple[FloatArray, FloatArray]:
        """Return the least and the largest number of each run and channel; 0 where none is."""
        lanes_shape = (len(self._rows), self._folds * self._n_channels)
        low, high = np.full(lanes_shape, np.inf), np.full(lanes_shape, -np.inf)
        for piece in self.pieces:
            lowest = highest = lanes = self.deviations(piece, None)
            is_out = self._is_out(piece, lanes)
            if is_out is not None:
                lowest, highest = np.where(is_out, np.inf, lanes), np.where(is_out, -np.inf, lanes)
            low = np.minimum(low, np.minimum.reduce(lowest, axis=0))
            high = np.maximum(high, np.maximum.reduce(highest, axis=0))
        low = _halved(np.minimum, low, self._n_channels)
        high = _halved(np.maximum, high, self._n_channels)
        return np.where(self.n > 0, low, 0), np.where(self.n > 0, high, 0)

    def deviations(self, piece: slice, origin: FloatArray | None) -> FloatArray:
        """Return a piece laid out, less `origin` where it is given; it may be written to once."""
        held, self._held = self._held, None
        if held is not None and held[0] == piece and (held[1] is None or held[1] is origin):
            lanes, before = held[2], held[1]
        else:
            lanes, before = self._laid_out(piece), None
        if origin is not None and before is None:
            lanes -= _tiled(origin, self._folds)
        self._held = (piece, origin, lanes)
        return lanes

    def _laid_out(self, piece: slice) -> FloatArray:
        """Return a piece as (n_rows, n_runs, folds * n_channels).

        What the last row has too many is the first step again.
        """
        rows, folds, n_channels = self._rows[:, piece], self._folds, self._n_channels
        n_runs, n_steps = rows.shape[:2]
        n_whole, n_rest = divmod(n_steps, folds)
        lanes = scratch("lanes", (n_whole + (n_rest > 0), n_runs, folds * n_channels), _FLOAT64)
        whole = rows[:, : n_whole * folds].reshape(n_runs, n_whole, folds * n_channels)
        lanes[:n_whole] = whole.transpose(1, 0, 2)
        if n_rest:
            last = lanes[-1].reshape(n_runs, folds, n_channels)
            last[:, :n_rest] = rows[:, n_whole * folds :]
            last[:, n_rest:] = self._first
        return lanes

    def _is_out(self, piece: slice, lanes: FloatArray) -> NDArray[np.bool_] | None:
        """Return which values of a piece are NaN or behind the end; None where no run has any."""
        if not (self._is_cut or self.has_nan):
            return None
        steps = piece.start + np.arange(len(lanes) * lanes.shape[2]) // self._n_channels
        is_behind = np.asarray(steps.reshape(len(lanes), 1, -1) >= self._stops[:, None])
        return (
            np.logical_or(is_behind, np.isnan(lanes), out=is_behind) if self.has_nan else is_behind
        )


def _put_back(lanes: FloatArray, out: AnyArray, folds: int) -> None:
    n_runs, n_steps, n_channels = out.shape
    n_whole, n_rest = divmod(n_steps, folds)
    whole = out[:, : n_whole * folds].reshape(n_runs, n_whole, folds * n_channels)
    np.copyto(whole, lanes[:n_whole].transpose(1, 0, 2), casting="unsafe")
    if n_rest:
        last = lanes[-1].reshape(n_runs, folds, n_channels)
        np.copyto(out[:, n_whole * folds :], last[:, :n_rest], casting="unsafe")


def _halved(operation: np.ufunc, found: FloatArray, n_channels: int) -> FloatArray:
    """Return what was found in the lanes of each channel, put together by halves."""
    while found.shape[1] > n_channels:
        half = found.shape[1] // 2
        found = operation(found[:, :half], found[:, half:])
    return found


def _tiled(found: FloatArray, folds: int) -> FloatArray:
    """Return np.tile(found, folds), three times as fast."""
    n_runs, n_channels = found.shape
    lanes = np.empty((n_runs, folds, n_channels))
    lanes[:] = found[:, None]
    return lanes.reshape(n_runs, -1)
