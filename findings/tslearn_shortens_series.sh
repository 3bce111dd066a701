#!/usr/bin/env bash
# tslearn takes missing values at the end of a series for padding, and so shortens the series.
#
# Expected: a series of 5 steps of which the last two are missing has 5 steps.
# Seen (tslearn 0.10.0): series of unequal lengths are padded with NaN in one array; the length of each
# is found by counting NaN from the end. A sensor that was taken off early makes its recording shorter.
# Source: tslearn/utils, ts_size.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    tslearn==0.10.0 scikit-learn==1.7.2 scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import numpy as np
from tslearn.utils import to_time_series_dataset, ts_size

print("tslearn", version("tslearn"))
worn, taken_off = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, np.nan, np.nan]
lengths = [int(ts_size(it)) for it in to_time_series_dataset([worn, taken_off])]
print("lengths:", lengths)
assert lengths == [5, 3]
EOF
