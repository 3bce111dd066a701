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
from zarrts.loops import gathering
from zarrts.loops.own_scaling import OwnScaling
from zarrts.loops.scratch import scratch
from zarrts.stats.moments import FloatArray
from zarrts.stats.statistics import QUARTILES, SCALES, Linear, Scale
from zarrts.types import AnyArray, IntArray

ScaledPer = Literal["all", "subject", "sample"]

_BLOCK_VALUES = 1 << 16  # of a batch, scaled while the processor's cache still holds them
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

        `out` may be `rows` itself; `fit` says how samples of unequal lengths got the same.
        """
        ...

    def gather(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        ids: IntArray,
        fit: Fit | None,
    ) -> None:
        """Write scaled runs of rows of memory into `out` (n, ..., channel), in one pass.

        Run i is the rows `starts[i]` to `starts[i] + length`; each of the samples `ids` is as
        many runs as the others.
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
    def _gathering(self) -> gathering.Gathering:
        linear = self.linear
        is_far = (linear.spread < _SPREADS[0]) | (linear.spread > _SPREADS[1])
        change: gathering.Shifted | gathering.Affine
        if self.dtype.itemsize < _LEAST.itemsize or is_far.any():
            # float16 holds neither small signals nor large ones: it comes last.
            shift, gain = np.atleast_2d(linear.shift), np.atleast_2d(1 / linear.spread)
            change = gathering.Affine(shift, gain, np.zeros_like(shift))
        else:
            change = gathering.Shifted(
                np.atleast_2d(linear.shift.astype(gathering.wide_dtype(self.stored, self.dtype))),
                np.atleast_2d((1 / linear.spread).astype(self.dtype)),
            )
        return gathering.Gathering(
            dtype=self.dtype,
            n_channels=linear.shift.shape[-1],
            change=change,
            fill=np.atleast_2d(linear.fill) if self.fills else None,
        )

    def into(self, rows: AnyArray, out: AnyArray, ids: IntArray, fit: Fit | None) -> None:
        """Scale rows of samples; see `Scaler`."""
        which = None if self.row_of is None else self.row_of(ids)
        self._gathering.rows_into(rows, out, which)

    def gather(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        ids: IntArray,
        fit: Fit | None,
    ) -> None:
        """Scale runs of rows; see `Scaler`."""
        which = None
        if self.row_of is not None and len(ids):
            which = np.repeat(self.row_of(ids), len(starts) // len(ids))
        self._gathering.into(memory, starts, length, out, which)

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
        if self._wider is not None:
            block = max(1, _BLOCK_VALUES // math.prod(out.shape[1:]))
            for start in range(0, len(out), block):
                part = slice(start, start + block)
                exact = np.empty(out[part].shape, _LEAST)
                some = None if fit is None else fit[part]
                self._wider.into(rows[part], exact, ids[part], some)
                out[part] = exact
            return
        n_steps = max(1, math.prod(out.shape[1:])) // self.n_channels
        kept = None if fit is None else fit.kept * (n_steps // fit.n_steps)
        if self._own is not None:
            self._own.rows_into(rows, out, kept)
            return
        shape = (len(out), n_steps, self.n_channels)
        rows, flat = rows.reshape(shape), out.reshape(shape)
        block = max(1, _BLOCK_VALUES // (n_steps * self.n_channels))
        for start in range(0, len(out), block):
            part = slice(start, start + block)
            self._by_quartiles(rows[part], flat[part], None if kept is None else kept[part])

    def gather(
        self,
        memory: AnyArray,
        starts: IntArray,
        length: int,
        out: AnyArray,
        ids: IntArray,
        fit: Fit | None,
    ) -> None:
        """Scale runs of rows; see `Scaler`."""
        if (
            self._own is not None
            and self._wider is None
            and len(starts) == len(ids)
            and fit is None
        ):
            self._own.into(memory, starts, length, out)
            return
        # Statistics are of all runs of a sample, which have to be together first.
        rows = out
        if memory.dtype != out.dtype:
            rows = scratch("samples", out.shape, memory.dtype)
        gathering.take_runs(memory, starts, length, rows)
        self.into(rows, out, ids, fit)

    def of_targets(self, channels: IntArray | None) -> Scaler:
        """Refuse: a target is none of the sample's own values."""
        raise SampleError(
            "stats='sample' cannot scale targets that are values of x (target='x'); use "
            "stats='subject' or samples.stats()."
        )

    @property
    def work_bytes_of_value(self) -> int:
        """Bytes that are worked on, for each value of a sample: quartiles need all at once."""
        wider = self._wider
        n_bytes = 0 if wider is None else _LEAST.itemsize
        if self.scale == "robust":
            n_bytes += 2 * max(self.dtype, _LEAST).itemsize + (4 if self.has_nan else 0)
        return n_bytes

    @cached_property
    def _wider(self) -> "SampleScaler | None":
        """The scaler that computes where `dtype` is too narrow for it, such as float16."""
        return replace(self, dtype=_LEAST) if self.dtype.itemsize < _LEAST.itemsize else None

    @cached_property
    def _own(self) -> OwnScaling | None:
        """The scaler in two passes; quartiles need all values at once."""
        if self.scale == "robust":
            return None
        return OwnScaling(
            scale=self.scale,
            n_channels=self.n_channels,
            dtype=self.dtype,
            has_nan=self.has_nan,
            fills=self.fills,
        )

    def _by_quartiles(self, rows: AnyArray, out: AnyArray, kept: IntArray | None) -> None:
        is_out = self._is_none(rows, kept)
        # Deviations from a value of the sample itself keep the digits of a small signal.
        base = rows[:, :1].copy()
        if is_out is not None:
            first = is_out.argmin(axis=1)[:, None]
            has_none = np.asarray(is_out.all(axis=1))[:, None]
            base = np.where(has_none, 0, np.take_along_axis(rows, first, 1))
        wide = base.astype(gathering.wide_dtype(rows.dtype, self.dtype))
        np.subtract(rows, wide, out=out, casting="unsafe")
        shift, spread = _quartiles(out, is_out)
        out -= shift.astype(self.dtype)
        spread = np.where(spread > 0, spread, 1)
        out *= (1 / spread).astype(self.dtype)
        if self.fills:
            np.copyto(out, 0, where=np.isnan(out))

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
