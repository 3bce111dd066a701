"""Examples of several processes or devices run in as many; see test_examples.py."""

import os
import re
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
N_SAMPLES, N_TRAIN, N_EPOCHS = 1600, 1200, 5  # one subject of four tests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study.zarr."""
    path = tmp_path_factory.mktemp("processes")
    size = ["--subjects", "4", "--samples", str(N_SAMPLES), "--time", "64", "--channels", "4"]
    run(path, "make_subjects.py", *size)
    run(path, "convert_study.py", "--memory", "256MiB")
    return path


def start(folder: Path, *command: str, **variables: str) -> "subprocess.Popen[str]":
    """Start a program of Python's in a folder."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *command],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_by(*running: "subprocess.Popen[str]") -> list[str]:
    """Wait for programs, and return what each said."""
    try:
        said = [it.communicate(timeout=240) for it in running]
    finally:
        for it in running:
            it.kill()
    assert [it.returncode for it in running] == [0] * len(running), "\n".join(
        err for _, err in said
    )
    return [out for out, _ in said]


def run(folder: Path, name: str, *options: str, **variables: str) -> str:
    return said_by(start(folder, str(EXAMPLES / name), *options, **variables))[0]


def assert_learned(said: str) -> None:
    found = re.search(r"s03: (\d\.\d\d) correct$", said, re.MULTILINE)
    assert found, said
    assert float(found[1]) > 0.8  # five classes, so that guessing gives 0.2


def samples_of(said: str) -> dict[int, int]:
    """Return how many samples each process says it trained on."""
    return {int(a): int(b) for a, b in re.findall(r"^process (\d+): (\d+) ", said, re.MULTILINE)}


@pytest.mark.parametrize("how", ["fork", "forkserver", "spawn"])
def test_workers_of_torch_read(folder: Path, how: str) -> None:
    pytest.importorskip("torch")
    if how != "spawn" and sys.platform == "win32":
        pytest.skip("Windows spawns")
    said = run(folder, "torch_loop.py", "--workers", "2", "--start", how)
    assert samples_of(said) == {0: N_TRAIN}
    assert_learned(said)


def test_torchrun_shares_each_epoch_among_two_processes(folder: Path) -> None:
    pytest.importorskip("torch")
    options = ["--standalone", "--nproc-per-node", "2", str(EXAMPLES / "torch_loop.py")]
    (said,) = said_by(start(folder, "-m", "torch.distributed.run", *options))
    assert samples_of(said) == {0: N_TRAIN // 2, 1: N_TRAIN // 2}
    assert_learned(said)


@pytest.mark.parametrize("n_processes", [1, 2])
def test_jax_shares_each_epoch_among_processes(folder: Path, n_processes: int) -> None:
    pytest.importorskip("jax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--processes", str(n_processes), "--coordinator", f"127.0.0.1:{port}"]
    command = [str(EXAMPLES / "jax_processes.py"), *options, "--process"]
    running = [start(folder, *command, str(number)) for number in range(n_processes)]
    said = "".join(said_by(*running))
    each = N_TRAIN // n_processes // 32 * 32 * N_EPOCHS  # whole batches only
    assert samples_of(said) == dict.fromkeys(range(n_processes), each)
    assert_learned(said)


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_keras_divides_batches_among_two_devices(folder: Path, backend: str) -> None:
    if find_spec("keras") is None or find_spec(backend) is None:
        pytest.skip(f"needs Keras and {backend}")
    said = run(folder, "keras_devices.py", "--devices", "2", KERAS_BACKEND=backend)
    assert said.startswith("2 devices; ")
    assert_learned(said)
