"""The schema on disk, and how a published store is opened.

A store is a Zarr v3 group whose root `zarr.json` was written last. It holds segments "0", "1",
..., each a group of arrays that share chunk length on axis 0:

    0/x            [sample, time, channel]     0/y           [sample, ...]
    0/recording    [sample]                    0/table/...   [recording, ...]
    0/checksum/x, /y, /recording [chunk]       crc32c of every chunk

The root's attributes say everything that `open` needs, with a checksum of their own, and the
sha256 of a manifest that lists every other object with size and crc32c.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.labels import LabelScheme
from zarrts.shards import crc32c
from zarrts.types import ArraySpec

Entries = Mapping[str, tuple[int, int]]
"""Size and crc32c of files, by their paths below the store."""

SCHEMA = 1
ROOT_KEY = "zarr.json"
MANIFESTS = "manifests"
SEGMENT_MARK = "zarrts_segment"
ARRAYS = ("x", "y", "recording")
CHECKSUMS = "checksum"
_MAKE = "zarrts convert SOURCES study.zarr"


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The arrays that one conversion wrote.

    Attributes
    ----------
    name : str
        Of the folder below the store.
    x, y, recording : ArraySpec
    stored_bytes : int
        Of all shards.
    write_id : str
        Digest of the sources and options that it was made from.
    options : dict
        Those options.
    table_sha256 : str
        Of the files of its table.
    axes : tuple of str
        What the axes of x are called.
    """

    name: str
    x: ArraySpec
    y: ArraySpec
    recording: ArraySpec
    stored_bytes: int = 0
    write_id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    table_sha256: str = ""
    axes: tuple[str, ...] = ()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.x.shape[0]


@dataclass(frozen=True)
class Version:
    """A version that can be opened: its segments, and how many classes were known then."""

    version: int
    segments: tuple[str, ...]
    n_classes: int | None


