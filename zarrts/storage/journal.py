"""The journal of a conversion: what it makes, and which parts are finished and on the disk.

A line is the crc32c of what follows, in eight hexadecimal digits, a blank, and JSON. The first
line says what is made; each other one is a finished part. A line that is cut off or does not
match its checksum ends the journal: what follows was not yet durable when it was written. In a
bucket, the journal is a few objects, read one after the other.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.buckets.objects import ObjectPath
from zarrts.lists import listed
from zarrts.stats.moments import STATISTICS, Moments, pool
from zarrts.stats.sketches import condense
from zarrts.storage.checksums import crc32c
from zarrts.storage.location import Location, read_files
from zarrts.storage.shards import WrittenShard
from zarrts.system import replace_file, sync_file
from zarrts.types import AnyArray, IntArray

_FORMAT = 3
_MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The options and sources that a segment is made from, which fix its bytes.

    Attributes
    ----------
    digest : str
        Of all of it, the content of sources by samples.
    options : dict
        Options by name, as JSON holds them.
    sources : dict
        By origin, the subject and the digest of the content.
    """

    digest: str
    options: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)

    def differences(self, now: "Provenance") -> str:
        """Return in words what another provenance has that this one has not, and the reverse."""
        words = [
            f"{name} was {self.options.get(name)!r} and is {now.options.get(name)!r}"
            for name in {**now.options, **self.options}
            if self.options.get(name) != now.options.get(name)
        ]
        for what, some in (
            ("new", now.sources.keys() - self.sources.keys()),
            ("no longer there", self.sources.keys() - now.sources.keys()),
            (
                "changed",
                {
                    it
                    for it in self.sources.keys() & now.sources.keys()
                    if self.sources[it] != now.sources[it]
                },
            ),
        ):
            if some:
                words.append(f"{listed(sorted(some), _MAX_NAMED)}: {what}")
        return "; ".join(words) or "labels of the same files have changed"


@dataclass(frozen=True, kw_only=True)
class WrittenTask:
    """A task that is finished, and what it wrote.

    Attributes
    ----------
    shard : int
    files : tuple of WrittenShard
        One for each array of the segment.
    recordings : int64, shape (n_spans,)
        Whose rows are in the shard, ascending.
    moments : Moments
        Statistics of these rows, an entry for each of the recordings.
    drawn : tuple of (recording, input, array)
        Values drawn from these rows of an input for its sketch, shape (n, n_channels).
    """

    shard: int
    files: tuple[WrittenShard, ...]
    recordings: IntArray
    moments: Moments
    drawn: tuple[tuple[int, str, AnyArray], ...] = ()


def merged_moments(tasks: Sequence[WrittenTask], n_recordings: int, n_channels: int) -> Moments:
    """Return the statistics of each recording, merged in the order of the tasks."""
    merged = Moments.empty(n_recordings, n_channels)
    if not tasks:
        return merged
    recordings = np.concatenate([task.recordings for task in tasks])
    order = np.argsort(recordings, kind="stable")
    recordings = recordings[order]
    parts = Moments.joined([task.moments for task in tasks]).row(order)
    numbers, firsts, counts = np.unique(recordings, return_index=True, return_counts=True)
    for name in STATISTICS:
        getattr(merged, name)[numbers] = getattr(parts, name)[firsts]
    for number, first, count in zip(numbers, firsts, counts, strict=True):
        if count > 1:
            pooled = pool(parts.row(np.arange(first, first + count)))
            for name in STATISTICS:
                getattr(merged, name)[number] = getattr(pooled, name)
    return merged


def sketches_of(
    tasks: Iterable[WrittenTask],
    n_recordings: int,
    inputs: Mapping[str, tuple[int, np.dtype[Any]]],
    n_points: int,
) -> AnyArray | None:
    """Return the sketch of each recording, shape (n_recordings, n_points, n_channels), if any.

    Parameters
    ----------
    inputs : dict of (int, numpy.dtype)
        Channels of each input, and the dtype of its values, in the order of the channels.
    """
    if n_points == 0:
        return None
    parts: dict[tuple[int, str], list[AnyArray]] = {}
    for task in tasks:
        for recording, name, values in task.drawn:
            parts.setdefault((recording, name), []).append(values)
    of_inputs = []
    for name, (n_channels, dtype) in inputs.items():
        nothing = np.zeros((0, n_channels), dtype)
        drawn = (parts.get((recording, name), ()) for recording in range(n_recordings))
        of_inputs.append(
            np.stack([condense(np.concatenate([nothing, *it]), n_points) for it in drawn])
        )
    return np.concatenate(of_inputs, axis=2)


@dataclass(frozen=True, kw_only=True)
class JournalContent:
    """The content of a journal.

    Attributes
    ----------
    provenance : Provenance
    segment : str
        Name of the segment that is being written.
    stamps : dict
        By origin, the times and sizes of the source files when writing began.
    entries : dict
        Finished tasks by shard.
    """

    provenance: Provenance
    segment: str
    stamps: Mapping[str, str]
    entries: Mapping[int, WrittenTask] = field(default_factory=dict)


