"""The schema on disk, and how a published store is opened.

A store is a Zarr v3 group whose root `zarr.json` was written last. It holds segments "0", "1",
..., each a group of arrays that share chunk length on axis 0:

    0/x            [sample, time, channel]     0/y           [sample, ...]
    0/recording    [sample]                    0/table/...   [recording, ...]

The root's attributes say everything that `open` needs, and the sha256 of a manifest that lists
every other object with size and crc32c.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.labels import LabelScheme
from zarrts.moments import STATISTICS, Moments
from zarrts.types import AnyArray, ArraySpec, IntArray

SCHEMA = 1
ROOT_KEY = "zarr.json"
MANIFESTS = "manifests"
SEGMENT_MARK = "zarrts_segment"
_MAKE = "zarrts convert SOURCES study.zarr"


@dataclass(frozen=True, kw_only=True)
class RecordingTable:
    """One entry for each recording of a segment, in the order of their samples.

    Attributes
    ----------
    subject, source, fingerprint : tuple of str
        Who it belongs to, which file it came from, and a digest of that file's content.
    starts : int64, shape (n_recordings + 1,)
        First sample of each recording in the segment; the last entry is the total.
    source_starts : int64, shape (n_recordings,)
        Row of the source file that is the recording's first.
    label_counts : int64, shape (n_recordings, n_classes), or None
        Where labels are classes.
    moments : Moments, shape (n_recordings, n_channels)
    """

    subject: tuple[str, ...]
    source: tuple[str, ...]
    fingerprint: tuple[str, ...]
    starts: IntArray
    source_starts: IntArray
    label_counts: IntArray | None
    moments: Moments


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The arrays that one conversion wrote."""

    name: str
    x: ArraySpec
    y: ArraySpec
    recording: ArraySpec
    stored_bytes: int

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.x.shape[0]


@dataclass(frozen=True, kw_only=True)
class StoreHeader:
    """What the root of a store says."""

    version: int
    kind: str
    write_id: str
    labels: LabelScheme
    x_name: str
    y_name: str
    channels: tuple[str, ...] | None
    rate_hz: float | None
    segments: tuple[Segment, ...]


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
        _array_spec(f"{name}/{array}", metadata[f"{name}/{array}"])
        for array in ("x", "y", "recording")
    )
    return Segment(name=name, x=x, y=y, recording=recording, stored_bytes=entry["stored_bytes"])


def read_table(root: Path, segment: Segment) -> RecordingTable:
    """Read the table of recordings of a segment."""
    import zarr

    try:
        folder = root / segment.name / "table"
        group = zarr.open_group(str(folder), mode="r")
        columns = {name: _read_column(folder / name, array) for name, array in group.arrays()}
        prefix = f"{segment.name}/table/"
        for path in _read_root(root)["consolidated_metadata"]["metadata"]:
            if path.startswith(prefix) and path.removeprefix(prefix) not in columns:
                raise ValueError(f"{path} is missing")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise StoreError(
            f"{root}: the table of recordings of part {segment.name} cannot be read ({error}). "
            "Copy the store again, or convert again."
        ) from error
    return RecordingTable(
        subject=tuple(str(value) for value in columns["subject"]),
        source=tuple(str(value) for value in columns["source"]),
        fingerprint=tuple(str(value) for value in columns["fingerprint"]),
        starts=np.append(columns["start"], segment.n_samples).astype(np.int64),
        source_starts=columns["source_start"],
        label_counts=columns.get("label_count"),
        moments=Moments(**{name: columns[name] for name in STATISTICS}),
    )


def _read_column(folder: Path, array: Any) -> AnyArray:
    # zarr-python reads a file that is missing or empty as zeros.
    n_chunks = (-(-n // step) for n, step in zip(array.shape, array.chunks, strict=True))
    for chunk in np.ndindex(*n_chunks):
        file = folder / array.metadata.encode_chunk_key(chunk)
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty")
    return np.asarray(array[:])


def read_array_spec(root: Path, path: str) -> ArraySpec:
    """Return what the metadata of one array on disk say."""
    return _array_spec(path, json.loads((root / path / ROOT_KEY).read_bytes()))


def _array_spec(path: str, metadata: Mapping[str, Any]) -> ArraySpec:
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
