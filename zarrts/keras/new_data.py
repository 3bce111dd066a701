"""New data for a network that was trained: arrays as recordings, labels as known classes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.cuts import Cut, TargetOf, View
from zarrts.indexing.indexes import WindowIndex
from zarrts.indexing.windows import picked_label
from zarrts.keras.source_cuts import refuse_no_events
from zarrts.keras.spec import Spec
from zarrts.keywords import first_names
from zarrts.labels.scheme import LabelScheme
from zarrts.loops.votes import majority
from zarrts.reading.bad_rows import without_bad_rows
from zarrts.samples import Samples
from zarrts.timeline import stretches
from zarrts.types import IntArray, Label, Recording


def is_array(given: Any) -> bool:
    """Return whether something is an array in memory, or acts as one."""
    return hasattr(given, "shape") and hasattr(given, "dtype")


def as_recordings(given: Any, spec: Spec) -> Any:
    """Return sources in which each array is a recording without labels; others as they are.

    Where a sample is not a row, an array with one axis more than a series is several series of
    equal length.
    """
    items = given if isinstance(given, list | tuple) else [given]
    found: list[Any] = []
    for number, item in enumerate(items):
        if not is_array(item):
            found.append(item)
            continue
        name = f"array {number}"
        n_axes = len(spec.row_shape) + 1
        if not spec.takes_rows and len(item.shape) == n_axes + 1:
            found += [Recording(f"{name}[{i}]", item[i], None) for i in range(item.shape[0])]
        else:
            found.append(Recording(name, item, None))
    return found


def cut_at(
    samples: Samples, spec: Spec, at: Any, stride: int | None, *, has_labels: bool
) -> Samples:
    """Return windows at events of the recordings of a store, as the network takes them.

    Raises
    ------
    SampleError
        If these are windows already, there is no event, or labels are asked for and events have
        none.
    """
    refuse_no_events(spec, stride, at)
    selection = samples.selection
    if not selection.is_as_stored or spec.x_steps is None or spec.takes_rows:
        raise SampleError("at= cuts recordings, but these samples are cut already; leave it out.")
    before, steps = spec.before or 0, np.array(spec.x_steps, np.int64)
    is_row = selection.store.header.labels_per == "row" and not has_labels
    found = samples.windows(
        at=at,
        before=before,
        after=int(steps.max()) + 1 - before,
        label="first" if is_row else "recording",
    ).selection
    view = found.view
    cut = replace(view.cut, x_steps=steps)
    found = replace(found, view=replace(view, cut=cut, drops_bad=spec.drops_bad))
    return Samples(without_bad_rows(found) if spec.drops_bad else found)


def cut_like(samples: Samples, spec: Spec, stride: int | None, *, has_labels: bool) -> Samples:
    """Return windows of recordings, as the network takes them; other samples as they are.

    Parameters
    ----------
    stride : int, optional
        In rows; by default windows do not overlap.
    has_labels : bool
        Whether labels are asked for.

    Raises
    ------
    SampleError
        If no window fits, or labels are asked for that the spec does not describe.
    """
    selection = samples.selection
    is_whole = selection.is_as_stored and not selection.view.cut.is_of_equal_lengths
    if not is_whole or spec.x_steps is None or spec.takes_rows:
        return samples
    refuse_no_events(spec, stride, None)
    steps = np.array(spec.x_steps, np.int64)
    labels = refuse_unknown_labels(spec) if has_labels else np.zeros((), np.int64)
    span = int(max(steps.max(), labels.max(initial=0))) + 1
    reduce = None
    if has_labels and spec.majority is not None:
        missing = selection.scheme.missing_values
        reduce = partial(majority, missing=missing, min_labelled=spec.majority, purity=spec.purity)
    if has_labels and spec.picked is not None:
        steps_here = selection.store.header.segments[0].label_steps
        if steps_here != spec.label_steps:
            raise SampleError(
                f"{samples!r} has {steps_here:,} labels in a row, but the network was trained with "
                f"{spec.label_steps:,}, of which one is that of a window; cut windows, and "
                "evaluate these."
            )
        reduce = partial(picked_label, step=spec.picked)
    y_of: TargetOf = "row" if has_labels and spec.y_of == "row" else "recording"
    cut = Cut(x_steps=steps, y_steps=labels, y_of=y_of, reduce=reduce)
    catalog = selection.store.catalog
    breaks = catalog.row_starts if catalog.gaps is None else catalog.gaps.rows
    stride = int(steps.max()) + 1 if stride is None else stride
    index = WindowIndex.of(*stretches(catalog.row_starts, breaks), span, stride)
    key = ("like", str(spec.x_steps), str(spec.y_steps), y_of, spec.majority, spec.picked, stride)
    found = selection.viewed(View(index, cut, key, spec.drops_bad))
    if len(found) == 0:
        raise SampleError(
            f"The recordings of {samples!r} are all shorter than the {span:,} rows that the "
            "network takes."
        )
    return Samples(without_bad_rows(found) if spec.drops_bad else found)


def refuse_unknown_labels(spec: Spec) -> IntArray:
    """Return the steps whose labels are those of a window.

    Raises
    ------
    SampleError
        If the spec does not say it.
    """
    if spec.y_of not in ("row", "recording") or spec.y_steps is None:
        raise SampleError(
            "like= does not say how labels of rows become those of a sample (label= was a "
            "function, target= was 'x', or an older zarrts saved it); convert the files, cut "
            "the same windows of that store, and evaluate these."
        )
    return np.array(spec.y_steps, np.int64)


def with_classes_of(samples: Samples, spec: Spec) -> Samples:
    """Return samples of a store with their classes merged as in the training.

    Raises
    ------
    SampleError
        If they have classes that the network was not trained on, or none.
    """
    scheme, known = samples.selection.scheme, spec.class_names or ()
    if scheme.class_names is None:
        raise SampleError(
            f"{samples.store.path} has labels that are not one array of classes, but the network "
            f"was trained on {first_names(known)}."
        )
    if not scheme.class_names:
        raise SampleError(
            f"{samples.store.path} has no labels, so that nothing can be right or wrong; use "
            "zarrts.predict."
        )
    new = [name for name in scheme.class_names if name not in known]
    merges = dict(spec.merges or ())
    if new and merges and all(name in merges for name in scheme.class_names):
        return Samples(samples.selection.with_scheme(_merged(scheme, spec, merges)))
    if new:
        raise SampleError(
            f"{samples.store.path} has the classes {first_names(scheme.class_names)}, but the "
            f"network was trained on {first_names(known)}; convert both with the same classes, or "
            "choose and name them alike: samples.select(classes={'sit': ['sit', 'lie'], ...})."
        )
    return samples


def _merged(scheme: LabelScheme, spec: Spec, merges: dict[Label, Label | None]) -> LabelScheme:
    there = scheme.class_names or ()
    parts = {new: [old for old in there if merges[old] == new] for new in spec.class_names or ()}
    return scheme.merged({new: old for new, old in parts.items() if old})


def codes_in(names: Sequence[Label] | None, known: Sequence[Label]) -> IntArray:
    """Return the position among `known` of each of some classes, and -1 for code -1."""
    positions = {name: code for code, name in enumerate(known)}
    return np.array([*(positions[name] for name in names or ()), -1], np.int64)
