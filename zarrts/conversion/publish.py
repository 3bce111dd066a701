"""Create the segments of a store, and publish them in one atomic step."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from zarrts.buckets.bucket import ConflictError
from zarrts.conversion.axes import axes_of_input, axes_of_x, fields, label_arrays, label_axes
from zarrts.conversion.codecs import compressors_of
from zarrts.conversion.stamps import keep_stamps
from zarrts.conversion.target import Target, sweep
from zarrts.errors import PlanError
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.checksums import crc32c
from zarrts.storage.descriptions import attributes_of
from zarrts.storage.foreign import foreign_of
from zarrts.storage.joint_tables import TABLES, JointTables, entry_of, grown_manifest
from zarrts.storage.location import (
    Location,
    read_files,
    replace_file,
    replace_if,
    write_files,
)
from zarrts.storage.metadata import metadata_bytes, metadata_of, root_bytes, zarr_files
from zarrts.storage.packing import COUNTS, Packing
from zarrts.storage.schema import MASK, PACKED, schema_of
from zarrts.storage.segments import (
    CHECKSUMS,
    PACKED_MARK,
    ROOT_KEY,
    SEGMENT_MARK,
    Segment,
    input_path,
    read_documents,
    read_segment,
)
from zarrts.storage.shards import WrittenShard
from zarrts.storage.store import StoreHeader, manifest_key, sizes_below
from zarrts.storage.table import read_table
from zarrts.storage.versions import entries_of, needs_of
from zarrts.types import LabelsPer

_ENTRY_AXIS = {"sample": "sample", "row": "row", "recording": "recording_id"}


def create_segment(
    root: Location,
    name: str,
    *,
    x: tuple[tuple[int, ...], np.dtype[Any]],
    y: tuple[tuple[int, ...], np.dtype[Any]],
    chunk_rows: int,
    shard_rows: int,
    codec: str,
    axes: Sequence[str] | None = None,
    labels_per: LabelsPer = "sample",
    n_recordings: int = 0,
    needs: Sequence[str] = (),
    steps: Mapping[str, int] | None = None,
    label_steps: int = 1,
    packing: Mapping[str, Packing] | None = None,
    shuffles: Mapping[str, str] | None = None,
) -> Segment:
    """Write the metadata of the arrays of a new segment, and return what they are.

    Made in memory and written one by one, because Zarr's own writing goes on in its threads after
    the first error.

    The root stays without a `zarr.json`, so that nothing opens as a store yet.

    Parameters
    ----------
    x, y : (shape, dtype)
        The dtype of several inputs, or of several arrays of labels, has a field for each. That of x
        is of values, whether or not they are packed.
    chunk_rows, shard_rows : int
    codec : str
        One of `CODECS`.
    axes : sequence of str, optional
        What the axes of x are called, samples first; by default (sample, time, channel). Where
        rows are time, the first is always called row.
    labels_per : str
        "sample" for a dense segment, "row" or "recording" for a ragged one.
    n_recordings : int
        Of a ragged segment.
    needs : sequence of str
        What its readers have to know beyond schema 1.
    steps : mapping, optional
        Of several inputs, the steps in time of each in a row; see `InputArray`.
    label_steps : int
        Labels in a row; more than one are axis 1 of y.
    packing : dict of Packing, optional
        By name, inputs that are stored as counts, which stand for values so.
    shuffles : dict of str, optional
        Of each input by name; see `compressors_of`.
    """
    import zarr
    from zarr.storage import MemoryStore

    sizes = (chunk_rows, shard_rows)
    y_sizes = (n_recordings, n_recordings) if labels_per == "recording" else sizes
    arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any], Sequence[str], tuple[int, int]]] = {}
    is_ragged = labels_per != "sample"
    for of_input, shape, dtype in fields(*x):
        own_axes = axes_of_x(len(shape), axes, is_ragged=is_ragged)
        if of_input:
            own_axes = axes_of_input(of_input, len(shape), is_ragged=is_ragged)
        arrays[input_path(of_input)] = (shape, dtype, own_axes, sizes)
    for array, shape, dtype in label_arrays(*y):
        arrays[array] = (shape, dtype, (_ENTRY_AXIS[labels_per], *label_axes(len(shape))), y_sizes)
    if labels_per == "sample":
        arrays["recording"] = ((x[0][0],), np.dtype(np.int32), ("sample",), sizes)
    else:
        n_edges = n_recordings + 1
        arrays["offsets"] = ((n_edges,), np.dtype(np.int64), ("edge",), (n_edges, n_edges))
    if MASK in needs:
        arrays["mask"] = ((x[0][0],), np.dtype(np.uint8), ("row",), sizes)
    packed = {input_path(of_input): it for of_input, it in (packing or {}).items()}
    for array in packed:
        shape, _, names, of_array = arrays[array]
        arrays[array] = (shape, COUNTS, names, of_array)
    if packed:
        needs = [*needs, PACKED]
    shuffle_of = {input_path(of_input): it for of_input, it in (shuffles or {}).items()}
    files: dict[str, Any] = {}
    several: dict[str, Any] = {}
    if x[1].names is not None:
        several = {"steps": dict(steps or {})}
    if label_steps > 1:
        several["label_steps"] = label_steps
    mark = {SEGMENT_MARK: {**schema_of(needs), **several}}
    group = zarr.create_group(MemoryStore(files), zarr_format=3, attributes=mark)
    for array, (shape, dtype, names, (chunk, shard)) in arrays.items():
        group.create_array(
            array,
            shape=shape,
            dtype=dtype,
            chunks=(chunk, *shape[1:]),
            shards=(shard, *shape[1:]),
            compressors=compressors_of(codec, dtype, shuffle_of.get(array, "shuffle")),
            fill_value=dtype.type(0),
            attributes=packed_attributes(packed[array]) if array in packed else {},
            dimension_names=names,
            config={"write_empty_chunks": True},
        )
    checksums = group.create_group(CHECKSUMS)
    for array, (shape, _, _, (chunk, _)) in arrays.items():
        n_chunks = -(-shape[0] // chunk)
        checksums.create_array(
            array,
            shape=(n_chunks,),
            dtype=np.dtype(np.uint32),
            chunks=(max(1, n_chunks),),
            compressors=None,
            # Of each array its own: xarray's datatree refuses one name for two lengths.
            dimension_names=(f"chunk_of_{array.replace('/', '_')}",),
            config={"write_empty_chunks": True},
        )
    write_files(root / name, zarr_files(files))
    return read_segment(root, name)


def packed_attributes(packing: Packing) -> dict[str, Any]:
    """Return the attributes of an array of counts.

    Where one gain and offset hold for all of it, they stand there as well, by the names of the
    conventions for climate and forecast data, which xarray applies. Lists stand nowhere: it refuses
    them.
    """
    packed = packing.packed
    mark: dict[str, Any] = {"dtype": packed.dtype.name, "missing": packed.missing}
    if packed.error:
        mark["largest_error"] = packed.error
    found: dict[str, Any] = {PACKED_MARK: mark}
    if packed.missing is not None:
        found["_FillValue"] = packed.missing
    pairs = {*zip(packing.gain.ravel().tolist(), packing.offset.ravel().tolist(), strict=True)}
    if len(pairs) == 1:
        found["scale_factor"], found["add_offset"] = pairs.pop()
    return found


def write_checksums(root: Location, segment: Segment, written: Iterable[WrittenShard]) -> None:
    """Write the crc32c of every chunk of a segment's arrays, from all shards in order.

    A shard that was swapped with another is as good as ever by its own checksums; by these it is
    not.
    """
    of_array: dict[str, list[tuple[int, ...]]] = {array: [] for array in segment.arrays}
    for shard in written:
        array = shard.key.removeprefix(f"{segment.name}/").rpartition("/c/")[0]
        of_array[array].append(shard.chunk_checksums)
    contents = {f"{array}/c/0": checksums_bytes(it) for array, it in of_array.items()}
    write_files(root / segment.name / CHECKSUMS, contents)


def checksums_bytes(of_shards: Iterable[tuple[int, ...]]) -> bytes:
    """Return the file that lists the checksums of the chunks of all shards of an array."""
    return np.array(list(itertools.chain(*of_shards)), "<u4").tobytes()


def publish(target: Target, header: StoreHeader, written: Iterable[WrittenShard]) -> Target:
    """Make the segments of a header the content of the store, in one atomic step.

    Returns the place with its new root, which need not be parsed again for a further look.

    `target` is the place as it was when writing began: its root has to be the same still.
    `written` are shards of new segments. What the root says of segments that it has already is
    taken over as it is: measured again, their damage would become what is right.

    Raises
    ------
    StoreError
        If segments are taken over, and the manifest that lists their files is damaged.
    """
    root, old = target.root, target.header
    known = {it.name for it in old.segments} if old else set()
    files = {it.key: (it.size, it.checksum) for it in written}
    nodes: dict[str, Any] = {}
    for segment in header.segments:
        if segment.name not in known:
            nodes |= _consolidate_segment(root, segment.name)
            # A worker that was taken for dead may have begun a shard again.
            small = [
                key
                for key in sizes_below(root, segment.name)
                if key not in files and not key.endswith(".partial")
            ]
            for file, content in read_files(root, small).items():
                files[file] = len(content), crc32c(content)
    manifest = _manifest_bytes(target, header, files)
    key = manifest_key(header.version)
    write_files(root, {key: manifest})
    header = replace(header, manifest_sha256=hashlib.sha256(manifest).hexdigest())
    attributes = _attributes(header)
    attributes["manifest"] = {"key": key, "sha256": header.manifest_sha256}
    published = _root_bytes(target, attributes, nodes)
    try:
        replace_if(root / ROOT_KEY, published, target.content)
    except ConflictError:
        raise PlanError(
            f"{root} was published by another conversion meanwhile, which stays; open it, or "
            "choose another name."
        ) from None
    return Target(root=root, content=published, header=header, tables=JointTables(root, header))


def _manifest_bytes(
    target: Target, header: StoreHeader, files: Mapping[str, tuple[int, int]]
) -> bytes:
    """Return the manifest of a header; `files` are those of parts that the target does not have."""
    root, old, joint = target.root, target.header, target.tables
    known = {it.name for it in old.segments} if old else set()
    taken_over = [it.name for it in header.segments if it.name in known]
    new = [it for it in header.segments if it.name not in known]
    tables = {it.name: entry_of(read_table(root, it)) for it in new if len(header.segments) > 1}
    entries = dict(files)
    if taken_over and joint is not None:
        if len(new) == 1 and len(taken_over) == len(known):
            grown = grown_manifest(joint.manifest, taken_over, files, tables)
            if grown is not None:
                return grown
        entries |= _below(taken_over, joint.manifest.entries)
        tables |= {it.name: joint.entry(it) for it in header.segments if it.name in known}
    listed: dict[str, Any] = {"objects": entries}
    if len(header.segments) > 1:
        listed[TABLES] = tables
    return json.dumps(listed, sort_keys=True, separators=(",", ":")).encode()


def _root_bytes(target: Target, attributes: Mapping[str, Any], nodes: Mapping[str, Any]) -> bytes:
    """Return a new root; `nodes` are metadata of parts that the target does not have."""
    foreign: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    metadata = dict(nodes)
    if target.header is not None:
        grown = None if target.parted is None else target.parted.grown(attributes, nodes)
        if grown is not None:
            return grown
        document = target.document
        foreign = foreign_of(document)
        known = {it.name for it in target.header.segments}
        taken_over = (it["name"] for it in attributes["segments"] if it["name"] in known)
        metadata = _below(taken_over, metadata_of(document)) | metadata
    return root_bytes(
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"zarrts": attributes, **foreign[0]},
            "consolidated_metadata": _consolidated({**metadata, **foreign[1]}),
        }
    )


def finish_removal(target: Target) -> None:
    """Delete what a published removal left, and say in the root that it came to its end.

    1. The root that the removal published says that files are still to be deleted.
    2. They are deleted here. Whoever is killed meanwhile leaves the root as it is, and whoever
       writes next comes here again.
    3. The root is replaced by one that is the same but for that.
    """
    header = target.header
    assert header is not None and target.content is not None
    sweep(target, target.unfinished.segment if target.unfinished else None)
    keep_stamps(target.root, [it.name for it in header.segments])
    if header.removal is None:
        return
    document = target.document
    del document["attributes"]["zarrts"]["removal"]
    replace_if(target.root / ROOT_KEY, root_bytes(document), target.content)


def _below(names: Iterable[str], of_paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return what belongs to some segments."""
    wanted = {*names}
    return {path: it for path, it in of_paths.items() if path.partition("/")[0] in wanted}


