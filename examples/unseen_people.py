"""Test on each of ten people in turn, whom the network never saw; and what a leaky split fakes.

python examples/unseen_people.py watch --epochs 20

The data are those of `zarrts demo`: smartwatch recordings during seven exercises. Published for
unseen people (Burns and Whyne, arXiv:1802.01489): 0.873 correct; with windows of one person on
both sides: 0.996. With 20 epochs, this network came to 0.847 (0.68 to 0.95), and to 0.950 where
samples were drawn at random.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

import zarrts
from zarrts.demo import build_network, read_watch, write_people
from zarrts.results import Evaluation

PUBLISHED, PUBLISHED_LEAKY = 0.873, 0.996

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", nargs="?", default="watch", type=Path)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--folds", type=int, default=10, help="how many of the ten people")
args = parser.parse_args()


def train_and_test(train: zarrts.Samples, test: zarrts.Samples) -> Evaluation:
    """Return how many samples of the test part a new network takes for what."""
    keras.utils.set_random_seed(0)
    keras.utils.clear_session()  # or the networks of all folds stay in memory
    model = build_network(train.store.sample_shape, train.n_classes)
    with zarrts.ZarrSequence(train, batch_size=64, stats=train.stats()) as seq:
        model.fit(seq, epochs=args.epochs, verbose=0)
        return zarrts.evaluate(model, test, like=seq)


def draw(found: Evaluation, path: Path) -> None:
    """Draw which class was taken for which, as a share of the true class."""
    counts = found.confusion.sum(axis=0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(picture, label="share of the true class")
    names = found.class_names
    axes.set_xticks(range(len(names)), names, rotation=45)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="taken for", ylabel="true", title="People whom the network never saw")
    for i, j in np.ndindex(counts.shape):
        color = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, counts[i, j], ha="center", va="center", color=color)
    figure.savefig(path, dpi=120)


write_people(read_watch(), args.folder / "people")
store = zarrts.convert(
    args.folder / "people", args.folder / "study.zarr", overwrite=True, progress=False
)

parts = []
for number, (train, test) in enumerate(store.samples.folds()):
    if number < args.folds:
        parts.append(train_and_test(train, test))
        print(f"{test.subjects[0]}: {parts[-1].accuracy:.2f} correct", flush=True)
found = Evaluation(
    subjects=tuple(subject for part in parts for subject in part.subjects),
    class_names=parts[0].class_names,
    confusion=np.concatenate([part.confusion for part in parts]),
)
each = found.subject_accuracy
print(found)
print(
    f"unseen people   mean {each.mean():.3f}, deviation {each.std():.3f}, "
    f"{each.min():.2f} to {each.max():.2f}; published {PUBLISHED}"
)

# What many do: a random part of all samples, so that everybody, and half of nearly every window,
# is on both sides. `samples.split` refuses that; `select` does as it is told.
ids = np.random.default_rng(0).permutation(store.samples.ids)
held_out = len(ids) // 10
leaky = train_and_test(
    store.samples.select(ids=ids[held_out:]), store.samples.select(ids=ids[:held_out])
)
print(f"random samples  {leaky.accuracy:.3f}, which is no test; published {PUBLISHED_LEAKY}")
draw(found, args.folder / "confusion.png")
print(f"picture         {(args.folder / 'confusion.png').as_posix()}")
