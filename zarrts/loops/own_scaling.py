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
_BLOCK_VALUES = 1 << 16
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
        """How many steps are laid side by side: a power of two."""
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
                is_out = _is_out(rows, None if kept is None else kept[part], has_nan)
                fill = self._scale(rows, is_out, flat[part])
                if self.fills and has_nan:
                    filling = fill[:, None].astype(out.dtype)
                    np.copyto(flat[part], filling, where=np.isnan(flat[part]))
        if not out.flags.c_contiguous:
            out[...] = flat.reshape(out.shape)

    def _scale(self, rows: AnyArray, is_out: NDArray[np.bool_] | None, out: AnyArray) -> FloatArray:
        """Scale some runs, (n, n_steps, n_channels); return what fills NaN, (n, n_channels)."""
        n_runs, n_steps, n_channels = rows.shape
        base = rows[:, 0].astype(np.float64)
        n = np.full((n_runs, n_channels), float(n_steps))
        if is_out is not None:
            n = (~is_out).sum(axis=1, dtype=np.float64)
            first = np.take_along_axis(rows, is_out.argmin(axis=1)[:, None], 1)[:, 0]
            base = np.where(n > 0, first.astype(np.float64), 0)
        folds = self._folds
        n_laid = -(-n_steps // folds) * folds
        laid = scratch("laid", (n_runs, n_laid, n_channels), _FLOAT64)
        lanes = laid.reshape(n_runs, -1, folds * n_channels)

        def deviate(origin: FloatArray) -> None:
            laid[:, :n_steps] = rows
            np.subtract(lanes, np.tile(origin, folds)[:, None], out=lanes)
            laid[:, n_steps:] = 0

        deviate(base)
        if is_out is not None:
            laid[:, :n_steps][is_out] = 0
        total = _halved(lanes.sum(axis=1), n_channels)
        squared = np.square(lanes, out=scratch("squared", lanes.shape, _FLOAT64))
        squares = _halved(squared.sum(axis=1), n_channels)
        some = np.maximum(n, 1)
        mean = (total + 0.0) / some
        if self.scale == "standard":
            variance = squares / some - mean * mean
            origin, gain = base, 1 / np.sqrt(np.where(variance > 0, variance, 1))
            offset, fill = 0.0 - mean * gain, np.zeros(gain.shape)
        else:
            low, high = (np.where(n > 0, it, 0) for it in _range(rows, is_out))
            spread = high - low
            origin, gain = low, 1 / np.where(spread > 0, spread, 1)
            offset, fill = np.zeros(gain.shape), ((base - low) + mean) * gain
        if origin is not base or is_out is not None:
            deviate(origin)
        np.multiply(lanes, np.tile(gain, folds)[:, None], out=lanes)
        np.add(lanes, np.tile(offset, folds)[:, None], out=lanes)
        np.copyto(out, laid[:, :n_steps], casting="unsafe")
        return fill


def _is_out(rows: AnyArray, kept: IntArray | None, has_nan: bool) -> NDArray[np.bool_] | None:
    """Return which values are padding or NaN; None where there are none."""
    is_out: NDArray[np.bool_] | None = None
    if kept is not None and (kept < rows.shape[1]).any():
        behind = np.asarray(np.arange(rows.shape[1]) >= kept[:, None])
        is_out = np.repeat(behind[:, :, None], rows.shape[2], axis=2)
    if has_nan:
        is_nan = np.isnan(rows)
        is_out = is_nan if is_out is None else is_out | is_nan
    return is_out


def _halved(sums: FloatArray, n_channels: int) -> FloatArray:
    """Return sums of the lanes of each channel, added by halves."""
    while sums.shape[1] > n_channels:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    return sums


def _range(rows: AnyArray, is_out: NDArray[np.bool_] | None) -> tuple[FloatArray, FloatArray]:
    if is_out is None:
        return _reduced(np.minimum, rows), _reduced(np.maximum, rows)
    low, high = np.where(is_out, np.inf, rows), np.where(is_out, -np.inf, rows)
    return _reduced(np.minimum, low), _reduced(np.maximum, high)


def _reduced(operation: np.ufunc, values: AnyArray) -> FloatArray:
    """Return the least or largest over axis 1: by halves, each step is as fast as a copy."""
    n = values.shape[1]
    while n > 1:
        half = (n + 1) // 2
        folded = values[:, :half].copy()
        operation(folded[:, : n - half], values[:, half:n], out=folded[:, : n - half])
        values, n = folded, half
    return values[:, 0].astype(np.float64)