def _consolidated(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": metadata}


def _consolidate_segment(root: Location, name: str) -> dict[str, Any]:
    """Put the metadata of a segment's arrays into its own `zarr.json`, and return all of it."""
    documents = read_documents(root, name)
    for path, node in documents.items():
        if node["node_type"] == "group":
            documents[path] = node | {"consolidated_metadata": _consolidated({})}
    replace_file(root / name / ROOT_KEY, metadata_bytes(segment_document(documents, name)))
    return documents


def segment_document(documents: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the metadata of a segment's group, those of all that is in it included."""
    below = {
        path.removeprefix(f"{name}/"): node
        for path, node in sorted(documents.items())
        if path.startswith(f"{name}/")
    }
    return {**documents[name], "consolidated_metadata": _consolidated(below)}


def _attributes_of_labels(labels: LabelScheme) -> dict[str, Any]:
    if labels.parts:
        parts = {
            name: _attributes_of_labels(it) | {"shape": list(labels.dtype[name].shape)}
            for name, it in labels.parts.items()
        }
        return {"encoding": labels.encoding, "parts": parts}
    return {
        "encoding": labels.encoding,
        "dtype": labels.dtype.name,
        "class_names": labels.class_names and list(labels.class_names),
    }


def _attributes(header: StoreHeader) -> dict[str, Any]:
    return {
        **schema_of((*header.needs, *needs_of(header.versions))),
        "version": header.version,
        "kind": header.kind,
        "write_id": header.write_id,
        "labels": _attributes_of_labels(header.labels),
        "x_name": header.x_name,
        "y_name": header.y_name,
        "channels": header.channels and list(header.channels),
        "rate_hz": header.rate_hz,
        "segments": [
            {
                "name": it.name,
                "stored_bytes": it.stored_bytes,
                "write_id": it.write_id,
                "provenance": it.provenance,
                "options": dict(it.options),
                "table_sha256": it.table_sha256,
            }
            for it in header.segments
        ],
        "versions": entries_of(header.versions),
        "gone": [{"versions": list(it.versions), "why": it.why} for it in header.gone],
        **({} if header.labels_per == "sample" else {"labels_per": header.labels_per}),
        **({} if header.units is None else {"units": list(header.units)}),
        **({} if header.removal is None else {"removal": asdict(header.removal)}),
        **(
            {"inputs": {name: attributes_of(it) for name, it in header.inputs.items()}}
            if header.inputs
            else {}
        ),
    }
