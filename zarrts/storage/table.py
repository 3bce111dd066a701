"""The table of recordings of a segment: whose samples they are, where from, and what they hold."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from zarrts.buckets.objects import ObjectPath
from zarrts.errors import AccessError, BucketError, StoreError
from zarrts.stats.moments import STATISTICS, Moments
from zarrts.storage.codecs import refuse_unknown_codecs
from zarrts.storage.location import Location, list_files, read_files, write_files
from zarrts.storage.metadata import zarr_files
from zarrts.storage.open_files import within_limit
from zarrts.storage.packing import Packing
from zarrts.storage.segments import ROOT_KEY, Segment
from zarrts.timeline import Gaps
from zarrts.types import AnyArray, IntArray

_TABLE_ROWS = 1 << 14
_CRC_BYTES = 4
_TEXTS = ("subject", "source", "fingerprint")
# Labels need not be classes, and older stores hold fewer statistics.
_GAPS = ("gap_row", "gap_s")
_PACKING = ("gain", "offset")
_OPTIONAL = ("label_count", "mean_rest", "sketch", *_GAPS, *_PACKING, "groups")
_COLUMNS = (
    *_TEXTS,
    *("start", "stop", "source_start", "label_count"),
    *STATISTICS,
    *("sketch", *_GAPS, *_PACKING, "groups"),
)


class RecordingNames(Protocol):
    """The recordings of a segment, in the order of their rows: who, where from, how long."""

    @property
    def subject(self) -> tuple[str, ...]:
        """Names of the subjects that they belong to."""
        ...

    @property
    def source(self) -> tuple[str, ...]:
        """Names of the files that they came from."""
        ...

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Digests of the content of these files."""
        ...

    @property
    def starts(self) -> IntArray:
        """First row of each in the segment, shape (n_recordings + 1,); the last is the total.

        A row is a sample, or a step in time where the segment is ragged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RecordingTable:
    """One entry for each recording of a segment, and what is in it.

    Attributes
    ----------
    subject, source, fingerprint, starts
        See `RecordingNames`.
    source_starts : int64, shape (n_recordings,)
        Row of the source file that is the recording's first.
    label_counts : int64, shape (n_recordings, n_classes), or None
        Where labels are classes.
    moments : Moments, shape (n_recordings, n_channels)
    sketch : array, shape (n_recordings, n_points, n_channels), or None
        Values evenly spaced in rank; see `sketches`. None in older stores.
    gaps : Gaps, or None
        Rows of the segment before which something is missing, of all recordings.
    read_sketch : callable, or None
        Reads it, where it was not read with the rest, of which it is most.
    groups : tuple of dict
        What the study said of each recording, by the name of a column; empty where it said nothing.
    packing : dict of Packing
        How counts stand for values, of each input that is packed.
    """

    subject: tuple[str, ...]
    source: tuple[str, ...]
    fingerprint: tuple[str, ...]
    starts: IntArray
    source_starts: IntArray
    label_counts: IntArray | None
    moments: Moments
    sketch: AnyArray | None = None
    gaps: Gaps | None = None
    read_sketch: Callable[[], AnyArray | None] | None = None
    groups: tuple[Mapping[str, str], ...] = ()
    packing: Mapping[str, Packing] = field(default_factory=dict)

    def points(self) -> AnyArray | None:
        """Return the sketch, which may have to be read."""
        return self.sketch if self.read_sketch is None else self.read_sketch()


def digest_of_table(root: Location, segment: str) -> str:
    """Return the sha256 of the names and contents of all files of a segment's table.

    A crc32c would not do: each file ends with its own, and so that of all depends on their sizes
    alone.
    """
    return _digest(_read_files(root, segment))


def _read_files(root: Location, segment: str) -> dict[str, bytes]:
    folder = root / segment / "table"
    known = (*_COLUMNS, ROOT_KEY)
    if isinstance(root, ObjectPath) and not root.can_list:
        return read_files(folder, sorted(_published_keys(root / segment / ROOT_KEY)))
    keys = [key for key in list_files(folder) if key.partition("/")[0] in known]
    return read_files(folder, keys)


def _published_keys(path: Location) -> Iterator[str]:
    """Yield the files of the table of a segment, from the metadata of the segment."""
    documents = json.loads(path.read_bytes())["consolidated_metadata"]["metadata"]
    for name, node in documents.items():
        if name.partition("/")[0] != "table":
            continue
        below = name.removeprefix("table").removeprefix("/")
        yield f"{below}/{ROOT_KEY}".removeprefix("/")
        if node["node_type"] == "array":
            sizes = zip(
                node["shape"], node["chunk_grid"]["configuration"]["chunk_shape"], strict=True
            )
            for chunk in itertools.product(*(range(-(-size // step)) for size, step in sizes)):
                yield "/".join([below, "c", *map(str, chunk)])


def _digest(files: Mapping[str, bytes]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for key, content in files.items():
        digest.update(f"{key} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def write_table(root: Location, segment: str, table: RecordingTable) -> None:
    """Write the table of recordings of a segment."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec
    from zarr.storage import MemoryStore

    files: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(files), zarr_format=3)
    for name, (values, axes) in columns_of(table).items():
        is_text = values.dtype == object
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=str if is_text else values.dtype,
            chunks=(min(len(values), _TABLE_ROWS), *values.shape[1:]),
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            dimension_names=("gap" if name in _GAPS else "recording_id", *axes),
            config={"write_empty_chunks": True},
        )
        array[:] = values
    write_files(root / segment / "table", zarr_files(files))


