"""Train a small network on a store; validate and test it on subjects that it has never seen.

python examples/train.py study.zarr --test s03 --epochs 10
"""

import argparse

import keras
from keras import layers

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--test", nargs="+", default=["s03"], help="subjects that test")
parser.add_argument("--val", type=int, default=2, help="how many other subjects validate")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--model", default="model.keras", help="where the best network is saved")
args = parser.parse_args()

keras.utils.set_random_seed(0)
store = zarrts.open(args.store)
train, val, test = store.samples.split(val=args.val, test=args.test)
print(f"{len(train.subjects)} subjects train; validate: {val.subjects}; test: {test.subjects}")

model = keras.Sequential(
    [
        layers.Input(store.sample_shape),
        layers.LayerNormalization(axis=1),  # each sample has offsets of its own
        layers.Conv1D(32, 9, activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(64, 7, activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(store.n_classes, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

# The scaler has seen the training subjects only; like() gives it to validation and test.
with zarrts.ZarrSequence(train, batch_size=128, stats=train.stats()) as seq:
    model.fit(
        seq,
        validation_data=seq.like(val),
        epochs=args.epochs,
        class_weight=train.class_weight(),  # rare classes count as much as frequent ones
        callbacks=[keras.callbacks.ModelCheckpoint(args.model, save_best_only=True)],
        verbose=2,
    )
    # The epoch was chosen by the validation subjects, so they say nothing about new people.
    best = keras.models.load_model(args.model)
    found = best.evaluate(seq.like(test), verbose=0, return_dict=True)
print(f"{', '.join(test.subjects)}: {found['accuracy']:.2f} correct")
