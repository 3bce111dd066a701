"""Count the labels of each class that samples have, and weigh classes by that."""

from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.labels.class_weight import check_class_weight
from zarrts.reading.load import count_classes
from zarrts.reading.selection import Selection, once
from zarrts.types import IntArray


@once
def class_counts(selection: Selection) -> IntArray:
    """Return how many labels of each class these samples have, shape (n_classes,)."""
    return np.asarray(class_counts_by_recording(selection).sum(axis=0))


@once
def class_counts_by_recording(selection: Selection) -> IntArray:
    """Return the same for each recording of the store, shape (n_recordings, n_classes).

    Labels are read only of windows, and of recordings that are selected in part.

    Raises
    ------
    SampleError
        If labels are not classes.
    """
    counts, scheme, cut = selection.store.catalog.class_counts, selection.scheme, selection.view.cut
    if cut.y_of == "sample" and scheme.class_names is not None:
        return count_classes(selection.reader, scheme, selection.starts)
    if counts is None or scheme.class_names is None:
        raise SampleError(
            "These labels are numbers, not classes; if they are classes saved as floats, "
            "convert with class_names=[0, 1, ...]."
        )
    if cut.y_of == "x":
        raise SampleError("The targets of these samples are values of x, not classes.")
    if scheme.merges is not None:
        counts = scheme.merges.summed(counts, len(scheme.class_names))
    if cut.y_of == "recording":
        return np.asarray(selection.per_recording[:, None] * counts)
    whole, partial = selection.whole_and_partial()
    found = np.zeros_like(counts)
    found[whole] = counts[whole]
    if partial is not None:
        found += count_classes(partial.reader, scheme, selection.starts)
    return found


def class_weight(selection: Selection) -> dict[int, float]:
    """Return Keras' `class_weight` that balances the classes: n / (n_classes * count).

    Raises
    ------
    SampleError
        If samples have several labels each, which Keras would weigh wrongly without a word.
    """
    parts = selection.scheme.parts
    if parts:
        raise SampleError(
            "class_weight is for one array of labels, but there are "
            f"{', '.join(parts)}; use ZarrSequence(sample_weight="
            f"{{{next(iter(parts))!r}: 'class'}})."
        )
    counts = class_counts(selection)
    _refuse_several_labels(selection)
    present = np.flatnonzero(counts)
    return {int(code): float(counts.sum() / (len(present) * counts[code])) for code in present}


def refuse_class_weight(selection: Selection, given: Any, label_mode: object) -> None:
    """Refuse a `class_weight` of `fit` that Keras would ignore, or take for something else.

    Of several arrays of labels Keras refuses each by itself.

    Raises
    ------
    SampleError
        If it is not a dict, names what is not a class, or samples have several labels each.
    """
    if selection.scheme.parts:
        return
    _refuse_several_labels(selection)
    check_class_weight(given, label_mode, selection.scheme)


def _refuse_several_labels(selection: Selection) -> None:
    # A sample has a label for each step, or several at once.
    reader, cut = selection.reader, selection.view.cut
    shape = reader.y_step[0] if cut.y_of == "x" else reader.label_shape()
    n_axes = len(shape) - (selection.scheme.encoding == "one_hot")
    if n_axes > 0 or cut.y_steps is None or cut.n_label_axes > 0:
        raise SampleError(
            "Keras' class_weight is for samples with one label each, but these have several; "
            "use ZarrSequence(sample_weight='class')."
        )
