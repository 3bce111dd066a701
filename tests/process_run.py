"""One of several training processes that a framework connects; says which samples it was fed.

python process_run.py FRAMEWORK RANK PORT STORE OUT (TF_CONFIG is set by whoever starts it)

What it was fed is saved as {way: batches of sample numbers}. In each step the processes add up how
many they are, so that one with more batches than the others would wait forever.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

import zarrts

BATCH, MEMORY = 16, "12KiB"


def numbers_of(x):
    """Return the numbers of the samples of a batch, which lie in their first value."""
    return [int(it) for it in np.asarray(x)[:, 0, 0]]


def run_tensorflow(rank, port, store):
    """Read under a MultiWorkerMirroredStrategy: with a loop of one's own, and as `fit` reads."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with zarrts.ZarrSequence(store, BATCH, memory=MEMORY, rank="auto") as seq:
        assert (seq.rank, strategy.num_replicas_in_sync) == (rank, 2)
        dataset = strategy.distribute_datasets_from_function(lambda context: seq.to_tf_dataset(0))

        @tf.function
        def step(x):
            return strategy.reduce("SUM", strategy.run(lambda it: tf.ones(()), (x,)), axis=None)

        own = []
        for x, _ in dataset:
            assert float(step(x)) == 2
            own += [numbers_of(it) for it in strategy.experimental_local_results(x)]
        from keras.src.backend.tensorflow.trainer import TFEpochIterator

        fit = []
        epoch = TFEpochIterator(distribute_strategy=strategy, x=seq, shuffle=True)
        for _, _, iterator in epoch.enumerate_epoch():
            x, _ = next(iterator)
            fit += [numbers_of(it) for it in strategy.experimental_local_results(x)]
    return {"own": own, "fit": fit}


def run_jax(rank, port, store):
    """Read with a loop of one's own, whose steps all processes take together."""
    import jax

    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    from jax.experimental import multihost_utils

    own = []
    with zarrts.open(store) as opened:
        for batch in opened.samples.batches(BATCH, memory=MEMORY, rank="auto"):
            assert multihost_utils.process_allgather(np.ones(1)).sum() == 2
            own.append(numbers_of(batch.x))
    jax.distributed.shutdown()
    return {"own": own}


def run_torch(rank, port, store):
    """Read with a loop of one's own, whose steps all processes take together."""
    import torch

    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    own, workers = [], []
    with zarrts.open(store) as opened:
        dataset = opened.samples.to_torch(BATCH, memory=MEMORY, rank="auto")
        loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
        for seen, batches in ((own, dataset), (workers, loader)):
            for x, _ in batches:
                count = torch.ones(1)
                torch.distributed.all_reduce(count)
                assert count.item() == 2
                seen.append(numbers_of(x))
        dataset.close()
    torch.distributed.destroy_process_group()
    return {"own": own, "workers": workers}


if __name__ == "__main__":
    framework, rank, port, store, out = sys.argv[1:]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    run = {"tensorflow": run_tensorflow, "jax": run_jax, "torch": run_torch}[framework]
    Path(out).write_text(json.dumps(run(int(rank), port, store)))
