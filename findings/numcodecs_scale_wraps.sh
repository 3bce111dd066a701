#!/usr/bin/env bash
# The FixedScaleOffset codec turns a value beyond int16 into one of the other sign, and NaN into 0.
#
# Expected: an error, or the greatest count.
# Seen (numcodecs 0.17.1): with steps of 0.1, 3276.8 comes back as -3276.8 and 4000 as -2553.6; NaN
# and infinity come back as 0. No warning. An electrode that is touched becomes a wave of both signs.
# Source: numcodecs/fixedscaleoffset.py, a cast by astype without a check.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    numcodecs==0.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import platform
import warnings
from importlib.metadata import version

import numpy as np
from numcodecs import FixedScaleOffset

print("numcodecs", version("numcodecs"), platform.machine())
codec = FixedScaleOffset(offset=0, scale=10, dtype="f4", astype="i2")
given = np.array([100, 3276.7, 3276.8, 4000, -4000, np.nan, np.inf], "f4")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    back = codec.decode(codec.encode(given))
print("given:", given)
print("back: ", back)
right = np.isclose(given, back, rtol=1e-5)
assert right[:2].all() and not right[2:].any()
if platform.machine() == "x86_64":  # other processors may keep the greatest count instead
    assert np.allclose(back[2:], [-3276.8, -2553.6, 2553.6, 0, 0])
EOF
