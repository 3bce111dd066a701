#!/usr/bin/env bash
# A Zarr array that is made shorter and longer again shows the values that were cut off.
#
# Expected: fill values in the new part.
# Seen (zarr 3.4.2): resize deletes chunks (with sharding: shards) that lie outside as a whole; the
# rest of the last one stays, and is seen again by the next resize. Only append covers it.
# Source: zarr/core/array.py, resize, delete_outside_chunks.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    zarr==3.4.2 numcodecs==0.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import zarr

print("zarr", zarr.__version__)
back = {}
for name, shards in (("chunks of 10", None), ("shards of 20", (20,))):
    array = zarr.create_array(
        f"{name}.zarr", shape=(40,), chunks=(10,), shards=shards, dtype="i2", fill_value=-1
    )
    array[:] = np.arange(40)
    array.resize((22,))
    array.resize((40,))
    back[name] = int((array[22:] != -1).sum())
    print(f"{name}: 40 to 22 to 40 rows, {back[name]} of 18 removed values are back")
assert back == {"chunks of 10": 8, "shards of 20": 18}
EOF
