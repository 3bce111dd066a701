"""Take runs of rows, scale them, convert them and fill what is missing, in one pass.

A run is `length` consecutive rows of memory; a batch of whole samples is runs of one row each.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.loops.library import NO_COUNT, code_of, compiled_for
from zarrts.loops.scratch import scratch
from zarrts.types import AnyArray, IntArray

FloatArray = NDArray[np.float64]

_COPY, _AFFINE, _LINEAR = 0, 1, 2  # as in the C source
_LEAST_LANES = 128
_BLOCK_VALUES = 1 << 16  # that NumPy works on while the processor's cache still holds them
_FEW_VALUES = 1024  # that NumPy has to have in a row to be fast
_FLOAT64 = np.dtype(np.float64)
# Rows shorter than this are copied faster in one run than each by itself, once a run is so long.
_CACHE_LINE_BYTES = 64
_LONG_BYTES = 1 << 14


@dataclass(frozen=True, eq=False)
class Affine:
    """x becomes (x - origin) * gain + offset, computed in float64 and then rounded once.

    Attributes
    ----------
    origin, gain, offset : float64, shape (n_tables, n_channels)
        An integer as origin keeps the digits of small signals: x - origin is exact.
    """

    origin: FloatArray
    gain: FloatArray
    offset: FloatArray


@dataclass(frozen=True, eq=False)
class Shifted:
    """x becomes (x - shift) * scale; the difference is rounded to the dtype of the result.

    Attributes
    ----------
    shift : dtype `wide_dtype` of source and result, shape (n_tables, n_channels)
    scale : dtype of the result, shape (n_tables, n_channels)
    """

    shift: AnyArray
    scale: AnyArray


def wide_dtype(source: np.dtype[Any], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which `Shifted` subtracts: rows are shifted before they lose digits."""
    return np.result_type(source, dtype, np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathering:
    """The changes of values on their way from memory into a batch, in any number of threads.

    Attributes
    ----------
    dtype : numpy.dtype
        Of what is handed out.
    n_channels : int
        Values that parameters differ in; the last axis of a row.
    change : Affine, Shifted or None
        None: only the dtype changes.
    fill : shape (n_tables, n_channels), or None
        What stands for NaN, after all else; None: they stay.
    missing : int, or None
        The count that stands for NaN in int16.
    """

    dtype: np.dtype[Any]
    n_channels: int
    change: Affine | Shifted | None = None
    fill: AnyArray | None = None
    missing: int | None = None
    _tiles: dict[int, tuple[AnyArray, ...]] = field(default_factory=dict, init=False, repr=False)
    _calls: dict[int, tuple[Any, ...]] = field(default_factory=dict, init=False, repr=False)

    @functools.cached_property
    def n_tables(self) -> int:
        """Number of rows of parameters."""
        return max([1, *(len(it) for it in self._parameters)])

    @functools.cached_property
    def _parameters(self) -> tuple[AnyArray, ...]:
        """Parameters of the change, and the fill where there is one, in the dtypes of the work."""
        change, fill = self.change, self.fill
        if fill is None and self.missing is not None:
            n_tables = 1 if change is None else len(_arrays_of(change)[0])
            fill = np.full((n_tables, self.n_channels), np.nan)
        fills = () if fill is None else (np.asarray(fill, self.dtype),)
        found = (*(() if change is None else _arrays_of(change)), *fills)
        shapes = {it.shape for it in found}
        if shapes and (len(shapes) > 1 or found[0].shape[1:] != (self.n_channels,)):
            raise ValueError(f"parameters of shapes {shapes}, for {self.n_channels} channels")
        return found

    @functools.cached_property
    def _has_fill(self) -> bool:
        return self.fill is not None or self.missing is not None

    def into(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        tables: IntArray | None = None,
    ) -> None:
        """Write the runs of rows that begin at `starts` into `out`, one after the other.

        Parameters
        ----------
        memory : shape (n_rows, ...)
        starts : int64, shape (n_runs,)
        length : int
            Rows of each run, at least 1.
        out : shape (n_runs, length, ...), or another of as many values
        tables : int64, shape (n_runs,), optional
            The row of the parameters of each run; 0 by default.

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
        compiled = compiled_for(memory, out)
        if compiled is None or not self._is_compiled(memory.dtype):
            self._into(memory, starts, length, out, tables)
            return
        compiled.gather(
            code_of(memory.dtype),
            memory,
            len(memory),
            row_items,
            np.ascontiguousarray(starts, np.int64),
            len(starts),
            length,
            code_of(out.dtype),
            out,
            self._kind,
            None if tables is None else np.ascontiguousarray(tables, np.int64),
            self.n_tables,
            *self._of_runs(length * row_items),
            NO_COUNT if self.missing is None else self.missing,
        )

    def rows_into(self, rows: AnyArray, out: AnyArray, tables: IntArray | None = None) -> None:
        """Do the same with rows (n, ...) as they are; `out` may be `rows` itself."""
        self.into(rows, np.arange(len(rows)), 1, out, tables)

    def _is_compiled(self, source: np.dtype[Any]) -> bool:
        has_change = self.change is not None or self._has_fill or source != self.dtype
        return (
            (self.dtype.kind == "f" or not has_change)
            and (self.missing is None or source == np.int16)
            and (
                not isinstance(self.change, Shifted)
                or self.change.shift.dtype == wide_dtype(source, self.dtype)
            )
        )

    @functools.cached_property
    def _kind(self) -> int:
        if self.change is None:
            return _COPY
        return _LINEAR if isinstance(self.change, Shifted) else _AFFINE

    def _of_runs(self, n_values: int) -> tuple[Any, ...]:
        """Return the lanes of runs of so many values, three parameters of the change, and the fill.

        They are laid side by side for some steps.
        """
        found = self._calls.get(n_values)
        if found is None:  # two threads may both make it: they make the same
            folds = min(n_values // self.n_channels, -(-_LEAST_LANES // self.n_channels))
            parameters = self._side_by_side(folds)
            changed = parameters[: len(parameters) - self._has_fill]
            found = (
                parameters[0].shape[-1] if parameters else n_values,
                *(*changed, None, None, None)[:3],
                parameters[-1] if self._has_fill else None,
            )
            self._calls[n_values] = found
        return found

    def _side_by_side(self, folds: int) -> tuple[AnyArray, ...]:
        found = self._tiles.get(folds)
        if found is None:  # two threads may both make it: they make the same
            found = tuple(np.tile(it, folds) for it in self._parameters)
            self._tiles[folds] = found
        return found

    # The same in NumPy ------------------------------------------------------------------------

    def _into(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        tables: IntArray | None,
    ) -> None:
        starts = np.asarray(starts, np.int64)
        if starts.min() < 0 or starts.max() > len(memory) - length:
            raise IndexError("a row that is not there")
        if tables is not None and (tables.min() < 0 or tables.max() >= self.n_tables):
            raise IndexError("a row of parameters that is not there")
        if self.change is None and not self._has_fill and out.dtype == memory.dtype:
            _take_runs(memory, starts, length, out)
            return
        n_steps = length * math.prod(memory.shape[1:]) // self.n_channels
        folds = min(n_steps, -(-_FEW_VALUES // self.n_channels))
        n_whole, lanes = n_steps // folds, folds * self.n_channels
        parameters = self._side_by_side(folds)
        block = max(1, _BLOCK_VALUES // (n_steps * self.n_channels))
        step = max(1, _BLOCK_VALUES // (block * lanes))
        is_writable_flat = out.flags.c_contiguous
        flat = out if is_writable_flat else np.empty(out.shape, out.dtype)
        flat = flat.reshape(len(starts), n_steps * self.n_channels)
        with np.errstate(over="ignore", invalid="ignore"):
            for part, rows in blocks_of(memory, starts, length, block):
                some = (np.zeros(len(rows), np.int64) if tables is None else tables[part])[:, None]
                turned = [it[0] if len(it) == 1 else it[some] for it in parameters]
                rows, some_out = rows.reshape(-1, n_steps * self.n_channels), flat[part]
                # A long run is turned a piece at a time, and then its last steps.
                for first in range(0, n_whole, step):
                    piece = slice(first * lanes, min(first + step, n_whole) * lanes)
                    shape = (len(rows), -1, lanes)
                    self._turn(
                        rows[:, piece].reshape(shape), some_out[:, piece].reshape(shape), turned
                    )
                if rest := n_steps * self.n_channels - n_whole * lanes:
                    self._turn(
                        rows[:, None, -rest:],
                        some_out[:, None, -rest:],
                        [it[..., :rest] for it in turned],
                    )
        if not is_writable_flat:
            out[...] = flat.reshape(out.shape)

    def _turn(self, rows: AnyArray, out: AnyArray, parameters: list[AnyArray]) -> None:
        is_missing = None if self.missing is None else rows == self.missing
        if isinstance(self.change, Affine):
            numbers = scratch("affine", rows.shape, _FLOAT64)
            np.copyto(numbers, rows)
            numbers -= parameters[0]
            numbers *= parameters[1]
            numbers += parameters[2]
            np.copyto(out, numbers, casting="unsafe")
        elif isinstance(self.change, Shifted):
            np.subtract(rows, parameters[0], out=out, casting="unsafe")
            np.multiply(out, parameters[1], out=out)
        else:
            np.copyto(out, rows, casting="unsafe")
        if self._has_fill:
            where = np.isnan(out) if is_missing is None else is_missing
            np.copyto(out, parameters[-1], where=where)


def _arrays_of(change: Affine | Shifted) -> tuple[AnyArray, ...]:
    if isinstance(change, Shifted):
        return change.shift, change.scale
    return change.origin, change.gain, change.offset


def blocks_of(
    memory: AnyArray, starts: IntArray, length: int, block: int
) -> Iterator[tuple[slice, AnyArray]]:
    """Yield some runs at a time, and their rows; consecutive or many rows without a copy."""
    is_whole = length == 1 and len(starts) > 0 and bool((np.diff(starts) == 1).all())
    for start in range(0, len(starts), block):
        part = slice(start, start + block)
        if is_whole:
            first = int(starts[start])
            yield part, memory[first : first + len(starts[part])]
            continue
        if block == 1:  # a long one
            yield part, memory[starts[start] : starts[start] + length]
            continue
        n_rows = len(starts[part]) * length
        taken = scratch("gathered", (n_rows, *memory.shape[1:]), memory.dtype)
        _take_runs(memory, starts[part], length, taken)
        yield part, taken


def take_runs(memory: AnyArray, starts: IntArray, length: int, out: AnyArray) -> None:
    """Copy the runs of rows that begin at `starts`, which are there; see `Gathering.into`."""
    # Single rows are copied as fast by NumPy, and short ones faster.
    if length * memory.strides[0] < _CACHE_LINE_BYTES or length == 1:
        _take_runs(memory, starts, length, out)
    else:
        Gathering(dtype=memory.dtype, n_channels=1).into(memory, starts, length, out)


def _take_runs(memory: AnyArray, starts: IntArray, length: int, out: AnyArray) -> None:
    row_bytes = math.prod(memory.shape[1:]) * memory.itemsize
    if row_bytes < _CACHE_LINE_BYTES and length * row_bytes >= _LONG_BYTES:
        runs = out.reshape(len(starts), length, *memory.shape[1:])
        for number, start in enumerate(starts.tolist()):
            runs[number] = memory[start : start + length]
        return
    rows = starts if length == 1 else (starts[:, None] + np.arange(length)).ravel()
    if out.flags.c_contiguous:
        # mode="clip" because "raise" copies through a buffer; the rows are in range.
        memory.take(rows, axis=0, out=out.reshape(len(rows), *memory.shape[1:]), mode="clip")
    else:
        out[...] = memory[rows].reshape(out.shape)
