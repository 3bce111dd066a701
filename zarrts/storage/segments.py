"""A segment: the immutable group of arrays that one conversion wrote.

What its metadata say is all that is known of it; nothing else is read here.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.storage.location import Location, list_files, read_files
from zarrts.types import AnyArray, ArraySpec, LabelsPer, Packed

ROOT_KEY = "zarr.json"
SEGMENT_MARK = "zarrts_segment"
CHECKSUMS = "checksum"
PACKED_MARK = "zarrts_packed"
_LABELS_PER: Mapping[str, LabelsPer] = {"row": "row", "recording_id": "recording"}


@dataclass(frozen=True, kw_only=True)
class InputArray:
    """One array of inputs of a segment.

    Attributes
    ----------
    spec : ArraySpec
        Its rows are those of the segment, shape (row, ...).
    steps : int
        Its steps in time in one row of the segment: 1. More of them are axis 1, where others are
        recorded at a lower rate; 0, where a row has a value that does not change in time.
    """

    spec: ArraySpec
    steps: int = 1

    @property
    def n_channels(self) -> int:
        """Size of the last axis; 1 where rows are single values."""
        return self.spec.row_shape[-1] if self.spec.row_shape else 1

    @property
    def series_shape(self) -> tuple[int | None, ...]:
        """Shape of all of a recording: time, which is None, and what a step in time is."""
        if not self.steps:
            return self.spec.row_shape
        return (None, *self.spec.row_shape[int(self.steps > 1) :])


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The arrays of a segment, and what is said of them; see `Segment`."""

    inputs: Mapping[str, InputArray]
    labels: Mapping[str, ArraySpec]
    recording: ArraySpec | None = None
    offsets: ArraySpec | None = None
    mask: ArraySpec | None = None
    labels_per: LabelsPer = "sample"
    axes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    label_steps: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """The arrays that one conversion wrote: of equal lengths ("dense"), or not ("ragged").

    Attributes
    ----------
    name : str
        Of the folder below the store.
    found : Arrays or bytes
        What its metadata say; or these as JSON, by path, without the brackets around: of a store of
        a thousand parts, an append asks for those of the first one.
    stored_bytes : int
        Of all shards.
    write_id : str
        Digest of its content, and of what it was made from.
    provenance : str
        Digest of the sources, by samples of their content, and options that it was made from.
    options : dict
        Those options.
    table_sha256 : str
        Of the files of its table.
    """

    name: str
    found: Arrays | bytes = field(repr=False)
    stored_bytes: int = 0
    write_id: str = ""
    provenance: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    table_sha256: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segment):
            return NotImplemented
        names = [it.name for it in fields(self) if it.name != "found"]
        return (
            all(getattr(self, it) == getattr(other, it) for it in names)
            and self._arrays == other._arrays
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _arrays(self) -> Arrays:
        if isinstance(self.found, Arrays):
            return self.found
        try:
            return arrays_of(json.loads(b"{%b}" % self.found), self.name)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"Part {self.name} of a store is damaged ({type(error).__name__}: {error}). Copy "
                "the store again, or convert again with overwrite=True (--overwrite)."
            ) from error

    @property
    def inputs(self) -> Mapping[str, InputArray]:
        """Arrays of inputs by name: one without a name (""), or several, sorted by name."""
        return self._arrays.inputs

    @property
    def labels(self) -> Mapping[str, ArraySpec]:
        """Arrays of labels: "y"; or "y/NAME" for each of several, sorted by name."""
        return self._arrays.labels

    @property
    def recording(self) -> ArraySpec | None:
        """The recording that each row belongs to, as an array of their numbers; dense only."""
        return self._arrays.recording

    @property
    def offsets(self) -> ArraySpec | None:
        """First row of each recording, and the number of rows; ragged only."""
        return self._arrays.offsets

    @property
    def mask(self) -> ArraySpec | None:
        """Above 0 in rows of x that are no good; ragged only, and only where some are."""
        return self._arrays.mask

    @property
    def labels_per(self) -> LabelsPer:
        """Unit that has one entry in y: "sample" (dense), "recording" or "row" (ragged)."""
        return self._arrays.labels_per

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of x, where it is one array."""
        return self._arrays.axes

    @property
    def needs(self) -> tuple[str, ...]:
        """Features that a reader has to know beyond schema 1, of `storage.schema.FEATURES`."""
        return self._arrays.needs

    @property
    def label_steps(self) -> int:
        """Labels in a row, where they are for steps that are shorter; several are axis 1 of y."""
        return self._arrays.label_steps

    @cached_property
    def x(self) -> ArraySpec:
        """The inputs as one array; of several, a row is a record with a field for each."""
        return _joint(f"{self.name}/x", {name: it.spec for name, it in self.inputs.items()})

    @cached_property
    def x_values(self) -> ArraySpec:
        """The same as its readers see it: of values, whatever is stored."""
        return _joint(
            f"{self.name}/x", {name: it.spec.of_values for name, it in self.inputs.items()}
        )

    @property
    def packed(self) -> Mapping[str, Packed]:
        """The inputs that are stored as counts, and what these mean."""
        specs = {name: it.spec.packed for name, it in self.inputs.items()}
        return {name: it for name, it in specs.items() if it is not None}

    @cached_property
    def y(self) -> ArraySpec:
        """The labels as one array; of several, a row is a record with a field for each."""
        specs = {label_name(it): spec for it, spec in self.labels.items()}
        return _joint(f"{self.name}/y", specs, (self.label_steps,) if self.label_steps > 1 else ())

    @cached_property
    def channel_slices(self) -> Mapping[str, slice]:
        """The channels of each input, where those of all are counted one after the other."""
        stops = itertools.accumulate(it.n_channels for it in self.inputs.values())
        return {
            name: slice(stop - it.n_channels, stop)
            for (name, it), stop in zip(self.inputs.items(), stops, strict=True)
        }

    @property
    def n_channels(self) -> int:
        """Number of channels of all inputs."""
        return sum(it.n_channels for it in self.inputs.values())

    @property
    def is_ragged(self) -> bool:
        """Whether a sample is a recording of any length, and not a row."""
        return self.offsets is not None

    @property
    def n_rows(self) -> int:
        """Number of rows of x."""
        return self.x.shape[0]

    @property
    def n_samples(self) -> int:
        """Number of samples: of rows, or of recordings where the segment is ragged."""
        return self.x.shape[0] if self.offsets is None else self.offsets.shape[0] - 1

    @property
    def arrays(self) -> Mapping[str, ArraySpec]:
        """Every array by its name."""
        every = {
            **{input_path(name): it.spec for name, it in self.inputs.items()},
            **self.labels,
            "recording": self.recording,
            "offsets": self.offsets,
            "mask": self.mask,
        }
        return {name: spec for name, spec in every.items() if spec is not None}

    @property
    def row_arrays(self) -> Mapping[str, ArraySpec]:
        """The arrays with the rows, chunks and shards of x; any other is one chunk."""
        small = {"offsets", *(self.labels if self.labels_per == "recording" else [])}
        return {name: spec for name, spec in self.arrays.items() if name not in small}


def input_path(name: str) -> str:
    """Return where an array of inputs is in a segment: "x", or "x/NAME"."""
    return f"x/{name}" if name else "x"


def label_name(array: str) -> str:
    """Return the name of one of several arrays of labels, "stage" of "y/stage"; else ""."""
    return array.partition("/")[2]


def _joint(path: str, specs: Mapping[str, ArraySpec], inner: tuple[int, ...] = ()) -> ArraySpec:
    """Return arrays with the same rows as one; the one without a name is that already.

    `inner` are axes behind that of rows which they share.
    """
    if "" in specs:
        return specs[""]
    some = next(iter(specs.values()))
    return ArraySpec(
        path=path,
        shape=(*some.shape[:1], *inner),
        dtype=np.dtype(
            [(name, spec.dtype, spec.row_shape[len(inner) :]) for name, spec in specs.items()]
        ),
        chunk_rows=some.chunk_rows,
        shard_rows=some.shard_rows,
        codecs=None,
    )


def parts_of(rows: AnyArray) -> dict[str, AnyArray]:
    """Return the fields of records by name; what has none by the name "" of a single array."""
    names = rows.dtype.names
    return {"": rows} if names is None else {name: rows[name] for name in names}


def part_of(labels: AnyArray, array: str) -> AnyArray:
    """Return what an array of labels holds of labels, which are records where there are several."""
    return labels if labels.dtype.names is None else labels[label_name(array)]


def arrays_of(metadata: Mapping[str, Any], name: str) -> Arrays:
    """Return the arrays of a segment, from the metadata of all arrays by path."""
    below = (f"{name}/x/", f"{name}/y/")
    several = sorted(path for path in metadata if path.startswith(below))
    known = [f"{name}/{array}" for array in ("x", "y", "recording", "offsets", "mask")]
    specs: dict[str, ArraySpec] = {}
    for path in (*known, *several):
        if metadata.get(path, {}).get("node_type") == "array":
            array = path.removeprefix(f"{name}/")
            specs[array] = array_spec(path, metadata[path], f"{name}/{CHECKSUMS}/{array}/c/0")
    labels = {array: spec for array, spec in specs.items() if array.partition("/")[0] == "y"}
    mark = metadata.get(name, {}).get("attributes", {}).get(SEGMENT_MARK, {})
    steps = mark.get("steps", {})
    inputs = {
        label_name(array): InputArray(spec=spec, steps=steps.get(label_name(array), 1))
        for array, spec in specs.items()
        if array.partition("/")[0] == "x"
    }
    if not inputs:
        raise ValueError(f"segment {name} has no inputs")
    if not labels:
        raise ValueError(f"segment {name} has no labels")
    if ("recording" in specs) == ("offsets" in specs):
        raise ValueError(f"segment {name} has to hold either recording or offsets")
    entry = metadata[next(iter(labels.values())).path]["dimension_names"][0]
    return Arrays(
        inputs=inputs,
        labels=labels,
        recording=specs.get("recording"),
        offsets=specs.get("offsets"),
        mask=specs.get("mask"),
        labels_per=_LABELS_PER.get(entry, "sample"),
        axes=tuple(metadata[f"{name}/x"].get("dimension_names", ())),
        needs=tuple(mark.get("needs", ())),
        label_steps=mark.get("label_steps", 1),
    )


def read_segment(root: Location, name: str) -> Segment:
    """Return the arrays of a segment that is on disk, published or not."""
    return Segment(name=name, found=arrays_of(read_documents(root, name), name))


def read_documents(root: Location, name: str) -> dict[str, Any]:
    """Return the metadata of a segment and of all that is in it, by path, as they are there."""
    keys = [key for key in list_files(root / name) if key.rpartition("/")[2] == ROOT_KEY]
    return {
        f"{name}/{key}".removesuffix(f"/{ROOT_KEY}"): json.loads(content)
        for key, content in read_files(root / name, keys).items()
    }


def array_spec(path: str, metadata: Mapping[str, Any], checksums: str | None = None) -> ArraySpec:
    """Return what the metadata of one array say; `checksums` are at that path, where they are."""
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
        checksums=checksums,
        packed=_packed(metadata.get("attributes", {})),
    )


def _packed(attributes: Mapping[str, Any]) -> Packed | None:
    """Return the meaning of an array of counts, by its attributes; None of values."""
    found = attributes.get(PACKED_MARK)
    if found is None:
        return None
    return Packed(np.dtype(found["dtype"]), found["missing"], found.get("largest_error", 0.0))


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
