"""The bytes of metadata as we write them, and what of a root other programs have added."""

import json
from collections.abc import Mapping
from typing import Any

from zarrts.storage.checksums import crc32c
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


_OF_ROOT = ("zarr_format", "node_type", "attributes", "consolidated_metadata")


def without_foreign(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a root is ours: other programs may add attributes, arrays and groups."""
    ours = {"crc32c": 0, **document["attributes"]["zarrts"]}
    consolidated = document["consolidated_metadata"]
    names = {it["name"] for it in ours["segments"]}
    nodes = {
        path: it for path, it in consolidated["metadata"].items() if path.split("/")[0] in names
    }
    found = {key: document[key] for key in _OF_ROOT if key in document}
    return found | {
        "attributes": {"zarrts": ours},
        "consolidated_metadata": {**consolidated, "metadata": nodes},
    }


def foreign_of(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return attributes of a root, and nodes of its consolidated metadata, that are not ours."""
    ours = without_foreign(document)["consolidated_metadata"]["metadata"]
    attributes = {key: it for key, it in document["attributes"].items() if key != "zarrts"}
    nodes = document["consolidated_metadata"]["metadata"]
    # Names of numbers are those of segments, which may be gone by now.
    others = {
        path: it
        for path, it in nodes.items()
        if path not in ours and not path.split("/")[0].isdecimal()
    }
    return attributes, others


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
