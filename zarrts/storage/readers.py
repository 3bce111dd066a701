"""Read the arrays of all segments of a store; several arrays of labels as one of records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zarrts.storage.chunks import ChunkReader, open_chunks
from zarrts.storage.location import Location
from zarrts.storage.open_files import StillThere
from zarrts.storage.segments import Segment, label_name
from zarrts.types import AnyArray


@dataclass(frozen=True)
class Readers:
    """Readers of the arrays of every segment, in the order of the store.

    `mask` is None of a segment whose rows are all good.
    """

    x: tuple[ChunkReader, ...]
    y: tuple[ChunkReader, ...]
    mask: tuple[ChunkReader | None, ...]
    still_there: StillThere | None = None

    @staticmethod
    def of(root: Location, segments: Sequence[Segment]) -> "Readers":
        """Return the readers of some segments; no file is opened before it is read."""
        there = None
        if isinstance(root, Path):
            there = StillThere(root, {it.name: it.write_id for it in segments})
        return Readers(
            x=tuple(open_chunks(root, segment.x, there) for segment in segments),
            y=tuple(open_labels(root, segment, there) for segment in segments),
            mask=tuple(open_mask(root, segment, there) for segment in segments),
            still_there=there,
        )

    @property
    def is_remote(self) -> bool:
        """Whether the store is read through a network."""
        return any(it.is_remote for it in self.x)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in (*self.x, *self.y, *filter(None, self.mask)):
            reader.close()


def open_labels(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader:
    """Return what reads the labels of a segment, whether they are one array or several."""
    if segment.y.dtype.names is None:
        return open_chunks(root, segment.y, still_there)
    readers = {
        label_name(array): open_chunks(root, spec, still_there)
        for array, spec in segment.labels.items()
    }
    return JoinedReader(segment, readers)


def open_mask(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader | None:
    """Return what reads the mask of a segment, if it has one."""
    return None if segment.mask is None else open_chunks(root, segment.mask, still_there)


class JoinedReader:
    """Reads the chunks of several arrays with the same rows; see `ChunkReader`."""

    def __init__(self, segment: Segment, readers: dict[str, ChunkReader]) -> None:
        self.spec = segment.y
        self._readers = readers

    @property
    def is_direct(self) -> bool:
        """Whether all of them are."""
        return all(it.is_direct for it in self._readers.values())

    def read_into(self, chunk: int, out: AnyArray) -> None:
        """Fill `out` with a chunk of records."""
        for name, reader in self._readers.items():
            rows = np.empty(reader.spec.chunk_shape, reader.spec.dtype)
            reader.read_into(chunk, rows)
            out[name] = rows

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network."""
        return any(it.is_remote for it in self._readers.values())

    def will_need(self, chunk: int, n_chunks: int = 1) -> object:
        """Ask for consecutive chunks of each to be read soon; see `ChunkReader`."""
        return [reader.will_need(chunk, n_chunks) for reader in self._readers.values()]

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in self._readers.values():
            reader.close()
