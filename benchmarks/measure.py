"""Measurements that every script here takes: memory, shuffle noise, the machine's description."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MIB = 1 << 20
SAMPLE_PERIOD_S = 0.02
PROPERTIES = ("subject", "slow drift", "neighbours", "sorted by class")


def read_status(pid: int | str = "self") -> dict[str, int]:
    """The sizes of /proc/PID/status, in bytes; empty where the system has no such file."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def shards(store: Path) -> list[Path]:
    """The files of a store that hold samples and labels."""
    return sorted(it for it in store.rglob("c/**/*") if it.is_file())


def forget(files: list[Path]) -> None:
    """Drop files from the page cache; what is not on the disk yet is written first."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def children(pid: int | str = "self") -> list[int]:
    """Direct child processes, which some loaders use as workers."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return found


def anonymous_bytes() -> int:
    """Anonymous memory of this process and its children; 0 where the system does not say."""
    pids: list[int | str] = ["self", *children()]
    return sum(read_status(pid).get("RssAnon", 0) for pid in pids)


def high_water_bytes() -> int:
    """Largest resident size so far, page cache of mapped files included."""
    if status := read_status():
        return status.get("VmHWM", 0)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class PeakMemory:
    """Samples anonymous memory every 20 ms while it is entered.

    `peak_bytes` is the largest value seen, minus the value at entry. On a system without RssAnon
    it is the growth of the resident high-water mark, and `how` says so.
    """

    def __enter__(self) -> Self:
        self.how = "RssAnon" if "RssAnon" in read_status() else "VmHWM"
        self._base = self._read()
        self._peak = self._base
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._peak = max(self._peak, self._read())

    @property
    def base_bytes(self) -> int:
        return self._base

    @property
    def peak_bytes(self) -> int:
        return self._peak - self._base

    def _read(self) -> int:
        return anonymous_bytes() if self.how == "RssAnon" else high_water_bytes()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_PERIOD_S):
            self._peak = max(self._peak, self._read())


class MemoryGroup:
    """A control group (version 1, as root) that limits processes, their page cache included.

    A process joins by writing its id to `joining`. Raises OSError where there is no such group.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._folder = Path("/sys/fs/cgroup/memory") / f"zarrts-{os.getpid()}"
        self._folder.mkdir()
        (self._folder / "memory.limit_in_bytes").write_text(str(limit_bytes))

    @property
    def joining(self) -> Path:
        return self._folder / "cgroup.procs"

    def peak_bytes(self) -> int:
        """Largest use since the last call."""
        peak = self._folder / "memory.max_usage_in_bytes"
        found = int(peak.read_text())
        peak.write_text("0")
        return found

    def close(self) -> None:
        self._folder.rmdir()


def properties(lengths: list[int], seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Four values per sample of a study in source order, each with mean 0 and variance 1.

    What a batch mean should average out: a value per subject, a slow and a fast drift along the
    recording, and a class by which the study is sorted.
    """
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    found = {
        "subject": np.repeat(rng.standard_normal(len(lengths)), lengths),
        "slow drift": _drift(rng, n, 2000),
        "neighbours": _drift(rng, n, 50),
        "sorted by class": np.floor(np.arange(n) * 6 / n),
    }
    return {name: (value - value.mean()) / (value.std() or 1.0) for name, value in found.items()}


def _drift(rng: np.random.Generator, n: int, length: int) -> NDArray[np.float64]:
    """A stationary first-order process that forgets over `length` samples."""
    keep = np.exp(-1 / length)
    steps = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    out, state = np.empty(n), float(rng.standard_normal())
    for i, step in enumerate(steps.tolist()):
        state = keep * state + step
        out[i] = state
    return out


def variance_inflation(
    batches: list[NDArray[np.int64]], values: NDArray[np.float64], batch_size: int
) -> float:
    """Variance of batch means over that of a random order: 1 is as good as a full shuffle.

    `batches` holds the sample ids of each batch; a batch that is not full is left out.
    """
    full = [ids for ids in batches if len(ids) == batch_size]
    means = values[np.stack(full)].mean(axis=1)
    return float(means.var() * batch_size)


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine(distributions: tuple[str, ...] = ()) -> dict[str, Any]:
    """Describe the machine, to compare figures: processor, cores, memory, versions, date."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(_memory_bytes() / (1 << 30), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in distributions},
        "date": date.today().isoformat(),
    }


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def in_fresh_process(command: list[str], result: Path, timeout_s: float) -> dict[str, Any]:
    """Run a Python script that writes JSON to `result`; return it, or {"error": last lines}."""
    result.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, *command, "--result", str(result)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {timeout_s:.0f} s"}
    if result.exists():
        return dict(json.loads(result.read_text()))
    tail = done.stderr.strip().splitlines()[-3:] or ["no message"]
    return {"error": f"exit status {done.returncode}: " + " / ".join(tail)}
