"""Epochs that do not show each sample once: balanced samples, or those of a list."""

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import ChunkUnits
from zarrts.ordering.balance import MAX_DRAWN, BalancedOrder, draws_per_rank
from zarrts.ordering.listed import ListedOrder
from zarrts.ordering.order import Batching, Order
from zarrts.ordering.strata import Strata, blocks_of, sizes_of
from zarrts.types import AnyArray, IntArray

_LISTED_BYTES = 32  # unit, place and lowest place of each, and itself

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
    def kept_bytes(self) -> int:
        """Memory that it takes as long as batches are made."""
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
    max_drawn : int
        How many samples are worked out at once, which takes memory.
    """

    def __init__(
        self,
        codes: AnyArray,
        resample: Resample = "oversample",
        max_drawn: int = MAX_DRAWN,
    ) -> None:
        if resample not in ("oversample", "undersample"):
            raise SampleError(
                f"resample={resample!r} is unknown; use 'oversample' or 'undersample'."
            )
        known = distinct(codes)
        known = known[known >= 0]
        if len(known) == 0:
            raise SampleError("There is nothing to balance: no sample is in a group.")
        self._resample, self._max_drawn = resample, max_drawn
        self._codes = np.empty(len(codes), np.min_scalar_type(-len(known)))
        for block in blocks_of(len(codes)):
            some = codes[block]
            self._codes[block] = np.where(some < 0, -1, np.searchsorted(known, some))
        self._strata: tuple[ChunkUnits, Strata] | None = None  # of the units asked for last

    @property
    def sizes(self) -> IntArray:
        """Number of samples of each stratum."""
        return sizes_of(self._codes)

    @property
    def kept_bytes(self) -> int:
        """Memory that it takes as long as batches are made."""
        n_bytes = self._codes.itemsize + np.min_scalar_type(max(len(self._codes), 1)).itemsize
        return len(self._codes) * n_bytes

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
        return BalancedOrder(
            units,
            batching,
            strata,
            slots=slots,
            seed=seed,
            epoch=epoch,
            max_drawn=self._max_drawn,
        )

    @property
    def key(self) -> str:
        """A text that tells it from others."""
        return f"balance {self._resample} {_digest(self._codes)}"


@dataclass(frozen=True, eq=False)
class Listed:
    """These samples, in this order, in every epoch; `numbers` are of the selected samples."""

    numbers: IntArray

    @property
    def kept_bytes(self) -> int:
        """Memory that it takes as long as batches are made."""
        return _LISTED_BYTES * len(self.numbers)

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


def distinct(values: AnyArray) -> AnyArray:
    """Return the distinct ones of any number of values, sorted, in the memory of a few."""
    found = values[:0]
    for block in blocks_of(len(values)):
        found = np.union1d(found, values[block])
    return found


def _digest(values: AnyArray) -> str:
    digest = hashlib.sha256()
    for block in blocks_of(len(values)):
        digest.update(values[block].astype("<i8").tobytes())
    return digest.hexdigest()[:16]
