"""The bytes of metadata, as we write them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from zarrts.storage.checksums import crc32c
from zarrts.storage.foreign import foreign_of, without_foreign
from zarrts.storage.segments import ROOT_KEY

# No quote inside a text stands without a backslash before it.
_CHECKSUMS = re.compile(rb'(?<!\\)"crc32c":(\d+),"bytes_crc32c":(\d+),')


def root_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a root as it is written, with its checksum.

    That of a store of a thousand segments has a dozen megabytes. So where there are several, it is
    written without blanks, and with a second checksum, of the bytes, which takes a tenth of the
    time of the first.
    """
    attributes = document["attributes"]
    if len(attributes["zarrts"]["segments"]) == 1 or foreign_of(document) != ({}, {}):
        return _spelled_out(document)
    rest = {
        key: it for key, it in attributes["zarrts"].items() if key not in ("crc32c", "bytes_crc32c")
    }
    zeros = {"crc32c": 0, "bytes_crc32c": 0, **rest}
    content = _dense({**document, "attributes": {"zarrts": zeros}})
    found = _CHECKSUMS.search(content)
    assert found is not None and found[1] == b"0"
    of_bytes = _checksum_without(content, found)
    ours = {"bytes_crc32c": of_bytes, **rest}
    checksum = root_checksum({**document, "attributes": {"zarrts": ours}})
    checksums = b'"crc32c":%d,"bytes_crc32c":%d,' % (checksum, of_bytes)
    return b"%b%b%b" % (content[: found.start()], checksums, content[found.end() :])


def is_root_as_written(content: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether the bytes of a root are ours, of this version or an earlier one."""
    return content in (root_bytes(document), _spelled_out(document))


def is_root_whole(content: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether a root matches its checksum; `document` is what its bytes say."""
    ours = document["attributes"]["zarrts"]
    found = _CHECKSUMS.search(content)
    if found is not None and ours.get("bytes_crc32c") == _checksum_without(content, found):
        return True
    # Or another program has added something of its own, and written all of it in its own way.
    return bool(ours["crc32c"] == root_checksum(document))


def _checksum_without(content: bytes, checksums: re.Match[bytes]) -> int:
    """Return the crc32c of a root but for its checksums."""
    view = memoryview(content)
    return crc32c(view[checksums.end() :], crc32c(view[: checksums.start()]))


def _spelled_out(document: Mapping[str, Any]) -> bytes:
    attributes = document["attributes"]
    ours = attributes["zarrts"] | {"crc32c": root_checksum(document)}
    whole = {**document, "attributes": {**attributes, "zarrts": ours}}
    return json.dumps(whole, indent=1).encode()


def _dense(document: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    return json.dumps(document, sort_keys=sort_keys, separators=(",", ":")).encode()


def root_checksum(document: Mapping[str, Any]) -> int:
    """Return the crc32c of a root, whatever checksum it has, in one way of writing it."""
    ours = without_foreign(document)
    del ours["attributes"]["zarrts"]["crc32c"]
    return crc32c(_dense(ours, sort_keys=True))


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
