#!/usr/bin/env bash
# Dask loses a third of the data if its chunks are those that a sharded Zarr array calls chunks.
#
# Expected: blocks that are aligned with z.chunks can be written at once, as in Zarr 2.
# Seen (Dask 2026.8.0, zarr 3.4.2): z.chunks are the inner chunks of a shard. Two tasks that write
# into one shard each read it, change it and write it back; the later one wins. No error, no warning.
# Aligned to z.shards all is right.
# Source: a shard is one object, which is written as a whole.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    zarr==3.4.2 numcodecs==0.17.1 numpy==2.4.6 dask==2026.8.0

venv/bin/python - <<'EOF'
from importlib.metadata import version

import dask.array
import numpy as np
import zarr

print("dask", version("dask"), "zarr", zarr.__version__)
values = np.arange(4000, dtype="i4")
wrong = {}
for name in ("chunks", "shards"):
    array = zarr.create_array(
        f"{name}.zarr", shape=(4000,), chunks=(10,), shards=(1000,), dtype="i4", fill_value=-1
    )
    blocks = dask.array.from_array(values, chunks=getattr(array, name))
    with dask.config.set(scheduler="threads", num_workers=4):
        dask.array.store(blocks, array, lock=False)
    wrong[name] = float((array[:] != values).mean())
    print(f"aligned to {name}: {wrong[name]:.0%} of the values are wrong")
assert wrong["chunks"] > 0 and wrong["shards"] == 0
EOF
