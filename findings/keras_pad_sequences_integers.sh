#!/usr/bin/env bash
# Keras' pad_sequences turns signals into whole numbers, and pads them at the front.
#
# Expected: the values as they are, and zeros behind them.
# Seen (Keras 3.15.1): the default dtype is int32 and the default padding "pre", made for indices of
# words. Signals between -1 and 1 become zeros, without a warning.
# Source: keras/src/utils/sequence_utils.py.
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
series = [[0.1, 0.9, -0.5], [1.7]]
usual = keras.utils.pad_sequences(series)
told = keras.utils.pad_sequences(series, dtype="float32", padding="post")
print(usual.dtype, usual.tolist(), "| told:", told.dtype, told.tolist())
assert usual.dtype == "int32" and usual.tolist() == [[0, 0, 0], [0, 0, 1]]
assert np.allclose(told, [[0.1, 0.9, -0.5], [1.7, 0, 0]])
EOF
