"""The rows, metadata and tables of parts of a store, one after the other, as one part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from zarrts.conversion.publish import packed_attributes
from zarrts.stats.moments import Moments
from zarrts.stats.sketches import condense, count_joined_points
from zarrts.storage.chunks import ChunkReader, open_chunks, read_rows
from zarrts.storage.location import Location
from zarrts.storage.packing import Packing
from zarrts.storage.segments import CHECKSUMS, Segment, input_path
from zarrts.storage.shards import ShardWriter, WrittenShard
from zarrts.storage.table import RecordingTable, columns_of
from zarrts.timeline import Gaps
from zarrts.types import AnyArray, ArraySpec

_SHARD_BYTES = 64 << 20  # as `convert` has it by default
_MOST_CHUNKS = 1024  # in a shard: each has an entry in an index that is read whole
_WORKING_CHUNKS = 6  # old and new rows, their encoded bytes twice
_FIXED_BYTES = 4 << 20
_OF_SHARDS = "samples in a shard"
_OF_EACH = (_OF_SHARDS, "rate_hz")
_SHUFFLE = ("shuffle", "blocksize")


# Which parts -------------------------------------------------------------------------------------


def documents_by_part(metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metadata of each part, without its table, by path below it; "" is the part."""
    found: dict[str, dict[str, Any]] = {}
    for path, node in metadata.items():
        name, _, below = path.partition("/")
        if below.partition("/")[0] != "table":
            # Which only the root and the parts have, once they are published.
            kept = {key: it for key, it in node.items() if key != "consolidated_metadata"}
            found.setdefault(name, {})[below] = kept
    return found


def kind_of(segment: Segment, documents: Mapping[str, Any], table: RecordingTable) -> Any:
    """Return what is equal of parts that could have been written by one conversion.

    They have the same options, by which their sources are found again, the same arrays but for
    their lengths and the shuffle before the compression, and the same statistics. The rate is that
    of the store, whether it is among the options, as of what was appended, or is that of the files.

    Parameters
    ----------
    documents : dict
        Metadata of the part; see `documents_by_part`.
    """
    options = {key: it for key, it in segment.options.items() if key not in _OF_EACH}
    arrays = {}
    for path, node in documents.items():
        if path.startswith(f"{CHECKSUMS}/"):
            continue
        is_of_rows = path in segment.row_arrays
        arrays[path] = _with_rows(node, 0, 0, None if is_of_rows else 0)
    for name, packed in segment.packed.items():
        # Gains and offsets are those of recordings; what is said of all of them is said again.
        path = input_path(name)
        arrays[path] = {**_with_any_shuffle(arrays[path]), "attributes": packed}
    # Where no recording of a part had a label, nothing was counted.
    return options, arrays, columns_of(table).keys() - {"label_count"}


def _with_any_shuffle(node: Any) -> Any:
    """Return the metadata of an array of counts without the shuffle that suited its values best."""
    codecs = node["codecs"]
    if codecs[0]["name"] != "sharding_indexed":
        return node
    sharding = codecs[0]["configuration"]
    inner = []
    for it in sharding["codecs"]:
        found = it.get("configuration", {}).items()
        inner.append((it["name"], {key: value for key, value in found if key not in _SHUFFLE}))
    return {**node, "codecs": [{**sharding, "codecs": inner}, *codecs[1:]]}


# What they are -----------------------------------------------------------------------------------


