"""Chains of views that steps have made: their dtype, their memory, and how far back they read."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from zarrts.sources.rows.inputs import AlignedRows
from zarrts.sources.rows.views import CastRows, DerivedRows
from zarrts.sources.steps.cleaning import FaultyRows, JoinedMasks, ResampledMask
from zarrts.sources.steps.filtering import FirRows
from zarrts.sources.steps.frames import ForwardRows, Tails
from zarrts.sources.steps.mapping import MappedRows
from zarrts.sources.steps.resampling import ResampledRows
from zarrts.sources.steps.whole import WholeRows
from zarrts.types import RowReader, SourceRecording


class Starts:
    """The recordings before their steps, found by what was made of them; names may be alike."""

    def __init__(self, recordings: Sequence[SourceRecording]) -> None:
        self._numbers = {id(it.x): number for number, it in enumerate(recordings)}
        self._recordings = recordings  # so that no other object gets one of these ids

    def number_of(self, it: SourceRecording) -> int:
        """Return the number of the recording that another was made of."""
        rows: RowReader = it.x
        while id(rows) not in self._numbers:
            assert isinstance(rows, DerivedRows), "made of no recording here"
            rows = rows.rows
        return self._numbers[id(rows)]

    def name_of(self, it: SourceRecording) -> str:
        """Return a name that no other has."""
        return str(self.number_of(it))

    def of(self, it: SourceRecording) -> SourceRecording:
        """Return the recording that another was made of."""
        return self._recordings[self.number_of(it)]


def finished(
    before: SourceRecording, after: SourceRecording, tails: Tails, name: str = ""
) -> SourceRecording:
    """Return a recording after all steps, in the dtype of its source, or the float that holds it.

    Parameters
    ----------
    before : SourceRecording
        As it was before the first step.
    name : str
        Names it among those that share `tails`.
    """
    x, mask = after.x, after.mask
    if before.x.is_sequential:
        x = _forward(x, before.x, before.x, name, tails)
        if mask is not None:
            mask = _own_forward(mask, before.x, name, tails)
    if x.dtype.kind == "f":
        to = np.result_type(before.x.dtype, np.float32)
        x = x if x.dtype == to else CastRows(x, to)
    return replace(after, x=x, mask=mask)


def _chain(rows: RowReader, base: RowReader | None = None) -> Iterator[DerivedRows]:
    """Yield the views of a chain, the last one first, down to `base`."""
    while isinstance(rows, DerivedRows) and rows is not base:
        yield rows
        rows = rows.rows


def _look_back(rows: RowReader, base: RowReader) -> int:
    """Return how many rows of the base before the last one that was read may be read again."""
    total, scale = 0.0, 1.0
    for it in reversed([*_chain(rows, base)]):
        if isinstance(it, FirRows):
            total += (it.frame_rows + 2 * it.response.n_taps) * scale
        elif isinstance(it, MappedRows):
            total += (it.frame_rows + 2 * it.halo) * scale
        elif isinstance(it, ResampledRows):
            total += (2 * it.reach + 2) * scale
        elif isinstance(it, FaultyRows):
            total += 2 * (it.flat + it.around) * scale
        if isinstance(it, ResampledRows | ResampledMask):
            scale /= float(it.stretches.ratio)
    return int(total)


def _forward(
    rows: RowReader, base: RowReader, reader: RowReader, name: str, tails: Tails
) -> RowReader:
    """Return a chain that reads its base forward only, through a reader of the same rows."""
    n_kept = _look_back(rows, base)
    if reader is base and n_kept == 0:
        return rows
    return _rebased(rows, base, ForwardRows(reader, name, n_kept, tails))


def _own_forward(mask: RowReader, base: RowReader, name: str, tails: Tails) -> RowReader:
    """Return a mask whose parts each read the base with a reader of their own.

    Rows are read once more for it, behind those of x, of which the reader would begin again at the
    first row each time.
    """
    name = f"{name} mask"
    if isinstance(mask, JoinedMasks):
        mask = replace(mask, other=_own_forward(mask.other, base, name, tails))
        return replace(mask, rows=_own_forward(mask.rows, base, f"{name} rows", tails))
    if isinstance(mask, ResampledMask):
        return replace(mask, rows=_own_forward(mask.rows, base, name, tails))
    if not any(it.rows is base for it in _chain(mask)):
        return mask  # it was given with the inputs
    return _forward(mask, base, copy.deepcopy(base), name, tails)


def _rebased(rows: RowReader, base: RowReader, new: RowReader) -> RowReader:
    if rows is base:
        return new
    assert isinstance(rows, DerivedRows)
    return replace(rows, rows=_rebased(rows.rows, base, new))


def working_bytes(rows: RowReader | None) -> int:
    """Return what the steps of rows take in memory, beside the rows that are asked for."""
    if rows is None:
        return 0
    chains = (_chain(it) for it in _each(rows))
    return sum(int(getattr(it, "working_bytes", 0)) for chain in chains for it in chain)


def whole_bytes(rows: RowReader) -> int:
    """Return what steps on whole recordings take in memory; 0 where there are none."""
    chains = (_chain(it) for it in _each(rows))
    return sum(it.working_bytes for chain in chains for it in chain if isinstance(it, WholeRows))


def _each(rows: RowReader) -> Sequence[RowReader]:
    """Return the rows of each of several inputs."""
    return rows.readers if isinstance(rows, AlignedRows) else (rows,)
