"""The metadata of a Zarr hierarchy: its arrays and groups, of format 2 or 3.

A hierarchy that somebody sent is data. Of the codecs that zarr-python has or finds among the
installed packages, some unpickle what they read, and so run code (GHSA-jqc8-qjfv-5m6r): what is
not on a short list is refused before zarr-python sees its metadata.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from zarrts.buckets.remote_file import Entry
from zarrts.errors import SourceError
from zarrts.sources.rows.folders import Folder, RemoteFolder

MARKS = ("zarr.json", ".zarray", ".zgroup")
"""Files of which one is in each folder of Zarr."""

METADATA = (*MARKS, ".zattrs", ".zmetadata")

KNOWN_CODECS = frozenset(
    {
        *("blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "vlen-utf8", "zstd"),
        *("bz2", "delta", "fixedscaleoffset", "lz4", "lzma", "packbits", "quantize", "shuffle"),
        *("string", "zlib", "adler32", "crc32", "fletcher32", "cast_value", "scale_offset"),
    }
)
"""Names of codecs of both formats, without the prefix "numcodecs."."""

MAX_NODES = 100_000
_MAX_BYTES = 256 << 20
_OURS = ("zarrts", "zarrts_segment")


@dataclass(frozen=True, kw_only=True)
class Node:
    """An array or a group.

    Attributes
    ----------
    path : str
        Below the hierarchy; "" for its top.
    format : int
        2 or 3.
    metadata : dict
        Its `zarr.json`, `.zarray` or `.zgroup`.
    attributes : dict
    """

    path: str
    format: int
    metadata: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_array(self) -> bool:
        """Whether it is an array, and not a group."""
        return "shape" in self.metadata

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array, as the metadata have it."""
        return tuple(int(it) for it in self.metadata["shape"])

    @property
    def dtype(self) -> str:
        """Dtype of an array in words."""
        kind = self.metadata.get("data_type", self.metadata.get("dtype"))
        return str(kind.get("name") if isinstance(kind, Mapping) else kind)

    @property
    def dimensions(self) -> tuple[str, ...] | None:
        """Names of all axes of an array, as Zarr or xarray keep them; None without some."""
        names = self.metadata.get("dimension_names") or self.attributes.get("_ARRAY_DIMENSIONS")
        if not isinstance(names, list) or len(names) != len(self.shape):
            return None
        return tuple(map(str, names)) if all(isinstance(it, str) for it in names) else None


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """A folder of Zarr whose metadata were read.

    Attributes
    ----------
    folder : Folder
    entries : sequence of Entry
        All files.
    nodes : dict
        Arrays and groups by path.
    """

    folder: Folder
    entries: Sequence[Entry]
    nodes: Mapping[str, Node]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Size of each file, by its name below the folder."""
        start = f"{self.folder.key}/" if self.folder.key else ""
        return {it.key.removeprefix(start): it.size for it in self.entries}

    def source(self, group: str) -> str | RemoteFolder:
        """Return what stands for a group among the files of a recording; "" is all of it."""
        return self.folder.below(group, self.entries)

    @property
    def arrays(self) -> dict[str, Node]:
        """Arrays by path, sorted."""
        return {path: it for path, it in sorted(self.nodes.items()) if it.is_array}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the top."""
        return self.nodes[""].attributes if "" in self.nodes else {}


def is_ours(attributes: Mapping[str, Any]) -> bool:
    """Return whether the attributes of a group are those of a store of zarrts, or of its part."""
    return any(name in attributes for name in _OURS)


