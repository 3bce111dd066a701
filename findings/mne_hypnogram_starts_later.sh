#!/usr/bin/env bash
# MNE lays a hypnogram that was started 30 minutes after the recording over its first minutes.
#
# Expected: both EDF headers say when they start, and the stages are put there.
# Seen (MNE 1.13.2): read_annotations drops the start of the hypnogram's file (orig_time is None), and
# set_annotations then counts from the start of the recording. All labels are 30 minutes early,
# without a warning. In Sleep-EDF both start together, so that nobody notices there.
# Source: mne/io/edf/edf.py, _read_annotations_edf.
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
import datetime
from importlib.metadata import version

import edfio
import mne
import numpy as np

print("mne", version("mne"))
day = edfio.Recording(startdate=datetime.date(2020, 1, 2))
edfio.Edf(
    [edfio.EdfSignal(np.sin(np.arange(36_000.0)), 10, label="EEG", physical_range=(-1, 1))],
    recording=day, starttime=datetime.time(22, 0),
).write("N1-PSG.edf")
edfio.Edf(
    [], recording=day, starttime=datetime.time(22, 30),
    annotations=[edfio.EdfAnnotation(0, 600, "Sleep stage W"),
                 edfio.EdfAnnotation(600, 900, "Sleep stage 2")],
).write("N1-Hypnogram.edf")
raw = mne.io.read_raw_edf("N1-PSG.edf", verbose="error")
stages = mne.read_annotations("N1-Hypnogram.edf")
raw.set_annotations(stages)
print("recording from", raw.info["meas_date"], "| hypnogram from 22:30 | orig_time", stages.orig_time)
print("onsets in the recording:", raw.annotations.onset, "s; right are [1800. 2400.]")
assert stages.orig_time is None
assert list(raw.annotations.onset) == [0.0, 600.0]
EOF
