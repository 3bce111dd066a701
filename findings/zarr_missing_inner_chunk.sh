#!/usr/bin/env bash
# zarr-python, told to refuse missing chunks, still reads missing parts of a shard as fill values.
#
# Expected: an error wherever a chunk was never written.
# Seen (zarr 3.4.2): with array.read_missing_chunks set to False, a shard that is not there is an
# error, a chunk that is not there within a shard is zeros. An array that was filled in part has both.
# Source: zarr/codecs/sharding.py fills what its index marks as absent.
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
array = zarr.create_array("night.zarr", shape=(40,), chunks=(10,), shards=(20,), dtype="f4")
array[:10] = 1
with zarr.config.set({"array.read_missing_chunks": False}):
    array = zarr.open_array("night.zarr", mode="r")
    within = array[:20]
    try:
        array[20:]
    except Exception as error:
        print("missing shard:", type(error).__name__)
    else:
        raise AssertionError("a missing shard is read as fill values")
print("missing chunk in a shard:", within)
assert np.array_equal(within, np.repeat([1, 0], 10))
EOF