def joined_documents(
    run: Sequence[Segment],
    name: str,
    documents: Mapping[str, Any],
    table: RecordingTable,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata of parts as one part of some name, by path; and its options.

    `documents` are those of the first part, `table` is that of the joined one.

    Where the first part was too small to fill a shard, shards become as large as usual.
    """
    first = run[0]
    n_recordings = sum(_n_recordings(it) for it in run)
    per_shard = first.x.chunks_per_shard
    lengths = {array: sum(it.arrays[array].shape[0] for it in run) for array in first.arrays}
    if first.n_rows <= first.x.shard_rows:
        n_chunks = -(-sum(it.n_rows for it in run) // first.x.chunk_rows)
        most = max(1, min(_MOST_CHUNKS, _SHARD_BYTES // first.x.chunk_bytes))
        per_shard = max(per_shard, min(most, n_chunks))
    if "offsets" in lengths:
        lengths["offsets"] = n_recordings + 1
    packed = {input_path(it): packing for it, packing in table.packing.items()}
    found = {}
    for path, node in documents.items():
        array = path.removeprefix(f"{CHECKSUMS}/")
        spec = first.arrays.get(array)
        if spec is not None and path != array:
            chunk = spec.chunk_rows if array in first.row_arrays else lengths[array]
            n_checksums = -(-lengths[array] // chunk)
            node = _with_rows(node, n_checksums, max(1, n_checksums), None)
        elif spec is not None and array in first.row_arrays:
            node = _with_rows(node, lengths[array], spec.chunk_rows * per_shard, None)
        elif spec is not None:
            node = _with_rows(node, lengths[array], lengths[array], lengths[array])
        if path in packed:
            node = {**node, "attributes": packed_attributes(packed[path])}
        found[f"{name}/{path}".removesuffix("/")] = node
    options = dict(first.options)
    if _OF_SHARDS in options:
        options[_OF_SHARDS] = first.x.chunk_rows * per_shard
    return found, options


def _with_rows(node: Any, n_rows: int, n_outer: int, n_inner: int | None) -> Any:
    """Return the metadata of an array with other numbers of rows: all, of a shard, of a chunk."""
    if node["node_type"] != "array":
        return node
    grid = node["chunk_grid"]
    outer = [n_outer, *grid["configuration"]["chunk_shape"][1:]]
    codecs = node["codecs"]
    if n_inner is not None and codecs[0]["name"] == "sharding_indexed":
        sharding = codecs[0]["configuration"]
        inner = [n_inner, *sharding["chunk_shape"][1:]]
        codecs = [{**codecs[0], "configuration": {**sharding, "chunk_shape": inner}}, *codecs[1:]]
    return {
        **node,
        "shape": [n_rows, *node["shape"][1:]],
        "chunk_grid": {**grid, "configuration": {**grid["configuration"], "chunk_shape": outer}},
        "codecs": codecs,
    }


def _n_recordings(segment: Segment) -> int:
    return segment.offsets.shape[0] - 1 if segment.offsets is not None else 0


def joined_table(tables: Sequence[RecordingTable]) -> RecordingTable:
    """Return the tables of parts as that of one; what is read of it stays as it was.

    But for sketches: of very many recordings, fewer points are kept of each.
    """
    found: dict[str, Any] = {}
    for field in fields(RecordingTable):
        parts = [getattr(it, field.name) for it in tables]
        if field.name == "starts":
            lengths = np.concatenate([np.diff(it) for it in parts])
            found["starts"] = np.cumsum(np.concatenate([[0], lengths])).astype(np.int64)
        elif field.name == "label_counts":
            found["label_counts"] = _joined_counts(tables)
        elif field.name == "sketch":
            found["sketch"] = _joined_sketch(tables)
        elif field.name == "groups":
            found["groups"] = _joined_groups(tables)
        elif isinstance(parts[0], tuple):
            found[field.name] = tuple(it for part in parts for it in part)
        elif field.name == "gaps":
            firsts = np.cumsum([0, *(int(it.starts[-1]) for it in tables[:-1])]).tolist()
            found["gaps"] = Gaps.joined(zip(firsts, parts, strict=True))
        elif isinstance(parts[0], Moments):
            found[field.name] = Moments.joined(parts)
        elif field.name == "packing":
            found["packing"] = {
                name: Packing.joined([it[name] for it in parts]) for name in parts[0]
            }
        elif isinstance(parts[0], np.ndarray):
            found[field.name] = np.concatenate(parts)
        else:
            assert all(it is None for it in parts), field.name  # or it is joined above
    return RecordingTable(**found)


def _joined_groups(tables: Sequence[RecordingTable]) -> tuple[Mapping[str, str], ...]:
    """Return what is said of each recording; of parts that say nothing, nothing."""
    if not any(it.groups for it in tables):
        return ()
    nothing: Mapping[str, str] = {}
    return tuple(said for it in tables for said in it.groups or [nothing] * len(it.subject))


def _joined_counts(tables: Sequence[RecordingTable]) -> AnyArray | None:
    # None where no recording of a part had a label; later parts know more classes.
    widths = [0 if it.label_counts is None else it.label_counts.shape[1] for it in tables]
    if not max(widths):
        return None
    counts = np.zeros((sum(len(it.subject) for it in tables), max(widths)), np.int64)
    start = 0
    for table, width in zip(tables, widths, strict=True):
        stop = start + len(table.subject)
        if table.label_counts is not None:
            counts[start:stop, :width] = table.label_counts
        start = stop
    return counts


def _joined_sketch(tables: Sequence[RecordingTable]) -> AnyArray | None:
    sketches = [it.sketch for it in tables if it.sketch is not None]
    if len(sketches) < len(tables):
        return None
    n_recordings = sum(len(it.subject) for it in tables)
    n_points = count_joined_points(
        [it.shape[1] for it in sketches], n_recordings, sketches[0].shape[2]
    )
    if n_points == 0:
        return None
    return np.concatenate(
        [
            it
            if it.shape[1] == n_points
            else np.stack([condense(points, n_points) for points in it])
            for it in sketches
        ]
    )


# Their rows --------------------------------------------------------------------------------------


class JoinedRows:
    """The rows of one array of some parts, one after the other.

    Parameters
    ----------
    readers : sequence of ChunkReader
        Of each part.
    shifts : sequence of int
        What is added to the values of each.
    skipped : int
        Rows at the start of each part but the first that are left out.
    """

    def __init__(
        self, readers: Sequence[ChunkReader], shifts: Sequence[int], skipped: int = 0
    ) -> None:
        self._readers, self._shifts = readers, shifts
        self._skipped = [0, *(skipped for _ in readers[1:])]
        lengths = [
            reader.spec.shape[0] - n for reader, n in zip(readers, self._skipped, strict=True)
        ]
        self._edges = np.cumsum([0, *lengths])

    def into(self, out: AnyArray, start: int) -> None:
        """Fill `out` with the rows from `start` on; with zeros, where there are no more."""
        stop = min(start + len(out), int(self._edges[-1]))
        out[stop - start :] = 0
        first = int(np.searchsorted(self._edges, start, "right")) - 1
        for number in range(first, len(self._readers)):
            edge = int(self._edges[number])
            low, high = max(start, edge), min(stop, int(self._edges[number + 1]))
            if low >= stop:
                break
            if high <= low:
                continue
            before = edge - self._skipped[number]
            rows = read_rows(self._readers[number], low - before, high - before)
            out[low - start : high - start] = rows
            if self._shifts[number]:
                out[low - start : high - start] += out.dtype.type(self._shifts[number])

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        for reader in self._readers:
            reader.close()


@dataclass(frozen=True)
class JoinTask:
    """One shard of one array of a joined part, which whoever takes the task owns.

    Of one array, rows that are written are counted (`is_counted`).
    """

    root: Location
    array: str
    spec: ArraySpec
    shard: int
    rows: JoinedRows
    is_counted: bool


def tasks_of(
    root: Location, run: Sequence[Segment], segment: Segment, tables: Sequence[RecordingTable]
) -> list[JoinTask]:
    """Return the shards of all arrays of a joined part, those of an array in order."""
    numbers = np.cumsum([0, *(len(it.subject) for it in tables[:-1])]).tolist()
    rows = np.cumsum([0, *(it.n_rows for it in run[:-1])]).tolist()
    tasks, counted = [], input_path(next(iter(segment.inputs)))
    for array, spec in segment.arrays.items():
        readers = [open_chunks(root, it.arrays[array]) for it in run]
        shifts = {"recording": numbers, "offsets": rows}.get(array, [0] * len(run))
        joined = JoinedRows(readers, shifts, skipped=1 if array == "offsets" else 0)
        is_counted = array == counted
        tasks += [
            JoinTask(root, array, spec, shard, joined, is_counted) for shard in range(spec.n_shards)
        ]
    return tasks


def write_task(task: JoinTask, on_rows: Callable[[int], None]) -> WrittenShard:
    """Write a shard, a chunk at a time."""
    spec = task.spec
    chunk = np.empty(spec.chunk_shape, spec.dtype)
    first = task.shard * spec.shard_rows
    stop = min(first + spec.shard_rows, spec.shape[0])
    with ShardWriter(task.root, spec, task.shard) as writer:
        for start in range(first, stop, spec.chunk_rows):
            task.rows.into(chunk, start)
            writer.append(chunk)
            if task.is_counted:
                on_rows(min(spec.chunk_rows, stop - start))
        return writer.commit()


def task_bytes(run: Sequence[Segment]) -> int:
    """Return the most memory that one task takes."""
    most = 0
    for segment in run:
        for array, spec in segment.arrays.items():
            n_rows = spec.chunk_rows
            if array not in segment.row_arrays:
                n_rows = sum(it.arrays[array].shape[0] for it in run)
            most = max(most, n_rows * (spec.chunk_bytes // spec.chunk_rows))
    return _WORKING_CHUNKS * most + _FIXED_BYTES
