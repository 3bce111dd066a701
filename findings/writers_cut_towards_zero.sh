#!/usr/bin/env bash
# pyEDFlib and pybv cut values towards zero when they turn them into integers; edfio rounds.
#
# Expected: the nearest count, an error of at most half a count, without bias.
# Seen (pyEDFlib 0.1.42, pybv 0.8.1, edfio 0.4.18): 0.9 counts become 0 and -0.9 counts become 0, so
# that small signals shrink: noise of half a count vanishes, and zero is twice as wide as its
# neighbours.
# Source: the C library below pyEDFlib and the cast to int16 in pybv's writer.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    pyedflib==0.1.42 pybv==0.8.1 edfio==0.4.18 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version

import edfio
import numpy as np
import pybv
import pyedflib

print(*(f"{it} {version(it)}" for it in ("pyedflib", "pybv", "edfio")))
counts = np.array([0.9, -0.9, 0.4, 0.6, 1.5, -1.5, 3.99, -3.99, 7.0, -7.0] * 10)
with pyedflib.EdfWriter("cut.edf", 1) as file:
    file.setSignalHeader(0, {
        "label": "EEG", "dimension": "uV", "sample_frequency": 100,
        "physical_min": -32768.0, "physical_max": 32767.0,
        "digital_min": -32768, "digital_max": 32767, "transducer": "", "prefilter": "",
    })
    file.writeSamples([counts])
with pyedflib.EdfReader("cut.edf") as file:
    by_pyedflib = file.readSignal(0, digital=True)
pybv.write_brainvision(
    data=counts[np.newaxis] * 1e-6, sfreq=100, ch_names=["EEG"], fname_base="cut", folder_out=".",
    resolution=1.0, unit="µV", fmt="binary_int16",
)
by_pybv = np.fromfile("cut.eeg", "<i2")
limits = (-32768, 32767)
by_edfio = edfio.EdfSignal(counts, 100, physical_range=limits, digital_range=limits).digital
for name, stored in (("given", counts), ("pyedflib", by_pyedflib), ("pybv", by_pybv), ("edfio", by_edfio)):
    print(f"{name:>9}", *stored[:10])
# pyEDFlib's own arithmetic may lose one more count of a value that is whole.
assert list(by_pyedflib[:4]) == [0, 0, 0, 0] and by_pyedflib[6] == 3 and by_pyedflib[7] == -3
assert list(by_pybv[:4]) == [0, 0, 0, 0] and by_pybv[6] == 3 and by_pybv[7] == -3
assert np.array_equal(by_edfio, np.rint(counts))
EOF
