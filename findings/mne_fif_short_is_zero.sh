#!/usr/bin/env bash
# MNE saves EEG as 16-bit integers by cutting volts to whole volts: the file holds zeros.
#
# Expected: fmt="short" finds a scale at which the signal survives.
# Seen (MNE 1.13.2): a RawArray of 20 µV, saved with fmt="short", is read back as zeros. The
# documentation warns of a loss of precision. Recordings that came with a calibration keep it.
# Source: mne/io/base.py, Raw.save, which divides by each channel's cal, 1 in a RawArray.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    mne==1.13.2 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 jinja2==3.1.6 lazy-loader==0.4 \
    markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
from importlib.metadata import version

import mne
import numpy as np

print("mne", version("mne"))
volts = np.random.default_rng(0).normal(0, 2e-5, (2, 1000))
raw = mne.io.RawArray(volts, mne.create_info(["Fz", "Cz"], 250, "eeg"), verbose="error")
greatest = {}
for fmt in ("single", "short"):
    raw.save("short_raw.fif", fmt=fmt, overwrite=True, verbose="error")
    again = mne.io.read_raw_fif("short_raw.fif", verbose="error").get_data()
    greatest[fmt] = float(np.abs(again).max())
print("greatest value, volts:", greatest)
assert greatest["single"] > 5e-5 and greatest["short"] == 0
EOF
