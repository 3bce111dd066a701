"""The bytes of metadata, as we write them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from zarrts.storage.checksums import crc32c
from zarrts.storage.foreign import OF_ROOT, foreign_of, without_foreign
from zarrts.storage.parted_root import is_whole_by_bytes, parted_bytes
from zarrts.storage.segments import ROOT_KEY

# As earlier versions wrote them, one beside the other.
_CHECKSUMS = re.compile(rb'(?<!\\)"crc32c":(\d+),"bytes_crc32c":(\d+),')


def root_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a root as it is written, with its checksum; of several parts, see `parted_root`."""
    ours = document["attributes"]["zarrts"]
    if (
        len(ours["segments"]) > 1
        and foreign_of(document) == ({}, {})
        and document.keys() == set(OF_ROOT)
    ):
        return parted_bytes(document)
    return _spelled_out(document)


def is_root_as_written(content: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether the bytes of a root are ours, of this version or an earlier one."""
    return (
        is_whole_by_bytes(content)
        or _is_whole_as_before(content, document)
        or (content == _spelled_out(document))
    )


def is_root_whole(content: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether a root matches its checksum; `document` is what its bytes say."""
    if is_whole_by_bytes(content) or _is_whole_as_before(content, document):
        return True
    # Or another program has added something of its own, and written all of it in its own way.
    return bool(document["attributes"]["zarrts"]["crc32c"] == root_checksum(document))


def _is_whole_as_before(content: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether a root of several parts is as an earlier version wrote it."""
    found = _CHECKSUMS.search(content)
    if found is None:
        return False
    view = memoryview(content)
    checksum = crc32c(view[found.end() :], crc32c(view[: found.start()]))
    return bool(document["attributes"]["zarrts"].get("bytes_crc32c") == checksum)


def _spelled_out(document: Mapping[str, Any]) -> bytes:
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


def metadata_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of every array and group of a store, by path, as its root has them."""
    return dict(document["consolidated_metadata"]["metadata"])
