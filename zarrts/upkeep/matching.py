"""Find the files that a segment of a store was made from."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zarrts import sources
from zarrts.buckets.mounts import Mounts
from zarrts.storage.location import has_table
from zarrts.storage.segments import Segment
from zarrts.storage.table import RecordingTable
from zarrts.types import Description, SourceRecording


@dataclass(frozen=True)
class Sources:
    """Sources as users name them, with the options of their addresses and of the store's.

    `functions` are those that a step calls, by name, where they cannot be imported.
    """

    places: Any
    storage_options: Mapping[str, Any] | None = None
    store: object = None
    functions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Matched:
    """The sources of a segment: by number of the recording; and a sentence for each lacking."""

    recordings: Mapping[int, SourceRecording]
    problems: tuple[str, ...]


def match_sources(
    source: Sources,
    segment: Segment,
    table: RecordingTable,
    description: Description,
    needed: Container[int] | None = None,
) -> Matched:
    """Find the recordings of a segment (or those that are needed) by name and content.

    Their columns and rows mean what those of the store do, which is its `description`.

    Raises
    ------
    SourceError
        If there is nothing to be read.
    """
    mounts = Mounts(source.storage_options)
    # Subjects are the store's; asked for by name, so that no two files are taken for one.
    options = replace(
        sources.SourceOptions.from_recorded(segment.options, source.functions),
        subject=lambda path: path,
        kind="ragged" if segment.is_ragged else "dense",
        follow_links=True,
    )
    found = sources.find(
        source.places,
        options,
        mounts=mounts,
        has_subject_arrays=any(map(sources.is_subject_run, table.source)),
        reference=sources.Reference(description=description, owner="the store has"),
    )
    if has_table(source.places):
        mounts.warn_of_unused(source.store)
    # By content: names depend on how the folders were given, and no two have the same content.
    by_content = {(it.fingerprint, it.x.shape[0]): it for it in found.recordings}
    by_name = {_file_name(it.origin) for it in found.recordings}
    refused = {_file_name(text.partition(": ")[0]): text for text in found.problems}
    misfits = {text.partition(": ")[0]: text for text in found.misfits}
    # What is at an address is told by its tag, and files by their bytes.
    where = ""
    if any(it.is_remote for it in found.recordings):
        where = ", or it was converted from elsewhere: give the sources where they were then"
    recordings, problems = {}, []
    for number, (origin, fingerprint) in enumerate(
        zip(table.source, table.fingerprint, strict=True)
    ):
        if needed is not None and number not in needed:
            continue
        n_samples = int(table.starts[number + 1] - table.starts[number])
        it = by_content.get((fingerprint, n_samples))
        if it is not None and it.origin in misfits:
            problems.append(misfits[it.origin])
            continue
        if it is not None:
            recordings[number] = sources.as_in_store(it, segment.labels_per)
            continue
        name = _file_name(origin)
        if name in by_name:
            problems.append(
                f"{origin}: is not the file that was converted; its content differs{where}."
            )
        else:
            problems.append(refused.get(name) or f"{origin}: is not among the sources.")
    return Matched(recordings, tuple(problems))


def _file_name(origin: str) -> str:
    return origin.replace("\\", "/").rpartition("/")[2]
