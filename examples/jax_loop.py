"""Train with JAX alone: the next batches are on the device before the step before them ends.

python examples/jax_loop.py study.zarr --epochs 5
"""

import argparse
from collections import deque
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--test", nargs="+", default=["s03"], help="subjects that test")
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()

store = zarrts.open(args.store)
train, test = store.samples.split(test=args.test)
# rank="auto": with jax.distributed, each process trains on its own part of every epoch.
options = {"label_mode": "int", "stats": train.stats(), "rank": "auto"}


def on_device(batches: Iterable[zarrts.Batch], ahead: int = 2) -> Iterator[tuple]:
    """Yield batches as arrays on the device, to which a few more are on their way."""
    waiting: deque[tuple] = deque()
    for batch in batches:
        # Returns at once: the copy goes on while the device computes.
        waiting.append(jax.device_put((batch.x, batch.y)))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def scores(weights: jax.Array, x: jax.Array) -> jax.Array:
    """Return the score of each class, from the log amplitude of each frequency."""
    amplitude = jnp.abs(jnp.fft.rfft(x, axis=1))[:, 1:].mean(axis=2)
    bias = jnp.ones((len(x), 1), x.dtype)
    return jnp.concatenate([jnp.log(amplitude + 1e-6), bias], axis=1) @ weights


def loss(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of a batch."""
    likely = jax.nn.log_softmax(scores(weights, x))
    return -jnp.take_along_axis(likely, y[:, None], axis=1).mean()


@jax.jit
def step(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the weights after a step of gradient descent."""
    return weights - 0.1 * jax.grad(loss)(weights, x, y)


weights = jnp.zeros((store.sample_shape[0] // 2 + 1, store.n_classes))
for epoch in range(args.epochs):
    # A smaller batch in the end would be compiled for once more.
    with train.batches(64, epoch=epoch, drop_last=True, **options) as batches:
        for x, y in on_device(batches):
            weights = step(weights, x, y)

n_correct = 0
for x, y in on_device(test.batches(64, shuffle=False, **{**options, "rank": 0})):
    n_correct += int((scores(weights, x).argmax(axis=1) == y).sum())
print(f"{', '.join(test.subjects)}: {n_correct / len(test):.2f} correct")
