"""The statistics that `samples.stats()` returns, and the scaling that follows from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from zarrts.errors import SampleError
from zarrts.sizes import format_count
from zarrts.stats.moments import STATISTICS, FloatArray, Moments
from zarrts.stats.sketches import Sketch
from zarrts.types import IntArray

CountScale = tuple[FloatArray, FloatArray]
"""Gain and offset of each channel."""

Scale = Literal["standard", "minmax", "robust"]
SCALES = ("standard", "minmax", "robust")
_MAX_SHOWN = 6
QUARTILES = (0.25, 0.5, 0.75)
_LAYER_SPREADS = (1e-5, 1e15)  # Normalization takes less than 1e-7 for 1e-7, and squares spreads


def check_scale(scale: object) -> None:
    """Refuse a scale that is none of ours."""
    if scale not in SCALES:
        known = ", ".join(repr(it) for it in SCALES)
        raise SampleError(f"scale={scale!r} is unknown; use {known}.")


def _no_counts() -> None:
    """Return the gain and offset of counts where values are stored: none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Statistics(Moments):
    """Statistics of some samples, one entry a channel; quantiles are worked out when asked for.

    They can be pickled where their two functions can.
    """

    make_sketch: Callable[[], Sketch] = field(repr=False, compare=False)
    find_scale: Callable[[], CountScale | None] = field(
        default=_no_counts, repr=False, compare=False
    )

    @staticmethod
    def with_sketch(
        moments: Moments,
        make_sketch: Callable[[], Sketch],
        find_scale: Callable[[], CountScale | None] = _no_counts,
    ) -> "Statistics":
        """Return these, with quantiles.

        Parameters
        ----------
        find_scale : callable
            Returns gain and offset of the counts that are stored; None where values are.
        """
        values = {name: getattr(moments, name) for name in STATISTICS}
        return Statistics(**values, make_sketch=make_sketch, find_scale=find_scale)

    def __repr__(self) -> str:
        mean, std = (
            ", ".join(f"{it:.4g}" for it in values[:_MAX_SHOWN])
            + (", ..." if len(values) > _MAX_SHOWN else "")
            for values in (np.ravel(self.mean), np.ravel(self.std))
        )
        return f"<Statistics of {format_count(self.mean.size, 'channel')}: mean {mean}; std {std}>"

    @cached_property
    def _sketch(self) -> Sketch:
        return self.make_sketch()

    def quantile(self, shares: float | Sequence[float]) -> FloatArray:
        """Return estimated quantiles, such as 0.25, per channel; NaN are left out.

        Whole recordings are not read, where the store keeps sketches of them. How exact they are
        stands in docs/scaling.md.

        Parameters
        ----------
        shares : float or sequence of float
            Between 0 and 1.

        Returns
        -------
        float64, shape (n_channels,), or (n_shares, n_channels) for a sequence
        """
        wanted = np.atleast_1d(np.asarray(shares, np.float64))
        if not ((wanted >= 0) & (wanted <= 1)).all():
            raise SampleError(f"quantile({shares!r}): shares lie between 0 and 1.")
        found = np.clip(self._sketch.quantile(wanted.tolist()), self.min, self.max)
        found = np.where(np.isnan(found), self.mean, found)
        return np.asarray(found if np.ndim(shares) else found[0])

    @property
    def median(self) -> FloatArray:
        """Estimated median; see `quantile`."""
        return self.quantile(0.5)

    @property
    def iqr(self) -> FloatArray:
        """Estimated distance of the quartiles; see `quantile`."""
        low, high = self.quantile((0.25, 0.75))
        return np.asarray(high - low)

    def as_layer(self, scale: Scale = "standard", *, stored: bool = False, **options: Any) -> Any:
        """Return a Keras `Normalization` layer that scales as the loader would.

        A model that begins with it carries its scaler, and is fed without `stats=`. It computes
        in float32 or wider, whatever the dtype policy. Spreads below 1e-5 or above 1e15, such as
        those of MEG in tesla, are brought to about 1 before, by a `Rescaling` layer; both
        are one `Sequential` then.

        Parameters
        ----------
        scale : "standard", "minmax" or "robust"
        stored : bool
            For batches of what is stored (dtype="stored"): it turns 16-bit counts into scaled
            values. Of a store of values, it is the same layer.
        **options
            For the layer, such as `name`.

        Raises
        ------
        SampleError
            If there is no such scale, values are infinite, or counts have several gains.
        """
        from zarrts.backend import keras

        linear = Linear.of(self, scale)
        counted = self.find_scale() if stored else None
        gain, offset = (np.ones(1), np.zeros(1)) if counted is None else counted
        shift, spread = (linear.shift - offset) / gain, linear.spread / np.abs(gain)
        if "dtype" not in options and keras.config.dtype_policy().compute_dtype != "float64":
            options["dtype"] = "float32"  # float16 holds neither volts nor counts
        low, high = _LAYER_SPREADS
        is_far = (spread < low) | (spread > high) | (gain < 0)
        # Products with powers of two are exact.
        power = np.where(is_far, np.exp2(-np.round(np.log2(spread))), 1) * np.sign(gain)
        mean, variance = shift * power, (spread * power) ** 2
        # Whether or not samples have an axis of channels, a single number fits.
        is_single = linear.shift.size == 1
        own = {it: options[it] for it in ("dtype",) if it in options} if is_far.any() else options
        layer = keras.layers.Normalization(
            axis=None if is_single else -1,
            mean=float(mean[0]) if is_single else mean.tolist(),
            variance=float(variance[0]) if is_single else variance.tolist(),
            **own,
        )
        if not is_far.any():
            return layer
        factor = float(power[0]) if is_single else power.tolist()
        return keras.Sequential(
            [keras.layers.Rescaling(factor, **own), layer], name=options.get("name")
        )


