"""Samples of a store as Dask arrays, read when they are asked for."""

import hashlib
import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zarrts.indexing.cuts import Cut, TargetOf, View
from zarrts.indexing.indexes import WindowIndex
from zarrts.indexing.units import Ranges
from zarrts.inputs import handed_out
from zarrts.labels.label_sets import by_name
from zarrts.reading.load import ids_by_unit
from zarrts.reading.selection import Selection
from zarrts.types import AnyArray

_BLOCK_BYTES = 64 << 20
_FIRST = np.zeros((), np.int64)

Role = Literal["x", "y"]


def to_dask(selection: Selection) -> tuple[Any, Any]:
    """Return x and y of samples as Dask arrays; see `Samples.to_dask`."""
    cut = selection.view.cut
    if cut.is_of_equal_lengths:
        return _array(selection, "x"), _array(selection, "y")
    bounds = selection.store.catalog.row_starts
    y_of: TargetOf = "row" if cut.y_steps is None else "recording"
    index = WindowIndex.of(bounds[:-1], bounds[1:], 1, 1)  # a row is a sample, its id its number
    rows = selection.viewed(View(index, Cut(x_steps=_FIRST, y_steps=_FIRST, y_of=y_of), ("rows",)))
    numbers = np.flatnonzero(selection.per_recording)
    parts = [
        rows.narrowed(Ranges.of_bounds(bounds[i : i + 1], bounds[i + 1 : i + 2])) for i in numbers
    ]
    series = [_array(it, "x") for it in parts]
    if cut.y_steps is None:
        return series, [_array(it, "y") for it in parts]
    return series, _array(selection, "y")


def _array(selection: Selection, role: Role) -> Any:
    """Return x or y of samples as one array; several inputs or labels as a dictionary of them."""
    nothing = selection.narrowed(Ranges.of_ids(np.zeros(0, np.int64)))
    if role == "x":
        examples = {it.name: _Part(nothing, role, it.name).read() for it in selection.reader.inputs}
        return handed_out({it: _blocks(selection, role, examples[it], it) for it in examples})
    example = _Part(nothing, role).read()
    if example.dtype.names is None:
        return _blocks(selection, role, example, None)
    return {
        name: _blocks(selection, role, np.asarray(array), name)
        for name, array in dict(by_name(example)).items()
    }


def _blocks(selection: Selection, role: Role, example: AnyArray, field: str | None) -> Any:
    import dask.array as da

    n_samples, shape = len(selection), example.shape[1:]
    step = _samples_at_once(selection, example)
    edges = [*range(0, n_samples, step), n_samples]
    if n_samples == 0:
        return da.from_array(example)  # type: ignore[no-untyped-call]
    parts = np.empty(len(edges) - 1, object)
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        ids = selection.ids.ids(np.arange(low, high))
        parts[number] = _Part(selection.narrowed(Ranges.of_ids(ids)), role, field)
    name = f"zarrts-{role}-{_token(selection, role, field)}"
    return da.map_blocks(
        _read,
        da.from_array(parts, chunks=1, name=f"{name}-parts"),  # type: ignore[no-untyped-call]
        dtype=example.dtype,
        chunks=(tuple(np.diff(edges).tolist()), *((n,) for n in shape)),
        new_axis=list(range(1, 1 + len(shape))) or None,
        name=name,
        meta=np.empty((0,) * example.ndim, example.dtype),
    )


def _samples_at_once(selection: Selection, example: AnyArray) -> int:
    sample_bytes = max(1, int(np.prod(example.shape[1:], dtype=np.int64)) * example.itemsize)
    step = max(1, _BLOCK_BYTES // max(sample_bytes, selection.reader.max_bytes))
    shard_rows = selection.store.header.segments[0].x.shard_rows
    # Whole files of the store, where samples are its rows, and a file is no larger than a block.
    return max(1, step - step % shard_rows) if step >= shard_rows else step


def _token(selection: Selection, role: Role, field: str | None) -> str:
    digest = hashlib.sha256()
    view = selection.view
    said = [selection.store.header.write_id, selection.store.version, view.key, role, field]
    digest.update(repr(said).encode())
    # Windows that are reduced by functions of users have keys that name them.
    digest.update(np.ascontiguousarray(selection.ids.ids(np.arange(len(selection)))).tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class _Part:
    """The samples of a block: small, and read with files that are open while it is read."""

    selection: Selection
    role: Role
    field: str | None = None

    def read(self) -> AnyArray:
        """Return x or y of the samples, as stored."""
        reader, name = self.selection.reader, self.field
        units = [*ids_by_unit(reader, reads_x=self.role == "x")] or [np.zeros(0, np.int64)]
        if self.role == "x":
            assert name is not None
            return np.concatenate([reader.fetch_x(ids)[name] for ids in units])
        found = np.concatenate([reader.cut.reduced(reader.fetch_y(ids)) for ids in units])
        return found if name is None else np.ascontiguousarray(found[name])


def _read(block: AnyArray) -> AnyArray:
    part: _Part = block.item()
    return part.read()
