#!/usr/bin/env bash
# MNE reads an EDF signal that is called "Trigger" or "Status" as whole numbers below 131,072.
#
# Expected: physical values, as of every other signal.
# Seen (MNE 1.13.2): a signal of that name becomes a stimulus channel: cut to an integer, of which 17
# bits are kept. -1 becomes 131071, and all between -1 and 1 becomes 0. "TRIG" is an ordinary signal.
# Source: the default stim_channel="auto" of read_raw_edf; mne/io/edf/edf.py, _read_segment_file.
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
from importlib.metadata import version

import edfio
import mne
import numpy as np

print("mne", version("mne"))
wave = np.linspace(-1, 1, 1000)
first_middle_last = {}
for name in ("Trigger", "Status", "TRIG"):
    edfio.Edf(
        [edfio.EdfSignal(wave, 100, label=name, physical_dimension="V", physical_range=(-1, 1))]
    ).write("name.edf")
    raw = mne.io.read_raw_edf("name.edf", verbose="error")
    first_middle_last[name] = raw.get_data()[0, [0, 250, 999]].round(3).tolist()
    print(f"{name:>8}: {raw.get_channel_types()[0]:>4} {first_middle_last[name]}")
assert first_middle_last["Trigger"] == first_middle_last["Status"] == [131071.0, 0.0, 1.0]
assert first_middle_last["TRIG"] == [-1.0, -0.5, 1.0]
EOF
