#!/usr/bin/env bash
# A NaN in an attribute makes a Zarr array that other readers cannot open at all.
#
# Expected: an error, or "NaN" as text, as for fill values.
# Seen (zarr 3.4.2, tensorstore 0.1.86): zarr-python writes the bare word NaN into zarr.json, which
# is not JSON. tensorstore refuses the array as damaged, and so does every strict parser, JavaScript's
# among them. zarr-python itself reads it.
# Source: json.dumps with allow_nan, its default; RFC 8259 has no NaN.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    zarr==3.4.2 numcodecs==0.17.1 numpy==2.4.6 tensorstore==0.1.86

venv/bin/python - <<'EOF'
import json
import os

import tensorstore
import zarr

print("zarr", zarr.__version__)


def opened(path):
    """Say what tensorstore makes of an array."""
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": os.path.abspath(path)}}
    try:
        return tensorstore.open(spec).result().read().result().tolist()
    except ValueError as error:
        return str(error)


seen = {}
for gain in (0.5, float("nan")):
    path = f"{gain}.zarr"
    zarr.create_array(path, shape=(2,), dtype="f4", attributes={"gain": gain})[:] = 1
    seen[str(gain)] = opened(path)
    print(f"gain {gain}: zarr reads {zarr.open_array(path)[:]}, tensorstore: {seen[str(gain)][:120]}")
text = open("nan.zarr/zarr.json").read()
assert '"gain": NaN' in text and json.loads(text)["attributes"]
assert seen["0.5"] == [1.0, 1.0] and "Invalid JSON" in seen["nan"]
EOF
