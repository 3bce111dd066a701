"""Read the arrays of all segments of a store; several of a kind by themselves, and as records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zarrts.storage.chunks import ChunkReader, open_chunks
from zarrts.storage.location import Location
from zarrts.storage.open_files import StillThere
from zarrts.storage.segments import Segment, label_name
from zarrts.types import AnyArray, ArraySpec


@dataclass(frozen=True, kw_only=True)
class InputReaders:
    """The readers of one input in every segment, in the order of the store.

    Attributes
    ----------
    name : str
        "" of the only one.
    readers : tuple of ChunkReader
    steps : int
        As in `InputArray`.
    """

    name: str
    readers: tuple[ChunkReader, ...]
    steps: int

    @property
    def spec(self) -> ArraySpec:
        """The array in the first segment; its rows and dtype are those of all."""
        return self.readers[0].spec


@dataclass(frozen=True)
class Readers:
    """Readers of the arrays of every segment, in the order of the store.

    Attributes
    ----------
    inputs : tuple of InputReaders
        Each array of x by itself.
    x, y : tuple of ChunkReader
        Several arrays read as one of records.
    mask : tuple of ChunkReader or None
        None of a segment whose rows are all good.
    label_steps : int
        As in `Segment`.
    """

    inputs: tuple[InputReaders, ...]
    x: tuple[ChunkReader, ...]
    y: tuple[ChunkReader, ...]
    mask: tuple[ChunkReader | None, ...]
    still_there: StillThere | None = None
    label_steps: int = 1

    @staticmethod
    def of(root: Location, segments: Sequence[Segment]) -> "Readers":
        """Return the readers of some segments; no file is opened before it is read."""
        there = None
        if isinstance(root, Path):
            there = StillThere(root, {it.name: it.write_id for it in segments})
        of_segments = [_open_each_input(root, segment, there) for segment in segments]
        return Readers(
            inputs=tuple(
                InputReaders(
                    name=name, readers=tuple(it[name] for it in of_segments), steps=array.steps
                )
                for name, array in segments[0].inputs.items()
            ),
            x=tuple(
                _joined(segment.x, each)
                for segment, each in zip(segments, of_segments, strict=True)
            ),
            y=tuple(open_labels(root, segment, there) for segment in segments),
            mask=tuple(open_mask(root, segment, there) for segment in segments),
            still_there=there,
            label_steps=segments[0].label_steps,
        )

    @property
    def is_remote(self) -> bool:
        """Whether the store is read through a network."""
        return any(it.is_remote for it in self.x)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in (*self.x, *self.y, *filter(None, self.mask)):
            reader.close()


def open_inputs(root: Location, segment: Segment) -> ChunkReader:
    """Return what reads the inputs of a segment, whether they are one array or several."""
    return _joined(segment.x, _open_each_input(root, segment, None))


def open_labels(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader:
    """Return what reads the labels of a segment, whether they are one array or several."""
    readers = {
        label_name(array): open_chunks(root, spec, still_there)
        for array, spec in segment.labels.items()
    }
    return _joined(segment.y, readers)


def _open_each_input(
    root: Location, segment: Segment, still_there: StillThere | None
) -> dict[str, ChunkReader]:
    return {name: open_chunks(root, it.spec, still_there) for name, it in segment.inputs.items()}


def _joined(spec: ArraySpec, readers: Mapping[str, ChunkReader]) -> ChunkReader:
    """Return what reads arrays as one; the one without a name is that already."""
    return readers[""] if "" in readers else JoinedReader(spec, readers)


def open_mask(
    root: Location, segment: Segment, still_there: StillThere | None = None
) -> ChunkReader | None:
    """Return what reads the mask of a segment, if it has one."""
    return None if segment.mask is None else open_chunks(root, segment.mask, still_there)


class JoinedReader:
    """Reads the chunks of several arrays with the same rows; see `ChunkReader`."""

    def __init__(self, spec: ArraySpec, readers: Mapping[str, ChunkReader]) -> None:
        self.spec = spec
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
