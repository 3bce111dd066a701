"""Before a conversion: find the sources, understand them, and refuse whatever cannot end well."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zarrts import sources
from zarrts.buckets.addresses import is_remote
from zarrts.buckets.mounts import Mounts
from zarrts.conversion.checks import (
    check_duplicates,
    check_fit,
    check_recordings,
    check_sessions,
    data_unread,
    refuse,
)
from zarrts.conversion.options import AUTO, ConvertOptions
from zarrts.conversion.plan import (
    Layout,
    count_workers,
    lay_out,
    lay_out_in,
    stored_dtype,
    task_bytes,
    usual_workers,
    warn_of_axes,
)
from zarrts.conversion.publish import codec_of
from zarrts.conversion.survey import count_labels, try_chunks
from zarrts.conversion.targets import finished_bytes, refuse_target, refuse_unfinished
from zarrts.errors import PlanError
from zarrts.labels.label_sets import extended_scheme, scheme_of_study
from zarrts.labels.scheme import LabelCounter, LabelScheme
from zarrts.sizes import format_size
from zarrts.sources.study.integer_labels import with_integer_labels
from zarrts.storage.journal import Plan
from zarrts.storage.location import (
    Location,
    free_bytes,
    has_table,
    locate,
    refuse_large,
    refuse_read_only,
    refuse_unused,
)
from zarrts.storage.store import StoreHeader, is_store, read_header
from zarrts.storage.table import read_table
from zarrts.types import Description, LabelsPer, SourceRecording

_ROOM_MARGIN = 1.1
_WORTH_COMPRESSING = 0.95


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A conversion that is understood and checked; nothing is written yet.

    Attributes
    ----------
    target : Location
    recordings : tuple of SourceRecording
    layout : Layout
    labels : LabelScheme
    counters : tuple of LabelCounter
        Labels of each recording.
    workers : int
        Tasks that run at once.
    source_bytes, raw_bytes, stored_bytes, free_bytes : int
        To be read; of the arrays in memory; to be written (an estimate from a few compressed
        chunks); and free on the disk, None in a bucket.
    seconds : float
        Estimate from the same chunks.
    plan : Plan
        What fixes the bytes of the new segment.
    description : Description
        What columns and rows of all recordings mean.
    notes : tuple of str
        See `sources.Found`.
    passed_over : tuple of str
        Files among the sources that are of no kind that is read.
    base : StoreHeader, or None
        The store that the segment is added to.
    """

    target: Location
    options: ConvertOptions
    recordings: tuple[SourceRecording, ...]
    layout: Layout
    labels: LabelScheme
    counters: tuple[LabelCounter, ...]
    workers: int
    source_bytes: int
    raw_bytes: int
    stored_bytes: int
    free_bytes: int | None
    seconds: float
    plan: Plan
    has_subjects_given: bool
    description: Description
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    base: StoreHeader | None = None

    @property
    def labels_per(self) -> LabelsPer:
        """What has a label: samples that are rows; or recordings, or their rows."""
        return self.recordings[0].labels_per

    @property
    def is_ragged(self) -> bool:
        """Whether a sample is a recording of any length."""
        return self.labels_per != "sample"

    @property
    def warnings(self) -> list[str]:
        """What looks wrong, but need not be."""
        warnings = data_unread(self.passed_over)
        if self.options.axes is not None:
            return warnings
        shape = self.layout.row_shape
        if self.is_ragged:
            shape = (max(it.x.shape[0] for it in self.recordings), *shape)
        return warnings + warn_of_axes(shape, is_series=self.is_ragged)

    @property
    def is_done(self) -> bool:
        """Whether the target holds all of this already."""
        if not is_store(self.target):
            return False
        header = read_header(self.target)
        if self.base is not None:
            return header.segments[-1].write_id == self.plan.write_id
        return header.write_id == self.plan.write_id

    def refuse_target(self) -> None:
        """Raise PlanError unless the target may be written to; nothing is touched."""
        options = self.options
        if self.base is None:
            refuse_target(
                self.target, self.plan, overwrite=options.overwrite, restart=options.restart
            )
        else:
            refuse_unfinished(self.target, self.plan, restart=options.restart)


