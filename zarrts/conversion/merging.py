"""Stores as sources: to merge them, to choose among channels, to change chunks or codec.

Their recordings keep whose they are and where they came from: subject, source file, its fingerprint
and its first row. Labels that are text are read as text, so that classes of several stores meet by
their names. Values are those of the store: nothing that CF or others mean by attributes is applied.
"""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zarrts.buckets.addresses import is_remote, local_path
from zarrts.buckets.mounts import Mounts
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.store_options import SourceStore, options_for, steps_taken
from zarrts.conversion.store_rows import SegmentArrays, StoreRows, as_steps, inputs_of
from zarrts.errors import BucketError, SourceError, StoreError
from zarrts.sources import Found, Reference, Scanned, brought_together, scan
from zarrts.sources.formats.zarr_metadata import is_ours, top_attributes
from zarrts.sources.rows.folders import Folder
from zarrts.sources.rows.label_rows import RepeatedRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.subject_names import subjects_of
from zarrts.storage.joint_tables import read_tables
from zarrts.storage.location import Location, has_table, locate
from zarrts.storage.schema import GAPS, GROUPS, INPUTS, MASK, PACKED, STEPS
from zarrts.storage.segments import Segment
from zarrts.storage.store import StoreHeader, read_header
from zarrts.storage.table import RecordingTable
from zarrts.timeline import Gaps, part_of_gaps
from zarrts.types import Description, RowReader, SourceRecording

_READ = {GAPS, GROUPS, INPUTS, MASK, PACKED, STEPS}
FOUND = "a recording of a zarrts store"


def find_all(
    source: Any,
    target: Location,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None,
    reference: Reference | None = None,
) -> tuple[ConvertOptions, Found]:
    """Find the recordings in files and stores, and bring them together; see `sources.find`.

    Parameters
    ----------
    target : Location
        Where they are stored.
    reference : Reference, optional
        Of a store that they are added to, which decides the options.

    Returns
    -------
    options, with what stores among the sources say; and what was found.
    """
    options, scanned = scan_all(source, target, options, storage_options, reference)
    return options, brought_together(scanned, options, reference)


def scan_all(
    source: Any,
    target: Location | None,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None,
    reference: Reference | None = None,
) -> tuple[ConvertOptions, Scanned]:
    """Find the recordings in files and stores; see `find_all`."""
    stores, others = _take_stores(source, storage_options)
    if reference is None:
        options = options_for(options, stores, is_all=not others)
    if target is not None:
        _refuse_itself(target, stores)
    mounts = Mounts(storage_options)
    stored, problems = _recordings_of(stores, options, mounts)
    scanned = scan(others, options, mounts=mounts, reference=reference, stored=stored)
    if has_table(others):
        mounts.warn_of_unused(None if target is None else str(target))
    if stores and options.subject is None:
        problems += _in_stores_already(scanned.recordings, stored)
    if problems:
        noted = {**scanned.problems, "meaning": tuple(problems)}
        scanned = replace(scanned, problems=noted)
    return options, scanned


def _take_stores(
    source: Any, storage_options: Mapping[str, Any] | None
) -> tuple[list[SourceStore], list[Any]]:
    """Return the stores among sources, and the other sources, each in the order given.

    Raises
    ------
    SourceError
        If a store cannot be opened.
    """
    items = list(source) if isinstance(source, list | tuple) else [source]
    places: list[str] = []
    others: list[Any] = []
    for item in items:
        found = [*_stores_at(item, storage_options)] if isinstance(item, str | os.PathLike) else []
        if not found:
            others.append(item)
        for place, is_store in found:
            (places if is_store else others).append(place)
    names = [os.path.basename(place.rstrip("/\\")) for place in places]
    are_apart = len({*names}) == len({*places})
    stores = [
        _opened(name if are_apart else place, place, storage_options)
        for name, place in zip(names, places, strict=True)
    ]
    return list({str(it.root): it for it in stores}.values()), others


def _stores_at(item: Any, options: Mapping[str, Any] | None) -> Iterator[tuple[str, bool]]:
    """Yield (path, whether it is a store) of what stands there, if there is a store at all."""
    place = os.fspath(item)
    if not isinstance(place, str) or not place:
        return
    if is_remote(place):
        name = place.rstrip("/").rpartition("/")[2]
        if glob.has_magic(place) or not name.lower().endswith(".zarr"):
            return
        remote, key = Mounts(options).at(place.rstrip("/"))
        try:
            is_store = is_ours(top_attributes(Folder(place, remote, key)))
        except SourceError:
            return  # whoever looks for files says what is wrong
        if is_store:
            yield place.rstrip("/"), True
        return
    path = os.path.expanduser(str(local_path(place) or place))
    matches = [path]
    if glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.glob(path, recursive=True))
    found = [(it, _is_store(it)) for it in matches]
    if any(is_store for _, is_store in found):
        yield from found


def _is_store(path: str) -> bool:
    attributes = top_attributes(Folder(path)) if os.path.isdir(path) else {}
    return "zarrts" in attributes


def _opened(name: str, place: str, options: Mapping[str, Any] | None) -> SourceStore:
    try:
        root = locate(place, options if is_remote(place) else None)
        header = read_header(root)
    except (StoreError, BucketError) as error:
        raise SourceError(str(error)) from error
    unknown = sorted({*header.needs} - _READ)
    if unknown:
        raise SourceError(
            f"{name}: needs {', '.join(unknown)}, and such a store cannot be a source yet; convert "
            "the files that it was made from."
        )
    return SourceStore(name, root, header)


