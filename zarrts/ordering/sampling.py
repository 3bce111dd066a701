"""Epochs that do not show each sample once: balanced samples, or those of a list."""

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits
from zarrts.ordering.balance import BalancedOrder, Strata, draws_per_rank
from zarrts.ordering.listed import ListedOrder
from zarrts.ordering.order import Batching, Order
from zarrts.types import AnyArray, IntArray

Resample = Literal["oversample", "undersample"]


class Sampling(Protocol):
    """A choice of samples that takes the place of the shuffle."""

    def n_samples(self, world_size: int) -> int:
        """Return how many samples an epoch shows, on all ranks together."""
        ...

    def order(
        self, units: ChunkUnits, batching: Batching, *, slots: int | None, seed: int, epoch: int
    ) -> Order:
        """Return the order of an epoch; `slots` units may be open at once, or all if None."""
        ...

    @property
    def key(self) -> str:
        """A text that tells it from others."""
        ...


class Balanced:
    """Equally many of each stratum in every batch.

    Parameters
    ----------
    codes : int, shape (n_samples,)
        The stratum of each selected sample; any whole numbers, below 0 for none.
    resample : str
        "oversample": samples of small strata come several times. "undersample": not all of large
        ones come.
    """

    def __init__(self, codes: IntArray, resample: Resample = "oversample") -> None:
        if resample not in ("oversample", "undersample"):
            raise SampleError(
                f"resample={resample!r} is unknown; use 'oversample' or 'undersample'."
            )
        known, inverse = np.unique(codes, return_inverse=True)
        n_none = int(np.count_nonzero(known < 0))
        if len(known) == n_none:
            raise SampleError("There is nothing to balance: no sample is in a group.")
        self._resample = resample
        self._codes = np.maximum(inverse - n_none, -1)
        self._strata: tuple[ChunkUnits, Strata] | None = None  # of the units asked for last

    @property
    def sizes(self) -> IntArray:
        """Number of samples of each stratum."""
        return np.bincount(self._codes[self._codes >= 0])

    def n_samples(self, world_size: int) -> int:
        """Return how many samples an epoch shows, on all ranks together."""
        draws = draws_per_rank(self.sizes, world_size, repeats=self._resample == "oversample")
        return len(self.sizes) * draws * world_size

    def order(
        self, units: ChunkUnits, batching: Batching, *, slots: int | None, seed: int, epoch: int
    ) -> Order:
        """Return the order of an epoch."""
        if self._strata is None or self._strata[0] is not units:
            self._strata = units, Strata.of(self._codes, units)
        strata = self._strata[1]
        return BalancedOrder(units, batching, strata, slots=slots, seed=seed, epoch=epoch)

    @property
    def key(self) -> str:
        """A text that tells it from others."""
        return f"balance {self._resample} {_digest(self._codes)}"


@dataclass(frozen=True, eq=False)
class Listed:
    """These samples, in this order, in every epoch; `numbers` are of the selected samples."""

    numbers: IntArray

    def n_samples(self, world_size: int) -> int:
        """Return how many samples an epoch shows, on all ranks together."""
        return len(self.numbers)

    def order(
        self, units: ChunkUnits, batching: Batching, *, slots: int | None, seed: int, epoch: int
    ) -> Order:
        """Return the order, the same for all epochs."""
        return ListedOrder(units, batching, self.numbers, slots)

    @property
    def key(self) -> str:
        """A text that tells it from others."""
        return f"order {_digest(self.numbers)}"


def _digest(values: AnyArray) -> str:
    return hashlib.sha256(values.astype("<i8").tobytes()).hexdigest()[:16]
