"""Samples of a store: choose, split, load, and draw batches; short methods over what lies below."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.glance import glance_of
from zarrts.keywords import did_you_mean, refuse_positional, refuse_unknown
from zarrts.labels.label_sets import by_name, check_named, merged_parts
from zarrts.labels.scheme import LabelScheme
from zarrts.loading.batched import Batched
from zarrts.reading import cost
from zarrts.reading.contents import Contents
from zarrts.reading.load import (
    count_bytes,
    load_labels,
    load_one,
    load_samples,
    load_series,
    samples_of_classes,
)
from zarrts.reading.sample_reader import SampleReader
from zarrts.reading.windowing import Windowed
from zarrts.samples.cuts import View
from zarrts.samples.units import ChunkUnits, Ranges, SegmentGrid
from zarrts.sizes import format_budget, format_count, parse_size
from zarrts.splits.splitting import Divisible
from zarrts.types import AnyArray, IntArray, Label, Labels

_LOAD_LIMIT = "2GiB"
_ARRAYS = "samples.load(), which gives (X, y) in memory; or samples[i], which gives (x, y) of one"
_LABELS = "samples.load_labels(), or samples.load(), which gives (X, y)"
_ELSEWHERE = {
    **dict.fromkeys(("x", "X", "data", "values", "array"), _ARRAYS),
    **dict.fromkeys(("y", "Y", "labels", "targets"), _LABELS),
    **dict.fromkeys(("shape", "sample_shape"), "len(samples) and store.sample_shape"),
    "n_samples": "len(samples)",
    "batch": "samples.batches(32), or zarrts.ZarrSequence(samples)",
}


class Samples(Batched, Divisible, Windowed):
    """Some samples of a store, in source order; a view that reads nothing until it is asked.

    Every method that chooses returns a new Samples. Sample ids are positions in `store.samples`,
    and stay what they are whatever is selected.
    """

    def __init__(
        self,
        store: Contents,
        selection: Ranges,
        view: View | None = None,
        scheme: LabelScheme | None = None,
    ) -> None:
        self.store, self.selection = store, selection
        self.view = store.view if view is None else view
        self.scheme = store.header.labels if scheme is None else scheme

    def __len__(self) -> int:
        return len(self.selection)

    def __repr__(self) -> str:
        return (
            f"<zarrts.Samples: {len(self):,} of {self.store.path}, "
            f"{format_count(len(self.subject_codes), 'subject')}>"
        )

    if not TYPE_CHECKING:  # or every name would pass for one that there is

        def __getattr__(self, name: str) -> NoReturn:
            """Say what has what was asked for, as arrays have it."""
            hint = _ELSEWHERE.get(name)
            remedy = f" Use {hint}." if hint else did_you_mean(name, dir(type(self)))
            raise AttributeError(f"Samples have no {name!r}.{remedy}")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return glance_of(self)

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

    def reopened(self) -> "Samples":
        """Return the same samples, with files of their own."""
        return Samples(self.store.reopened(), self.selection, self.view, self.scheme)

    def __reduce__(self) -> Any:
        return Samples, (self.store, self.selection, self.view, self.scheme)

    def narrowed(self, selection: Ranges) -> "Samples":
        """Return those of these samples whose ids are in a set."""
        return Samples(self.store, self.selection & selection, self.view, self.scheme)

    def with_scheme(self, scheme: LabelScheme) -> "Samples":
        """Return the same samples with labels that mean something else."""
        return Samples(self.store, self.selection, self.view, scheme)

    def viewed(self, view: View) -> "Samples":
        """Return the samples of another view that lie in the recordings of these."""
        every = Ranges.of_bounds(np.zeros(1, np.int64), np.array([view.index.n_samples]))
        chosen = self.per_recording > 0
        return Samples(self.store, every, view, self.scheme).of_recordings(chosen)

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
        known = self.store.catalog.subjects
        return [known[code] for code in self.subject_codes]

    @property
    def subject_codes(self) -> IntArray:
        """Positions in `store.subjects` of the subjects that these samples belong to, ascending."""
        return np.unique(self.store.catalog.subject_codes[self.per_recording > 0])

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

    # Choosing ----------------------------------------------------------------------------

    def select(
        self,
        *given: object,
        subjects: Sequence[str] | None = None,
        classes: Sequence[Label] | Mapping[Label, Any] | None = None,
        ids: Sequence[int] | IntArray | None = None,
        **unknown: object,
    ) -> "Samples":
        """Return those of these samples that meet every condition given.

        Parameters
        ----------
        subjects : sequence of str
        classes : sequence or dict
            Names as in `class_names`; reads the labels. A dict gives the classes new names, and
            merges those that share one: {"sit": ["sit", "lie"], "walk": "walk"}. These are the
            only classes then, in this order; samples of others are left out, and of several
            labels of a sample, those of others are missing. Of several arrays of labels, one of
            both for any of them, by name: {"stage": {"sleep": ["N1", "N2"], "wake": "W"}}.
        ids : sequence of int
            Sample ids; all have to be among these samples.

        Raises
        ------
        SampleError
            If a name or an id is not there.
        """
        refuse_positional("select", given, "subjects={0}", "classes={0}", "ids={0}")
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
        if self.scheme.parts and classes is not None:
            return found._of_several(check_named(self.scheme, classes))
        if isinstance(classes, Mapping):
            return found.with_scheme(self.scheme.merged(classes)).labelled()
        if classes is not None:
            found = found.narrowed(samples_of_classes(found.reader, self.scheme, classes))
        return found

    def _of_several(self, classes: Mapping[str, Any]) -> "Samples":
        """Return samples of some classes of several arrays of labels, or with classes merged."""
        found = self
        for name, own in classes.items():
            if not isinstance(own, Mapping):
                part = self.scheme.parts[name]
                found = found.narrowed(samples_of_classes(found.reader, part, own, name))
        merges = {name: own for name, own in classes.items() if isinstance(own, Mapping)}
        if merges:
            found = found.with_scheme(merged_parts(self.scheme, merges)).labelled()
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


def _by_name(stored: AnyArray | list[AnyArray]) -> Labels | list[Labels]:
    return [by_name(it) for it in stored] if isinstance(stored, list) else by_name(stored)
