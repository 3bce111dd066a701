"""Create the segments of a store, publish them in one atomic step, and delete what is no more."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import PlanError, StoreError
from zarrts.moments import STATISTICS
from zarrts.shards import WrittenShard, crc32c
from zarrts.store import (
    MANIFESTS,
    ROOT_KEY,
    SCHEMA,
    SEGMENT_MARK,
    RecordingTable,
    Segment,
    StoreHeader,
    is_store,
    read_array_spec,
    read_header,
)
from zarrts.system import replace_file
from zarrts.types import AnyArray, ArraySpec

CODECS = ("lz4", "zstd", "none")
_MANIFEST_START = b'{"objects":'
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
    axes: Sequence[str] | None = None,
) -> Segment:
    """Write the metadata of the arrays of a new segment, and return what they are.

    The root stays without a `zarr.json`, so that nothing opens as a store yet.

    Parameters
    ----------
    x, y : (shape, dtype)
    chunk_rows, shard_rows : int
    codec : str
        One of `CODECS`.
    axes : sequence of str, optional
        What the axes of x are called, samples first; by default (sample, time, channel).
    """
    import zarr
    from zarr.storage import MemoryStore

    n_inner = len(x[0]) - 1
    arrays = {
        "x": (*x, axes or ("sample", *_INNER_AXES.get(n_inner, _many_axes(n_inner)))),
        "y": (*y, ("sample", *(f"label_axis_{n}" for n in range(1, len(y[0]))))),
        "recording": ((x[0][0],), np.dtype(np.int32), ("sample",)),
    }
    files: dict[str, Any] = {}
    mark = {SEGMENT_MARK: {"schema": SCHEMA}}
    group = zarr.create_group(MemoryStore(files), zarr_format=3, attributes=mark)
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
    _write_files(root / name, files)
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
    from zarr.storage import MemoryStore

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
    files: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(files), zarr_format=3)
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
    _write_files(root / segment / "table", files)


def _write_files(folder: Path, files: Mapping[str, Any]) -> None:
    """Write what Zarr made in memory; its own writing to disk goes on after the first error."""
    for key, content in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.to_bytes())


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
    key = _manifest_key(header)
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


def _manifest_key(header: StoreHeader) -> str:
    return f"{MANIFESTS}/{header.version}.json"


# Targets, and what is left in them -----------------------------------------------------------


def refuse_target(root: Path, write_id: str, *, overwrite: bool) -> None:
    """Raise PlanError unless a conversion may write to a folder; nothing is touched.

    It may where nothing is, where only an unfinished conversion left something, where the store
    has this write id already, and, with `overwrite`, where there is another store.
    """
    first = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not first.is_dir():
        raise PlanError(
            f"{first} is a file, but the store is a folder to be made; give it a new name, such as "
            "study.zarr."
        )
    if (root / ROOT_KEY).exists():
        try:
            header = read_header(root)
        except StoreError as error:
            raise PlanError(
                f"{error} It is not replaced; delete it yourself, or choose another name."
            ) from error
        if header.write_id != write_id and not overwrite:
            raise PlanError(
                f"{root} is a store of other sources or options. Choose another name, or "
                "replace it with overwrite=True (--overwrite)."
            )
        return
    foreign = sorted(path.name for path in _inside(root) if not _is_ours(path))
    if foreign:
        raise PlanError(
            f"{root} is not empty: it holds {', '.join(foreign[:3])}"
            f"{' ...' if len(foreign) > 3 else ''}, which no conversion wrote. "
            "Choose a new folder for the store."
        )


def sweep(root: Path) -> None:
    """Delete what conversions wrote and the root does not name: all of it, where there is no root.

    What others put into the folder stays; so does everything under a root that is not ours.
    """
    kept = {ROOT_KEY}
    if is_store(root):
        header = read_header(root)
        kept |= {segment.name for segment in header.segments}
        for path in _inside(root / MANIFESTS):
            if _is_manifest(path) and path.name != Path(_manifest_key(header)).name:
                path.unlink()
        kept.add(MANIFESTS)
    elif (root / ROOT_KEY).exists():
        return
    for path in _inside(root):
        if path.name not in kept and _is_ours(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_ours(path: Path) -> bool:
    """Return whether a conversion wrote this entry of a store's folder, whole or in part."""
    if path.name == f"{ROOT_KEY}.partial":
        return path.is_file()
    if path.name == MANIFESTS:
        return path.is_dir() and all(_is_manifest(it) for it in path.iterdir())
    if not path.name.isdigit() or not path.is_dir():
        return False
    try:
        attributes = json.loads((path / ROOT_KEY).read_bytes())["attributes"]
        return SEGMENT_MARK in attributes
    except FileNotFoundError:
        return all(it.name.endswith(".partial") for it in path.iterdir())
    except (ValueError, LookupError, TypeError):
        return False


def _is_manifest(path: Path) -> bool:
    if not re.fullmatch(r"\d+\.json(\.partial)?", path.name) or not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(len(_MANIFEST_START))
    return start == _MANIFEST_START or path.suffix == ".partial"
