"""Time conversions of one study: zarrts, its floor, Dask's to_zarr, and a TFRecord writer.

    python benchmarks/conversion.py --work DIR [--samples 122070] [--rounds 5]

Each conversion is a fresh process, timed once its libraries are imported; rounds alternate over
the ways, and what one wrote is deleted before the next begins. Sources are in the page cache, where
they fit. The floor reads the same bytes, compresses them with the same codec and checksum in as
many threads, and writes and syncs files of the same size: no statistics, labels, checks of the
sources or journal.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import MIB, PeakMemory, in_fresh_process, machine
from work import Source, make_source

LIMIT_S = 3600.0
CHUNK_ROWS, SHARD_CHUNKS = 64, 64
MEMORY = "1GiB"


def zarrts_convert(source: Source, target: Path, threads: int) -> None:
    import zarrts

    zarrts.convert(
        str(source.folder), str(target), memory=MEMORY, workers=threads, progress=False
    ).close()


def floor(source: Source, target: Path, threads: int) -> None:
    from awscrt.checksums import crc32c
    from numcodecs import blosc

    blosc.use_threads = False
    target.mkdir()
    paths = sorted(source.folder.glob("s*_x.npy"))
    arrays = [np.load(path, mmap_mode="r") for path in paths]
    step = CHUNK_ROWS * SHARD_CHUNKS
    parts = [
        (path, array.offset, start, min(start + step, len(array)), array[0].nbytes)
        for path, array in zip(paths, arrays, strict=True)
        for start in range(0, len(array), step)
    ]

    def write(number: int) -> None:
        path, offset, start, stop, row_bytes = parts[number]
        with open(path, "rb", buffering=0) as file, open(target / str(number), "wb") as out:
            file.seek(offset + start * row_bytes)
            buffer = np.empty(CHUNK_ROWS * row_bytes // 4, np.float32)
            for first in range(start, stop, CHUNK_ROWS):
                chunk = buffer[: (min(first + CHUNK_ROWS, stop) - first) * row_bytes // 4]
                file.readinto(chunk.data)
                encoded = blosc.compress(chunk, b"lz4", 5, 1)
                out.write(encoded)
                out.write(crc32c(encoded).to_bytes(4, "little"))
            out.flush()
            os.fsync(out.fileno())

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(len(parts))))


def dask_to_zarr(source: Source, target: Path, threads: int) -> None:
    """Dask as its documentation writes it: concatenate memory maps, rechunk, to_zarr."""
    import dask
    import dask.array as da

    arrays = [
        da.from_array(np.load(path, mmap_mode="r"), chunks=(CHUNK_ROWS * 16, -1, -1))
        for path in sorted(source.folder.glob("s*_x.npy"))
    ]
    with dask.config.set(scheduler="threads", num_workers=threads):
        da.concatenate(arrays).rechunk((CHUNK_ROWS, -1, -1)).to_zarr(str(target))


def tfrecord(source: Source, target: Path, threads: int) -> None:
    from peers import tfdata

    target.mkdir()
    tfdata.prepare(target, source)


# The function that converts, its title, and the modules that it imports.
WAYS: dict[str, tuple[Callable[[Source, Path, int], None], str, tuple[str, ...]]] = {
    "zarrts": (zarrts_convert, "zarrts.convert", ("zarrts.api", "dask.delayed", "zarr")),
    "floor": (
        floor,
        "floor: read, lz4, crc32c, write, fsync",
        ("numcodecs.blosc", "awscrt.checksums"),
    ),
    "dask": (dask_to_zarr, "dask.array.to_zarr", ("dask.array", "zarr")),
    "tfrecord": (tfrecord, "TFRecordWriter, uncompressed, one thread", ("tensorflow",)),
}


def run_way(way: str, folder: Path, threads: int) -> dict[str, Any]:
    """Do one conversion in this process."""
    target = folder / f"out-{way}"
    shutil.rmtree(target, ignore_errors=True)
    convert, _, modules = WAYS[way]
    for module in modules:
        package = module.partition(".")[0]
        if find_spec(package) is None:
            return {"error": f"{package} is not installed"}
        import_module(module)
    with PeakMemory() as memory:
        start = time.perf_counter()
        convert(Source(folder / "source"), target, threads)
        seconds = time.perf_counter() - start
    stored = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    shutil.rmtree(target)
    return {"seconds": seconds, "peak_bytes": memory.peak_bytes, "stored_bytes": stored}


def report(found: dict[str, list[dict[str, Any]]], raw_bytes: int) -> str:
    lines = [
        "| way | MB/s of samples (min to max) | to the floor | peak MiB | stored |",
        "|---|--:|--:|--:|--:|",
    ]
    for way, results in found.items():
        name = WAYS[way][1]
        if "error" in results[0]:
            lines.append(f"| {name} | {results[0]['error']} | | | |")
            continue
        rates = [raw_bytes / it["seconds"] / 1e6 for it in results]
        ratio = ""
        if "error" not in found.get("floor", [{"error": ""}])[0]:
            ratios = [
                base["seconds"] / it["seconds"]
                for it, base in zip(results, found["floor"], strict=True)
            ]
            ratio = f"{median(ratios):.2f}"
        peak = max(it["peak_bytes"] for it in results) / MIB
        stored = results[0]["stored_bytes"] / raw_bytes
        lines.append(
            f"| {name} | {median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) | {ratio} "
            f"| {peak:,.0f} | {stored:.2f} |"
        )
    return "\n".join(lines)


def prepare(folder: Path, samples: int, data: str) -> Source:
    done, wanted = folder / "source.done", f"{samples} {data}"
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder / "source", ignore_errors=True)
        make_source(folder / "source", samples, 13, data)
        done.write_text(wanted)
    return Source(folder / "source")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all files; kept")
    parser.add_argument("--samples", type=int, default=122_070, help="of 16 KiB")
    parser.add_argument("--data", choices=("int16grid", "float32"), default="int16grid")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(WAYS), help="ways, separated by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        args.result.write_text(json.dumps(run_way(args.way, args.work, args.threads)))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    source = prepare(args.work, args.samples, args.data)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in args.only.split(",")}
    for number in range(args.rounds):
        for way, results in found.items():
            command = [str(Path(__file__).resolve()), "--work", str(args.work), "--way", way]
            command += ["--threads", str(args.threads)]
            result = in_fresh_process(command, args.work / "way.json", LIMIT_S)
            results.append(result)
            print(f"round {number + 1} {way}: {result.get('seconds', result.get('error'))}")
    raw_bytes = source.n_samples * 128 * 32 * 4
    print(f"\n{machine()}, {raw_bytes / 1e9:.1f} GB in 13 files, {args.threads} threads\n")
    print(report(found, raw_bytes))


if __name__ == "__main__":
    main()
