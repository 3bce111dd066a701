"""What is wrong with a store, and which samples it concerns, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zarrts.store import ARRAYS, StoreHeader
from zarrts.table import RecordingTable
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
        The shard that it is in; None where it is no shard.
    key : str or None
        Path of the file below the store, where one file is wrong.
    """

    text: str
    segment: str | None = None
    shard: int | None = None
    key: str | None = None


class Places:
    """Says in words which samples a file of a store holds."""

    def __init__(self, header: StoreHeader, tables: Mapping[str, RecordingTable | None]) -> None:
        self._segments = {it.name: it for it in header.segments}
        self._tables = tables
        edges = np.cumsum([0, *(it.n_samples for it in header.segments)])
        self._first_ids = {
            it.name: int(edge) for it, edge in zip(header.segments, edges[:-1], strict=True)
        }

    def shard_of(self, key: str) -> tuple[str, int] | None:
        """Return (segment, shard) of the path of a shard, or None."""
        parts = key.split("/")
        if len(parts) < 4 or parts[1] not in ARRAYS or parts[2] != "c" or not parts[3].isdigit():
            return None
        return (parts[0], int(parts[3])) if parts[0] in self._segments else None

    def array_of(self, key: str) -> tuple[ArraySpec | None, int]:
        """Return (array, shard) of the path of a shard; (None, 0) of another file."""
        place = self.shard_of(key)
        if place is None:
            return None, 0
        spec: ArraySpec = getattr(self._segments[place[0]], key.split("/")[1])
        return spec, place[1]

    def problem(self, key: str, what: str) -> Problem:
        """Return the problem of a file, with the samples that it holds."""
        place = self.shard_of(key)
        if place is None:
            segment = key.partition("/")[0]
            known = segment if segment in self._segments else None
            return Problem(f"{key} {what}.", known, None, key)
        segment, shard = place
        rows = self._segments[segment].x.shard_rows
        stop = min((shard + 1) * rows, self._segments[segment].n_samples)
        where = self.samples(segment, shard * rows, stop)
        return Problem(f"{key} {what}; it holds {where}.", segment, shard, key)

    def samples(self, segment: str, start: int, stop: int) -> str:
        """Return in words the ids of rows of a segment, and whose they are."""
        first = self._first_ids[segment]
        ids = f"samples {first + start:,} to {first + stop - 1:,}"
        if stop == start + 1:
            ids = f"sample {first + start:,}"
        table = self._tables[segment]
        if table is None:
            return ids
        low = int(np.searchsorted(table.starts, start, "right")) - 1
        high = int(np.searchsorted(table.starts, stop, "left"))
        names = list(dict.fromkeys(table.subject[low:high]))
        more = f" and {len(names) - _MAX_SUBJECTS} more" if len(names) > _MAX_SUBJECTS else ""
        return f"{ids} of {', '.join(names[:_MAX_SUBJECTS])}{more}"
