"""Write the shards of a segment on the workers of a Dask cluster.

The client asks for shards, and keeps journal and lock as on one machine; the workers write them.
A task carries names and offsets, never data. A worker that is lost has its shards written again
by another, under other temporary names, and the same bytes replace each other.
"""

import asyncio
import concurrent.futures
import contextlib
import io
import itertools
import queue
import uuid
from collections.abc import Sequence
from typing import Any

from zarrts.buckets.objects import ObjectPath
from zarrts.conversion.plan import ShardTask
from zarrts.conversion.target import JOURNAL
from zarrts.conversion.tasks import Job, chains_of
from zarrts.conversion.workers import Place, Workers, check_workers
from zarrts.errors import PlanError
from zarrts.sizes import format_budget
from zarrts.storage.location import Location, open_file

_MAX_ASKED = 512  # shards that the scheduler knows of at once
_ALONE_S = 600.0  # without a single worker
_POLL_S = 5.0
_ENDED = ("finished", "error", "cancelled")
_MARK_BYTES = 8  # of the journal; its checksum
_N_TRIED = 16


def write_on_cluster(job: Job, tasks: Sequence[ShardTask], workers: Workers) -> None:
    """Write the shards of some tasks on a cluster, and call `job.on_task` for each.

    Raises
    ------
    SourceError
        If a source cannot be read to its end.
    PlanError
        If the workers are not fit for it, or are lost.
    OSError
        If the shards cannot be written.
    """
    from zarrts.conversion.worker_plugin import Writers

    client = workers.client
    place = _place(job.root)
    chains = chains_of(tasks, job.recordings)
    check_workers(workers, place, _some_paths(job, tasks))
    name = f"zarrts-{uuid.uuid4().hex[:12]}"
    n_slots = max(1, workers.memory_bytes // workers.part_bytes)
    if workers.max_parts is not None:
        n_slots = min(n_slots, workers.max_parts)
    # Workers have folders of their own in which they were started.
    root = job.root.absolute()
    client.register_plugin(
        Writers(
            root,
            job.segment,
            job.labels,
            job.encoding,
            job.n_points,
            place,
            n_slots,
            workers.part_bytes,
        ),
        name=name,
    )
    asked = _Asked(job, workers, name)
    try:
        asked.write(chains)
    finally:
        asked.cancel()
        # Waits until no worker writes any more, before anything is swept.
        for it in (name, *asked.kept_names):
            if client.status == "running":
                with contextlib.suppress(OSError, TimeoutError):
                    client.unregister_worker_plugin(it)


class _Asked:
    """The shards that the workers were asked for."""

    def __init__(self, job: Job, workers: Workers, name: str) -> None:
        self._job, self._crew, self._name = job, workers, name
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._chains: dict[Any, list[ShardTask]] = {}  # by future, what is left of its chain
        self._numbers = itertools.count()
        self._kept: dict[int, tuple[str, Any]] = {}  # what holds credentials, by its id

    @property
    def kept_names(self) -> list[str]:
        """Names of the plugins that hold credentials."""
        return [name for name, _ in self._kept.values()]

    def write(self, chains: Sequence[list[ShardTask]]) -> None:
        waiting = iter(chains)
        limit = min(_MAX_ASKED, self._crew.max_parts or _MAX_ASKED)
        for chain in itertools.islice(waiting, limit):
            self._ask(chain)
        while self._chains:
            future = self._next_done()
            task, *rest = self._chains.pop(future)
            outcome = self._result(future, task)
            future.release()
            if outcome.written is None:
                self._ask([task, *rest])
                continue
            self._refuse_elsewhere(outcome)
            self._job.on_task(outcome.written)
            self._job.on_rows(task.n_rows)
            if rest:
                self._ask(rest, outcome.worker)
            else:
                for chain in itertools.islice(waiting, 1):
                    self._ask(chain)

    def cancel(self) -> None:
        if self._chains and self._crew.client.status == "running":
            with contextlib.suppress(OSError, TimeoutError):
                self._crew.client.cancel(list(self._chains))
        self._chains.clear()

    def _ask(self, chain: list[ShardTask], worker: str | None = None) -> None:
        from zarrts.conversion.worker_plugin import Assignment, write_assignment

        task, *rest = chain
        recordings = {span.recording: self._job.recordings[span.recording] for span in task.spans}
        assignment = Assignment(job=self._name, task=task, recordings=recordings, is_last=not rest)
        future = self._crew.client.submit(
            write_assignment,
            self._pickled(assignment),
            key=(f"write-shard-{self._name}", task.shard, next(self._numbers)),
            pure=False,
            # Where the stream of a compressed file stands, if that worker is still there.
            workers=None if worker is None else [worker],
            allow_other_workers=worker is not None,
        )
        self._chains[future] = chain
        future.add_done_callback(self._done.put)

    def _pickled(self, assignment: Any) -> bytes:
        """Return an assignment as bytes; what holds credentials is on the workers already."""
        import cloudpickle

        keep = self._keep

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
            def persistent_id(self, it: Any) -> str | None:
                return keep(it) if getattr(type(it), "holds_credentials", False) else None

        content = io.BytesIO()
        Pickler(content).dump(assignment)
        return content.getvalue()

    def _keep(self, it: Any) -> str:
        from zarrts.conversion.worker_plugin import Keeper

        if id(it) not in self._kept:
            name = f"{self._name}-kept-{len(self._kept)}"
            self._kept[id(it)] = name, it
            self._crew.client.register_plugin(Keeper(it), name=name)
        return self._kept[id(it)][0]

    def _refuse_elsewhere(self, outcome: Any) -> None:
        for it in outcome.written.files:
            try:
                with open_file(self._job.root / it.key) as file:
                    n_bytes = file.size()
            except OSError:
                n_bytes = 0
            if n_bytes != it.size:
                error = FileNotFoundError(it.key)
                raise PlanError(
                    f"worker {outcome.worker} wrote {it.key}, {it.size:,} bytes, but there are "
                    f"{n_bytes:,} bytes here; {self._job.root} has to be the same disk for all."
                ) from error

    def _next_done(self) -> Any:
        alone_s = 0.0
        while True:
            with contextlib.suppress(queue.Empty):
                future = self._done.get(timeout=_POLL_S)
                if future.status in _ENDED:
                    return future
                # Its worker died with the outcome, and another one does it again.
                future.add_done_callback(self._done.put)
                continue
            if self._crew.client.status != "running":
                continue  # trying to connect again; if that fails, all futures are cancelled
            alone_s = 0.0 if self._crew.client.nthreads() else alone_s + _POLL_S
            if alone_s >= _ALONE_S:
                error = TimeoutError("no workers")
                raise PlanError(
                    f"the scheduler at {self._crew.address} has had no workers for "
                    f"{_ALONE_S:.0f} s; start some."
                ) from error

    def _result(self, future: Any, task: ShardTask) -> Any:
        from distributed.scheduler import KilledWorker

        try:
            outcome = future.result()
        except (concurrent.futures.CancelledError, asyncio.CancelledError) as cancelled:
            error = ConnectionError("cancelled")
            error.__cause__ = cancelled
            raise PlanError(f"the Dask scheduler at {self._crew.address} is lost.") from error
        except KilledWorker as killed:
            origin = self._job.recordings[task.spans[0].recording].origin
            raise PlanError(
                f"a part of {origin} was given up, because every worker that wrote it died; most "
                f"likely for want of memory: memory={format_budget(self._crew.memory_bytes)} is "
                "what each worker may take beside what Python takes itself."
            ) from killed
        if outcome.error is not None:
            raise outcome.error from outcome.cause
        return outcome


def _place(root: Location) -> Place | None:
    """Return what every worker has to see: the journal, by its first bytes; None in a bucket."""
    if isinstance(root, ObjectPath):
        return None
    path = root.absolute() / JOURNAL
    return path, path.read_bytes()[:_MARK_BYTES]


def _some_paths(job: Job, tasks: Sequence[ShardTask]) -> list[str]:
    """Return a few of the files that are to be read, first and last among them."""
    numbers = sorted({span.recording for task in tasks for span in task.spans})
    paths = list(
        dict.fromkeys(
            path for it in numbers for path in job.recordings[it].paths if isinstance(path, str)
        )
    )
    step = max(1, -(-len(paths) // _N_TRIED))
    return [*paths[:-1:step], *paths[-1:]]
