"""Take the samples of a batch from the memory of open units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.loading.postprocessing import PostProcessing
from zarrts.loading.schedule import Gather
from zarrts.reading.memory import BatchMemory, UnitMemory, aligned_empty
from zarrts.reading.sample_reader import SampleReader
from zarrts.types import AnyArray, Batch, IntArray


@dataclass
class Building:
    """A batch of which some pieces are gathered.

    `lengths` are those of samples of unequal lengths; `is_read` says which could be read.
    """

    ids: IntArray
    x: AnyArray
    y: AnyArray
    lengths: IntArray | None
    is_read: NDArray[np.bool_]
    missing: int

    def batch(self) -> tuple[Batch, AnyArray]:
        """Return what could be read, without targets, and its labels as stored."""
        x, y, ids, lengths = self.x, self.y, self.ids, self.lengths
        if not self.is_read.all():
            x, y, ids = (it[self.is_read] for it in (x, y, ids))
            lengths = None if lengths is None else lengths[self.is_read]
        return Batch(x, None, ids, lengths), y


class Gatherer:
    """Fills batches from open units, from any number of threads."""

    def __init__(self, reader: SampleReader, memory: UnitMemory, finish: PostProcessing) -> None:
        self._reader, self._cut = reader, reader.cut
        self._memory, self._finish = memory, finish

    def begin(self, gather: Gather, batches: BatchMemory) -> Building:
        """Return an empty batch, for the first of its pieces."""
        n, fit = gather.n_batch, gather.fit
        x_shape = (n, *self._cut.n_x(fit), *self._memory.x.shape[2:])
        y_step, y_dtype = self._reader.y_step
        return Building(
            ids=np.empty(n, np.int64),
            x=batches.empty(x_shape, self._finish.dtype),
            y=aligned_empty((n, *self._cut.n_y(fit), *y_step), y_dtype),
            lengths=None if fit is None else np.empty(n, np.int64),
            is_read=np.ones(n, bool),
            missing=n,
        )

    def gather(self, job: Gather, building: Building) -> None:
        """Fill the part of a batch that a piece is."""
        part = slice(job.piece.start, job.piece.stop)
        building.ids[part] = job.ids
        self._gather_x(job, building.x[part])
        if self._finish.target is not None:
            self._gather_y(job, building.y[part])
        if job.fit is not None and building.lengths is not None:
            building.lengths[part] = job.fit.kept
            building.x[part][job.fit.is_behind] = self._finish.pad_value
        if self._memory.damaged:
            building.is_read[part] = ~np.isin(job.units, list(self._memory.damaged))

    def _gather_x(self, job: Gather, out: AnyArray) -> None:
        runs, length = self._cut.x_runs, 1
        if runs is None:
            starts = self._cut.x_rows(job.rows, job.fit)
        else:
            steps, length = runs
            starts = job.rows.reshape(-1, *(1 for _ in steps.shape)) + steps
        memory = self._memory.rows_of_x
        self._finish.gather(memory, starts.ravel(), length, out, job.ids, job.fit)

    def _gather_y(self, job: Gather, out: AnyArray) -> None:
        cut, memory = self._cut, self._memory
        if cut.y_of in ("recording", "sample"):
            out[...] = self._reader.spread(job.label_rows)
        elif memory.labels is not None:
            _take(memory.labels.y, cut.y_rows(job.label_rows, job.fit), out)
        else:
            rows, source = cut.y_rows(job.rows, job.fit), memory.rows_of_x
            values = out
            if cut.y_channels is not None:
                values = np.empty((*rows.shape, *source.shape[1:]), out.dtype)
            self._finish.take_values(source, rows, values, job.ids)
            if cut.y_channels is not None:
                out[...] = values[..., cut.y_channels]


def _take(memory: AnyArray, rows: IntArray, out: AnyArray) -> None:
    # mode="clip" because "raise" copies through a buffer; the rows are in range by construction.
    memory.take(rows, axis=0, out=out, mode="clip")
