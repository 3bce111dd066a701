#!/usr/bin/env bash
# The scale-offset filter of HDF5 turns NaN into a value that was measured.
#
# Expected: NaN stays NaN, or is refused.
# Seen (h5py 3.16.0, HDF5 2.0): with scaleoffset=2 a NaN in the middle of a chunk is read back as the
# least value of that chunk; a chunk that begins with NaN keeps it. Written values seem right until
# the file is opened again.
# Source: the filter looks for least and greatest by comparisons, which NaN passes through.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import h5py
import numpy as np

print("h5py", h5py.__version__, "HDF5", h5py.version.hdf5_version)
given = np.array([1.23, np.nan, 3.5, -2.25])
with h5py.File("packed.h5", "w") as file:
    file.create_dataset("x", data=given, chunks=(4,), scaleoffset=2)
with h5py.File("packed.h5") as file:
    back = file["x"][:]
print("given:", given, "| back:", back)
assert np.allclose(back, [1.23, -2.25, 3.5, -2.25])
EOF
