"""Tables and sidecars of a BIDS data set, and which of them apply to a file of data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.rows.files import SourcePath, located, opened
from zarrts.sources.study.scoring import LABELS
from zarrts.types import Description

MISSING = "n/a"

_MAX_BYTES = 256 << 20
_COLUMNS = (*LABELS, "value", "stim_type", "condition")


@dataclass(frozen=True)
class Root:
    """A data set.

    Attributes
    ----------
    folder : str
        Relative, as origins are; "" where it is all that was given.
    place : str
        Absolute, or an address.
    origins : frozenset of str
        Of everything in it.
    mounts : Mounts
    """

    folder: str
    place: str
    origins: frozenset[str]
    mounts: Mounts = field(repr=False)

    def path(self, inside: str) -> SourcePath:
        """Return a file by its path in the data set."""
        return located(f"{self.place}/{inside}", self.mounts)

    def has(self, inside: str) -> bool:
        """Return whether there is such a file."""
        return self.origin(inside) in self.origins

    def origin(self, inside: str) -> str:
        """Return how messages name a file of the data set."""
        return f"{self.folder}/{inside}" if self.folder else inside

    def inside(self, origin: str) -> str | None:
        """Return the path of a file in the data set; None if it lies elsewhere."""
        if not self.folder:
            return origin
        return (
            origin.removeprefix(f"{self.folder}/") if origin.startswith(f"{self.folder}/") else None
        )


def entities_of(inside: str) -> dict[str, str]:
    """Return the entities in the name of a file, such as {"sub": "01", "task": "rest"}.

    >>> entities_of("sub-01/eeg/sub-01_task-rest_run-2_eeg.vhdr")
    {'sub': '01', 'task': 'rest', 'run': '2'}
    """
    stem = inside.rpartition("/")[2].partition(".")[0]
    parts = (it.split("-", 1) for it in stem.split("_") if "-" in it)
    return {it[0]: it[1] for it in parts}


class Tables:
    """The tables and sidecars of a data set, each read once; lives for one search.

    A file of metadata applies to data in its folder and below, unless it has an entity that the
    data have not. Of tables the lowest applies; sidecars (JSON) are merged, the lowest last.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._texts: dict[str, str] = {}
        self._in_folder: dict[str, list[str]] = {}
        for origin in root.origins:
            inside = root.inside(origin)
            if inside is not None and inside.endswith((".tsv", ".json")):
                self._in_folder.setdefault(inside.rpartition("/")[0], []).append(inside)

    def lowest(self, inside: str, suffix: str) -> str | None:
        """Return the table of a kind that applies to a file of data, if there is one."""
        return next(reversed([*self._applying(inside, f"{suffix}.tsv")]), None)

    def sidecar(self, inside: str) -> dict[str, Any]:
        """Return what the sidecars of a file of data say."""
        found: dict[str, Any] = {}
        kind = inside.rpartition("/")[2].partition(".")[0].rpartition("_")[2]
        for it in self._applying(inside, f"{kind}.json"):
            try:
                content = json.loads(self.text(it))
            except ValueError as error:
                where = self.root.origin(it)
                raise SourceError(f"{where}: is not JSON ({error}); correct it.") from error
            found |= content if isinstance(content, dict) else {}
        return found

    def _applying(self, inside: str, end: str) -> Iterator[str]:
        """Yield the files of metadata that apply, from the top down."""
        mine = entities_of(inside)
        parts = inside.split("/")[:-1]
        for depth in range(len(parts) + 1):
            fitting = [
                (len(theirs), it)
                for it in self._in_folder.get("/".join(parts[:depth]), ())
                if it.rpartition("/")[2] == end or it.endswith(f"_{end}")
                for theirs in [entities_of(it)]
                if theirs.items() <= mine.items()
            ]
            yield from (it for _, it in sorted(fitting))

    def text(self, inside: str) -> str:
        """Return what is in a file."""
        if inside not in self._texts:
            self._texts[inside] = read_text(self.root.path(inside), self.root.origin(inside))
        return self._texts[inside]

    def rows(self, inside: str) -> list[dict[str, str]]:
        """Return the lines of a table by the names in its first."""
        return _rows(self.text(inside), self.root.origin(inside))


