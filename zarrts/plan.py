"""From recordings to one task a shard: sizes, memory, and everything that can be refused early."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import PlanError, SourceError
from zarrts.sizes import format_budget
from zarrts.types import SourceRecording

_WORKING_CHUNKS = 4  # rows that are collected, converted rows, encoded bytes twice
_READ_COPIES = 3  # rows as they lie in the file, in our order of axes, and compared with these
_FIXED_BYTES = 8 << 20  # statistics in float64, pieces of a compressed file
_MAX_NAMES = 8
_OWNER_BYTES = 4  # of a row that says which recording a sample belongs to


NO_RAGGED = (
    "that cannot be stored yet; cut it into samples first, an array of shape (sample, time, "
    "channel)"
)


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
                f"{it.y_name!r}; each input needs one label" + _axis_remedy(it, n_labels)
            )
        elif n_inputs == 0:
            problems.append(f"{it.origin}: holds no samples; remove the file.")
    problems += _odd_ones(filled, lambda it: it.x.shape[1:], "samples of shape", _shape_remedy)
    problems += _odd_ones(filled, lambda it: it.y.shape[1:], "labels of shape", None)
    problems += _odd_ones(filled, lambda it: _label_family(it.y.dtype), "labels that are", None)
    if kind == "auto" and filled and all(len(it.x.shape) == 2 for it in filled):
        problems.append(_two_readings(filled))
    if channels is not None:
        problems += _wrong_channels(filled, channels)
        problems += [
            f"{it.origin}: names its channels {_names(it.channels)}, but channels= names them "
            f"{_names(channels)}; leave channels= out, or name them alike."
            for it in filled
            if it.channels is not None and it.channels != tuple(channels)
        ]
    problems += _odd_ones(
        [it for it in filled if it.channels is not None],
        lambda it: _names(it.channels),
        "channels",
        lambda it, usual: "; their order and names have to be the same in all files.",
    )
    problems += _odd_ones(
        [it for it in filled if it.rate_hz is not None],
        lambda it: f"{it.rate_hz:g} Hz",
        "a rate of",
        lambda it, usual: "; resample it before, or leave it out.",
    )
    return problems


def carried(recordings: Sequence[SourceRecording]) -> tuple[tuple[str, ...] | None, float | None]:
    """Return the names of channels and the rate that sources carry; None where none does."""
    channels = (it.channels for it in recordings if it.channels is not None)
    rates = (it.rate_hz for it in recordings if it.rate_hz is not None)
    return next(channels, None), next(rates, None)


def _names(channels: Sequence[str]) -> str:
    return f"{', '.join(channels[:_MAX_NAMES])}{', ...' if len(channels) > _MAX_NAMES else ''}"


def _wrong_channels(recordings: Sequence[SourceRecording], channels: Sequence[str]) -> list[str]:
    by_count: dict[int, list[str]] = defaultdict(list)
    for it in recordings:
        by_count[it.x.shape[-1] if it.x.shape[1:] else 0].append(it.origin)
    return [
        f"{_first_of(origins)}: {count} channels (the last axis), but channels= names "
        f"{len(channels)} ({_names(channels)}); name "
        "each once, or say which axis is which with axes=."
        for count, origins in by_count.items()
        if count != len(channels)
    ]


def _first_of(origins: Sequence[str]) -> str:
    return f"{origins[0]} and {len(origins) - 1} more" if len(origins) > 1 else origins[0]


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


def _axis_remedy(recording: SourceRecording, n_labels: int) -> str:
    others = list(recording.x.shape[1:])
    if n_labels not in others:
        return "."
    names = ["time", *(f"axis_{n}" for n in range(1, len(others) - 1)), "channel"][: len(others)]
    names.insert(1 + others.index(n_labels), "sample")
    return (
        f" (its shape is {recording.x.shape}: if samples are not on the first axis, say which is "
        f"which, for example axes=({', '.join(map(repr, names))}))."
    )


def _label_family(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind == "U" else "numbers"


def _two_readings(recordings: Sequence[SourceRecording]) -> str:
    first = recordings[0]
    rows, columns = first.x.shape
    return (
        f"{_first_of([it.origin for it in recordings])}: {first.x_name!r} has shape "
        f"({rows:,}, {columns:,}), which can be read in two "
        f"ways. If each row is a sample ({rows:,} samples of {columns:,} values), say "
        "kind='dense' (--kind dense). If rows are consecutive in time (kind='ragged': one "
        f"recording of {rows:,} time steps x {columns:,} channels), {NO_RAGGED}."
    )


def check_duplicates(
    recordings: Sequence[SourceRecording], stored: Iterable[tuple[str, int, str]] = ()
) -> list[str]:
    """Return a sentence for each group of sources with the same content.

    Parameters
    ----------
    stored : iterable of (fingerprint, number of samples, origin)
        What is in the store already.
    """
    by_content: dict[tuple[str, int], list[str]] = defaultdict(list)
    for fingerprint, n_samples, origin in stored:
        by_content[fingerprint, n_samples].append(f"{origin} (in the store)")
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
    """Cut the samples of all recordings, one after the other, into chunks and shards.

    Arrays share their chunks' length, so that the widest one decides it.
    """
    n_samples = sum(it.x.shape[0] for it in recordings)
    sample_bytes = max(
        _row_bytes(recordings[0].x.shape[1:], dtype), _label_bytes(recordings), _OWNER_BYTES
    )
    chunk_rows = max(1, min(chunk_bytes // sample_bytes, n_samples))
    per_shard = max(1, min(shard_bytes // (chunk_rows * sample_bytes), -(-n_samples // chunk_rows)))
    return lay_out_in(recordings, dtype, chunk_rows, chunk_rows * per_shard)


def lay_out_in(
    recordings: Sequence[SourceRecording],
    dtype: np.dtype[Any],
    chunk_rows: int,
    shard_rows: int,
) -> Layout:
    """Cut the samples of all recordings into chunks and shards of given numbers of samples."""
    return Layout(
        n_samples=sum(it.x.shape[0] for it in recordings),
        sample_shape=recordings[0].x.shape[1:],
        dtype=dtype,
        chunk_rows=chunk_rows,
        shard_rows=shard_rows,
        tasks=shard_tasks([it.x.shape[0] for it in recordings], shard_rows),
    )


def shard_tasks(lengths: Sequence[int], shard_rows: int) -> tuple[ShardTask, ...]:
    """Return the shards of recordings of some lengths, and which of their rows are in each."""
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
    row_bytes = _row_bytes(layout.sample_shape, layout.dtype) + _label_bytes(recordings)
    read_bytes = max(
        min(block_rows(it, layout.chunk_rows), it.x.shape[0])
        * (
            _READ_COPIES * _row_bytes(layout.sample_shape, it.x.dtype)
            + _READ_COPIES * _row_bytes(it.y.shape[1:], it.y.dtype)
            + row_bytes
        )
        for it in recordings
    )
    chunk_bytes = layout.chunk_rows * (row_bytes + _OWNER_BYTES)
    return _WORKING_CHUNKS * chunk_bytes + read_bytes + _FIXED_BYTES


def block_rows(recording: SourceRecording, chunk_rows: int) -> int:
    """Return how many rows of a recording are read at once."""
    return max(chunk_rows, recording.x.block_rows)


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _label_bytes(recordings: Sequence[SourceRecording]) -> int:
    """Return the size of one label as stored; text is stored as codes."""
    dtype = np.result_type(*(it.y.dtype for it in recordings))
    return _row_bytes(recordings[0].y.shape[1:], np.dtype("i4") if dtype.kind == "U" else dtype)


def stored_axes(axes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names of the axes of x in the order in which they are stored."""
    if axes is None:
        return None
    rank = {"sample": 0, "time": 1, "channel": 3}
    return tuple(sorted(axes, key=lambda axis: rank.get(axis, 2)))


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


def warn_of_axes(sample_shape: tuple[int, ...], axes_given: bool) -> list[str]:
    """Return a warning where time and channels look swapped."""
    if len(sample_shape) != 2 or axes_given or sample_shape[1] <= sample_shape[0]:
        return []
    time, channels = sample_shape
    return [
        f"{channels:,} channels but {time:,} time steps. If the axes are swapped, say "
        "axes=('sample', 'channel', 'time') (--axes sample,channel,time)."
    ]


def refuse(problems: Sequence[str], what: str = "Nothing was converted.") -> None:
    """Raise one error that lists every problem, if there is any; what is alike on one line."""
    if not problems:
        return
    places: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        place, colon, reason = problem.partition(": ")
        places[colon + reason if colon else problem].append(place if colon else "")
    lines = [f"  - {', '.join(filter(None, at))}{reason}" for reason, at in places.items()]
    head = f"{what} {len(lines)} problem{'s' if len(lines) > 1 else ''}:"
    raise SourceError("\n".join([head, *lines]))
