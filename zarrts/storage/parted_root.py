"""The root of a store of several parts, as bytes that grow by a part without being parsed.

That of a store of a thousand parts has a dozen megabytes, most of them metadata of tables, which
only other programs need. It is written without blanks, as if on one line:

    {"attributes":{"zarrts":{ATTRIBUTES}},
     "consolidated_metadata":{"kind":"inline","metadata":{PART,PART,...},"must_understand":false},
     "node_type":"group","zarr_format":3}

The attributes are sorted by name. Of each part they say ("metadata") the crc32c that PART has with
all of its names sorted, and its size, which does not depend on their order. In PART, the metadata
of arrays of samples come first. There are two checksums: `bytes_crc32c` of all bytes but for these
two, and `crc32c` of the document with all names sorted, as roots of a single part have it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zarrts.storage.checksums import crc32c, crc32c_of_list
from zarrts.storage.segments import CHECKSUMS

_START = b'{"attributes":'
_BYTES = re.compile(rb'\{"attributes":\{"zarrts":\{("bytes_crc32c":(\d+),)')
# No quote inside a text stands without a backslash before it, which makes this the attribute.
_NAMES = re.compile(rb'(?<=,)("crc32c":(\d+),)')
_NODES = b',"consolidated_metadata":{"kind":"inline","metadata":{'
_END = b'},"must_understand":false},"node_type":"group","zarr_format":3}'
_CHECKSUM_NAMES = ("bytes_crc32c", "crc32c")
_OF_PART = "metadata"
_NEEDED_LAST = (CHECKSUMS, "table")
_CHECKSUMS = CHECKSUMS.encode()

Nodes = Mapping[str, Any]
"""Metadata of arrays and groups by path."""


@dataclass(frozen=True)
class PartedRoot:
    """A root that is whole, by the checksum of its bytes, and in the layout above.

    Attributes
    ----------
    content : bytes
    attributes : dict
        Ours.
    start : int
        Where the first part begins.
    """

    content: bytes
    attributes: Mapping[str, Any]
    start: int

    @staticmethod
    def of(content: bytes) -> "PartedRoot | None":
        """Return a root; None where it is in another layout, or not as it was written."""
        checksums = _find_checksums(content)
        if checksums is None or int(checksums[0][2]) != _checksum_of_bytes(content, checksums):
            return None
        stop = content.find(_NODES, checksums[1].end())
        if stop < 0:
            return None
        attributes = json.loads(content[len(_START) : stop])["zarrts"]
        start, parts = stop + len(_NODES), attributes.get("segments", ())
        n_bytes = sum(it.get(_OF_PART, (0, 0))[1] + 1 for it in parts) - 1
        if start + n_bytes + len(_END) != len(content):
            return None
        return PartedRoot(content, attributes, start)

    @property
    def document(self) -> Mapping[str, Any]:
        """The document without its metadata."""
        return {"attributes": {"zarrts": self.attributes}}

    @property
    def arrays(self) -> Mapping[str, bytes]:
        """The metadata of arrays of samples and their groups, of each part by its name, as JSON."""
        texts, start = {}, self.start
        for it in self.attributes["segments"]:
            name, stop = it["name"], start + it[_OF_PART][1]
            end = self.content.index(b',"%b/%b' % (name.encode(), _CHECKSUMS), start, stop)
            texts[name] = self.content[start:end]
            start = stop + 1
        return texts

    def grown(self, attributes: Mapping[str, Any], nodes: Nodes) -> bytes | None:
        """Return the root with one more part; None where that is not all that is new.

        Parameters
        ----------
        attributes : dict
            Ours of the new root.
        nodes : dict
            Metadata of the new part.
        """
        *others, new = (it["name"] for it in attributes["segments"])
        before = self.attributes["segments"]
        if others != [it["name"] for it in before]:
            return None
        part = _Part.of(new, nodes)
        known = [it[_OF_PART] for it in before]
        parts = [_Part(name, *of_part) for name, of_part in zip(others, known, strict=True)]
        before_new = memoryview(self.content)[self.start : len(self.content) - len(_END)]
        return _composed(attributes, [*parts, part], (before_new, b",", part.text))


def is_whole_by_bytes(content: bytes) -> bool:
    """Return whether a root is in this layout, and matches the checksum of its bytes."""
    checksums = _find_checksums(content)
    return checksums is not None and int(checksums[0][2]) == _checksum_of_bytes(content, checksums)


def parted_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the root of a store of several parts as it is written, with its checksums.

    There is nothing of other programs in it.
    """
    ours = document["attributes"]["zarrts"]
    of_part: dict[str, dict[str, Any]] = {it["name"]: {} for it in ours["segments"]}
    for path, node in document["consolidated_metadata"]["metadata"].items():
        of_part[path.partition("/")[0]][path] = node
    parts = [_Part.of(name, nodes) for name, nodes in of_part.items()]
    return _composed(ours, parts, (b",".join(it.text for it in parts),))