class InputStatistics(dict[str, Statistics]):
    """Statistics of several inputs, by name; each of their values is a dictionary as well."""

    def _each(self, name: str) -> dict[str, FloatArray]:
        return {of_input: getattr(it, name) for of_input, it in self.items()}

    @property
    def mean(self) -> dict[str, FloatArray]:
        """Mean of each channel."""
        return self._each("mean")

    @property
    def std(self) -> dict[str, FloatArray]:
        """Standard deviation of each channel."""
        return self._each("std")

    @property
    def min(self) -> dict[str, FloatArray]:
        """Least value of each channel."""
        return self._each("min")

    @property
    def max(self) -> dict[str, FloatArray]:
        """Greatest value of each channel."""
        return self._each("max")

    @property
    def count(self) -> dict[str, FloatArray]:
        """Number of values of each channel."""
        return self._each("count")

    @property
    def nan_count(self) -> dict[str, FloatArray]:
        """Number of NaN of each channel."""
        return self._each("nan_count")

    @property
    def median(self) -> dict[str, FloatArray]:
        """Estimated median of each channel."""
        return self._each("median")

    @property
    def iqr(self) -> dict[str, FloatArray]:
        """Estimated distance of the quartiles of each channel."""
        return self._each("iqr")

    def quantile(self, shares: float | Sequence[float]) -> dict[str, FloatArray]:
        """Return estimated quantiles of each channel; see `Statistics.quantile`."""
        return {name: it.quantile(shares) for name, it in self.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """x becomes (x - shift) / spread, per channel; leading axes are subjects.

    Attributes
    ----------
    shift, spread : float64, shape (..., n_channels)
        The spread is 1 where values are all alike, so that they become 0.
    fill : float64, shape (..., n_channels)
        What stands for NaN: the mean, or the median of "robust", as it is after scaling.
    """

    shift: FloatArray
    spread: FloatArray
    fill: FloatArray

    @staticmethod
    def of(stats: Moments, scale: Scale) -> "Linear":
        """Return what some statistics do.

        Raises
        ------
        SampleError
            If there is no such scale, values are infinite, or statistics come without the
            quantiles that are asked for.
        """
        check_scale(scale)
        has_none = stats.count == 0
        mean = np.where(has_none, 0, stats.mean)
        if scale == "standard":
            shift, spread, middle = mean, stats.std, mean
        elif scale == "minmax":
            low, high = (np.where(has_none, 0, it) for it in (stats.min, stats.max))
            shift, spread, middle = low, high - low, mean
        elif isinstance(stats, Statistics):
            low, middle, high = np.where(has_none, 0, stats.quantile(QUARTILES))
            shift, spread = middle, high - low
        else:
            raise SampleError("scale='robust' needs quantiles: take stats from samples.stats().")
        is_infinite = ~np.isfinite(shift + spread)
        if is_infinite.any():
            raise SampleError(
                f"Channel {int(np.argwhere(is_infinite)[0, -1])} holds infinite values, which have "
                "no mean: replace them in the source files, and convert again."
            )
        spread = np.where(spread > 0, spread, 1)
        return Linear(shift=shift, spread=spread, fill=(middle - shift) / spread)

    @staticmethod
    def stack(parts: "Sequence[Linear]") -> "Linear":
        """Return several, with a new leading axis."""
        return Linear(
            shift=np.stack([it.shift for it in parts]),
            spread=np.stack([it.spread for it in parts]),
            fill=np.stack([it.fill for it in parts]),
        )

    def row(self, index: int) -> "Linear":
        """Return one entry of the leading axis."""
        return Linear(shift=self.shift[index], spread=self.spread[index], fill=self.fill[index])

    def channels(self, some: IntArray) -> "Linear":
        """Return that of some channels."""
        return Linear(
            shift=self.shift[..., some], spread=self.spread[..., some], fill=self.fill[..., some]
        )