def prepare(
    source: Any,
    target: str | Path,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None = None,
) -> Prepared:
    """Find the sources, read headers and labels, and refuse whatever cannot end well.

    Raises
    ------
    SourceError
        Naming every file that cannot be used, and why.
    PlanError
        Where memory, disk space or an option forbids it.
    """
    root = locate(target, storage_options if is_remote(target) else None)
    refuse_read_only(root)  # before anything is asked of a server
    refuse_unused(storage_options, source, target, options.subject)
    _refuse_nothing_given(options)
    found = _find(source, options, storage_options, target)
    return _prepared(found, root, options, None)


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
    target = locate(store, storage_options if is_remote(store) else None)
    refuse_read_only(target)
    refuse_unused(storage_options, source, store, options.subject)
    header = read_header(target)
    options = _as_in_store(options, header)
    reference = sources.Reference(
        description=header.description, owner="the store has", is_all=False
    )
    found = _find(source, options, storage_options, store, reference)
    if len(header.versions) > 1:
        latest = read_table(target, header.segments[-1])
        same = [(it.origin, it.fingerprint) for it in found.recordings]
        if same == list(zip(latest.source, latest.fingerprint, strict=True)):
            before = header.at(header.versions[-2].version)
            prepared = _prepared(found, target, options, before)
            if prepared.is_done:
                return prepared
    return _prepared(found, target, options, header)


def _as_in_store(options: ConvertOptions, header: StoreHeader) -> ConvertOptions:
    """Return options with what was said when the store was made, unless it is said otherwise."""
    first = header.segments[0]
    then = sources.SourceOptions.from_recorded(first.options)
    is_certain = len(first.x.shape) == 2 or header.kind == "ragged"
    return replace(
        options.or_else(replace(then, rate_hz=header.rate_hz)),
        kind=header.kind if is_certain else options.kind,
    )


def _find(
    source: Any,
    options: ConvertOptions,
    storage_options: Mapping[str, Any] | None,
    store: str | Path,
    reference: sources.Reference | None = None,
) -> sources.Found:
    mounts = Mounts(storage_options)
    found = sources.find(source, options, mounts=mounts, reference=reference)
    if has_table(source):
        mounts.warn_of_unused(store)
    return found


def _prepared(
    found: sources.Found, target: Location, options: ConvertOptions, base: StoreHeader | None
) -> Prepared:
    if base is not None:
        recordings = tuple(sources.as_in_store(it, base.labels_per) for it in found.recordings)
        found = replace(found, recordings=recordings)
    recordings = found.recordings
    problems = [*found.problems]
    problems += check_recordings(recordings, kind=options.kind, channels=options.channels)
    problems += check_fit(target, base, found) if base else check_duplicates(recordings)
    if not found.has_subjects_given:
        problems += check_sessions([*(it.subject for it in recordings), *_subjects(target, base)])
    refuse(problems, "Nothing was added." if base else "Nothing was converted.")
    recordings = with_integer_labels(recordings, are_classes=_are_classes(options, base))
    counters, digests = zip(*(count_labels(it) for it in recordings), strict=True)
    labels = _labels(recordings, counters, options, base)
    layout = _layout(recordings, options, base)
    if base is not None:
        options = replace(options, codec=codec_of(base.segments[0].x))
    workers = count_workers(
        task_bytes(recordings, layout),
        options.memory_bytes,
        min(options.workers or usual_workers(recordings), len(layout.tasks)),
    )
    options, ratio, bytes_per_s = _with_codec(recordings, layout, options)
    plan = _plan(recordings, digests, layout, options, base)
    raw_bytes = layout.n_rows * layout.row_bytes
    prepared = Prepared(
        target=target,
        options=options,
        recordings=recordings,
        layout=layout,
        labels=labels,
        counters=counters,
        workers=workers,
        source_bytes=sum(it.size_bytes for it in recordings),
        raw_bytes=raw_bytes,
        stored_bytes=int(raw_bytes * ratio),
        free_bytes=free_bytes(target),
        seconds=raw_bytes / bytes_per_s / workers,
        plan=plan,
        has_subjects_given=found.has_subjects_given,
        description=found.description,
        notes=found.notes,
        passed_over=found.passed_over,
        base=base,
    )
    if not prepared.is_done:
        prepared.refuse_target()
        _check_room(prepared)
    return prepared


