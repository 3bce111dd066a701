"""Prepare a conversion: find the sources, understand them, and refuse whatever cannot end well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zarrts import sources
from zarrts.buckets.addresses import is_remote
from zarrts.buckets.objects import ObjectPath
from zarrts.conversion.codecs import choose_codec, codec_of_segment, try_chunks
from zarrts.conversion.lock import only_writer
from zarrts.conversion.merging import find_all, scan_all
from zarrts.conversion.options import AUTO, ConvertOptions
from zarrts.conversion.packing import PackPlan, plan_packing
from zarrts.conversion.plan import (
    count_workers,
    task_bytes,
    usual_workers,
)
from zarrts.conversion.prepared import Prepared
from zarrts.conversion.provenance import provenance_of
from zarrts.conversion.stamps import read_stamps, stamps_of, touched
from zarrts.conversion.target import Target, read_target, refuse_target, refuse_unfinished
from zarrts.conversion.understanding import understand
from zarrts.errors import PlanError
from zarrts.sizes import format_size
from zarrts.sources.study.declared import refuse_unused_choice
from zarrts.storage.joint_tables import JointTables
from zarrts.storage.location import (
    Location,
    free_bytes,
    locate,
    refuse_large,
    refuse_read_only,
    refuse_unused,
)
from zarrts.storage.store import StoreHeader, read_header
from zarrts.storage.table import RecordingNames, read_table
from zarrts.types import SourceRecording

_ROOM_MARGIN = 1.1


@dataclass(frozen=True)
class Base:
    """A store that recordings are added to: its header, and the recordings of its segments."""

    header: StoreHeader
    tables: Mapping[str, RecordingNames]

    def before_latest(self) -> "Base":
        """Return the version before the latest one."""
        header = self.header.at(self.header.versions[-2].version)
        return Base(header, {it.name: self.tables[it.name] for it in header.segments})


def prepare(
    source: Any,
    target: str | Path,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None = None,
) -> Prepared:
    """Find the sources, read headers and labels, and refuse whatever cannot end well.

    The sources may have been found before, by `scan`; then files that changed since are refused.

    Raises
    ------
    SourceError
        Naming every file that cannot be used, and why.
    PlanError
        Where memory, disk space or an option forbids it.
    """
    root = locate(target, storage_options if is_remote(target) else None)
    refuse_read_only(root)  # before anything is asked of a server
    if isinstance(source, sources.Scanned):
        refuse_unused(storage_options, None, target, options.subject, options.labels)
        sources.refuse_changes(source.recordings, "since it was scanned; scan it again.")
        scanned = source
    else:
        refuse_unused(storage_options, source, target, options.subject, options.labels)
        options, scanned = scan(source, options, storage_options, root)
    return _prepared(brought_together(scanned, options), read_target(root), options, None)


def scan(
    source: Any,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None = None,
    target: Location | None = None,
) -> tuple[ConvertOptions, sources.Scanned]:
    """Find the recordings in sources, for `prepare`, or for more steps on them.

    Returns
    -------
    options, with what stores among the sources say; and what was found.

    Raises
    ------
    SourceError, PlanError
        If an option cannot be used, a path does not exist, or there is nothing to read.
    """
    _refuse_nothing_given(options)
    return scan_all(source, target, options, storage_options)


def brought_together(scanned: sources.Scanned, options: ConvertOptions) -> sources.Found:
    """Return the recordings of a study after its steps, all of one meaning."""
    found = sources.brought_together(scanned, options)
    refuse_unused_choice(scanned.recordings, options)
    return found


def _refuse_nothing_given(options: ConvertOptions) -> None:
    given = {"channels": options.channels, "units": options.units, "rate_hz": options.rate_hz}
    unset = [name for name in options.override if given[name] is None]
    if unset:
        raise PlanError(
            f"override= names {', '.join(unset)}, but {unset[0]}= is not given; give it, or leave "
            "it out of override=."
        )


def prepare_append(
    source: Any,
    store: str | Path,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None = None,
    functions: Mapping[str, Any] | None = None,
) -> Prepared:
    """Do the same as `prepare` for sources that are added to a store.

    Of the options, the store decides dtype, chunk, shard and codec.

    Raises
    ------
    StoreError
        If there is no store.
    SourceError, PlanError
        As in `prepare`, and where sources do not fit the store.
    """
    root = locate(store, storage_options if is_remote(store) else None)
    refuse_read_only(root)
    refuse_unused(storage_options, source, store, options.subject, options.labels)
    target = read_target(root)
    header = target.header or read_header(root)  # which says why there is none
    options = _as_in_store(options, header, functions)
    reference = sources.Reference(
        description=header.description, owner="the store has", is_all=False
    )
    _, found = find_all(source, root, options, storage_options, reference)
    base = Base(header, (target.tables or JointTables(root, header)).names)
    if len(header.versions) > 1:
        latest = base.tables[header.segments[-1].name]
        same = [(it.origin, it.fingerprint) for it in found.recordings]
        if same == list(zip(latest.source, latest.fingerprint, strict=True)):
            prepared = _prepared(found, target, options, base.before_latest())
            if prepared.is_done:
                return prepared
    return _prepared(found, target, options, base)


def _as_in_store(
    options: ConvertOptions, header: StoreHeader, functions: Mapping[str, Any] | None
) -> ConvertOptions:
    """Return options with what was said when the store was made, unless it is said otherwise."""
    first = header.segments[0]
    then = sources.SourceOptions.from_recorded(first.options, functions)
    is_certain = len(first.x.shape) < 3 or header.kind == "ragged"
    # Before steps, rows have the rates of their files; of several inputs, each has its own.
    if not then.steps and not header.inputs:
        then = replace(then, rate_hz=header.rate_hz)
    return replace(
        options.or_else(then),
        kind=header.kind if is_certain else options.kind,
    )


def _prepared(
    found: sources.Found, target: Target, options: ConvertOptions, base: Base | None
) -> Prepared:
    store = base.header if base else None
    understood = understand(found, options, store, [*base.tables.values()] if base else [])
    options, recordings = understood.options, understood.recordings
    layout, labels = understood.layout, understood.labels
    counters, digests = understood.counters, understood.digests
    workers = count_workers(
        task_bytes(recordings, layout),
        options.memory_bytes,
        min(options.workers or usual_workers(recordings), len(layout.tasks)),
    )
    codec = codec_of_segment(store.segments[0]) if store else options.codec
    if codec == AUTO:
        chosen, ratio, bytes_per_s = choose_codec(recordings, layout)
    else:
        chosen, (ratio, bytes_per_s) = codec, try_chunks(recordings, layout, codec)
    told = replace(options, codec=chosen)
    raw_bytes = layout.n_rows * layout.row_bytes
    prepared = Prepared(
        target=target,
        is_done=False,
        touched=(),
        options=told,
        recordings=recordings,
        layout=layout,
        labels=labels,
        counters=counters,
        digests=digests,
        workers=workers,
        source_bytes=sum(it.size_bytes for it in recordings),
        raw_bytes=raw_bytes,
        stored_bytes=int(raw_bytes * ratio),
        free_bytes=free_bytes(target.root),
        seconds=raw_bytes / bytes_per_s / workers,
        provenance=provenance_of(recordings, digests, layout, told, store),
        has_subjects_given=found.has_subjects_given,
        description=found.description,
        notes=found.notes,
        passed_over=found.passed_over,
        base=store,
    )
    if not prepared.is_begun:
        plan = plan_packing(
            recordings, layout, options.packing.within(store), codec, found.description
        )
        if plan is not None:
            prepared = _as_begun(prepared, plan) or prepared.packed(plan)
    is_done = not options.overwrite and target.holds(
        prepared.provenance, is_append=store is not None
    )
    if is_done and store is None and not isinstance(target.root, ObjectPath):
        _refuse_damaged(target)
    touched_now = _touched(target, recordings) if is_done else ()
    prepared = replace(prepared, is_done=is_done, touched=touched_now)
    if not prepared.is_done:
        if target.is_of_another(prepared.provenance) and not options.restart:
            # Or a conversion that is running just now would be taken for one that was stopped.
            with only_writer(target.root):
                pass
        refuse_writing(prepared, target)
        _check_room(prepared)
    return prepared


def _as_begun(prepared: Prepared, plan: PackPlan) -> Prepared | None:
    """Return what a target holds, or has begun, with fewer inputs as counts than are planned.

    Of the others, a value was found that no count stands for; see `run`.
    """
    target = prepared.target
    there = [it.options for it in (target.header.segments[-1:] if target.header else ())]
    there += [] if target.unfinished is None else [target.unfinished.provenance.options]
    for options in there:
        pack = options.get("pack")
        if isinstance(pack, Mapping) and {*pack} < {*plan.packed}:
            found = prepared.packed(plan.only(pack))
            if found.is_begun:
                return found
    return None


def _refuse_damaged(target: Target) -> None:
    """Raise StoreError where a store's root is whole, but what it says of recordings is not."""
    # In a bucket this would be many requests.
    for segment in target.header.segments if target.header else ():
        read_table(target.root, segment)


