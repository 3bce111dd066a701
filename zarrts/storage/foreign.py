"""Tell what is ours in the root of a store from what other programs added."""

from collections.abc import Mapping
from typing import Any

OF_ROOT = ("zarr_format", "node_type", "attributes", "consolidated_metadata")


def without_foreign(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a root is ours: other programs may add attributes, arrays and groups."""
    ours = {"crc32c": 0, **document["attributes"]["zarrts"]}
    consolidated = document["consolidated_metadata"]
    names = {it["name"] for it in ours["segments"]}
    nodes = {
        path: it for path, it in consolidated["metadata"].items() if path.partition("/")[0] in names
    }
    found = {key: document[key] for key in OF_ROOT if key in document}
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
        if path not in ours and not path.partition("/")[0].isdecimal()
    }
    return attributes, others
