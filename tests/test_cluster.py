"""Workers of a Dask cluster write the same bytes, whatever becomes of them."""

import contextlib
import io
import os
import re
import runpy
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Study, make_study
from fake_s3 import fake_s3

import zarrts
from zarrts.cli import main
from zarrts.conversion import cluster
from zarrts.conversion.plan import shard_tasks
from zarrts.conversion.tasks import chains_of
from zarrts.errors import PlanError, SourceError
from zarrts.storage.location import locate, open_file

distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
remote = pytest.importorskip("zarrts.conversion.worker_plugin")

SIZES = {"chunk": 1000, "shard": 3000, "progress": False}
LOCAL: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
DOCS, EXAMPLES = (Path(__file__).parents[1] / it for it in ("docs", "examples/cluster"))
N_ROWS = 167


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A cluster of two processes on this machine."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **LOCAL) as made:
        yield made


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("study") / "npz", sizes=(60, 30, 77), labels="text")


@pytest.fixture(scope="module")
def whole(study: Study) -> dict[str, bytes]:
    return convert(study.folder, study.folder.with_name("whole.zarr"))


def convert(source: Any, target: Path, **options: Any) -> dict[str, bytes]:
    zarrts.convert(source, target, **SIZES | options).close()
    return tree(target)


def tree(root: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, and the folders as well."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else b"a folder"
        for path in sorted(root.rglob("*"))
    }


def finished(target: Path) -> int:
    return len((target / "unfinished.journal").read_bytes().splitlines()) - 1


