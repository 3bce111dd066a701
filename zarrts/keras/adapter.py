"""All that zarrts knows of the inside of Keras: how its trainers read a data set.

In `fit`, `evaluate` and `predict` an adapter of Keras asks a data set for batch i. By default it
permutes the i with the global `random`, and on TensorFlow `tf.data` reads ahead of it without a
bound in bytes. Both are undone here, once for each adapter: it gets its batches from a pass of
ours, and TensorFlow reads ahead by two. A Keras that is built otherwise is not touched: it asks
the sequence for batch i, which is right, though slow; see `warn_of_unknown`.
"""

import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

from zarrts.keras.feed import Feed
from zarrts.keras.tf_dataset import pass_dataset
from zarrts.loading.epochs import Reader
from zarrts.loading.pace import TAKEN_AHEAD

_ADAPTERS = "keras.src.trainers.data_adapters"
_PROBE = "get_tf_dataset"
_NEEDED = ("_get_iterator", "_standardize_batch", _PROBE)


def attach(frame: FrameType, sequence: object, feed: Feed) -> Reader | None:
    """Let an adapter that is being made read passes; return its reader.

    Parameters
    ----------
    frame : frame
        Of whoever asked `sequence` how many workers it has; None is returned if that is no
        adapter as we know it.
    sequence : PyDataset
        That was asked.
    feed : Feed
        Its batches.
    """
    adapter = frame.f_locals.get("self")
    is_known = (
        frame.f_code.co_name == "__init__"
        and frame.f_globals.get("__name__", "").startswith(_ADAPTERS)
        and getattr(adapter, "py_dataset", None) is sequence
        and all(callable(getattr(adapter, name, None)) for name in _NEEDED)
    )
    if adapter is None or not is_known:
        return None
    reader = Reader()
    # TensorFlow never frees a generator, nor what it refers to: each sequence that was read once
    # would keep its threads and memory to the end of the process. `fit` itself holds it.
    adapter.py_dataset = weakref.proxy(sequence)
    held = weakref.ref(feed)
    adapter._get_iterator = partial(_read_pass, held, reader, adapter._standardize_batch)
    adapter.get_tf_dataset = partial(_bounded, adapter, adapter.get_tf_dataset, held, reader)
    adapter.zarrts_reader = reader
    return reader


def _read_pass(
    held: "weakref.ref[Feed]", reader: Reader, standardize: Callable[[Any], Any]
) -> Iterator[Any]:
    """Yield the batches of one pass, which begins when the first is asked for."""
    current = None
    while (feed := held()) is not None:
        if current is None:
            current = feed.passes.begin(reader)
        batch = feed.next_of(current)
        del feed
        if batch is None:
            return
        yield standardize(batch)


def _bounded(
    adapter: Any, make: Callable[[], Any], held: "weakref.ref[Feed]", reader: Reader
) -> Any:
    """Return Keras' tf.data set, reading ahead by a few batches, however large they are.

    A generator costs TensorFlow twice what a function does that it calls for each batch; so where
    the number of batches is known before, that takes its place.

    TensorFlow wants to know beforehand in which axes batches differ. Keras reads the first two,
    which may have one length by chance, and each time; then a later batch would be an error.
    """
    feed = held()
    examples = feed.examples() if feed is not None else []
    if examples and getattr(adapter, "_output_signature", True) is None:
        from keras.src.trainers.data_adapters import data_adapter_utils

        standard = [adapter._standardize_batch(batch) for batch in examples]
        adapter._output_signature = data_adapter_utils.get_tensor_spec(standard)
    dataset = make()
    unbounded = getattr(dataset, "_input_dataset", None)
    if type(dataset).__name__ != "_PrefetchDataset" or unbounded is None:
        return dataset
    skips = feed is not None and feed.skips_damage
    del feed
    if not skips:
        unbounded = pass_dataset(held, reader, dataset.element_spec, adapter._standardize_batch)
    bounded = unbounded.prefetch(TAKEN_AHEAD)
    strategy: Any = getattr(sys._getframe(1).f_locals.get("self"), "_distribute_strategy", None)
    has_workers = getattr(getattr(strategy, "extended", None), "_in_multi_worker_mode", None)
    if has_workers is None or not has_workers():
        return bounded
    # What Keras would do divides each batch by the number of workers, and deals the parts out
    # among them, though each has samples of its own already.
    return strategy.distribute_datasets_from_function(lambda context: bounded)


def trainer_of(frame: FrameType) -> tuple[str, Any] | None:
    """Return which of `fit`, `evaluate` and `predict` made an adapter, and of which network.

    Parameters
    ----------
    frame : frame
        Of the adapter, as for `attach`.
    """
    caller: FrameType | None = frame
    while caller is not None:
        name = caller.f_code.co_name
        is_keras = caller.f_globals.get("__name__", "").startswith("keras.src.backend.")
        if is_keras and name in ("fit", "evaluate", "predict"):
            return name, caller.f_locals.get("self")
        caller = caller.f_back
    return None


def class_weight_of(frame: FrameType) -> Any:
    """Return the `class_weight` that an adapter was given, or None; `frame` as for `attach`."""
    return getattr(frame.f_locals.get("self"), "class_weight", None)


_has_warned = False


def warn_of_unknown(frame: FrameType, version: str) -> None:
    """Say once that this Keras reads in a way that zarrts does not know.

    Parameters
    ----------
    frame : frame
        Of whoever asked a sequence for a batch by its number.
    version : str
        Of Keras.
    """
    global _has_warned
    if frame.f_code.co_name == "<listcomp>" and frame.f_back:  # a frame until Python 3.11
        frame = frame.f_back
    module = frame.f_globals.get("__name__", "")
    if module.startswith(_ADAPTERS) and frame.f_code.co_name != _PROBE and not _has_warned:
        _has_warned = True
        warnings.warn(
            f"Keras {version} asks for batches in a way that this version of zarrts does not "
            "know: batches are right, but slow, and the same in each epoch. Upgrade zarrts.",
            stacklevel=3,
        )


def epoch_iterator() -> Any:
    """Return what counts the batches of the `fit` that called us, or None if it is not found."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("epoch_iterator")
        if frame.f_code.co_name == "fit" and found is not None:
            return found
        frame = frame.f_back
    return None


def reader_behind(counter: Any) -> Reader | None:
    """Return the reader of the adapter whose batches an epoch iterator counts."""
    found: Reader | None = getattr(counter.data_adapter, "zarrts_reader", None)
    return found
