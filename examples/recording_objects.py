"""Convert files of any other format: here CSV, one line a time step, the label in the last column.

python examples/recording_objects.py csv/ csv.zarr --length 128
"""

import argparse
from pathlib import Path

import numpy as np

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", default="csv", type=Path, help="one .csv a subject")
parser.add_argument("store", nargs="?", default="csv.zarr", type=Path)
parser.add_argument("--length", type=int, default=128, help="time steps of a sample")
args = parser.parse_args()


def read(path: Path) -> zarrts.Recording:
    """Return the samples of one subject: whole, without overlap."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32)
    n_samples = len(table) // args.length
    samples = table[: n_samples * args.length].reshape(n_samples, args.length, -1)
    x, label = samples[..., :-1], samples[..., -1]
    # A sample that two classes share would teach neither.
    is_pure = (label == label[:, :1]).all(axis=1)
    return zarrts.Recording(path.stem, x[is_pure], label[is_pure, 0].astype(int))


# CSV has to be parsed whole. Arrays that can be sliced where they lie (np.load with mmap_mode,
# h5py, zarr, Dask) may be larger than memory: they are read piece by piece.
recordings = [read(path) for path in sorted(args.folder.glob("*.csv"))]
if not recordings:
    parser.error(f"no .csv files in {args.folder}")
print(zarrts.convert(recordings, args.store))
