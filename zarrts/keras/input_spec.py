"""The treatment of one input of samples that a network was trained with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zarrts.indexing.cuts import Fit
from zarrts.keras.counted_inputs import CountedInputs
from zarrts.loading.postprocessing import Treatment
from zarrts.reading.nans import OnNan
from zarrts.stats.scaling import Scaling, make_scaler
from zarrts.stats.statistics import Linear
from zarrts.types import AnyArray, Description


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The way one input of samples was fed to a network; the fields are as in `Spec`.

    `steps` are those in time that a stored row has, as in `storage.segments.InputArray`.
    """

    row_shape: tuple[int, ...]
    stored_dtype: str
    dtype: str
    scaling: Scaling | None
    channels: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    rate_hz: float | None = None
    by_hand: tuple[str, ...] = ()
    steps: int = 1
    counts: CountedInputs | None = None

    @property
    def n_channels(self) -> int:
        """Size of the last axis; 1 where rows are single values."""
        return self.row_shape[-1] if self.row_shape else 1

    @property
    def description(self) -> Description:
        """The meaning of columns and rows."""
        return Description(
            channels=self.channels,
            units=self.units,
            rate_hz=self.rate_hz,
            by_hand=frozenset(self.by_hand),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        scaling = None if self.scaling is None else self.scaling.to_dict()
        return asdict(replace(self, scaling=None)) | {"scaling": scaling}

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> "InputSpec":
        """Return what `to_dict` returned."""
        values: dict[str, Any] = dict(found)
        for name in ("row_shape", "channels", "units", "by_hand"):
            values[name] = None if values[name] is None else tuple(values[name])
        if values["scaling"] is not None:
            values["scaling"] = Scaling.from_dict(values["scaling"])
        if values.get("counts") is not None:
            values["counts"] = CountedInputs.from_saved(values["counts"])
        return InputSpec(**values)

    def treat(
        self, rows: AnyArray, own: Linear | None, fit: Fit | None, *, nan: OnNan, pad_value: float
    ) -> AnyArray:
        """Return samples of a source as the network gets them; see `Spec.treat`.

        Parameters
        ----------
        rows : shape (n_samples, ..., *row_shape)
        """
        fit = fit if self.steps else None
        rows = rows.astype(self.stored_dtype, copy=False)
        if self.counts is not None:
            return self._with_time(self.counts.counts(rows))
        dtype, fills, scaler = np.dtype(self.dtype), nan == "fill", None
        if self.scaling is not None:
            scaler = make_scaler(
                self.scaling if own is None else replace(self.scaling, linear=own),
                stored=rows.dtype,
                n_channels=self.n_channels,
                dtype=dtype,
                has_nan=nan != "error",
                fills=fills,
            )
        out = np.empty(rows.shape, dtype)
        ids = np.zeros(len(rows), np.int64)
        fills = fills and rows.dtype.kind == "f"
        Treatment(dtype=dtype, scaler=scaler, fills=fills).scale_into(rows, out, ids, fit)
        if fit is not None:
            out[fit.is_behind] = pad_value
        return self._with_time(out)

    def _with_time(self, samples: AnyArray) -> AnyArray:
        """Return samples with one axis of time, where rows have steps of their own."""
        n_inner = len(self.row_shape)
        if self.steps <= 1 or samples.ndim <= 1 + n_inner:
            return samples
        at = samples.ndim - n_inner
        return samples.reshape(*samples.shape[: at - 1], -1, *samples.shape[at + 1 :])
