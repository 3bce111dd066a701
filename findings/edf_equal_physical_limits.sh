#!/usr/bin/env bash
# One EDF signal without a calibration (physical minimum = maximum): three readers, three answers.
#
# Expected: the same refusal, or the digital values, from all.
# Seen (edfio 0.4.18, MNE 1.13.2, pyEDFlib 0.1.42): edfio warns and gives digital values; MNE warns and
# gives them as a tiny slope above the limit, in volts; pyEDFlib refuses the whole file, other signals
# included.
# Source: EDF asks for limits that differ; recorders write equal ones for channels that are not in use.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    edfio==0.4.18 mne==1.13.2 pyedflib==0.1.42 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 \
    jinja2==3.1.6 lazy-loader==0.4 markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

import edfio
import mne
import numpy as np
import pyedflib

print(*(f"{it} {version(it)}" for it in ("edfio", "mne", "pyedflib")))
counts = np.arange(-500.0, 500.0)
limits = {"physical_range": (-32768, 32767), "physical_dimension": "uV"}
edfio.Edf([
    edfio.EdfSignal(counts, 100, label="unused", **limits),
    edfio.EdfSignal(counts, 100, label="EEG", **limits),
]).write("equal.edf")
with open("equal.edf", "r+b") as file:
    for limit in (104, 112):  # physical minimum and maximum of the first of two signals
        file.seek(256 + limit * 2)
        file.write(b"5".ljust(8))
warnings.simplefilter("ignore")
by_edfio = edfio.read_edf("equal.edf").signals[0].data
by_mne = mne.io.read_raw_edf("equal.edf", verbose="error").get_data()[0]
print("edfio:", by_edfio[:3], "| mne:", by_mne[:3])
assert np.array_equal(by_edfio, counts)
assert 4e-6 < by_mne.min() < by_mne.max() < 7e-6
try:
    pyedflib.EdfReader("equal.edf")
except OSError as error:
    print("pyedflib:", error)
else:
    raise AssertionError("pyedflib reads it now")
EOF
