"""Take from a batch what transforms need: series, parts, and labels of any form."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from zarrts.batch import Batch
from zarrts.errors import SampleError
from zarrts.types import AnyArray, Labels


def refuse_several(batch: Batch, name: str) -> None:
    """Raise SampleError, which names the transform, if a batch has several inputs."""
    if isinstance(batch.x, dict):
        raise SampleError(
            f"{name}: a batch has the inputs {', '.join(batch.x)}; say which of them is changed: "
            f"transforms.on_input({next(iter(batch.x))!r}, transforms.{name}(...))."
        )


def floats_of(batch: Batch, name: str) -> AnyArray:
    """Return x; SampleError, which names the transform, if it has no fractions."""
    refuse_several(batch, name)
    if batch.x.dtype.kind != "f":
        raise SampleError(f"{name}: x is {batch.x.dtype}, which has no fractions; dtype='float32'.")
    values: AnyArray = batch.x
    return values


def series_of(batch: Batch, name: str) -> AnyArray:
    """Return x; SampleError if its samples are not (time, ..., channel)."""
    refuse_several(batch, name)
    if batch.x.ndim < 3:
        raise SampleError(
            f"{name}: a sample of shape {batch.x.shape[1:]} is no (time, ..., channel)."
        )
    return floats_of(batch, name)


def equal_lengths_of(batch: Batch, name: str) -> AnyArray:
    """Return x; SampleError if its samples are padded, or have no steps."""
    refuse_several(batch, name)
    if batch.length is not None and bool((batch.length < batch.x.shape[1]).any()):
        raise SampleError(f"{name}: samples of unequal lengths are padded; cut them into windows.")
    if batch.x.ndim < 2:
        raise SampleError(f"{name}: the samples are single values, without steps in time.")
    return floats_of(batch, name)


def lengths_of(batch: Batch) -> NDArray[np.int64]:
    """Return how many steps of each sample are no padding."""
    if batch.length is None:
        return np.full(len(batch.x), batch.x.shape[1])
    return np.asarray(np.minimum(batch.length, batch.x.shape[1]))


def multiply(batch: Batch, factors: AnyArray) -> None:
    """Multiply x in place, but for its padding."""
    if batch.mask is None:
        np.multiply(batch.x, factors, out=batch.x)
    else:
        mask = batch.mask.reshape(*batch.mask.shape, *(1 for _ in batch.x.shape[2:]))
        np.multiply(batch.x, factors, out=batch.x, where=mask)


def take_steps(array: AnyArray, rows: NDArray[np.int64], n_steps: int, name: str) -> AnyArray:
    """Return some steps of each sample, shape (batch, steps, ...)."""
    if array.ndim < 2 or array.shape[1] != n_steps:
        raise SampleError(
            f"{name}: with_labels=True needs a label for each of the {n_steps} steps, but y has "
            f"shape {array.shape}."
        )
    return np.asarray(array[np.arange(len(array))[:, None], rows])


def part_of(batch: Batch, chosen: NDArray[np.bool_]) -> Batch:
    """Return some samples of a batch, as a copy."""
    return replace(
        batch,
        x=batch.x[chosen],
        y=each_of(lambda it: it[chosen], batch.y),
        sample_weight=each_of(lambda it: it[chosen], batch.sample_weight),
        sample_id=batch.sample_id[chosen],
        length=None if batch.length is None else batch.length[chosen],
    )


def put_back(chosen: NDArray[np.bool_], whole: AnyArray, part: AnyArray) -> AnyArray:
    """Return labels or weights in which those of some samples are replaced."""
    out = whole.copy()  # labels as stored may be somebody else's
    out[chosen] = part
    return out


def labels_taken(batch: Batch, rows: NDArray[np.int64], n_steps: int, name: str) -> Batch:
    """Return a batch with some steps of labels, and of weights that are of steps."""

    take = partial(take_steps, rows=rows, n_steps=n_steps, name=name)
    weight = each_of(lambda it: take(it) if it.ndim > 1 else it, batch.sample_weight)
    return replace(batch, y=each_of(take, batch.y), sample_weight=weight)


def each_of(
    function: Callable[..., AnyArray], labels: Labels | None, *others: Labels | None
) -> Labels | None:
    """Return a function of one array of labels, or of each of several; of none, None."""
    if labels is None:
        return None
    if isinstance(labels, dict):
        return {
            name: function(it, *(other[name] for other in others if isinstance(other, dict)))
            for name, it in labels.items()
        }
    return function(labels, *others)