def _labels(
    recordings: Sequence[SourceRecording],
    counters: Sequence[LabelCounter],
    options: ConvertOptions,
    base: StoreHeader | None,
) -> LabelScheme:
    dtypes = [it.y.dtype for it in recordings]
    if base is not None:
        return extended_scheme(base.labels, counters, dtypes)
    return scheme_of_study(counters, dtypes, options.class_names, allows_missing=True)


def _layout(
    recordings: Sequence[SourceRecording], options: ConvertOptions, base: StoreHeader | None
) -> Layout:
    if base is not None:
        x = base.segments[0].x
        return lay_out_in(recordings, x.dtype, x.chunk_rows, x.shard_rows)
    return lay_out(
        recordings,
        stored_dtype(recordings, options.dtype),
        chunk_bytes=options.chunk_bytes,
        shard_bytes=options.shard_bytes,
    )


def _are_classes(options: ConvertOptions, base: StoreHeader | None) -> bool:
    """Return whether labels that are numbers are classes, as somebody said."""
    if base is None:
        return options.class_names is not None
    return base.labels.encoding == "numbers" and base.labels.class_names is not None


def _with_codec(
    recordings: Sequence[SourceRecording], layout: Layout, options: ConvertOptions
) -> tuple[ConvertOptions, float, float]:
    """Return the options with a codec, bytes stored per byte, and bytes per second."""
    if options.codec != AUTO:
        return options, *try_chunks(recordings, layout, options.codec)
    # By size alone, never by a clock: the same sources have to give the same bytes.
    ratio, bytes_per_s = try_chunks(recordings, layout, "lz4")
    if ratio <= _WORTH_COMPRESSING:
        return replace(options, codec="lz4"), ratio, bytes_per_s
    return replace(options, codec="none"), *try_chunks(recordings, layout, "none")


def _check_room(prepared: Prepared) -> None:
    refuse_large(prepared.target, prepared.layout.shard_rows * prepared.layout.row_bytes)
    finished = 0
    if not prepared.options.restart:
        finished = finished_bytes(prepared.target, prepared.plan)
    needed = int(prepared.stored_bytes * _ROOM_MARGIN) - finished
    if prepared.free_bytes is not None and needed > prepared.free_bytes:
        raise PlanError(
            f"{prepared.target}: the store needs about {format_size(needed)}, but "
            f"{format_size(prepared.free_bytes)} are free; make room or choose another disk."
        )


def _subjects(target: Location, base: StoreHeader | None) -> list[str]:
    """Return the subjects of a store that is added to."""
    tables = (read_table(target, segment) for segment in base.segments) if base else ()
    return [name for table in tables for name in table.subject]


def _plan(
    recordings: Sequence[SourceRecording],
    label_digests: Sequence[str],
    layout: Layout,
    options: ConvertOptions,
    base: StoreHeader | None,
) -> Plan:
    chosen = options.recorded() | {
        "dtype": layout.dtype.name,
        "codec": options.codec,
        "samples in a chunk": layout.chunk_rows,
        "samples in a shard": layout.shard_rows,
    }
    if recordings[0].labels_per != "sample":
        chosen |= {"kind": "ragged", "labels per": recordings[0].labels_per}
    if every := next(filter(None, (sources.every_of(it.y) for it in recordings)), None):
        chosen["label_every"] = every  # in rows: the same, however it was said
    found = [
        [it.subject, it.origin, it.fingerprint, it.x_name, it.y_name, list(it.x.shape), digest]
        for it, digest in zip(recordings, label_digests, strict=True)
    ]
    known = base and base.labels.class_names  # new names get the codes after these
    content = json.dumps([chosen, found, known], sort_keys=True).encode()
    return Plan(
        write_id=hashlib.sha256(content).hexdigest()[:32],
        options=chosen,
        sources={it.origin: f"{it.subject} {it.fingerprint}" for it in recordings},
    )
