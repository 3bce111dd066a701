"""Convert the files of a study into one compressed store, and say what it holds.

python examples/convert_study.py subjects/ study.zarr
"""

import argparse

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("source", nargs="?", default="subjects", help="folder of .npz or .npy files")
parser.add_argument("store", nargs="?", default="study.zarr", help="where the store is made")
parser.add_argument("--memory", default="1GiB", help="what the conversion may take")
args = parser.parse_args()

# The files may be far larger than memory. A second run finds the store complete, and only opens it.
store = zarrts.convert(args.source, args.store, memory=args.memory)
print(f"{store.n_samples:,} samples of {store.sample_shape} from {len(store.subjects)} subjects")
print("classes:", *store.class_names or ["none, the labels are numbers"])
