"""Read all selected samples, or only their labels, a bounded number at a time."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.cuts import Fit
from zarrts.indexing.units import Ranges
from zarrts.inputs import handed_out
from zarrts.keywords import unknown_names
from zarrts.labels.label_sets import by_name
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.read_ahead import units_ahead
from zarrts.reading.sample_reader import SampleReader
from zarrts.sizes import format_budget, parse_size
from zarrts.types import AnyArray, IntArray, Label, Labels

_PIECE_BYTES = 32 << 20

Loaded = AnyArray | list[AnyArray] | dict[str, AnyArray | list[AnyArray]]
"""Inputs in memory: an array, or a list of samples of unequal lengths; of several, each by name."""


def ids_by_unit(reader: SampleReader, *, reads_x: bool = True) -> Iterator[IntArray]:
    """Yield the selected ids, those of one unit after the other, no more than fit into memory.

    `reads_x` says whether x of them will be read, beside their labels.
    """
    units: Any = range(reader.units.n_units)
    if reader.readers.is_remote:
        some = reader.inputs_read if reads_x else reader.inputs_read[len(reader.inputs) :]
        if reader.cut.y_of == "x" and not reads_x:
            some = (reader.target_input,)
        ahead = [it.readers for it in some]
        ahead += [reader.readers.y] * reader.has_row_labels
        units = units_ahead(reader, ahead, _PIECE_BYTES)
    yield from _ids_of(reader, units)


def _ids_of(reader: SampleReader, numbers: Iterable[int]) -> Iterator[IntArray]:
    units = reader.units
    step = max(1, _PIECE_BYTES // max(1, reader.max_bytes))
    for unit in numbers:
        low, high = units.edges(np.array([unit, unit + 1])).tolist()
        for start in range(low, high, step):
            yield units.selection.ids(np.arange(start, min(start + step, high)))


def labels_by_unit(reader: SampleReader) -> Iterator[tuple[IntArray, AnyArray]]:
    """Yield (ids, labels as stored) of the selected samples."""
    for ids in ids_by_unit(reader, reads_x=False):
        yield ids, reader.cut.reduced(reader.fetch_y(ids))


def count_bytes(reader: SampleReader) -> int:
    """Return how much memory all selected samples take, as stored."""
    units, cut = reader.units, reader.cut
    (shape, dtype), row_bytes = reader.y_step, 0
    fixed_bytes = 0
    for it in reader.inputs:
        if it.cut.x_steps is None:
            row_bytes += it.spec.row_bytes
        else:
            fixed_bytes += it.cut.x_steps.size * it.spec.row_bytes
    n_samples = len(units.selection)
    label_bytes = math.prod(shape) * dtype.itemsize
    if cut.x_steps is not None and cut.y_steps is not None:
        return n_samples * (fixed_bytes + cut.y_steps.size * label_bytes)
    n_rows = int(reader.lengths(units.selection.ids(np.arange(n_samples))).sum())
    n_labels = n_rows if cut.y_steps is None else n_samples
    return n_rows * row_bytes + n_samples * fixed_bytes + n_labels * label_bytes


def load(reader: SampleReader, memory: int | str) -> tuple[Loaded, Labels | list[Labels]]:
    """Return all selected samples as arrays (x, y) in RAM; see `Samples.load`.

    Raises
    ------
    SampleError
        If they take more than `memory`.
    """
    limit = parse_size(memory, "memory")
    needed = count_bytes(reader)
    if needed > limit:
        raise SampleError(
            f"{len(reader.units.selection):,} samples take {format_budget(needed)} in memory, more "
            f"than memory={format_budget(limit)}; use batches(), or raise memory."
        )
    if reader.cut.is_of_equal_lengths:
        x, y = load_samples(reader)
        return handed_out(x), by_name(y)
    series, labels = load_series(reader)
    return handed_out(series), labels_by_name(labels)


def labels_by_name(stored: AnyArray | list[AnyArray]) -> Labels | list[Labels]:
    """Return labels as users get them: those of several arrays as a dict of arrays."""
    return [by_name(it) for it in stored] if isinstance(stored, list) else by_name(stored)


def load_one(reader: SampleReader, ids: IntArray) -> tuple[dict[str, AnyArray], AnyArray]:
    """Return inputs by name and label, as stored, of a single sample."""
    fit = None if reader.cut.is_of_equal_lengths else _to_the_end(reader, ids)
    x, y = reader.fetch(ids, fit)
    return {name: it[0] for name, it in x.items()}, reader.cut.reduced(y)[0]


def load_samples(reader: SampleReader) -> tuple[dict[str, AnyArray], AnyArray]:
    """Return all selected samples, as stored, in RAM; inputs by name."""
    n_samples = len(reader.units.selection)
    x = {it.name: np.empty((n_samples, *it.shape_of(None)), it.spec.dtype) for it in reader.inputs}
    labels, done = [], 0
    for ids in ids_by_unit(reader):
        rows, stored = reader.fetch(ids)
        for name, of_input in rows.items():
            x[name][done : done + len(ids)] = of_input
        labels.append(reader.cut.reduced(stored))
        done += len(ids)
    return x, _joined(reader, labels)


def load_series(
    reader: SampleReader,
) -> tuple[dict[str, AnyArray | list[AnyArray]], AnyArray | list[AnyArray]]:
    """Return all selected samples of unequal lengths, as stored, in RAM, and labels.

    Inputs are lists by name; those that do not change in time are arrays.
    """
    parts: dict[str, list[AnyArray]] = {it.name: [] for it in reader.inputs}
    labels: list[AnyArray] = []
    for ids in ids_by_unit(reader):
        fit = _to_the_end(reader, ids)
        x, y = reader.fetch(ids, fit)
        for one in reader.inputs:
            rows = x[one.name]
            if one.cut.is_of_equal_lengths:
                parts[one.name].append(rows)
                continue
            lengths = one.n_steps(fit.lengths)
            parts[one.name] += (it[:n].copy() for it, n in zip(rows, lengths, strict=True))
        if reader.cut.y_steps is None:
            lengths = fit.lengths * reader.label_steps
            labels += (it[:n].copy() for it, n in zip(y, lengths, strict=True))
        else:
            labels.append(y)
    series = {
        it.name: np.concatenate(parts[it.name]) if it.cut.is_of_equal_lengths else parts[it.name]
        for it in reader.inputs
    }
    return series, labels if reader.cut.y_steps is None else _joined(reader, labels)


def _to_the_end(reader: SampleReader, ids: IntArray) -> Fit:
    lengths = reader.lengths(ids)
    return Fit(lengths=lengths, n_steps=int(lengths.max()))


def load_labels(reader: SampleReader) -> AnyArray | list[AnyArray]:
    """Return the labels of all selected samples, as stored, in RAM; a list where rows have some."""
    if reader.cut.y_steps is None:
        labels: list[AnyArray] = []
        for ids in ids_by_unit(reader, reads_x=False):
            fit = _to_the_end(reader, ids)
            stored = reader.fetch_y(ids, fit)
            lengths = fit.lengths * reader.label_steps
            labels += (it[:n].copy() for it, n in zip(stored, lengths, strict=True))
        return labels
    return _joined(reader, [stored for _, stored in labels_by_unit(reader)])


def _joined(reader: SampleReader, labels: Sequence[AnyArray]) -> AnyArray:
    if labels:
        return np.concatenate(labels)
    return np.empty((0, *reader.y_shape(None)), reader.y_step[1])


def samples_of_classes(
    reader: SampleReader,
    scheme: LabelScheme,
    names: Sequence[Label] | Label,
    array: str | None = None,
) -> Ranges:
    """Return the selected samples with one of some classes; reads the labels.

    Parameters
    ----------
    array : str, optional
        Of several arrays of labels, the one that `scheme` is of.

    Raises
    ------
    SampleError
        If there are no classes, a name is unknown, or samples have several labels each.
    """
    if scheme.class_names is None:
        which = "These labels" if array is None else f"The labels {array!r}"
        raise SampleError(f"{which} are numbers, not classes; select by ids instead.")
    wanted = [names] if isinstance(names, str | int) else list(names)
    unknown = [str(name) for name in wanted if name not in scheme.class_names]
    if unknown:
        raise SampleError(unknown_names("No class", unknown, scheme.class_names, "classes"))
    _refuse_several_labels(reader, scheme, array)
    codes = [scheme.class_names.index(name) for name in wanted]
    parts = []
    for ids, stored in labels_by_unit(reader):
        own = stored if array is None else np.ascontiguousarray(stored[array])
        parts.append(ids[np.isin(scheme.classes_of(own), codes)])
    return Ranges.of_ids(np.concatenate([np.zeros(0, np.int64), *parts]))


def read_classes(
    reader: SampleReader, scheme: LabelScheme, dtype: "np.dtype[Any] | None" = None
) -> AnyArray:
    """Return the class of each selected sample, -1 where its label is missing; reads the labels.

    Parameters
    ----------
    dtype : numpy.dtype, optional
        Of what is returned, which of very many samples may be short; int64 by default.

    Raises
    ------
    SampleError
        If there are no classes, or samples have several labels each.
    """
    if scheme.class_names is None:
        raise SampleError("These labels are not classes of one kind: they are numbers, or several.")
    _refuse_several_labels(reader, scheme)
    classes = np.empty(len(reader.units.selection), np.int64 if dtype is None else dtype)
    done = 0
    for ids, stored in labels_by_unit(reader):
        classes[done : done + len(ids)] = scheme.classes_of(stored)
        done += len(ids)
    return classes


def _refuse_several_labels(
    reader: SampleReader, scheme: LabelScheme, array: str | None = None
) -> None:
    shape = reader.label_shape(array)
    n_axes = len(shape[:-1] if scheme.encoding == "one_hot" else shape)
    steps = reader.cut.y_steps
    has_one_step = steps is not None and reader.cut.n_label_axes == 0
    if n_axes or not has_one_step:
        raise SampleError("These samples have several labels each, and so are of no one class.")


def count_classes(
    reader: SampleReader, scheme: LabelScheme, starts: IntArray, name: str | None = None
) -> IntArray:
    """Return how many labels of each class the selected samples of each recording have.

    It reads the labels.

    Parameters
    ----------
    starts : int64, shape (n_recordings + 1,)
        First id of each recording of the store, and the number of ids.
    name : str, optional
        Of several arrays of labels, the one that `scheme` is of.

    Returns
    -------
    int64, shape (n_recordings, n_classes)
    """
    total = np.zeros((len(starts) - 1, len(scheme.class_names or ())), np.int64)
    for ids in ids_by_unit(reader, reads_x=False):
        fit = None if reader.cut.is_of_equal_lengths else _to_the_end(reader, ids)
        stored = reader.cut.reduced(reader.fetch_y(ids, fit))
        own = stored if name is None else np.ascontiguousarray(stored[name])
        classes = scheme.classes_of(own)
        is_counted = classes >= 0
        if fit is not None and reader.cut.y_steps is None:
            is_counted[reader.labels_behind(fit)] = False
        recording = np.searchsorted(starts, ids, "right") - 1
        recording = np.broadcast_to(
            recording.reshape(-1, *(1 for _ in classes.shape[1:])), classes.shape
        )
        np.add.at(total, (recording[is_counted], classes[is_counted]), 1)
    return total
