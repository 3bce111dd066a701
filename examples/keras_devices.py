"""Train with Keras on several devices of one machine: each batch is divided among them.

KERAS_BACKEND=jax python examples/keras_devices.py study.zarr
KERAS_BACKEND=tensorflow python examples/keras_devices.py study.zarr --devices 2

--devices divides the processor into several, to try this out without GPUs.
"""

import argparse
import contextlib
import os

import zarrts

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", default="study.zarr")
parser.add_argument("--test", nargs="+", default=["s03"], help="subjects that test")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--devices", type=int, default=0, help="parts of the processor")
args = parser.parse_args()

if args.devices:  # before the backend starts
    flag = f"--xla_force_host_platform_device_count={args.devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"

import keras  # noqa: E402
from keras import layers  # noqa: E402


def tensorflow_strategy():
    """Return TensorFlow's strategy for all devices of this machine."""
    import tensorflow as tf

    if not args.devices:
        return tf.distribute.MirroredStrategy()
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(args.devices)]
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(args.devices)])


keras.utils.set_random_seed(0)
if keras.backend.backend() == "jax":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    n_devices, scope = len(keras.distribution.list_devices()), contextlib.nullcontext()
elif keras.backend.backend() == "tensorflow":
    strategy = tensorflow_strategy()
    n_devices, scope = strategy.num_replicas_in_sync, strategy.scope()
else:
    parser.error("on torch, one process is for one device: see examples/torch_loop.py")

with zarrts.open(args.store) as store:
    train, test = store.samples.split(test=args.test)
    with scope:
        model = keras.Sequential(
            [
                layers.Input(store.sample_shape),
                layers.LayerNormalization(axis=1),  # each sample has offsets of its own
                layers.Conv1D(32, 9, activation="relu"),
                layers.GlobalAveragePooling1D(),
                layers.Dense(store.n_classes, activation="softmax"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
    # drop_last: every batch can be divided by the number of devices.
    stats = train.stats()
    with zarrts.ZarrSequence(train, 64, stats=stats, drop_last=True) as seq:
        model.fit(seq, epochs=args.epochs, verbose=0)
    n_correct = 0
    with test.batches(64, shuffle=False, stats=stats, label_mode="int") as batches:
        for batch in batches:
            likely = keras.ops.convert_to_numpy(model(batch.x, training=False))
            n_correct += int((likely.argmax(axis=1) == batch.y).sum())
print(f"{n_devices} devices; {', '.join(test.subjects)}: {n_correct / len(test):.2f} correct")
