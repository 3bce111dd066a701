"""The header of a store and the table of its recordings, as a conversion makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from zarrts.conversion.prepared import Prepared
from zarrts.conversion.target import Target
from zarrts.labels.scheme import LabelScheme
from zarrts.stats.sketches import count_points
from zarrts.storage.journal import WrittenTask, merged_moments, sketches_of
from zarrts.storage.segments import Segment
from zarrts.storage.store import Gone, StoreHeader, combined_id, combined_needs
from zarrts.storage.table import RecordingTable
from zarrts.storage.versions import Version
from zarrts.timeline import Gaps


def table_of(prepared: Prepared, results: Sequence[WrittenTask]) -> RecordingTable:
    """Return the table of the recordings of a segment, from the tasks that wrote it."""
    labels, layout = prepared.labels, prepared.layout
    starts = np.cumsum([0, *(it.x.shape[0] for it in prepared.recordings)])
    counts = None
    if labels.class_names:
        counts = np.stack([labels.counts_by_class(counter) for counter in prepared.counters])
    return RecordingTable(
        subject=tuple(it.subject for it in prepared.recordings),
        source=tuple(it.origin for it in prepared.recordings),
        fingerprint=tuple(it.fingerprint for it in prepared.recordings),
        starts=starts,
        source_starts=np.array([it.first_row for it in prepared.recordings], np.int64),
        label_counts=counts,
        moments=merged_moments(results, len(prepared.recordings), layout.n_channels),
        sketch=sketches_of(
            results,
            len(prepared.recordings),
            layout.channels,
            n_points_of(prepared),
        ),
        groups=_groups(prepared),
        gaps=Gaps.joined(
            (first, it.gaps)
            for first, it in zip(starts[:-1].tolist(), prepared.recordings, strict=True)
        ),
        packing=prepared.encoding.packing,
    )


def _groups(prepared: Prepared) -> tuple[Mapping[str, str], ...]:
    groups = tuple(it.groups for it in prepared.recordings)
    return groups if any(groups) else ()


def n_points_of(prepared: Prepared) -> int:
    """Return how many values the sketch of a recording holds."""
    return count_points(len(prepared.recordings), prepared.layout.n_channels)


def header_of_store(prepared: Prepared, segment: Segment, target: Target) -> StoreHeader:
    """Return the header of the store that a new segment makes, or is added to."""
    provenance, base = prepared.provenance, prepared.base
    segment = replace(segment, provenance=provenance.digest, options=dict(provenance.options))
    if base is not None:
        return _added(base, segment, prepared.labels)
    first, described = prepared.recordings[0], prepared.description
    version = target.version + 1
    old = target.header
    gone = old.gone if old else ()
    if target.version:
        lost = tuple(it.version for it in old.versions) if old else tuple(range(1, version))
        gone = (*gone, Gone(lost, f"version {version} replaced it"))
    return StoreHeader(
        version=version,
        kind="ragged" if prepared.is_ragged else "dense",
        labels_per=prepared.labels_per,
        write_id=segment.write_id,
        labels=prepared.labels,
        x_name=first.x_name,
        y_name=first.y_name,
        channels=described.channels,
        rate_hz=None if described.parts else described.rate_hz,
        units=described.units,
        inputs=dict(described.parts),
        segments=(segment,),
        needs=combined_needs([segment]),
        versions=(Version.of(version, (segment.name,), prepared.labels.n_classes),),
        gone=gone,
    )


def _added(base: StoreHeader, segment: Segment, labels: LabelScheme) -> StoreHeader:
    """Return the header of a store with one segment more."""
    segments = (*base.segments, segment)
    version = base.version + 1
    return replace(
        base,
        removal=None,  # what it left was deleted before this began
        version=version,
        write_id=combined_id(segments),
        labels=labels,
        segments=segments,
        needs=tuple(sorted({*base.needs, *segment.needs})),
        versions=(
            *base.versions,
            Version.of(version, (it.name for it in segments), labels.n_classes),
        ),
    )
