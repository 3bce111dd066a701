#!/usr/bin/env bash
# mat73 drops the axis of a single channel, in matrices but not in arrays of three axes.
#
# Expected: the sizes that MATLAB shows, of which there are always two or more.
# Seen (mat73 0.65, hdf5storage 0.2.2): (1000, 1) and (1, 1000) both come back as (1000,), so that time
# and channel cannot be told apart, also within cells; (1, 100, 1) keeps its axes.
# Source: mat73/core.py, which squeezes matrices.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    mat73==0.65 hdf5storage==0.2.2 h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

import hdf5storage
import mat73
import numpy as np

print("mat73", version("mat73"), "hdf5storage", version("hdf5storage"))
trials = np.empty(2, dtype=object)
trials[:] = [np.ones((30, 1)), np.ones((1, 30))]
warnings.simplefilter("ignore")
hdf5storage.savemat("axes.mat", {
    "column": np.ones((1000, 1)), "row": np.ones((1, 1000)), "cube": np.ones((1, 100, 1)),
    "trials": trials,
}, format="7.3")
it = mat73.loadmat("axes.mat")
print({name: it[name].shape for name in ("column", "row", "cube")}, [trial.shape for trial in it["trials"]])
assert it["column"].shape == it["row"].shape == (1000,)
assert it["cube"].shape == (1, 100, 1)
assert [trial.shape for trial in it["trials"]] == [(30,), (30,)]
EOF
