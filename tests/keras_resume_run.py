"""One run of training, in a process of its own, that may be killed at a step.

python keras_resume_run.py STORE BACKUP WEIGHTS KILL_AT STEPS_PER_EPOCH (0 for none of either)
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

import zarrts

EPOCHS, BATCH = 3, 16


def make_network():
    """Return a network with random layers and an optimizer that remembers."""
    keras.utils.set_random_seed(7)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.Rescaling(0.01),
            keras.layers.Conv1D(8, 3, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def compile_network(network, **options):
    """Compile it as all runs do."""
    network.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return network


class KillAt(keras.callbacks.Callback):
    """Ends the process at a step, as a power cut would."""

    def __init__(self, step):
        super().__init__()
        self._left = step

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def main(store, backup, weights, kill_at, steps):
    network = compile_network(make_network())
    with zarrts.ZarrSequence(store, BATCH, seed=3, memory="12KiB") as seq:
        network.fit(
            seq,
            epochs=EPOCHS * 3 if int(steps) else EPOCHS,
            steps_per_epoch=int(steps) or None,
            callbacks=[zarrts.BackupAndRestore(backup, seq, save_freq=3), KillAt(int(kill_at))],
            verbose=0,
        )
    np.savez(Path(weights), *network.get_weights())


if __name__ == "__main__":
    main(*sys.argv[1:])
