"""Store and Samples: what users hold in their hands."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrts import splits
from zarrts.chunks import open_chunks
from zarrts.errors import SampleError, StoreError
from zarrts.finish import Finish, Transform
from zarrts.labels import Label, LabelMode, target_function
from zarrts.loader import EpochLoader, LoaderOptions
from zarrts.memory import Readers, fetch
from zarrts.moments import Moments, merge_all
from zarrts.order import Batching
from zarrts.samples import ChunkUnits, Ranges, SegmentGrid
from zarrts.sizes import format_budget, parse_size
from zarrts.store import RecordingTable, StoreHeader, read_header, read_table
from zarrts.stream import BatchStream
from zarrts.system import count_cpus
from zarrts.types import AnyArray, IntArray

_LOAD_LIMIT = "2GiB"
_MAX_THREADS = 8


@dataclass(frozen=True)
class RecordingInfo:
    """Where some consecutive samples of the store came from.

    Attributes
    ----------
    subject : str
    source : str
        File, relative to the folder that was converted.
    start, stop : int
        Sample ids: start <= id < stop.
    source_start : int
        Row of the file that became sample `start`.
    """

    subject: str
    source: str
    start: int
    stop: int
    source_start: int


class Store:
    """A complete store; open it with `zarrts.open`.

    Attributes
    ----------
    path : str
    n_samples : int
    sample_shape : tuple of int
        Such as (time, channel).
    dtype : numpy.dtype
        Of x as stored.
    kind : str
        "dense": all samples have one shape.
    subjects : list of str
        In order of first appearance.
    class_names : list, or None
        Distinct values of labels that are classes, in the order of their codes.
    channels : list of str, or None
    rate_hz : float, or None
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self._root, self.header = path, header
        self.readers = Readers(
            x=tuple(open_chunks(path, segment.x) for segment in header.segments),
            y=tuple(open_chunks(path, segment.y) for segment in header.segments),
        )

    @property
    def path(self) -> str:
        """Where the store is."""
        return str(self._root)

    @property
    def version(self) -> int:
        """Which version of the store this is."""
        return self.header.version

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return sum(segment.n_samples for segment in self.header.segments)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, such as (time, channel)."""
        return self.header.segments[0].x.row_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of x as stored."""
        return self.header.segments[0].x.dtype

    @property
    def kind(self) -> str:
        """The kind of store: "dense" where all samples have one shape."""
        return self.header.kind

    @property
    def class_names(self) -> list[Label] | None:
        """The classes, in the order of their codes; None where labels are not classes."""
        names = self.header.labels.class_names
        return None if names is None else list(names)

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None where labels are not classes."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it."""
        names = self.class_names
        return None if names is None else {name: code for code, name in enumerate(names)}

    @property
    def channels(self) -> list[str] | None:
        """Names of the channels, where they are known."""
        return list(self.header.channels) if self.header.channels else None

    @property
    def rate_hz(self) -> float | None:
        """Time steps per second, where that is known."""
        return self.header.rate_hz

    @cached_property
    def tables(self) -> tuple[RecordingTable, ...]:
        """The table of recordings of each segment."""
        return tuple(read_table(self._root, segment) for segment in self.header.segments)

    @cached_property
    def subjects(self) -> list[str]:
        """Names of the subjects, in order of first appearance."""
        return list(dict.fromkeys(name for table in self.tables for name in table.subject))

    @cached_property
    def recordings(self) -> tuple[RecordingInfo, ...]:
        """Where the samples came from, in source order."""
        found = []
        first = 0
        for table in self.tables:
            for i, (subject, source) in enumerate(zip(table.subject, table.source, strict=True)):
                start, stop = int(table.starts[i]), int(table.starts[i + 1])
                row = int(table.source_starts[i])
                found.append(RecordingInfo(subject, source, first + start, first + stop, row))
            first += int(table.starts[-1])
        return tuple(found)

    @cached_property
    def recording_starts(self) -> IntArray:
        """First sample id of each recording, and the number of samples."""
        return np.array([*(it.start for it in self.recordings), self.n_samples], np.int64)

    @cached_property
    def subject_codes(self) -> IntArray:
        """Position in `subjects` of each recording's subject."""
        codes = {name: code for code, name in enumerate(self.subjects)}
        return np.array([codes[it.subject] for it in self.recordings], np.int64)

    @cached_property
    def class_counts(self) -> IntArray | None:
        """Labels of each class in each recording; None where labels are not classes."""
        n_classes = self.n_classes
        if n_classes is None:
            return None
        counts = [table.label_counts for table in self.tables if table.label_counts is not None]
        return np.concatenate([np.pad(it, ((0, 0), (0, n_classes - it.shape[1]))) for it in counts])

    @property
    def samples(self) -> "Samples":
        """Every sample, in source order."""
        everything = Ranges(np.zeros(1, np.int64), np.array([self.n_samples], np.int64))
        return Samples(self, everything)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self.readers.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<zarrts.Store {self.path}: {self.n_samples:,} samples of {self.sample_shape} "
            f"{self.dtype}, {len(self.subjects)} subjects>"
        )


