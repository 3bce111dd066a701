"""A `tf.data` set of the batches of a sequence: what `ZarrSequence.to_tf_dataset` returns.

Each iteration begins by asking which epoch it is, and then asks for batches by their numbers, in
order; threads of ours read ahead of it. TensorFlow keeps every function that it was given, and
whatever that refers to, to the end of the process: so these refer to the feed weakly, and the
data set keeps it.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.keras.feed import Feed
from zarrts.loading.epochs import EpochPart, Pass, Reader
from zarrts.loading.pace import TAKEN_AHEAD
from zarrts.types import AnyArray, IntArray

_MOST_PASSES = 4  # of one adapter that may be under way, such as one that was left for another


def tf_dataset_of(feed: Feed, part: EpochPart | None) -> Any:
    """Return a `tf.data.Dataset` whose iterations each give a part of an epoch, or the next epoch.

    It keeps the feed alive, as its attribute `zarrts_feed`.
    """
    tf = _tensorflow()
    held, n_batches = weakref.ref(feed), feed.n_batches
    spec = _spec_of(tf, feed)
    skips = feed.skips_damage
    start = 0 if part is None else part.start

    # Nothing in these needs AutoGraph, which warns of each on Python 3.13.
    plain = tf.autograph.experimental.do_not_convert

    def begin() -> IntArray:
        begun = _held(held).passes.begin_epoch(part)
        return np.array(begun, np.int64)

    def take(begun: IntArray, index: IntArray) -> list[AnyArray]:
        feed = _held(held)
        epoch, n_closed = (int(it) for it in begun)
        batch = feed.passes.batch_ahead(epoch, int(index), n_closed)
        if not len(batch.sample_id) and feed.skips_damage:
            shapes = [[size or 0 for size in it.shape] for it in tf.nest.flatten(spec)]
            dtypes = [it.dtype.as_numpy_dtype for it in tf.nest.flatten(spec)]
            return [np.zeros(*each) for each in zip(shapes, dtypes, strict=True)]
        return [np.asarray(it) for it in tf.nest.flatten(feed.as_tuple(batch))]

    def batch_of(begun: Any, index: Any) -> Any:
        flat_spec = tf.nest.flatten(spec)
        arrays = tf.numpy_function(take, [begun, index], [it.dtype for it in flat_spec])
        for array, its_spec in zip(arrays, flat_spec, strict=True):
            array.set_shape(its_spec.shape)
        return tf.nest.pack_sequence_as(spec, arrays)

    def batches_of(begun: Any) -> Any:
        begun.set_shape((2,))
        numbers = tf.data.Dataset.range(start, n_batches)
        batches = numbers.map(plain(lambda index: batch_of(begun, index)))
        if not skips:
            return batches
        # Of which no sample can be read: a batch of none.
        return batches.filter(plain(lambda *it: tf.shape(tf.nest.flatten(it)[0])[0] > 0))

    options = tf.data.Options()
    # Each rank has samples of its own already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # A position is epoch and batch, which a checkpoint of an iterator holds.
    policies = tf.data.experimental.ExternalStatePolicy
    options.experimental_external_state_policy = policies.IGNORE
    epochs = tf.data.Dataset.from_tensors(0)
    epochs = epochs.map(plain(lambda _: tf.numpy_function(begin, [], tf.int64)))
    dataset = epochs.flat_map(plain(batches_of))
    if not skips:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(n_batches - start))
    dataset = dataset.prefetch(TAKEN_AHEAD).with_options(options)
    dataset.zarrts_feed = feed
    return dataset


def pass_dataset(
    held: "weakref.ref[Feed]",
    reader: Reader,
    spec: Any,
    standardize: Callable[[Any], Any],
) -> Any:
    """Return a `tf.data.Dataset` of the passes of one reader, each iteration the next of them.

    A pass begins when its first batch is asked for.

    Parameters
    ----------
    held : weak reference to Feed
    reader : Reader
    spec : structure of TensorSpec
        Of what `standardize` makes of a batch.
    standardize : callable
    """
    tf = _tensorflow()
    plain = tf.autograph.experimental.do_not_convert
    flat_spec = tf.nest.flatten(spec)
    wanted = [(it.dtype.as_numpy_dtype, it.shape.as_list()) for it in flat_spec]
    under_way: dict[int, Pass] = {}
    numbers = itertools.count()

    def begin() -> IntArray:
        current = _held(held).passes.begin(reader)
        number = next(numbers)
        under_way[number] = current
        under_way.pop(number - _MOST_PASSES, None)
        return np.array([number, current.part.stop - current.next_batch], np.int64)

    def take(number: IntArray) -> list[AnyArray]:
        batch = _held(held).next_of(under_way[int(number)])
        flat = tf.nest.flatten(standardize(batch))
        arrays = [np.asarray(it, dtype) for it, (dtype, _) in zip(flat, wanted, strict=True)]
        for array, (_, sizes) in zip(arrays, wanted, strict=True):
            if len(sizes) != array.ndim or any(
                size not in (None, found) for size, found in zip(sizes, array.shape, strict=True)
            ):
                raise SampleError(
                    f"A batch of shape {array.shape} came where {sizes} was before; a transform "
                    "has to give batches of one shape for TensorFlow."
                )
        return arrays

    def batch_of(number: Any) -> Any:
        arrays = tf.numpy_function(take, [number], [it.dtype for it in flat_spec])
        for array, its_spec in zip(arrays, flat_spec, strict=True):
            array.set_shape(its_spec.shape)
        return tf.nest.pack_sequence_as(spec, arrays)

    def batches_of(begun: Any) -> Any:
        begun.set_shape((2,))
        batches = tf.data.Dataset.range(begun[1])
        return batches.map(plain(lambda _: batch_of(begun[0])))

    passes = tf.data.Dataset.from_tensors(0)
    passes = passes.map(plain(lambda _: tf.numpy_function(begin, [], tf.int64)))
    return passes.flat_map(plain(batches_of))


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            "to_tf_dataset needs TensorFlow, whatever the backend of Keras: python -m pip install "
            "'zarrts[tensorflow]'."
        ) from error
    return tensorflow


def _held(feed: "weakref.ref[Feed]") -> Feed:
    found = feed()
    if found is None:
        raise SampleError("The sequence of this data set is gone: keep it, or the data set.")
    return found


def _spec_of(tf: Any, feed: Feed) -> Any:
    """Return the TensorSpec of each part of a batch; an axis that may vary is None."""
    batches = feed.unlike_batches() or [feed.as_tuple(feed.passes.batch(0, 0))]
    is_fixed = feed.passes.has_equal_batches

    def spec_of(*parts: AnyArray) -> Any:
        shapes = [np.shape(it) for it in parts]
        shape = [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True)]
        return tf.TensorSpec([shape[0] if is_fixed else None, *shape[1:]], parts[0].dtype)

    return tf.nest.map_structure(spec_of, *batches)
