"""From what users give a sequence to its samples: a store that is opened, or one that is open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zarrts.buckets.addresses import is_remote
from zarrts.errors import PlanError, SampleError, StoreError
from zarrts.samples import Samples
from zarrts.split import Split
from zarrts.store import Store, open_store


@dataclass(frozen=True)
class Opening:
    """The way to open a store that is given by its path or address; see `open_store`."""

    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    cache: str | Path | None = None
    cache_bytes: int | str = "10GiB"

    def samples_of(self, given: "str | Path | Store | Samples") -> Samples:
        """Return all samples of a store, or those that were given.

        Raises
        ------
        StoreError, SampleError
            If it is neither.
        PlanError
            If a store is open already, and options say how to open it.
        """
        if isinstance(given, str | Path):
            return open_store(
                given,
                storage_options=self.storage_options,
                cache=self.cache,
                cache_bytes=self.cache_bytes,
            ).samples
        if isinstance(given, Split):
            raise SampleError(
                f"A split is {len(given)} parts ({', '.join(given.names)}), and ZarrSequence reads "
                f"one: {', '.join(given.names)} = samples.split(...), then ZarrSequence(train)."
            )
        if not isinstance(given, Samples | Store):
            raise StoreError(
                f"ZarrSequence reads a store, not {type(given).__name__}: give the path of a "
                "store, zarrts.open(path), or samples of it. Arrays go into model.fit directly."
            )
        if self.storage_options or self.cache is not None:
            raise PlanError(
                "storage_options= and cache= say how a store is opened, and this one is open: give "
                "them to zarrts.open, or give the address."
            )
        return given.samples if isinstance(given, Store) else given

    def samples_of_more(self, given: "str | Path | Store | Samples") -> Samples:
        """Return the same of a further store, which may be on this machine or open already."""
        is_like = isinstance(given, str) and is_remote(given)
        return (self if is_like else Opening()).samples_of(given)
