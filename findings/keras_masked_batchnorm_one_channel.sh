#!/usr/bin/env bash
# Keras' BatchNormalization cannot train on masked series of a single channel with JAX.
#
# Expected: it works for one channel as for two.
# Seen (Keras 3.15.1, JAX 0.12): with a mask, mean and variance are taken over the unmasked steps, and
# squeezed; of one channel nothing is left to squeeze, and training ends in an IndexError. Two channels
# work, and so does one channel on TensorFlow.
# Source: keras/src/layers/normalization/batch_normalization.py, _moments.
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


def trained(n_channels):
    """Return the mean that is learnt of steps 2 and 4, and one masked step of 100."""
    series = np.repeat(np.array([[[2.0], [4.0], [100.0]]], "f4"), n_channels, axis=2)
    inputs = keras.Input((3, n_channels))
    normalise = keras.layers.BatchNormalization(momentum=0.0)
    outputs = keras.layers.GlobalAveragePooling1D()(normalise(keras.layers.Masking(100.0)(inputs)))
    network = keras.Model(inputs, outputs)
    network.compile(loss="mae", optimizer="sgd")
    network.fit(series, np.zeros((1, n_channels)), verbose=0)
    return np.asarray(normalise.moving_mean.value)


print("two channels:", trained(2))
assert np.allclose(trained(2), 3)
try:
    trained(1)
except IndexError as error:
    print("one channel:", type(error).__name__)
else:
    raise AssertionError("one channel works now")
EOF
