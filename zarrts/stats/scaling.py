"""Scale samples by statistics: of all, of each subject, or of each sample."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.indexing.cuts import Fit
from zarrts.stats.moments import FloatArray
from zarrts.stats.statistics import QUARTILES, SCALES, Linear, Scale
from zarrts.types import AnyArray, IntArray

ScaledPer = Literal["all", "subject", "sample"]

_BLOCK_VALUES = 1 << 16  # of a batch, scaled while the processor's cache still holds them
_FEW_VALUES = 1024  # that NumPy has to have in a row to be fast
_LEAST = np.dtype(np.float32)  # that is computed in
_SPREADS = (1e-30, 1e30)  # whose inverse float32 holds, and products with it


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """A way of scaling samples; `ZarrSequence.like` and a saved spec carry it on.

    Attributes
    ----------
    scale : "standard", "minmax" or "robust"
    per : "all", "subject" or "sample"
    linear : Linear, or None
        Of all channels, shape (n_channels,), or of each of `subjects`; None per sample.
    subjects : tuple of str
    origin : str
        Of the store that `subjects` are in: in another, a name may be somebody else's.
    """

    scale: Scale
    per: ScaledPer
    linear: Linear | None = None
    subjects: tuple[str, ...] = ()
    origin: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        arrays = ("shift", "spread", "fill")
        linear = self.linear and {it: getattr(self.linear, it).tolist() for it in arrays}
        return {
            "scale": self.scale,
            "per": self.per,
            "linear": linear,
            "subjects": list(self.subjects),
            "origin": self.origin,
        }

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> "Scaling":
        """Return what `to_dict` returned."""
        linear = found["linear"]
        if linear is not None:
            linear = Linear(**{name: np.array(it, np.float64) for name, it in linear.items()})
        if found["scale"] not in SCALES or (linear is None) != (found["per"] == "sample"):
            raise ValueError("its scaling is unknown")
        return Scaling(
            scale=found["scale"],
            per=found["per"],
            linear=linear,
            subjects=tuple(found["subjects"]),
            origin=found["origin"],
        )


class Scaler(Protocol):
    """Scales rows of samples, in any number of threads."""

    def into(self, rows: AnyArray, out: AnyArray, ids: IntArray, fit: Fit | None) -> None:
        """Write scaled rows (n, ..., channel) of the samples `ids` into `out`.

        `out` is C-contiguous, and may be `rows` itself; `fit` says how samples of unequal lengths
        got the same.
        """
        ...

    def of_targets(self, channels: IntArray | None) -> "Scaler":
        """Return what scales targets that are values of x, of some channels or all."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearScaler:
    """Scales rows by fixed numbers, in any number of threads.

    Attributes
    ----------
    linear : Linear
    stored, dtype : numpy.dtype
        Of rows as stored, and as they are handed out.
    fills : bool
        NaN are replaced.
    row_of : callable, or None
        Where numbers are per subject: turns sample ids into rows of `linear`.
    """

    linear: Linear
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    fills: bool = False
    row_of: Callable[[IntArray], IntArray] | None = None

    @cached_property
    def _arrays(self) -> tuple[AnyArray, AnyArray]:
        # Rows are shifted before they lose digits: a small signal on a large offset would be
        # nothing but noise.
        spread = self.linear.spread
        is_far = (spread < _SPREADS[0]) | (spread > _SPREADS[1])
        computed = np.result_type(self.dtype, np.float64 if is_far.any() else np.float32)
        wide = np.result_type(self.stored, computed)
        return self.linear.shift.astype(wide), (1 / spread).astype(computed)

    def into(self, rows: AnyArray, out: AnyArray, ids: IntArray, fit: Fit | None) -> None:
        """Scale rows of samples; see `Scaler`."""
        if out.size == 0:
            return
        which = None if self.row_of is None else self.row_of(ids)
        shift, scale = self._arrays
        n_channels = shift.shape[-1]
        n_steps = max(1, math.prod(out.shape[1:])) // n_channels
        # Channels are few, and NumPy is slow on short rows: some steps are laid side by side.
        run = _run(n_steps, n_channels)
        shift, scale = (np.tile(it, run) for it in (shift, scale))
        shape = (len(out), n_steps // run, run * n_channels)
        rows, flat = rows.reshape(shape), out.reshape(shape)
        block = max(1, _BLOCK_VALUES // (n_steps * n_channels))
        for start in range(0, len(out), block):
            part = slice(start, start + block)
            a, b = shift, scale
            if which is not None:
                a, b = (it[which[part]][:, None] for it in (shift, scale))
            # float16 holds neither small signals nor large ones: it comes last.
            exact = flat[part]
            if exact.dtype != b.dtype:
                exact = np.empty(exact.shape, b.dtype)
            np.subtract(rows[part], a, out=exact, casting="unsafe")
            np.multiply(exact, b, out=exact)
            if exact.dtype != flat.dtype:
                flat[part] = exact
        if self.fills:
            fill = self.linear.fill.astype(self.dtype)
            by_step = out.reshape(len(out), n_steps, n_channels)
            filling = fill if which is None else fill[which][:, None]
            np.copyto(by_step, filling, where=np.isnan(by_step))

    def of_targets(self, channels: IntArray | None) -> "LinearScaler":
        """Return what scales targets; see `Scaler`."""
        return self if channels is None else replace(self, linear=self.linear.channels(channels))


def make_scaler(
    scaling: Scaling,
    *,
    stored: np.dtype[Any],
    n_channels: int,
    dtype: np.dtype[Any],
    has_nan: bool = False,
    fills: bool = False,
    row_of: Callable[[IntArray], IntArray] | None = None,
) -> Scaler:
    """Return what scales rows.

    Raises
    ------
    SampleError
        If they are to be handed out as integers.
    """
    if dtype.kind != "f":
        raise SampleError(f"Scaling by stats needs a float dtype, not {dtype}.")
    if scaling.linear is None:
        return SampleScaler(
            scale=scaling.scale, n_channels=n_channels, dtype=dtype, has_nan=has_nan, fills=fills
        )
    return LinearScaler(
        linear=scaling.linear, stored=stored, dtype=dtype, fills=fills, row_of=row_of
    )


def _run(n_steps: int, n_channels: int) -> int:
    """Return how many steps, a divisor of all, are laid side by side."""
    least = -(-_FEW_VALUES // n_channels)
    return next((run for run in range(least, n_steps // 2) if n_steps % run == 0), n_steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleScaler:
    """Scales each sample by its own statistics per channel; padding is none of it.

    Attributes
    ----------
    scale : "standard", "minmax" or "robust"
    n_channels : int
    dtype : numpy.dtype
        Of what is handed out.
    has_nan : bool
        Values may be NaN.
    fills : bool
        NaN become the mean of the sample (the median of "robust"); 0 where all are NaN.
    """

    scale: Scale
    n_channels: int
    dtype: np.dtype[Any]
    has_nan: bool = False
    fills: bool = False

    def into(self, rows: AnyArray, out: AnyArray, ids: IntArray, fit: Fit | None) -> None:
        """Scale rows of samples; see `Scaler`."""
        if out.size == 0:
            return
        n_steps = max(1, math.prod(out.shape[1:])) // self.n_channels
        shape = (len(out), n_steps, self.n_channels)
        rows, flat = rows.reshape(shape), out.reshape(shape)
        block = max(1, _BLOCK_VALUES // (n_steps * self.n_channels))
        for start in range(0, len(out), block):
            part = slice(start, start + block)
            kept = None if fit is None else fit.kept[part] * (n_steps // fit.n_steps)
            exact = flat[part]
            if exact.dtype.itemsize < _LEAST.itemsize:
                exact = np.empty(exact.shape, _LEAST)
            self._scale(rows[part], exact, kept)
            if exact.dtype != flat.dtype:
                flat[part] = exact  # which float16 could not have been computed in

    def of_targets(self, channels: IntArray | None) -> Scaler:
        """Refuse: a target is none of the sample's own values."""
        raise SampleError(
            "stats='sample' cannot scale targets that are values of x (target='x'); use "
            "stats='subject' or samples.stats()."
        )

    def _scale(self, rows: AnyArray, out: AnyArray, kept: IntArray | None) -> None:
        is_out = self._is_none(rows, kept)
        # Deviations from a value of the sample itself keep the digits of a small signal.
        base = rows[:, :1].copy()
        if is_out is not None:
            first = is_out.argmin(axis=1)[:, None]
            has_none = np.asarray(is_out.all(axis=1))[:, None]
            base = np.where(has_none, 0, np.take_along_axis(rows, first, 1))
        wide = base.astype(np.result_type(rows.dtype, out.dtype, np.float32))
        np.subtract(rows, wide, out=out, casting="unsafe")
        n: int | IntArray = out.shape[1]
        if is_out is not None:
            n = np.maximum(n - is_out.sum(axis=1, keepdims=True), 1)
        fill: FloatArray | float = 0.0
        if self.scale == "robust":
            shift, spread = _quartiles(out, is_out)
            out -= shift.astype(out.dtype)
        elif self.scale == "standard":
            shift = _reduced(np.add, out, is_out, 0) / n
            out -= shift.astype(out.dtype)
            spread = np.sqrt(_squares(out, is_out) / n)
            # Equal numbers deviate from their rounded mean by less than this.
            spread[spread <= np.finfo(out.dtype).eps * np.abs(shift)] = 0
        else:
            shift = _reduced(np.minimum, out, is_out, np.inf)
            shift[np.isinf(shift)] = 0
            out -= shift.astype(out.dtype)
            spread = np.maximum(_reduced(np.maximum, out, is_out, -np.inf), 0)
        spread = np.where(spread > 0, spread, 1)
        if self.fills and self.scale == "minmax":
            fill = _reduced(np.add, out, is_out, 0) / n / spread
        out *= (1 / spread).astype(out.dtype)
        if self.fills:
            np.copyto(out, np.asarray(fill, out.dtype), where=np.isnan(out))

    def _is_none(self, rows: AnyArray, kept: IntArray | None) -> NDArray[np.bool_] | None:
        """Return which values are padding or NaN; None where there are none."""
        is_out: NDArray[np.bool_] | None = None
        if kept is not None and (kept < rows.shape[1]).any():
            behind = np.asarray(np.arange(rows.shape[1]) >= kept[:, None])
            is_out = np.repeat(behind[:, :, None], rows.shape[2], axis=2)
        if self.has_nan and rows.dtype.kind == "f":
            is_nan = np.isnan(rows)
            is_out = is_nan if is_out is None else is_out | is_nan
        return is_out


def _reduced(
    operation: np.ufunc, values: AnyArray, is_out: NDArray[np.bool_] | None, nothing: float
) -> FloatArray:
    """Return sums, or the least or largest, over axis 1, which is kept; some are left out.

    The halves are put together again and again: each step is as fast as a copy, and sums are as
    exact as NumPy's along a single axis.
    """
    if is_out is not None:
        values = np.where(is_out, values.dtype.type(nothing), values)
    n = values.shape[1]
    while n > 1:
        half = (n + 1) // 2
        folded = values[:, :half].copy()
        operation(folded[:, : n - half], values[:, half:n], out=folded[:, : n - half])
        values, n = folded, half
    return values.astype(np.float64)


def _squares(values: AnyArray, is_out: NDArray[np.bool_] | None) -> FloatArray:
    """Return sums of squares over axis 1, which is kept; some values are left out."""
    with np.errstate(over="ignore", under="ignore"):
        total = _reduced(np.add, np.square(values), is_out, 0)
    # Squares leave float32 long before values do: those of 1e-20, or the sum of those of 1e18.
    is_small = (total < _SPREADS[0]).any(axis=(0, 1))
    is_far = (total > _SPREADS[1]).any() or bool(values[..., is_small].any())
    if is_far and values.dtype == _LEAST:
        total = _reduced(np.add, np.square(values, dtype=np.float64), is_out, 0)
    return total


def _quartiles(values: AnyArray, is_out: NDArray[np.bool_] | None) -> tuple[FloatArray, FloatArray]:
    """Return median and distance of the quartiles over axis 1, which is kept."""
    if is_out is None:
        low, middle, high = np.quantile(values, QUARTILES, axis=1, keepdims=True)
        return middle.astype(np.float64), (high - low).astype(np.float64)
    shape = (len(values), 1, values.shape[2])
    middle, spread = np.zeros(shape), np.zeros(shape)
    for i in range(len(values)):
        for channel in range(values.shape[2]):
            kept = values[i, ~is_out[i, :, channel], channel]
            if len(kept):
                low, middle[i, 0, channel], high = np.quantile(kept, QUARTILES)
                spread[i, 0, channel] = high - low
    return middle, spread
