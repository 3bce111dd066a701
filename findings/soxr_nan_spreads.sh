#!/usr/bin/env bash
# One NaN in the input of soxr makes hundreds of outputs NaN, also outputs long before it.
#
# Expected: outputs near it, as many as the filter is long.
# Seen (soxr 1.1.0): a NaN at 20 s of 40 s, from 250 to 100 Hz, makes 622 outputs NaN, which begin 1.5 s
# before it: soxr filters in blocks, by Fourier transforms.
# Source: the documentation is silent; the C library works on blocks.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    soxr==1.1.0 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
import soxr

print("soxr", version("soxr"))
values = np.zeros(10_000)
values[5000] = np.nan
lost = np.flatnonzero(np.isnan(soxr.resample(values, 250, 100)))
print(f"{len(lost)} of 4000 outputs are NaN, {lost[0]} to {lost[-1]}; the NaN was at 2000")
assert len(lost) > 200 and lost[0] < 1900
EOF
