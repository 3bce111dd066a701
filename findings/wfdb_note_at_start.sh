#!/usr/bin/env bash
# wfdb drops the notes at the first sample of a record: the first sleep stage is lost.
#
# Expected: a note that wrann wrote at sample 0 is there when rdann reads.
# Seen (wfdb 4.3.1): it is written, and taken for a definition of labels on reading. Beats and rhythm
# changes at sample 0 stay; only annotations of the symbol '"' go.
# Source: wfdb/io/annotation.py, get_special_inds, rm_empty_indices.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    wfdb==4.3.1 pandas==2.3.3 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version
from pathlib import Path

import numpy as np
import wfdb

print("wfdb", version("wfdb"))
rows = np.array([0, 3000, 6000])
stages = ["W", "1", "R"]
wfdb.wrann("night", "st", rows, symbol=['"'] * 3, aux_note=stages, fs=100)
again = wfdb.rdann("night", "st")
print("notes:", [*zip(rows.tolist(), stages)], "->", [*zip(again.sample.tolist(), again.aux_note)])
wfdb.wrann("night", "atr", rows, symbol=["+"] * 3, aux_note=["(N", "(AFIB", "(N"], fs=100)
rhythm = wfdb.rdann("night", "atr")
print("rhythm:", [*zip(rhythm.sample.tolist(), rhythm.aux_note)])
assert b"\x01\xfcW" in Path("night.st").read_bytes()  # code 63, one letter: it is in the file
assert again.sample.tolist() == [3000, 6000] and again.aux_note == ["1", "R"]
assert rhythm.sample.tolist() == [0, 3000, 6000]
EOF
