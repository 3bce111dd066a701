"""Batches of samples that are cut from source files as they are read."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.indexing.cuts import Fit
from zarrts.inputs import handed_out, with_masks
from zarrts.keras.meaning import reference_of
from zarrts.keras.source_cuts import SourceCuts
from zarrts.keras.source_labels import SourceLabels
from zarrts.keras.source_scaling import linear_of_files, refuse_nan_in
from zarrts.keras.spec import Spec
from zarrts.sources import Reference, SourceOptions, find
from zarrts.stats.statistics import Linear
from zarrts.storage.segments import parts_of
from zarrts.types import AnyArray, IntArray, RowReader, SourceInput, SourceRecording

Fed = tuple[Any, IntArray, IntArray]
"""Input of the network, sample ids, and numbers of recordings."""


def batches_of_files(cuts: SourceCuts) -> Iterator[Fed]:
    """Return the batches of the samples of some files.

    Where the network was trained without windows that hold NaN, or rows that are masked, these
    are left out, so that ids are not consecutive.

    Raises
    ------
    SourceError
        If rows are not of the shape that the network was trained on.
    """
    spec = cuts.spec
    for it in cuts.inputs:
        if spec.inputs:
            _refuse_other_inputs(it.origin, it.x, spec)
            continue
        if it.x.shape[1:] != spec.row_shape or it.x.dtype.kind not in "biuf":
            raise SourceError(
                f"{it.origin}: x has shape {it.x.shape} and dtype {it.x.dtype}, but the network "
                f"was trained on rows of shape {spec.row_shape}; "
                + (
                    "for a single sample, save x[None]."
                    if it.x.shape == spec.row_shape
                    else "other axes are named with axes=."
                )
            )
    empty = [it.origin for it in cuts.inputs if it.x.shape[0] == 0]
    if spec.x_steps is None and empty:
        raise SourceError(f"{', '.join(empty[:10])}: no rows; leave that out.")
    own = linear_of_files(cuts)
    return _whole(cuts, own) if cuts.steps is None else _cut(cuts, cuts.steps, own)


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
    cuts : SourceCuts
    subjects : list of str
    owners : int64, shape (n_recordings,)
        Position in `subjects` of that of each recording.
    batches : iterator
        Of inputs, codes of labels, sample ids and numbers of recordings.
    """

    cuts: SourceCuts
    subjects: list[str]
    owners: IntArray
    batches: Iterator[tuple[Any, IntArray, IntArray, IntArray]]


def labelled_batches(
    source: Any,
    options: SourceOptions,
    spec: Spec,
    stride: int | None,
    storage_options: Mapping[str, Any] | None,
    at: Any = None,
) -> LabelledBatches:
    """Return the samples of sources with labels, cut and fed as `spec` says.

    Raises
    ------
    SourceError
        Naming every file that cannot be used.
    """
    reference = reference_of(spec.description, spec.input_steps)
    recordings = _find(source, options, storage_options, reference)
    cuts = SourceCuts(inputs_of(recordings), spec, stride, at)
    labels = SourceLabels(recordings, cuts)
    codes = {name: code for code, name in enumerate(dict.fromkeys(it.subject for it in recordings))}
    fed = batches_of_files(cuts)

    def batches() -> Iterator[tuple[Any, IntArray, IntArray, IntArray]]:
        for inputs, ids, numbers in fed:
            number = int(numbers[0])
            own = ids - cuts.firsts[number]
            true = labels.of(number, own, _n_rows(inputs, spec))
            yield inputs, true, ids, numbers

    return LabelledBatches(
        cuts=cuts,
        subjects=list(codes),
        owners=np.array([codes[it.subject] for it in recordings], np.int64),
        batches=batches(),
    )


def inputs_with_labels(
    source: Any, options: SourceOptions, storage_options: Mapping[str, Any] | None
) -> list[SourceInput]:
    """Return the inputs of sources beside their labels.

    Raises
    ------
    SourceError
        Naming every file that cannot be used.
    """
    return inputs_of(_find(source, options, storage_options))


def _find(
    source: Any,
    options: SourceOptions,
    storage_options: Mapping[str, Any] | None,
    reference: Reference | None = None,
) -> tuple[SourceRecording, ...]:
    found = find(source, options, mounts=Mounts(storage_options), reference=reference)
    if found.problems:
        raise SourceError("\n".join(found.problems))
    return found.recordings


def inputs_of(recordings: Sequence[SourceRecording]) -> list[SourceInput]:
    """Return the inputs of recordings that were found with their labels."""
    return [
        SourceInput(
            origin=it.origin, x=it.x, mask=it.mask, gaps=it.gaps, subject=it.subject, y=it.y
        )
        for it in recordings
    ]


def _cut(cuts: SourceCuts, steps: IntArray, own: Sequence[Mapping[str, Linear]]) -> Iterator[Fed]:
    spec = cuts.spec
    for number, source in enumerate(cuts.inputs):
        index, before = cuts.indexes[number], cuts.firsts[number]
        with closing(source.x):
            for start in range(0, index.n_samples, spec.batch_size):
                ids = np.arange(start, min(start + spec.batch_size, index.n_samples))
                rows = index.first_rows(ids).reshape(-1, *[1] * steps.ndim) + steps
                x = _read(source, rows)
                if spec.drops_bad:
                    is_good = _is_good(source, rows, x)
                    x, ids = x[is_good], ids[is_good]
                    if len(ids) == 0:
                        continue
                refuse_nan_in(x, spec, source.origin)
                yield spec.treat(x, own[number]), ids + before, np.full(len(ids), number)
        if source.mask is not None:
            source.mask.close()


def _read(source: SourceInput, rows: IntArray) -> AnyArray:
    first = int(rows.min())
    return source.x.read(first, int(rows.max()) + 1)[rows - first]


def _is_good(source: SourceInput, rows: IntArray, x: AnyArray) -> NDArray[np.bool_]:
    """Return which samples have no NaN, and no row that is masked."""
    is_good = np.ones(len(rows), bool)
    for values in parts_of(x).values():
        if values.dtype.kind == "f":
            is_good &= ~np.isnan(values).reshape(len(rows), -1).any(axis=1)
    if source.mask is not None:
        first = int(rows.min())
        mask = source.mask.read(first, int(rows.max()) + 1)[rows - first]
        is_good &= ~mask.reshape(len(rows), -1).any(axis=1)
    return is_good


def _whole(cuts: SourceCuts, own: Sequence[Mapping[str, Linear]]) -> Iterator[Fed]:
    spec = cuts.spec
    for number, (origin, reader) in enumerate((it.origin, it.x) for it in cuts.inputs):
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
    masks = {
        name: np.repeat(~fit.is_behind, it.steps, axis=1)
        for name, it in spec.of_inputs.items()
        if it.steps
    }
    return next(iter(masks.values())) if spec.is_alone else handed_out(masks)


def _n_rows(inputs: Any, spec: Spec) -> int:
    """Return how many rows a sample was brought to."""
    if isinstance(inputs, dict):
        name, it = next((name, it) for name, it in spec.inputs.items() if it.steps)
        return int(inputs[name].shape[1] // it.steps)
    x = inputs[0] if spec.has_mask else inputs
    steps = max(1, next(iter(spec.of_inputs.values())).steps)
    return int(x.shape[1] // steps) if x.ndim > 1 else 1
