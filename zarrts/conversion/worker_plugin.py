"""The plugin of Dask's workers: it writes whole shards, told by names and offsets."""

import asyncio
import io
import pickle
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distributed import WorkerPlugin, get_worker

from zarrts.conversion.encoding import Encoding
from zarrts.conversion.plan import ShardTask
from zarrts.conversion.tasks import Job, close_rows, is_sequential, write_shard
from zarrts.conversion.workers import Place
from zarrts.errors import SourceError
from zarrts.labels.scheme import LabelScheme
from zarrts.storage.journal import WrittenTask
from zarrts.storage.location import Location
from zarrts.storage.segments import Segment
from zarrts.types import SourceRecording

_PATIENCE_S = 60
_SHARE_OF_LIMIT = 0.6  # Dask pauses a worker at 0.8 of it


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A shard for a worker to write.

    Attributes
    ----------
    job : str
        Name of the conversion's `Writers`.
    task : ShardTask
    recordings : dict
        By number, those of which the shard holds rows.
    is_last : bool
        Nothing else begins in the first of them.
    """

    job: str
    task: ShardTask
    recordings: Mapping[int, SourceRecording]
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of an assignment.

    An exception that travels loses its cause, by which one that another attempt may mend is told
    from others: both are in here.

    Attributes
    ----------
    worker : str
        Address of the worker.
    written : WrittenTask, or None
        None without an error where the worker was told to stop.
    error, cause : exception, or None
    """

    worker: str
    written: WrittenTask | None = None
    error: SourceError | OSError | None = None
    cause: OSError | None = None


class Writers(WorkerPlugin):  # type: ignore[misc]
    """The side of a conversion on each worker, there as long as the conversion runs.

    Parameters
    ----------
    place : Place, or None
        A file of the target: on a worker where it is another, or none, the path of the target
        leads to another disk.
    n_points : int
        Of the sketch of a recording.
    n_slots : int
        Shards that a worker writes at once, whatever the number of its threads; fewer where it has
        a memory limit of its own that they would come near to.
    part_bytes : int
        Memory that a shard takes.
    """

    def __init__(
        self,
        root: Location,
        segment: Segment,
        labels: LabelScheme,
        encoding: Encoding,
        n_points: int,
        place: Place | None,
        n_slots: int,
        part_bytes: int,
    ) -> None:
        self._root, self._segment, self._labels = root, segment, labels
        self._encoding = encoding
        self._n_points, self._place = n_points, place
        self._n_slots, self._part_bytes = n_slots, part_bytes

    def setup(self, worker: Any) -> None:
        """Begin, on a worker that was there or has just joined."""
        self._address = worker.address
        n_slots = self._n_slots
        if limit := worker.memory_manager.memory_limit:
            n_slots = min(n_slots, max(1, int(limit * _SHARE_OF_LIMIT) // self._part_bytes))
        self._slots = threading.BoundedSemaphore(n_slots)
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards the two below
        self._readers: dict[int, SourceRecording] = {}
        self._n_running = 0
        self._idle = threading.Event()
        self._idle.set()

    async def teardown(self, worker: Any) -> None:
        """Stop, and wait until nothing writes any more."""
        self._stop.set()
        await asyncio.to_thread(self._idle.wait, _PATIENCE_S)
        for recording in self._readers.values():
            close_rows(recording)

    def write(self, assignment: Assignment) -> Outcome:
        """Write a shard, in a thread of the worker."""
        with self._lock:
            self._n_running += 1
            self._idle.clear()
        try:
            with self._slots:
                return self._write(assignment)
        finally:
            with self._lock:
                self._n_running -= 1
                if not self._n_running:
                    self._idle.set()

    def _write(self, assignment: Assignment) -> Outcome:
        first = assignment.task.spans[0].recording
        given = assignment.recordings
        recordings = {**given, first: self._kept(first, given[first])}
        job = Job(
            root=self._root,
            segment=self._segment,
            recordings=recordings,
            labels=self._labels,
            encoding=self._encoding,
            n_points=self._n_points,
            attempt=uuid.uuid4().hex,
            stop=self._stop,
        )
        try:
            if not is_there(self._place):
                raise FileNotFoundError(2, f"it is another folder on {self._address}")
            written = write_shard(job, assignment.task)
        except (SourceError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            cause = OSError(*cause.args) if isinstance(cause, OSError) else None
            return Outcome(worker=self._address, error=_plain(error), cause=cause)
        except KeyboardInterrupt:  # the conversion is over, or this worker is
            return Outcome(worker=self._address)
        finally:
            with self._lock:
                if assignment.is_last or self._stop.is_set():
                    self._readers.pop(first, None)
                kept = {*map(id, self._readers.values())}
            for recording in recordings.values():
                if id(recording) not in kept:
                    close_rows(recording)
        return Outcome(worker=self._address, written=written)

    def _kept(self, number: int, recording: SourceRecording) -> SourceRecording:
        """Return the recording whose open stream stands where the last shard ended."""
        if not is_sequential(recording):
            return recording
        with self._lock:
            return self._readers.setdefault(number, recording)


class Keeper(WorkerPlugin):  # type: ignore[misc]
    """Something that holds credentials, on each worker as long as the conversion runs.

    Tasks hold the name of the plugin in its place.
    """

    def __init__(self, kept: Any) -> None:
        self.kept = kept


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, name: str) -> Any:
        return get_worker().plugins[name].kept


def write_assignment(payload: bytes) -> Outcome:
    """Write the shard of a pickled assignment; a task of the cluster calls this."""
    assignment: Assignment = _Unpickler(io.BytesIO(payload)).load()
    writers: Writers = get_worker().plugins[assignment.job]
    return writers.write(assignment)


def is_there(place: Place | None) -> bool:
    """Return whether a file is there and begins with the bytes it should."""
    if place is None:
        return True
    path, start = place
    try:
        with open(path, "rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _plain(error: SourceError | OSError) -> SourceError | OSError:
    """Return an error that holds nothing of where it was raised."""
    return type(error)(*error.args)
