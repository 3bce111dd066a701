#!/usr/bin/env bash
# wfdb averages the samples of a fast signal down to the rate of the slowest.
#
# Expected: all samples of each signal at its own rate, or an error that asks for a choice.
# Seen (wfdb 4.3.1): in a record with 4 samples of the ECG per frame, rdrecord gives one, the mean of
# the four. A wave of 100 Hz in a frame rate of 100 Hz is gone: zeros. smooth_frames=False gives the
# samples, as e_p_signal.
# Source: wfdb/io/record.py, rdrecord, smooth_frames=True by default.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    wfdb==4.3.1 pandas==2.3.3 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
import wfdb

print("wfdb", version("wfdb"))
ecg = np.tile([0.0, 1.0, 0.0, -1.0], 100)
breath = np.arange(100) / 100
wfdb.wrsamp(
    "fast", fs=100, units=["mV", "mV"], sig_name=["ECG", "breath"], e_p_signal=[ecg, breath],
    samps_per_frame=[4, 1], fmt=["16", "16"],
)
usual = wfdb.rdrecord("fast")
every = wfdb.rdrecord("fast", smooth_frames=False)
print("rdrecord:", usual.fs, "Hz,", usual.p_signal.shape, "ECG from", usual.p_signal[:, 0].min(),
      "to", usual.p_signal[:, 0].max())
print("smooth_frames=False:", [len(it) for it in every.e_p_signal], every.e_p_signal[0][:4])
assert usual.p_signal.shape == (100, 2) and np.abs(usual.p_signal[:, 0]).max() < 1e-3
assert np.allclose(every.e_p_signal[0], ecg, atol=1e-4)
EOF
