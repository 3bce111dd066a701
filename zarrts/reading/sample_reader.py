"""Read samples of an open store, whatever a sample is: on their own, without a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zarrts.indexing.cuts import Cut, Fit
from zarrts.indexing.units import ChunkUnits
from zarrts.inputs import handed_out
from zarrts.reading.memory import aligned_empty
from zarrts.storage.chunks import ChunkReader, read_rows
from zarrts.storage.readers import InputReaders, Readers
from zarrts.types import AnyArray, IntArray

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SampleInput(InputReaders):
    """One input of samples: how its rows are read, and which of them a sample is.

    Attributes
    ----------
    cut : Cut
    """

    cut: Cut

    @property
    def n_channels(self) -> int:
        """Size of the last axis; 1 where rows are single values."""
        return self.spec.row_shape[-1] if self.spec.row_shape else 1

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of a sample; None for a length that differs."""
        row_shape = self.spec.row_shape
        if self.cut.x_steps is None:
            return (None, *row_shape[self.steps > 1 :])
        return self._joined(self.cut.x_steps.shape)

    def shape_of(self, fit: Fit | None) -> tuple[int, ...]:
        """Return the shape of samples that were brought to one length."""
        return self._joined(self.cut.n_x(fit))

    def _joined(self, n_rows: tuple[int, ...]) -> tuple[int, ...]:
        row_shape = self.spec.row_shape
        if self.steps > 1 and n_rows:  # the steps of a row and the rows are one axis of time
            return (*n_rows[:-1], n_rows[-1] * row_shape[0], *row_shape[1:])
        return (*n_rows, *row_shape)

    def n_steps(self, n_rows: IntArray) -> IntArray:
        """Return how many steps in time some rows are."""
        return n_rows * max(1, self.steps)

    def by_row(self, samples: AnyArray, fit: Fit | None) -> AnyArray:
        """Return a view of samples, (n, *shape_of(fit)), with an axis for each row."""
        return samples.reshape(len(samples), *self.cut.n_x(fit), *self.spec.row_shape)


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
    chosen : str or tuple of str, or None
        The inputs that samples have, by name; all by default. A single name: that array alone.
    """

    readers: Readers
    units: ChunkUnits
    cut: Cut
    offsets: IntArray
    chosen: str | tuple[str, ...] | None = None

    @cached_property
    def inputs(self) -> tuple[SampleInput, ...]:
        """The inputs that samples have."""
        chosen = (self.chosen,) if isinstance(self.chosen, str) else self.chosen
        return tuple(it for it in self._every_input if chosen is None or it.name in chosen)

    def handed_out(self, of_inputs: Mapping[str, T]) -> T | dict[str, T]:
        """Return what there is of each input of samples as users get it."""
        if isinstance(self.chosen, str):
            return next(iter(of_inputs.values()))
        return handed_out(of_inputs)

    @cached_property
    def _every_input(self) -> tuple[SampleInput, ...]:
        return tuple(
            SampleInput(
                name=it.name,
                readers=it.readers,
                held=it.held,
                steps=it.steps,
                are_counts=it.are_counts,
                cut=self.cut if it.steps else self.cut.of_first_row,
            )
            for it in self.readers.inputs
        )

    @cached_property
    def inputs_read(self) -> tuple[SampleInput, ...]:
        """The same, and the input that targets are values of."""
        has_targets = self.cut.y_of == "x"
        return tuple(
            it
            for it in self._every_input
            if it in self.inputs or (has_targets and it.name == self.cut.y_input)
        )

    def input(self, name: str) -> SampleInput:
        """Return an input by its name."""
        return next(it for it in self._every_input if it.name == name)

    @property
    def target_input(self) -> SampleInput:
        """The input that targets are values of, where they are."""
        return self.input(self.cut.y_input)

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
        x_bytes = sum(it.held[0].spec.row_bytes for it in self.inputs_read)
        return x_bytes + (self.readers.y[0].spec.row_bytes if self.has_row_labels else 0)

    @property
    def unit_bytes(self) -> int:
        """Most memory that an open unit takes."""
        return self.units.rows * self.unit_row_bytes

    @property
    def max_bytes(self) -> int:
        """Most memory that x of one sample takes, as stored."""
        longest = self.units.index.max_rows
        return sum(
            (longest if it.cut.x_steps is None else it.cut.x_steps.size) * it.spec.row_bytes
            for it in self.inputs
        )

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
        spec = self.target_input.spec
        if self.cut.y_channels is None:
            return spec.row_shape, spec.dtype
        return (*spec.row_shape[:-1], len(self.cut.y_channels)), spec.dtype

    @property
    def label_step(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of a label, as stored, whatever the target is."""
        spec, given = self.readers.y[0].spec, self.cut.labels
        return (spec.row_shape, spec.dtype) if given is None else (given.shape[1:], given.dtype)

    @property
    def label_steps(self) -> int:
        """Labels, or values that are targets, in a row of the store."""
        if self.cut.y_of == "x":
            return max(1, self.target_input.steps)
        return self.readers.label_steps if self.has_row_labels else 1

    def label_shape(self, array: str | None = None) -> tuple[int, ...]:
        """Return the shape of one label, of an array of several where one is named."""
        row_shape, dtype = self.label_step
        if array is not None:
            return dtype[array].shape
        has_steps = self.readers.label_steps > 1 and self.cut.labels is None
        return row_shape[has_steps:]

    def y_shape(self, fit: Fit | None) -> tuple[int, ...]:
        """Return the shape of y of samples, as stored."""
        n_rows, (inner, _) = self.cut.n_y(fit), self.y_step
        if self.label_steps > 1 and n_rows:  # the labels of a row, and rows, are one axis of time
            return (*n_rows[:-1], n_rows[-1] * inner[0], *inner[1:])
        return (*n_rows, *inner)

    def y_by_row(self, y: AnyArray, fit: Fit | None) -> AnyArray:
        """Return a view of y, (n, *y_shape(fit)), with an axis for each row."""
        return y.reshape(len(y), *self.cut.n_y(fit), *self.y_step[0])

    def labels_behind(self, fit: Fit) -> NDArray[np.bool_]:
        """Return which labels of steps are behind the end of their sample."""
        return np.repeat(fit.is_behind, self.label_steps, axis=1)

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

    def fetch(self, ids: IntArray, fit: Fit | None = None) -> tuple[dict[str, AnyArray], AnyArray]:
        """Return stored inputs and labels of some samples, in the order asked for.

        Parameters
        ----------
        ids : int64, shape (n_samples,)
        fit : Fit, optional
            Where samples are of unequal lengths; what is behind the end of one is not defined.

        Returns
        -------
        x by the name of the input, and y, each of shape (n_samples, ...)
        """
        return self.fetch_x(ids, fit), self.fetch_y(ids, fit)

    def fetch_x(
        self, ids: IntArray, fit: Fit | None = None, *, as_held: bool = False
    ) -> dict[str, AnyArray]:
        """Return inputs of some samples by name.

        Parameters
        ----------
        as_held : bool
            As the memory of open chunks holds them: counts, where all of an input is counts.
        """
        firsts, owners = self.units.index.first_rows(ids), self.units.unit_of(ids)
        found = {}
        for it in self.inputs:
            readers = it.held if as_held else it.readers
            found[it.name] = aligned_empty((len(ids), *it.shape_of(fit)), readers[0].spec.dtype)
            rows = it.cut.x_rows(firsts, fit)
            self._fill(it.by_row(found[it.name], fit), rows, readers, owners)
        return found

    def fetch_y(self, ids: IntArray, fit: Fit | None = None) -> AnyArray:
        """Return stored labels (or values, where these are the target) of some samples."""
        firsts = self.units.index.first_rows(ids)
        if self.cut.y_of == "recording":
            return np.array(self.spread(self.recordings(firsts)))
        if self.cut.y_of == "sample":
            return np.array(self.spread(ids))
        rows = self.cut.y_rows(firsts, fit)
        found = aligned_empty((len(ids), *self.y_shape(fit)), self.y_step[1])
        out = self.y_by_row(found, fit)
        if self.cut.y_of == "row":
            self._fill(out, rows, self.readers.y, self.units.unit_of(ids))
        else:
            readers = self.target_input.readers
            self._fill(out, rows, readers, self.units.unit_of(ids), self.cut.y_channels)
        return found

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
