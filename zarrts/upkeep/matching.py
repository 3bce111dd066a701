"""Find the files that a segment of a store was made from."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zarrts import sources
from zarrts.buckets.mounts import Mounts
from zarrts.errors import SourceError
from zarrts.storage.location import has_table
from zarrts.storage.segments import Segment
from zarrts.storage.store import StoreHeader
from zarrts.storage.table import RecordingTable
from zarrts.types import Description, SourceRecording


@dataclass(frozen=True)
class Sources:
    """Sources as users name them, with the options of their addresses and of the store's.

    `functions` are those that a step calls, by name, where they cannot be imported; `labels` is the
    table of intervals that the labels were taken from, where they are not in the files.
    """

    places: Any
    storage_options: Mapping[str, Any] | None = None
    store: object = None
    functions: Mapping[str, Any] | None = None
    labels: Any = None


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
        If there is nothing to be read, or labels are in a table that is not given.
    """
    mounts = Mounts(source.storage_options)
    # Subjects are the store's; asked for by name, so that no two files are taken for one.
    subject: Callable[[str], str] = str
    labels = None
    if has_labels_elsewhere(segment):
        if source.labels is None:
            raise SourceError(
                "The labels of this store are not in its files, but come from a table; give that, "
                "too: labels= (--labels)."
            )
        subject, labels = _subjects_in(table), source.labels
    options = replace(
        sources.SourceOptions.from_recorded(segment.options, source.functions),
        subject=subject,
        labels=labels,
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
            problems.append(refused.get(name) or f"{origin}: is not among the sources given.")
    return Matched(recordings, tuple(problems))


def has_labels_elsewhere(segment: Segment) -> bool:
    """Return whether the labels of a segment came from a table of intervals, not from its files."""
    return bool(segment.options.get("labels_elsewhere"))


def refuse_unused_labels(source: Sources, header: StoreHeader) -> None:
    """Raise SourceError if a table of labels is given, and no label came from one."""
    if source.labels is not None and not any(map(has_labels_elsewhere, header.segments)):
        raise SourceError(
            "The labels of this store come from its files, not from a table; leave labels= "
            "(--labels) out."
        )


def _subjects_in(table: RecordingTable) -> Callable[[str], str]:
    """Return a function from a path to whose it is, by the longest end that is that of a source.

    Folders may be given otherwise than they were converted. A file that is not among the sources,
    or could be that of several people, is by itself.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for origin, subject in zip(table.source, table.subject, strict=True):
        for end in _ends(origin):
            owners[end].add(subject)

    def subject_of(path: str) -> str:
        found = next((owners[it] for it in _ends(path) if it in owners), set())
        return path if len(found) != 1 else next(iter(found))

    return subject_of


def _ends(path: str) -> Iterator[str]:
    """Yield a path, and the same without its first folder, and so on; its name comes last."""
    parts = path.replace("\\", "/").split("/")
    yield from ("/".join(parts[start:]) for start in range(len(parts)))


def _file_name(origin: str) -> str:
    return origin.replace("\\", "/").rpartition("/")[2]
