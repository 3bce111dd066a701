"""Samples per second of two inputs of half the width each, beside one input of all of it.

    python benchmarks/inputs.py --gib 2

Both stores hold the same values, and are read within the same memory, in epochs of a random order.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--gib", type=float, default=1.0, help="of values")
parser.add_argument("--memory", default="256MiB")
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()

SHAPE, N_SUBJECTS = (128, 32), 8


def study(parts: int) -> list[zarrts.Recording]:
    """Return subjects whose channels are in one input, or in as many as `parts`."""
    n_samples = int(args.gib * 2**30) // (4 * SHAPE[0] * SHAPE[1] * N_SUBJECTS)
    found = []
    for number in range(N_SUBJECTS):
        rng = np.random.default_rng(number)
        x = rng.normal(size=(n_samples, *SHAPE)).astype(np.float32)
        split = dict(zip("abcdefgh", np.split(x, parts, axis=2), strict=False))
        inputs = split if parts > 1 else x
        found.append(zarrts.Recording(f"s{number}", inputs, np.arange(n_samples) % 5))
    return found


def rate(samples: zarrts.Samples, epoch: int) -> float:
    """Return samples per second of an epoch."""
    started, n_samples = time.perf_counter(), 0
    for batch in samples.batches(128, seed=0, epoch=epoch, memory=args.memory, dtype="float32"):
        n_samples += len(batch.sample_id)
    return n_samples / (time.perf_counter() - started)


with tempfile.TemporaryDirectory() as folder:
    stores = {}
    for parts in (1, 2):
        path = Path(folder, f"{parts}.zarr")
        stores[parts] = zarrts.convert(study(parts), path, pack=False, progress=False)
    found: dict[int, list[float]] = {1: [], 2: []}
    for epoch in range(args.rounds + 1):  # the first of each touches its memory
        for parts, store in stores.items():
            found[parts].append(rate(store.samples, epoch))
    best = {parts: max(it[1:]) for parts, it in found.items()}
    for parts, samples_per_s in best.items():
        print(f"{parts} input{'s' if parts > 1 else ' '}  {samples_per_s:10,.0f} samples/s")
    print(f"two inputs run at {best[2] / best[1]:.2f} of the rate of one")
