"""The open store, as users hold it in their hands."""

import os
import threading
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from zarrts.buckets.addresses import options_for, warn_of_unused
from zarrts.buckets.objects import ObjectPath
from zarrts.errors import PlanError, StoreError
from zarrts.indexing.cuts import View, view_of_store
from zarrts.indexing.units import Ranges
from zarrts.inputs import describe_inputs, handed_out
from zarrts.keywords import did_you_mean, refuse_unknown
from zarrts.sizes import format_count, parse_size
from zarrts.storage.catalog import Catalog, RecordingInfo
from zarrts.storage.location import Location, close, locate, with_cache
from zarrts.storage.readers import Readers
from zarrts.storage.store import StoreHeader, describe_removal, read_header
from zarrts.types import Label

if TYPE_CHECKING:
    from zarrts.samples import Samples
    from zarrts.split import Split

_INTERNAL = {"catalog", "every_id", "header", "is_ragged", "readers", "reopened", "view"}


class Store:
    """A complete store; open it with `zarrts.open`. Also a context manager.

    Nothing but its root is read until something else is asked for.
    """

    def __init__(self, root: Location, header: StoreHeader) -> None:
        # What is relative would be another store after os.chdir.
        self._given, self.header = root, header
        self._root = root.absolute() if isinstance(root, Path) else root
        self._lock = threading.Lock()  # held by whoever makes the readers, or closes them
        self._readers: Readers | None = None

    @property
    def samples(self) -> "Samples":
        """Every sample, in source order."""
        from zarrts.reading.selection import Selection
        from zarrts.samples import Samples

        return Samples(Selection.of(self))

    def load_split(self, path: str | Path) -> "Split":
        """Return the parts of a split that `split.save(path)` wrote.

        Raises
        ------
        SampleError
            If the file is not a split, or is of another store or version.
        """
        from zarrts.split import Split
        from zarrts.splits.split_files import load_parts

        # Whoever saved it had allowed what overlaps.
        return Split.of(load_parts(Path(path), self), allow_overlap=True)

    # Facts -------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Path or address of the store."""
        return str(self._given)

    @property
    def version(self) -> int:
        """Number of the version that is open."""
        return self.header.version

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return sum(segment.n_samples for segment in self.header.segments)

    @property
    def sample_shape(self) -> Any:
        """Shape of one sample, such as (time, channel); time is None where lengths differ.

        Of several inputs, a dictionary by name, as are dtype, channels, units and rate_hz.
        """
        inputs = self.header.segments[0].inputs
        return handed_out(
            {
                name: it.series_shape if self.is_ragged else it.spec.row_shape
                for name, it in inputs.items()
            }
        )

    @property
    def dtype(self) -> Any:
        """The dtype of x: of the values, also where 16-bit counts are stored."""
        inputs = self.header.segments[0].inputs
        return handed_out({name: it.spec.of_values.dtype for name, it in inputs.items()})

    @property
    def input_names(self) -> list[str] | None:
        """Names of the inputs, where there are several."""
        return list(self.header.inputs) or None

    @property
    def kind(self) -> str:
        """The kind of store: "dense" where all samples have one shape, else "ragged"."""
        return self.header.kind

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects, in order of first appearance."""
        return list(self.catalog.subjects)

    @property
    def recordings(self) -> tuple[RecordingInfo, ...]:
        """The sources of the samples, in their order."""
        return self.catalog.recordings

    @property
    def class_names(self) -> list[Label] | None:
        """The classes, in the order of their codes; None where labels are not classes."""
        return self.header.labels.names

    @property
    def label_names(self) -> list[str] | None:
        """Names of the arrays of labels, where there are several."""
        return list(self.header.labels.parts) or None

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None where labels are not classes."""
        return self.header.labels.n_classes

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it."""
        return self.header.labels.indices

    @property
    def channels(self) -> Any:
        """Names of the channels, where they are known."""
        described = self.header.description.of_inputs
        return handed_out(
            {name: list(it.channels) if it.channels else None for name, it in described.items()}
        )

    @property
    def units(self) -> Any:
        """Physical unit of each channel, "" where it is not known; None where none is."""
        described = self.header.description.of_inputs
        return handed_out(
            {name: list(it.units) if it.units else None for name, it in described.items()}
        )

    @property
    def rate_hz(self) -> Any:
        """Time steps per second, where that is known."""
        described = self.header.description.of_inputs
        return handed_out({name: it.rate_hz for name, it in described.items()})

    # What functions over a selection use -------------------------------------------------

    @property
    def is_ragged(self) -> bool:
        """Whether a sample is a whole recording, of any length."""
        return self.header.kind == "ragged"

    @property
    def readers(self) -> Readers:
        """Readers of the arrays of all segments, which an append does without."""
        if self._readers is None:
            with self._lock:
                if self._readers is None:
                    self._readers = Readers.of(self._root, self.header)
        return self._readers

    @cached_property
    def catalog(self) -> Catalog:
        """The recordings of all segments."""
        tables = self.readers.tables.every
        return Catalog(tables, self.n_classes, is_ragged=self.is_ragged)

    @cached_property
    def view(self) -> View:
        """The samples as stored: rows, or recordings of any length."""
        return view_of_store(self.catalog.row_starts, self.header.labels_per)

    @cached_property
    def every_id(self) -> Ranges:
        """The ids of all samples; a recording without rows is none."""
        if self.is_ragged:
            return Ranges.of_ids(np.flatnonzero(np.diff(self.catalog.row_starts)))
        return Ranges.of_bounds(np.zeros(1, np.int64), np.array([self.n_samples], np.int64))

    def reopened(self) -> "Store":
        """Return the same version of the store, with files of its own."""
        return Store(self._root, self.header)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        with self._lock:
            if self._readers is not None:
                self._readers.close()
        close(self._root)

    # Python ------------------------------------------------------------------------------

    if not TYPE_CHECKING:  # or every name would pass for one that there is

        def __getattr__(self, name: str) -> NoReturn:
            """Say where what was asked for is: most of it belongs to the samples."""
            from zarrts.samples import Samples

            if not name.startswith("_") and hasattr(Samples, name):
                raise AttributeError(
                    f"A Store has no {name!r}, but its samples have: store.samples.{name}"
                )
            raise AttributeError(f"A Store has no {name!r}.{did_you_mean(name, dir(self))}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__()} - _INTERNAL)

    def __reduce__(self) -> Any:
        return Store, (self._root, self.header)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        what = describe_inputs(self.sample_shape, self.dtype)
        return (
            f"<zarrts.Store {self.path}: {format_count(self.n_samples, 'sample')} of {what}, "
            f"{format_count(len(self.subjects), 'subject')}>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return self.samples._repr_html_()


def open_store(
    path: str | Path | Location,
    version: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    cache: str | Path | None = None,
    cache_bytes: int | str = "10GiB",
    **unknown: object,
) -> Store:
    """Open a store; nothing but its root is read.

    Parameters
    ----------
    path : str or path
        The folder that `convert` wrote, or its address, such as s3://lab/study.zarr.
    version : int, optional
        An earlier version, as it was before `append`; by default the latest.
    storage_options : dict, optional
        For an address, as fsspec has them: key, secret, endpoint_url, anon, ... By default the
        credentials are those of the environment.
    cache : path, optional
        For an address: a folder of this machine's that keeps chunks once they were read, for all
        processes that name it.
    cache_bytes : size
        That the folder may take.

    Raises
    ------
    StoreError
        If there is no complete store, or not that version.
    BucketError
        If the bucket cannot be read.
    """
    refuse_unknown(open_store, unknown, "open")
    if not isinstance(path, str | os.PathLike | ObjectPath):
        raise StoreError(
            f"zarrts.open takes the path of a store, not {type(path).__name__}; a Store and its "
            "samples are open already."
        )
    root = locate(path, storage_options)
    if not options_for(str(path), storage_options):  # or one mapping is for many calls
        warn_of_unused(storage_options, [path])
    if cache is not None:
        try:
            root = with_cache(root, cache, parse_size(cache_bytes, "cache_bytes"))
        except ValueError as error:
            raise PlanError(str(error)) from error
    header = read_header(root)
    if header.removal is not None:
        warnings.warn(describe_removal(root, header.removal), stacklevel=2)
    if version is not None:
        try:
            header = header.at(version)
        except StoreError as error:
            raise StoreError(f"{root}: {error} Open it without version=.") from error
    return Store(root, header)
