"""The plan of a conversion: sizes of chunks and shards, one task a shard, and its memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts import sources
from zarrts.buckets.remote_file import TASK_BYTES as REMOTE_BYTES
from zarrts.conversion.axes import fields
from zarrts.errors import PlanError
from zarrts.sizes import format_budget
from zarrts.stats.moments import count_channels
from zarrts.storage.schema import GAPS, GROUPS, INPUTS, MASK
from zarrts.system import count_cpus
from zarrts.types import SourceRecording, axis_rank

_WORKING_CHUNKS = 4  # rows that are collected, converted rows, encoded bytes twice
_READ_COPIES = 3  # rows as they lie in the file, in our order of axes, and compared with these
_FIXED_BYTES = 8 << 20  # statistics in float64, pieces of a compressed file
_WAITING = 4
_OWNER_BYTES = 4  # of a row that says which recording a sample belongs to


@dataclass(frozen=True)
class Span:
    """Rows `start` to `stop` of one recording."""

    recording: int
    start: int
    stop: int


@dataclass(frozen=True)
class ShardTask:
    """A task: it writes a whole shard of every array, from some spans of recordings."""

    shard: int
    spans: tuple[Span, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows in the shard."""
        return sum(span.stop - span.start for span in self.spans)


@dataclass(frozen=True, kw_only=True)
class ShardLayout:
    """The division of rows into chunks and shards.

    Attributes
    ----------
    n_rows : int
    row_shape : tuple of int
    dtype : numpy.dtype
        Of x, as stored.
    chunk_rows, shard_rows : int
        Rows of a chunk, and of a shard (a multiple).
    tasks : tuple of ShardTask
        In the order of the store; together they cover every row of every recording once.
    """

    n_rows: int
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    shard_rows: int
    tasks: tuple[ShardTask, ...]

    @property
    def n_channels(self) -> int:
        """Number of channels; of several inputs, of all of them."""
        return count_channels(self.row_shape, self.dtype)

    @property
    def channels(self) -> dict[str, tuple[int, np.dtype[Any]]]:
        """Number of channels, and dtype, of each input by name; "" of the only one."""
        return {
            name: (count_channels(shape, dtype), dtype)
            for name, shape, dtype in fields(self.row_shape, self.dtype)
        }

    @property
    def row_bytes(self) -> int:
        """Size of a row of x, as decoded."""
        return _row_bytes(self.row_shape, self.dtype)


def stored_dtype(recordings: Sequence[SourceRecording], dtype: str) -> np.dtype[Any]:
    """Return the dtype in which x is stored.

    Parameters
    ----------
    dtype : str
        "auto": float64 becomes float32, the rest is kept; "keep"; or the name of a dtype.
        Files of several dtypes get the smallest that holds them all. Of several inputs, a record
        with a field for each.
    """
    first = recordings[0].x.dtype
    if first.names is not None:
        fields = [
            (name, _stored([it.x.dtype[name].base for it in recordings], dtype), first[name].shape)
            for name in first.names
        ]
        return np.dtype(fields)
    return _stored([it.x.dtype for it in recordings], dtype)


def _stored(found_in: Sequence[np.dtype[Any]], dtype: str) -> np.dtype[Any]:
    found = np.result_type(*found_in)
    if dtype == "keep":
        return found
    if dtype == "auto":
        return np.dtype(np.float32) if found == np.float64 else found
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise PlanError(
            f"dtype={dtype!r} is not a NumPy dtype; use 'float32', for example."
        ) from error
    if wanted.kind not in "biuf" or wanted.itemsize > 8:
        raise PlanError(
            f"dtype={dtype!r} cannot be stored; use an integer or a float of 8 to 64 bits."
        )
    return wanted.newbyteorder("=")


