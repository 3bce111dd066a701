"""Before a conversion: find the sources, understand them, and refuse whatever cannot end well."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zarrts import sources
from zarrts.errors import PlanError, SourceError
from zarrts.journal import Plan
from zarrts.labels import LabelCounter, LabelScheme, scheme_of
from zarrts.moments import measure
from zarrts.plan import (
    NO_RAGGED,
    Layout,
    check_duplicates,
    check_recordings,
    count_workers,
    lay_out,
    refuse,
    stored_dtype,
    task_bytes,
)
from zarrts.publish import CODECS, trial_spec
from zarrts.shards import encode_chunk
from zarrts.sizes import format_budget, format_size
from zarrts.store import is_store, read_header
from zarrts.system import count_cpus, free_bytes
from zarrts.targets import refuse_target
from zarrts.types import AnyArray, SourceRecording

_LABEL_BLOCK_BYTES = 1 << 20
_N_TRIAL_CHUNKS = 8
_ROOM_MARGIN = 1.1
_MAX_NAMES = 4


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """How to convert; what each means stands at `zarrts.convert`."""

    subject: Any = None
    x: str | None = None
    y: str | None = None
    kind: str = "auto"
    axes: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    rate_hz: float | None = None
    dtype: str = "auto"
    memory_bytes: int = 1 << 30
    chunk_bytes: int = 1 << 20
    shard_bytes: int = 64 << 20
    codec: str = "lz4"
    workers: int | None = None
    overwrite: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        if self.kind == "ragged":
            raise PlanError(f"kind='ragged': {NO_RAGGED}.")
        if self.kind not in ("auto", "dense"):
            raise PlanError(f"kind={self.kind!r} is unknown; use 'auto' or 'dense'.")
        if self.codec not in CODECS:
            raise PlanError(f"codec={self.codec!r} is unknown; use one of {', '.join(CODECS)}.")
        _check_number("workers", self.workers, int, 1)
        _check_number("rate_hz", self.rate_hz, float, 0)
        if self.rate_hz == 0 or self.rate_hz == float("inf"):
            raise PlanError(f"rate_hz={self.rate_hz} has to be above 0, and finite.")
        self._check_names()
        if self.chunk_bytes > self.shard_bytes:
            raise PlanError(
                f"chunk={self.chunk_bytes:,} bytes is more than shard={self.shard_bytes:,}; "
                f"a shard holds whole chunks. Lower chunk, or raise shard to at least "
                f"{format_budget(self.chunk_bytes)}."
            )

    def _check_names(self) -> None:
        names = self.channels or ()
        if not all(isinstance(name, str) and name for name in names):
            raise PlanError(f"channels={list(names)!r} has to be a list of names.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PlanError(f"channels= names {', '.join(twice)} more than once.")


def _check_number(name: str, value: Any, kind: type, least: int) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | np.integer) or (
        kind is float and isinstance(value, float | np.floating)
    )
    if isinstance(value, bool) or not is_number:
        raise PlanError(f"{name}={value!r} has to be a number.")
    if not value >= least:
        raise PlanError(f"{name}={value} has to be at least {least}.")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A conversion that is understood and checked; nothing is written yet.

    Attributes
    ----------
    target : Path
    recordings : tuple of SourceRecording
    layout : Layout
    labels : LabelScheme
    counters : tuple of LabelCounter
        Labels of each recording.
    workers : int
        Tasks that run at once.
    source_bytes, raw_bytes, stored_bytes, free_bytes : int
        To be read; of the arrays in memory; to be written (an estimate from a few compressed
        chunks); and free on the disk.
    seconds : float
        Estimate from the same chunks.
    plan : Plan
        What fixes the bytes of the store.
    """

    target: Path
    options: ConvertOptions
    recordings: tuple[SourceRecording, ...]
    layout: Layout
    labels: LabelScheme
    counters: tuple[LabelCounter, ...]
    workers: int
    source_bytes: int
    raw_bytes: int
    stored_bytes: int
    free_bytes: int
    seconds: float
    plan: Plan
    has_subjects_given: bool

    @property
    def is_done(self) -> bool:
        """Whether the target is the complete store of these sources and options already."""
        return is_store(self.target) and read_header(self.target).write_id == self.plan.write_id


def prepare(source: Any, target: str | Path, options: ConvertOptions) -> Prepared:
    """Find the sources, read headers and labels, and refuse whatever cannot end well.

    Raises
    ------
    SourceError
        Naming every file that cannot be used, and why.
    PlanError
        Where memory, disk space or an option forbids it.
    """
    if "://" in str(target):
        raise PlanError(
            f"{target}: a store cannot be written to an address yet; choose a folder, and copy it "
            "there afterwards."
        )
    target = Path(target)
    found = sources.find(
        source, subject=options.subject, x=options.x, y=options.y, axes=options.axes
    )
    recordings = found.recordings
    problems = [*found.problems]
    problems += check_recordings(recordings, kind=options.kind, channels=options.channels)
    problems += check_duplicates(recordings)
    if not found.has_subjects_given:
        problems += _sessions(recordings)
    refuse(problems)
    dtype = stored_dtype(recordings, options.dtype)
    layout = lay_out(
        recordings, dtype, chunk_bytes=options.chunk_bytes, shard_bytes=options.shard_bytes
    )
    workers = count_workers(
        task_bytes(recordings, layout),
        options.memory_bytes,
        min(options.workers or count_cpus(), len(layout.tasks)),
    )
    counters, digests = zip(*(_count_labels(it) for it in recordings), strict=True)
    labels = scheme_of(counters, [it.y.dtype for it in recordings])
    plan = _plan(recordings, digests, layout, options)
    refuse_target(target, plan, overwrite=options.overwrite, restart=options.restart)
    ratio, bytes_per_s = _try_chunks(recordings, layout, options.codec)
    raw_bytes = (
        layout.n_samples * int(np.prod(layout.sample_shape, dtype=np.int64)) * dtype.itemsize
    )
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
        free_bytes=free_bytes(target.absolute()),
        seconds=raw_bytes / bytes_per_s / workers,
        plan=plan,
        has_subjects_given=found.has_subjects_given,
    )
    if not prepared.is_done:
        _check_room(prepared)
    return prepared