def read_journal(path: Location) -> JournalContent | None:
    """Return what a journal says, or None if there is none that can be used."""
    try:
        lines = _read_lines(path)
    except FileNotFoundError:
        return None
    found = []
    for line in lines[:-1]:
        try:
            if int(line[:8], 16) != crc32c(line[9:]):
                break
            found.append(json.loads(line[9:]))
        except ValueError:
            break
    if not found or found[0].get("format") != _FORMAT:
        return None
    head, *entries = found
    provenance = Provenance(
        digest=head["write_id"], options=head["options"], sources=head["sources"]
    )
    tasks = [_task(entry) for entry in entries]
    return JournalContent(
        provenance=provenance,
        segment=head["segment"],
        stamps=head["stamps"],
        entries={task.shard: task for task in tasks},
    )


class JournalWriter:
    """Appends finished tasks to a journal, each of them durable before the next.

    Calls are not thread-safe.
    """

    def __init__(self, path: Location, content: JournalContent) -> None:
        head = {
            "format": _FORMAT,
            "write_id": content.provenance.digest,
            "segment": content.segment,
            "options": dict(content.provenance.options),
            "sources": dict(content.provenance.sources),
            "stamps": dict(content.stamps),
        }
        lines = [_line(head), *(_line(_entry(task)) for task in content.entries.values())]
        begin = _ObjectLog if isinstance(path, ObjectPath) else _FileLog
        self._log: _FileLog | _ObjectLog = begin(path, b"".join(lines))  # type: ignore[arg-type]

    def add(self, task: WrittenTask) -> None:
        """Add a task whose files are durable."""
        self._log.add(_line(_entry(task)))

    def close(self) -> None:
        """Close the journal; twice does no harm."""
        self._log.close()


class _FileLog:
    """Lines in one file."""

    def __init__(self, path: Path, head: bytes) -> None:
        replace_file(path, head)
        self._file = open(path, "ab")  # noqa: SIM115 - closed by close

    def add(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        sync_file(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _ObjectLog:
    """Lines in objects, one for all at the beginning and each other one by itself.

    Nothing can be appended to an object.
    """

    def __init__(self, path: ObjectPath, head: bytes) -> None:
        self._path, self._n_written = path, 0
        old = [name for name in path.sizes() if name != _object_name(0)]
        self.add(head)
        # After what is in them is in the first one.
        path.bucket.delete([(path / name).key for name in old])

    def add(self, line: bytes) -> None:
        path = self._path / _object_name(self._n_written)
        path.bucket.put(path.key, line)
        self._n_written += 1

    def close(self) -> None:
        pass


def _object_name(number: int) -> str:
    return f"{number:08d}"


def _read_lines(path: Location) -> list[bytes]:
    if not isinstance(path, ObjectPath):
        return path.read_bytes().split(b"\n")
    lines = b"".join(read_files(path, path.sizes()).values())
    return lines.split(b"\n")


def _line(content: Mapping[str, Any]) -> bytes:
    encoded = json.dumps(content, separators=(",", ":")).encode()
    return f"{crc32c(encoded):08x} ".encode() + encoded + b"\n"


def _entry(task: WrittenTask) -> dict[str, Any]:
    return {
        "shard": task.shard,
        "files": [[it.key, it.size, it.checksum, it.chunk_checksums] for it in task.files],
        "recordings": _text(task.recordings),
        "channels": task.moments.mean.shape[1],
        "moments": {name: _text(getattr(task.moments, name)) for name in STATISTICS},
        "drawn": [
            [
                recording,
                values.dtype.str,
                base64.b64encode(values.tobytes()).decode(),
                name,
                values.shape[1],
            ]
            for recording, name, values in task.drawn
        ],
    }


def _task(entry: Mapping[str, Any]) -> WrittenTask:
    n_channels = entry["channels"]
    return WrittenTask(
        shard=entry["shard"],
        files=tuple(
            WrittenShard(key, size, checksum, tuple(chunks))
            for key, size, checksum, chunks in entry["files"]
        ),
        recordings=_array(entry["recordings"], "<i8"),
        moments=Moments(
            **{
                name: _array(text, "<i8" if name.endswith("count") else "<f8").reshape(
                    -1, n_channels
                )
                for name, text in entry["moments"].items()
            }
        ),
        drawn=tuple(
            (
                recording,
                name,
                np.frombuffer(base64.b64decode(values), dtype).reshape(-1, n_of_input),
            )
            for recording, dtype, values, name, n_of_input in (
                # An earlier version, which a conversion may have been begun with, has one input.
                (*it, "", n_channels)[:5]
                for it in entry["drawn"]
            )
        ),
    )


def _text(values: AnyArray) -> str:
    """Return the bytes of numbers as text; as decimals they would take several times as much."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def _array(text: str, dtype: str) -> AnyArray:
    return np.frombuffer(base64.b64decode(text), dtype)
