"""Read selected samples, or only their labels, a chunk at a time."""

from collections.abc import Iterator, Sequence

import numpy as np

from zarrts.errors import SampleError
from zarrts.labels import Label, LabelScheme
from zarrts.memory import Readers, fetch
from zarrts.samples import ChunkUnits, Ranges
from zarrts.types import AnyArray, IntArray


def ids_by_unit(units: ChunkUnits) -> Iterator[tuple[int, IntArray]]:
    """Yield (unit, ids) of every unit that holds selected samples."""
    for unit in range(units.n_units):
        low, high = units.edges(np.array([unit, unit + 1]))
        if low < high:
            yield unit, units.selection.ids(np.arange(low, high))


def labels_by_unit(readers: Readers, units: ChunkUnits) -> Iterator[tuple[IntArray, AnyArray]]:
    """Yield (ids, labels as stored) of every unit that holds selected samples."""
    for unit, ids in ids_by_unit(units):
        segment, chunk = (int(it) for it in units.segments(np.array(unit)))
        reader = readers.y[segment]
        rows = np.empty(reader.spec.chunk_shape, reader.spec.dtype)
        reader.read_into(chunk, rows)
        yield ids, rows[ids - units.starts(np.array([unit]))]


def load_samples(readers: Readers, units: ChunkUnits) -> tuple[AnyArray, AnyArray]:
    """Return all selected samples, as stored, in RAM."""
    x_spec, y_spec, n_samples = readers.x[0].spec, readers.y[0].spec, len(units.selection)
    x = np.empty((n_samples, *x_spec.row_shape), x_spec.dtype)
    y = np.empty((n_samples, *y_spec.row_shape), y_spec.dtype)
    done = 0
    for _, ids in ids_by_unit(units):
        part = slice(done, done + len(ids))
        x[part], y[part] = fetch(readers, units, ids)
        done += len(ids)
    return x, y


def load_labels(readers: Readers, units: ChunkUnits) -> AnyArray:
    """Return the labels of all selected samples, as stored, in RAM."""
    spec = readers.y[0].spec
    parts = [stored for _, stored in labels_by_unit(readers, units)]
    return np.concatenate([np.empty((0, *spec.row_shape), spec.dtype), *parts])


def samples_of_classes(
    readers: Readers, units: ChunkUnits, scheme: LabelScheme, names: Sequence[Label] | Label
) -> Ranges:
    """Return the selected samples with one of some classes; reads the labels.

    Raises
    ------
    SampleError
        If there are no classes, a name is unknown, or samples have several labels each.
    """
    if scheme.class_names is None:
        raise SampleError("These labels are numbers, not classes; select by ids instead.")
    wanted = [names] if isinstance(names, str | int) else list(names)
    unknown = [str(name) for name in wanted if name not in scheme.class_names]
    if unknown:
        some = ", ".join(str(name) for name in scheme.class_names[:10])
        raise SampleError(f"No class named {', '.join(unknown)}; the classes are {some}.")
    codes = [scheme.class_names.index(name) for name in wanted]
    parts = []
    for ids, stored in labels_by_unit(readers, units):
        classes = scheme.classes_of(stored)
        if classes.ndim > 1:
            raise SampleError("Samples with several labels each cannot be selected by class.")
        parts.append(ids[np.isin(classes, codes)])
    return Ranges.of_ids(np.concatenate([np.zeros(0, np.int64), *parts]))


def count_classes(readers: Readers, units: ChunkUnits, scheme: LabelScheme) -> IntArray:
    """Return how many labels of each class the selected samples have; reads the labels."""
    n_classes = len(scheme.class_names or ())
    total = np.zeros(n_classes, np.int64)
    for _, stored in labels_by_unit(readers, units):
        total += np.bincount(scheme.classes_of(stored).reshape(-1), minlength=n_classes)
    return total
