"""The bytes of metadata, as we write them."""

import json
from collections.abc import Mapping
from typing import Any

from zarrts.storage.checksums import crc32c
from zarrts.storage.foreign import without_foreign
from zarrts.storage.segments import ROOT_KEY


def root_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a root as it is written, with its checksum."""
    attributes = document["attributes"]
    ours = attributes["zarrts"] | {"crc32c": root_checksum(document)}
    whole = {**document, "attributes": {**attributes, "zarrts": ours}}
    return json.dumps(whole, indent=1).encode()


def root_checksum(document: Mapping[str, Any]) -> int:
    """Return the crc32c of a root, whatever checksum it has, in one way of writing it."""
    ours = without_foreign(document)
    del ours["attributes"]["zarrts"]["crc32c"]
    return crc32c(json.dumps(ours, sort_keys=True, separators=(",", ":")).encode())


def metadata_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the metadata of an array or group as they are written."""
    return json.dumps(document, indent=1).encode()


def zarr_files(files: Mapping[str, Any]) -> dict[str, bytes]:
    """Return what Zarr made in memory as files, their metadata in our way of writing them."""
    found = {}
    for key, content in files.items():
        found[key] = content.to_bytes()
        if key.endswith(ROOT_KEY):
            document = json.loads(found[key])
            document.pop("consolidated_metadata", None)  # null, from some releases of Zarr
            found[key] = metadata_bytes(document)
    return found


def metadata_of(content: bytes) -> dict[str, Any]:
    """Return the metadata of every array and group of a store, by path, as its root has them."""
    return dict(json.loads(content)["consolidated_metadata"]["metadata"])
