"""One writer at a time, whoever else wants to write and whatever becomes of the lock's file."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Study, make_study

import zarrts
from zarrts.conversion import run as conversion
from zarrts.conversion.lock import LOCK, only_writer
from zarrts.conversion.options import ConvertOptions
from zarrts.conversion.prepare import prepare, prepare_append
from zarrts.errors import PlanError

# Each of several processes takes the lock as often as it can, and makes a file that must not be
# there: whoever finds it shares the lock with another process.
HAMMER = """
    import os, sys, time
    from pathlib import Path
    from zarrts.conversion.lock import only_writer
    from zarrts.errors import PlanError

    root, inside, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    n_held = n_shared = 0
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with only_writer(root):
                n_held += 1
                try:
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    n_shared += 1
                    continue
                os.unlink(inside)
        except PlanError:
            pass
    print(n_held, n_shared, flush=True)
"""


@pytest.mark.parametrize("is_empty", [True, False])
def test_of_six_processes_only_one_writes_at_a_time(tmp_path: Path, is_empty: bool) -> None:
    root = tmp_path / "a.zarr"
    if not is_empty:  # or the folder is made and deleted again by each of them
        root.mkdir()
        (root / "kept").touch()
    command = [sys.executable, "-c", textwrap.dedent(HAMMER), str(root), str(tmp_path / "in"), "1"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(6)]
    for it in running:
        assert it.stdout.readline() == "ready\n"
    for it in running:
        it.stdin.write("go\n")
        it.stdin.flush()
    said = [it.communicate(timeout=60)[0].split() for it in running]
    assert [it.returncode for it in running] == [0] * 6
    assert sum(int(n_held) for n_held, _ in said) > 20
    assert sum(int(n_shared) for _, n_shared in said) == 0


def test_the_file_of_a_lock_stays_the_same_as_long_as_anything_lies_beside_it(
    tmp_path: Path,
) -> None:
    root = tmp_path / "a.zarr"
    with only_writer(root):
        (root / "kept").touch()
        before = (root / LOCK).stat().st_ino
    for _ in range(3):
        assert (root / LOCK).stat().st_ino == before
        with only_writer(root):
            assert (root / LOCK).stat().st_ino == before
    (root / "kept").unlink()
    with only_writer(root):
        pass
    assert not list(root.iterdir())


def test_a_filelock_that_lets_two_in_is_not_installed_with_it() -> None:
    # Before 4, processes that wait for a lock whose file is deleted get in beside its holder.
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'"filelock>=4(\.\d+)*"', text)


# Two at once -------------------------------------------------------------------------------------


def stop_after(n_rows: int) -> Callable[[int], None]:
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        if done >= n_rows:
            raise KeyboardInterrupt

    return on_rows


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "subjects", sizes=(20, 31))


def recording(name: str, seed: int) -> zarrts.Recording:
    rng = np.random.default_rng(seed)
    return zarrts.Recording(name, rng.normal(size=(40, 6, 3)).astype("f4"), np.arange(40) % 3)


def test_an_append_while_another_one_runs_says_so(tmp_path: Path, study: Study) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, chunk=400, shard=1200, progress=False).close()
    said = []

    def append_another(n_rows: int) -> None:
        if not said:
            with pytest.raises(PlanError) as caught:
                zarrts.append(target, recording("bea", 1), progress=False)
            said.append(str(caught.value))

    running = prepare_append(recording("ann", 0), target, ConvertOptions(workers=1))
    conversion.run(running, append_another)
    assert re.search("another conversion is writing to it; wait until it ends", said[0])
    zarrts.append(target, recording("bea", 1), progress=False).close()


@pytest.mark.parametrize("is_late", [True, False])
def test_an_append_while_another_one_has_finished_parts_says_so_as_well(
    tmp_path: Path, study: Study, is_late: bool
) -> None:
    target = tmp_path / "a.zarr"
    zarrts.convert(study.folder, target, chunk=400, shard=1200, progress=False).close()
    said, n_done = [], 0

    def append_another(n_rows: int) -> None:
        nonlocal n_done
        n_done += n_rows
        if not said and n_done > 30:  # there is a journal by now, with a finished part
            with pytest.raises(PlanError) as caught:
                zarrts.append(target, recording("bea", 1), progress=False)
            said.append(str(caught.value))

    running = prepare_append(recording("ann", 0), target, ConvertOptions(workers=1))
    conversion.run(running, append_another)
    assert "another conversion is writing to it" in said[0]
    assert "unfinished" not in said[0]


def test_a_conversion_of_other_sources_that_was_stopped_is_still_told_apart(
    tmp_path: Path, study: Study
) -> None:
    target = tmp_path / "a.zarr"
    options = ConvertOptions(chunk_bytes=400, shard_bytes=1200, workers=1)
    with pytest.raises(KeyboardInterrupt):
        conversion.run(prepare(str(study.folder), target, options), stop_after(40))
    with pytest.raises(PlanError, match="holds an unfinished conversion of other sources"):
        zarrts.convert([recording("ann", 0)], target, chunk=400, shard=1200, progress=False)
