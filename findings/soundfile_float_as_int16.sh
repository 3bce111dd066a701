#!/usr/bin/env bash
# soundfile reads a WAV file of floats as int16 without scaling: -1, 0 and 1 are all that is left.
#
# Expected: full scale becomes 32767, as it does the other way round.
# Seen (soundfile 0.14.0, libsndfile 1.2): read(dtype="int16") of a file of floats rounds each value
# to a whole number. A heart sound between -0.9 and 0.9 has three values.
# Source: libsndfile's command SFC_SET_SCALE_FLOAT_INT_READ, off by default, which soundfile leaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    soundfile==0.14.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import soundfile

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
wave = np.linspace(-0.9, 0.9, 1000)
for subtype in ("FLOAT", "PCM_16"):
    soundfile.write(f"{subtype}.wav", wave, 1000, subtype=subtype)
values = {it: np.unique(soundfile.read(f"{it}.wav", dtype="int16")[0]) for it in ("FLOAT", "PCM_16")}
print("of floats:", values["FLOAT"], "| of PCM_16:", len(values["PCM_16"]), "values")
assert values["FLOAT"].tolist() == [-1, 0, 1]
assert len(values["PCM_16"]) == 1000
EOF
