#!/usr/bin/env bash
# In NWB written to Zarr, linked data is not where other Zarr readers look, nor are axes named.
#
# Expected: a series that shares its data with another has an array "data", as it has in HDF5.
# Seen (hdmf-zarr 0.14.0, pynwb 4.2.0): the files are Zarr 3. A link is an entry in the attribute _LINKS of
# the group, and no member: group["again/data"] is a KeyError. Axes have names in the attribute
# _ARRAY_DIMENSIONS of Zarr 2, not in dimension_names, so that xarray does not find them.
# Source: hdmf_zarr/backend.py.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    hdmf-zarr==0.14.0 pynwb==4.2.0 hdmf==6.2.0 zarr==3.4.2 numcodecs==0.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import datetime
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import numpy as np
import zarr
from hdmf_zarr.nwb import NWBZarrIO
from pynwb import NWBFile, TimeSeries

print(*(f"{it} {version(it)}" for it in ("hdmf-zarr", "pynwb", "zarr")))
file = NWBFile("test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))
eeg = TimeSeries(name="eeg", data=np.ones((10, 2), "i2"), unit="V", rate=100.0, conversion=1e-6)
file.add_acquisition(eeg)
file.add_acquisition(TimeSeries(name="again", data=eeg, unit="V", rate=100.0))
with NWBZarrIO("night.nwb.zarr", "w") as writer:
    writer.write(file)
group = zarr.open_group("night.nwb.zarr", mode="r")["acquisition"]
array = group["eeg/data"]
print("format", group.metadata.zarr_format, "| members of again:", sorted(group["again"].keys()))
print("attribute:", group["again"].attrs["_LINKS"])
print("axes:", array.metadata.dimension_names, array.attrs["_ARRAY_DIMENSIONS"])
assert group.metadata.zarr_format == 3
assert "data" not in group["again"] and group["again"].attrs["_LINKS"][0]["name"] == "data"
assert array.metadata.dimension_names is None and len(array.attrs["_ARRAY_DIMENSIONS"]) == 2
EOF
