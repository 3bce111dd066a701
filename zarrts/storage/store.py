"""The schema on disk, and how a published store is opened.

A store is a Zarr v3 group whose root `zarr.json` was written last. It holds segments "0", "1",
..., each a group of arrays that share chunk length on axis 0. Where all series have equal
lengths, the store is "dense":

    0/x            [sample, time, channel]     0/y           [sample, ...]
    0/recording    [sample]                    0/table/...   [recording, ...]

Else it is "ragged", and rows of x are steps in time; the table counts rows. Labels are per row,
in the chunks of x, or per recording, in one chunk, as the offsets are:

    0/x            [row, channel]              0/y           [row, ...] or [recording, ...]
    0/offsets      [recording + 1]             0/table/...   [recording, ...]

In both, 0/checksum/NAME [chunk] holds the crc32c of every chunk of an array.

The root's attributes say everything that `open` needs, with a checksum of their own, and the
sha256 of a manifest that lists every other object with size and crc32c; of several segments, it
repeats their tables (see `joint_tables`), and the root is as `parted_root` has it. What other
programs add to the root (attributes, arrays, groups) is in no checksum, and stays.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zarrts.errors import AccessError, BucketError, StoreError
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.descriptions import description_of, scheme_of
from zarrts.storage.location import Location, is_same, list_files
from zarrts.storage.metadata import is_root_whole
from zarrts.storage.no_store import quoted, why_no_store, why_not_ours
from zarrts.storage.open_files import read_within_limit, within_limit
from zarrts.storage.parted_root import PartedRoot
from zarrts.storage.schema import MANY_VERSIONS, why_unreadable
from zarrts.storage.segments import ROOT_KEY, Arrays, Segment, arrays_of
from zarrts.storage.versions import Version, versions_of
from zarrts.types import Description, LabelsPer

Entries = Mapping[str, tuple[int, int]]
"""Size and crc32c of files, by their paths below the store."""

MANIFESTS = "manifests"
REMEDY = "Copy the store again, or convert again with overwrite=True (--overwrite)."


class NewerSchemaError(StoreError):
    """A newer version of zarrts wrote the store."""


@dataclass(frozen=True)
class Gone:
    """Versions that cannot be opened any more, and why."""

    versions: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Removal:
    """A removal that was published, while not all that it removes is deleted yet.

    Attributes
    ----------
    subject : str
    n_samples : int
        Of the subject.
    segments : tuple of str
        Names of the segments that held some of them.
    """

    subject: str
    n_samples: int
    segments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StoreHeader:
    """The root of a store, parsed.

    `kind` is "dense" or "ragged"; `labels_per` is what has a label, as `Segment` has it.
    `versions` are those that can be opened, this one last; `gone` are those that could be.
    `needs` are what a reader of its parts has to know beyond schema 1, sorted.
    `inputs` say what columns and rows of each of several inputs mean; `channels`, `rate_hz` and
    `units` are those of the only one. `removal` is one that did not come to its end.
    """

    version: int
    kind: str
    write_id: str
    labels: LabelScheme
    x_name: str
    y_name: str
    channels: tuple[str, ...] | None
    rate_hz: float | None
    segments: tuple[Segment, ...]
    versions: tuple[Version, ...] = ()
    gone: tuple[Gone, ...] = ()
    manifest_sha256: str = ""
    labels_per: LabelsPer = "sample"
    units: tuple[str, ...] | None = None
    removal: Removal | None = None
    inputs: Mapping[str, Description] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def description(self) -> Description:
        """The meaning of columns and rows of x."""
        if self.inputs:
            return replace(Description.unknown(), parts=self.inputs)
        told = self.segments[0].options if self.segments else {}
        return Description(
            channels=self.channels,
            units=self.units,
            rate_hz=self.rate_hz,
            by_hand=frozenset(it for it in ("channels", "units", "rate_hz") if told.get(it)),
        )

    @property
    def row_rate_hz(self) -> float | None:
        """Rows per second, where that is known; of several inputs, rows of their timeline."""
        described = self.description.of_inputs
        for name, it in self.segments[0].inputs.items():
            rate = described[name].rate_hz
            if rate is not None and it.steps:
                return rate / it.steps
        return None

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The steps that were taken on recordings before they were stored, as plain values."""
        return [*self.segments[0].options.get("steps", ())] if self.segments else []

    @property
    def latest(self) -> int:
        """The latest version of the store that this is one of."""
        return max((it.version for it in self.versions), default=self.version)

    def at(self, version: int) -> "StoreHeader":
        """Return what the root said when some version was published.

        Raises
        ------
        StoreError
            If that version is not there, or not any more.
        """
        for it in self.versions:
            if it.version == version:
                names, segments = self.labels.class_names, {*it.segments}
                return replace(
                    self,
                    version=version,
                    labels=replace(self.labels, class_names=names and names[: it.n_classes]),
                    segments=tuple(one for one in self.segments if one.name in segments),
                )
        for gone in self.gone:
            if version in gone.versions:
                raise StoreError(f"Version {version} is gone: {gone.why}.")
        known = ", ".join(str(it.version) for it in self.versions)
        raise StoreError(f"There is no version {version}; there is {known}.")


def describe_removal(root: Location, removal: Removal) -> str:
    """Return the sentences that say what is left of an unfinished removal, and the remedy."""
    return (
        f"{root}: the removal of {removal.subject} has not come to its end, and files with its "
        "samples are still there. Unless it is going on just now, finish it: "
        f"zarrts remove {quoted(root)} --subject {quoted(removal.subject)}"
    )


