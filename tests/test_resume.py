"""A conversion that was cut off anywhere goes on, and ends in the bytes of one that was not."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import make_study

import zarrts
from zarrts.conversion import prepare
from zarrts.conversion import run as conversion
from zarrts.errors import PlanError, SourceError, StoreError
from zarrts.storage import journal, shards

KINDS = ("npz", "compressed", "arrays")
SIZES, SHARD_ROWS = (60, 30, 77), 39
LOCK, JOURNAL = "writing.lock", "unfinished.journal"
Parts = list[list[str]]
needs_sigkill = pytest.mark.skipif(
    not (hasattr(signal, "SIGKILL") and hasattr(os, "fork")), reason="needs SIGKILL and fork"
)


class Crash(Exception):
    """Stands for any failure."""


class Case(NamedTuple):
    """A study, where to convert it to, and the files of an uninterrupted conversion."""

    folder: Path
    target: Path
    whole: dict[str, bytes]

    def convert(self, target: Path | None = None, **options: Any) -> dict[str, bytes]:
        target, sizes = target or self.target, {"chunk": 1000, "shard": 3000, "progress": False}
        zarrts.convert(self.folder, target, **sizes | options).close()
        return tree(target)

    def prepare(self, **options: Any) -> prepare.Prepared:
        sizes = {"chunk_bytes": 1000, "shard_bytes": 3000, "workers": 1}
        asked = prepare.ConvertOptions(**sizes | options)
        return prepare.prepare(str(self.folder), self.target, asked)

    def interrupt(self, n_calls: int = 99, **options: Any) -> Parts:
        """Fail after some calls of `on_rows`, or before publishing; return the finished parts."""
        calls = iter(range(n_calls))

        def fail(*args: object) -> None:
            if len(args) > 1 or next(calls, None) is None:
                raise Crash

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
            patch.setattr(conversion, "publish", fail)
            conversion.run(self.prepare(**options), fail)
        assert not [key for key in tree(self.target) if key.endswith(".partial")]
        return parts_of(self.target)

    def assert_resumes(self, left: list[str], **options: Any) -> None:
        """Check that a resumed conversion writes some shards and no others, and its result."""
        written = []

        def commit(self: shards.ShardWriter, real: Any = shards.ShardWriter.commit) -> Any:
            written.append(real(self))
            return written[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards.ShardWriter, "commit", commit)
            files = self.convert(**options)
        assert sorted(it.key for it in written) == left
        assert files == self.whole

    def left_after(self, parts: Parts) -> list[str]:
        """Return the keys of all shards that are in none of some parts."""
        return sorted(set(shards_in(self.whole)).difference(*parts))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """By kind of source: a study that nobody may change, converted."""
    root = tmp_path_factory.mktemp("studies")
    study = make_study(root / "npz", sizes=SIZES, labels="text")
    study.x[1][:, :, 0] = np.nan
    study.x[2][5, 0, 1] = np.inf
    (root / "compressed").mkdir()
    (root / "ragged").mkdir()
    for name, x, y in zip(study.names, study.x, study.y, strict=True):
        np.savez(root / "ragged" / f"{name}.npz", x=x.reshape(-1, 3), y=y[0])
        np.savez(root / "npz" / f"{name}.npz", x=x, y=y)
        np.savez_compressed(root / "compressed" / f"{name}.npz", x=x, y=y)
    arrays: Any = [zarrts.Recording(*it) for it in zip(study.names, study.x, study.y, strict=True)]
    given = {"npz": root / "npz", "compressed": root / "compressed", "arrays": arrays}
    made = {kind: Case(given[kind], root / f"{kind}.zarr", {}).convert() for kind in KINDS}
    assert all(len(shards_in(files)) == 15 for files in made.values())
    given |= {"arrays": root / "npz", "ragged": root / "ragged"}
    made["ragged"] = Case(root / "ragged", root / "ragged.zarr", {}).convert()
    assert len(shards_in(made["ragged"])) == 5 + 2
    return {kind: Case(given[kind], root / f"{kind}.zarr", made[kind]) for kind in made}


@pytest.fixture
def case(studies: dict[str, Case], tmp_path: Path) -> Case:
    """A copy of the study that may be changed."""
    folder = shutil.copytree(studies["npz"].folder, tmp_path / "subjects")
    return Case(folder, tmp_path / "a.zarr", studies["npz"].whole)


def tree(root: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, and the folders as well."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else b"a folder"
        for path in sorted(root.rglob("*"))
    }


def parts_of(target: Path) -> Parts:
    """Return the keys of the shards of each finished part in the journal of a target."""
    path = target / JOURNAL
    lines = path.read_bytes().split(b"\n")[1:-1] if path.exists() else []
    return [[file[0] for file in json.loads(line[9:])["files"]] for line in lines]


def shards_in(files: dict[str, bytes]) -> list[str]:
    pattern = r"\d+/(x/c/\d+/0(/0)?|(y|recording|offsets)/c/\d+)"
    names = (key for key, content in files.items() if content != b"a folder")
    return sorted(key for key in names if re.fullmatch(pattern, key))


# Killed --------------------------------------------------------------------------------------

# Forks for each conversion, and kills it at the n-th change below its target, or at the n-th of
# one name. Audit events are raised before what they announce.
DRIVER = """
    import json, os, resource, signal, sys
    import dask.threaded, dask.delayed, filelock, numpy as np, numpy.random, zarr
    import zarrts, zarrts.api, zarrts.conversion.run
    from zarrts import system
    from zarrts.storage import journal
    from zarrts.storage import shards

    CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "sync", "shard", "line")

    def convert(report, source, target, kind="npz", nth=-1, step="", max_bytes=None, **options):
        n_changes, report = 0, open(report, "w", buffering=1)

        def hook(event, args):
            nonlocal n_changes, nth
            is_opening = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
            if not (event in CHANGES or is_opening) or isinstance(args[0], int):
                return
            path = os.fspath(args[0])
            path = os.path.relpath(path, target) if os.path.isabs(path) else path
            if path.startswith(".."):
                return
            n_changes += 1
            if event == "os.rename" and path.split("/")[2:3] == ["c"] and "/table/" not in path:
                print("wrote", path.removesuffix(".partial"), file=report)
            is_step = step in ("", f"{event} {path}")
            nth -= is_step
            if is_step and nth == 0:
                if path == "torn":
                    os.ftruncate(args[1], os.fstat(args[1]).st_size - 100)
                os.kill(os.getpid(), signal.SIGKILL)

        def add(self, task, real=journal.JournalWriter.add):
            real(self, task)
            sys.audit("line", "added")

        def append(self, chunk, real=shards.ShardWriter.append):
            sys.audit("shard", "append")
            real(self, chunk)

        journal.JournalWriter.add, shards.ShardWriter.append = add, append
        journal.sync_file = lambda fd: sys.audit("sync", "torn", fd)
        system.sync_file = lambda fd: sys.audit("sync", "file")
        system.sync_folder = lambda path: sys.audit("sync", path)
        if kind == "arrays":
            files = [(it[:3], np.load(f"{source}/{it}")) for it in sorted(os.listdir(source))]
            source = [zarrts.Recording(name, it["x"], it["y"]) for name, it in files]
        if max_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
        sys.addaudithook(hook)
        try:
            zarrts.convert(source, target, progress=False, **options)
        except zarrts.errors.ZarrtsError as error:
            print("error", error, file=report)
        print("changes", n_changes, file=report)

    for line in sys.stdin:
        if not (child := os.fork()):
            signal.alarm(240)
            try:
                convert(**json.loads(line))
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Ended(NamedTuple):
    """The end of a conversion in a process of its own, and the shards that it gave their names."""

    is_killed: bool
    written: list[str]
    n_changes: int
    error: str


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A function that converts in a process of its own, which has imported everything."""
    report = tmp_path_factory.mktemp("driver") / "report"
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(DRIVER)]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def convert(source: Path, target: Path, **job: Any) -> Ended:
        paths = {"source": str(source), "target": str(target), "report": str(report)}
        job = {"chunk": 1000, "shard": 3000, **paths, **job}
        print(json.dumps(job), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
        assert status in (0, -signal.SIGKILL)
        said = [line.split(" ", 1) for line in report.read_text().splitlines()]
        words = {"changes": "0", "error": "", **dict(said)}
        written = sorted(rest for word, rest in said if word == "wrote")
        return Ended(status != 0, written, int(words["changes"]), words["error"])

    with subprocess.Popen(command, env=env, **pipes) as process:
        yield convert
        process.stdin.close()


@pytest.fixture(scope="module")
def n_changes(run: Run, studies: dict[str, Case], tmp_path_factory: Any) -> dict[str, int]:
    """The number of changes that an uninterrupted conversion makes, by kind."""
    root = tmp_path_factory.mktemp("changes")
    ended = {it: run(studies[it].folder, root / it, kind=it, workers=1) for it in KINDS}
    return {it: ended[it].n_changes for it in KINDS}


@needs_sigkill
@pytest.mark.parametrize("moment", range(30))
def test_killed_at_any_moment_and_resumed_is_the_uninterrupted_store(
    run: Run, studies: dict[str, Case], n_changes: dict[str, int], tmp_path: Path, moment: int
) -> None:
    kind, target, rng = KINDS[moment % 3], tmp_path / "a.zarr", np.random.default_rng([7, moment])
    whole = studies[kind].whole
    for attempt in range(4):
        before, workers = set().union(*parts_of(target)), int(rng.integers(1, 6))
        nth = int(rng.integers(1, n_changes[kind] + 1)) if attempt < 3 else -1
        ended = run(studies[kind].folder, target, kind=kind, nth=nth, workers=workers)
        assert ended.is_killed or attempt
        assert not before & set(ended.written)
        assert len(set(ended.written)) == len(ended.written)
        if not ended.is_killed:
            break
        files = tree(target) if target.exists() else {}
        if "zarr.json" in files:
            assert whole.items() <= files.items()
        else:
            assert before <= set().union(*parts_of(target)) <= set(files)
    assert tree(target) == whole


STEPS: dict[str, tuple[str, int, int | None]] = {
    "in the metadata": ("os.rename 0/y/zarr.json.partial", 1, 0),
    "before the journal": (f"os.rename {JOURNAL}.partial", 1, 0),
    "in a shard": ("shard append", 20, None),
    "before a shard is on the disk": ("sync file", 30, None),
    "before a shard is renamed": ("os.rename 0/x/c/3/0/0.partial", 1, None),
    "between the arrays of a shard": ("os.rename 0/recording/c/2.partial", 1, None),
    "after a shard is renamed": ("sync 0/recording/c", 3, None),
    "in a line of the journal": ("sync torn", 3, 2),
    "after a line of the journal": ("line added", 3, 3),
    "after the last line": ("line added", 5, 5),
    "before the table": ("os.mkdir 0/table", 1, 5),
    "in the table": ("os.rename 0/table/mean/zarr.json.partial", 1, 5),
    "before the checksums": ("os.mkdir 0/checksum/x/c", 1, 5),
    "in the checksums": ("open 0/checksum/y/c/0.partial", 1, 5),
    "after the checksums": ("open 0/zarr.json.partial", 2, 5),
    "before the manifest": ("os.mkdir manifests", 1, 5),
    "before the manifest is renamed": ("os.rename manifests/1.json.partial", 1, 5),
    "before the root": ("open zarr.json.partial", 1, 5),
    "before the root is renamed": ("os.rename zarr.json.partial", 1, 5),
    "published, before the sweep": (f"os.remove {JOURNAL}", 1, 5),
}
# Of recordings of unequal lengths: what no part writes comes after the last one.
RAGGED_STEPS: dict[str, tuple[str, int, int | None]] = {
    "in a shard": ("shard append", 8, None),
    "before a shard is renamed": ("os.rename 0/x/c/3/0.partial", 1, None),
    "after the last line": ("line added", 5, 5),
    "before the labels of recordings are renamed": ("os.rename 0/y/c/0.partial", 1, 5),
    "in the lengths of recordings": ("open 0/offsets/c/0.partial", 1, 5),
    "in the checksums": ("open 0/checksum/offsets/c/0.partial", 1, 5),
    "before the root is renamed": ("os.rename zarr.json.partial", 1, 5),
    "published, before the sweep": (f"os.remove {JOURNAL}", 1, 5),
}


@needs_sigkill
@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("npz", name) for name in STEPS), *(("ragged", name) for name in RAGGED_STEPS)],
)
def test_killed_at_each_step_and_resumed_is_the_uninterrupted_store(
    run: Run, studies: dict[str, Case], tmp_path: Path, kind: str, name: str
) -> None:
    case = studies[kind]._replace(target=tmp_path / "a.zarr")
    step, nth, n_parts = (STEPS if kind == "npz" else RAGGED_STEPS)[name]
    assert run(case.folder, case.target, step=step, nth=nth, workers=2).is_killed
    assert (case.target / LOCK).exists()
    parts = parts_of(case.target)
    assert n_parts in (len(parts), None)
    if name.startswith("published"):
        zarrts.open(case.target).close()
        case.assert_resumes([])
    else:
        with pytest.raises(StoreError):
            zarrts.open(case.target)
        case.assert_resumes(case.left_after(parts), workers=3)


@needs_sigkill
@pytest.mark.parametrize("option", ["overwrite", "restart"])
def test_killed_while_it_deletes_and_repeated_leaves_nothing_behind(
    run: Run, case: Case, tmp_path: Path, option: str
) -> None:
    if option == "restart":
        case.interrupt(codec="zstd")
    else:
        case.convert(codec="zstd")
        step = {"step": f"os.remove {JOURNAL}", "nth": 1}
        assert run(case.folder, case.target, overwrite=True, **step).is_killed
    targets = [shutil.copytree(case.target, tmp_path / f"{nth}.zarr") for nth in range(3, 90, 15)]
    whole = case.convert(**{option: True})
    for target in targets:
        nth = int(target.stem)
        assert run(case.folder, target, nth=nth, **{option: True}).is_killed
        assert run(case.folder, target, **{option: True}).error == ""
        assert tree(target) == whole


@needs_sigkill
def test_store_whose_journal_a_kill_left_can_be_replaced(run: Run, case: Case) -> None:
    assert run(case.folder, case.target, step=f"os.remove {JOURNAL}", nth=1).is_killed
    files = case.convert(overwrite=True, codec="zstd")
    assert JOURNAL not in files
    assert {key.split("/")[0] for key in shards_in(files)} == {"1"}


# Failed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "then"), [(1, 5), (2, 1), (5, 2)])
def test_any_number_of_workers_gives_the_same_bytes(case: Case, first: int, then: int) -> None:
    assert case.convert(case.target.with_name("b.zarr"), workers=first) == case.whole
    parts = case.interrupt(11, workers=first)
    assert 0 < len(parts) < 5
    case.assert_resumes(case.left_after(parts), workers=then)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda it: it.write_bytes(it.read_bytes()[:-9]),
        lambda it: it.write_bytes(it.read_bytes() + b"\0"),
        lambda it: flip(it, it.stat().st_size // 2),
    ],
)
def test_damaged_shard_is_written_again_and_no_other(case: Case, damage: Any) -> None:
    parts = case.interrupt()
    damage(case.target / parts[2][1])
    case.assert_resumes(sorted(parts[2]))


@pytest.mark.parametrize("line", [0, 1, 3, 5])
@pytest.mark.parametrize("place", ["checksum", "start", "middle", "end", "cut"])
def test_journal_is_used_up_to_a_damaged_line(case: Case, line: int, place: str) -> None:
    parts, path = case.interrupt(), case.target / JOURNAL
    lengths = [len(it) for it in path.read_bytes().splitlines(keepends=True)]
    start, length = sum(lengths[:line]), lengths[line]
    if place == "cut":
        os.truncate(path, start + length // 3 * (line > 0))
    else:
        flip(path, start + {"checksum": 7, "start": 9, "middle": 60, "end": length - 1}[place])
    case.assert_resumes(case.left_after(parts[: max(0, line - 1)]))


def rewrite(path: Path) -> None:
    content, times = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("touch", [os.utime, rewrite])
def test_parts_of_a_touched_source_are_written_again_and_no_others(case: Case, touch: Any) -> None:
    parts = case.interrupt()
    touch(case.folder / "s01.npz")
    rows = np.flatnonzero(np.repeat(range(3), SIZES) == 1)
    touched = {f"0/y/c/{shard}" for shard in rows // SHARD_ROWS}
    case.assert_resumes(case.left_after([part for part in parts if not touched & set(part)]))


def change(path: Path) -> None:
    with np.load(path) as old:
        arrays = {"x": old["x"] + 1, "y": old["y"]}
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("edit", "options", "words"),
    [
        (lambda it: change(it / "s01.npz"), {}, r"\(s01\.npz: changed\)"),
        (lambda it: (it / "s02.npz").rename(it / "s3.npz"), {}, r"s3.*: new; s02.*: no longer"),
        (len, {"codec": "zstd"}, r"\(codec was 'lz4' and is 'zstd'\)"),
        (len, {"dtype": "float64"}, r"dtype was 'float32' and is 'float64'"),
        (len, {"rate_hz": 5}, r"\(rate_hz was None and is 5\.0\)"),
        (len, {"chunk": 500}, r"samples in a chunk was 13 and is 6"),
        (len, {}, None),
    ],
)
def test_other_sources_or_options_are_refused_until_restarted(
    case: Case, edit: Any, options: dict[str, Any], words: str | None
) -> None:
    case.interrupt()
    before = tree(case.target)
    if edit is not len:
        edit(case.folder)
    if words:
        with pytest.raises(PlanError, match=rf"unfinished conversion.*{words}.*\(--restart\)"):
            case.convert(**options)
        assert tree(case.target) == before
    case = case._replace(whole=case.convert(case.target.with_name("b.zarr"), **options))
    case.assert_resumes(shards_in(case.whole), restart=True, **options)


@pytest.mark.parametrize("options", [{}, {"codec": "zstd"}])
def test_second_conversion_is_refused_while_one_runs(case: Case, options: dict[str, Any]) -> None:
    started, go = Event(), Event()

    def on_rows(n_rows: int) -> None:
        started.set()
        assert go.wait(60)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(conversion.run, case.prepare(), on_rows)
        try:
            assert started.wait(60)
            before = tree(case.target)
            with pytest.raises(PlanError, match="another conversion is writing to it"):
                case.convert(**options)
            assert tree(case.target) == before
        finally:
            go.set()
        first.result()
    assert tree(case.target) == case.whole


def test_refused_conversion_keeps_what_another_one_finished_meanwhile(case: Case) -> None:
    late = case.prepare(codec="zstd")
    case.interrupt()
    with pytest.raises(PlanError, match="codec was 'lz4' and is 'zstd'"):
        conversion.run(late)
    case.assert_resumes([])


def replace(path: Path) -> None:
    shutil.copy(path.with_name("s00.npz"), path.with_name("other"))
    path.with_name("other").replace(path)


@pytest.mark.parametrize("edit", [lambda it: flip(it, 999), lambda it: os.truncate(it, 9), replace])
@pytest.mark.parametrize("n_rows", [1, sum(SIZES)])
@pytest.mark.parametrize("kind", ["npz", "compressed"])
def test_source_that_changes_meanwhile_is_named_and_nothing_is_left(
    studies: dict[str, Case], tmp_path: Path, kind: str, n_rows: int, edit: Any
) -> None:
    case = Case(shutil.copytree(studies[kind].folder, tmp_path / "s"), tmp_path / "a.zarr", {})
    path, done = case.folder / "s01.npz", [0]
    times = path.stat()

    def on_rows(count: int) -> None:
        done.append(done[-1] + count)
        if done[-2] < n_rows <= done[-1]:
            edit(path)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(SourceError, match=r"s01\.npz"):
        conversion.run(case.prepare(), on_rows)
    assert not case.target.exists()


# The disk is full ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_parts", [0, 2])
@pytest.mark.parametrize(
    ("owner", "name", "n_calls"),
    [(shards.ShardWriter, "commit", 3), (journal.JournalWriter, "add", 1)],
)
def test_full_disk_is_one_line_that_says_what_is_finished(
    case: Case, monkeypatch: Any, owner: Any, name: str, n_calls: int, n_parts: int
) -> None:
    calls, real = iter(range(n_parts * n_calls)), getattr(owner, name)

    def fail(self: Any, *args: Any) -> Any:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args)

    words = f"{n_parts} of 5 parts are finished, and the same" if n_parts else "has been removed"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(PlanError, match=rf"^[^\n]*the disk is full; [^\n]*{words}[^\n]*$"):
            case.convert(workers=1)
    parts = parts_of(case.target)
    assert (len(parts), case.target.exists()) == (n_parts, n_parts > 0)
    case.assert_resumes(case.left_after(parts))


def test_room_is_needed_for_the_rest_only(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.interrupt()
    monkeypatch.setattr(prepare, "free_bytes", lambda path: 5000)
    case.assert_resumes([])


@pytest.fixture
def noisy(tmp_path: Path) -> Case:
    """A compressed file of silence and then noise: its last shards are large."""
    x = np.zeros((800, 64, 16), "f4")
    x[600:] = np.random.default_rng(0).normal(size=(200, 64, 16))
    np.savez_compressed(tmp_path / "s00.npz", x=x, y=np.arange(800) % 4)
    made = Case(tmp_path / "s00.npz", tmp_path / "disk" / "a.zarr", {})
    return made._replace(whole=made.convert(tmp_path / "b.zarr", shard="400KiB"))


def assert_goes_on(case: Case, error: str) -> None:
    """Check what a conversion left that had no room, and that it goes on."""
    parts = parts_of(case.target)
    assert f"the disk is full; {len(parts)} of 8 parts are finished" in error
    assert len(parts) > 2
    assert not list(case.target.rglob("*.partial"))
    case.assert_resumes(case.left_after(parts), shard="400KiB")


@needs_sigkill
def test_file_that_cannot_grow_leaves_nothing_half_written(run: Run, noisy: Case) -> None:
    error = run(noisy.folder, noisy.target, max_bytes=100_000, shard="400KiB").error
    assert_goes_on(noisy, error)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts")
def test_disk_that_fills_up_leaves_nothing_half_written(noisy: Case, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", disk]).returncode:
        pytest.skip("no right to mount")
    try:
        with pytest.raises(PlanError) as caught:
            noisy.convert(shard="400KiB")
        subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
        assert_goes_on(noisy, str(caught.value))
    finally:
        subprocess.run(["umount", disk], check=True)
