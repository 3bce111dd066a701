"""A Keras data set that reads a store."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.backend import keras
from zarrts.errors import ReadError, SampleError
from zarrts.keras import adapter
from zarrts.keras.dataset import OwnThreads
from zarrts.keras.looping import Looped
from zarrts.keras.opening import Opening
from zarrts.keras.spec import Spec, spec_of
from zarrts.keywords import refuse_unknown
from zarrts.labels.label_sets import (
    LabelModes,
    alike,
    describe_classes,
    each_array,
    have_same_classes,
    targets_of,
)
from zarrts.labels.losses import check_loss, count_outputs
from zarrts.loading.finish import Transform
from zarrts.loading.options import OnError, Shuffle, dtype_of
from zarrts.loading.passes import Pass, Passes
from zarrts.loading.weights import weights_of
from zarrts.ordering.ranks import Rank
from zarrts.ordering.sampling import Listed, Resample
from zarrts.reading.balancing import Balance
from zarrts.reading.measured import Stats
from zarrts.reading.nans import OnNan
from zarrts.samples.padding import Pad, Truncate
from zarrts.selection import Samples
from zarrts.sizes import format_count
from zarrts.stats.statistics import Scale
from zarrts.study import Store
from zarrts.types import Batch, IntArray, Label, Labels


class ZarrSequence(Looped, OwnThreads):
    """Shuffled batches of a store, for `fit`, `evaluate` and `predict`.

    Each epoch shows each sample exactly once with its own label, in an order that depends only
    on the seed and the epoch (and the selection, `batch_size`, `memory` and ranks), whatever
    `shuffle` says in `fit`.

    Parameters
    ----------
    samples : path, Store or Samples
    batch_size : int
    shuffle : bool or "global"
        True: the rolling order, as good as a full shuffle and read at full speed. "global": every
        order equally likely, but slow unless all samples fit into `memory`. False: source order,
        as `predict` needs it; `like` sets it so.
    seed : int
    label_mode : str or None
        "int": int32 positions in `store.class_names`, for sparse categorical cross-entropy.
        "categorical": float32 rows with one 1. "binary": float32 of shape (batch, 1).
        "raw": what is stored. None: no labels. "auto": "int" for classes, "categorical" for
        one-hot rows, "raw" for other numbers.
    stats : Statistics, "subject" or "sample", optional
        By what each channel of x is scaled: `samples.stats()` of the training part; the statistics
        of each subject; those of each sample. As for `samples.batches`; `like` goes on with it.
    transform : callable, optional
        Called as transform(batch, rng) with each finished `Batch` and a generator seeded by
        (seed, epoch, rank, batch); returns a `Batch`. Runs in the loader's threads.
    sample_weight : "class", "subject", dict, array or callable, optional
        How much samples count in the loss. "class" or "subject": each class or subject as much as
        any other. A dict: of classes, or of subjects, by name; 1 for others. An array: one weight
        for each of the samples, in their order. A function: called with each `Batch` before the
        transform, it returns one weight for each sample. Of several arrays of labels, one of
        these for all, or a dict with one for each.
    balance : "class", "subject", "class+subject" or array, optional
        Equally many samples of each in every batch; see `samples.batches`.
    resample : "oversample" or "undersample"
        With `balance`: repeat the samples of small groups, or leave out some of large ones.
    order : sequence of int, optional
        Sample ids: exactly these, one after the other, in every epoch.
    dtype : dtype, optional
        Of x; keras.config.floatx() by default.
    memory : size
        Bounds what the loader holds: open parts of the store, and batches on their way.
    pad : "batch", "longest" or int
        For samples of unequal lengths, the length in rows that all of a batch get: that of its
        longest, that of the longest of the store, or this one. Padding is at the end.
    pad_value, truncate, buckets
        As for `samples.batches`.
    mask : bool
        x is a tuple of the padded samples and a mask (batch, time), True where a step is no
        padding: a second input of the network.
    rank, world_size : int
        One of several processes, each of which gets as many batches. rank="auto": as TF_CONFIG or
        tf.distribute, jax.distributed or torch.distributed say; 0 of 1 where there is none.
    drop_last : bool
        Leave out the last batch if it is smaller.
    workers : int, optional
        Threads that read and decode; Keras always sees one worker.
    on_error : str
        "raise" ends with the ReadError of a damaged part of the store; "skip" warns once of its
        samples and leaves them out, so that batches may be smaller, and predictions fewer than
        `labels`.
    scale : str
        "standard", "minmax" or "robust": what is done with `stats`, as for `samples.batches`.
    nan : str
        "error", "keep" or "fill", as for `samples.batches`.
    storage_options, cache, cache_bytes
        Of the address of a store, as for `zarrts.open`; `like` goes on with them.

    Attributes
    ----------
    epoch : int
        Whose batches `seq[i]` and `for x, y in seq` give, 0 unless you set it in a loop of your
        own. `fit` takes a new epoch for each pass by itself.
    """

    def __init__(
        self,
        samples: "str | Path | Store | Samples",
        batch_size: int = 32,
        shuffle: Shuffle = True,
        seed: int = 0,
        label_mode: LabelModes | None = "auto",
        stats: Stats | None = None,
        transform: Transform | None = None,
        sample_weight: Any = None,
        dtype: Any = None,
        pad: Pad | None = None,
        pad_value: float = 0.0,
        truncate: Truncate = "post",
        buckets: int | Sequence[int] | None = None,
        mask: bool = False,
        memory: int | str = "512MiB",
        rank: Rank = 0,
        world_size: int = 1,
        drop_last: bool = False,
        workers: int | None = None,
        on_error: OnError = "raise",
        balance: Balance | None = None,
        resample: Resample = "oversample",
        order: Sequence[int] | IntArray | None = None,
        scale: Scale = "standard",
        nan: OnNan = "error",
        storage_options: Mapping[str, Any] | None = None,
        cache: str | Path | None = None,
        cache_bytes: int | str = "10GiB",
        **unknown: object,
    ) -> None:
        refuse_unknown(ZarrSequence, unknown)
        super().__init__()
        self._opening = Opening(storage_options, cache, cache_bytes)
        given = self._opening.samples_of(samples)
        # Labels that are missing teach nothing; whoever predicts asks for no labels.
        self.samples = given if label_mode is None else given.labelled()
        balance, sample_weight = (
            _of_these(it, given, self.samples) for it in (balance, sample_weight)
        )
        self._options = self.samples.batch_options(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            label_mode=label_mode,
            stats=stats,
            scale=scale,
            nan=nan,
            transform=transform,
            weigh=weights_of(self.samples, sample_weight, label_mode),
            dtype=dtype_of(keras.config.floatx() if dtype is None else dtype),
            memory=memory,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
            workers=workers,
            on_error=on_error,
            balance=balance,
            resample=resample,
            order=order,
            pad=pad,
            pad_value=pad_value,
            truncate=truncate,
            buckets=buckets,
        )
        if mask and pad is None:
            raise SampleError("mask=True tells samples from padding: give pad= too.")
        self._has_mask = mask
        self._loader = self.samples.loader(self._options)
        self.passes = Passes(self._loader)

    # What Keras asks ---------------------------------------------------------------------

    def __len__(self) -> int:
        return self._loader.n_batches

    def __getitem__(self, index: int) -> Any:
        adapter.warn_of_unknown(sys._getframe(1), keras.__version__)
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.as_tuple(self.passes.batch(self.epoch, index % len(self)))

    def next_of(self, current: Pass) -> Any:
        """Return the next batch of a pass as Keras wants it, or None at its end."""
        batch = self.passes.take(current)
        return None if batch is None else self.as_tuple(batch)

    def unlike_batches(self) -> list[Any]:
        """Return two batches of unlike lengths, if padding leaves batches unlike; else none."""
        return [self.as_tuple(batch) for batch in self.passes.unlike_batches()]

    def check_use(self, method: str, model: Any, class_weight: Any) -> None:
        """Refuse loss and weights that labels do not fit; warn of predictions in random order."""
        if method == "predict":
            if self._is_shuffled:
                warnings.warn(
                    "predict() sees a shuffled sequence, so that predictions come in an order "
                    "that nobody knows; use predict(seq.like(samples)), or shuffle=False.",
                    stacklevel=3,
                )
            return
        check_loss(model.loss, self.label_mode, self.class_names, count_outputs(model))
        if class_weight is not None and self.label_mode is not None:
            self.samples.check_class_weight(class_weight, self.label_mode)

    def as_tuple(self, batch: Batch) -> Any:
        """Return a batch as Keras wants it."""
        if len(batch.sample_id) == 0:
            raise ReadError(
                "None of the samples of a batch can be read; raise batch_size, or repair the store."
            )
        x = self.inputs_of(batch)
        if self._options.label_mode is None:
            return (x,) if self._has_mask else x  # or Keras would take the mask for labels
        return (x, batch.y) if batch.sample_weight is None else (x, batch.y, batch.sample_weight)

    def inputs_of(self, batch: Batch) -> Any:
        """Return what the network gets of a batch."""
        return (batch.x, batch.mask) if self._has_mask else batch.x

    # What users ask ----------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """Which of several processes this one is."""
        return self._options.rank

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._options.batch_size

    @property
    def label_mode(self) -> str | dict[str, str] | None:
        """How labels are given; what "auto" stands for here."""
        mode = self._options.label_mode
        if mode is None:
            return None
        return targets_of(self.samples.scheme, mode)[1]

    @property
    def class_names(self) -> list[Any] | None:
        """The classes, in the order of label_mode="int"."""
        return self.samples.class_names

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it; None where labels are no classes.

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
        if isinstance(self._options.sampling, Listed):
            numbers = self._options.sampling.numbers[numbers]
        return self.samples.selection.ids(numbers)

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
        sampling = self._options.sampling
        return bool(self._options.shuffle) and not isinstance(sampling, Listed)

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
        other = self.alike(samples)
        pad = self._options.padding
        return ZarrSequence(
            other,
            batch_size=self.batch_size,
            shuffle=False,
            label_mode=self._options.label_mode,
            stats=self._options.scaling,
            dtype=self._options.dtype,
            pad=pad.pad if pad else None,
            pad_value=pad.value if pad else 0.0,
            truncate=pad.truncate if pad else "post",
            buckets=pad.buckets if pad else None,
            mask=self._has_mask,
            memory=self._options.memory_bytes,
            workers=self._options.workers,
            on_error=self._options.on_error,
            nan=self._options.nan,
        )

    def alike(self, samples: "str | Path | Store | Samples") -> Samples:
        """Return other samples with the classes of these, merged in the same way.

        Raises
        ------
        SampleError
            If they have others.
        """
        found, mine = self._opening.samples_of_more(samples), self.samples.scheme
        other = found.with_scheme(alike(mine, found.scheme))
        if not have_same_classes(mine, other.scheme):
            raise SampleError(
                f"{other.store.path} has {describe_classes(other.scheme)}, but this sequence has "
                f"{describe_classes(mine)}; convert both with the same classes, for example "
                "with class_names=."
            )
        return other

    @property
    def spec(self) -> Spec:
        """How this sequence feeds a network; `zarrts.predict` treats new data alike."""
        return spec_of(self.samples, self._options, has_mask=self._has_mask)

    def save_spec(self, path: str | Path) -> None:
        """Write `spec` as JSON beside a saved model, for `zarrts.predict(..., like=path)`."""
        self.spec.save(path)

    def close(self) -> None:
        """End the threads, close the files and free the memory; a later call takes them again."""
        self.passes.close()

    def __enter__(self) -> "ZarrSequence":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        n_batches = format_count(len(self), "batch", "batches")
        return f"<ZarrSequence of {self.samples!r}: {n_batches} of {self.batch_size}>"


def _of_these(values: Any, given: Samples, kept: Samples) -> Any:
    """Return an array that has an entry for each sample given, for those that were kept."""
    if values is None or isinstance(values, str | Mapping) or callable(values):
        return values
    array = np.asarray(values)
    if kept is given or array.shape != (len(given),) or len(kept) == len(given):
        return values
    return array[given.selection.count_below(kept.ids)]
