"""The open store, as users hold it in their hands."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from zarrts.buckets.addresses import options_for, warn_of_unused
from zarrts.buckets.objects import ObjectPath
from zarrts.errors import PlanError, StoreError
from zarrts.glance import glance_of
from zarrts.keywords import did_you_mean, refuse_unknown
from zarrts.reading.contents import Contents
from zarrts.selection import Samples
from zarrts.sizes import format_count, parse_size
from zarrts.splits.disjoint import Split
from zarrts.splits.split_files import read_split
from zarrts.storage.location import Location, locate, with_cache
from zarrts.storage.store import describe_removal, read_header


class Store(Contents):
    """A complete store; open it with `zarrts.open`.

    Attributes
    ----------
    path : str
    n_samples : int
    sample_shape : tuple of int
        Such as (time, channel); (None, channel) where samples are of unequal lengths.
    dtype : numpy.dtype
        Of x as stored.
    kind : str
        "dense": all samples have one shape. "ragged": a sample is a recording, of any length.
    subjects : list of str
        In order of first appearance.
    class_names : list, or None
        Distinct values of labels that are classes, in the order of their codes.
    channels : list of str, or None
    rate_hz : float, or None
    """

    @property
    def samples(self) -> "Samples":
        """Every sample, in source order."""
        return Samples(self, self.every_id)

    def load_split(self, path: str | Path) -> Split[Samples]:
        """Return the parts of a split that `split.save(path)` wrote.

        Raises
        ------
        SampleError
            If the file is no split, or of another store or version.
        """
        everything = self.samples
        parts = read_split(Path(path), self)
        # Whoever saved it had allowed what overlaps.
        return Split(
            allow_overlap=True, **{name: everything.narrowed(part) for name, part in parts.items()}
        )

    def __getattr__(self, name: str) -> NoReturn:
        """Say where what was asked for is: most of it belongs to the samples."""
        if not name.startswith("_") and hasattr(Samples, name):
            raise AttributeError(
                f"A Store has no {name!r}, but its samples have: store.samples.{name}"
            )
        raise AttributeError(f"A Store has no {name!r}.{did_you_mean(name, dir(type(self)))}")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return glance_of(self.samples)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<zarrts.Store {self.path}: {format_count(self.n_samples, 'sample')} of "
            f"{self.sample_shape} {self.dtype}, {format_count(len(self.subjects), 'subject')}>"
        )


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
