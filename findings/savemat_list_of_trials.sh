#!/usr/bin/env bash
# What scipy's savemat makes of a list of trials depends on which lengths happen to agree.
#
# Expected: a cell array, one cell a trial.
# Seen (scipy 1.17.1): trials of (time, channel) become cells; trials of (channel, time) that differ in
# time raise a ValueError about broadcasting; trials of one length become one 3-D array. An object
# array that is filled item by item is a cell array always.
# Source: scipy/io/matlab, which turns lists into arrays with NumPy first.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
import scipy.io

print("scipy", version("scipy"))


def saved(shapes):
    """Return what is read back of a list of trials of `shapes`."""
    try:
        scipy.io.savemat("trials.mat", {"x": [np.ones(it) for it in shapes]})
    except ValueError as error:
        return f"ValueError: {error}"
    it = scipy.io.loadmat("trials.mat")["x"]
    return f"{it.dtype} {it.shape}"


rows, columns, equal = ([(100, 2), (90, 2)], [(2, 100), (2, 90)], [(2, 100), (2, 100)])
found = [saved(it) for it in (rows, columns, equal)]
for shapes, it in zip((rows, columns, equal), found):
    print(shapes, "->", it)
assert found[0] == "object (1, 2)"
assert found[1].startswith("ValueError")
assert found[2] == "float64 (2, 2, 100)"
EOF
