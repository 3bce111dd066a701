#!/usr/bin/env bash
# pyEDFlib's crop_edf leaves all annotations out of the part that it writes.
#
# Expected: annotations of that part, moved by its start.
# Seen (pyEDFlib 0.1.42): signals and start time are right, and there is no annotation any more, so
# that a cropped night has no sleep stages and no word says so. edfio's slice_between_seconds moves
# them.
# Source: highlevel.py, crop_edf, which copies signals and headers only.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    pyedflib==0.1.42 edfio==0.4.18 numpy==2.4.6

venv/bin/python - <<'EOF'
import datetime
from importlib.metadata import version

import edfio
import numpy as np
import pyedflib
from pyedflib import highlevel

print("pyedflib", version("pyedflib"), "edfio", version("edfio"))
whole = edfio.Edf(
    [edfio.EdfSignal(np.arange(2000.0), 100, label="EEG", physical_range=(-32768, 32767))],
    recording=edfio.Recording(startdate=datetime.date(2020, 1, 2)),
    starttime=datetime.time(22),
    annotations=[edfio.EdfAnnotation(7.0, 4.0, "Sleep stage 2")],
)
whole.write("night.edf")
highlevel.crop_edf(
    "night.edf", new_file="part.edf", start=5, stop=15,
    start_format="seconds", stop_format="seconds",
)
with pyedflib.EdfReader("part.edf") as file:
    signal, annotations = file.readSignal(0), file.readAnnotations()
whole.slice_between_seconds(5, 15)
print("pyedflib:", len(signal), "samples from", signal[0], "and", len(annotations[0]), "annotations")
print("edfio:", whole.annotations)
assert len(signal) == 1000 and round(signal[0]) == 500
assert len(annotations[0]) == 0
assert [it.onset for it in whole.annotations] == [2.0]
EOF