@dataclass(frozen=True)
class Gone:
    """Versions that cannot be opened any more, and why."""

    versions: tuple[int, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class StoreHeader:
    """What the root of a store says.

    `versions` are those that can be opened, this one last; `gone` are those that could be.
    """

    version: int
    kind: str
    write_id: str
    labels: LabelScheme
    x_name: str
    y_name: str
    channels: tuple[str, ...] | None
    rate_hz: float | None
    segments: tuple[Segment, ...]
    versions: tuple[Version, ...] = ()
    gone: tuple[Gone, ...] = ()
    manifest_sha256: str = ""

    @property
    def latest(self) -> int:
        """The latest version of the store that this is one of."""
        return max((it.version for it in self.versions), default=self.version)

    def at(self, version: int) -> "StoreHeader":
        """Return what the root said when some version was published.

        Raises
        ------
        StoreError
            If there is no such version, or no more.
        """
        for it in self.versions:
            if it.version == version:
                names = self.labels.class_names
                return replace(
                    self,
                    version=version,
                    labels=replace(self.labels, class_names=names and names[: it.n_classes]),
                    segments=tuple(one for one in self.segments if one.name in it.segments),
                )
        for gone in self.gone:
            if version in gone.versions:
                raise StoreError(f"Version {version} is gone: {gone.why}.")
        known = ", ".join(str(it.version) for it in self.versions)
        raise StoreError(f"There is no version {version}; there is {known}.")


def combined_id(segments: Sequence[Segment]) -> str:
    """Return the write id of a store of several segments; of one, its own."""
    if len(segments) == 1:
        return segments[0].write_id
    return hashlib.sha256(" ".join(it.write_id for it in segments).encode()).hexdigest()[:32]


def manifest_key(version: int) -> str:
    """Return where the manifest of a version is."""
    return f"{MANIFESTS}/{version}.json"


def root_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a root as it is written, with its checksum."""
    attributes = document["attributes"]
    ours = attributes["zarrts"] | {"crc32c": _checksum(document)}
    whole = {**document, "attributes": {**attributes, "zarrts": ours}}
    return json.dumps(whole, indent=1).encode()


def _checksum(document: Mapping[str, Any]) -> int:
    """Return the crc32c of a root, whatever checksum it has, in one way of writing it."""
    attributes = document["attributes"]
    ours = {key: value for key, value in attributes["zarrts"].items() if key != "crc32c"}
    whole = {**document, "attributes": {**attributes, "zarrts": ours}}
    return crc32c(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())


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


def read_metadata(root: Path) -> dict[str, Any]:
    """Return the metadata of every array and group of a store, by path, as the root has them."""
    return dict(_read_root(root)["consolidated_metadata"]["metadata"])


def read_manifest(root: Path, header: StoreHeader) -> Entries:
    """Return size and crc32c of every file of a store, as it was written.

    Raises
    ------
    StoreError
        If the manifest is damaged.
    """
    key = manifest_key(header.latest)
    try:
        content = (root / key).read_bytes()
    except OSError as error:
        raise StoreError(f"{root}: {key} cannot be read ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != header.manifest_sha256:
        raise StoreError(f"{root}: {key} does not match its checksum.")
    return {name: (size, crc) for name, (size, crc) in json.loads(content)["objects"].items()}


def is_store(root: Path) -> bool:
    """Return whether a folder holds a complete store of ours."""
    try:
        read_header(root)
    except StoreError:
        return False
    return True


def read_header(root: Path) -> StoreHeader:
    """Read the root of a store; nothing else is touched.

    Raises
    ------
    StoreError
        If there is no store, it is not complete, or a newer version wrote it.
    """
    document = _read_root(root)
    try:
        attributes = document.get("attributes", {}).get("zarrts")
        if attributes is None:
            raise StoreError(_why_not_ours(root, document))
        if attributes["schema"] != SCHEMA:
            raise StoreError(
                f"{root} has schema {attributes['schema']}, but this version of zarrts reads "
                f"schema {SCHEMA}; upgrade zarrts: python -m pip install --upgrade zarrts."
            )
        if attributes["crc32c"] != _checksum(document):
            raise ValueError("it does not match its checksum")
        return _header(document, attributes)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{root / ROOT_KEY} is damaged ({type(error).__name__}: {error}). Copy the store "
            "again, or convert again."
        ) from error


def _header(document: Mapping[str, Any], attributes: Mapping[str, Any]) -> StoreHeader:
    labels = attributes["labels"]
    names = labels["class_names"]
    return StoreHeader(
        version=attributes["version"],
        kind=attributes["kind"],
        write_id=attributes["write_id"],
        labels=LabelScheme(
            encoding=labels["encoding"],
            dtype=np.dtype(labels["dtype"]),
            class_names=None if names is None else tuple(names),
        ),
        x_name=attributes["x_name"],
        y_name=attributes["y_name"],
        channels=attributes["channels"] and tuple(attributes["channels"]),
        rate_hz=attributes["rate_hz"],
        segments=tuple(
            _segment(document["consolidated_metadata"]["metadata"], it)
            for it in attributes["segments"]
        ),
        versions=tuple(
            Version(it["version"], tuple(it["segments"]), it["n_classes"])
            for it in attributes["versions"]
        ),
        gone=tuple(Gone(tuple(it["versions"]), it["why"]) for it in attributes["gone"]),
        manifest_sha256=attributes["manifest"]["sha256"],
    )


def _read_root(root: Path) -> dict[str, Any]:
    path = root / ROOT_KEY
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(_why_no_store(root)) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}). Copy the store again, or convert again."
        ) from error
    if not isinstance(document, dict):
        raise StoreError(f"{path} is damaged. Copy the store again, or convert again.")
    return document


def _why_not_ours(root: Path, document: Mapping[str, Any]) -> str:
    if SEGMENT_MARK in document.get("attributes", {}):
        return f"{root} is a part of a store; open the folder that it is in: {root.parent}"
    return f"{root} is a Zarr {document['node_type']}, but no zarrts store. Make one: {_MAKE}"


def _why_no_store(root: Path) -> str:
    if not root.exists() and re.match(r"\w{2,}:/", root.as_posix()):
        return f"{root} is an address, and only folders can be opened yet; copy the store here."
    if not root.exists():
        return f"{root} does not exist. Check the spelling, or make a store: {_MAKE}"
    if root.is_file():
        return f"{root} is a file, not a store. Make one: zarrts convert {root} study.zarr"
    suffixes = {path.suffix.lower() for path in root.iterdir()}
    if (root / "0" / ROOT_KEY).exists():
        return (
            f"{root} is a store whose conversion did not finish. Run the same zarrts convert again."
        )
    if suffixes & {".npz", ".npy"}:
        return (
            f"{root} holds source files, not a store. Convert them first: "
            f"zarrts convert {root} study.zarr, and open study.zarr."
        )
    return f"{root} is a folder, but no store. Make one: {_MAKE}"


def _segment(metadata: Mapping[str, Any], entry: Mapping[str, Any]) -> Segment:
    name = entry["name"]
    x, y, recording = (
        _checksummed(name, array, array_spec(f"{name}/{array}", metadata[f"{name}/{array}"]))
        for array in ARRAYS
    )
    return Segment(
        name=name,
        x=x,
        y=y,
        recording=recording,
        stored_bytes=entry["stored_bytes"],
        write_id=entry["write_id"],
        options=entry["options"],
        table_sha256=entry["table_sha256"],
        axes=tuple(metadata[f"{name}/x"]["dimension_names"]),
    )


def read_segment(root: Path, name: str) -> Segment:
    """Return the arrays of a segment that is on disk, published or not."""
    x, y, recording = (
        _checksummed(name, array, read_array_spec(root, f"{name}/{array}")) for array in ARRAYS
    )
    return Segment(name=name, x=x, y=y, recording=recording)


def read_array_spec(root: Path, path: str) -> ArraySpec:
    """Return what the metadata of one array on disk say."""
    return array_spec(path, json.loads((root / path / ROOT_KEY).read_bytes()))


def _checksummed(segment: str, array: str, spec: ArraySpec) -> ArraySpec:
    return replace(spec, checksums=f"{segment}/{CHECKSUMS}/{array}/c/0")


def array_spec(path: str, metadata: Mapping[str, Any]) -> ArraySpec:
    """Return what the metadata of one array say."""
    shape = tuple(metadata["shape"])
    outer = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    codecs = metadata["codecs"]
    is_sharded = [codec["name"] for codec in codecs] == ["sharding_indexed"]
    inner = codecs[0]["configuration"]["chunk_shape"] if is_sharded else outer
    chain, compressor, order = _known_chain(metadata) if is_sharded else (None, {}, "<")
    if tuple(inner[1:]) != shape[1:] or tuple(outer[1:]) != shape[1:]:
        chain = None
    return ArraySpec(
        path=path,
        shape=shape,
        dtype=np.dtype(metadata["data_type"]).newbyteorder(order),
        chunk_rows=inner[0],
        shard_rows=outer[0],
        codecs=chain,
        compressor=compressor,
    )


def _known_chain(
    metadata: Mapping[str, Any],
) -> tuple[tuple[str, ...] | None, Mapping[str, Any], str]:
    """Return (codecs after the bytes, compressor's configuration, byte order) of a shard."""
    sharding = metadata["codecs"][0]["configuration"]
    first, *rest = sharding["codecs"]
    names = tuple(codec["name"] for codec in rest)
    index_names = [codec["name"] for codec in sharding["index_codecs"]]
    endian = first.get("configuration", {}).get("endian", "little")
    order = "<" if endian == "little" else ">"
    separator = metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
    is_known = (
        first["name"] == "bytes"
        and index_names == ["bytes", "crc32c"]
        and sharding["index_codecs"][0]["configuration"]["endian"] == "little"
        and sharding.get("index_location", "end") == "end"
        and metadata["chunk_key_encoding"]["name"] == "default"
        and separator == "/"
    )
    compressor = rest[0].get("configuration", {}) if rest else {}
    return (names if is_known else None), compressor, order
