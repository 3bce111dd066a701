#!/usr/bin/env bash
# wfdb's own converter gives wrong values for EDF files of several rates.
#
# Expected: the physical values that the file says, each signal at its rate, or a refusal.
# Seen (wfdb 4.3.1, edfio 0.4.18): with one rate the values are right to a count. With a second signal
# at a tenth of the rate, values of -50 to 49 µV come out as thousands, and the fast signal is averaged
# to the slow rate.
# Source: wfdb/io/convert/edf.py, read_edf.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    wfdb==4.3.1 pandas==2.3.3 edfio==0.4.18 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version

import edfio
import numpy as np
from wfdb.io.convert.edf import read_edf

print("wfdb", version("wfdb"), "edfio", version("edfio"))
wave = np.linspace(-50, 49, 1000)
eeg = edfio.EdfSignal(wave, 100, label="EEG", physical_dimension="uV", physical_range=(-100, 300))
slow = edfio.EdfSignal(wave[::10], 10, label="SpO2", physical_dimension="%", physical_range=(-100, 100))
edfio.Edf([eeg]).write("one.edf")
edfio.Edf([eeg, slow]).write("two.edf")
one, two = read_edf("one.edf").p_signal, read_edf("two.edf")
print("one rate:", one.shape, one[0], one[-1])
print("two rates:", two.fs, "Hz", two.p_signal.shape, two.p_signal[0], two.p_signal[-1])
assert np.abs(one[:, 0] - wave).max() < 0.02
assert two.p_signal.shape == (100, 2) and np.abs(two.p_signal[:, 0]).min() > 1000
EOF