def top_attributes(folder: Folder) -> Mapping[str, Any]:
    """Return the attributes of the top of a hierarchy; none where they cannot be read."""
    try:
        content = folder.read("zarr.json")
        document = json.loads(content) if content else {}
        found = document.get("attributes", {}) if isinstance(document, dict) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_hierarchy(folder: Folder, origin: str) -> Hierarchy:
    """Read the metadata of all arrays and groups in a folder.

    Raises
    ------
    SourceError
        If it cannot be listed, or metadata are damaged.
    """
    found = Hierarchy(folder=folder, entries=folder.entries(), nodes={})
    sizes = found.sizes
    keys = [key for key in sizes if key.rpartition("/")[2] in METADATA]
    if len(keys) > 2 * MAX_NODES or sum(sizes[key] for key in keys) > _MAX_BYTES:
        raise SourceError(f"{origin}: holds more than {MAX_NODES:,} arrays and groups.")
    documents = dict(_documents(folder, keys, origin))
    nodes: dict[str, Node] = {}
    for key in keys:
        start, _, name = key.rpartition("/")
        if name in MARKS and start not in nodes:
            nodes[start] = _node(start, documents, origin)
    if "" not in nodes:
        raise SourceError(f"{origin}: has none of {', '.join(MARKS)}; give a folder of Zarr.")
    return replace(found, nodes=nodes)


def _documents(
    folder: Folder, keys: Iterable[str], origin: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in keys:
        if key.endswith(".zmetadata"):
            continue  # a copy of the others
        try:
            content = folder.read(key)
            document = json.loads(content) if content else None
        except ValueError as error:
            raise SourceError(f"{origin}: {key} is damaged ({error}); copy it again.") from error
        if not isinstance(document, dict):
            raise SourceError(f"{origin}: {key} is damaged (not an object); copy it again.")
        yield key, document


def _node(path: str, documents: Mapping[str, dict[str, Any]], origin: str) -> Node:
    start = f"{path}/" if path else ""
    where = f"{origin}/{path}" if path else origin
    v3 = documents.get(f"{start}zarr.json")
    try:
        if v3 is not None:
            if v3.get("zarr_format") != 3:
                raise ValueError(f"zarr_format {v3.get('zarr_format')!r}")
            kind = v3["node_type"]
            node = Node(path=path, format=3, metadata=v3, attributes=v3.get("attributes") or {})
        else:
            found = documents.get(f"{start}.zarray")
            kind = "group" if found is None else "array"
            metadata = documents[f"{start}.zgroup"] if found is None else found
            if metadata.get("zarr_format") != 2:
                raise ValueError(f"zarr_format {metadata.get('zarr_format')!r}")
            attributes = documents.get(f"{start}.zattrs", {})
            node = Node(path=path, format=2, metadata=metadata, attributes=attributes)
        if not isinstance(node.attributes, dict):
            raise ValueError("attributes that are not an object")
        if (kind == "array") != node.is_array:
            raise ValueError(f"a node of type {kind!r}")
        if node.is_array and any(length < 0 for length in node.shape):
            raise ValueError(f"the shape {node.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{where}: its Zarr metadata are damaged ({error}); copy or save it again."
        ) from error
    return node


def refuse_codecs(node: Node, where: str) -> None:
    """Raise SourceError unless every codec that an array names is on the list."""
    found = {name.removeprefix("numcodecs.") for name in _codec_names(node, where)}
    unknown = sorted(found - KNOWN_CODECS)
    if unknown:
        raise SourceError(
            f"{where}: its codec {', '.join(map(repr, unknown))} is not among those that are read "
            f"({', '.join(sorted(KNOWN_CODECS))}), some of which could run code; save it anew with "
            "one of these."
        )


def _codec_names(node: Node, where: str) -> Iterator[str]:
    metadata = node.metadata
    if node.format == 2:
        for it in (metadata.get("compressor"), *(metadata.get("filters") or [])):
            if it is not None:
                yield str(it.get("id") if isinstance(it, Mapping) else it)
        return
    if metadata.get("storage_transformers"):
        raise SourceError(f"{where}: has storage transformers, which are not read; save it anew.")
    yield from _names_in(metadata.get("codecs"))


def _names_in(codecs: Any) -> Iterator[str]:
    """Yield the names of codecs, and of those inside them."""
    for codec in codecs if isinstance(codecs, list) else []:
        # A codec without options may be written as its name alone.
        document = codec if isinstance(codec, Mapping) else {"name": codec}
        yield str(document.get("name"))
        inside = document.get("configuration") or {}
        for key in ("codecs", "index_codecs"):
            yield from _names_in(inside.get(key))