def combined_id(segments: Sequence[Segment]) -> str:
    """Return the write id of a store of several segments; of one, its own."""
    import hashlib

    if len(segments) == 1:
        return segments[0].write_id
    return hashlib.sha256(" ".join(it.write_id for it in segments).encode()).hexdigest()[:32]


def combined_needs(segments: Iterable[Segment]) -> tuple[str, ...]:
    """Return what a reader of some segments has to know beyond schema 1, sorted."""
    return tuple(sorted({need for it in segments for need in it.needs}))


def manifest_key(version: int) -> str:
    """Return where the manifest of a version is."""
    return f"{MANIFESTS}/{version}.json"


def sizes_below(root: Location, name: str) -> dict[str, int]:
    """Return the sizes of all files of a segment, by their paths below the store, sorted."""
    return {f"{name}/{key}": size for key, size in list_files(root / name).items()}


def read_root(root: Location, before: bytes | None = None) -> bytes | None:
    """Return the root as it is written, or None if there is none; `before` itself, if it is that.

    In a bucket, it is read in any case.
    """
    try:
        path = root / ROOT_KEY
        is_known = before is not None and isinstance(path, Path)
        if is_known and within_limit(lambda: is_same(path, before or b""), path):
            return before
        return read_within_limit(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_store(root: Location) -> bool:
    """Return whether a folder holds a complete store of ours."""
    try:
        read_header(root)
    except StoreError:
        return False
    return True


def read_header(root: Location) -> StoreHeader:
    """Read the root of a store; nothing else is touched.

    Raises
    ------
    StoreError
        If there is no store, it is not complete, or a newer version wrote it.
    """
    path = root / ROOT_KEY
    try:
        content = read_within_limit(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(why_no_store(root)) from error
    except (AccessError, BucketError):
        raise
    except PermissionError as error:
        raise StoreError(
            f"{path}: you have no permission to read it. Ask its owner for it, or copy the store "
            "as somebody who has."
        ) from error
    except OSError as error:
        raise StoreError(_unreadable(path, error)) from error
    return header_of(root, content)


def header_of(root: Location, content: bytes) -> StoreHeader:
    """Return what the root of a store says; see `parse_root`."""
    return parse_root(root, content)[0]


def parse_root(root: Location, content: bytes) -> tuple[StoreHeader, PartedRoot | None]:
    """Return what the root of a store says, and it as one of several parts, where it is.

    Raises
    ------
    StoreError
        If it is not that of a store, is damaged, or a newer version wrote it.
    """
    path = root / ROOT_KEY
    parted = PartedRoot.of(content)
    try:
        document = json.loads(content) if parted is None else parted.document
    except ValueError as error:
        raise StoreError(_unreadable(path, error)) from error
    if not isinstance(document, dict):
        raise StoreError(f"{path} is damaged. {REMEDY}")
    try:
        attributes = document.get("attributes", {}).get("zarrts")
        if attributes is None:
            raise StoreError(why_not_ours(root, document))
        newer = why_unreadable(attributes)
        if newer is not None:
            raise NewerSchemaError(
                f"{root} {newer}; upgrade zarrts: python -m pip install --upgrade zarrts."
            )
        if parted is None and not is_root_whole(content, document):
            raise ValueError("it does not match its checksum")
        parts = _parts_of(document) if parted is None else parted.arrays
        return _header(attributes, parts), parted
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}). {REMEDY}"
        ) from error


def _parts_of(document: Mapping[str, Any]) -> dict[str, Arrays]:
    # Those of all segments, looked through for each, would take a second at 200 of them.
    nodes: dict[str, dict[str, Any]] = {}
    for path, node in document["consolidated_metadata"]["metadata"].items():
        nodes.setdefault(path.partition("/")[0], {})[path] = node
    names = (it["name"] for it in document["attributes"]["zarrts"]["segments"])
    return {it: arrays_of(nodes.get(it, {}), it) for it in names}


def _header(attributes: Mapping[str, Any], parts: Mapping[str, Arrays | bytes]) -> StoreHeader:
    return StoreHeader(
        version=attributes["version"],
        kind=attributes["kind"],
        write_id=attributes["write_id"],
        labels=scheme_of(attributes["labels"]),
        x_name=attributes["x_name"],
        y_name=attributes["y_name"],
        channels=attributes["channels"] and tuple(attributes["channels"]),
        rate_hz=attributes["rate_hz"],
        units=tuple(attributes["units"]) if "units" in attributes else None,
        segments=tuple(
            Segment(
                name=it["name"],
                found=parts[it["name"]],
                stored_bytes=it["stored_bytes"],
                write_id=it["write_id"],
                provenance=it.get("provenance", it["write_id"]),  # one and the same once
                options=it["options"],
                table_sha256=it["table_sha256"],
            )
            for it in attributes["segments"]
        ),
        versions=versions_of(attributes["versions"]),
        gone=tuple(Gone(tuple(it["versions"]), it["why"]) for it in attributes["gone"]),
        manifest_sha256=attributes["manifest"]["sha256"],
        labels_per=attributes.get("labels_per", "sample"),
        removal=_removal(attributes.get("removal")),
        needs=tuple(it for it in attributes.get("needs", ()) if it != MANY_VERSIONS),
        inputs={name: description_of(it) for name, it in attributes.get("inputs", {}).items()},
    )


def _removal(found: Mapping[str, Any] | None) -> Removal | None:
    if found is None:
        return None
    return Removal(found["subject"], found["n_samples"], tuple(found["segments"]))


def _unreadable(path: Location, error: Exception) -> str:
    return f"{path} cannot be read ({error}). {REMEDY}"
