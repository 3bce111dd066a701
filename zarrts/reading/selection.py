"""The value that statistics, labels, windows, splits and loaders share: chosen samples of a store.

`Samples`, which users hold, is a thin class over it; everything else is a function of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.indexing.cuts import View
from zarrts.indexing.units import ChunkUnits, Ranges, SegmentGrid
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.sample_reader import SampleReader
from zarrts.store import Store
from zarrts.types import IntArray

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Selection:
    """Some samples of an open store, how they are cut from its rows, and what labels mean.

    Nothing is read until a function asks for it. Ids are positions in all samples of the view,
    and stay what they are whatever is selected.

    Attributes
    ----------
    store : Store
    ids : Ranges
        The ids that are selected.
    view : View
        What a sample is: as stored, or a window.
    scheme : LabelScheme
        What labels mean: as in the store, or with classes merged or left out.
    inputs : str or tuple of str, or None
        The inputs that samples have, by name; all by default. A single name: that array alone.
    """

    store: Store
    ids: Ranges
    view: View
    scheme: LabelScheme
    inputs: str | tuple[str, ...] | None = None
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    def of(store: Store) -> "Selection":
        """Return every sample of a store, as stored."""
        return Selection(store, store.every_id, store.view, store.header.labels)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> Any:
        return Selection, (self.store, self.ids, self.view, self.scheme, self.inputs)

    @property
    def is_as_stored(self) -> bool:
        """Whether samples are those of the store, and not windows."""
        return self.view.key == self.store.view.key

    # By recording ------------------------------------------------------------------------

    @cached_property
    def starts(self) -> IntArray:
        """First id of each recording of the store, selected or not, and the number of ids."""
        return self.view.index.count_before(self.store.catalog.row_starts)

    @cached_property
    def per_recording(self) -> IntArray:
        """Number of these samples in each recording of the store."""
        return np.diff(self.ids.count_below(self.starts))

    @cached_property
    def subject_codes(self) -> IntArray:
        """Positions in `store.subjects` of the subjects that these samples belong to, ascending."""
        return np.unique(self.store.catalog.subject_codes[self.per_recording > 0])

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that these samples belong to, in the order of the store."""
        known = self.store.catalog.subjects
        return [known[code] for code in self.subject_codes]

    def recordings_of(self, ids: IntArray) -> IntArray:
        """Return the number of the recording that each of some ids belongs to."""
        return np.asarray(np.searchsorted(self.starts, ids, "right") - 1)

    def whole_and_partial(self) -> "tuple[IntArray, Selection | None]":
        """Return the recordings that are selected whole, and the samples of all others.

        No recording is whole where samples are windows: they overlap, or leave rows out.
        """
        if not self.is_as_stored:
            return np.zeros(0, np.int64), self
        if not self.view.cut.is_of_equal_lengths:
            return np.flatnonzero(self.per_recording), None
        sizes = np.diff(self.starts)
        whole = np.flatnonzero((self.per_recording == sizes) & (sizes > 0))
        cut = np.flatnonzero((self.per_recording > 0) & (self.per_recording < sizes))
        return whole, self.of_recordings(cut) if len(cut) else None

    # Where they lie ----------------------------------------------------------------------

    @cached_property
    def units(self) -> ChunkUnits:
        """The chunks that hold these samples."""
        grids = [
            SegmentGrid(n_rows=it.n_rows, chunk_rows=it.x.chunk_rows)
            for it in self.store.header.segments
        ]
        return ChunkUnits(grids, self.ids, self.store.catalog.subject_runs, self.view.index)

    @cached_property
    def reader(self) -> SampleReader:
        """The reader of these samples."""
        return SampleReader(
            readers=self.store.readers,
            units=self.units,
            cut=self.view.cut,
            offsets=self.store.catalog.row_starts,
            chosen=self.inputs,
        )

    # Other selections --------------------------------------------------------------------

    def narrowed(self, ids: Ranges) -> "Selection":
        """Return those of these samples whose ids are in a set."""
        return replace(self, ids=self.ids & ids)

    def of_recordings(self, chosen: IntArray | NDArray[np.bool_]) -> "Selection":
        """Return those of these samples that belong to some recordings of the store."""
        return self.narrowed(Ranges.of_bounds(self.starts[:-1][chosen], self.starts[1:][chosen]))

    def viewed(self, view: View) -> "Selection":
        """Return the samples of another view that lie in the recordings of these."""
        every = Ranges.of_bounds(np.zeros(1, np.int64), np.array([view.index.n_samples]))
        return replace(self, ids=every, view=view).of_recordings(self.per_recording > 0)

    def choosing(self, inputs: "Sequence[str] | str | None") -> "Selection":
        """Return the same samples with some of their inputs.

        Raises
        ------
        SampleError
            If there is no such input; names both sides.
        """
        if inputs is None:
            return self
        names = [inputs] if isinstance(inputs, str) else [*inputs]
        known = [it.name for it in self.store.readers.inputs]
        unknown = [str(name) for name in names if name not in known]
        if unknown or not names or known == [""]:
            there = "one without a name" if known == [""] else ", ".join(known)
            asked = ", ".join(map(str, names)) or "none"
            raise SampleError(
                f"inputs= names {asked}, but the inputs of {self.store.path} are: {there}."
            )
        return replace(self, inputs=inputs if isinstance(inputs, str) else tuple(names))

    def with_scheme(self, scheme: LabelScheme) -> "Selection":
        """Return the same samples with labels that mean something else."""
        return replace(self, scheme=scheme)

    def reopened(self) -> "Selection":
        """Return the same samples, with files of their own."""
        return replace(self, store=self.store.reopened())


def once(function: Callable[[Selection], T]) -> Callable[[Selection], T]:
    """Keep what a function of a selection returns, with the selection: it is called once."""

    @wraps(function)
    def kept(selection: Selection) -> T:
        # Two threads may both call it: the results are equal, and either may stay.
        if function not in selection._kept:
            selection._kept[function] = function(selection)
        found: T = selection._kept[function]
        return found

    return kept
