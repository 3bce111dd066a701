#!/usr/bin/env bash
# aeon reads class names of .ts files in lower case: N1, REM and W become n1, rem and w.
#
# Expected: the labels that were saved.
# Seen (aeon 1.6.0): save_to_ts_file writes the names as they are, load_from_ts_file lowers each line
# before it takes the label, so that "N1" and "n1" become one class.
# Source: aeon/datasets/_data_loaders.py.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    aeon==1.6.0 numba==0.63.1 numpy==2.3.5

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import numpy as np
from aeon.datasets import load_from_ts_file, save_to_ts_file

print("aeon", version("aeon"))
series = np.random.default_rng(0).normal(size=(4, 2, 5))
series[1, 0, 2] = np.nan
stages = np.array(["N1", "W", "REM", "n1"])
save_to_ts_file(series, stages, label_type="classification", path=".", problem_name="night")
text = open("night.ts").read()
again, labels = load_from_ts_file("night.ts")
print(*(line for line in text.splitlines() if line.startswith("@classLabel")))
print(stages, "->", labels)
assert "@classLabel true N1" in text and ":N1" in text
assert labels.tolist() == ["n1", "w", "rem", "n1"]
assert np.array_equal(again, series, equal_nan=True)
EOF
