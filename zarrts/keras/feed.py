"""The batches of a loader as Keras wants them: tuples of arrays, pass by pass."""

import sys
from typing import Any

import numpy as np

from zarrts.backend import keras
from zarrts.batch import Batch
from zarrts.errors import ReadError, SampleError
from zarrts.inputs import with_masks
from zarrts.labels.label_sets import each_array
from zarrts.loading.epochs import Pass, Passes
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions
from zarrts.types import AnyArray


class Feed:
    """Gives batches of one loader to Keras, to tf.data, and to loops of a user's own.

    Attributes
    ----------
    passes : Passes
        Who reads which epoch; has the lock that all readers share.
    n_batches : int
        Of an epoch.
    """

    def __init__(self, loader: EpochLoader, options: BatchOptions) -> None:
        self.passes, self.n_batches = Passes(loader), loader.n_batches
        self._options = options
        self._examples: list[Any] | None = None

    def next_of(self, current: Pass) -> Any:
        """Return the next batch of a pass as Keras wants it, or None at its end.

        Batches of which no sample can be read are left out, where these are skipped.
        """
        while (batch := self.passes.take(current)) is not None:
            if len(batch.sample_id):
                return self.as_tuple(batch)
        return None

    def unlike_batches(self) -> list[Any]:
        """Return batches that differ in every axis in which any may differ, if any may.

        Where samples that cannot be read are skipped, at least the first batch that holds any.
        """
        found = self.passes.unlike_batches()
        if not found and self.skips_damage:
            found = [self.passes.first_batch()]
        return [self.as_tuple(batch) for batch in found]

    def examples(self) -> list[Any]:
        """Return batches that differ in every axis but the first in which any may differ.

        Empty if only the batches themselves would tell: a transform may do what it likes.
        """
        if self._examples is None:
            found = self.unlike_batches()
            if not found and self._options.transform is None:
                found = [self.as_tuple(self.passes.example())]
            self._examples = found
        return self._examples

    @property
    def skips_damage(self) -> bool:
        """Whether samples that cannot be read are left out, and so, perhaps, whole batches."""
        return self._options.on_error == "skip"

    def as_tuple(self, batch: Batch) -> Any:
        """Return a batch as Keras wants it."""
        if len(batch.sample_id) == 0:
            raise ReadError(
                "None of the samples of this batch can be read; repair the store, or leave it out, "
                "as fit and a loop over the sequence do."
            )
        x = self.inputs_of(batch)
        if self._options.label_mode is None:
            return (x,) if self._options.mask else x  # or Keras would take the mask for labels
        if batch.y is not None and _has_narrow_integers():
            each_array(batch.y, _refuse_wide)
        return (x, batch.y) if batch.sample_weight is None else (x, batch.y, batch.sample_weight)

    def inputs_of(self, batch: Batch) -> Any:
        """Return what the network gets of a batch."""
        return with_masks(batch.x, batch.mask) if self._options.mask else batch.x


def _has_narrow_integers() -> bool:
    """Return whether the backend turns 64-bit integers into 32 bits, as JAX does by default."""
    if keras.backend.backend() != "jax":
        return False
    return not sys.modules["jax"].config.jax_enable_x64


def _refuse_wide(labels: AnyArray) -> AnyArray:
    """Refuse integers that JAX would wrap around without an error."""
    if labels.dtype.kind in "iu" and labels.dtype.itemsize == 8 and labels.size:
        limits = np.iinfo(np.int32)
        worst = max(labels.min(), labels.max(), key=lambda it: abs(int(it)))
        if not limits.min <= int(worst) <= limits.max:
            raise SampleError(
                f"The label {int(worst):,} does not fit into 32 bits, to which JAX cuts integers: "
                "it would train on another number. Convert labels of such size as floats, or set "
                "the variable JAX_ENABLE_X64=1."
            )
    return labels
