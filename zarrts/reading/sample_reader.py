"""Read samples of an open store, whatever a sample is: on their own, without a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from zarrts.indexing.cuts import Cut, Fit
from zarrts.indexing.units import ChunkUnits
from zarrts.reading.memory import aligned_empty
from zarrts.storage.chunks import ChunkReader, read_rows
from zarrts.storage.readers import Readers
from zarrts.types import AnyArray, IntArray


@dataclass(frozen=True, kw_only=True)
class SampleReader:
    """The selected samples of a store, and how they are read and cut.

    Attributes
    ----------
    readers : Readers
    units : ChunkUnits
        Where the selected samples lie.
    cut : Cut
        What of their rows is x, and what y is.
    offsets : int64, shape (n_recordings + 1,)
        First row of each recording, counted through all segments.
    """

    readers: Readers
    units: ChunkUnits
    cut: Cut
    offsets: IntArray

    def with_run(self, run: int) -> "SampleReader":
        """Return the same samples, read in units of `run` chunks."""
        return self if run == self.units.run else replace(self, units=self.units.with_run(run))

    @property
    def has_row_labels(self) -> bool:
        """Whether labels are read beside the rows of x, chunk by chunk."""
        return self.cut.y_of == "row"

    @property
    def unit_row_bytes(self) -> int:
        """Memory that a row of an open unit takes, as it is held there, its label included."""
        x, y = self.readers.held[0].spec, self.readers.y[0].spec
        return x.row_bytes + (y.row_bytes if self.has_row_labels else 0)

    @property
    def unit_bytes(self) -> int:
        """Most memory that an open unit takes."""
        return self.units.rows * self.unit_row_bytes

    @property
    def max_bytes(self) -> int:
        """Most memory that x of one sample takes, as stored."""
        spec, steps = self.readers.x[0].spec, self.cut.x_steps
        n_steps = self.units.index.max_rows if steps is None else steps.size
        return n_steps * spec.row_bytes

    @property
    def lengths_of_store(self) -> IntArray:
        """Return how many rows the samples of the store have, selected or not."""
        lengths = self.lengths(np.arange(self.units.index.n_samples))
        return lengths[lengths > 0]

    def lengths(self, ids: IntArray) -> IntArray:
        """Return how many rows some samples have."""
        return self.units.index.n_rows(ids)

    @property
    def y_step(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of what y has for each of its steps, as stored."""
        if self.cut.labels is not None:
            return self.cut.labels.shape[1:], self.cut.labels.dtype
        if self.cut.y_of != "x":
            spec = self.readers.y[0].spec
            return spec.row_shape, spec.dtype
        spec = self.readers.x[0].spec
        if self.cut.y_channels is None:
            return spec.row_shape, spec.dtype
        return (*spec.row_shape[:-1], len(self.cut.y_channels)), spec.dtype

    @property
    def label_step(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of a label, as stored, whatever the target is."""
        spec, given = self.readers.y[0].spec, self.cut.labels
        return (spec.row_shape, spec.dtype) if given is None else (given.shape[1:], given.dtype)

    @cached_property
    def labels_of_recordings(self) -> AnyArray:
        """Labels of all recordings, as stored; read once, where there is one for each."""
        return np.concatenate([read_rows(it, 0, it.spec.shape[0]) for it in self.readers.y])

    def recordings(self, rows: IntArray) -> IntArray:
        """Return which recordings some rows belong to."""
        return np.searchsorted(self.offsets, rows, "right") - 1

    def spread(self, owners: IntArray) -> AnyArray:
        """Return labels in the shape of y: of some recordings, or of samples by their ids."""
        steps, given = self.cut.y_steps, self.cut.labels
        assert steps is not None
        labels = (self.labels_of_recordings if given is None else given)[owners]
        spread = labels.reshape(len(labels), *(1 for _ in steps.shape), *labels.shape[1:])
        shape = (len(labels), *steps.shape, *labels.shape[1:])
        return np.broadcast_to(spread, shape)

    def fetch(self, ids: IntArray, fit: Fit | None = None) -> tuple[AnyArray, AnyArray]:
        """Return stored inputs and labels of some samples, in the order asked for.

        Parameters
        ----------
        ids : int64, shape (n_samples,)
        fit : Fit, optional
            Where samples are of unequal lengths; what is behind the end of one is not defined.

        Returns
        -------
        x and y, each of shape (n_samples, ...)
        """
        return self.fetch_x(ids, fit), self.fetch_y(ids, fit)

    def fetch_x(self, ids: IntArray, fit: Fit | None = None, *, as_held: bool = False) -> AnyArray:
        """Return inputs of some samples.

        Parameters
        ----------
        as_held : bool
            As the memory of open chunks holds them: counts, where all of x is counts.
        """
        readers = self.readers.held if as_held else self.readers.x
        spec = readers[0].spec
        rows = self.cut.x_rows(self.units.index.first_rows(ids), fit)
        out = aligned_empty((*rows.shape, *spec.row_shape), spec.dtype)
        self._fill(out, rows, readers, self.units.unit_of(ids))
        return out

    def fetch_y(self, ids: IntArray, fit: Fit | None = None) -> AnyArray:
        """Return stored labels (or values, where these are the target) of some samples."""
        firsts = self.units.index.first_rows(ids)
        if self.cut.y_of == "recording":
            return np.array(self.spread(self.recordings(firsts)))
        if self.cut.y_of == "sample":
            return np.array(self.spread(ids))
        rows = self.cut.y_rows(firsts, fit)
        shape, dtype = self.y_step
        out = aligned_empty((*rows.shape, *shape), dtype)
        if self.cut.y_of == "row":
            self._fill(out, rows, self.readers.y, self.units.unit_of(ids))
        else:
            self._fill(out, rows, self.readers.x, self.units.unit_of(ids), self.cut.y_channels)
        return out

    def _fill(
        self,
        out: AnyArray,
        rows: IntArray,
        readers: Sequence[ChunkReader],
        owners: IntArray,
        channels: IntArray | None = None,
    ) -> None:
        """Read rows of the samples of one unit after the other."""
        for unit in np.unique(owners):
            wanted = np.flatnonzero(owners == unit)
            segment = int(self.units.segment_of(unit))
            first = self.units.first_row_of(segment)
            low, high = int(rows[wanted].min()), int(rows[wanted].max()) + 1
            block = read_rows(readers[segment], low - first, high - first)
            out[wanted] = (block if channels is None else block[..., channels])[rows[wanted] - low]
