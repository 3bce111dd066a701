"""Steps on a recording that is far larger than the budget of memory."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

CODE = """
import sys, threading, time
import numpy as np
import zarrts

ROWS, CHANNELS, RATE = {rows}, 16, 256
BLOCK = np.random.default_rng(0).normal(0, 20, (4096, CHANNELS)).astype(np.float32)

class Long:
    shape, dtype = (ROWS, CHANNELS), np.dtype(np.float32)
    def __call__(self, start, stop):
        numbers = np.arange(start, stop)
        return BLOCK[numbers % 4096] + (numbers // 4096 % 97)[:, None].astype(np.float32)

def anonymous_kib():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

peak, is_over = 0, False
def watch():
    global peak
    while not is_over:
        peak = max(peak, anonymous_kib())
        time.sleep(0.01)

warm = np.zeros((4000, CHANNELS), np.float32)  # imports, and threads, are no memory of steps
steps = [("clean", {{"amplitude": 1e6}}), ("filter", 0.5, 40), ("resample", 100), ("notch", 20)]
for name, x in (("warm", warm), ("long", Long())):
    before = anonymous_kib()
    peak = before
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    recording = zarrts.Recording("s01", x, 0, rate_hz=RATE)
    zarrts.convert(
        [recording], sys.argv[1] + f"/{{name}}.zarr", kind="ragged", steps=steps, memory="128MiB",
        shard="16MiB", workers=2, progress=False,
    ).close()
    is_over = True
    thread.join()
    is_over = False
print(peak - before)
"""


def peak_kib(folder, rows):
    """Return by how much memory grew while so many rows of 64 bytes were converted."""
    code = textwrap.dedent(CODE.format(rows=rows))
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=1500
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what memory a process has")
def test_steps_take_no_more_memory_of_a_longer_recording(tmp_path):
    assert peak_kib(tmp_path, 1_000_000) < 128 * 1024


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what memory a process has")
def test_steps_on_two_gigabytes_stay_in_their_budget(tmp_path):
    import zarrts

    rows = 32 * 2**20
    assert peak_kib(tmp_path, rows) < 128 * 1024
    with zarrts.open(tmp_path / "long.zarr") as store:
        assert store.samples.selection.store.header.segments[0].n_rows == -(-rows * 100 // 256)
        assert np.isfinite(store.samples.stats().mean).all()
