"""Time a conversion with steps against the bare arithmetic of its steps, on arrays in memory.

    python benchmarks/steps.py --work DIR [--minutes 60] [--rounds 5]

Eight recordings of 16 channels at 256 Hz, as .npy files in the page cache, band-pass of 1 to 40 Hz,
then 100 Hz. "bare" has them in RAM, filters with the same coefficients (scipy.signal.oaconvolve)
and resamples (scipy.signal.resample_poly) in as many threads, and writes nothing. "plain" converts
without steps. Each way is a fresh process, timed once its libraries are imported; rounds alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import MIB, PeakMemory, in_fresh_process, machine

LIMIT_S = 3600.0
RECORDINGS, CHANNELS, RATE_HZ = 8, 16, 256
STEPS = [("filter", 1, 40), ("resample", "100Hz")]
WAYS = ("bare", "plain", "steps")


def make_recordings(folder: Path, minutes: float) -> int:
    """Write noise that drifts, and return how many bytes of it there are."""
    folder.mkdir(parents=True, exist_ok=True)
    n_rows = int(minutes * 60 * RATE_HZ)
    for number in range(RECORDINGS):
        rng = np.random.default_rng(number)
        path = folder / f"s{number:02}.npz"
        if not path.exists():
            x = rng.normal(0, 10, (n_rows, CHANNELS)).cumsum(axis=0).astype(np.float32)
            np.savez(path, x=x, y=np.zeros(1, np.int8), fs=RATE_HZ)
    return RECORDINGS * n_rows * CHANNELS * 4


def convert(folder: Path, target: Path, threads: int, steps: list[Any]) -> None:
    import zarrts

    options = {"kind": "ragged", "workers": threads, "progress": False, "steps": steps}
    zarrts.convert(str(folder), str(target), **options).close()


def bare(arrays: list[Any], threads: int) -> None:
    from scipy import signal

    from zarrts.sources.step_options import Filter
    from zarrts.sources.steps.filters import response_of, taps_of

    taps = taps_of(response_of(Filter.of(1, 40), RATE_HZ))[:, None]

    def process(x: Any) -> Any:
        filtered = signal.oaconvolve(x.astype(np.float64), taps, mode="same", axes=0)
        return signal.resample_poly(filtered, 25, 64, window=("kaiser", 7.86)).astype(np.float32)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(process, arrays))


def run_way(way: str, work: Path, threads: int) -> dict[str, Any]:
    import scipy.signal  # noqa: F401 - imported before the clock starts

    import zarrts.api
    import zarrts.conversion.run  # noqa: F401

    folder, target = work / "source", work / "target.zarr"
    shutil.rmtree(target, ignore_errors=True)
    arrays = []
    if way == "bare":
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as file:
                arrays.append(file["x"])
    with PeakMemory() as memory:
        start = time.perf_counter()
        if way == "bare":
            bare(arrays, threads)
        else:
            convert(folder, target, threads, STEPS if way == "steps" else [])
        seconds = time.perf_counter() - start
    shutil.rmtree(target, ignore_errors=True)
    return {"seconds": seconds, "peak_bytes": memory.peak_bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--minutes", type=float, default=60, help="of each recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        args.result.write_text(json.dumps(run_way(args.way, args.work, args.threads)))
        return
    raw_bytes = make_recordings(args.work / "source", args.minutes)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way, results in found.items():
            command = [str(Path(__file__).resolve()), "--work", str(args.work), "--way", way]
            command += ["--threads", str(args.threads)]
            results.append(in_fresh_process(command, args.work / "way.json", LIMIT_S))
            print(f"round {number + 1} {way}: {results[-1]['seconds']:.2f} s")
    print(f"\n{machine()}, {raw_bytes / 1e9:.1f} GB, {args.threads} threads\n")
    print("| way | MB/s (min to max) | time, of the bare arithmetic | peak MiB |")
    print("|---|--:|--:|--:|")
    for way, results in found.items():
        rates = [raw_bytes / it["seconds"] / 1e6 for it in results]
        pairs = zip(results, found["bare"], strict=True)
        ratio = median(it["seconds"] / base["seconds"] for it, base in pairs)
        peak = max(it["peak_bytes"] for it in results) / MIB
        shown = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"| {way} | {shown} | {ratio:.2f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
