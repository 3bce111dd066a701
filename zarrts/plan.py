"""From recordings to one task a shard: sizes, memory, and everything that can be refused early."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import PlanError, SourceError
from zarrts.sizes import format_budget
from zarrts.types import SourceRecording

_WORKING_CHUNKS = 5  # converted rows, encoded bytes twice, statistics in float64
_READ_COPIES = 2  # rows as they lie in the file, and in our order of axes


@dataclass(frozen=True)
class Span:
    """Rows `start` to `stop` of one recording."""

    recording: int
    start: int
    stop: int


@dataclass(frozen=True)
class ShardTask:
    """What one task writes: a whole shard of every array, from some spans of recordings."""

    shard: int
    spans: tuple[Span, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows in the shard."""
        return sum(span.stop - span.start for span in self.spans)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How samples are cut into chunks and shards.

    Attributes
    ----------
    n_samples : int
    sample_shape : tuple of int
    dtype : numpy.dtype
        Of x, as stored.
    chunk_rows, shard_rows : int
        Samples of a chunk, and of a shard (a multiple).
    tasks : tuple of ShardTask
        In the order of the store; together they cover every sample of every recording once.
    """

    n_samples: int
    sample_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    shard_rows: int
    tasks: tuple[ShardTask, ...]


def check_recordings(
    recordings: Sequence[SourceRecording], *, kind: str, channels: Sequence[str] | None
) -> list[str]:
    """Return every problem of the recordings with each other, one sentence each."""
    problems: list[str] = []
    filled = [it for it in recordings if it.x.shape[0] > 0]
    for it in recordings:
        n_inputs, n_labels = it.x.shape[0], it.y.shape[0] if it.y.shape else 0
        if n_inputs != n_labels:
            problems.append(
                f"{it.origin}: {n_inputs:,} inputs in {it.x_name!r}, but {n_labels:,} labels in "
                f"{it.y_name!r}; each input needs one label."
            )
        elif n_inputs == 0:
            problems.append(f"{it.origin}: holds no samples; remove the file.")
    problems += _odd_ones(filled, lambda it: it.x.shape[1:], "samples of shape", _shape_remedy)
    problems += _odd_ones(filled, lambda it: it.y.shape[1:], "labels of shape", None)
    problems += _odd_ones(filled, lambda it: _label_family(it.y.dtype), "labels that are", None)
    if kind == "auto" and filled and all(len(it.x.shape) == 2 for it in filled):
        problems += [_two_readings(it) for it in filled]
    for it in filled:
        if channels is not None and (not it.x.shape[1:] or it.x.shape[-1] != len(channels)):
            found = it.x.shape[-1] if it.x.shape[1:] else 0
            problems.append(f"{it.origin}: {found} channels, but channels= names {len(channels)}.")
    return problems


def _odd_ones(
    recordings: Sequence[SourceRecording], value: Any, what: str, remedy: Any
) -> list[str]:
    """Return a sentence for each recording that differs from what most have."""
    if not recordings:
        return []
    usual, n_usual = Counter(value(it) for it in recordings).most_common(1)[0]
    like = next(it.origin for it in recordings if value(it) == usual)
    return [
        f"{it.origin}: {what} {value(it)}, but {n_usual} of {len(recordings)} files, such as "
        f"{like}, have {usual}" + (remedy(it, usual) if remedy else ".")
        for it in recordings
        if value(it) != usual
    ]


def _shape_remedy(recording: SourceRecording, usual: tuple[int, ...]) -> str:
    if recording.x.shape[1:][::-1] == usual:
        return "; the axes seem swapped: save them alike."
    if len(usual) == 2 and recording.x.shape[2:] == usual[1:]:
        return "; cut or pad all series to one length before saving."
    return "; leave the file out or save it alike."


def _label_family(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind == "U" else "numbers"


def _two_readings(it: SourceRecording) -> str:
    rows, columns = it.x.shape
    return (
        f"{it.origin}: {it.x_name!r} has shape ({rows:,}, {columns:,}), which can be read in two "
        f"ways. If each row is a sample ({rows:,} samples of {columns:,} values), say "
        f"kind='dense'. If rows are consecutive in time (one recording of {rows:,} time steps x "
        f"{columns:,} channels), cut it into samples of shape (time, channel) first."
    )


def check_duplicates(recordings: Sequence[SourceRecording]) -> list[str]:
    """Return a sentence for each group of sources with the same content."""
    by_content: dict[tuple[str, int], list[str]] = defaultdict(list)
    for it in recordings:
        if it.x.shape[0]:
            by_content[it.fingerprint, it.x.shape[0]].append(it.origin)
    return [
        f"{' and '.join(same)}: the same content under {len(same)} names; remove the copies, "
        "or one person's data are on both sides of a split."
        for same in by_content.values()
        if len(same) > 1
    ]


def stored_dtype(recordings: Sequence[SourceRecording], dtype: str) -> np.dtype[Any]:
    """Return the dtype in which x is stored.

    Parameters
    ----------
    dtype : str
        "auto": float64 becomes float32, the rest is kept; "keep"; or the name of a dtype.
        Files of several dtypes get the smallest that holds them all.
    """
    found = np.result_type(*(it.x.dtype for it in recordings))
    if dtype == "keep":
        return found
    if dtype == "auto":
        return np.dtype(np.float32) if found == np.float64 else found
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise PlanError(
            f"dtype={dtype!r} is no NumPy dtype; use 'float32', for example."
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
) -> Layout:
    """Cut the samples of all recordings, one after the other, into chunks and shards."""
    n_samples = sum(it.x.shape[0] for it in recordings)
    sample_shape = recordings[0].x.shape[1:]
    sample_bytes = max(1, int(np.prod(sample_shape, dtype=np.int64))) * dtype.itemsize
    chunk_rows = max(1, min(chunk_bytes // sample_bytes, n_samples))
    per_shard = max(1, min(shard_bytes // (chunk_rows * sample_bytes), -(-n_samples // chunk_rows)))
    shard_rows = chunk_rows * per_shard
    return Layout(
        n_samples=n_samples,
        sample_shape=sample_shape,
        dtype=dtype,
        chunk_rows=chunk_rows,
        shard_rows=shard_rows,
        tasks=_shard_tasks([it.x.shape[0] for it in recordings], shard_rows),
    )


def _shard_tasks(lengths: Sequence[int], shard_rows: int) -> tuple[ShardTask, ...]:
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


def task_bytes(recordings: Sequence[SourceRecording], layout: Layout) -> int:
    """Return the most memory that one task takes."""
    sample_values = max(1, int(np.prod(layout.sample_shape, dtype=np.int64)))
    chunk_bytes = layout.chunk_rows * sample_values * layout.dtype.itemsize
    read_bytes = max(
        min(max(layout.chunk_rows, it.x.block_rows), it.x.shape[0])
        * sample_values
        * it.x.dtype.itemsize
        for it in recordings
    )
    return (
        _WORKING_CHUNKS * max(chunk_bytes, layout.chunk_rows * sample_values * 8) // 2
        + _READ_COPIES * read_bytes
        + (4 << 20)
    )


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


def refuse(problems: Sequence[str], what: str = "Nothing was converted.") -> None:
    """Raise one error that lists every problem, if there is any."""
    if problems:
        head = f"{what} {len(problems)} problem{'s' if len(problems) > 1 else ''}:"
        raise SourceError("\n".join([head, *(f"  - {problem}" for problem in problems)]))
