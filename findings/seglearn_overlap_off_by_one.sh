#!/usr/bin/env bash
# seglearn cuts windows of 100 rows that overlap by 0.9 every 9 rows, and by 0.8 every 19.
#
# Expected: a step of 10 rows, and of 20.
# Seen (seglearn 1.2.5): 100 * (1 - 0.9) is 9.999... in floating point, and is cut to 9. With 0.7 the step
# is 30, as one expects. step= says it in rows.
# Source: seglearn/transform.py, Segment, where the step is an int() of the product.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    seglearn==1.2.5 scikit-learn==1.7.2 pandas==2.3.3 scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import numpy as np
from seglearn.transform import Segment

print("seglearn", version("seglearn"))
series = [np.arange(2000.0)[:, np.newaxis]]
steps = {}
for overlap in (0.5, 0.7, 0.8, 0.9):
    windows = Segment(width=100, overlap=overlap).fit_transform(series, np.array([1]))[0]
    steps[overlap] = int(windows[1, 0, 0] - windows[0, 0, 0])
    print(f"overlap {overlap}: a window every {steps[overlap]} rows, {len(windows)} in all")
assert steps == {0.5: 50, 0.7: 30, 0.8: 19, 0.9: 9}
EOF
