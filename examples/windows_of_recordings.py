"""Store long recordings uncut, and train on windows of them, leaving each person out in turn.

    python examples/windows_of_recordings.py watch.zarr --epochs 15

The data are those of `zarrts demo`: 140 recordings of smartwatches, of unequal length, with one
exercise each. The demo saves windows of them, where neighbours overlap by half; here the recordings
are stored once, and the windows are cut while the network trains. The samples are the same.
"""

import argparse

import keras
import numpy as np

import zarrts
from zarrts.demo import build_network, read_watch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="watch.zarr")
parser.add_argument("--epochs", type=int, default=15, help="0 only cuts the windows")
args = parser.parse_args()

watch = read_watch()
names = np.array(watch["y_labels"])
recordings = [
    zarrts.Recording(
        f"s{watch['subject'][i]:02d}", watch["X"][i].astype(np.float32), names[watch["y"][i]]
    )
    for i in np.argsort(watch["subject"], kind="stable")
]
store = zarrts.convert(recordings, args.store, channels=watch["X_labels"].tolist(), rate_hz=50)
windows = store.samples.windows("4s", "2s")  # of 200 rows, every 100
print(f"{store.n_samples} recordings of {len(store.subjects)} people, {len(windows):,} windows")

found = []
for train, val, test in windows.folds(val=1) if args.epochs else ():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = build_network((200, 6), store.n_classes)
    with zarrts.ZarrSequence(train, batch_size=64, stats=train.stats()) as seq:
        model.fit(seq, validation_data=seq.like(val), epochs=args.epochs, verbose=0)
        accuracy = model.evaluate(seq.like(test), verbose=0, return_dict=True)["accuracy"]
    found.append(accuracy)
    print(f"{test.subjects[0]}: {accuracy:.2f} correct of {len(test)} windows", flush=True)
if found:
    print(f"mean {np.mean(found):.3f}, from {min(found):.2f} to {max(found):.2f}")