def _check_room(prepared: Prepared) -> None:
    needed = int(prepared.stored_bytes * _ROOM_MARGIN)
    if needed > prepared.free_bytes:
        raise PlanError(
            f"{prepared.target}: the store needs about {format_size(needed)}, but "
            f"{format_size(prepared.free_bytes)} are free; make room or choose another disk."
        )


def _sessions(recordings: Sequence[SourceRecording]) -> list[str]:
    groups = sources.session_like(sorted({it.subject for it in recordings}))
    if not groups:
        return []
    shown = [
        f"{', '.join(names[:_MAX_NAMES])}{' ...' if len(names) > _MAX_NAMES else ''}"
        for names in groups[:_MAX_NAMES]
    ]
    more = f"; and {len(groups) - _MAX_NAMES} more" if len(groups) > _MAX_NAMES else ""
    return [
        f"{'; '.join(shown)}{more}: these names look like several sessions of one person, and one "
        "person on both sides of a split is a leak. Say who is who with subject= (--subject), "
        "for example r'^[^_]+' for what comes before the first underscore; or r'.+(?=\\.)', if "
        "each file is another person."
    ]


def _count_labels(recording: SourceRecording) -> tuple[LabelCounter, str]:
    """Return the labels of a recording, and a digest of those that had to be read."""
    # A fingerprint samples large files, and would not see that a few labels were corrected.
    digest = hashlib.blake2b(digest_size=16)
    reader = recording.y
    counter = LabelCounter(reader.dtype, reader.shape[1:])
    if reader.dtype.kind == "f" and not counter.is_one_hot:
        return counter, digest.hexdigest()
    row_bytes = max(1, int(np.prod(reader.shape[1:], dtype=np.int64)) * reader.dtype.itemsize)
    step = max(1, _LABEL_BLOCK_BYTES // row_bytes)
    for start in range(0, reader.shape[0], step):
        if counter.can_stop:
            break
        block = reader.read(start, min(start + step, reader.shape[0]))
        counter.add(block)
        digest.update(block.tobytes())
    reader.close()
    return counter, digest.hexdigest()


def _try_chunks(
    recordings: Sequence[SourceRecording], layout: Layout, codec: str
) -> tuple[float, float]:
    """Return (stored bytes per raw byte, raw bytes per second) of a few chunks."""
    spec = trial_spec((layout.chunk_rows, *layout.sample_shape), layout.dtype, codec)
    step = max(1, len(recordings) // _N_TRIAL_CHUNKS)
    raw, stored, started = 0, 0, time.perf_counter()
    for recording in recordings[::step][:_N_TRIAL_CHUNKS]:
        reader = recording.x
        rows = min(layout.chunk_rows, reader.shape[0])
        # The first rows of a recording are often silence; a stream gives no others cheaply.
        start = 0 if reader.is_sequential else (reader.shape[0] - rows) // 2
        block = cast_rows(reader.read(start, start + rows), layout.dtype, recording.origin)
        measure(block)
        raw += block.nbytes
        stored += len(encode_chunk(spec, np.ascontiguousarray(block)))
        reader.close()
    return stored / raw, raw / max(time.perf_counter() - started, 1e-9)


def _plan(
    recordings: Sequence[SourceRecording],
    label_digests: Sequence[str],
    layout: Layout,
    options: ConvertOptions,
) -> Plan:
    chosen = {
        "x": options.x,
        "y": options.y,
        "axes": options.axes and list(options.axes),
        "channels": options.channels and list(options.channels),
        "rate_hz": None if options.rate_hz is None else float(options.rate_hz),
        "dtype": layout.dtype.name,
        "codec": options.codec,
        "samples in a chunk": layout.chunk_rows,
        "samples in a shard": layout.shard_rows,
    }
    found = [
        [it.subject, it.origin, it.fingerprint, it.x_name, it.y_name, list(it.x.shape), digest]
        for it, digest in zip(recordings, label_digests, strict=True)
    ]
    content = json.dumps([chosen, found], sort_keys=True).encode()
    return Plan(
        write_id=hashlib.sha256(content).hexdigest()[:32],
        options=chosen,
        sources={it.origin: f"{it.subject} {it.fingerprint}" for it in recordings},
    )


def cast_rows(block: AnyArray, dtype: np.dtype[Any], origin: str) -> AnyArray:
    """Return values in the stored dtype; floats may lose digits, nothing else may be lost."""
    if block.dtype == dtype:
        return block
    if dtype.kind == "f" and block.dtype.kind in "fiub":
        try:
            with np.errstate(over="raise"):
                return block.astype(dtype)
        except FloatingPointError as error:
            raise SourceError(
                f"{origin}: holds values beyond the range of {dtype.name} "
                f"(up to {np.finfo(dtype).max:.3g}); keep the precision with dtype='keep'."
            ) from error
    with np.errstate(invalid="ignore", over="ignore"):
        converted = block.astype(dtype)
        # Signs are compared too: -1 becomes 255 as uint8, which becomes -1 again.
        changed = (converted.astype(block.dtype) != block) | ((converted < 0) != (block < 0))
    if changed.any():
        raise SourceError(
            f"{origin}: the value {block[changed][0]} is no {dtype.name}; choose another "
            f"dtype, such as {block.dtype.name}."
        )
    return converted