# What is in them ---------------------------------------------------------------------------------


def _recordings_of(
    stores: Sequence[SourceStore], options: SourceOptions, mounts: Mounts
) -> tuple[list[SourceRecording], list[str]]:
    """Return the recordings of stores, and a sentence for each subject that is not clear.

    Parameters
    ----------
    options : SourceOptions
        `subject` is about the name of a store and of a subject, such as "a.zarr/s01".

    Raises
    ------
    SourceError
        If a table of recordings is damaged, or `subject` cannot be used.
    """
    tables = [_tables(it) for it in stores]
    pairs = [
        (store.name, subject)
        for store, of_store in zip(stores, tables, strict=True)
        for subject in dict.fromkeys(name for it in of_store.values() for name in it.subject)
    ]
    paths = [f"{name}/{subject}" for name, subject in pairs]
    names, problems = subjects_of(options.subject, paths, mounts)
    if options.subject is None:
        names = [subject for _, subject in pairs]
        problems = _equal_subjects(pairs)
    subject_in = dict(zip(pairs, names, strict=True))
    found: list[SourceRecording] = []
    for store, of_store in zip(stores, tables, strict=True):
        for segment in store.header.segments:
            found += _recordings_in(store, segment, of_store[segment.name], subject_in)
    return found, problems


def _tables(store: SourceStore) -> dict[str, RecordingTable]:
    try:
        return read_tables(store.root, store.header)
    except (StoreError, BucketError) as error:
        raise SourceError(str(error)) from error


def _equal_subjects(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return a sentence for each subject that several stores have."""
    stores_of: dict[str, list[str]] = {}
    for store, subject in pairs:
        stores_of.setdefault(subject, []).append(store)
    return [
        f"{', '.join(stores)}: have a subject {subject} each. Say who is who with subject= "
        f"(--subject), which is searched in {stores[0]}/{subject}: '[^/]+$' if one name is one "
        "person in all stores, '.+' if each store has persons of its own."
        for subject, stores in stores_of.items()
        if len(stores) > 1
    ]


def _in_stores_already(
    recordings: Sequence[SourceRecording], stored: Sequence[SourceRecording]
) -> list[str]:
    """Return a sentence for each recording of a file whose subject a store has as well."""
    known = {it.subject for it in stored}
    return [
        f"{it.origin}: a store among the sources has a subject {it.subject} already. If it is the "
        "same person, or another one, say who is who with subject= (--subject)."
        for it in recordings
        if it.found != FOUND and it.subject in known
    ]


def _refuse_itself(target: Location, stores: Sequence[SourceStore]) -> None:
    """Raise SourceError where the store that is written is a source as well."""
    if any(str(it.root) == str(target) for it in stores):
        raise SourceError(
            f"{target}: is source and target; give the new store another name, such as both.zarr."
        )


def _recordings_in(
    store: SourceStore,
    segment: Segment,
    table: RecordingTable,
    subject_in: Mapping[tuple[str, str], str | None],
) -> Iterator[SourceRecording]:
    arrays = SegmentArrays(store.root, segment, store.header.labels, table)
    is_one_label = segment.labels_per == "recording"
    n_rows, description = max(1, segment.n_rows), _description(store.header, segment)
    taken = steps_taken(segment)
    # Masks and gaps are those of the steps of the fastest input, as in files.
    steps = max(1, *(it.steps for it in segment.inputs.values()))
    for number, subject in enumerate(table.subject):
        name = subject_in[store.name, subject]
        if name is None:
            continue
        start, stop = int(table.starts[number]), int(table.starts[number + 1])
        of_labels = (number, number + 1) if is_one_label else (start, stop)
        y = StoreRows(arrays, "y", *of_labels, store.name)
        mask: RowReader | None = None
        if segment.mask is not None:
            rows = StoreRows(arrays, "mask", start, stop, store.name)
            mask = rows if steps == 1 else RepeatedRows(rows, steps, (stop - start) * steps)
        gaps = part_of_gaps(table.gaps, start, stop)
        yield SourceRecording(
            subject=name,
            origin=table.source[number],
            x=inputs_of(arrays, start, stop, store.name),
            y=as_steps(y, segment.label_steps),
            x_name=store.header.x_name,
            y_name=store.header.y_name,
            size_bytes=segment.stored_bytes * (stop - start) // n_rows,
            fingerprint=table.fingerprint[number],
            description=description,
            found=FOUND,
            first_row=int(table.source_starts[number]),
            labels_per=segment.labels_per,
            groups=table.groups[number] if table.groups else {},
            mask=mask,
            steps_taken=taken,
            gaps=None if gaps is None else Gaps(gaps.rows * steps, gaps.seconds),
        )


def _description(header: StoreHeader, segment: Segment) -> Description:
    """Return what columns and rows of a store mean; of several inputs, and labels at which rate."""
    told = replace(header.description, by_hand=frozenset())
    parts = {name: replace(it, by_hand=frozenset()) for name, it in told.parts.items()}
    rate_hz = told.rate_hz
    # Labels that are as many as the steps of an input are those of that, as in files.
    are_of_input = segment.label_steps in {it.steps for it in segment.inputs.values()}
    if parts and segment.labels_per == "row" and not are_of_input:
        assert header.row_rate_hz is not None  # or their steps could not differ
        rate_hz = header.row_rate_hz * segment.label_steps
    return replace(told, rate_hz=rate_hz, parts=parts)
