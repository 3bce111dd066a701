"""Anonymous memory of batches with each option that keeps or works on more than a batch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zarrts
from zarrts.sizes import parse_size

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="the system does not tell RssAnon"
    ),
]
MIB = 1 << 20
N_ROWS, N_SAMPLES = 4_000_000, 6
OF_THE_PROCESS = 24 * MIB  # threads, and libraries that come late

PEAK = """
import sys, threading, time
import numpy as np
import zarrts

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(it.split()[1]) << 10 for it in lines if it.startswith("RssAnon"))

path, window, memory, options = sys.argv[1:]
store = zarrts.open(path)
samples = store.samples.windows(int(window), label="last") if int(window) else store.samples
size = 128 if int(window) else 1
next(samples.batches(size, memory="1GiB", shuffle=False)).x  # all that it imports is there now
before = anonymous()
peak, stop = [before], threading.Event()

def watch():
    while not stop.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.002)

thread = threading.Thread(target=watch, daemon=True)
thread.start()
try:
    with samples.batches(size, memory=memory, **eval(options)) as batches:
        for _, batch in zip(range(20), batches):
            float(batch.x[0].sum())
finally:
    stop.set()
    thread.join()
print(peak[0] - before)
"""


def peak_of(path: Path, window: int, memory: str, options: str, loops: str = "") -> int:
    command = [sys.executable, "-c", PEAK, str(path), str(window), memory, options]
    environment = {**os.environ, **({"ZARRTS_COMPILED": loops} if loops else {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Millions of windows, of which whatever is kept of each is much."""
    path = tmp_path_factory.mktemp("long") / "a.zarr"
    rng = np.random.default_rng(0)
    n = N_ROWS // 4
    recordings = [
        zarrts.Recording(f"p{it}", rng.standard_normal((n, 1)).astype("f4"), np.arange(n) // 9 % 5)
        for it in range(4)
    ]
    zarrts.convert(recordings, path, kind="ragged", pack=False, progress=False).close()
    return path


@pytest.mark.parametrize("option", ["class", "subject", "class+subject"])
def test_a_balanced_epoch_of_millions_keeps_to_its_budget(long: Path, option: str) -> None:
    peak = peak_of(long, 8, "80MiB", f"dict(balance={option!r})")
    assert peak <= 80 * MIB + OF_THE_PROCESS


def test_groups_that_are_given_take_no_more_than_their_budget(long: Path) -> None:
    options = "dict(balance=np.arange(len(samples), dtype='i2') % 7)"
    assert peak_of(long, 8, "80MiB", options) <= 80 * MIB + OF_THE_PROCESS


def test_a_budget_that_cannot_hold_the_order_is_refused_with_the_number(long: Path) -> None:
    with zarrts.open(long) as store:
        samples = store.samples.windows(8, label="last")
        for option in ("class", "subject"):
            with pytest.raises(zarrts.SampleError, match=r"balance= keeps 31MiB .* least 62MiB"):
                samples.batches(128, memory="32MiB", balance=option)
        with pytest.raises(zarrts.SampleError, match=r"order= keeps 245MiB .* at least 489MiB"):
            samples.batches(128, memory="64MiB", order=np.arange(len(samples)))


def test_samples_that_are_scaled_by_their_own_take_no_more_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_SAMPLES, 40_000, 128), dtype="f4")  # 20 MB each
    labels = np.arange(N_SAMPLES) % 2
    zarrts.convert([zarrts.Recording("p", x, labels)], path, pack=False, progress=False).close()
    for loops in ("", "0"):
        plain = peak_of(path, 0, "160MiB", "{}", loops)
        for options in ("dict(stats='sample')", "dict(stats='sample', scale='minmax')"):
            assert peak_of(path, 0, "160MiB", options, loops) <= plain + 8 * MIB


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight samples of 50 MB, as values that compress, as random ones, and as counts."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    labels = np.arange(8) % 2
    for name, pack in (("values", False), ("random", False), ("counts", "auto")):
        x = rng.standard_normal((8, 100_000, 125), dtype="f4")
        if name != "random":
            x = np.round(x * 1000) * np.float32(0.1)
        recording = zarrts.Recording("p", x, labels)
        zarrts.convert([recording], folder / name, pack=pack, progress=False).close()
        del x, recording
    return folder


@pytest.mark.parametrize("loops", ["", "0"], ids=["as they are", "NumPy"])
@pytest.mark.parametrize("name", ["values", "random", "counts"])
@pytest.mark.parametrize(
    "options",
    [
        "",
        "shuffle=False",
        "dtype='float16'",
        "dtype='float16', stats=samples.stats()",
        "stats='sample'",
        "stats='sample', dtype='float16'",
        "stats='sample', scale='minmax', nan='fill'",
        "stats='sample', scale='robust'",
    ],
)
def test_samples_of_50_mb_keep_to_a_tight_budget(
    large: Path, name: str, options: str, loops: str
) -> None:
    """All that is taken is within the budget, or the call is refused with what is enough."""
    memory, said = "250MiB", ""
    try:
        peak = peak_of(large / name, 0, memory, f"dict({options})", loops)
    except AssertionError as refused:
        said = str(refused)
        found = re.search(r"memory=250MiB is too little .* raise memory to at least (\d+)MiB", said)
        assert found, said
        memory = f"{found[1]}MiB"
        assert int(found[1]) < 450
        peak = peak_of(large / name, 0, memory, f"dict({options})", loops)
    assert peak <= parse_size(memory, "memory") + 4 * MIB
    if not said:  # what is left beside units that are kept is not left unused
        assert peak > 100 * MIB


REPORT = """
import sys, threading, time
from zarrts.report import write_report

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(it.split()[1]) << 10 for it in lines if it.startswith("RssAnon"))

short, long, out = sys.argv[1:]
write_report(short, out)  # all that it imports is there now
before = anonymous()
peak, stop = [before], threading.Event()

def watch():
    while not stop.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.002)

thread = threading.Thread(target=watch, daemon=True)
thread.start()
try:
    write_report(long, out)
finally:
    stop.set()
    thread.join()
print(peak[0] - before)
"""


def test_a_report_of_long_recordings_takes_no_more_than_one_of_short_ones(
    long: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra plot")
    short = tmp_path / "short.zarr"
    rng = np.random.default_rng(0)
    recordings = [
        zarrts.Recording(f"p{it}", rng.standard_normal((999, 1)).astype("f4"), np.arange(999) % 5)
        for it in range(4)
    ]
    zarrts.convert(recordings, short, kind="ragged", pack=False, progress=False).close()
    command = [sys.executable, "-c", REPORT, str(short), str(long), str(tmp_path / "r.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # A million labels of each recording are 8 MB, its values 4; of both, pieces are read.
    assert int(done.stdout) <= 32 * MIB