class Rows:
    """Inputs that are made where they are asked for; the first time, something happens there."""

    shape, dtype = (N_ROWS, 6, 3), np.dtype("f4")

    def __init__(self, marker: Path, row: int) -> None:
        self.marker, self.row, self.pid = marker, row, os.getpid()

    def __call__(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        is_here = os.getpid() == self.pid
        if start <= self.row < stop and not (is_here or self.marker.exists()):
            self.marker.touch()
            self.happen()
        rows = np.arange(start, stop, dtype="f4")
        return np.sin(rows[:, None, None] * np.arange(1, 19, dtype="f4").reshape(6, 3))

    def happen(self) -> None:
        """Nothing."""


class KilledRows(Rows):
    """The first worker that reads some row is killed."""

    def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class StoppedRows(Rows):
    """The first worker that reads some row is told to stop, as one whose time is up."""

    def happen(self) -> None:
        for plugin in distributed.get_worker().plugins.values():
            if hasattr(plugin, "_stop"):
                plugin._stop.set()
                plugin._stop = threading.Event()


class DeadlyRows(KilledRows):
    """Every worker that reads some row is killed."""

    def happen(self) -> None:
        self.marker.unlink()
        super().happen()


LABELS = np.arange(N_ROWS) % 4
needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.mark.parametrize("kind", ["stored", "compressed", "ragged"])
def test_workers_write_the_bytes_of_one_machine(
    workers: Any, study: Study, tmp_path: Path, kind: str
) -> None:
    folder, options = tmp_path / "s", {}
    folder.mkdir()
    for name, x, y in zip(study.names, study.x, study.y, strict=True):
        if kind == "ragged":
            np.savez(folder / f"{name}.npz", x=x.reshape(-1, 3), y=y.repeat(6))
            options = {"kind": "ragged"}
        else:
            save = np.savez if kind == "stored" else np.savez_compressed
            save(folder / f"{name}.npz", x=x, y=y)
    expected = convert(folder, tmp_path / "one.zarr", **options)
    done: list[int] = []
    with (
        distributed.Client(workers, set_as_default=False) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        add = cluster._Asked._result

        def result(self: Any, future: Any, task: Any) -> Any:
            done.append(task.shard)
            return add(self, future, task)

        patch.setattr(cluster._Asked, "_result", result)
        assert convert(folder, tmp_path / "two.zarr", scheduler=client, **options) == expected
        assert client.status == "running"  # the caller's stays open
    assert sorted(done) == list(range(len(done))) and len(done) > 1


def test_compressed_files_are_chains_that_do_not_wait_for_each_other() -> None:
    lengths, is_compressed = [25, 3, 30, 12], [True, False, True, False]
    recordings: Any = {
        number: SimpleNamespace(
            x=SimpleNamespace(is_sequential=it),
            y=SimpleNamespace(is_sequential=False),
            origin=f"{number}.npz",
            paths=(f"/{number}.npz",),
        )
        for number, it in enumerate(is_compressed)
    }
    chains = chains_of(shard_tasks(lengths, 10), recordings)
    # By their first rows: 0, 10, 20 | 30, 40, 50 | 60, which begins in the last file
    assert [[task.shard for task in chain] for chain in chains] == [[0, 1, 2], [3, 4, 5], [6]]


def test_tasks_carry_names_and_no_data(workers: Any, tmp_path: Path, monkeypatch: Any) -> None:
    n_bytes: list[int] = []
    for name in ("a", "b"):
        x = np.full((20_000, 8, 8), ord(name), "f4")
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(20_000) % 3)
    real = distributed.Client.submit

    def submit(self: Any, function: Any, payload: bytes, **options: Any) -> Any:
        n_bytes.append(len(payload))
        return real(self, function, payload, **options)

    monkeypatch.setattr(distributed.Client, "submit", submit)
    sizes = {"chunk": "128KiB", "shard": "1MiB"}
    files = convert(f"{tmp_path}/*.npz", tmp_path / "a.zarr", scheduler=workers, **sizes)
    assert sum(map(len, files.values())) > 10_000
    assert len(n_bytes) == 10
    assert max(n_bytes) < 4000  # of 10 MB


@pytest.mark.parametrize(
    "kind", [pytest.param(KilledRows, marks=needs_sigkill), pytest.param(StoppedRows)]
)
def test_shard_of_a_worker_that_ends_is_written_again(
    workers: Any, tmp_path: Path, kind: type[Rows]
) -> None:
    rows = Rows(tmp_path / "none", -1)
    expected = convert(zarrts.Recording("s", rows, LABELS), tmp_path / "a.zarr")
    ended = zarrts.Recording("s", kind(tmp_path / "ended", 100), LABELS)
    assert convert(ended, tmp_path / "b.zarr", scheduler=workers) == expected
    assert (tmp_path / "ended").exists()


class KilledBucketRows(KilledRows):
    """Rows of an object in a bucket."""

    def __init__(self, marker: Path, row: int, path: Any) -> None:
        super().__init__(marker, row)
        self.path = path

    def __call__(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        with open_file(self.path) as file:
            found = np.empty((stop - start, *self.shape[1:]), "f4")
            file.read_into(found, start * found[0].nbytes)
        np.testing.assert_array_equal(found, super().__call__(start, stop))
        return found


@needs_sigkill
def test_credentials_of_a_bucket_reach_workers_in_no_task_and_no_log(
    workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    rows = Rows(tmp_path / "none", -1)
    whole = convert(zarrts.Recording("s", rows, LABELS), tmp_path / "a.zarr")
    sent: list[bytes] = []
    real = distributed.Client.submit

    def submit(self: Any, function: Any, payload: bytes, **options: Any) -> Any:
        sent.append(payload)
        return real(self, function, payload, **options)

    monkeypatch.setattr(distributed.Client, "submit", submit)
    with fake_s3() as s3, distributed.Client(workers, set_as_default=False) as client:
        options = s3.options | {"key": "hidden-key", "secret": "hidden-secret"}
        path: Any = locate("s3://lab/rows.bin", options)
        path.bucket.put("rows.bin", rows(0, N_ROWS).tobytes())
        source = zarrts.Recording("s", KilledBucketRows(tmp_path / "killed", 100, path), LABELS)
        place = {"scheduler": client, "storage_options": options}
        zarrts.convert(source, "s3://lab/a.zarr", **SIZES, **place).close()  # type: ignore[arg-type]
        found = {key.removeprefix("a.zarr/"): it for key, it in s3.objects.items()}
        for name in ("a", "b"):
            content = io.BytesIO()
            np.savez(content, x=rows(0, N_ROWS) + ord(name), y=LABELS)
            path.bucket.put(f"npz/{name}.npz", content.getvalue())
        convert("s3://lab/npz/*.npz", tmp_path / "c.zarr", **place)
        said = str([client.get_worker_logs(), client.get_scheduler_logs(), client.get_events()])
        left = client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.worker_plugins])
    assert (tmp_path / "killed").exists()
    assert found.pop("rows.bin")
    # Of a folder alone: names that end with "/", and the file of its lock.
    of_folder = {key for key, it in whole.items() if it == b"a folder"} | {"writing.lock"}
    assert found == {key: it for key, it in whole.items() if key not in of_folder}
    with zarrts.open(tmp_path / "c.zarr") as store:
        expected = np.concatenate([rows(0, N_ROWS) + ord(name) for name in ("a", "b")])
        np.testing.assert_array_equal(store.samples.load()[0], expected)
    assert len(sent) == 5 + 9 and not any(b"hidden" in it for it in sent)
    assert "hidden" not in said
    assert not [name for name in left if name.startswith("zarrts")]


@pytest.mark.parametrize(("limit", "n_parts"), [(0, 8), (400, 2), (50, 1), (9999, 8)])
def test_worker_writes_no_more_at_once_than_its_memory_allows(limit: int, n_parts: int) -> None:
    nothing: Any = None
    writers = remote.Writers(Path("a"), *3 * [nothing], 0, None, n_slots=8, part_bytes=100)
    manager = SimpleNamespace(memory_limit=limit or None)
    writers.setup(SimpleNamespace(address="tcp://here", memory_manager=manager))
    assert [writers._slots.acquire(blocking=False) for _ in range(n_parts + 1)][-2:] == [
        True,
        False,
    ]


def test_outcome_that_died_with_its_worker_is_waited_for_again() -> None:
    asked = cluster._Asked(None, None, "job")  # type: ignore[arg-type]

    class Future:
        status = "lost"

        def add_done_callback(self, done: Any) -> None:
            self.status = "finished"
            done(self)

    future = Future()
    asked._done.put(future)
    assert asked._next_done() is future
    assert future.status == "finished"


@needs_sigkill
def test_part_that_kills_every_worker_is_given_up_and_the_rest_kept(
    workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.scheduler, "allowed_failures", 0)
    deadly = zarrts.Recording("s", DeadlyRows(tmp_path / "killed", 100), LABELS)
    words = r"a part of recording 1 \(s\) was given up, because every worker that wrote it died"
    with pytest.raises(PlanError, match=rf"{words}.*2 of 5 parts are finished"):
        convert(deadly, tmp_path / "b.zarr", scheduler=workers, workers=1)
    rows = Rows(tmp_path / "none", -1)
    expected = convert(zarrts.Recording("s", rows, LABELS), tmp_path / "a.zarr")
    whole = zarrts.Recording("s", rows, LABELS)
    assert convert(whole, tmp_path / "b.zarr") == expected


def test_lost_scheduler_is_said_and_the_same_command_goes_on(
    study: Study, whole: dict[str, bytes], tmp_path: Path
) -> None:
    import dask

    target = tmp_path / "a.zarr"
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            silence_logs=50,
            **LOCAL,
        ) as made,
    ):
        address = made.scheduler_address
        on_task = []

        def lose(
            self: Any, task: Any, real: Any = zarrts.storage.journal.JournalWriter.add
        ) -> None:
            real(self, task)
            on_task.append(task.shard)
            if len(on_task) == 2:
                made.sync(made.scheduler.close)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zarrts.conversion.run.JournalWriter, "add", lose)
            with pytest.raises(
                PlanError, match=rf"{address} is lost\. 2 of 5 parts are finished, and"
            ):
                convert(study.folder, target, scheduler=address, workers=1)
    assert finished(target) == 2
    soon = dask.config.set({"distributed.comm.timeouts.connect": "50ms"})
    with soon, pytest.raises(PlanError, match=rf"{address}.* cannot be reached"):
        convert(study.folder, target, scheduler=address)
    assert finished(target) == 2
    assert convert(study.folder, target) == whole


