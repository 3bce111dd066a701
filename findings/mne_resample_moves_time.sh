#!/usr/bin/env bash
# MNE's Raw.resample moves a recording in time, by an amount that depends on its number of samples.
#
# Expected: what happened at 5.000 s is still at 5.000 s.
# Seen (MNE 1.13.2): from 500 to 100 Hz a bump at 5 s comes 6 ms early in a recording of 5,005
# samples, in place with 5,000, and late with 6,000. The padding before the Fourier transform is not
# a whole number of new samples. npad=0 is exact only where the length is a multiple of the ratio, and
# has the ends run into each other.
# Source: mne/filter.py, resample, npad="auto".
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


def early_ms(n_samples, npad):
    """Return by how much a bump at 5 s comes early after resampling."""
    bump = np.exp(-0.5 * ((np.arange(n_samples) / 500 - 5) / 0.1) ** 2)
    raw = mne.io.RawArray(bump[np.newaxis], mne.create_info(["EEG"], 500, "eeg"), verbose="error")
    raw.resample(100, npad=npad, verbose="error")
    values = raw.get_data()[0]
    near = np.abs(raw.times - 5) < 0.6
    return 1000 * (5 - (values[near] * raw.times[near]).sum() / values[near].sum())


by_length = {n: (early_ms(n, "auto"), early_ms(n, 0)) for n in (5000, 5003, 5005, 6000)}
for n_samples, (padded, unpadded) in by_length.items():
    print(f"{n_samples} samples: early by {padded:.2f} ms, with npad=0 by {unpadded:.2f} ms")
assert abs(by_length[5000][0]) < 0.01
assert by_length[5005][0] > 5 and by_length[5003][0] > 3 and by_length[6000][0] < -0.1
assert abs(by_length[5005][1]) < 0.01 < 1 < abs(by_length[5003][1])
EOF
