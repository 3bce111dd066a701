"""Statistics of samples: a merge of what is stored for whole recordings, a pass over the others."""

from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zarrts.contents import Contents
from zarrts.cuts import View
from zarrts.errors import SampleError
from zarrts.measuring import measure_samples
from zarrts.moments import Moments, merge_all, pool
from zarrts.sample_reader import SampleReader
from zarrts.samples import Ranges
from zarrts.types import IntArray


class Measured:
    """Samples that have statistics; `Samples` is one, and adds all else."""

    store: Contents
    selection: Ranges
    view: View

    @cached_property
    def reader(self) -> SampleReader:
        """What reads these samples."""
        raise NotImplementedError

    @property
    def starts(self) -> IntArray:
        """First id of each recording of the store, selected or not, and the number of ids."""
        raise NotImplementedError

    def of_recordings(self, chosen: IntArray | NDArray[np.bool_]) -> Self:
        """Return those of these samples that belong to some recordings of the store."""
        raise NotImplementedError

    @cached_property
    def per_recording(self) -> IntArray:
        """How many of these samples each recording of the store holds."""
        return np.diff(self.selection.count_below(self.starts))

    def whole_and_partial(self) -> tuple[IntArray, Self | None]:
        """Return the recordings that are selected whole, and the samples of all others.

        No recording is whole where samples are windows: they overlap, or leave rows out.
        """
        if self.view is not self.store.view:
            return np.zeros(0, np.int64), self
        if not self.view.cut.is_of_equal_lengths:
            return np.flatnonzero(self.per_recording), None
        sizes = np.diff(self.starts)
        whole = np.flatnonzero((self.per_recording == sizes) & (sizes > 0))
        cut = np.flatnonzero((self.per_recording > 0) & (self.per_recording < sizes))
        if len(cut) == 0:
            return whole, None
        return whole, self.of_recordings(cut)

    def stats(self) -> Moments:
        """Return count, mean, std, min and max per channel of exactly these samples.

        A merge of what the conversion gathered, without reading, for whole recordings. Windows,
        and samples of recordings that are cut, are read once; a row counts as often as it occurs
        in them. NaN are counted apart, and left out of all else.

        Raises
        ------
        SampleError
            If there are no samples.
        """
        if len(self.selection) == 0:
            raise SampleError("The selection holds no samples.")
        whole, partial = self.whole_and_partial()
        parts = [pool(self.store.catalog.moments.row(whole))] if len(whole) else []
        if partial is not None:
            parts.append(measure_samples(partial.reader))
        return merge_all(parts)
