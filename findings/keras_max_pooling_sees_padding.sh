#!/usr/bin/env bash
# Of Keras' poolings over time, the average leaves padding out, the maximum takes it in.
#
# Expected: both use the mask, since both layers are called pooling over time.
# Seen (Keras 3.15.1, JAX): of values -1 and -2 and two masked steps of 0, GlobalAveragePooling1D gives
# -1.5, GlobalMaxPooling1D 0, the padding. Conv1D drops the mask as well, so that layers behind it see
# padding. A warning says so once, when the model is built.
# Source: supports_masking of each layer in keras/src/layers.
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
import warnings

import jax
import keras
import numpy as np

print("keras", keras.__version__, "jax", jax.__version__)
series = np.array([[[-1.0], [-2.0], [0.0], [0.0]]], "f4")
inputs = keras.Input((4, 1))
masked = keras.layers.Masking(0.0)(inputs)
seen = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for layer in (keras.layers.GlobalAveragePooling1D(), keras.layers.GlobalMaxPooling1D()):
        network = keras.Model(inputs, layer(masked))
        seen[type(layer).__name__] = float(network.predict(series, verbose=0)[0, 0])
    after_conv = keras.layers.Conv1D(1, 1)(masked)
print(seen, "| mask behind Conv1D:", getattr(after_conv, "_keras_mask", None))
print(len([it for it in caught if "mask" in str(it.message)]), "warnings of masks")
assert seen == {"GlobalAveragePooling1D": -1.5, "GlobalMaxPooling1D": 0.0}
assert getattr(after_conv, "_keras_mask", None) is None
EOF
