#!/usr/bin/env bash
# Keras' metrics stop counting at 16,777,216 samples, if these come one by one.
#
# Expected: an accuracy over an epoch of any length, right to float32.
# Seen (Keras 3.15.1): total and count of a metric are float32. Beyond 2**24 adding 1 changes nothing: of
# as many right answers and 1,000 wrong ones the accuracy is 1.0. In batches of 32 it stops at 2**29,
# half a billion windows.
# Source: keras/src/metrics/reduction_metrics.py, variables of the metric's dtype.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for python in "${PYTHON:-python3.13}" python3.13 python3.12 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break
done
"$python" -m venv venv
venv/bin/python -m pip install --quiet --no-compile \
    keras==3.15.1 jax==0.12.0.1 jaxlib==0.12.0.1 numpy==2.4.6

KERAS_BACKEND=jax venv/bin/python - <<'EOF'
import jax
import keras
import numpy as np

print("keras", keras.__version__, "jax", jax.__version__)
accuracy = keras.metrics.BinaryAccuracy()
ones = np.ones((2**24, 1), "f4")
accuracy.update_state(ones, ones)
for _ in range(1000):
    accuracy.update_state(np.ones((1, 1), "f4"), np.zeros((1, 1), "f4"))
count, result = float(accuracy.count), float(accuracy.result())
print(f"counted {count:,.0f} of {2**24 + 1000:,}; accuracy {result}, right is {2**24 / (2**24 + 1000):.6f}")
assert count == 2**24 and result == 1.0
EOF