def _touched(target: Target, recordings: Sequence[SourceRecording]) -> tuple[int, ...]:
    """Return the recordings that may have changed since the last segment was made from them."""
    assert target.header is not None
    stamps: Mapping[str, str] = {}
    if stamps_of(recordings):
        stamps = read_stamps(target.root).get(target.header.segments[-1].name, {})
    return tuple(touched(recordings, stamps))


def refuse_writing(prepared: Prepared, target: Target) -> None:
    """Raise PlanError unless a conversion may write to a place as it is; nothing is touched."""
    options = prepared.options
    if prepared.base is not None:
        refuse_unfinished(target, prepared.provenance, restart=options.restart)
        return
    refuse_target(target, prepared.provenance, overwrite=options.overwrite, restart=options.restart)


def _check_room(prepared: Prepared) -> None:
    root = prepared.target.root
    refuse_large(root, prepared.layout.shard_rows * prepared.layout.row_bytes)
    finished = 0
    if not prepared.options.restart:
        finished = prepared.target.finished_bytes(prepared.provenance)
    needed = int(prepared.stored_bytes * _ROOM_MARGIN) - finished
    if prepared.free_bytes is not None and needed > prepared.free_bytes:
        raise PlanError(
            f"{root}: the store needs about {format_size(needed)}, but "
            f"{format_size(prepared.free_bytes)} are free; make room or choose another disk."
        )
