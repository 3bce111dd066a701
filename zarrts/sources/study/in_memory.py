"""Recordings given as arrays in memory, not as files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.drafts import Findings
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.arrays import ArrayRows
from zarrts.sources.rows.label_rows import IntervalRows
from zarrts.sources.rows.records import named_rows
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.sources.study import fingerprint
from zarrts.types import Description, LabelsPer, Recording, RowReader, SourceRecording

_INTERVAL = ("start", "stop", "label")


def find_recordings(
    recordings: Sequence[Recording], options: SourceOptions, findings: Findings
) -> list[SourceRecording]:
    """Return what recordings in memory hold, in their order; those that are no good are noted."""
    if options.axes is not None and recordings:
        raise SourceError(
            "axes= is about files; bring the arrays of a Recording into the order "
            "(sample, time, channel) before, with numpy.transpose."
        )
    numbered = [
        (it, f"recording {number} ({it.subject})") for number, it in enumerate(recordings, start=1)
    ]
    return findings.collect("array", numbered, lambda it: [_found(*it)])


def _found(recording: Recording, origin: str) -> SourceRecording:
    if not (isinstance(recording.subject, str) and recording.subject):
        raise SourceError(f"{origin}: its subject must be a name, not {recording.subject!r}.")
    x = _rows(recording.x, "x", origin)
    y, labels_per = _labels(recording.y, x.shape[0], origin)
    return SourceRecording(
        subject=recording.subject,
        origin=origin,
        x=x,
        y=y,
        x_name="x",
        y_name=", ".join(map(str, recording.y)) if isinstance(recording.y, Mapping) else "y",
        size_bytes=0,
        fingerprint=fingerprint.of_readers((x, y)),
        is_sampled=not callable(recording.x) and fingerprint.are_sampled((x, y)),
        description=Description.unknown(),
        labels_per=labels_per,
    )


def _labels(labels: Any, n_rows: int, origin: str) -> tuple[RowReader, LabelsPer]:
    """Return the labels of a recording, and whether it is said what has one."""
    if labels is None:
        return ConstantRows("", n_rows), "sample"
    if isinstance(labels, Mapping):
        found = {str(name): _labels(it, n_rows, f"{origin}: {name}") for name, it in labels.items()}
        kinds = {labels_per for _, labels_per in found.values()}
        if len(kinds) > 1:
            raise SourceError(
                f"{origin}: some of its labels are one for all rows, and some are not; give all "
                "alike."
            )
        rows = named_rows({name: it for name, (it, _) in found.items()}, origin)
        return rows, kinds.pop()
    if isinstance(labels, str | bool | int | float | np.generic) or _is_single(labels):
        return _rows(np.asarray(labels)[None], "y", origin), "recording"
    names = getattr(getattr(labels, "dtype", None), "names", None)
    if names is not None and {*_INTERVAL} <= {*names}:
        where = f"{origin}: y"
        starts, stops = (labels[name] for name in _INTERVAL[:2])
        of_intervals = _rows(labels[_INTERVAL[2]], "y", origin)
        values = of_intervals.read(0, of_intervals.shape[0])
        return IntervalRows.of(starts, stops, values, n_rows, where), "row"
    return _rows(labels, "y", origin), "sample"


def _is_single(labels: Any) -> bool:
    return isinstance(labels, np.ndarray) and labels.ndim == 0


def _rows(array: object, role: Role, origin: str) -> ArrayRows:
    where = f"{origin}: {role}"
    rows = ArrayRows(array, where)
    check_array(rows.dtype, rows.shape, role, where)
    check_rows(rows.shape, where)
    return rows
