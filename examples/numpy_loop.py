"""Train without Keras: softmax regression in NumPy, on the spectrum of each sample.

python examples/numpy_loop.py study.zarr --epochs 5
"""

import argparse

import numpy as np

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--test", nargs="+", default=["s03"], help="subjects that test")
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()

store = zarrts.open(args.store)
train, test = store.samples.split(test=args.test)
# Like fit, a loop of one's own has to scale every part by the training part.
options = {"label_mode": "int", "stats": train.stats()}


def spectrum(x: np.ndarray) -> np.ndarray:
    """Return log amplitude of each frequency, mean over channels, and a 1 for the bias."""
    amplitude = np.abs(np.fft.rfft(x, axis=1))[:, 1:].mean(axis=2)
    return np.column_stack([np.log(amplitude + 1e-6), np.ones(len(x))])


def likely(x: np.ndarray) -> np.ndarray:
    """Return the probability of each class."""
    score = spectrum(x) @ weights
    odds = np.exp(score - score.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


n_features = store.sample_shape[0] // 2 + 1
weights = np.zeros((n_features, store.n_classes))
for epoch in range(args.epochs):
    # Another epoch, another order; the same epoch always gives the same batches.
    for batch in train.batches(64, epoch=epoch, **options):
        error = likely(batch.x)
        error[np.arange(len(batch.y)), batch.y] -= 1
        weights -= 0.1 * spectrum(batch.x).T @ error / len(batch.y)

n_correct = 0
for batch in test.batches(64, shuffle=False, **options):
    n_correct += int((likely(batch.x).argmax(axis=1) == batch.y).sum())
print(f"{', '.join(test.subjects)}: {n_correct / len(test):.2f} correct")
