"""Rows that a user's function makes of others."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.step_options import Map
from zarrts.sources.steps.frames import FramedRows
from zarrts.sources.steps.whole import WholeRows
from zarrts.types import AnyArray

FRAME_BYTES = 4 << 20
"""Size in float64 of the rows that a function is called with, without its halo."""


@dataclass(frozen=True)
class MappedRows(FramedRows):
    """Rows of a function that is called with frames and `halo` rows on each side.

    Attributes
    ----------
    step : Map
    halo : int
    bounds : tuple of int
        The rows where stretches of consecutive rows begin, and the number of rows; no call sees
        rows of two.
    origin : str
        How errors name the recording.
    """

    step: Map
    halo: int
    bounds: tuple[int, ...]
    origin: str

    label = "mapped rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other rows, with as many channels as the step names."""
        return _shape(self.step, self.rows.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    @property
    def frame_rows(self) -> int:
        """Rows of `FRAME_BYTES`, and at least as many as both halos."""
        return max(1, FRAME_BYTES // (8 * max(1, self.rows.shape[1])), 2 * self.halo)

    @property
    def working_bytes(self) -> int:
        """Bytes of a call, if the function makes a copy or two."""
        columns = max(self.rows.shape[1], self.shape[1])
        return 6 * (self.frame_rows + 2 * self.halo) * columns * 8

    def _frame(self, number: int) -> AnyArray:
        start = number * self.frame_rows
        stop = min(start + self.frame_rows, self.shape[0])
        parts = []
        edges = [start, *(it for it in self.bounds if start < it < stop), stop]
        for low, high in itertools.pairwise(edges):
            first = max(it for it in self.bounds if it <= low)
            last = min(it for it in self.bounds if it >= high)
            begin, end = max(first, low - self.halo), min(last, high + self.halo)
            block = self.rows.read(begin, end).astype(np.float64)
            parts.append(called(self.step, block, self.origin)[low - begin : high - begin])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class WholeMappedRows(WholeRows):
    """Rows of a function that is called with whole recordings."""

    step: Map
    origin: str

    label = "mapped rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the other rows, with as many channels as the step names."""
        return _shape(self.step, self.rows.shape)

    def _whole(self, rows: AnyArray, bounds: Sequence[int]) -> AnyArray:
        return called(self.step, rows, self.origin)


def called(step: Map, block: AnyArray, origin: str) -> AnyArray:
    """Return what the function of a step makes of rows.

    Raises
    ------
    SourceError
        If it fails, or returns another shape than (rows, channels), or values that are not real.
    """
    name = step.function.path
    expected = _shape(step, block.shape)
    given = block.shape
    try:
        found = np.asarray(step.function.call(block, **step.keywords))
    except Exception as error:
        raise SourceError(
            f"{origin}: map: {name} failed on rows of shape {given} "
            f"({type(error).__name__}: {error})."
        ) from error
    if found.shape != expected or found.dtype.kind not in "biuf":
        raise SourceError(
            f"{origin}: map: {name} returned {found.dtype} of shape {found.shape} for rows of "
            f"shape {given}; it has to return as many rows, and real numbers: shape {expected}. "
            "Other channels are named with channels=."
        )
    return found.astype(np.float64, copy=False)


def _shape(step: Map, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if step.channels is None else (*shape[:-1], len(step.channels))
