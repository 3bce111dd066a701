#!/usr/bin/env bash
# Keras calls a PyDataset's on_epoch_end once before the first epoch.
#
# Expected: as many calls as epochs.
# Seen (Keras 3.15.1, JAX): n + 1 calls for n epochs; the first comes before any batch was trained on. A
# data set that counts epochs by its hook, or shuffles in it, is one ahead.
# Source: keras/src/trainers/epoch_iterator.py and data_adapters/py_dataset_adapter.py.
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


class Numbers(keras.utils.PyDataset):
    n_trained = 0
    seen = ()

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.zeros((2, 1), "f4"), np.zeros((2, 1), "f4")

    def on_epoch_end(self):
        self.seen += (self.n_trained,)


class Count(keras.callbacks.Callback):
    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def on_train_batch_end(self, batch, logs=None):
        self.numbers.n_trained += 1


inputs = keras.Input((1,))
network = keras.Model(inputs, keras.layers.Dense(1)(inputs))
network.compile(loss="mae", optimizer="sgd")
numbers = Numbers()
network.fit(numbers, epochs=2, verbose=0, callbacks=[Count(numbers)])
print("batches trained on when on_epoch_end was called:", numbers.seen)
assert numbers.seen[0] == 0 and len(numbers.seen) == 3
EOF
