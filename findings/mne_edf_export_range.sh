#!/usr/bin/env bash
# MNE's export to EDF leaves 7 values of a small signal that has a large one beside it.
#
# Expected: each signal has its own physical range, as the format provides, and keeps 16 bits.
# Seen (MNE 1.13.2, edfio 0.4.18): by default all channels of one type share one range. An EEG of 2 µV
# beside a channel with an artifact of 20 mV is left with steps of 0.6 µV. physical_range="channelwise"
# keeps it.
# Source: mne/export/_edf_bdf.py, physical_range="auto".
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    mne==1.13.2 edfio==0.4.18 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 jinja2==3.1.6 \
    lazy-loader==0.4 markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
from importlib.metadata import version

import mne
import numpy as np

print("mne", version("mne"), "edfio", version("edfio"))
times = np.arange(1000) / 100
volts = np.vstack([2e-6 * np.sin(14 * times), 20e-3 * np.sin(1.1 * times)])
raw = mne.io.RawArray(volts, mne.create_info(["Fz", "loose"], 100, "eeg"), verbose="error")
n_values = {}
for physical_range in ("auto", "channelwise"):
    raw.export("range.edf", physical_range=physical_range, overwrite=True, verbose="error")
    again = mne.io.read_raw_edf("range.edf", verbose="error").get_data()
    n_values[physical_range] = len(np.unique(again[0]))
    worst = np.abs(again[0] - volts[0]).max()
    print(f"{physical_range:>11}: {n_values[physical_range]} values, off by up to {worst:.1e} V")
assert n_values["auto"] < 10 and n_values["channelwise"] > 900
EOF
