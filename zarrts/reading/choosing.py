"""Choose samples by subject, class or id, and read a single one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.inputs import handed_out
from zarrts.labels.label_sets import by_name, check_named, merged_parts
from zarrts.reading.load import load_one, samples_of_classes
from zarrts.reading.missing_labels import labelled
from zarrts.reading.selection import Selection
from zarrts.types import Inputs, IntArray, Label, Labels


def choose(
    selection: Selection,
    *,
    subjects: Sequence[str] | None,
    classes: Sequence[Label] | Mapping[Label, Any] | None,
    ids: Sequence[int] | IntArray | None,
) -> Selection:
    """Return those samples of a selection that meet every condition; see `Samples.select`."""
    found, scheme = selection, selection.scheme
    if subjects is not None:
        found = found.of_recordings(selection.store.catalog.recordings_of(subjects))
    if ids is not None:
        wanted = Ranges.of_ids(np.asarray(ids))
        found = found.narrowed(wanted)
        if len(found) < len(wanted):
            raise SampleError(f"{len(wanted) - len(found)} of the ids are not among these samples.")
    if classes is None:
        return found
    if scheme.parts:
        return _of_several(found, check_named(scheme, classes))
    if isinstance(classes, Mapping):
        return labelled(found.with_scheme(scheme.merged(classes)))
    return found.narrowed(samples_of_classes(found.reader, scheme, classes))


def _of_several(selection: Selection, classes: Mapping[str, Any]) -> Selection:
    """Return samples of some classes of several arrays of labels, or with classes merged."""
    found = selection
    for name, own in classes.items():
        if not isinstance(own, Mapping):
            part = selection.scheme.parts[name]
            found = found.narrowed(samples_of_classes(found.reader, part, own, name))
    merges = {name: own for name, own in classes.items() if isinstance(own, Mapping)}
    if merges:
        found = labelled(found.with_scheme(merged_parts(selection.scheme, merges)))
    return found


def sample_at(selection: Selection, index: int) -> tuple[Inputs, Labels]:
    """Return input and label, as stored, of the index-th sample of a selection."""
    if not isinstance(index, int | np.integer):
        raise TypeError(
            f"samples[{index!r}]: only a single position; use select(ids=...) for several."
        )
    position = int(index) + (len(selection) if index < 0 else 0)
    if not 0 <= position < len(selection):
        raise IndexError(f"sample {index} of {len(selection)}")
    x, y = load_one(selection.reader, selection.ids.ids(np.array([position], np.int64)))
    return handed_out(x), by_name(y)
