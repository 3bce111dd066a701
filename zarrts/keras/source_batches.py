"""Batches of samples that are cut from source files as they are read."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.indexing.cuts import Fit
from zarrts.keras.source_labels import SourceLabels
from zarrts.keras.source_scaling import linear_of_files, refuse_nan_in
from zarrts.keras.spec import Spec
from zarrts.sources import SourceOptions, find
from zarrts.stats.statistics import Linear
from zarrts.types import IntArray, RowReader, handed_out, with_masks

Fed = tuple[Any, IntArray, IntArray]
"""Input of the network, sample ids, and numbers of recordings."""


def batches_of_files(
    readers: Sequence[tuple[str, RowReader]], spec: Spec, stride: int | None
) -> tuple[int, Iterator[Fed]]:
    """Return the number of samples in files, and their batches."""
    for origin, reader in readers:
        if spec.inputs:
            _refuse_other_inputs(origin, reader, spec)
            continue
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
    empty = [origin for origin, reader in readers if reader.shape[0] == 0]
    if spec.x_steps is None and empty:
        raise SourceError(f"{', '.join(empty[:10])}: no rows; leave that out.")
    if spec.x_steps is None:
        return len(readers), _whole(readers, spec, linear_of_files(readers, spec, 1))
    steps = np.array(spec.x_steps, np.int64)
    span = int(steps.max()) + 1 if steps.size else 1
    step = (stride or span) if steps.ndim else 1
    counts = [max(0, (reader.shape[0] - span) // step + 1) for _, reader in readers]
    own = linear_of_files(readers, spec, step)
    return sum(counts), _cut(readers, spec, own, steps, step, counts)


def _refuse_other_inputs(origin: str, reader: RowReader, spec: Spec) -> None:
    mine = {name: reader.dtype[name].shape for name in reader.dtype.names or ()}
    wanted = {name: it.row_shape for name, it in spec.inputs.items()}
    if any(mine.get(name) != shape for name, shape in wanted.items()):
        here = ", ".join(f"{name} {shape}" for name, shape in mine.items()) or "one without a name"
        there = ", ".join(f"{name} {shape}" for name, shape in wanted.items())
        raise SourceError(
            f"{origin}: its inputs are {here}, but the network was trained on {there} in a row; "
            "name them with x=, and their rates with rate_hz= of a Recording."
        )


@dataclass(frozen=True, kw_only=True)
class LabelledBatches:
    """Samples of sources with labels.

    Attributes
    ----------
    readers : list of (name, RowReader)
    subjects : list of str
    owners : int64, shape (n_recordings,)
        Position in `subjects` of that of each recording.
    n_samples : int
    batches : iterator
        Of inputs, codes of labels, sample ids and numbers of recordings.
    """

    readers: list[tuple[str, RowReader]]
    subjects: list[str]
    owners: IntArray
    n_samples: int
    batches: Iterator[tuple[Any, IntArray, IntArray, IntArray]]


def labelled_batches(
    source: Any,
    options: SourceOptions,
    spec: Spec,
    stride: int | None,
    storage_options: Mapping[str, Any] | None,
) -> LabelledBatches:
    """Return the samples of sources with labels, cut and fed as `spec` says.

    Raises
    ------
    SourceError
        Naming every file that cannot be used.
    """
    found = find(source, options, mounts=Mounts(storage_options))
    if found.problems:
        raise SourceError("\n".join(found.problems))
    recordings = found.recordings
    readers = [(it.origin, it.x) for it in recordings]
    steps = None if spec.x_steps is None else np.array(spec.x_steps, np.int64)
    step = (stride or int(steps.max()) + 1) if steps is not None and steps.ndim else 1
    labels = SourceLabels(recordings, spec, step)
    codes = {name: code for code, name in enumerate(dict.fromkeys(it.subject for it in recordings))}
    n_samples, fed = batches_of_files(readers, spec, stride)

    def batches() -> Iterator[tuple[Any, IntArray, IntArray, IntArray]]:
        first, before = 0, -1
        for inputs, ids, numbers in fed:
            number = int(numbers[0])
            if number != before:
                first, before = int(ids[0]), number
            true = labels.of(number, ids - first, _n_rows(inputs, spec))
            yield inputs, true, ids, numbers

    return LabelledBatches(
        readers=readers,
        subjects=list(codes),
        owners=np.array([codes[it.subject] for it in recordings], np.int64),
        n_samples=n_samples,
        batches=batches(),
    )


def _cut(
    readers: Sequence[tuple[str, RowReader]],
    spec: Spec,
    own: Sequence[Mapping[str, Linear]],
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
    readers: Sequence[tuple[str, RowReader]], spec: Spec, own: Sequence[Mapping[str, Linear]]
) -> Iterator[Fed]:
    for number, (origin, reader) in enumerate(readers):
        fit = spec.fit(reader.shape[0])
        if reader.shape[0] > fit.n_steps:
            end = "beginning" if fit.keeps_end else "end"
            warnings.warn(
                f"{origin}: has {reader.shape[0]:,} rows, and the network was trained on at most "
                f"{fit.n_steps:,}: its {end} is cut off, as pad= and truncate= say.",
                stacklevel=2,
            )
        kept = fit.rows(np.zeros(1, np.int64))
        first, stop = int(kept.min()), int(kept.max()) + 1
        with closing(reader):
            rows = reader.read(first, stop)[kept - first]
        refuse_nan_in(rows, spec, origin)
        x = spec.treat(rows, own[number], fit)
        if spec.has_mask:
            x = with_masks(x, _masks(fit, spec))
        yield x, np.array([number]), np.array([number])


def _masks(fit: Fit, spec: Spec) -> Any:
    return handed_out(
        {
            name: np.repeat(~fit.is_behind, it.steps, axis=1)
            for name, it in spec.of_inputs.items()
            if it.steps
        }
    )


def _n_rows(inputs: Any, spec: Spec) -> int:
    """Return how many rows a sample was brought to."""
    if isinstance(inputs, dict):
        name, it = next((name, it) for name, it in spec.inputs.items() if it.steps)
        return int(inputs[name].shape[1] // it.steps)
    x = inputs[0] if spec.has_mask else inputs
    return x.shape[1] if x.ndim > 1 else 1
