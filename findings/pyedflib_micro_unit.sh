#!/usr/bin/env bash
# A unit of µV, written by pyEDFlib and read by MNE, is a million times too large.
#
# Expected: the unit arrives as uV, or as the byte of µ in Latin-1, which MNE knows.
# Seen (pyEDFlib 0.1.42, MNE 1.13.2): pyEDFlib spells µ as two letters, "Au", so that the header says
# "AuV". MNE does not know that unit and takes the numbers as they are: 100 µV become 100 V.
# Source: EDF asks for ASCII; pyEDFlib maps other letters to ASCII before it writes a header, and
# MNE's EDF reader scales by a short list of spellings of the microvolt.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    pyedflib==0.1.42 mne==1.13.2 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 jinja2==3.1.6 \
    lazy-loader==0.4 markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
from importlib.metadata import version

import mne
import numpy as np
import pyedflib

print("pyedflib", version("pyedflib"), "mne", version("mne"))
rate_hz = 100
wave_uv = 100 * np.sin(np.arange(10 * rate_hz) / 10)
with pyedflib.EdfWriter("unit.edf", 1) as file:
    file.setSignalHeader(0, {
        "label": "EEG", "dimension": "µV", "sample_frequency": rate_hz,
        "physical_min": -200.0, "physical_max": 200.0,
        "digital_min": -32768, "digital_max": 32767, "transducer": "", "prefilter": "",
    })
    file.writeSamples([wave_uv])
with pyedflib.EdfReader("unit.edf") as file:
    unit = file.getPhysicalDimension(0)
volts = mne.io.read_raw_edf("unit.edf", verbose="error").get_data()
print("unit in the file:", unit)
print("greatest value, volts:", np.abs(volts).max(), "not", np.abs(wave_uv).max() / 1e6)
assert unit == "AuV"
assert np.allclose(volts[0], wave_uv, atol=0.01)  # volts, as many as there were microvolts
EOF
