"""Dask arrays of a study: what a store would hold, read when it is asked for.

A block is a shard of the store, and holds names and offsets of the sources that overlap it, never
their rows. Their keys follow from content and options: two studies with equal keys are equal.
"""

import contextlib
import copy
import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts.conversion.casting import cast_rows
from zarrts.conversion.plan import ShardTask, block_rows, shard_tasks
from zarrts.conversion.tasks import is_sequential
from zarrts.conversion.understanding import Understood
from zarrts.sources import recorded_description
from zarrts.sources.rows.records import NamedRows
from zarrts.types import AnyArray, RowReader, SourceRecording

Part = tuple[RowReader, int, int, str]
"""Rows of a reader, the first and the end of them, and how errors name it."""


def inputs_of(study: Understood, numbers: Sequence[int] | None = None) -> Any:
    """Return x of all recordings, one after the other, or of some."""
    recordings, tasks, token = _chosen(study, numbers)
    readers = [it.x for it in recordings]
    return _array(recordings, readers, tasks, study.layout.dtype, f"zarrts-x-{token}", study)


def labels_of(study: Understood, numbers: Sequence[int] | None = None) -> Any:
    """Return y of all recordings, one after the other, or of some; several by name."""
    recordings, tasks, token = _chosen(study, numbers)
    if study.labels_per == "recording":
        tasks = shard_tasks([1] * len(recordings), max(1, len(recordings)))
    name = f"zarrts-y-{token}"
    several = [it.y for it in recordings if isinstance(it.y, NamedRows)]
    if not several:
        return _labels(recordings, [it.y for it in recordings], tasks, name, study)
    return {
        array: _labels(
            recordings, [it.readers[i] for it in several], tasks, f"{name}-{array}", study
        )
        for i, array in enumerate(several[0].names)
    }


def _labels(
    recordings: Sequence[SourceRecording],
    readers: Sequence[RowReader],
    tasks: Sequence[ShardTask],
    name: str,
    study: Understood,
) -> Any:
    dtype = np.result_type(*(it.dtype for it in readers))
    return _array(recordings, readers, tasks, dtype, name, study)


def _chosen(
    study: Understood, numbers: Sequence[int] | None
) -> tuple[Sequence[SourceRecording], Sequence[ShardTask], str]:
    if numbers is None:
        return study.recordings, study.layout.tasks, _token(study, study.recordings)
    recordings = [study.recordings[number] for number in numbers]
    lengths = [it.x.shape[0] for it in recordings]
    tasks = shard_tasks(lengths, study.layout.shard_rows)
    return recordings, tasks, _token(study, recordings)


def _token(study: Understood, recordings: Sequence[SourceRecording]) -> str:
    options = study.options.recorded()
    found = [
        [it.subject, it.origin, it.fingerprint, it.stamp, it.x_name, it.y_name, list(it.x.shape)]
        # Of what lies in memory or is a function, a fingerprint is samples; nobody can tell more.
        + ([] if it.paths else [id(it.x), id(it.y)])
        for it in recordings
    ]
    layout = [study.layout.dtype.str, study.layout.shard_rows, study.labels_per]
    meaning = recorded_description(study.description)
    content = json.dumps([options, found, layout, meaning], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _array(
    recordings: Sequence[SourceRecording],
    readers: Sequence[RowReader],
    tasks: Sequence[ShardTask],
    dtype: np.dtype[Any],
    name: str,
    study: Understood,
) -> Any:
    import dask.array as da

    row_shape = readers[0].shape[1:]
    steps = [block_rows(it, study.layout.chunk_rows) for it in recordings]
    parts = np.empty(len(tasks), object)
    for number, task in enumerate(tasks):
        parts[number] = _Parts(
            tuple(
                (readers[it.recording], it.start, it.stop, recordings[it.recording].origin)
                for it in task.spans
            ),
            max((steps[it.recording] for it in task.spans), default=1),
            dtype,
            row_shape,
            any(is_sequential(recordings[it.recording]) for it in task.spans),
        )
    if not tasks:
        return da.zeros((0, *row_shape), dtype)
    return da.map_blocks(
        _read,
        da.from_array(parts, chunks=1, name=f"{name}-parts"),  # type: ignore[no-untyped-call]
        dtype=dtype,
        chunks=(tuple(task.n_rows for task in tasks), *((n,) for n in row_shape)),
        new_axis=list(range(1, 1 + len(row_shape))) or None,
        name=name,
        meta=np.empty((0,) * (1 + len(row_shape)), dtype),
    )


class _Parts:
    """The rows of a block: where they are, and how many are read at once."""

    def __init__(
        self,
        parts: tuple[Part, ...],
        step: int,
        dtype: np.dtype[Any],
        row_shape: tuple[int, ...],
        goes_forward: bool,
    ) -> None:
        self._parts, self._step, self._dtype = parts, step, dtype
        self._row_shape, self._goes_forward = row_shape, goes_forward

    def read(self) -> AnyArray:
        """Return the rows."""
        n_rows = sum(stop - start for _, start, stop, _ in self._parts)
        out = np.empty((n_rows, *self._row_shape), self._dtype)
        done = 0
        for rows, start, stop, origin in self._parts:
            # Blocks come in any order and from several threads; each reads on its own.
            own = copy.deepcopy(rows) if self._goes_forward else rows
            with contextlib.closing(own):
                for low, high in itertools.pairwise([*range(start, stop, self._step), stop]):
                    block = own.read(low, high)
                    if block.dtype.kind != "U":  # of which the longest decides the dtype
                        block = cast_rows(block, self._dtype, origin)
                    out[done : done + len(block)] = block
                    done += len(block)
        return out


def _read(block: AnyArray) -> AnyArray:
    parts: _Parts = block.item()
    return parts.read()
