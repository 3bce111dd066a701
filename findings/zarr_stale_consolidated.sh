#!/usr/bin/env bash
# Rows that were appended to an array stay invisible to who opens the group that holds it.
#
# Expected: the new shape, from whichever side one comes.
# Seen (zarr 3.4.2): consolidated metadata is a copy in the group, which appending to the array does
# not renew. zarr.open_group (and xarray, which goes through it) shows the old length, without new
# attributes; zarr.open_array the new one. Nothing says that they disagree.
# Source: the group's copy is preferred wherever it is there.
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
import warnings

import numpy as np
import zarr

print("zarr", zarr.__version__)
warnings.simplefilter("ignore")
zarr.open_group("night.zarr", mode="w").create_array("x", shape=(10,), chunks=(5,), dtype="i2")
zarr.consolidate_metadata("night.zarr")
array = zarr.open_array("night.zarr/x", mode="a")
array.append(np.ones(5, "i2"))
array.attrs["units"] = "uV"
through_group = zarr.open_group("night.zarr", mode="r")["x"]
by_itself = zarr.open_array("night.zarr/x", mode="r")
for name, it in (("through the group", through_group), ("by itself", by_itself)):
    print(f"{name}: {it.shape} {dict(it.attrs)}")
assert through_group.shape == (10,) and not dict(through_group.attrs)
assert by_itself.shape == (15,) and dict(by_itself.attrs) == {"units": "uV"}
EOF
