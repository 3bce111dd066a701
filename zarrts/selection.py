"""Samples of a store: choose, split, load, and draw batches; short methods over what lies below."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts import cost
from zarrts.contents import Contents
from zarrts.cuts import View
from zarrts.errors import SampleError
from zarrts.finish import Transform
from zarrts.keywords import refuse_unknown
from zarrts.label_sets import LabelModes, by_name
from zarrts.labels import Label
from zarrts.loader import BatchOptions, EpochLoader, OnError, Shuffle, dtype_of
from zarrts.measured import Measured
from zarrts.moments import Moments
from zarrts.padding import Pad, Truncate, padding_of
from zarrts.ranks import Rank, resolve
from zarrts.reading import (
    count_bytes,
    count_classes,
    load_labels,
    load_one,
    load_samples,
    load_series,
    samples_of_classes,
)
from zarrts.sample_reader import SampleReader
from zarrts.samples import ChunkUnits, Ranges, SegmentGrid
from zarrts.sizes import format_budget, parse_size
from zarrts.splitting import Divisible
from zarrts.stream import BatchStream
from zarrts.types import AnyArray, IntArray, Labels
from zarrts.windowing import Windowed

_LOAD_LIMIT = "2GiB"


class Samples(Divisible, Measured, Windowed):
    """Some samples of a store, in source order; a view that reads nothing until it is asked.

    Every method that chooses returns a new Samples. Sample ids are positions in `store.samples`,
    and stay what they are whatever is selected.
    """

    def __init__(self, store: Contents, selection: Ranges, view: View | None = None) -> None:
        self.store, self.selection = store, selection
        self.view = store.view if view is None else view

    def __len__(self) -> int:
        return len(self.selection)

    def __repr__(self) -> str:
        return (
            f"<zarrts.Samples: {len(self):,} of {self.store.path}, {len(self.subjects)} subjects>"
        )

    def __getitem__(self, index: int) -> tuple[AnyArray, Labels]:
        """Return input and label, as stored, of the index-th of these samples."""
        if not isinstance(index, int | np.integer):
            raise TypeError(
                f"samples[{index!r}]: only a single position; use select(ids=...) for several."
            )
        position = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        x, y = load_one(self.reader, self.selection.ids(np.array([position], np.int64)))
        return x, by_name(y)

    def narrowed(self, selection: Ranges) -> "Samples":
        """Return those of these samples whose ids are in a set."""
        return Samples(self.store, self.selection & selection, self.view)

    def viewed(self, view: View) -> "Samples":
        """Return the samples of another view that lie in the recordings of these."""
        every = Ranges.of_bounds(np.zeros(1, np.int64), np.array([view.index.n_samples]))
        chosen = self.per_recording > 0
        return Samples(self.store, every, view).of_recordings(chosen)

    def of_recordings(self, chosen: IntArray | NDArray[np.bool_]) -> "Samples":
        """Return those of these samples that belong to some recordings of the store."""
        starts = self.starts
        return self.narrowed(Ranges.of_bounds(starts[:-1][chosen], starts[1:][chosen]))

    # Who and what ------------------------------------------------------------------------

    @cached_property
    def units(self) -> ChunkUnits:
        """The chunks that hold these samples."""
        grids = [
            SegmentGrid(n_rows=it.n_rows, chunk_rows=it.x.chunk_rows)
            for it in self.store.header.segments
        ]
        runs = self.store.catalog.subject_runs
        return ChunkUnits(grids, self.selection, runs, self.view.index)

    @cached_property
    def reader(self) -> SampleReader:
        """What reads these samples."""
        return SampleReader(
            readers=self.store.readers,
            units=self.units,
            cut=self.view.cut,
            offsets=self.store.catalog.row_starts,
        )

    @property
    def ids(self) -> IntArray:
        """Sample ids, ascending."""
        return self.selection.ids(np.arange(len(self)))

    @property
    def amplification(self) -> float:
        """Bytes that reading these samples decodes over those that they have, at least 1."""
        return cost.amplification(self.units)

    @cached_property
    def starts(self) -> IntArray:
        """First id of each recording of the store, selected or not, and the number of ids."""
        return self.view.index.count_before(self.store.catalog.row_starts)

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that these samples belong to, in the order of the store."""
        present = np.unique(self.store.catalog.subject_codes[self.per_recording > 0])
        return [self.store.subjects[code] for code in present]

    @property
    def subject(self) -> NDArray[np.str_]:
        """Subject of each sample, shape (n_samples,)."""
        names = np.array(self.store.subjects)[self.store.catalog.subject_codes]
        return np.asarray(np.repeat(names, self.per_recording))

    @property
    def filenames(self) -> list[str]:
        """Source file of each sample."""
        return [
            it.source
            for it, count in zip(self.store.recordings, self.per_recording, strict=True)
            for _ in range(count)
        ]

    @cached_property
    def class_counts(self) -> IntArray:
        """How many labels of each class these samples have, shape (n_classes,)."""
        counts = self.store.catalog.class_counts
        if counts is None:
            raise SampleError("These labels are numbers, not classes.")
        if self.view.cut.y_of == "x":
            raise SampleError("The targets of these samples are values of x, not classes.")
        if self.view.cut.y_of == "recording":
            return np.asarray(self.per_recording @ counts)
        whole, partial = self.whole_and_partial()
        total = counts[whole].sum(axis=0)
        if partial is not None:
            total = total + count_classes(partial.reader, self.store.header.labels)
        return np.asarray(total)

    # Choosing ----------------------------------------------------------------------------

    def select(
        self,
        *,
        subjects: Sequence[str] | None = None,
        classes: Sequence[Label] | None = None,
        ids: Sequence[int] | IntArray | None = None,
        **unknown: object,
    ) -> "Samples":
        """Return those of these samples that meet every condition given.

        Parameters
        ----------
        subjects : sequence of str
        classes : sequence
            Names as in `store.class_names`; reads the labels.
        ids : sequence of int
            Sample ids; all have to be among these samples.

        Raises
        ------
        SampleError
            If a name or an id is not there.
        """
        refuse_unknown(self.select, unknown)
        found = self
        if subjects is not None:
            found = found.of_recordings(self.store.catalog.recordings_of(subjects))
        if ids is not None:
            wanted = Ranges.of_ids(np.asarray(ids))
            found = found.narrowed(wanted)
            if len(found) < len(wanted):
                raise SampleError(
                    f"{len(wanted) - len(found)} of the ids are not among these samples."
                )
        if classes is not None:
            scheme = self.store.header.labels
            found = found.narrowed(samples_of_classes(found.reader, scheme, classes))
        return found

    # Reading -----------------------------------------------------------------------------

    def load(
        self, memory: int | str = _LOAD_LIMIT
    ) -> tuple[AnyArray | list[AnyArray], Labels | list[Labels]]:
        """Return all of these samples as arrays (x, y) in RAM, as stored.

        Samples of unequal lengths are a list of arrays; so are their labels, where each row has
        one.

        Raises
        ------
        SampleError
            If they take more than `memory`.
        """
        limit = parse_size(memory, "memory")
        needed = count_bytes(self.reader)
        if needed > limit:
            raise SampleError(
                f"{len(self):,} samples take {format_budget(needed)} in memory, more than "
                f"memory={format_budget(limit)}; use batches(), or raise memory."
            )
        if self.view.cut.is_of_equal_lengths:
            x, y = load_samples(self.reader)
            return x, by_name(y)
        series, labels = load_series(self.reader)
        return series, _by_name(labels)

    def load_labels(self) -> Labels | list[Labels]:
        """Return the labels of all of these samples, as stored, in RAM; a list, as for `load`."""
        return _by_name(load_labels(self.reader))

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        epoch: int = 0,
        memory: int | str = "512MiB",
        label_mode: LabelModes | None = "raw",
        stats: Moments | None = None,
        transform: Transform | None = None,
        dtype: Any = None,
        drop_last: bool = False,
        rank: Rank = 0,
        world_size: int = 1,
        workers: int | None = None,
        on_error: OnError = "raise",
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
        stats : Moments, optional
            From `samples.stats()`: x becomes (x - mean) / std, per channel.
        transform : callable, optional
            Called as transform(batch, rng) with each finished `Batch` and a generator seeded by
            (seed, epoch, rank, batch), in the loader's threads; returns a `Batch`.
        dtype : dtype, optional
            Of x; as stored by default.
        rank, world_size : int
            One of several processes, each of which gets as many batches; rank="auto" finds out.
        workers : int, optional
            Threads that read and decode.
        on_error : str
            "raise" ends with the ReadError of a damaged part of the store; "skip" warns once of
            its samples and leaves them out, so that batches may be smaller.
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
        rank, world_size = resolve(rank, world_size)
        options = BatchOptions(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            memory_bytes=parse_size(memory, "memory"),
            label_mode=label_mode,
            stats=stats,
            transform=transform,
            dtype=self.store.dtype if dtype is None else dtype_of(dtype),
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
            workers=workers,
            on_error=on_error,
            padding=padding_of(pad, pad_value, truncate, buckets),
        )
        return self.loader(options).stream(epoch)

    def loader(self, options: BatchOptions) -> EpochLoader:
        """Return what makes the batches of any epoch, and keeps its memory in between."""
        return EpochLoader(self.reader, self.store.header.labels, options)

    def class_weight(self) -> dict[int, float]:
        """Return Keras' `class_weight` that balances the classes: n / (n_classes · count).

        Keys are positions as label_mode="int" gives them; classes that do not occur are left out.
        """
        counts = self.class_counts
        present = np.flatnonzero(counts)
        return {int(code): float(counts.sum() / (len(present) * counts[code])) for code in present}


def _by_name(stored: AnyArray | list[AnyArray]) -> Labels | list[Labels]:
    return [by_name(it) for it in stored] if isinstance(stored, list) else by_name(stored)
