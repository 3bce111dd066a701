"""Memory and rate of converting one large file of objects, or very many small files.

    python benchmarks/sources.py objects --size 2GB
    python benchmarks/sources.py classes --files 20000

Each prints the peak of anonymous memory (Linux) and the rate beside a bare read of the same files.
"""

import argparse
import shutil
import threading
import time
from pathlib import Path

import numpy as np

import zarrts
from zarrts.sizes import format_size, parse_size

STEPS, CHANNELS = 128, 32


class PeakMemory:
    """Watches anonymous memory from a thread."""

    def __enter__(self):
        self.peak = self.before = self.now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self.now())

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @staticmethod
    def now():
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        return 0


def write_objects(folder, size):
    """Save [X, y] as one object, a piece at a time, as `np.save` would."""
    n = size // (STEPS * CHANNELS * 4)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (n, STEPS, CHANNELS))
    rng = np.random.default_rng(0)
    for start in range(0, n, 1000):
        x[start : start + 1000] = rng.integers(-500, 500, x[start : start + 1000].shape)
    both = np.empty(2, dtype=object)
    both[:] = [np.asarray(x), rng.integers(0, 5, n)]
    np.save(folder / "subject.npy", both)
    del x, both
    (folder / "x.npy").unlink()


def write_classes(folder, n_files):
    rng = np.random.default_rng(0)
    for i in range(n_files):
        path = folder / f"s{i % 20:02}" / "abcde"[i % 5]
        path.mkdir(parents=True, exist_ok=True)
        series = rng.integers(-500, 500, (STEPS, CHANNELS)).astype(np.float32)
        np.save(path / f"{i:06}.npy", series)


def bare_read(folder):
    """Read every file once; return bytes and seconds."""
    started, total = time.perf_counter(), 0
    for path in sorted(folder.rglob("*.npy")):
        with path.open("rb", buffering=0) as file:
            while piece := file.read(1 << 20):
                total += len(piece)
    return total, time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=["objects", "classes"])
    parser.add_argument("--size", default="2GB")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--folder", type=Path, default=Path("sources-benchmark"))
    options = parser.parse_args()
    folder = options.folder / options.study
    if not folder.exists():
        folder.mkdir(parents=True)
        if options.study == "objects":
            write_objects(folder, parse_size(options.size, "size"))
        else:
            write_classes(folder, options.files)
    target = options.folder / f"{options.study}.zarr"
    shutil.rmtree(target, ignore_errors=True)
    total, seconds = bare_read(folder)
    print(f"bare read   {format_size(total)} in {seconds:.1f} s")
    folders = "subjects/classes" if options.study == "classes" else "auto"
    with PeakMemory() as memory:
        started = time.perf_counter()
        zarrts.convert(folder, target, folders=folders, memory=options.memory, progress=False)
        seconds = time.perf_counter() - started
    print(f"conversion  {format_size(total)} in {seconds:.1f} s")
    grown = format_size(memory.peak - memory.before)
    print(f"memory      {format_size(memory.peak)} at most, {grown} more than before")


if __name__ == "__main__":
    main()
