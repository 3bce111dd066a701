"""Find the samples and steps that have a label, where labels may be missing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.indexing.cuts import Fit
from zarrts.indexing.units import Ranges
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.class_counts import class_counts
from zarrts.reading.load import ids_by_unit
from zarrts.reading.sample_reader import SampleReader
from zarrts.reading.selection import Selection, once
from zarrts.types import AnyArray, Label

BoolArray = NDArray[np.bool_]


@once
def presence(selection: Selection) -> tuple[Ranges, bool]:
    """Return the samples that have a label, and whether one of these lacks another."""
    can_miss = selection.view.cut.y_of != "x" and may_miss(selection.scheme)
    if not can_miss or _is_complete(selection):
        return selection.ids, False
    return labelled_samples(selection.reader, selection.scheme)


def _is_complete(selection: Selection) -> bool:
    """Return whether the counts in the store say that no label is missing, without reading any."""
    if selection.scheme.class_names is None:
        return False
    whole, partial = selection.whole_and_partial()
    if partial is not None:
        return False
    shape = selection.store.readers.y[0].spec.row_shape
    shape = shape[:-1] if selection.scheme.encoding == "one_hot" else shape
    n_rows = np.diff(selection.store.catalog.row_starts)[whole].sum()
    if selection.view.cut.y_of == "recording":
        n_rows = len(whole)
    return int(class_counts(selection).sum()) == int(n_rows) * math.prod(shape)


def count_unlabelled(selection: Selection) -> int:
    """Return how many of these samples have no label."""
    return len(selection) - len(presence(selection)[0])


def labelled(
    selection: Selection, missing: Label | float | Sequence[Label | float] = ()
) -> Selection:
    """Return those of these samples that have a label; see `Samples.labelled`."""
    values = np.ravel(np.asarray(missing, object)).tolist()
    found = selection
    if values:
        plain = tuple(it.item() if isinstance(it, np.generic) else it for it in values)
        found = found.with_scheme(without(found.scheme, plain))
    return found.narrowed(presence(found)[0])


def count_step_axes(reader: SampleReader) -> int:
    """Return how many axes of the labels count steps, each of which has a label of its own.

    In samples of equal length these are labels as long as x; other axes hold several values that
    are one label together, such as the columns of several binary ones.
    """
    steps = reader.cut.y_steps
    if steps is None:
        return 1
    if steps.ndim or reader.cut.y_of == "x":
        return reader.cut.n_label_axes
    shape = reader.label_shape()
    lengths = {x[0] for it in reader.inputs if len(x := it.spec.row_shape) > 1}
    return int(len(shape) > 0 and shape[0] in lengths)


def may_miss(scheme: LabelScheme) -> bool:
    """Return whether labels of a scheme can be missing at all."""
    if scheme.parts:
        return any(may_miss(part) for part in scheme.parts.values())
    is_merged = scheme.merges is not None and min(scheme.merges.codes) < 0
    is_number = scheme.class_names is None
    return bool(
        scheme.allows_missing
        or is_merged
        or (is_number and (scheme.missing or scheme.dtype.kind == "f"))
    )


def is_labelled(scheme: LabelScheme, stored: AnyArray, n_step_axes: int) -> BoolArray:
    """Return which labels are there, shape (n_samples, *steps); all values of one have to be."""
    is_missing = scheme.is_missing(stored)
    rest = tuple(range(1 + n_step_axes, is_missing.ndim))
    return np.asarray(~(is_missing.any(axis=rest) if rest else is_missing))


def presence_of(scheme: LabelScheme, stored: Any, n_step_axes: int) -> dict[str, BoolArray]:
    """Return `is_labelled` of each of several arrays of labels; of a single one, its name is ""."""
    if not scheme.parts:
        return {"": is_labelled(scheme, stored, n_step_axes)}
    return {
        name: is_labelled(part, np.ascontiguousarray(stored[name]), n_step_axes)
        for name, part in scheme.parts.items()
    }


def labelled_samples(reader: SampleReader, scheme: LabelScheme) -> tuple[Ranges, bool]:
    """Return the selected samples that have a label; reads the labels.

    Of samples with several labels, those with any; the flag says whether one of these lacks
    another.
    """
    n_axes = count_step_axes(reader)
    parts, has_gaps = [np.zeros(0, np.int64)], False
    for ids in ids_by_unit(reader):
        fit = None
        if not reader.cut.is_of_equal_lengths:
            lengths = reader.lengths(ids)
            fit = Fit(lengths=lengths, n_steps=int(lengths.max()))
        stored = reader.cut.reduced(reader.fetch_y(ids, fit))
        found = list(presence_of(scheme, stored, n_axes).values())
        is_own = (
            None if fit is None or reader.cut.y_steps is not None else ~reader.labels_behind(fit)
        )
        any_of = np.stack([_over_steps(it, is_own, np.any) for it in found]).any(axis=0)
        all_of = np.stack([_over_steps(it, is_own, np.all) for it in found]).all(axis=0)
        has_gaps |= bool((any_of & ~all_of).any())
        parts.append(ids[any_of])
    return Ranges.of_ids(np.concatenate(parts)), has_gaps


def _over_steps(is_there: BoolArray, is_own: BoolArray | None, over: Any) -> BoolArray:
    if is_own is not None:  # what is behind the end of a sample is neither there nor lacking
        is_there = is_there & is_own if over is np.any else is_there | ~is_own
    return np.asarray(over(is_there.reshape(len(is_there), -1), axis=1))


def without(scheme: LabelScheme, missing: tuple[Label | float, ...]) -> LabelScheme:
    """Return a scheme in which some values stand for a label that is missing."""
    if scheme.parts:
        parts: Mapping[str, LabelScheme] = {
            name: without(part, missing) for name, part in scheme.parts.items()
        }
        return replace(scheme, parts=parts)
    if scheme.class_names is None:
        numbers = tuple(float(it) for it in missing if not isinstance(it, str))
        return replace(scheme, missing=(*scheme.missing, *numbers))
    kept = [name for name in scheme.class_names if name not in missing]
    if len(kept) == len(scheme.class_names):
        return scheme
    return scheme.merged({name: name for name in kept})