def test_workers_that_do_not_see_the_files_are_named_at_once(
    workers: Any, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, absent = tmp_path / "a.zarr", tmp_path / "elsewhere"
    monkeypatch.setattr(cluster, "_some_paths", lambda job, tasks: [str(absent / "s00.npz")])
    words = f"worker tcp://.*: does not see {absent / 's00.npz'}; sources and store"
    with pytest.raises(PlanError, match=f"^2 of 2 workers .* cannot convert: {words}"):
        convert(study.folder, target, scheduler=workers)
    assert not target.exists()
    monkeypatch.setattr(cluster, "_some_paths", lambda job, tasks: [])
    monkeypatch.setattr(cluster, "_place", lambda root: (absent / "unfinished.journal", b"0"))
    with pytest.raises(PlanError, match=f"does not see {absent}; sources and store"):
        convert(study.folder, target, scheduler=workers)
    monkeypatch.setattr(cluster, "check_workers", lambda *anything: None)  # one that came later
    with pytest.raises(PlanError, match=r"a\.zarr: cannot be written .it is another folder on tcp"):
        convert(study.folder, target, scheduler=workers)
    monkeypatch.setattr(cluster, "_place", lambda root: None)  # one with an older journal's copy
    real = remote.Writers.__init__

    def elsewhere(self: Any, root: Path, *rest: Any) -> None:
        real(self, tmp_path / "b.zarr", *rest)

    monkeypatch.setattr(remote.Writers, "__init__", elsewhere)
    with pytest.raises(
        PlanError, match=r"wrote 0/x/c/\d/0/0, \d\S+ bytes, but there are 0 bytes here"
    ):
        convert(study.folder, target, scheduler=workers, workers=1)
    assert not target.exists()


def test_arrays_in_memory_are_refused_before_anything_is_written(
    workers: Any, tmp_path: Path
) -> None:
    x, y = np.zeros((9, 1 << 14, 2), "f4"), np.arange(9) % 2
    for it, problem in (
        (x, r"holds 1\.\d MB in memory, more than 1MiB"),
        (Unsendable(), "be sent"),
    ):
        source = [zarrts.Recording("small", x[:2] + 1, y[:2]), zarrts.Recording("s", it, y)]
        with pytest.raises(SourceError, match=rf"^recording 2 \(s\): .*{problem}"):
            convert(source, tmp_path / "a.zarr", scheduler=workers)
    assert not (tmp_path / "a.zarr").exists()


class Unsendable:
    shape, dtype = (9, 1 << 14, 2), np.dtype("f4")

    def __call__(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        return np.zeros((stop - start, *self.shape[1:]), "f4")

    def __reduce__(self) -> Any:
        raise TypeError("a file that is open")


def test_command_with_processes_of_this_machine(
    study: Study, whole: dict[str, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "a.zarr"
    sizes = ["--chunk", "1000", "--shard", "3000", "--scheduler", "processes", "--workers", "2"]
    said = CliRunner().invoke(main, ["convert", *sizes, str(study.folder), str(target)])
    assert said.exit_code == 0, said.output
    assert tree(target) == whole


# The documentation and the examples --------------------------------------------------------------


def test_snippets_of_the_documentation_run(
    workers: Any, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(study.folder, "subjects")
    make_study(tmp_path / "new", sizes=(9,), labels="text", seed=5)
    Path("more_subjects").mkdir()
    Path("new/s00.npz").rename("more_subjects/carla.npz")
    for number, name in enumerate(("anna", "bob")):
        np.full((400, 32, 8), number, "f4").tofile(f"{name}.f32")
        np.save(f"{name}-labels.npy", np.arange(400) % 3)
    text = (DOCS / "clusters.md").read_text("utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    scope: dict[str, Any] = {"zarrts": zarrts, "address": workers.scheduler_address}
    for snippet in snippets:
        exec(snippet, scope)
    assert zarrts.open("study.zarr").subjects == [*study.names, "carla"]
    assert (zarrts.open("binary.zarr").samples.load()[0][:, 0, 0] == np.arange(800) // 400).all()


def test_slurm_example_converts_with_the_jobs_it_starts(
    workers: Any, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    @contextlib.contextmanager
    def start(**options: Any) -> Iterator[Any]:
        asked.update(options)
        yield workers

    monkeypatch.setattr(workers, "adapt", lambda **jobs: asked.update(jobs))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=start))
    example = runpy.run_path(str(EXAMPLES / "slurm.py"))["main"]
    example.__globals__.update(SOURCES=study.folder, STORE=tmp_path / "a.zarr")
    example()
    assert tree(tmp_path / "a.zarr").keys() >= {"zarr.json", "0/x/c/0/0/0"}
    assert asked["minimum_jobs"] == asked["maximum_jobs"] == 8
    assert asked["cores"] == 4 and asked["walltime"] == "01:00:00"


def test_kubernetes_example_is_whole() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which comes with Dask")
    parts = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text("utf-8")))
    service, *rest = parts
    pods = {it["metadata"]["name"]: it["spec"]["template"]["spec"] for it in rest}
    images = {pod["containers"][0]["image"] for pod in pods.values()}
    assert len(images) == 1
    port = service["spec"]["ports"][0]["port"]
    address = f"tcp://{service['metadata']['name']}:{port}"
    scheduler, worker, job = (pods[it]["containers"][0] for it in pods)
    assert rest[0]["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]
    assert scheduler["args"][:4] == ["dask", "scheduler", "--port", str(port)]
    assert worker["args"][:3] == ["dask", "worker", address]
    assert worker["volumeMounts"] == job["volumeMounts"]
    # The options exist, and their values are such: all that is missing are the files.
    program, command, *options = job["args"]
    assert (program, options[1]) == ("zarrts", address)
    said = CliRunner().invoke(main, [command, *options])
    assert "/study/subjects" in said.output and said.exit_code == 1
