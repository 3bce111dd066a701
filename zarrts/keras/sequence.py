"""A Keras data set that reads a store."""

import dataclasses
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, Unpack

import numpy as np

from zarrts.backend import keras
from zarrts.errors import SampleError
from zarrts.inputs import handed_out
from zarrts.keras import adapter
from zarrts.keras.feed import Feed
from zarrts.keras.input_names import refuse_other_inputs
from zarrts.keras.loop import Loop
from zarrts.keras.meaning import refuse_other_meaning
from zarrts.keras.opening import Opening
from zarrts.keras.position import order_of
from zarrts.keras.spec import Spec
from zarrts.keras.spec_of import spec_of
from zarrts.labels.label_sets import (
    alike,
    describe_classes,
    each_array,
    have_same_classes,
    targets_of,
)
from zarrts.labels.losses import check_loss, count_outputs
from zarrts.loading.epochs import Reader
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import (
    BatchKeywords,
    OnError,
    Shuffle,
    batch_options,
    takes_batch_options,
)
from zarrts.loading.wording import describe_batches
from zarrts.ordering.sampling import Listed
from zarrts.reading.class_counts import refuse_class_weight
from zarrts.samples import Samples
from zarrts.sizes import format_count
from zarrts.store import Store
from zarrts.types import IntArray, Label, Labels

# What stays with the training: other samples are neither drawn nor weighed nor augmented.
_OF_TRAINING: dict[str, Any] = {
    "shuffle": False,
    "seed": 0,
    "transform": None,
    "sample_weight": None,
    "balance": None,
    "resample": "oversample",
    "order": None,
    "rank": 0,
    "world_size": 1,
    "drop_last": False,
}


