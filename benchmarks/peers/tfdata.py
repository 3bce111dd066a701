"""tf.data over uncompressed TFRecords, one file per subject.

https://www.tensorflow.org/guide/data_performance: parallel interleave over the files, shuffle,
batch, then a vectorised map (parsing a whole batch at once), prefetch; AUTOTUNE throughout and
`deterministic=False`. Blocks of 16 records were faster than single ones. The shuffle buffer of
4,096 samples is 64 MiB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf
from work import Batch, Source

SHUFFLE_SAMPLES = 4096
SAMPLE_SHAPE = (128, 32)


def prepare(folder: Path, source: Source) -> None:
    for subject, (_, blocks) in enumerate(source.subjects()):
        with tf.io.TFRecordWriter(str(folder / f"s{subject + 1:02d}.tfrecord")) as writer:
            for x, ids in blocks:
                for sample, y in zip(x, ids, strict=True):
                    writer.write(_example(sample.tobytes(), int(y)))


def _example(x: bytes, y: int) -> bytes:
    feature = {
        "x": tf.train.Feature(bytes_list=tf.train.BytesList(value=[x])),
        "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[y])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return bytes(example.SerializeToString())


def _parse(serialised: Any) -> tuple[Any, Any]:
    parsed = tf.io.parse_example(
        serialised,
        {"x": tf.io.FixedLenFeature([], tf.string), "y": tf.io.FixedLenFeature([], tf.int64)},
    )
    x = tf.io.decode_raw(parsed["x"], tf.float32)
    return tf.reshape(x, (-1, *SAMPLE_SHAPE)), parsed["y"]


@cache
def _pipeline(folder: Path, batch_size: int) -> Any:
    files = tf.data.Dataset.list_files(str(folder / "*.tfrecord"), shuffle=True)
    records = files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=13,
        block_length=16,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=False,
    )
    return (
        records.shuffle(SHUFFLE_SAMPLES)
        .batch(batch_size)
        .map(_parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
        .prefetch(tf.data.AUTOTUNE)
    )


def batches(folder: Path, epoch: int, batch_size: int) -> Iterator[Batch]:
    del epoch  # the pipeline reshuffles by itself each time it is iterated
    yield from _pipeline(folder, batch_size).as_numpy_iterator()