def open_store(path: str | Path, version: int | None = None) -> Store:
    """Open a store; nothing but its root is read.

    Parameters
    ----------
    path : str or path
        The folder that `convert` wrote.
    version : int, optional
        Refuse any other version of the store.

    Raises
    ------
    StoreError
        If there is no complete store, or not that version.
    """
    root = Path(path)
    header = read_header(root)
    if version is not None and version != header.version:
        raise StoreError(
            f"{root} holds version {header.version}, not {version}; open it without version=."
        )
    return Store(root, header)


class Samples:
    """Some samples of a store, in source order; a view that reads nothing until it is asked.

    Every method that chooses returns a new Samples. Sample ids are positions in `store.samples`,
    and stay what they are whatever is selected.
    """

    def __init__(self, store: Store, selection: Ranges) -> None:
        self.store, self.selection = store, selection

    def __len__(self) -> int:
        return len(self.selection)

    def __repr__(self) -> str:
        return (
            f"<zarrts.Samples: {len(self):,} of {self.store.path}, {len(self.subjects)} subjects>"
        )

    def __getitem__(self, index: int) -> tuple[AnyArray, AnyArray]:
        """Return input and label, as stored, of the index-th of these samples."""
        if not isinstance(index, int | np.integer):
            raise TypeError(
                f"samples[{index!r}]: only a single position; use select(ids=...) for several."
            )
        position = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        x, y = fetch(
            self.store.readers, self.units, self.selection.ids(np.array([position], np.int64))
        )
        return x[0], y[0]

    # Who and what ------------------------------------------------------------------------

    @cached_property
    def units(self) -> ChunkUnits:
        """The chunks that hold these samples."""
        store = self.store
        grids = [
            SegmentGrid(n_samples=it.n_samples, chunk_rows=it.x.chunk_rows)
            for it in store.header.segments
        ]
        starts, codes = store.recording_starts[:-1], store.subject_codes
        changes = np.concatenate([[True], codes[1:] != codes[:-1]])
        return ChunkUnits(grids, self.selection, (starts[changes], codes[changes]))

    @property
    def ids(self) -> IntArray:
        """Sample ids, ascending."""
        return self.selection.ids(np.arange(len(self)))

    @cached_property
    def _per_recording(self) -> IntArray:
        """How many of these samples each recording of the store holds."""
        return np.diff(self.selection.count_below(self.store.recording_starts))

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that these samples belong to, in the order of the store."""
        present = np.unique(self.store.subject_codes[self._per_recording > 0])
        return [self.store.subjects[code] for code in present]

    @property
    def subject(self) -> NDArray[np.str_]:
        """Subject of each sample, shape (n_samples,)."""
        names = np.array(self.store.subjects)[self.store.subject_codes]
        return np.asarray(np.repeat(names, self._per_recording))

    @property
    def filenames(self) -> list[str]:
        """Source file of each sample."""
        return [
            it.source
            for it, count in zip(self.store.recordings, self._per_recording, strict=True)
            for _ in range(count)
        ]

    @cached_property
    def class_counts(self) -> IntArray:
        """How many labels of each class these samples have, shape (n_classes,)."""
        counts = self.store.class_counts
        if counts is None:
            raise SampleError("These labels are numbers, not classes.")
        whole, partial = self._whole_and_partial()
        total = counts[whole].sum(axis=0)
        for _, stored in self._stored_labels(partial):
            classes = self.store.header.labels.classes_of(stored)
            total = total + np.bincount(classes.reshape(-1), minlength=len(total))
        return np.asarray(total)

    def _whole_and_partial(self) -> tuple[IntArray, "Samples | None"]:
        """Return the recordings that are selected whole, and the samples of all others."""
        sizes = np.diff(self.store.recording_starts)
        whole = np.flatnonzero((self._per_recording == sizes) & (sizes > 0))
        cut = np.flatnonzero((self._per_recording > 0) & (self._per_recording < sizes))
        if len(cut) == 0:
            return whole, None
        starts = self.store.recording_starts
        inside = Ranges.of_bounds(starts[cut], starts[cut + 1])
        return whole, Samples(self.store, self.selection & inside)

    def _stored_labels(self, samples: "Samples | None") -> Iterator[tuple[IntArray, AnyArray]]:
        """Yield (ids, labels as stored), a chunk at a time."""
        if samples is None:
            return
        for ids, unit in samples._ids_by_unit():
            segment, chunk = (int(it) for it in samples.units.segments(np.array(unit)))
            reader = self.store.readers.y[segment]
            rows = np.empty(reader.spec.chunk_shape, reader.spec.dtype)
            reader.read_into(chunk, rows)
            yield ids, rows[ids - samples.units.starts(np.array([unit]))]

    def _ids_by_unit(self) -> Iterator[tuple[IntArray, int]]:
        for unit in range(self.units.n_units):
            low, high = self.units.edges(np.array([unit, unit + 1]))
            if low < high:
                yield self.selection.ids(np.arange(low, high)), unit

    # Choosing ----------------------------------------------------------------------------

    def select(
        self,
        *,
        subjects: Sequence[str] | None = None,
        classes: Sequence[Label] | None = None,
        ids: Sequence[int] | IntArray | None = None,
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
        chosen = self.selection
        if subjects is not None:
            chosen = chosen & self._ranges_of_subjects(subjects)
        if ids is not None:
            wanted = Ranges.of_ids(np.asarray(ids))
            found = chosen & wanted
            if len(found) < len(wanted):
                raise SampleError(
                    f"{len(wanted) - len(found)} of the ids are not among these samples."
                )
            chosen = found
        if classes is not None:
            chosen = Samples(self.store, chosen)._ranges_of_classes(classes)
        return Samples(self.store, chosen)

    def _ranges_of_subjects(self, names: Sequence[str]) -> Ranges:
        names = [names] if isinstance(names, str) else list(names)
        unknown = [str(name) for name in names if name not in set(self.store.subjects)]
        if unknown:
            some = ", ".join(self.store.subjects[:10])
            raise SampleError(f"No subject named {', '.join(unknown)}; the subjects are {some} ...")
        wanted = {self.store.subjects.index(name) for name in names}
        chosen = np.isin(self.store.subject_codes, list(wanted))
        starts = self.store.recording_starts
        return Ranges.of_bounds(starts[:-1][chosen], starts[1:][chosen])

    def _ranges_of_classes(self, names: Sequence[Label]) -> Ranges:
        indices = self.store.class_indices
        if indices is None:
            raise SampleError("These labels are numbers, not classes; select by ids instead.")
        names = [names] if isinstance(names, str) else list(names)
        unknown = [str(name) for name in names if name not in indices]
        if unknown:
            known = ", ".join(str(name) for name in list(indices)[:10])
            raise SampleError(f"No class named {', '.join(unknown)}; the classes are {known}.")
        wanted = [indices[name] for name in names]
        parts = []
        for ids, stored in self._stored_labels(self):
            classes = self.store.header.labels.classes_of(stored)
            if classes.ndim > 1:
                raise SampleError("Samples with several labels each cannot be selected by class.")
            found = Ranges.of_ids(ids[np.isin(classes, wanted)])
            parts.append(found)
        return Ranges.of_bounds(
            np.concatenate([part.starts for part in parts] or [np.zeros(0, np.int64)]),
            np.concatenate([part.stops for part in parts] or [np.zeros(0, np.int64)]),
        )

    def split(
        self, *, val: splits.Wanted = None, test: splits.Wanted = None, seed: int = 0
    ) -> tuple["Samples", ...]:
        """Divide by subjects: (train, test), (train, val) or (train, val, test).

        Parameters
        ----------
        val, test : names, a count or a fraction of subjects
            Always whole subjects. Counts and fractions are drawn with `seed`, and what a
            fraction came to is printed.

        Raises
        ------
        SampleError
            If a name is unknown, or no subject is left to train on.
        """
        parts = splits.hold_out(self.subjects, val=val, test=test, seed=seed)
        for name, wanted in (("val", val), ("test", test)):
            if isinstance(wanted, float):
                held = self.select(subjects=parts[name])
                print(
                    f"{name}: {wanted} of {len(self.subjects)} subjects is {len(parts[name])}: "
                    f"{', '.join(parts[name])}, {len(held) / len(self):.0%} of samples"
                )
        return self._parts(parts)

    def folds(
        self, k: int | None = None, *, val: int = 0, seed: int = 0
    ) -> Iterator[tuple["Samples", ...]]:
        """Yield (train, test) of each fold, or (train, val, test) with val=1 or more.

        Without `k`, leaves one subject out at a time; with it, k groups of subjects drawn at
        random. Every subject is tested once.
        """
        for parts in splits.folds(self.subjects, k, val=val, seed=seed):
            yield self._parts(parts)

    def _parts(self, parts: dict[str, tuple[str, ...]]) -> tuple["Samples", ...]:
        chosen = tuple(self.select(subjects=names) for names in parts.values())
        if self.store.class_counts is not None:
            chosen[0]._warn_of_missing_classes(chosen[1:])
        return chosen

    def _warn_of_missing_classes(self, others: Sequence["Samples"]) -> None:
        have = self.class_counts > 0
        for other in others:
            lacking = np.flatnonzero((other.class_counts > 0) & ~have)
            for code in lacking:
                owners = [
                    name
                    for name in other.subjects
                    if other.select(subjects=[name]).class_counts[code] > 0
                ]
                name = (self.store.class_names or [])[code]
                warnings.warn(
                    f"The training part has no sample of class {name!r}, which {owners[0]} has: "
                    "no network can learn it. Train on a subject that has it.",
                    stacklevel=4,
                )

    # Reading -----------------------------------------------------------------------------

    def load(self, memory: int | str = _LOAD_LIMIT) -> tuple[AnyArray, AnyArray]:
        """Return all of these samples as arrays (x, y) in RAM, as stored.

        Raises
        ------
        SampleError
            If they take more than `memory`.
        """
        limit = parse_size(memory, "memory")
        x_spec, y_spec = self.store.readers.x[0].spec, self.store.readers.y[0].spec
        needed = len(self) * (x_spec.row_bytes + y_spec.row_bytes)
        if needed > limit:
            raise SampleError(
                f"{len(self):,} samples take {format_budget(needed)} in memory, more than "
                f"memory={format_budget(limit)}; use batches(), or raise memory."
            )
        x = np.empty((len(self), *x_spec.row_shape), x_spec.dtype)
        y = np.empty((len(self), *y_spec.row_shape), y_spec.dtype)
        done = 0
        for ids, _ in self._ids_by_unit():
            part = slice(done, done + len(ids))
            x[part], y[part] = fetch(self.store.readers, self.units, ids)
            done += len(ids)
        return x, y

    def load_labels(self) -> AnyArray:
        """Return the labels of all of these samples, as stored, in RAM."""
        spec = self.store.readers.y[0].spec
        y = np.empty((len(self), *spec.row_shape), spec.dtype)
        done = 0
        for ids, stored in self._stored_labels(self):
            y[done : done + len(ids)] = stored
            done += len(ids)
        return y

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        epoch: int = 0,
        memory: int | str = "512MiB",
        label_mode: LabelMode | None = "raw",
        stats: Moments | None = None,
        transform: Transform | None = None,
        dtype: Any = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        workers: int | None = None,
    ) -> BatchStream:
        """Return the batches of one epoch, for training without Keras.

        Parameters
        ----------
        batch_size : int
            The last batch may be smaller, unless `drop_last`.
        shuffle : bool
            False gives source order.
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
            One of several processes, each of which gets as many batches.
        workers : int, optional
            Threads that read and decode.

        Returns
        -------
        iterator of Batch, with `close()`; also a context manager.
        """
        loader = self.loader(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            memory=memory,
            label_mode=label_mode,
            stats=stats,
            transform=transform,
            dtype=self.store.dtype if dtype is None else np.dtype(dtype),
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
            workers=workers,
        )
        return loader.stream(epoch)

    def loader(
        self,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        memory: int | str,
        label_mode: LabelMode | None,
        stats: Moments | None,
        transform: Transform | None,
        dtype: np.dtype[Any],
        drop_last: bool,
        rank: int,
        world_size: int,
        workers: int | None,
    ) -> EpochLoader:
        """Return what makes the batches of any epoch; arguments as in `batches`."""
        target = None
        if label_mode is not None:
            target, _ = target_function(self.store.header.labels, label_mode)
        shift, scale = _scaling(stats, dtype, self.store.sample_shape)
        if seed < 0:
            raise SampleError(f"seed={seed} has to be 0 or more.")
        return EpochLoader(
            self.store.readers,
            self.units,
            LoaderOptions(
                batching=Batching(
                    n_samples=len(self),
                    batch_size=batch_size,
                    drop_last=drop_last,
                    rank=rank,
                    world_size=world_size,
                ),
                memory_bytes=parse_size(memory, "memory"),
                shuffle=shuffle,
                seed=seed,
                finish=Finish(
                    dtype=dtype,
                    shift=shift,
                    scale=scale,
                    target=target,
                    transform=transform,
                    rng_key=(seed, rank),
                ),
                n_threads=workers or min(_MAX_THREADS, count_cpus()),
            ),
        )

    # Statistics --------------------------------------------------------------------------

    def stats(self) -> Moments:
        """Return count, mean, std, min and max per channel of exactly these samples.

        A merge of what the conversion gathered, without reading, for whole recordings; the
        samples of recordings that are cut are read.
        """
        whole, partial = self._whole_and_partial()
        moments = [
            table.moments.row(i) for table in self.store.tables for i in range(len(table.subject))
        ]
        parts = [moments[i] for i in whole]
        for ids, _ in partial._ids_by_unit() if partial is not None else ():
            parts.append(Moments.of(fetch(self.store.readers, self.units, ids)[0]))
        if not parts:
            raise SampleError("The selection holds no samples.")
        return merge_all(parts)

    def class_weight(self) -> dict[int, float]:
        """Return Keras' `class_weight` that balances the classes: n / (n_classes · count).

        Keys are positions as label_mode="int" gives them; classes that do not occur are left out.
        """
        counts = self.class_counts
        present = np.flatnonzero(counts)
        return {int(code): float(counts.sum() / (len(present) * counts[code])) for code in present}


def _scaling(
    stats: Moments | None, dtype: np.dtype[Any], sample_shape: tuple[int, ...]
) -> tuple[AnyArray | None, AnyArray | None]:
    """Return shift and scale per channel, as the loader applies them; constant channels get 0."""
    if stats is None:
        return None, None
    n_channels = sample_shape[-1] if sample_shape else 1
    if stats.mean.shape != (n_channels,):
        raise SampleError(
            f"stats are of {stats.mean.shape[0]} channels, but these samples have {n_channels}."
        )
    if dtype.kind != "f":
        raise SampleError(f"Scaling by stats needs a float dtype, not {dtype}.")
    std = np.where(stats.std > 0, stats.std, 1)
    return stats.mean.astype(dtype), (1 / std).astype(dtype)
