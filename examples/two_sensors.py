"""Train a network with two inputs, at 50 Hz and 1 Hz, leaving each person out in turn.

python examples/two_sensors.py two.zarr --epochs 12
"""

import argparse

import keras
import numpy as np

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="two.zarr")
parser.add_argument("--epochs", type=int, default=12)
args = parser.parse_args()


def record(subject: str, label: str, seed: int) -> zarrts.Recording:
    """Return two minutes of a person who walks or rests."""
    rng, walks = np.random.default_rng(seed), label == "walk"
    time = np.arange(6000)[:, None] / 50
    acc = np.sin(2 * np.pi * time * [1, 2, 3]) * walks + rng.normal(size=(6000, 3))
    x = {"acc": acc, "hr": rng.normal(70 + 20 * walks, 10, (120, 1))}
    return zarrts.Recording(subject, x, label, rate_hz={"acc": 50, "hr": 1})


people = [record(f"s{i}", label, i) for i in range(4) for label in ("rest", "walk")]
store = zarrts.convert(people, args.store, kind="ragged", progress=False)
for train, test in store.samples.windows("4s", "2s").folds():
    acc, hr = keras.Input((200, 3), name="acc"), keras.Input((4, 1), name="hr")
    moves = keras.layers.GlobalMaxPooling1D()(keras.layers.Conv1D(8, 25, strides=5)(acc))
    joined = keras.layers.Concatenate()([moves, keras.layers.Flatten()(hr)])
    model = keras.Model([acc, hr], keras.layers.Dense(2, activation="softmax")(joined))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with zarrts.ZarrSequence(train, batch_size=16, stats=train.stats()) as seq:
        model.fit(seq, epochs=args.epochs, verbose=0)
        right = zarrts.evaluate(model, test, like=seq, progress=False).accuracy
        new = zarrts.predict(model, record("new", "walk", 9), like=seq, progress=False)
    print(f"{test.subjects[0]}: {right:.2f} correct; a new walk: {new.values[:, 1].mean():.2f}")
