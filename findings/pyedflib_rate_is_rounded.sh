#!/usr/bin/env bash
# pyEDFlib stores some sampling rates wrong, so that hours of a recording drift by seconds.
#
# Expected: the rate that was given, or an error that it cannot be stored.
# Seen (pyEDFlib 0.1.42): EDF keeps samples per record and seconds per record. For 256.016 Hz
# pyEDFlib chose records of 2 samples in 0.00781 s, which are 256.082 Hz: 7.4 s in a night of 8 hours,
# without a warning. Rates with a short whole record (33.3, 128.5) are right.
# Source: the record duration is kept in steps of 10 microseconds.
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
found = {}
for rate_hz in (33.3, 128.5, 256.016):
    with pyedflib.EdfWriter("rate.edf", 1) as file:
        file.setSignalHeader(0, {
            "label": "EEG", "dimension": "uV", "sample_frequency": rate_hz,
            "physical_min": -100.0, "physical_max": 100.0,
            "digital_min": -32768, "digital_max": 32767, "transducer": "", "prefilter": "",
        })
        file.writeSamples([np.zeros(5000)])
    with pyedflib.EdfReader("rate.edf") as file:
        found[rate_hz] = file.getSampleFrequency(0)
    drift_s = 8 * 3600 * (1 - rate_hz / found[rate_hz])
    print(f"{rate_hz} Hz is read back as {found[rate_hz]:.4f} Hz: {drift_s:.2f} s in 8 hours")
assert np.isclose(found[33.3], 33.3, rtol=1e-9) and np.isclose(found[128.5], 128.5, rtol=1e-9)
assert np.isclose(found[256.016], 256.0819, atol=1e-4)
EOF
