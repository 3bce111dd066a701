"""Problems of a store in words, with the samples that they concern."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zarrts.lists import listed
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import RecordingTable
from zarrts.types import ArraySpec

_MAX_SUBJECTS = 4


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a store.

    Attributes
    ----------
    text : str
        A sentence that names the file and, where samples are concerned, subjects and ids.
    segment : str or None
        The segment that it is in.
    shard : int or None
        The shard that it is in; None where it is not a shard.
    key : str or None
        Path of the file below the store, where one file is wrong.
    is_of_sources : bool
        Whether it keeps a source from being compared, and says nothing of the store itself.
    """

    text: str
    segment: str | None = None
    shard: int | None = None
    key: str | None = None
    is_of_sources: bool = False


class SourcePlaces:
    """Says in words which samples a file of a store holds."""

    def __init__(self, header: StoreHeader, tables: Mapping[str, RecordingTable | None]) -> None:
        self._segments = {it.name: it for it in header.segments}
        self._tables = tables
        edges = np.cumsum([0, *(it.n_samples for it in header.segments)])
        self._first_ids = {
            it.name: int(edge) for it, edge in zip(header.segments, edges[:-1], strict=True)
        }

    def shard_of(self, key: str) -> tuple[str, int] | None:
        """Return (segment, shard) of the path of a shard of rows, or None."""
        spec, shard = self.array_of(key)
        if spec is None:
            return None
        segment = key.partition("/")[0]
        return (segment, shard) if spec in self._segments[segment].row_arrays.values() else None

    def array_of(self, key: str) -> tuple[ArraySpec | None, int]:
        """Return (array, shard) of the path of a shard; (None, 0) of another file."""
        segment = self._segments.get(key.partition("/")[0])
        for spec in segment.arrays.values() if segment else ():
            number = key.removeprefix(f"{spec.path}/c/").partition("/")[0]
            if number.isdigit() and key == spec.shard_key(int(number)):
                return spec, int(number)
        return None, 0

    def problem(self, key: str, what: str) -> Problem:
        """Return the problem of a file, with the samples that it holds."""
        place = self.shard_of(key)
        if place is None:
            name = key.partition("/")[0]
            known = name if name in self._segments else None
            spec, _ = self.array_of(key)
            of_all = "; it concerns all samples of that part" if spec is not None else ""
            return Problem(f"{key} {what}{of_all}.", known, None, key)
        segment, shard = place
        rows = self._segments[segment].x.shard_rows
        stop = min((shard + 1) * rows, self._segments[segment].n_rows)
        where = self.samples(segment, shard * rows, stop)
        return Problem(f"{key} {what}; it holds {where}.", segment, shard, key)

    def samples(self, segment: str, start: int, stop: int) -> str:
        """Return in words the ids of the samples in rows of a segment, and whose they are."""
        table = self._tables[segment]
        if self._segments[segment].is_ragged:
            if table is None:
                return f"rows {start:,} to {stop - 1:,} of part {segment}"
            low, high = self._recordings(table, start, stop)
            return self._ids(segment, low, high) + _whose(table, low, high)
        ids = self._ids(segment, start, stop)
        return ids if table is None else ids + _whose(table, *self._recordings(table, start, stop))

    def _ids(self, segment: str, start: int, stop: int) -> str:
        first = self._first_ids[segment]
        if stop == start + 1:
            return f"sample {first + start:,}"
        return f"samples {first + start:,} to {first + stop - 1:,}"

    @staticmethod
    def _recordings(table: RecordingTable, start: int, stop: int) -> tuple[int, int]:
        """Return the first recording that has some of the rows, and the one after the last."""
        low = int(np.searchsorted(table.starts, start, "right")) - 1
        return low, int(np.searchsorted(table.starts, stop, "left"))


def _whose(table: RecordingTable, low: int, high: int) -> str:
    return f" of {listed(dict.fromkeys(table.subject[low:high]), _MAX_SUBJECTS)}"
