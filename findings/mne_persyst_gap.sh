#!/usr/bin/env bash
# MNE passes over the gaps that a Persyst file declares.
#
# Expected: the gap is annotated, or refused.
# Seen (MNE 1.13.2): [SampleTimes] of a .lay file says at which time of day a sample was recorded.
# MNE does not use it: samples after a pause of 50 s follow at once, and a comment after the pause is
# left out as being behind the end (a warning), or lies over other samples.
# Source: mne/io/persyst/persyst.py, where a comment says that the section is not used yet.
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
import warnings
from importlib.metadata import version

import mne
import numpy as np

print("mne", version("mne"))
np.arange(2000, dtype="<i2").tofile("pause.dat")
with open("pause.lay", "w") as file:
    file.write("""[FileInfo]
File=pause.dat
FileType=Interleaved
SamplingRate=100
HeaderLength=0
Calibration=1.0
WaveformCount=1
DataType=0
[ChannelMap]
Fp1-Ref=1
[SampleTimes]
0=36000.0
1000=36060.0
[Patient]
First=A
Last=B
Sex=
Hand=
ID=1
BirthDate=01/01/1980
TestDate=01/02/2020
TestTime=10:00:00
[Comments]
2.0,0.0,0,100,before the pause
62.0,0.0,0,100,after the pause
""")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    raw = mne.io.read_raw_persyst("pause.lay", verbose="error")
print(raw.n_times, "samples up to", raw.times[-1], "s, annotations", list(raw.annotations.description))
assert raw.times[-1] == 19.99  # 69.99 s after the start in fact
assert list(raw.annotations.description) == ["before the pause"]
EOF
