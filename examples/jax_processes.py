"""Train with JAX in several processes, on one machine or many: each batch is one of all of them.

Start it once for each process, with its number:

python examples/jax_processes.py study.zarr --processes 2 --process 0 &
python examples/jax_processes.py study.zarr --processes 2 --process 1
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--test", nargs="+", default=["s03"], help="subjects that test")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--processes", type=int, default=1)
parser.add_argument("--process", type=int, default=0, help="which one this is, from 0")
parser.add_argument("--coordinator", default="127.0.0.1:8476", help="where process 0 listens")
args = parser.parse_args()

if args.processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # GPUs have their own
    jax.distributed.initialize(args.coordinator, args.processes, args.process)
# The devices of all processes, each with its part of every batch.
mesh = Mesh(np.array(jax.devices()), ("sample",))
divided = NamedSharding(mesh, PartitionSpec("sample"))
everywhere = NamedSharding(mesh, PartitionSpec())


def scores(weights: jax.Array, x: jax.Array) -> jax.Array:
    """Return the score of each class, from the log amplitude of each frequency."""
    amplitude = jnp.abs(jnp.fft.rfft(x, axis=1))[:, 1:].mean(axis=2)
    bias = jnp.ones((len(x), 1), x.dtype)
    return jnp.concatenate([jnp.log(amplitude + 1e-6), bias], axis=1) @ weights


def loss(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of a batch, over all processes."""
    likely = jax.nn.log_softmax(scores(weights, x))
    return -jnp.take_along_axis(likely, y[:, None], axis=1).mean()


@jax.jit
def step(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the weights after a step of gradient descent, the same in every process."""
    return weights - 0.1 * jax.grad(loss)(weights, x, y)


with zarrts.open(args.store) as store:
    train, test = store.samples.split(test=args.test)
    options = {"label_mode": "int", "stats": train.stats()}
    zeros = np.zeros((store.sample_shape[0] // 2 + 1, store.n_classes), np.float32)
    weights = jax.device_put(zeros, everywhere)
    n_samples = n_batches = 0
    for epoch in range(args.epochs):
        # rank="auto" asks jax.distributed. drop_last: all batches have one size, in all processes.
        with train.batches(32, epoch=epoch, drop_last=True, rank="auto", **options) as batches:
            for batch in batches:
                x, y = (
                    jax.make_array_from_process_local_data(divided, it) for it in (batch.x, batch.y)
                )
                weights = step(weights, x, y)
                n_samples, n_batches = n_samples + len(batch.y), n_batches + 1
    print(f"process {jax.process_index()}: {n_samples} samples in {n_batches} batches")
    if jax.process_index() == 0:
        trained = np.asarray(weights)
        with test.batches(64, shuffle=False, **options) as batches:
            found = [np.asarray(scores(trained, it.x)).argmax(axis=1) == it.y for it in batches]
        print(f"{', '.join(test.subjects)}: {np.concatenate(found).mean():.2f} correct")
