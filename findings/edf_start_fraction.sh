#!/usr/bin/env bash
# Three libraries give one EDF+ file three times of start.
#
# Expected: 22:00:00.250 from each; the first record says that it starts a quarter of a second late.
# Seen (edfio 0.4.18, pyEDFlib 0.1.42, MNE 1.13.2): edfio says .250; pyEDFlib's getStartdatetime .025,
# ten times too little; MNE's meas_date 22:00:00, in UTC though EDF knows no time zone. Onsets of
# annotations are right in all three.
# Source: pyEDFlib keeps steps of 100 ns, and divides by 100 where it has to divide by 10
# (edfreader.py, getStartdatetime).
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile --no-deps \
    edfio==0.4.18 pyedflib==0.1.42 mne==1.13.2 scipy==1.17.1 numpy==2.4.6 decorator==5.2.1 \
    jinja2==3.1.6 lazy-loader==0.4 markupsafe==3.0.3 packaging==26.0 tqdm==4.67.1

venv/bin/python - <<'EOF'
import datetime
from importlib.metadata import version

import edfio
import mne
import numpy as np
import pyedflib

print(*(f"{it} {version(it)}" for it in ("edfio", "pyedflib", "mne")))
edfio.Edf(
    [edfio.EdfSignal(np.arange(1000.0), 100, label="EEG", physical_range=(-32768, 32767))],
    recording=edfio.Recording(startdate=datetime.date(2020, 1, 2)),
    starttime=datetime.time(22, 0, 0, 250_000),
    annotations=[edfio.EdfAnnotation(1.0, 0.5, "spindle")],
).write("start.edf")
by_edfio = edfio.read_edf("start.edf").starttime
with pyedflib.EdfReader("start.edf") as file:
    by_pyedflib, onsets = file.getStartdatetime(), file.readAnnotations()[0]
raw = mne.io.read_raw_edf("start.edf", verbose="error")
by_mne = raw.info["meas_date"]
print("edfio", by_edfio, "| pyedflib", by_pyedflib, "| mne", by_mne)
print("onsets:", onsets, raw.annotations.onset)
assert by_edfio.microsecond == 250_000
assert by_pyedflib.microsecond == 25_000
assert by_mne.microsecond == 0 and by_mne.utcoffset() == datetime.timedelta(0)
assert list(onsets) == [1.0] and list(raw.annotations.onset) == [1.0]
EOF
