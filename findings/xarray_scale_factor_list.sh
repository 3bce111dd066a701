#!/usr/bin/env bash
# One array whose scale_factor is a list keeps xarray from opening any array of its group.
#
# Expected: a gain for each channel is applied, or that array alone is given as it is stored.
# Seen (xarray 2026.9.0): open_zarr raises for the whole group, and names neither the array nor the
# attribute. With mask_and_scale=False, or drop_variables=, the others open.
# Source: xarray/coding/variables.py, CFScaleOffsetCoder.decode.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    xarray==2026.9.0 zarr==3.4.2 numcodecs==0.17.1 pandas==2.3.3 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

import numpy as np
import xarray
import zarr

warnings.simplefilter("ignore")
print("xarray", version("xarray"), "zarr", version("zarr"))
group = zarr.create_group("a.zarr")
for name in ("eeg", "emg"):
    made = group.create_array(name, shape=(3, 2), dtype="i2", dimension_names=("time", "channel"))
    made[:] = np.arange(6).reshape(3, 2)
group["eeg"].attrs["scale_factor"] = [0.1, 0.5]
try:
    xarray.open_zarr("a.zarr", consolidated=False)
    message = ""
except ValueError as error:
    message = str(error)
print("open_zarr:", message)
assert message and "eeg" not in message and "scale_factor" not in message
others = xarray.open_zarr("a.zarr", consolidated=False, drop_variables=["eeg"])
print("without it:", others.emg.values.tolist())
assert others.emg.values.tolist() == [[0, 1], [2, 3], [4, 5]]
plain = xarray.open_zarr("a.zarr", consolidated=False, mask_and_scale=False)
assert plain.eeg.values.tolist() == [[0, 1], [2, 3], [4, 5]]
EOF
