"""Leave each subject out in turn, and print how well a network does on it.

python examples/leave_one_subject_out.py study.zarr --epochs 5
"""

import argparse

import keras
import numpy as np
from keras import layers

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()


def build_network(store: zarrts.Store) -> keras.Model:
    """Return a network that has seen nothing."""
    keras.utils.set_random_seed(0)
    network = [
        layers.Input(store.sample_shape),
        layers.LayerNormalization(axis=1),  # each sample has offsets of its own
        layers.Conv1D(32, 9, activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(64, 7, activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(store.n_classes, activation="softmax"),
    ]
    model = keras.Sequential(network)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


store = zarrts.open(args.store)
found = []
print("subject  samples  correct")
for train, val, test in store.samples.folds(val=1):
    keras.utils.clear_session()  # or the networks of all folds stay in memory
    model = build_network(store)
    best = keras.callbacks.EarlyStopping(patience=args.epochs, restore_best_weights=True)
    # The statistics differ from fold to fold: nobody's own data scale them.
    with zarrts.ZarrSequence(train, batch_size=128, stats=train.stats()) as seq:
        model.fit(
            seq, validation_data=seq.like(val), epochs=args.epochs, callbacks=[best], verbose=0
        )
        accuracy = model.evaluate(seq.like(test), verbose=0, return_dict=True)["accuracy"]
    found.append(accuracy)
    print(f"{test.subjects[0]:8} {len(test):7,} {accuracy:8.2f}", flush=True)
print(f"mean {np.mean(found):.3f}, from {min(found):.2f} to {max(found):.2f}")
