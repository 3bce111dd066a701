"""Take the samples of a batch from the memory of open units."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts.batch import Batch
from zarrts.indexing.cuts import Fit
from zarrts.loading.postprocessing import PostProcessing
from zarrts.loading.schedule import Gather
from zarrts.reading.memory import BatchMemory, UnitMemory, labels_empty
from zarrts.reading.sample_reader import SampleInput, SampleReader
from zarrts.types import AnyArray, IntArray

# Name, shape of a sample and dtype of each input; shape and dtype of y.
_Shape = tuple[int, ...]
_Arrays = tuple[list[tuple[str, _Shape, np.dtype[Any]]], tuple[_Shape, np.dtype[Any]]]


@dataclass
class Building:
    """A batch of which some pieces are gathered.

    Attributes
    ----------
    lengths : int64, shape (n_samples,), or None
        Those of samples of unequal lengths.
    missing : int
        Samples that are not gathered yet.
    is_read : list of (slice, bool array)
        Which samples of some pieces could be read, where units are damaged.
    """

    ids: IntArray
    x: dict[str, AnyArray]
    y: AnyArray
    lengths: IntArray | None
    missing: int
    is_read: list[tuple[slice, NDArray[np.bool_]]] = field(default_factory=list)

    def batch(self, reader: SampleReader) -> tuple[Batch, AnyArray]:
        """Return what could be read, without targets, and its labels as stored."""
        x, y, ids, lengths = self.x, self.y, self.ids, self.lengths
        if self.is_read:
            kept = np.ones(len(ids), bool)
            for part, is_read in self.is_read:
                kept[part] = is_read
            x = {name: it[kept] for name, it in x.items()}
            y, ids = y[kept], ids[kept]
            lengths = None if lengths is None else lengths[kept]
        return batch_of(reader, x, ids, lengths), y


def batch_of(
    reader: SampleReader, x: dict[str, AnyArray], ids: IntArray, lengths: IntArray | None
) -> Batch:
    """Return a batch without targets.

    Parameters
    ----------
    lengths : int64, shape (n_samples,), or None
        Rows of each sample that are its own.
    """
    if lengths is None:
        return Batch(reader.handed_out(x), None, ids)
    of_inputs = {
        it.name: it.n_steps(lengths) for it in reader.inputs if not it.cut.is_of_equal_lengths
    }
    label_length = None if "" in of_inputs else lengths * reader.label_steps
    length = reader.handed_out(of_inputs) if of_inputs else None
    return Batch(reader.handed_out(x), None, ids, length, label_length=label_length)


class Gatherer:
    """Fills batches from open units, from any number of threads."""

    def __init__(self, reader: SampleReader, memory: UnitMemory, finish: PostProcessing) -> None:
        self._reader, self._cut = reader, reader.cut
        self._memory, self._finish = memory, finish

    def begin(self, gather: Gather, batches: Sequence[BatchMemory]) -> Building:
        """Return an empty batch, for the first of its pieces."""
        n, fit = gather.n_batch, gather.fit
        x_arrays, y_array = self._of_equal_lengths if fit is None else self._arrays(fit)
        return Building(
            ids=np.empty(n, np.int64),
            x={
                name: memory.empty((n, *shape), dtype)
                for (name, shape, dtype), memory in zip(x_arrays, batches, strict=True)
            },
            y=labels_empty((n, *y_array[0]), y_array[1]),
            lengths=None if fit is None else np.empty(n, np.int64),
            missing=n,
        )

    @cached_property
    def _of_equal_lengths(self) -> _Arrays:
        return self._arrays(None)

    def _arrays(self, fit: Fit | None) -> _Arrays:
        reader, inputs = self._reader, self._finish.inputs
        x = [(it.name, it.shape_of(fit), inputs[it.name].dtype) for it in reader.inputs]
        return x, (reader.y_shape(fit), reader.y_step[1])

    def gather(self, job: Gather, building: Building) -> None:
        """Fill the part of a batch that a piece is."""
        part = slice(job.piece.start, job.piece.stop)
        building.ids[part] = job.ids
        for it in self._reader.inputs:
            self._gather_x(it, job, building.x[it.name][part])
        if self._finish.target is not None:
            self._gather_y(job, self._reader.y_by_row(building.y[part], job.fit))
        if job.fit is not None and building.lengths is not None:
            building.lengths[part] = job.fit.kept
        if self._memory.damaged:
            is_read = ~np.isin(job.units, list(self._memory.damaged))
            building.is_read.append((part, is_read))  # as one step, in any thread

    def _gather_x(self, one: SampleInput, job: Gather, out: AnyArray) -> None:
        cut, fit = one.cut, None if one.cut.is_of_equal_lengths else job.fit
        runs, length = cut.x_runs, 1
        if runs is None:
            starts = cut.x_rows(job.rows, fit)
        else:
            steps, length = runs
            starts = job.rows.reshape(-1, *(1 for _ in steps.shape)) + steps
        by_row = one.by_row(out, fit)
        treatment = self._finish.inputs[one.name]
        treatment.gather(
            self._memory.rows_of(one.name), starts.ravel(), length, by_row, job.ids, fit
        )
        if fit is not None:
            by_row[fit.is_behind] = self._finish.pad_value

    def _gather_y(self, job: Gather, out: AnyArray) -> None:
        cut, memory = self._cut, self._memory
        if cut.y_of in ("recording", "sample"):
            out[...] = self._reader.spread(job.label_rows)
        elif memory.labels is not None:
            _take(memory.labels.y, cut.y_rows(job.label_rows, job.fit), out)
        else:
            rows, source = cut.y_rows(job.rows, job.fit), memory.rows_of(cut.y_input)
            values = out
            if cut.y_channels is not None:
                values = np.empty((*rows.shape, *source.shape[1:]), out.dtype)
            assert self._finish.of_targets is not None  # there are targets, and of x
            self._finish.of_targets.take_values(source, rows, values, job.ids)
            if cut.y_channels is not None:
                out[...] = values[..., cut.y_channels]


def _take(memory: AnyArray, rows: IntArray, out: AnyArray) -> None:
    # mode="clip" because "raise" copies through a buffer; the rows are in range by construction.
    memory.take(rows, axis=0, out=out, mode="clip")