def read_text(path: SourcePath, where: str) -> str:
    """Return what is in a file of text; SourceError if it is none, or is very large."""
    with opened(path, where) as (stream, stamp):
        if stamp.size > _MAX_BYTES:
            raise SourceError(f"{where}: has {stamp.size:,} bytes, more than {_MAX_BYTES:,}.")
        try:
            return stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SourceError(f"{where}: is not text in UTF-8 ({error}).") from error


def _rows(text: str, where: str) -> list[dict[str, str]]:
    lines = [it.rstrip("\r").split("\t") for it in text.split("\n") if it.strip()]
    if not lines:
        raise SourceError(f"{where}: is empty; its first line has to name the columns.")
    names = [it.strip() for it in lines[0]]
    short = [number for number, it in enumerate(lines[1:], 2) if len(it) != len(names)]
    if short:
        raise SourceError(
            f"{where}: line {short[0]} has {len(lines[short[0] - 1])} values, but there are "
            f"{len(names)} columns; correct it."
        )
    return [dict(zip(names, map(str.strip, it), strict=True)) for it in lines[1:]]


def participants(root: Root) -> dict[str, dict[str, str]]:
    """Return the columns of `participants.tsv` by participant."""
    name = "participants.tsv"
    if not root.has(name):
        return {}
    where = root.origin(name)
    rows = _rows(read_text(root.path(name), where), where)
    if rows and "participant_id" not in rows[0]:
        raise SourceError(f"{where}: has no column participant_id; name it so.")
    found = {}
    for row in rows:
        who = row.pop("participant_id")
        found[who if who.startswith("sub-") else f"sub-{who}"] = row
    return found


def annotations_of(tables: Tables, events: str) -> list[Annotation]:
    """Return the lines of a table of events, whose onsets count from the first row."""
    where, rows = tables.root.origin(events), tables.rows(events)
    names = set(rows[0]) if rows else set()
    label = next((it for it in _COLUMNS if it in names), None)
    if rows and (label is None or not {"onset", "duration"} <= names):
        raise SourceError(
            f"{where}: has the columns {listed(sorted(names))}, but onset, duration and a text "
            f"({listed(_COLUMNS)}) are needed."
        )
    found = []
    for number, row in enumerate(rows, 2):
        text = row[label or ""]
        if text == MISSING or row["onset"] == MISSING:
            continue
        duration = "0" if row["duration"] == MISSING else row["duration"]
        try:
            found.append(Annotation(float(row["onset"]), float(duration), text))
        except ValueError as error:
            raise SourceError(f"{where}: line {number} is not of numbers ({error}).") from error
    return found


def channels_of(tables: Tables, channels: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the units of channels by name, and clauses on types and bad ones."""
    rows = tables.rows(channels)
    if rows and not {"name", "type", "units"} <= set(rows[0]):
        raise SourceError(f"{tables.root.origin(channels)}: needs the columns name, type, units.")
    units = {it["name"]: it["units"] for it in rows if it["units"] != MISSING}
    bads = [it["name"] for it in rows if it.get("status", "").lower() == "bad"]
    counts: dict[str, int] = {}
    for it in rows:
        counts[it["type"]] = counts.get(it["type"], 0) + 1
    notes = []
    if bads:
        notes.append(f"says that {listed(bads)} {'is' if len(bads) == 1 else 'are'} bad")
    if len(counts) > 1:
        shown = ", ".join(f"{n} {name}" for name, n in counts.items())
        notes.append(f"has channels of several types ({shown}); channels= chooses")
    return units, tuple(notes)


def described(
    found: Description, units: Mapping[str, str], notes: tuple[str, ...], more: tuple[str, ...]
) -> tuple[Description, tuple[str, ...]]:
    """Return a description with units where the file has none, and notes of the table.

    Where the file says a unit, its values are in that one, whatever the table says: MNE gives
    volts of what the table calls microvolts.
    """
    if found.channels is not None:
        mine = found.units or ("",) * len(found.channels)
        filled = tuple(
            it or units.get(name, "") for name, it in zip(found.channels, mine, strict=True)
        )
        found = replace(found, units=filled if any(filled) else found.units)
    # The table wins: of what it says itself, the file's own notes would be a repetition.
    kinds = {it.split(" ")[0] for it in more}
    return found, (*(it for it in notes if it.split(" ")[0] not in kinds), *more)
