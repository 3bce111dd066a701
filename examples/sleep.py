"""Score sleep, each person left out in turn: other channels, rates and kinds of hypnograms."""

from keras import Sequential, layers, losses

import zarrts

study = zarrts.scan("nights.csv", label_every="30s")  # a table: subject, x, y
study = study.pick({"EEG": ["Fpz-Cz", "EEG Fpz-Cz"], "EOG": ["EOG horizontal"]}, absent="nan")
store = zarrts.convert(study.filter(0.3, 20).resample("50Hz"), "sleep.zarr")
nights = store.samples.windows("30s", label="majority").sequences(20)
results = []
for train, test in nights.folds():
    seq = zarrts.ZarrSequence(train, batch_size=4, stats=train.stats(), nan="fill")
    epoch = [layers.Conv1D(8, 50, 25, activation="relu"), layers.GlobalMaxPooling1D()]
    model = Sequential([*map(layers.TimeDistributed, epoch), layers.Dense(5, "softmax")])
    model.compile("adam", losses.SparseCategoricalCrossentropy(ignore_class=-1))
    model.fit(seq, epochs=1, verbose=0)
    results.append(zarrts.evaluate(model, test, like=seq, progress=False))
print(sum(results))
