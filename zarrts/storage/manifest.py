"""The manifest of a store: size and crc32c of every file but the root, which has its digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zarrts.errors import AccessError, BucketError, StoreError
from zarrts.storage.location import Location
from zarrts.storage.open_files import read_within_limit
from zarrts.storage.store import Entries, StoreHeader, manifest_key


@dataclass(frozen=True)
class Manifest:
    """The manifest of a store, as it was written."""

    content: bytes = field(repr=False)

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """ "objects", which are all files; of several parts "tables" too, see `joint_tables`."""
        found: Mapping[str, Any] = json.loads(self.content)
        return found

    @cached_property
    def entries(self) -> Entries:
        """Size and crc32c of every file."""
        return {name: (size, crc) for name, (size, crc) in self.document["objects"].items()}


def read_manifest(root: Location, header: StoreHeader) -> Manifest:
    """Return the manifest of a store.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    import hashlib  # opening a store of one part does without

    key = manifest_key(header.latest)
    try:
        content = read_within_limit(root / key)
    except (AccessError, BucketError):
        raise
    except OSError as error:
        raise StoreError(f"{root}: {key} cannot be read ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != header.manifest_sha256:
        raise StoreError(f"{root}: {key} does not match its checksum.")
    return Manifest(content)
