"""Classify EEG at events: a band-pass, one rate, windows from 0.5 s before to 2 s after each."""

from keras import Sequential, layers

import zarrts

study = zarrts.scan("eeg/").pick(["C3", "C4"]).filter(1, 40).resample("100Hz")
store = zarrts.convert(study, "eeg.zarr")
trials = store.samples.windows(at="annotations", before="0.5s", after="2s")
train, test = trials.split(test=1)
seq = zarrts.ZarrSequence(train, batch_size=8, stats=train.stats())
network = [layers.Conv1D(8, 20, activation="relu"), layers.GlobalMaxPooling1D()]
model = Sequential([*network, layers.Dense(store.n_classes, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(seq, epochs=2, verbose=0)
print(zarrts.evaluate(model, test, like=seq, progress=False))
