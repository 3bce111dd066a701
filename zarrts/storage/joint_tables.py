"""The tables of recordings of all parts in one place: the manifest of a store of several parts.

A table is thirty small files. Of a store of one part they are read as they are; of a store of a
thousand, opening and appending would read thirty thousand. So the manifest of a store of several
parts repeats what its tables say: names of all of them, and the numbers of those that are small.
Sketches, which are most of a table, stay where they are. What is lacking here, as in the stores of
earlier versions, is read from the tables themselves.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment
from zarrts.storage.store import StoreHeader, load_manifest
from zarrts.storage.table import (
    RecordingNames,
    RecordingTable,
    columns_of,
    read_table,
    table_of_columns,
)
from zarrts.types import AnyArray

TABLES = "tables"
_NAMES = {"subject", "source", "fingerprint", "start"}
_READ_LATER = "sketch"
_MOST_BYTES = 1 << 16  # of the numbers of a table, so that a thousand are quickly read

Entry = Mapping[str, Any]
"""Columns of a table by name: a list of texts, or dtype, shape and bytes."""


def entry_of(table: RecordingTable) -> Entry:
    """Return what a manifest says of a table."""
    columns = {name: values for name, (values, _) in columns_of(table).items()}
    has_sketch = columns.pop(_READ_LATER, None) is not None
    numbers = {name: it for name, it in columns.items() if name not in _NAMES}
    if sum(it.nbytes for it in numbers.values()) > _MOST_BYTES:
        columns = {name: columns[name] for name in sorted(_NAMES)}
        has_sketch = False
    entry: dict[str, Any] = {name: _packed(values) for name, values in columns.items()}
    return entry | ({_READ_LATER: True} if has_sketch else {})


def entries_of_tables(
    root: Location, header: StoreHeader, known: Mapping[str, Entry]
) -> dict[str, Entry]:
    """Return the entries of all parts of a store, of which some are `known`."""
    return {
        it.name: known[it.name] if it.name in known else entry_of(read_table(root, it))
        for it in header.segments
    }


def read_tables(root: Location, header: StoreHeader) -> dict[str, RecordingTable]:
    """Return the tables of all parts of a store, by their names.

    Raises
    ------
    StoreError
        If one that has to be read itself is damaged.
    """
    entries = _entries(root, header)
    return {
        it.name: _table(root, it, entries[it.name])
        if _is_whole(entries.get(it.name, {}))
        else read_table(root, it)
        for it in header.segments
    }


def read_names(root: Location, header: StoreHeader) -> dict[str, RecordingNames]:
    """Return who is in each part of a store, and where that came from; as `read_tables`."""
    entries = _entries(root, header)
    return {
        it.name: _names(it, entries[it.name]) if it.name in entries else read_table(root, it)
        for it in header.segments
    }


def _entries(root: Location, header: StoreHeader) -> Mapping[str, Entry]:
    if len(header.segments) < 2:
        return {}
    try:
        found: Mapping[str, Entry] = load_manifest(root, header).get(TABLES, {})
    except StoreError:
        # It is gone where the version that is open is not the latest one any more. Where it is
        # damaged, the tables say the same, each with a checksum of its own; verify finds it.
        return {}
    return found


def _is_whole(entry: Entry) -> bool:
    return "mean" in entry


def _names(segment: Segment, entry: Entry) -> RecordingNames:
    return RecordingNames(
        subject=tuple(entry["subject"]),
        source=tuple(entry["source"]),
        fingerprint=tuple(entry["fingerprint"]),
        starts=np.append(_unpacked(entry["start"]), segment.n_rows).astype(np.int64),
    )


def _table(root: Location, segment: Segment, entry: Entry) -> RecordingTable:
    columns = {name: _unpacked(it) for name, it in entry.items() if name != _READ_LATER}
    table = table_of_columns(columns, segment)
    if _READ_LATER not in entry:
        return table
    return replace(table, read_sketch=partial(_read_sketch, root, segment))


def _read_sketch(root: Location, segment: Segment) -> AnyArray | None:
    return read_table(root, segment).sketch


def _packed(values: AnyArray) -> Any:
    if values.dtype == object:
        return [str(it) for it in values]
    little = values.astype(values.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode()
    return {"dtype": little.dtype.str, "shape": list(values.shape), "values": text}


def _unpacked(packed: Any) -> AnyArray:
    if isinstance(packed, list):
        return np.array(packed, object)
    values = np.frombuffer(base64.b64decode(packed["values"]), packed["dtype"])
    return values.astype(values.dtype.newbyteorder("=")).reshape(packed["shape"])
