"""Inputs that the network gets as 16-bit counts, as a spec describes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.loops.packing import pack
from zarrts.store import Store
from zarrts.types import AnyArray


@dataclass(frozen=True, kw_only=True)
class CountedInputs:
    """Inputs that the network gets as counts: value = float32(count * gain + offset).

    Attributes
    ----------
    gain, offset : tuple of float
        Of each channel.
    missing : int, or None
        The count that stands for NaN.
    error : float
        The largest that rounding to counts made in the training, and may make again.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    missing: int | None
    error: float

    @staticmethod
    def of(store: Store, name: str) -> "CountedInputs | None":
        """Return that of an input of a store; None where it holds values."""
        packed = store.header.segments[0].packed.get(name)
        pair = store.readers.tables.packing(name).of_all if packed is not None else None
        if packed is None or pair is None:
            return None
        gain, offset = (tuple(it.tolist()) for it in pair)
        return CountedInputs(gain=gain, offset=offset, missing=packed.missing, error=packed.error)

    @staticmethod
    def from_saved(found: Mapping[str, Any]) -> "CountedInputs":
        """Return those that a file of a spec says."""
        pairs = {name: tuple(map(float, found[name])) for name in ("gain", "offset")}
        return CountedInputs(missing=found["missing"], error=float(found["error"]), **pairs)

    def counts(self, values: AnyArray) -> AnyArray:
        """Return the counts of new values (n, ...).

        Raises
        ------
        SampleError
            If there are none.
        """
        n_channels = len(self.gain)
        rows = np.ascontiguousarray(values, np.float32).reshape(-1, n_channels)
        counts, unfit = pack(
            rows,
            np.array(self.gain),
            np.array(self.offset),
            tolerance=self.error,
            missing=self.missing,
        )
        if unfit is not None:
            row, channel = divmod(unfit, n_channels)
            raise SampleError(
                f"The network was trained on 16-bit counts (dtype='stored'), of steps of "
                f"{self.gain[channel]:g} in channel {channel}, and {rows[row, channel]:g} is none "
                "of them: the new data come from another converter. Train on values, without "
                "dtype='stored', to predict for these too."
            )
        return counts.reshape(values.shape)
