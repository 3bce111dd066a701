"""Create the segments of a store, publish them in one atomic step, and delete what is no more."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.shards import WrittenShard, crc32c
from zarrts.store import (
    MANIFESTS,
    ROOT_KEY,
    SCHEMA,
    STATISTICS,
    RecordingTable,
    Segment,
    StoreHeader,
    read_array_spec,
)
from zarrts.system import replace_file
from zarrts.types import AnyArray, ArraySpec

CODECS = ("lz4", "zstd", "none")
_TABLE_ROWS = 1 << 14
_INNER_AXES = {0: (), 1: ("channel",), 2: ("time", "channel")}
_BLOSC = {"lz4": ("lz4", 5), "zstd": ("zstd", 3)}


def create_segment(
    root: Path,
    name: str,
    *,
    x: tuple[tuple[int, ...], np.dtype[Any]],
    y: tuple[tuple[int, ...], np.dtype[Any]],
    chunk_rows: int,
    shard_rows: int,
    codec: str,
) -> Segment:
    """Write the metadata of the arrays of a new segment, and return what they are.

    The root stays without a `zarr.json`, so that nothing opens as a store yet.
    """
    import zarr

    inner = x[0][1:]
    arrays = {
        "x": (*x, ("sample", *_INNER_AXES.get(len(inner), _many_axes(len(inner))))),
        "y": (*y, ("sample", *(f"label_axis_{n}" for n in range(1, len(y[0]))))),
        "recording": ((x[0][0],), np.dtype(np.int32), ("sample",)),
    }
    group = zarr.create_group(str(root / name), zarr_format=3)
    for array, (shape, dtype, axes) in arrays.items():
        group.create_array(
            array,
            shape=shape,
            dtype=dtype,
            chunks=(chunk_rows, *shape[1:]),
            shards=(shard_rows, *shape[1:]),
            compressors=_compressors(codec, dtype),
            fill_value=dtype.type(0),
            dimension_names=axes,
            config={"write_empty_chunks": True},
        )
    specs = {array: read_array_spec(root, f"{name}/{array}") for array in arrays}
    return Segment(name=name, **specs, stored_bytes=0)


def trial_spec(chunk_shape: tuple[int, ...], dtype: np.dtype[Any], codec: str) -> ArraySpec:
    """Return an array of one chunk, to try out how its bytes compress."""
    first = _compressors(codec, dtype)[0].to_dict()
    names = ("crc32c",) if codec == "none" else ("blosc", "crc32c")
    return ArraySpec(
        path="",
        shape=chunk_shape,
        dtype=dtype,
        chunk_rows=chunk_shape[0],
        shard_rows=chunk_shape[0],
        codecs=names,
        compressor=first.get("configuration", {}),
    )


def _many_axes(n_axes: int) -> tuple[str, ...]:
    return (*(f"axis_{n}" for n in range(1, n_axes - 1)), "time", "channel")


def _compressors(codec: str, dtype: np.dtype[Any]) -> list[Any]:
    from zarr.codecs import BloscCodec, Crc32cCodec

    if codec == "none":
        return [Crc32cCodec()]
    cname, level = _BLOSC[codec]
    shuffle = "shuffle" if dtype.itemsize > 1 else "noshuffle"
    blosc = BloscCodec(cname=cname, clevel=level, shuffle=shuffle, typesize=dtype.itemsize)  # type: ignore[arg-type]
    return [blosc, Crc32cCodec()]


def write_table(root: Path, segment: str, table: RecordingTable) -> None:
    """Write the table of recordings of a segment."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    columns: dict[str, tuple[AnyArray, tuple[str, ...]]] = {
        "subject": (np.array(table.subject, object), ()),
        "source": (np.array(table.source, object), ()),
        "fingerprint": (np.array(table.fingerprint, object), ()),
        "start": (table.starts[:-1], ()),
        "stop": (table.starts[1:], ()),
        "source_start": (table.source_starts, ()),
    }
    if table.label_counts is not None:
        columns["label_count"] = (table.label_counts, ("class",))
    for name in STATISTICS:
        columns[name] = (getattr(table.moments, name), ("channel",))
    group = zarr.open_group(str(root / segment), mode="r+").create_group("table")
    for name, (values, axes) in columns.items():
        is_text = values.dtype == object
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=str if is_text else values.dtype,
            chunks=(min(len(values), _TABLE_ROWS), *values.shape[1:]),
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            dimension_names=("recording_id", *axes),
            config={"write_empty_chunks": True},
        )
        array[:] = values


