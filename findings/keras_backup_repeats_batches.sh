#!/usr/bin/env bash
# Keras' BackupAndRestore goes on with the weights of batch 14 and the data of batch 10.
#
# Expected: a run that was stopped goes on at the batch where its backup was made.
# Seen (Keras 3.15.1, JAX): save_freq=2 stores weights, epoch and batch; restored are weights and epoch.
# The epoch begins again, its first batches are seen twice, and the optimizer counts 24 steps of 20.
# Source: keras/src/callbacks/backup_and_restore.py, on_train_begin.
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
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return np.full((2, 1), index, "f4"), np.zeros((2, 1), "f4")


class Watch(keras.callbacks.Callback):
    def __init__(self, stop_at):
        super().__init__()
        self.batches, self.stop_at = [], stop_at

    def on_train_batch_begin(self, batch, logs=None):
        self.batches.append(batch)
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt


def train(stop_at=None):
    """Train for two epochs of ten batches; return the batches that were seen, and the model."""
    inputs = keras.Input((1,))
    network = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    network.compile(loss="mae", optimizer="sgd")
    watch = Watch(stop_at)
    backup = keras.callbacks.BackupAndRestore("backup", save_freq=2)
    try:
        network.fit(Numbers(), epochs=2, shuffle=False, verbose=0, callbacks=[backup, watch])
    except KeyboardInterrupt:
        pass
    return watch.batches, network


first, _ = train(stop_at=16)
second, network = train()
steps = int(network.optimizer.iterations)
print("until it was stopped:", first)
print("after that:", second, "|", steps, "steps of 20")
assert first[10:] == list(range(6)) and second == list(range(10)) and steps > 20
EOF