@dataclass(frozen=True)
class _Part:
    """A part of a store: crc32c and size of its metadata, and these, where they are needed."""

    name: str
    checksum: int
    n_bytes: int
    text: bytes = b""

    @staticmethod
    def of(name: str, nodes: Nodes) -> "_Part":
        def is_needed_last(path: str) -> bool:
            return path.removeprefix(f"{name}/").partition("/")[0] in _NEEDED_LAST

        ordered = sorted(nodes, key=lambda path: (is_needed_last(path), path))
        text = _dense({path: nodes[path] for path in ordered})[1:-1]
        in_order = _dense(nodes, sort_keys=True)[1:-1]
        return _Part(name, crc32c(in_order), len(text), text)


def _composed(
    attributes: Mapping[str, Any], parts: Sequence[_Part], nodes: Sequence[bytes | memoryview]
) -> bytes:
    """Return a root of attributes, and of the metadata of all parts, in some pieces."""
    rest = {key: it for key, it in attributes.items() if key not in _CHECKSUM_NAMES}
    rest["segments"] = [
        {**it, _OF_PART: [part.checksum, part.n_bytes]}
        for it, part in zip(attributes["segments"], parts, strict=True)
    ]
    zeros = dict.fromkeys(_CHECKSUM_NAMES, 0)
    head = _dense({"attributes": {"zarrts": {**zeros, **rest}}}, sort_keys=True)[:-1] + _NODES
    checksums = _find_checksums(head)
    assert checksums is not None
    of_bytes, of_names = checksums
    first, second = head[: of_bytes.start(1)], head[of_bytes.end(1) : of_names.start(1)]
    third = head[of_names.end(1) :]
    checksum = _crc32c_of(first, second, third, *nodes, _END)
    first += b'"bytes_crc32c":%d,' % checksum
    checksum = _crc32c_of(first, second, third)
    in_order = sorted(parts, key=lambda it: it.name)
    of_parts = ((it.checksum, it.n_bytes) for it in in_order)
    checksum = crc32c_of_list(of_parts, b",", checksum)
    checksum = crc32c(_END, checksum)
    return b"".join((first, second, b'"crc32c":%d,' % checksum, third, *nodes, _END))


def _find_checksums(content: bytes) -> tuple[re.Match[bytes], re.Match[bytes]] | None:
    """Return where the checksums of bytes and of names are; None where they are not."""
    of_bytes = _BYTES.match(content)
    of_names = None if of_bytes is None else _NAMES.search(content, of_bytes.end(1) - 1)
    return None if of_bytes is None or of_names is None else (of_bytes, of_names)


def _checksum_of_bytes(content: bytes, checksums: tuple[re.Match[bytes], re.Match[bytes]]) -> int:
    of_bytes, of_names = checksums
    view = memoryview(content)
    return _crc32c_of(
        view[: of_bytes.start(1)],
        view[of_bytes.end(1) : of_names.start(1)],
        view[of_names.end(1) :],
    )


def _crc32c_of(*pieces: bytes | memoryview) -> int:
    checksum = 0
    for it in pieces:
        checksum = crc32c(it, checksum)
    return checksum


def _dense(document: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    return json.dumps(document, sort_keys=sort_keys, separators=(",", ":")).encode()