def lay_out(
    recordings: Sequence[SourceRecording],
    dtype: np.dtype[Any],
    *,
    chunk_bytes: int,
    shard_bytes: int,
) -> ShardLayout:
    """Cut the rows of all recordings, one after the other, into chunks and shards.

    Arrays share their chunks' length, so that the widest one decides it.
    """
    n_rows = sum(it.x.shape[0] for it in recordings)
    row_bytes = max(
        _row_bytes(recordings[0].x.shape[1:], dtype), _label_bytes(recordings), _OWNER_BYTES
    )
    chunk_rows = max(1, min(chunk_bytes // row_bytes, n_rows))
    per_shard = max(1, min(shard_bytes // (chunk_rows * row_bytes), -(-n_rows // chunk_rows)))
    return lay_out_in(recordings, dtype, chunk_rows, chunk_rows * per_shard)


def lay_out_in(
    recordings: Sequence[SourceRecording],
    dtype: np.dtype[Any],
    chunk_rows: int,
    shard_rows: int,
) -> ShardLayout:
    """Cut the rows of all recordings into chunks and shards of given numbers of rows."""
    return ShardLayout(
        n_rows=sum(it.x.shape[0] for it in recordings),
        row_shape=recordings[0].x.shape[1:],
        dtype=dtype,
        chunk_rows=chunk_rows,
        shard_rows=shard_rows,
        tasks=shard_tasks([it.x.shape[0] for it in recordings], shard_rows),
    )


def shard_tasks(lengths: Sequence[int], shard_rows: int) -> tuple[ShardTask, ...]:
    """Return the shards of recordings of some lengths, and which of their rows are in each.

    Examples
    --------
    Of two recordings, the second shard takes the end of one and the beginning of the other:

    >>> for task in shard_tasks([4, 5], shard_rows=3):
    ...     print(task.shard, [(it.recording, it.start, it.stop) for it in task.spans])
    0 [(0, 0, 3)]
    1 [(0, 3, 4), (1, 0, 2)]
    2 [(1, 2, 5)]
    """
    starts = np.cumsum([0, *lengths])
    tasks = []
    for shard in range(-(-int(starts[-1]) // shard_rows)):
        low, high = shard * shard_rows, min((shard + 1) * shard_rows, int(starts[-1]))
        first = int(np.searchsorted(starts, low, "right")) - 1
        last = int(np.searchsorted(starts, high, "left"))
        spans = (
            Span(
                i,
                max(low, int(starts[i])) - int(starts[i]),
                min(high, int(starts[i + 1])) - int(starts[i]),
            )
            for i in range(first, last)
        )
        tasks.append(ShardTask(shard, tuple(span for span in spans if span.stop > span.start)))
    return tuple(tasks)


def task_bytes(recordings: Sequence[SourceRecording], layout: ShardLayout) -> int:
    """Return the most memory that one task takes."""
    row_bytes = layout.row_bytes + _label_bytes(recordings)
    blocks = {  # of which thousands of small recordings have few
        (
            min(block_rows(it, layout.chunk_rows), it.x.shape[0]),
            it.x.dtype,
            it.y.shape[1:],
            it.y.dtype,
        )
        for it in recordings
    }
    read_bytes = max(
        n_rows
        * (
            _READ_COPIES * _row_bytes(layout.row_shape, x_dtype)
            + _READ_COPIES * _row_bytes(y_shape, y_dtype)
            + row_bytes
        )
        for n_rows, x_dtype, y_shape, y_dtype in blocks
    )
    chunk_bytes = layout.chunk_rows * (row_bytes + _OWNER_BYTES)
    if any(it.is_remote for it in recordings):
        read_bytes += REMOTE_BYTES
    read_bytes += max(
        sources.working_bytes(it.x) + sources.working_bytes(it.mask) for it in recordings
    )
    return _WORKING_CHUNKS * chunk_bytes + read_bytes + _FIXED_BYTES


def block_rows(recording: SourceRecording, chunk_rows: int) -> int:
    """Return how many rows of a recording are read at once."""
    return max(chunk_rows, recording.x.block_rows)


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _label_bytes(recordings: Sequence[SourceRecording]) -> int:
    """Return the size of a row's label as stored; text is stored as codes."""
    if recordings[0].labels_per == "recording":
        return 0
    shape = recordings[0].y.shape[1:]
    return _stored_bytes(np.result_type(*(it.y.dtype for it in recordings)), shape)


def _stored_bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    if dtype.names is not None:
        fields = (dtype[name] for name in dtype.names)
        return math.prod(shape) * sum(_stored_bytes(it.base, it.shape) for it in fields)
    return _row_bytes(shape, np.dtype("i4") if dtype.kind == "U" else dtype)


def stored_axes(axes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names of the axes of x in the order in which they are stored."""
    if axes is None:
        return None
    return tuple(sorted(axes, key=axis_rank))


def needs_of(recordings: Sequence[SourceRecording]) -> tuple[str, ...]:
    """Return what readers of a segment of some recordings have to know beyond schema 1."""
    has = {
        GAPS: any(it.gaps is not None for it in recordings),
        GROUPS: any(it.groups for it in recordings),
        INPUTS: recordings[0].x.dtype.names is not None,
        MASK: any(it.mask is not None for it in recordings),
    }
    return tuple(name for name, is_there in has.items() if is_there)


def count_workers(task_memory: int, budget_bytes: int, wanted: int) -> int:
    """Return how many tasks run at once within a memory budget.

    Raises
    ------
    PlanError
        If not even one fits.
    """
    if task_memory > budget_bytes:
        raise PlanError(
            f"memory={format_budget(budget_bytes)} is too little: these files need "
            f"{format_budget(task_memory)}; raise memory to at least that."
        )
    return max(1, min(wanted, budget_bytes // task_memory))


def usual_workers(recordings: Sequence[SourceRecording]) -> int:
    """Return how many tasks run at once where nobody says it."""
    # Who reads from an address mostly waits.
    return count_cpus() * (_WAITING if any(it.is_remote for it in recordings) else 1)


def warn_of_axes(sample_shape: tuple[int, ...], *, is_series: bool) -> list[str]:
    """Return a warning where time and channels of a sample (or series) look swapped."""
    if len(sample_shape) != 2 or sample_shape[1] <= sample_shape[0]:
        return []
    time, channels = sample_shape
    axes = ("channel", "time") if is_series else ("sample", "channel", "time")
    return [
        f"{channels:,} channels but {time:,} time steps. If the axes are swapped, say "
        f"axes={axes} (--axes {','.join(axes)})."
    ]
