"""Batches of samples that are cut from source files as they are read."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from zarrts.errors import SampleError, SourceError
from zarrts.keras.source_scaling import linear_of_files, refuse_nan_in
from zarrts.keras.spec import Spec
from zarrts.stats.statistics import Linear
from zarrts.types import IntArray, RowReader

Fed = tuple[Any, IntArray, IntArray]
"""Input of the network, sample ids, and numbers of recordings."""


def batches_of_files(
    readers: Sequence[tuple[str, RowReader]], spec: Spec, stride: int | None
) -> tuple[int, Iterator[Fed]]:
    """Return the number of samples in files, and their batches."""
    for origin, reader in readers:
        if reader.shape[1:] != spec.row_shape or reader.dtype.kind not in "biuf":
            raise SourceError(
                f"{origin}: x has shape {reader.shape} and dtype {reader.dtype}, but the network "
                f"was trained on rows of shape {spec.row_shape}; "
                + (
                    "for a single sample, save x[None]."
                    if reader.shape == spec.row_shape
                    else "other axes are named with axes=."
                )
            )
    if spec.x_steps is None:
        return len(readers), _whole(readers, spec, linear_of_files(readers, spec, 1))
    steps = np.array(spec.x_steps, np.int64)
    span = int(steps.max()) + 1 if steps.size else 1
    step = (stride or span) if steps.ndim else 1
    counts = [max(0, (reader.shape[0] - span) // step + 1) for _, reader in readers]
    own = linear_of_files(readers, spec, step)
    return sum(counts), _cut(readers, spec, own, steps, step, counts)


def _cut(
    readers: Sequence[tuple[str, RowReader]],
    spec: Spec,
    own: Sequence[Linear | None],
    steps: IntArray,
    step: int,
    counts: Sequence[int],
) -> Iterator[Fed]:
    before = 0
    for number, ((origin, reader), count) in enumerate(zip(readers, counts, strict=True)):
        with closing(reader):
            for start in range(0, count, spec.batch_size):
                numbers = np.arange(start, min(start + spec.batch_size, count))
                rows = numbers.reshape(-1, *[1] * steps.ndim) * step + steps
                first = int(rows.min())
                x = reader.read(first, int(rows.max()) + 1)[rows - first]
                refuse_nan_in(x, spec, origin)
                yield spec.treat(x, own[number]), numbers + before, np.full(len(numbers), number)
        before += count


def _whole(
    readers: Sequence[tuple[str, RowReader]], spec: Spec, own: Sequence[Linear | None]
) -> Iterator[Fed]:
    padding = spec.padding or {}
    if padding.get("pad") != "batch" or padding.get("buckets") is not None:
        raise SampleError(
            "The network was trained on samples of one length, padded to that of the store; "
            "convert the files, and predict the samples of the new store."
        )
    for number, (origin, reader) in enumerate(readers):
        with closing(reader):
            rows = reader.read(0, reader.shape[0])[None]
        refuse_nan_in(rows, spec, origin)
        x = spec.treat(rows, own[number])
        inputs = (x, np.ones(x.shape[:2], bool)) if spec.has_mask else x
        yield inputs, np.array([number]), np.array([number])
