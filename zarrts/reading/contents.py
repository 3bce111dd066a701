"""What an open store holds: its header, its files, and the table of its recordings."""

from functools import cached_property
from typing import Any, Self

import numpy as np

from zarrts.reading.catalog import Catalog, RecordingInfo
from zarrts.reading.memory import Readers
from zarrts.samples.cuts import View, view_of_store
from zarrts.samples.units import Ranges
from zarrts.storage.chunks import open_chunks
from zarrts.storage.joined import open_labels
from zarrts.storage.location import Location, close
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import read_table
from zarrts.types import Label


class Contents:
    """The facts of an open store; `Store` adds the samples.

    Parameters
    ----------
    path : Location
    header : StoreHeader
        What the root says; nothing else is read until it is asked for.
    """

    def __init__(self, path: Location, header: StoreHeader) -> None:
        self._root, self.header = path, header
        self.readers = Readers(
            x=tuple(open_chunks(path, segment.x) for segment in header.segments),
            y=tuple(open_labels(path, segment) for segment in header.segments),
        )

    @property
    def path(self) -> str:
        """Where the store is."""
        return str(self._root)

    @property
    def version(self) -> int:
        """Which version of the store this is."""
        return self.header.version

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return sum(segment.n_samples for segment in self.header.segments)

    @property
    def sample_shape(self) -> tuple[int | None, ...]:
        """Shape of one sample, such as (time, channel); time is None where lengths differ."""
        inner = self.header.segments[0].x.row_shape
        return (None, *inner) if self.is_ragged else inner

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of x as stored."""
        return self.header.segments[0].x.dtype

    @property
    def kind(self) -> str:
        """The kind of store: "dense" where all samples have one shape, else "ragged"."""
        return self.header.kind

    @property
    def is_ragged(self) -> bool:
        """Whether a sample is a whole recording, of any length."""
        return self.header.kind == "ragged"

    @property
    def class_names(self) -> list[Label] | None:
        """The classes, in the order of their codes; None where labels are not classes."""
        names = self.header.labels.class_names
        return None if names is None else list(names)

    @property
    def label_names(self) -> list[str] | None:
        """Names of the arrays of labels, where there are several."""
        return list(self.header.labels.parts) or None

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None where labels are not classes."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it."""
        names = self.class_names
        return None if names is None else {name: code for code, name in enumerate(names)}

    @property
    def channels(self) -> list[str] | None:
        """Names of the channels, where they are known."""
        return list(self.header.channels) if self.header.channels else None

    @property
    def rate_hz(self) -> float | None:
        """Time steps per second, where that is known."""
        return self.header.rate_hz

    @cached_property
    def catalog(self) -> Catalog:
        """The recordings of all segments."""
        tables = [read_table(self._root, segment) for segment in self.header.segments]
        return Catalog(tables, self.n_classes, is_ragged=self.is_ragged)

    @cached_property
    def view(self) -> View:
        """What a sample is, unless windows are cut: a row, or a recording of any length."""
        return view_of_store(self.catalog.row_starts, self.header.labels_per)

    @cached_property
    def every_id(self) -> Ranges:
        """The ids of all samples; a recording without rows is none."""
        if self.is_ragged:
            return Ranges.of_ids(np.flatnonzero(np.diff(self.catalog.row_starts)))
        return Ranges.of_bounds(np.zeros(1, np.int64), np.array([self.n_samples], np.int64))

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects, in order of first appearance."""
        return list(self.catalog.subjects)

    @property
    def recordings(self) -> tuple[RecordingInfo, ...]:
        """Where the samples came from, in source order."""
        return self.catalog.recordings

    def reopened(self) -> Self:
        """Return the same version of the store, with files of its own."""
        return type(self)(self._root, self.header)

    def __reduce__(self) -> Any:
        return type(self), (self._root, self.header)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self.readers.close()
        close(self._root)
