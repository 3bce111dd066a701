#!/usr/bin/env bash
# pyEDFlib gives zeros for samples that lie behind the end of a recording.
#
# Expected: an error, or fewer values.
# Seen (pyEDFlib 0.1.42): readSignal(0, start, n) has n values whatever there is. Those behind the end
# are 0 in physical units, which is a plausible voltage; one line is printed to stdout, nothing is
# raised or warned of. A start below 0 gives an empty array.
# Source: the array is made of zeros before it is filled (edfreader.py, readSignal).
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    pyedflib==0.1.42 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
import pyedflib

print("pyedflib", version("pyedflib"))
with pyedflib.EdfWriter("short.edf", 1) as file:
    file.setSignalHeader(0, {
        "label": "SpO2", "dimension": "%", "sample_frequency": 100,
        "physical_min": 0.0, "physical_max": 100.0,
        "digital_min": -32768, "digital_max": 32767, "transducer": "", "prefilter": "",
    })
    file.writeSamples([np.full(300, 97.0)])
with pyedflib.EdfReader("short.edf") as file:
    n_samples = int(file.getNSamples()[0])
    over = file.readSignal(0, n_samples - 10, 20)
    behind = file.readSignal(0, n_samples + 1000, 5)
    before = file.readSignal(0, -5, 5)
print("last 10 and 10 more:", over)
print("1000 behind the end:", behind)
print("before the start:", before)
assert len(over) == 20 and np.allclose(over[:10], 97, atol=0.01) and (over[10:] == 0).all()
assert len(behind) == 5 and (behind == 0).all()
assert len(before) == 0
EOF
