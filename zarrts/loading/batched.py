"""Draw batches from samples, without Keras: one epoch, or a data set for torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zarrts.keywords import refuse_unknown
from zarrts.labels.label_sets import LabelModes
from zarrts.loading.finish import Transform
from zarrts.loading.loader import EpochLoader
from zarrts.loading.options import BatchOptions, OnError, Shuffle, dtype_of
from zarrts.loading.stream import BatchStream
from zarrts.loading.weights import weights_of
from zarrts.ordering.ranks import Rank, resolve
from zarrts.ordering.sampling import Resample
from zarrts.reading.balancing import Balance
from zarrts.reading.labelling import Labelled
from zarrts.reading.measured import Stats
from zarrts.reading.nans import OnNan
from zarrts.samples.padding import Pad, Truncate, padding_of
from zarrts.sizes import parse_size
from zarrts.stats.statistics import Scale
from zarrts.types import IntArray

if TYPE_CHECKING:
    from zarrts.loading.torch_dataset import TorchBatches


class Batched(Labelled):
    """Samples from which batches are drawn; `Samples` is one, and adds all else."""

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        epoch: int = 0,
        memory: int | str = "512MiB",
        label_mode: LabelModes | None = "raw",
        stats: Stats | None = None,
        scale: Scale = "standard",
        nan: OnNan = "error",
        transform: Transform | None = None,
        sample_weight: Any = None,
        dtype: Any = None,
        drop_last: bool = False,
        rank: Rank = 0,
        world_size: int = 1,
        workers: int | None = None,
        on_error: OnError = "raise",
        balance: Balance | None = None,
        resample: Resample = "oversample",
        order: Sequence[int] | IntArray | None = None,
        pad: Pad | None = None,
        pad_value: float = 0.0,
        truncate: Truncate = "post",
        buckets: int | Sequence[int] | None = None,
        **unknown: object,
    ) -> BatchStream:
        """Return the batches of one epoch, for training without Keras.

        Parameters
        ----------
        batch_size : int
            The last batch may be smaller, unless `drop_last`.
        shuffle : bool or "global"
            True: the rolling order, as good as a full shuffle and read at full speed. "global":
            every order equally likely, which reads a part of the store for each sample unless
            all of it fits into `memory`. False: source order.
        seed, epoch : int
            What the order depends on, beside the selection, `batch_size`, `memory` and ranks.
        memory : size
            Bounds what the loader holds: open parts of the store, and batches on their way.
        label_mode : str or None
            As in `ZarrSequence`; by default labels are as stored.
        stats : Statistics, "subject" or "sample", optional
            By what each channel of x is scaled. From `samples.stats()`: by these. "subject": each
            subject by the statistics of its own samples here. "sample": each sample by its own.
        scale : str
            "standard": x becomes (x - mean) / std. "minmax": (x - min) / (max - min), 0 to 1.
            "robust": (x - median) / (distance of the quartiles), estimated. Channels whose values
            are all alike become 0.
        nan : str
            "error": a SampleError names the first sample with NaN; nothing is read where the
            conversion found none. "keep": NaN stay. "fill": they become the mean of what scales
            them (the median of "robust"), as it is after scaling; 0 where nothing is scaled.
        transform : callable, optional
            Called as transform(batch, rng) with each finished `Batch` and a generator seeded by
            (seed, epoch, rank, batch), in the loader's threads; returns a `Batch`.
        sample_weight : "class", "subject", dict, array or callable, optional
            How much labels count: `batch.sample_weight`. "class" or "subject": each class or
            subject as much as any other. A dict: of classes, or of subjects, by name; 1 for
            others. An array: one weight for each of the samples, in their order. A function:
            called with each `Batch` before the transform, it returns one weight for each sample.
            Of several arrays of labels, one of these for all, or a dict with one for each. Labels
            that are missing become 0, and count 0.
        dtype : dtype, optional
            Of x; as stored by default.
        rank, world_size : int
            One of several processes, each of which gets as many batches. rank="auto": as TF_CONFIG
            or tf.distribute, jax.distributed or torch.distributed say; 0 of 1 where there is none.
        workers : int, optional
            Threads that read and decode.
        on_error : str
            "raise" ends with the ReadError of a damaged part of the store; "skip" warns once of
            its samples and leaves them out, so that batches may be smaller.
        balance : "class", "subject", "class+subject" or array, optional
            Equally many samples of each in every batch, give or take one: of each class, each
            subject, each class of each subject, or each group that an array names.
        resample : "oversample" or "undersample"
            With `balance`: the epoch shows each sample at least once, those of small groups
            several times; or none twice, so that of large groups only a part comes, another one
            in each epoch.
        order : sequence of int, optional
            Sample ids: exactly these, one after the other, in every epoch; ids may come again.
        pad : "batch", "longest" or int
            For samples of unequal lengths, the length in rows that all of a batch get: that of
            its longest, that of the longest of the store, or this one.
        pad_value : float
            What is behind the end of a sample, after scaling; labels of rows have 0 there.
        truncate : "post" or "pre"
            Which end of a sample that is longer than `pad` is lost.
        buckets : int or sequence of int, optional
            With pad="batch": the lengths that batches may have, or how many, so that a network
            is compiled for few shapes only.

        Returns
        -------
        iterator of Batch, with `close()`; also a context manager.
        """
        refuse_unknown(self.batches, unknown)
        options = self.batch_options(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            memory=memory,
            label_mode=label_mode,
            stats=stats,
            scale=scale,
            nan=nan,
            transform=transform,
            weigh=weights_of(self, sample_weight, label_mode, weighs_missing=False),
            dtype=self.store.dtype if dtype is None else dtype_of(dtype),
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
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
        return self.loader(options).stream(epoch)

    def to_torch(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        memory: int | str = "512MiB",
        label_mode: LabelModes | None = "auto",
        stats: Stats | None = None,
        scale: Scale = "standard",
        nan: OnNan = "error",
        transform: Transform | None = None,
        sample_weight: Any = None,
        dtype: Any = None,
        drop_last: bool = False,
        rank: Rank = 0,
        world_size: int = 1,
        workers: int | None = None,
        on_error: OnError = "raise",
        balance: Balance | None = None,
        resample: Resample = "oversample",
        order: Sequence[int] | IntArray | None = None,
        pad: Pad | None = None,
        pad_value: float = 0.0,
        truncate: Truncate = "post",
        buckets: int | Sequence[int] | None = None,
        mask: bool = False,
        **unknown: object,
    ) -> "TorchBatches":
        """Return an IterableDataset of torch whose items are batches (x, y) of tensors.

        Loop over it as it is, or give it to `DataLoader(dataset, batch_size=None)`. It needs no
        workers, since threads read ahead of it; those of a DataLoader each take a part of the
        batches, and `memory` once more. Call `dataset.set_epoch(epoch)` before each epoch, or each
        is like the first.

        Parameters
        ----------
        label_mode : str or None
            As in `ZarrSequence`; integers come as int64, as torch's losses want them. None: items
            are x alone.
        sample_weight : "class", "subject", dict, array or callable, optional
            As for `batches`; items are (x, y, sample_weight) then.
        dtype : dtype of NumPy or torch, optional
            Of x; torch's default dtype by default.
        mask : bool
            x is a tuple of the padded samples and a mask (batch, time), True where a step is no
            padding.
        others
            As for `batches`; rank="auto" asks torch.distributed.
        """
        refuse_unknown(self.to_torch, unknown)
        from zarrts.loading.torch_dataset import TorchBatches, numpy_dtype

        options = self.batch_options(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            memory=memory,
            label_mode=label_mode,
            stats=stats,
            scale=scale,
            nan=nan,
            transform=transform,
            weigh=weights_of(self, sample_weight, label_mode, weighs_missing=False),
            dtype=numpy_dtype(dtype),
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
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
        return TorchBatches(self, options, has_mask=mask)

    def reopened(self) -> "Batched":
        """Return the same samples, with files of their own."""
        raise NotImplementedError

    def batch_options(
        self,
        *,
        shuffle: Shuffle,
        stats: Stats | None,
        scale: Scale,
        memory: int | str,
        rank: Rank,
        world_size: int,
        balance: Balance | None,
        resample: Resample,
        order: Sequence[int] | IntArray | None,
        pad: Pad | None,
        pad_value: float,
        truncate: Truncate,
        buckets: int | Sequence[int] | None,
        **others: Any,
    ) -> BatchOptions:
        """Return what keywords of `batches` mean for these samples; `others` as they are."""
        rank, world_size = resolve(rank, world_size)
        return BatchOptions(
            shuffle=shuffle,
            scaling=self.scaling(stats, scale),
            memory_bytes=parse_size(memory, "memory"),
            rank=rank,
            world_size=world_size,
            padding=padding_of(pad, pad_value, truncate, buckets),
            sampling=self.sampling(balance, resample, order, shuffle),
            **others,
        )

    def loader(self, options: BatchOptions) -> EpochLoader:
        """Return what makes the batches of any epoch, and keeps its memory in between."""
        return EpochLoader(
            self.reader,
            self.scheme,
            options,
            subjects=self.store.subjects,
            has_nan=self.has_nan(options.nan, skips_damage=options.on_error == "skip"),
        )