class ZarrSequence(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches of a store, for `fit`, `evaluate` and `predict`.

    Each epoch shows each sample exactly once with its own label, in an order that depends only
    on the seed and the epoch (and the selection, `batch_size`, `memory` and ranks), whatever
    `shuffle` says in `fit`.

    Parameters
    ----------
    samples : path, Store or Samples
    batch_size : int
    shuffle : bool or "global"
    storage_options, cache, cache_bytes
        Of the address of a store, as for `zarrts.open`; `like` goes on with them.
    **options
        As `BatchOptions` describes them; x is of the dtype keras.config.floatx() by default.

    Attributes
    ----------
    samples : Samples
        Those with a label, unless label_mode is None.
    epoch : int
        Whose batches `seq[i]` and `for x, y in seq` give, 0 unless you set it in a loop of your
        own. `fit` takes a new epoch for each pass by itself.
    feed, loop : Feed, Loop
        Its batches, and where training is in them; for `BackupAndRestore` and `predict`.
    reader : Reader, or None
        Of the latest `fit`, `evaluate` or `predict`.
    """

    @takes_batch_options()
    def __init__(
        self,
        samples: "str | Path | Store | Samples",
        batch_size: int = 32,
        shuffle: Shuffle = True,
        *,
        storage_options: Mapping[str, Any] | None = None,
        cache: str | Path | None = None,
        cache_bytes: int | str = "10GiB",
        **options: Unpack[BatchKeywords],
    ) -> None:
        defaults = {
            "batch_size": batch_size,
            "shuffle": shuffle,
            "dtype": keras.config.floatx(),
        }
        given = {name: it for name, it in options.items() if name != "dtype" or it is not None}
        chosen = batch_options(ZarrSequence, given, defaults)
        super().__init__()
        self.reader: Reader | None = None
        self._opening = Opening(storage_options, cache, cache_bytes)
        every = self._opening.samples_of(samples)
        # Labels that are missing teach nothing; whoever predicts asks for no labels.
        self.samples = every if chosen.label_mode is None else every.labelled()
        if len(every) and not len(self.samples):
            raise SampleError(
                f"None of {every!r} has a label: give label_mode=None for batches without labels, "
                "or zarrts.predict(model, samples, like=seq)."
            )
        self._options = dataclasses.replace(
            chosen,
            balance=_of_these(chosen.balance, every, self.samples),
            sample_weight=_of_these(chosen.sample_weight, every, self.samples),
        )
        self._loader = EpochLoader(self.samples.selection, self._options, weighs_missing=True)
        self.feed = Feed(self._loader, self._options)
        self.loop = Loop(self.feed, order_of(self.samples.selection, self._loader.settings))

    # What Keras asks ---------------------------------------------------------------------

    def __len__(self) -> int:
        return self._loader.n_batches

    def __getitem__(self, index: int) -> Any:
        adapter.warn_of_unknown(sys._getframe(1), keras.__version__)
        if not isinstance(index, int | np.integer):
            raise SampleError(f"seq[{index!r}]: only a single batch; loop over the sequence.")
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.feed.as_tuple(self.feed.passes.batch(self.epoch, index % len(self)))

    @property
    def workers(self) -> int:
        """Threads that Keras reads with: one, since the loader has its own."""
        # Keras asks while it makes what reads the sequence, and only then.
        frame = sys._getframe(1)
        reader = adapter.attach(frame, self, self.feed)
        if reader is not None:
            self.reader = reader
            trainer = adapter.trainer_of(frame)
            if trainer is not None:
                self._check_use(*trainer, adapter.class_weight_of(frame))
        return 1

    @workers.setter
    def workers(self, value: object) -> NoReturn:
        _refuse("workers", value, "threads of zarrts' own read ahead: ZarrSequence(workers=...)")

    @property
    def use_multiprocessing(self) -> bool:
        """False: see `workers`."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: object) -> NoReturn:
        _refuse(
            "use_multiprocessing",
            value,
            "threads read ahead, and processes would each decode everything again",
        )

    @property
    def max_queue_size(self) -> int:
        """Unused: `memory` bounds what is read ahead in bytes."""
        return 1

    @max_queue_size.setter
    def max_queue_size(self, value: object) -> NoReturn:
        _refuse("max_queue_size", value, "ZarrSequence(memory=...) bounds what is read ahead")

    def _check_use(self, method: str, model: Any, class_weight: Any) -> None:
        """Refuse loss and weights that labels do not fit; warn of predictions in random order."""
        refuse_other_inputs(model, self._loader.input_names)
        if method == "predict":
            if self._is_shuffled:
                warnings.warn(
                    "predict() sees a shuffled sequence, so that predictions come in an order "
                    "that nobody knows; use predict(seq.like(samples)), or shuffle=False.",
                    stacklevel=3,
                )
            return
        row = self.samples.selection.store.header.segments[0].y.row_shape
        check_loss(
            model.loss,
            self.label_mode,
            self.class_names,
            count_outputs(model),
            row[-1] if row else None,
        )
        if class_weight is not None and self.label_mode is not None:
            refuse_class_weight(self.samples.selection, class_weight, self.label_mode)

    # Loops of one's own ------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """Yield seq[0], seq[1], ... to the end, read ahead; after a resume, what is left."""
        return iter(self.loop)

    def to_tf_dataset(self, epoch: int | None = None) -> Any:
        """Return a `tf.data.Dataset` of the batches, whatever the backend of Keras.

        It knows its cardinality and the exact shapes and dtypes, reads in the threads of the
        sequence, within `memory`, and takes two finished batches ahead. It is sharded already:
        each rank has its own samples.

        Parameters
        ----------
        epoch : int, optional
            Whose batches each iteration gives. By default each iteration gives another epoch, as
            those of `fit` do: the first epoch 0, the second epoch 1.

        Notes
        -----
        After `load_state_dict`, the data set of that epoch (or the first without one) has only
        what was left. What was consumed only the loop knows: `seq.state_dict(epoch, batch)`.
        """
        return self.loop.to_tf_dataset(epoch)

    @property
    def epoch(self) -> int:
        """The epoch whose batches `seq[i]` and a loop over the sequence give."""
        return self.loop.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.loop.epoch = epoch

    def state_dict(self, epoch: int | None = None, batch: int | None = None) -> dict[str, Any]:
        """Return where a loop over the sequence is, as JSON can hold it.

        Ask for it when the batch that the loop gave last was trained on: the state is that of the
        next. (What `fit` consumes only a callback knows: `zarrts.BackupAndRestore`.)

        Parameters
        ----------
        epoch, batch : int, optional
            For a loop over something that reads ahead, such as a `tf.data` set: how many batches
            of which epoch were trained on.
        """
        return self.loop.state_dict(epoch, batch)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next loop, or `fit`, give what was left when the state was taken.

        Raises
        ------
        SampleError
            If the state is one of other batches: another selection, seed, rank or world size, or,
            within an epoch, another batch size or memory.
        """
        self.loop.load_state_dict(state)

    # What users ask ----------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """The number of this process among several."""
        return self._options.place[0]

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._options.batch_size

    @property
    def on_error(self) -> OnError:
        """The treatment of samples that cannot be read: "raise" or "skip"."""
        return self._options.on_error

    @property
    def label_mode(self) -> str | dict[str, str] | None:
        """The mode of labels; where it was "auto", the mode that this stands for here."""
        mode = self._options.label_mode
        return None if mode is None else targets_of(self.samples.selection.scheme, mode)[1]

    @property
    def class_names(self) -> list[Any] | None:
        """The classes, in the order of label_mode="int"."""
        return self.samples.class_names

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it; None where labels are numbers.

        For Keras' `class_weight`, whose keys these are.
        """
        return self.samples.class_indices

    @property
    def sample_ids(self) -> IntArray:
        """Sample ids in the order in which `predict` sees them."""
        self._refuse_shuffled("sample_ids")
        batching = self._loader.batching
        stop = batching.start + batching.bounds(len(self) - 1)[1]
        numbers = np.arange(batching.start, stop)
        sampling = self._loader.settings.sampling
        if isinstance(sampling, Listed):
            numbers = sampling.numbers[numbers]
        return self.samples.selection.ids.ids(numbers)

    @property
    def labels(self) -> Labels | list[Labels]:
        """Labels in the order in which `predict` sees the samples, as `label_mode` gives them.

        A list, where each row of recordings of unequal lengths has one.
        """
        self._refuse_shuffled("labels")
        target = self._loader.target
        if target is None:
            raise SampleError("This sequence gives no labels: label_mode is None.")
        ids, at = np.unique(self.sample_ids, return_inverse=True)
        stored = self.samples.select(ids=ids).load_labels()
        if isinstance(stored, list):
            return [target(stored[i]) for i in at]
        return self._loader.targets_of(each_array(stored, lambda it: it[at]), ids[at])

    @property
    def _is_shuffled(self) -> bool:
        is_listed = isinstance(self._loader.settings.sampling, Listed)
        return bool(self._options.shuffle) and not is_listed

    def _refuse_shuffled(self, what: str) -> None:
        if self._is_shuffled:
            raise SampleError(
                f"{what} of a shuffled sequence have no fixed order; use seq.like(samples), or "
                "shuffle=False."
            )

    def like(self, samples: "str | Path | Store | Samples") -> "ZarrSequence":
        """Return a sequence of other samples, not shuffled, as validation and test need it.

        With the same `stats`, labels, padding, batch size, dtype and memory; weights, balance,
        order, the transform (which augments) and ranks stay with the training.
        """
        stats = handed_out(self._loader.settings.scalings)
        scale = self._options.scale if stats is not None else "standard"
        options = dataclasses.replace(
            self._options, **_OF_TRAINING, stats=stats, scale=scale
        ).keywords()
        made = ZarrSequence(self.alike(samples), **options)
        if self._options.hands_out_stored:
            refuse_other_counts(made, self.spec)
        return made

    def alike(self, samples: "str | Path | Store | Samples") -> Samples:
        """Return other samples with the classes of these, merged in the same way.

        Raises
        ------
        SampleError
            If they have others, or their channels, units or rate are not as here.
        """
        found = self._opening.samples_of_more(samples).selection
        header = self.samples.store.header
        refuse_other_meaning(found.store, header.description, header.steps)
        mine = self.samples.selection.scheme
        other = found.with_scheme(alike(mine, found.scheme))
        if not have_same_classes(mine, other.scheme):
            raise SampleError(
                f"{other.store.path} has {describe_classes(other.scheme)}, but this sequence has "
                f"{describe_classes(mine)}; convert both with the same classes, for example "
                "with class_names=."
            )
        return Samples(other)

    @property
    def spec(self) -> Spec:
        """The treatment of samples here, which `zarrts.predict` repeats on new data."""
        return spec_of(self.samples.selection, self._loader.settings)

    def save_spec(self, path: str | Path) -> None:
        """Write `spec` as JSON beside a saved model, for `zarrts.predict(..., like=path)`."""
        self.spec.save(path)

    def close(self) -> None:
        """End the threads, close the files and free the memory; a later call takes them again."""
        self.feed.passes.close()

    def __enter__(self) -> "ZarrSequence":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        n_batches = format_count(len(self), "batch", "batches")
        how = describe_batches(self.samples.selection, self._options, self.label_mode)
        return f"<ZarrSequence of {self.samples!r}: {n_batches} of {self.batch_size}; {how}>"


def _of_these(values: Any, given: Samples, kept: Samples) -> Any:
    """Return an array that has an entry for each sample given, for those that were kept."""
    if values is None or isinstance(values, str | Mapping) or callable(values):
        return values
    array = np.asarray(values)
    if kept is given or array.shape != (len(given),) or len(kept) == len(given):
        return values
    return array[given.selection.ids.count_below(kept.ids)]


def refuse_other_counts(seq: ZarrSequence, spec: Spec) -> None:
    """Raise SampleError unless a sequence hands out the counts that a network was trained on."""
    found, trained = ([it.counts for it in one.of_inputs.values()] for one in (seq.spec, spec))
    if found != trained:
        raise SampleError(
            f"{seq.samples.store.path} stores other counts than the network was trained on "
            "(dtype='stored'): their gains and offsets differ. Train on values, without "
            "dtype='stored', to use both."
        )


def _refuse(name: str, value: object, reason: str) -> NoReturn:
    raise TypeError(f"{name}={value!r} is not for a ZarrSequence: {reason}.")
