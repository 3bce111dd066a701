#!/usr/bin/env bash
# class_weight weighs sequences of labels by the *position* of the largest label, not by labels.
#
# Expected: each label weighs by its class, or an error, as labels of (batch, time) have no class.
# Seen (Keras 3.15.1, JAX): fit takes any 2-D labels for one-hot rows, and the argmax for the class. With
# labels 0 and 1 for each of 4 steps and class_weight={0: 1, 1: 10, 2: 100}, a sample whose event is in
# step 2 weighs 100 times as much as one with its event in step 0. No warning.
# Source: keras/src/trainers/data_adapters/data_adapter_utils.py, class_weight_to_sample_weights.
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
inputs = keras.Input((4,))
network = keras.Model(inputs, keras.layers.Dense(4, kernel_initializer="zeros")(inputs))
network.compile(loss="mae", optimizer=keras.optimizers.SGD(0.0))
losses = []
for step in range(4):
    labels = np.zeros((8, 4), "f4")
    labels[:, step] = 1  # one event a sample: the plain loss is 1/4, the weighted one 10/4
    history = network.fit(
        np.ones((8, 4), "f4"), labels, class_weight={0: 1, 1: 10, 2: 100}, batch_size=8, verbose=0
    )
    losses.append(round(history.history["loss"][0], 6))
    print(f"event in step {step}: loss {losses[-1]}")
assert losses == [0.25, 2.5, 25.0, 0.25]
EOF
