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
        """Scale some runs, (n, n_steps, n_channels).

        The lanes of all of them lie side by side: NumPy is slow on few values in a row.
        """
        n_runs, n_steps, n_channels = rows.shape
        folds = self._folds
        lanes = _laid_out(rows, folds, "lanes")
        is_out = _is_out(lanes, n_steps, kept, n_channels, has_nan)
        n = np.full((n_runs, n_channels), float(n_steps))
        if is_out is not None:
            n = _halved(np.add, np.add.reduce(~is_out, axis=0, dtype=np.float64), n_channels)
        base, some = _first_numbers(rows, n, has_nan), np.maximum(n, 1)

        def sums_of(deviations: FloatArray) -> tuple[FloatArray, FloatArray]:
            deviations -= _tiled(base, folds)
            n_rest = n_steps % folds
            if n_rest:
                deviations[-1, :, n_rest * n_channels :] = 0
            numbers = deviations
            squared = scratch("squared", lanes.shape, _FLOAT64)
            if is_out is not None:
                np.copyto(squared, deviations)
                np.copyto(squared, 0, where=is_out)
                numbers = squared
            total = np.add.reduce(numbers, axis=0)
            np.multiply(numbers, numbers, out=squared)
            squares = np.add.reduce(squared, axis=0)
            total, squares = (_halved(np.add, it, n_channels) for it in (total, squares))
            return (total + 0.0) / some, squares / some

        fill = np.zeros(n.shape)
        if self.scale == "standard":
            mean, mean_square = sums_of(lanes)
            variance = mean_square - mean * mean
            gain = 1 / np.sqrt(np.where(variance > 0, variance, 1))
            offset = 0.0 - mean * gain
        else:
            low, high = (np.where(n > 0, it, 0) for it in _range(lanes, is_out, n_channels))
            spread = high - low
            gain, offset = 1 / np.where(spread > 0, spread, 1), np.zeros(n.shape)
            lanes -= _tiled(low, folds)
        lanes *= _tiled(gain, folds)
        lanes += _tiled(offset, folds)
        if self.fills and has_nan:
            is_nan = np.isnan(lanes)
            if is_nan.any():
                if self.scale == "minmax":
                    mean, _ = sums_of(_laid_out(rows, folds, "deviations"))
                    fill = ((base - low) + mean) * gain
                np.copyto(lanes, _tiled(fill, folds), where=is_nan)
        _put_back(lanes, out, folds)


def _laid_out(rows: AnyArray, folds: int, name: str) -> FloatArray:
    """Return runs (n, n_steps, n_channels) as (n_rows, n, folds * n_channels).

    What the last row has too many is the first step again.
    """
    n_runs, n_steps, n_channels = rows.shape
    n_whole, n_rest = divmod(n_steps, folds)
    lanes = scratch(name, (n_whole + (n_rest > 0), n_runs, folds * n_channels), _FLOAT64)
    whole = rows[:, : n_whole * folds].reshape(n_runs, n_whole, folds * n_channels)
    lanes[:n_whole] = whole.transpose(1, 0, 2)
    if n_rest:
        last = lanes[-1].reshape(n_runs, folds, n_channels)
        last[:, :n_rest] = rows[:, n_whole * folds :]
        last[:, n_rest:] = rows[:, :1]
    return lanes


def _put_back(lanes: FloatArray, out: AnyArray, folds: int) -> None:
    n_runs, n_steps, n_channels = out.shape
    n_whole, n_rest = divmod(n_steps, folds)
    whole = out[:, : n_whole * folds].reshape(n_runs, n_whole, folds * n_channels)
    np.copyto(whole, lanes[:n_whole].transpose(1, 0, 2), casting="unsafe")
    if n_rest:
        last = lanes[-1].reshape(n_runs, folds, n_channels)
        np.copyto(out[:, n_whole * folds :], last[:, :n_rest], casting="unsafe")


def _is_out(
    lanes: FloatArray, n_steps: int, kept: IntArray | None, n_channels: int, has_nan: bool
) -> NDArray[np.bool_] | None:
    """Return which values are NaN or behind the end; None where all values count."""
    is_nan = np.isnan(lanes) if has_nan else None
    if is_nan is not None and not is_nan.any():
        is_nan = None
    if kept is not None and (kept >= n_steps).all():
        kept = None
    if kept is None and is_nan is None:
        return None
    steps = np.arange(len(lanes) * lanes.shape[2]) // n_channels
    stops = np.full(lanes.shape[1], n_steps) if kept is None else kept
    is_behind = np.asarray(steps.reshape(len(lanes), 1, -1) >= stops[:, None])
    return is_behind if is_nan is None else np.logical_or(is_behind, is_nan, out=is_behind)


def _first_numbers(rows: AnyArray, n: FloatArray, has_nan: bool) -> FloatArray:
    """Return the first number of each run and channel; 0 where `n`, how many there are, is 0."""
    first = rows[:, 0].astype(np.float64)
    first[n == 0] = 0
    searched = np.flatnonzero(np.isnan(first).any(axis=1)) if has_nan else ()
    for run in searched:
        at = np.isnan(rows[run]).argmin(axis=0)
        found = np.take_along_axis(rows[run], at[None], 0)[0]
        first[run] = np.where(n[run] > 0, found, 0)
    return first


def _halved(operation: np.ufunc, found: FloatArray, n_channels: int) -> FloatArray:
    """Return what was found in the lanes of each channel, put together by halves."""
    while found.shape[1] > n_channels:
        half = found.shape[1] // 2
        found = operation(found[:, :half], found[:, half:])
    return found


def _range(
    lanes: FloatArray, is_out: NDArray[np.bool_] | None, n_channels: int
) -> tuple[FloatArray, FloatArray]:
    low = high = lanes
    if is_out is not None:
        low, high = np.where(is_out, np.inf, lanes), np.where(is_out, -np.inf, lanes)
    return (
        _halved(np.minimum, np.minimum.reduce(low, axis=0), n_channels),
        _halved(np.maximum, np.maximum.reduce(high, axis=0), n_channels),
    )


def _tiled(found: FloatArray, folds: int) -> FloatArray:
    """Return np.tile(found, folds), three times as fast."""
    n_runs, n_channels = found.shape
    lanes = np.empty((n_runs, folds, n_channels))
    lanes[:] = found[:, None]
    return lanes.reshape(n_runs, -1)