def columns_of(table: RecordingTable) -> dict[str, tuple[AnyArray, tuple[str, ...]]]:
    """Return the columns of a table, texts as objects, and what their further axes are called."""
    columns: dict[str, tuple[AnyArray, tuple[str, ...]]] = {
        **{name: (np.array(getattr(table, name), object), ()) for name in _TEXTS},
        "start": (table.starts[:-1], ()),
        "stop": (table.starts[1:], ()),
        "source_start": (table.source_starts, ()),
    }
    if table.label_counts is not None:
        columns["label_count"] = (table.label_counts, ("class",))
    for name in STATISTICS:
        values = getattr(table.moments, name)
        if values.dtype.kind == "f":  # a NaN has a sign, which depends on how it came about
            values = np.where(np.isnan(values), np.nan, values)
        columns[name] = (values, ("channel",))
    if table.sketch is not None:
        columns["sketch"] = (table.sketch, ("point", "channel"))
    if table.groups:
        texts = [json.dumps(it, sort_keys=True) for it in table.groups]
        columns["groups"] = (np.array(texts, object), ())
    if table.gaps is not None:
        columns |= {"gap_row": (table.gaps.rows, ()), "gap_s": (table.gaps.seconds, ())}
    if table.packing:
        # Of inputs that are stored as values, a count would be the value.
        gain, offset = np.ones(table.moments.mean.shape), np.zeros(table.moments.mean.shape)
        for it in table.packing.values():
            gain[:, it.channels], offset[:, it.channels] = it.gain, it.offset
        columns |= {"gain": (gain, ("channel",)), "offset": (offset, ("channel",))}
    return columns


def read_table(root: Location, segment: Segment) -> RecordingTable:
    """Read the table of recordings of a segment."""
    try:
        files = within_limit(lambda: _read_files(root, segment.name), root / segment.name)
        if _digest(files) != segment.table_sha256:
            raise ValueError("it does not match its checksum")
        columns = {
            name: _column(files, name)
            for name in _COLUMNS
            if name not in _OPTIONAL or f"{name}/{ROOT_KEY}" in files
        }
        if segment.packed and not columns.keys() >= {*_PACKING}:
            raise ValueError("it has no gains")
    except (AccessError, BucketError):
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if not (root / segment.name).exists():
            raise StoreError(
                f"{root / segment.name} is not there any more. Open the store again, if it was "
                "replaced or a subject removed from it meanwhile; else copy it again."
            ) from error
        raise StoreError(
            f"{root}: the table of recordings of part {segment.name} cannot be read ({error}). "
            "Copy the store again, or convert again with overwrite=True (--overwrite)."
        ) from error
    return table_of_columns(columns, segment)


def table_of_columns(columns: Mapping[str, AnyArray], segment: Segment) -> RecordingTable:
    """Return the table of a segment, from its columns by name."""
    columns = {"mean_rest": np.zeros_like(columns["mean"]), **columns}
    return RecordingTable(
        subject=tuple(str(value) for value in columns["subject"]),
        source=tuple(str(value) for value in columns["source"]),
        fingerprint=tuple(str(value) for value in columns["fingerprint"]),
        starts=np.append(columns["start"], segment.n_rows).astype(np.int64),
        source_starts=columns["source_start"],
        label_counts=columns.get("label_count"),
        moments=Moments(**{name: columns[name] for name in STATISTICS}),
        sketch=columns.get("sketch"),
        groups=tuple(json.loads(str(it)) for it in columns.get("groups", ())),
        gaps=Gaps(columns["gap_row"], columns["gap_s"]) if "gap_row" in columns else None,
        packing={
            name: Packing(packed, columns["gain"][:, some], columns["offset"][:, some], some)
            for name, packed in segment.packed.items()
            for some in [segment.channel_slices[name]]
        },
    )


def _column(files: Mapping[str, bytes], name: str) -> AnyArray:
    """Return a column from the files of a table, which match their digest."""
    spec = json.loads(files[f"{name}/{ROOT_KEY}"])
    shape = tuple(spec["shape"])
    codecs = [codec["name"] for codec in spec["codecs"]]
    chunk_shape = tuple(spec["chunk_grid"]["configuration"]["chunk_shape"])
    content = files.get("/".join([name, "c", *("0" for _ in shape)]))
    # Without zarr-python this takes a twentieth of the time, of which a store of many parts has
    # little: one chunk, as all but very large tables are.
    if content is not None and chunk_shape == shape:
        from numcodecs import zstd

        if codecs == ["bytes", "zstd", "crc32c"]:
            dtype = np.dtype(spec["data_type"]).newbyteorder("<")
            values = np.frombuffer(zstd.decompress(content[:-_CRC_BYTES]), dtype)
            return values.astype(values.dtype.newbyteorder("=")).reshape(shape)
        if codecs == ["vlen-utf8", "zstd", "crc32c"]:
            from numcodecs.vlen import VLenUTF8

            texts: AnyArray = VLenUTF8().decode(zstd.decompress(content[:-_CRC_BYTES]))
            return texts.reshape(shape)
    return _column_by_zarr(files, name)


def _column_by_zarr(files: Mapping[str, bytes], name: str) -> AnyArray:
    import zarr
    from zarr.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    refuse_unknown_codecs(json.loads(files[f"{name}/{ROOT_KEY}"]))
    as_buffer = default_buffer_prototype().buffer.from_bytes
    below = {key: it for key, it in files.items() if key.startswith(f"{name}/")}
    store = MemoryStore({key: as_buffer(content) for key, content in below.items()})
    return np.asarray(zarr.open_array(store, path=name, mode="r", zarr_format=3)[:])
