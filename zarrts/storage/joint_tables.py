"""The tables of recordings of all parts in one place: the manifest of a store of several parts.

A table is thirty small files. Of a store of one part they are read as they are; of a store of a
thousand, opening and appending would read thirty thousand. So the manifest of a store of several
parts repeats what its tables say: names of all of them, and the numbers of those that are small.
Sketches, which are most of a table, stay where they are. What is lacking here, as in the stores of
earlier versions, is read from the tables themselves.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from zarrts.errors import StoreError
from zarrts.storage.location import Location
from zarrts.storage.manifest import Manifest, read_manifest
from zarrts.storage.segments import Segment
from zarrts.storage.store import Entries, StoreHeader
from zarrts.storage.table import (
    RecordingNames,
    RecordingTable,
    columns_of,
    read_table,
    table_of_columns,
)
from zarrts.types import AnyArray, IntArray

TABLES = "tables"
_MIDDLE, _END = b'},"tables":{', b"}}"
_NAMES = {"subject", "source", "fingerprint", "start"}
_TEXTS = ("fingerprint", "source", "subject")  # sorted, as they are in a manifest
_READ_LATER = "sketch"
_MOST_BYTES = 1 << 16  # of the numbers of a table, so that a thousand are quickly read

Entry = Mapping[str, Any]
"""Columns of a table by name: a list of texts, or dtype, shape and bytes."""

Texts = tuple[tuple[str, ...], ...]
"""Fingerprints, sources and subjects of the recordings of a part."""


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


class JointTables:
    """The tables of all parts of a store, and the manifest that repeats them, each read once."""

    def __init__(self, root: Location, header: StoreHeader) -> None:
        self._root, self._header = root, header
        self._tables: dict[str, RecordingTable] = {}

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the latest version.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        return read_manifest(self._root, self._header)

    @cached_property
    def _entries(self) -> Mapping[str, Entry]:
        if len(self._header.segments) < 2:
            return {}
        try:
            found: Mapping[str, Entry] = self.manifest.document.get(TABLES, {})
        except StoreError:
            # It is gone where the version that is open is not the latest one any more. Where it is
            # damaged, the tables say the same, each with a checksum of its own; verify finds it.
            return {}
        return found

    def table(self, segment: Segment) -> RecordingTable:
        """Return the table of a part.

        Raises
        ------
        StoreError
            If it has to be read itself, and is damaged.
        """
        entry = self._entries.get(segment.name, {})
        if _is_whole(entry):
            return _table(self._root, segment, entry)
        if segment.name not in self._tables:
            self._tables[segment.name] = read_table(self._root, segment)
        return self._tables[segment.name]

    @property
    def every(self) -> dict[str, RecordingTable]:
        """The tables of all parts by their names; see `table`."""
        return {it.name: self.table(it) for it in self._header.segments}

    @property
    def names(self) -> dict[str, RecordingNames]:
        """The recordings of each part, and where they came from, by its name; see `table`."""
        segments = self._header.segments
        texts = self._texts
        if texts is not None:
            return {it.name: _Names(self, it, *texts[it.name]) for it in segments}
        return {it.name: self.table(it) for it in segments}

    @cached_property
    def _texts(self) -> Mapping[str, Texts] | None:
        """Fingerprints, sources and subjects of all parts; None where a table has to be read."""
        names = [it.name for it in self._header.segments]
        if len(names) < 2:
            return None
        try:
            found = texts_in(self.manifest.content, names)
        except StoreError:  # see _entries
            return None
        if found is None and self._entries.keys() >= {*names}:
            return {it: tuple(tuple(self._entries[it][at]) for at in _TEXTS) for it in names}
        return found

    def starts(self, segment: Segment) -> IntArray:
        """Return the first row of each recording of a part, and the number of rows."""
        entry = self._entries.get(segment.name)
        if entry is None:
            return self.table(segment).starts
        return np.append(_unpacked(entry["start"]), segment.n_rows).astype(np.int64)

    def entry(self, segment: Segment) -> Entry:
        """Return what a manifest says of a part of this store; see `table`."""
        known = self._entries.get(segment.name)
        return entry_of(self.table(segment)) if known is None else known


@dataclass(frozen=True)
class _Names:
    """The recordings of a part; their rows are seldom asked for, and found when they are."""

    tables: JointTables = field(repr=False)
    segment: Segment
    fingerprint: tuple[str, ...]
    source: tuple[str, ...]
    subject: tuple[str, ...]

    @property
    def starts(self) -> IntArray:
        return self.tables.starts(self.segment)


def read_tables(root: Location, header: StoreHeader) -> dict[str, RecordingTable]:
    """Return the tables of all parts of a store, by their names; see `JointTables`."""
    return JointTables(root, header).every


def read_names(root: Location, header: StoreHeader) -> dict[str, RecordingNames]:
    """Return who is in each part of a store, and where that came from; see `JointTables`."""
    return JointTables(root, header).names


def texts_in(content: bytes, names: Sequence[str]) -> dict[str, Texts] | None:
    """Return what a manifest says of who is in some parts; numbers in it are passed over.

    Returns
    -------
    dict of fingerprints, sources and subjects by part; None where not all of it is there.
    """
    middle = content.find(_MIDDLE)
    if middle < 0:
        return None
    text = content[middle + len(_MIDDLE) :].decode()
    read, at = json.JSONDecoder().raw_decode, 0
    found: dict[str, Texts] = {}
    try:
        for name in sorted(names):
            # No quote inside a text stands without a backslash before it: these are keys.
            at = text.index(f'"{name}":{{', at)
            columns = []
            for column in _TEXTS:
                at = text.index(f'"{column}":[', at) + len(column) + 3
                values, at = read(text, at)
                columns.append(tuple(values))
            found[name] = tuple(columns)
    except ValueError:
        return None
    return found


def grown_manifest(
    before: Manifest, others: Sequence[str], files: Entries, tables: Mapping[str, Entry]
) -> bytes | None:
    """Return the manifest of a store with one more part, without those of the others written again.

    It is the same to the byte as if it were: all names in it are sorted.

    Parameters
    ----------
    before : Manifest
        Of the store without it.
    others : sequence of str
        Names of all parts of that store.
    files : dict
        Size and crc32c of the files of the new part.
    tables : dict
        The entry of its table.

    Returns
    -------
    bytes; None where the manifest does not repeat the tables yet.
    """
    content, middle = before.content, before.content.find(_MIDDLE)
    if middle < 0:
        return None
    (name,) = tables
    objects, entry = _dense(files)[1:-1], _dense(tables)[1:-1]
    # Of "1", "10" and "9", so sorted, all paths below each come before those below the next one.
    later = min((it for it in others if it > name), default=None)
    if later is None:
        end = len(content) - len(_END)
        return b"".join((content[:middle], b",", objects, content[middle:end], b",", entry, _END))
    # No quote inside a text stands without a backslash before it: these are keys.
    first = content.index(b'"%b/' % later.encode())
    second = content.index(b'"%b":{' % later.encode(), middle)
    return b"".join(
        (content[:first], objects, b",", content[first:second], entry, b",", content[second:])
    )


def _dense(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _is_whole(entry: Entry) -> bool:
    return "mean" in entry


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
