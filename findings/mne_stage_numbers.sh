#!/usr/bin/env bash
# MNE numbers the stages of each night anew, so that 2 is N2 in one night and Wake in the next.
#
# Expected: one text has one number, since the texts are the same in all nights.
# Seen (MNE 1.13.2): events_from_annotations sorts the texts that occur in *this* recording and counts
# from 1. A night without N1 gives all later stages other numbers. Only event_id= fixes them.
# Source: mne/annotations.py, events_from_annotations with its default event_id="auto".
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
numbers = []
for stages in (["Sleep stage W", "Sleep stage 1", "Sleep stage 2"], ["Sleep stage W", "Sleep stage 2"]):
    raw = mne.io.RawArray(np.zeros((1, 9000)), mne.create_info(["EEG"], 100, "eeg"), verbose="error")
    onsets = 30 * np.arange(len(stages))
    raw.set_annotations(mne.Annotations(onsets, 30, stages))
    numbers.append(mne.events_from_annotations(raw, verbose="error")[1])
    print(numbers[-1])
assert numbers[0] == {"Sleep stage 1": 1, "Sleep stage 2": 2, "Sleep stage W": 3}
assert numbers[1] == {"Sleep stage 2": 1, "Sleep stage W": 2}
EOF
