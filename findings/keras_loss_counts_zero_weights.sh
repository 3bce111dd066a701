#!/usr/bin/env bash
# Under sample weights with zeros, Keras' loss and the metric of the same name are two numbers.
#
# Expected: mean absolute error is mean absolute error.
# Seen (Keras 3.15.1, JAX): two of four samples weigh 0. The loss is divided by 4, the weighted metric by
# the sum of weights, 2: loss 0.5, mae 1.0. With many missing labels the loss of a batch, and the step
# that is made from it, shrinks.
# Source: keras/src/losses/loss.py ("sum_over_batch_size") and keras/src/metrics/reduction_metrics.py.
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
inputs = keras.Input((1,))
network = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
network.compile(loss="mae", weighted_metrics=["mae"])
scores = network.evaluate(
    np.zeros((4, 1), "f4"), np.ones((4, 1), "f4"), sample_weight=np.array([1, 1, 0, 0], "f4"),
    verbose=0, return_dict=True,
)
print(scores)
assert scores == {"loss": 0.5, "mae": 1.0}
EOF
