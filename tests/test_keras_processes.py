"""Real processes that a framework connects share each epoch; and devices share each batch."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest

keras = pytest.importorskip("keras", exc_type=ImportError)

import process_run  # noqa: E402
from keras_models import flat, make_numbered  # noqa: E402

N, N_BATCHES = 161, 5
WAYS = {"tensorflow": ["fit", "own"], "jax": ["own"], "torch": ["own", "workers"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory, make_study):
    """161 numbered samples of four people."""
    return make_numbered(tmp_path_factory.mktemp("numbered"), make_study)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for it in sockets:
        it.bind(("127.0.0.1", 0))
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def environment(**variables):
    path = os.pathsep.join(sys.path)
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}


def start(framework, rank, ports, study, folder):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": rank}}
    variables = {"TF_CONFIG": json.dumps(config)} if framework == "tensorflow" else {}
    out = folder / f"{rank}.json"
    command = [sys.executable, "-W", "ignore", process_run.__file__, framework, str(rank)]
    return subprocess.Popen(
        [*command, str(ports[0]), str(study.path), str(out)],
        env=environment(KERAS_BACKEND=keras.backend.backend(), **variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tensorflow", "jax", "torch"])
def test_two_processes_share_the_epoch(study, tmp_path, framework):
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    if framework == "tensorflow" and keras.backend.backend() != "tensorflow":
        pytest.skip("fit reads tf.data on TensorFlow only")
    ports = free_ports(2)
    running = [start(framework, rank, ports, study, tmp_path) for rank in range(2)]
    try:
        said = [it.communicate(timeout=240)[1] for it in running]
    finally:
        for it in running:
            it.kill()
    assert [it.returncode for it in running] == [0, 0], "\n".join(said)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for way in WAYS[framework]:
        assert [len(it[way]) for it in found] == [N_BATCHES, N_BATCHES]
        assert sorted(flat(found[0][way]) + flat(found[1][way])) == list(range(N)), way
        assert {len(batch) for it in found for batch in it[way][:-1]} >= {16}


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="DataParallel is Keras' on JAX")
def test_two_devices_share_each_batch(study, tmp_path):
    code = f"""
import keras, numpy as np, zarrts
from keras_models import make_counting_model, counts_of
keras.distribution.set_distribution(keras.distribution.DataParallel())
assert len(keras.distribution.list_devices()) == 2
model = make_counting_model(np.load({str(tmp_path / "codes.npy")!r}))
with zarrts.ZarrSequence({str(study.path)!r}, 16, memory="12KiB", drop_last=True) as seq:
    history = model.fit(seq, epochs=2, verbose=0).history
    assert history["loss"] == [0, 0], history
    counts = keras.ops.convert_to_numpy(model.layers[-1].counts)
assert counts.sum() == 2 * 160 and counts.max() <= 2, counts
"""
    import numpy as np

    np.save(tmp_path / "codes.npy", study.codes)
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment(KERAS_BACKEND="jax", XLA_FLAGS=flags),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_mirrored_devices_share_each_batch(study, tmp_path):
    code = f"""
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
virtual = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [virtual, virtual])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
import keras, zarrts
seen = []
class Note(keras.layers.Layer):
    def call(self, x, training=False):
        if training:
            def note(it):
                seen.extend(it[:, 0, 0].astype(int).tolist())
                return np.float32(0)
            x = x + tf.ensure_shape(tf.numpy_function(note, [x], tf.float32), ())
        return x
with strategy.scope():
    layers = [keras.Input((6, 3)), Note(), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
with zarrts.ZarrSequence({str(study.path)!r}, 16, memory="12KiB") as seq:
    model.fit(seq, epochs=2, verbose=0)
assert sorted(seen) == sorted([*range(161)] * 2), len(seen)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment(KERAS_BACKEND="tensorflow"),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
