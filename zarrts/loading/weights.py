"""Weigh labels in the loss: by class, subject, sample or step, and 0 where they are missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zarrts.batch import Batch
from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.class_counts import class_counts
from zarrts.reading.load import count_classes
from zarrts.reading.missing_labels import (
    count_step_axes,
    count_unlabelled,
    presence,
    presence_of,
)
from zarrts.reading.selection import Selection
from zarrts.types import AnyArray, IntArray

FloatArray = NDArray[np.float32]
_WHOLE = ""  # the name of a single array of labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """Adds weights to batches; see `PostProcessing.weigh`. Dictionaries are by the name of labels.

    Attributes
    ----------
    scheme : LabelScheme
    selection : Ranges
        The samples that `by_sample` counts.
    n_step_axes : int
    has_gaps : bool
        Labels may be missing: these count 0, and are 0.
    by_class : dict of float32, shape (n_classes,)
    by_sample : dict of float32, shape (n_samples,)
    functions : dict of callable
        Called with the batch; they return weights of its samples.
    """

    scheme: LabelScheme
    selection: Ranges
    n_step_axes: int
    has_gaps: bool
    by_class: dict[str, FloatArray] = field(default_factory=dict)
    by_sample: dict[str, FloatArray] = field(default_factory=dict)
    functions: dict[str, Callable[[Batch], Any]] = field(default_factory=dict)

    def __call__(self, batch: Batch, stored: Any) -> Batch:
        """Return the batch with weights, and 0 where labels are missing."""
        numbers = self.selection.count_below(batch.sample_id)
        presence = {}
        if self.has_gaps:
            presence = presence_of(self.scheme, stored, self.n_step_axes)
        weights: dict[str, AnyArray] = {}
        targets: dict[str, AnyArray] = {}
        for name in self.scheme.parts or (_WHOLE,):
            y: Any = batch.y if name == _WHOLE else cast(Any, batch.y)[name]
            own = stored if name == _WHOLE else np.ascontiguousarray(stored[name])
            weight = self._of_samples(name, batch, numbers)
            if name in self.by_class:
                classes = self.scheme.parts.get(name, self.scheme).classes_of(own)
                weight = _times(weight, np.append(self.by_class[name], 0)[classes])
            if name in presence:
                weight = _times(weight, presence[name])
                y = np.where(_wide(presence[name], y.ndim), y, 0).astype(y.dtype)
            mask = batch.label_mask(weight.shape[1]) if weight.ndim > 1 else None
            if mask is not None:
                weight = _times(weight, mask)
            weights[name], targets[name] = weight.astype(np.float32), y
        if _WHOLE in weights:
            return replace(batch, y=targets[_WHOLE], sample_weight=weights[_WHOLE])
        return replace(batch, y=targets, sample_weight=weights)

    def _of_samples(self, name: str, batch: Batch, numbers: IntArray) -> AnyArray:
        weight: AnyArray = np.ones(len(numbers), np.float32)
        if name in self.by_sample:
            weight = self.by_sample[name][numbers]
        if name in self.functions:
            found = np.asarray(self.functions[name](batch), np.float32)
            if found.shape[:1] != weight.shape:
                raise SampleError(
                    f"sample_weight returned shape {found.shape} for a batch of {len(weight)} "
                    f"samples; return one weight each, shape ({len(weight)},)."
                )
            weight = found
        return weight


def weights_of(selection: Selection, given: Any, *, weighs_missing: bool) -> Weights | None:
    """Return what `sample_weight=` means; None where all labels count the same.

    Parameters
    ----------
    given : None, "class", "subject", dict, array or callable
        As for `BatchOptions`.
    weighs_missing : bool
        Where nothing is given, labels that are missing count 0 all the same.

    Raises
    ------
    SampleError
        If it does not fit the samples.
    """
    if given is None and not weighs_missing:
        return None
    has_gaps = presence(selection)[1] or count_unlabelled(selection) > 0
    if given is None and not has_gaps:
        return None
    found = Weights(
        scheme=selection.scheme,
        selection=selection.ids,
        n_step_axes=count_step_axes(selection.reader),
        has_gaps=has_gaps,
    )
    names = list(selection.scheme.parts) or [_WHOLE]
    is_by_output = isinstance(given, Mapping) and len(given) > 0 and set(given) <= set(names)
    for name in names:
        own = given.get(name) if is_by_output else given
        if own is None:
            continue
        if isinstance(own, str):
            _add_balanced(found, selection, name, own)
        elif isinstance(own, Mapping):
            _add_named(found, selection, name, own)
        elif callable(own):
            found.functions[name] = own
        else:
            found.by_sample[name] = _checked(own, len(selection))
    return found


def _checked(given: Any, n_samples: int) -> FloatArray:
    array = np.asarray(given, np.float32)
    if array.shape != (n_samples,):
        raise SampleError(
            f"sample_weight has shape {array.shape}, but there are {n_samples:,} samples: give one "
            f"weight each, shape ({n_samples},)."
        )
    return array


def _add_balanced(found: Weights, selection: Selection, name: str, how: str) -> None:
    if how == "subject":
        found.by_sample[name] = _of_subjects(selection, None)
    elif how == "class":
        scheme = _classes_of(selection, name)
        if name:
            counts = count_classes(selection.reader, scheme, selection.starts, name).sum(axis=0)
        else:
            counts = class_counts(selection)
        n_present = np.count_nonzero(counts)
        balanced = counts.sum() / (np.maximum(n_present, 1) * np.maximum(counts, 1))
        found.by_class[name] = balanced.astype(np.float32)
    else:
        raise SampleError(
            f"sample_weight={how!r} is unknown; use 'class', 'subject', a dict of classes or of "
            "subjects, an array with a weight for each sample, or a function of a batch."
        )


def _add_named(found: Weights, selection: Selection, name: str, given: Mapping[Any, float]) -> None:
    """Add weights of classes or subjects, whichever the keys are; 1 for those not named."""
    classes = selection.scheme.parts.get(name, selection.scheme).class_names or ()
    is_class = all(key in classes for key in given)
    is_subject = given.keys() <= set(selection.store.subjects)
    if is_class == is_subject:
        both = "both classes and subjects" if is_class else "neither all classes nor all subjects"
        some = ", ".join(repr(key) for key in list(given)[:5])
        hint = ""
        if not is_class and classes:
            hint = f" The classes are {', '.join(map(repr, classes[:10]))}."
        raise SampleError(
            f"sample_weight is a dict of {some}, which are {both}; give an array with a weight for "
            f"each sample, or name them all.{hint} Weights by code, as class_weight() gives them, "
            "are for fit(class_weight=...)."
        )
    if is_subject:
        found.by_sample[name] = _of_subjects(selection, given)
    else:
        _classes_of(selection, name)
        found.by_class[name] = np.array([given.get(it, 1) for it in classes], np.float32)


def _of_subjects(selection: Selection, given: Mapping[Any, float] | None) -> FloatArray:
    catalog = selection.store.catalog
    # Samples without a label count nothing, and so do not count here.
    counted = np.diff(presence(selection)[0].count_below(selection.starts))
    per_subject = np.bincount(catalog.subject_codes, counted, len(catalog.subjects))
    n_present = np.count_nonzero(per_subject)
    weights = per_subject.sum() / (max(n_present, 1) * np.maximum(per_subject, 1))
    if given is not None:
        weights = np.array([given.get(subject, 1) for subject in catalog.subjects])
    return np.repeat(weights[catalog.subject_codes], selection.per_recording).astype(np.float32)


def _classes_of(selection: Selection, name: str) -> LabelScheme:
    """Return the scheme of some labels, if each sample or step has one class."""
    scheme = selection.scheme.parts.get(name, selection.scheme)
    shape = selection.reader.label_shape(None if name == _WHOLE else name)
    n_axes = len(shape) - (scheme.encoding == "one_hot")
    steps = selection.view.cut.y_steps
    inside = count_step_axes(selection.reader) if steps is not None and steps.ndim == 0 else 0
    if scheme.class_names is None or selection.view.cut.y_of == "x":
        raise SampleError("sample_weight by class needs classes, but these labels are numbers.")
    if n_axes > inside:
        raise SampleError(
            "sample_weight by class needs one label a sample or step, but these are of several "
            "classes at once."
        )
    return scheme


def _wide(values: AnyArray, n_axes: int) -> AnyArray:
    return values.reshape(*values.shape, *(1 for _ in range(n_axes - values.ndim)))


def _times(weight: AnyArray, other: AnyArray) -> AnyArray:
    n_axes = max(weight.ndim, other.ndim)
    return _wide(weight, n_axes) * _wide(other, n_axes)
