#!/usr/bin/env bash
# A virtual data set of HDF5 whose source file is missing reads as zeros.
#
# Expected: an error that names the file.
# Seen (h5py 3.16.0): a study that joins the files of its subjects by a virtual data set, copied without one of
# them, has zeros for that subject. No error, no warning.
# Source: HDF5 gives the fill value for what is not there; the file's own list has the missing name.
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
import os

import h5py
import numpy as np

print("h5py", h5py.__version__, "HDF5", h5py.version.hdf5_version)
for number in (1, 2):
    with h5py.File(f"s0{number}.h5", "w") as file:
        file["x"] = np.full(5, float(number))
layout = h5py.VirtualLayout((10,), "f8")
layout[:5] = h5py.VirtualSource("s01.h5", "x", (5,))
layout[5:] = h5py.VirtualSource("s02.h5", "x", (5,))
with h5py.File("study.h5", "w") as file:
    file.create_virtual_dataset("x", layout)
os.remove("s02.h5")
with h5py.File("study.h5") as file:
    values = file["x"][:]
    named = [it.file_name for it in file["x"].virtual_sources()]
print(values, "from", named)
assert values.tolist() == [1.0] * 5 + [0.0] * 5 and named == ["s01.h5", "s02.h5"]
EOF
