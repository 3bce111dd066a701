#!/usr/bin/env bash
# MNE reads slow signals of an EDF file of several rates as zeros, unless it loads the file whole.
#
# Expected: a piece of the recording equals that part of the whole.
# Seen (MNE 1.13.2): with preload=False, short pieces that start anywhere hold nothing but zeros for
# the slow signal, others hold values that ring at their ends; all differ from what preload=True
# gives. A warning speaks of edge artifacts, not of zeros.
# Source: mne/io/edf/edf.py, _read_segment_file, which resamples each piece by itself.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    edfio==0.4.18 mne==1.13.2 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 jinja2==3.1.6 \
    lazy-loader==0.4 markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

import edfio
import mne
import numpy as np

print("mne", version("mne"))
rng = np.random.default_rng(0)
edfio.Edf([
    edfio.EdfSignal(rng.normal(0, 10, 3000), 100, label="EEG", physical_dimension="uV",
                    physical_range=(-100, 100)),
    edfio.EdfSignal(90 + rng.normal(0, 1, 300), 10, label="SpO2", physical_dimension="%",
                    physical_range=(0, 100)),
]).write("mixed.edf")
warnings.simplefilter("ignore")
whole = mne.io.read_raw_edf("mixed.edf", preload=True, verbose="error").get_data()
lazy = mne.io.read_raw_edf("mixed.edf", preload=False, verbose="error")
n_pieces, n_wrong, n_zeros, n_eeg_wrong = 100, 0, 0, 0
for start in rng.integers(0, 2900, n_pieces):
    stop = start + rng.integers(1, 90)
    eeg, spo2 = lazy.get_data(start=start, stop=stop)
    n_wrong += not np.allclose(spo2, whole[1, start:stop], atol=1e-3)
    n_zeros += not spo2.any()
    n_eeg_wrong += not np.allclose(eeg, whole[0, start:stop], atol=1e-9)
print(f"of {n_pieces} pieces of SpO2 {n_wrong} differ from the whole, {n_zeros} are all zeros")
assert n_eeg_wrong == 0
assert n_wrong > 90 and n_zeros > 50
EOF
