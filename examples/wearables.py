"""Train on smartwatch recordings: CSV files with time stamps and gaps, labels in another CSV."""

import keras

import zarrts

options = {"x": ["ax", "ay", "az"], "time": "when", "labels": "labels.csv"}
store = zarrts.convert("watches", "watches.zarr", **options)
windows = store.samples.windows("4s", "2s", label="majority", purity=0.8, nan="drop").labelled()
train, test = windows.split(test=1)
with zarrts.ZarrSequence(train, batch_size=32, stats=train.stats(), sample_weight="class") as seq:
    layers = [keras.Input(seq[0][0].shape[1:]), keras.layers.Conv1D(16, 9, activation="relu")]
    layers += [
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(store.n_classes, "softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(seq, epochs=20, verbose=0)
    print(zarrts.evaluate(model, test, like=seq))