def publish(root: Path, header: StoreHeader, written: Iterable[WrittenShard]) -> None:
    """Make the segments of a header the content of the store, in one atomic step."""
    shards = {shard.key: (shard.size, shard.checksum) for shard in written}
    metadata: dict[str, Any] = {}
    for segment in header.segments:
        metadata |= _consolidate_segment(root, segment.name)
    entries = {
        key: list(shards.get(key) or _measure(root / key))
        for segment in header.segments
        for key in _files_below(root, segment.name)
    }
    manifest = json.dumps({"objects": entries}, sort_keys=True, separators=(",", ":")).encode()
    key = f"{MANIFESTS}/{header.version}.json"
    (root / MANIFESTS).mkdir(exist_ok=True)
    replace_file(root / key, manifest)
    attributes = _attributes(header) | {
        "manifest": {"key": key, "sha256": hashlib.sha256(manifest).hexdigest()}
    }
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"zarrts": attributes},
        "consolidated_metadata": _consolidated(metadata),
    }
    replace_file(root / ROOT_KEY, json.dumps(document, indent=1).encode())


def _consolidated(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": metadata}


def _consolidate_segment(root: Path, name: str) -> dict[str, Any]:
    """Put the metadata of a segment's arrays into its own `zarr.json`, and return all of it."""
    folder = root / name
    below = {
        path.parent.relative_to(folder).as_posix(): json.loads(path.read_bytes())
        for path in sorted(folder.rglob(ROOT_KEY))
        if path.parent != folder
    }
    group = json.loads((folder / ROOT_KEY).read_bytes())
    for node in below.values():
        if node["node_type"] == "group":
            node["consolidated_metadata"] = _consolidated({})
    document = group | {"consolidated_metadata": _consolidated(below)}
    replace_file(folder / ROOT_KEY, json.dumps(document, indent=1).encode())
    inside = {f"{name}/{path}": node for path, node in below.items()}
    return {name: group | {"consolidated_metadata": _consolidated({})}, **inside}


def _files_below(root: Path, name: str) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix() for path in (root / name).rglob("*") if path.is_file()
    )


def _measure(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    return len(content), crc32c(content)


def _attributes(header: StoreHeader) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": header.version,
        "kind": header.kind,
        "write_id": header.write_id,
        "labels": {
            "encoding": header.labels.encoding,
            "dtype": header.labels.dtype.name,
            "class_names": header.labels.class_names and list(header.labels.class_names),
        },
        "x_name": header.x_name,
        "y_name": header.y_name,
        "channels": header.channels and list(header.channels),
        "rate_hz": header.rate_hz,
        "segments": [{"name": it.name, "stored_bytes": it.stored_bytes} for it in header.segments],
    }


def remove_segments(root: Path, names: Sequence[str] | None, keep: Sequence[str] = ()) -> None:
    """Delete segments by name, or (None) all but some, whether or not they were published."""
    for path in list(root.iterdir()) if root.exists() else []:
        doomed = path.name in names if names is not None else path.name not in keep
        if doomed and path.name.isdigit() and path.is_dir():
            shutil.rmtree(path)


def remove_unfinished(root: Path) -> None:
    """Delete what a conversion that did not finish left in a folder without a root.

    Raises
    ------
    StoreError
        If the folder holds anything else: nothing is deleted then.
    """
    found = list(root.iterdir()) if root.exists() else []
    foreign = [path.name for path in found if not _is_ours(path)]
    if foreign:
        raise StoreError(
            f"{root} is not empty: it holds {', '.join(sorted(foreign)[:3])}"
            f"{' ...' if len(foreign) > 3 else ''}, which no conversion wrote. "
            "Choose a new folder for the store."
        )
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_ours(path: Path) -> bool:
    if path.name in (MANIFESTS, f"{ROOT_KEY}.partial"):
        return True
    return path.name.isdigit() and (path / ROOT_KEY).exists()
