"""The workers of a Dask cluster: how to reach them, and whether they are fit for a conversion."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zarrts.errors import PlanError, SourceError
from zarrts.lists import listed
from zarrts.sizes import format_budget, format_size
from zarrts.types import SourceRecording

LOCAL = "processes"
"""In place of an address: processes of this machine."""

Place = tuple[Path, bytes]
"""A file that every worker has to see, and its first bytes."""

_CARRIED_BYTES = 1 << 20  # of small arrays that a Recording may hold
_JOIN_S = 60.0
_MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The workers of a scheduler.

    Attributes
    ----------
    client : distributed.Client
    address : str
        Of the scheduler.
    max_parts : int, or None
        Shards that are written at once, on all workers together.
    memory_bytes, part_bytes : int
        That a worker may take, and that one shard takes.
    """

    client: Any
    address: str
    max_parts: int | None
    memory_bytes: int
    part_bytes: int


@contextlib.contextmanager
def connected_workers(
    scheduler: Any, *, workers: int | None, memory_bytes: int, part_bytes: int
) -> Iterator[Workers]:
    """Connect to a scheduler, and yield its workers, of which there is at least one.

    Parameters
    ----------
    scheduler : str, distributed.Client or a cluster of Dask's
        Address, or the path of a scheduler's file (`.json`); "processes" are `workers` of this
        machine.

    Raises
    ------
    PlanError
        If there is no scheduler, or it has no workers.
    ImportError
        Without the extra cluster.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "scheduler= needs Dask distributed; pip install 'zarrts[cluster]'"
        ) from error
    with contextlib.ExitStack() as stack:
        if scheduler == LOCAL:
            n_processes = workers or 1
            # On this machine memory= is for all together.
            memory_bytes //= n_processes
            local = distributed.LocalCluster(
                n_workers=n_processes,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
            )
            scheduler = stack.enter_context(local)
        client = stack.enter_context(_client(scheduler, distributed.Client))
        address = client.scheduler.address
        try:
            client.wait_for_workers(1, timeout=_JOIN_S)
        except TimeoutError as error:
            raise PlanError(
                f"the scheduler at {address} has no workers after {_JOIN_S:.0f} s; start some, and "
                "keep at least one (adapt(minimum=1))."
            ) from error
        yield Workers(
            client=client,
            address=address,
            max_parts=workers,
            memory_bytes=memory_bytes,
            part_bytes=part_bytes,
        )


@contextlib.contextmanager
def _client(scheduler: Any, make: Callable[..., Any]) -> Iterator[Any]:
    if hasattr(scheduler, "submit"):
        if scheduler.asynchronous:
            raise PlanError("scheduler= is an asynchronous Client; make one without asynchronous=.")
        yield scheduler  # stays open: it is the caller's
        return
    options: dict[str, Any] = {"set_as_default": False}
    if isinstance(scheduler, str | Path) and str(scheduler).endswith(".json"):
        options["scheduler_file"] = str(scheduler)
    else:
        options["address"] = scheduler
    try:
        client = make(**options)
    except (OSError, ValueError, TypeError) as error:
        raise PlanError(
            f"scheduler={scheduler!r} cannot be reached ({error}). It is an address such as "
            "tcp://10.0.0.1:8786, the file that dask scheduler --scheduler-file wrote (.json), or "
            f"{LOCAL!r} for processes of this machine."
        ) from error
    with client:
        yield client


def refuse_data(recordings: Sequence[SourceRecording]) -> None:
    """Raise SourceError for recordings that are arrays in memory, which no task carries."""
    bad = [problem for it in recordings if (problem := _carried_problem(it))]
    if bad:
        raise SourceError(listed(bad, _MAX_NAMED, between="\n"))


def _carried_problem(recording: SourceRecording) -> str | None:
    remedy = (
        "tasks of a cluster carry names, not data. Save it to a file that all workers see, or "
        "give a function of a module as x (docs/clusters.md); or convert without scheduler=."
    )
    try:
        n_bytes = _pickled_bytes((recording.x, recording.y, recording.mask))
    except (TypeError, ValueError, AttributeError, ImportError, RecursionError, OSError) as error:
        return f"{recording.origin}: cannot be sent to workers ({error}); {remedy}"
    if n_bytes > _CARRIED_BYTES:
        return (
            f"{recording.origin}: holds {format_size(n_bytes)} in memory, more than "
            f"{format_budget(_CARRIED_BYTES)}; {remedy}"
        )
    return None


class _TooLargeError(Exception):
    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes


class _Scale(io.RawIOBase):
    """Counts what is pickled, and gives up where it is too much; nothing is kept."""

    n_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        size = memoryview(content).nbytes
        self.add(size)
        return size

    def add(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        if self.n_bytes > _CARRIED_BYTES:
            raise _TooLargeError(self.n_bytes)


def _pickled_bytes(value: object) -> int:
    """Return the size of a pickle, or of as much of it as is too large; no array is copied."""
    import cloudpickle

    scale = _Scale()
    try:
        cloudpickle.Pickler(
            scale, protocol=5, buffer_callback=lambda buffer: scale.add(buffer.raw().nbytes)
        ).dump(value)
    except _TooLargeError as found:
        return found.n_bytes
    return scale.n_bytes


# Are they fit for it? ------------------------------------------------------------------------


def check_workers(workers: Workers, place: Place | None, paths: Sequence[str]) -> None:
    """Raise PlanError that says which workers cannot do it, and why."""
    wanted = _versions()

    # Defined here, so that it travels whole: zarrts may be what is missing there.
    def look(dask_worker: Any) -> tuple[dict[str, str], list[str], int | None]:
        import os
        from importlib.metadata import PackageNotFoundError, version

        found = {}
        for package in wanted:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "not installed"
        missing = [path for path in paths if not os.access(path, os.R_OK)]
        if place is not None:
            try:
                with open(place[0], "rb") as file:
                    is_same = file.read(len(place[1])) == place[1]
            except OSError:
                is_same = False
            if not is_same:
                missing.append(str(place[0].parent))
        return found, missing, dask_worker.memory_manager.memory_limit

    answers = workers.client.run(look, on_error="return")
    problems = [
        f"worker {address}: {problem}"
        for address, answer in sorted(answers.items())
        for problem in [_problem_of(answer, wanted, workers)]
        if problem is not None
    ]
    if problems:
        error = ConnectionError("not fit")
        raise PlanError(
            f"{len(problems)} of {len(answers)} workers of {workers.address} cannot convert: "
            f"{listed(problems, _MAX_NAMED, between='; ')}."
        ) from error


def _problem_of(answer: Any, wanted: Mapping[str, str], workers: Workers) -> str | None:
    if isinstance(answer, BaseException):
        return f"does not answer ({type(answer).__name__}: {answer})"
    found, missing, limit = answer
    other = [f"{it} {found[it]}, here {wanted[it]}" for it in wanted if found[it] != wanted[it]]
    if other:
        return f"{', '.join(other)}; install the same there"
    if missing:
        named = ", ".join(missing[:_MAX_NAMED])
        return f"does not see {named}; sources and store have to lie under the same path everywhere"
    if limit and limit < workers.part_bytes:
        return (
            f"may take {format_budget(limit)} of memory, but one part takes "
            f"{format_budget(workers.part_bytes)}"
        )
    return None


def _versions() -> dict[str, str]:
    """Return what decides the bytes that are written."""
    from importlib.metadata import version

    return {package: version(package) for package in ("zarrts", "numcodecs")}
