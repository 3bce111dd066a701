"""Sum up a store in numbers that fit on a page: by subject, or by groups of many subjects."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zarrts.labels.scheme import LabelScheme
from zarrts.reading.load import labels_by_unit
from zarrts.samples import Samples
from zarrts.stats.moments import Moments, pool_by
from zarrts.types import AnyArray, IntArray

MAX_ROWS = 40
"""Of a table, and of bars in a picture."""
_MAX_CLASSES = 30
_MAX_VALUES = 100_000  # that a histogram is made of


@dataclass(frozen=True)
class Groups:
    """Consecutive subjects that share a line.

    Attributes
    ----------
    names : list of str
        Of the subject, or of the first and last one.
    of_subject : int64, shape (n_subjects,)
        Position in `names`.
    """

    names: list[str]
    of_subject: IntArray

    @staticmethod
    def of(subjects: list[str], most: int = MAX_ROWS) -> "Groups":
        """Return one group a subject, or `most` groups of about equal size."""
        n_groups = min(len(subjects), most)
        owners = np.arange(len(subjects)) * n_groups // max(1, len(subjects))
        firsts = np.searchsorted(owners, np.arange(n_groups)).tolist()
        lasts = [*(first - 1 for first in firsts[1:]), len(subjects) - 1][:n_groups]
        names = [
            subjects[a] if a == b else f"{subjects[a]} to {subjects[b]} ({b - a + 1:,})"
            for a, b in zip(firsts, lasts, strict=True)
        ]
        return Groups(names, owners)

    def sum(self, by_subject: IntArray) -> IntArray:
        """Return the sums of counts (subject, ...) by group."""
        total = np.zeros((len(self.names), *by_subject.shape[1:]), np.int64)
        np.add.at(total, self.of_subject, by_subject)
        return total


@dataclass(frozen=True)
class ClassTable:
    """The number of labels of each class that each subject has.

    Attributes
    ----------
    name : str
        Of the array of labels; "" where there is only one.
    classes : list of str
        The most frequent, and perhaps "others" last.
    counts : int64, shape (n_subjects, n_classes)
    """

    name: str
    classes: list[str]
    counts: IntArray


@dataclass(frozen=True)
class NumberTable:
    """The range of the labels of each subject that are numbers; and some of them."""

    name: str
    count: IntArray
    min: NDArray[np.float64]
    mean: NDArray[np.float64]
    max: NDArray[np.float64]
    some: NDArray[np.float64]


class Overview:
    """Numbers of all samples of a store; each is gathered when it is first asked for.

    Only the table of recordings is read, and labels where it does not count them.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples, self.store = samples, samples.store
        self.subjects = self.store.subjects
        self.groups = Groups.of(self.subjects)

    @cached_property
    def n_samples(self) -> IntArray:
        """Samples of each subject."""
        below = self.samples.selection.ids.count_below(self.store.catalog.starts)
        return self._by_subject(np.diff(below))

    @cached_property
    def n_recordings(self) -> IntArray:
        """Recordings of each subject that hold anything."""
        return self._by_subject((self.lengths > 0).astype(np.int64))

    @cached_property
    def n_rows(self) -> IntArray:
        """Rows of each subject: time steps where the store is ragged, else samples."""
        return self._by_subject(self.lengths)

    @cached_property
    def n_unlabelled(self) -> IntArray | None:
        """Labels that each subject lacks, counted as its classes are; None where not known."""
        (first, *others) = self.labels
        shape = self.store.header.segments[0].y.row_shape
        scheme = self.store.header.labels
        is_single = shape == () or (scheme.encoding == "one_hot" and len(shape) == 1)
        if others or not isinstance(first, ClassTable) or not is_single:
            return None
        wanted = self.n_rows if self._is_by_row or not self.store.is_ragged else self.n_recordings
        return np.asarray(wanted - first.counts.sum(axis=1))

    @cached_property
    def moments(self) -> Moments:
        """Statistics of each [subject, channel]."""
        owners = self.store.catalog.subject_codes
        return pool_by(self.store.catalog.moments, owners)

    @cached_property
    def moments_by_group(self) -> Moments:
        """Statistics of each [group, channel]."""
        if len(self.groups.names) == len(self.subjects):
            return self.moments
        return pool_by(self.moments, self.groups.of_subject)

    @cached_property
    def channels(self) -> list[str]:
        """Names of the channels, or their numbers."""
        n_channels = self.moments.count.shape[1]
        known = self.store.header.description.of_inputs
        inputs = self.store.header.segments[0].inputs
        names: list[str] = []
        for name, it in inputs.items():
            own = known[name].channels or [f"channel {i}" for i in range(it.n_channels)]
            names += (f"{name} {channel}".strip() for channel in own)
        assert len(names) == n_channels
        return names

    @cached_property
    def lengths(self) -> IntArray:
        """Rows of each recording: time steps where the store is ragged, else samples."""
        return np.diff(self.store.catalog.row_starts)

    @cached_property
    def labels(self) -> list[ClassTable | NumberTable]:
        """The labels, one table for each array of them."""
        scheme = self.store.header.labels
        counts = self.store.catalog.class_counts
        if not scheme.parts and counts is not None:
            return [_class_table("", scheme, self._by_subject(counts))]
        return [
            self._read_labels(name, part) for name, part in (scheme.parts or {"": scheme}).items()
        ]

    @property
    def _is_by_row(self) -> bool:
        return self.store.header.labels_per == "row"

    def _by_subject(self, by_recording: IntArray) -> IntArray:
        total = np.zeros((len(self.subjects), *by_recording.shape[1:]), np.int64)
        np.add.at(total, self.store.catalog.subject_codes, by_recording)
        return total

    def _stored_labels(self, name: str) -> Iterator[tuple[IntArray, AnyArray]]:
        """Yield subject codes, and labels as stored, a part of the store at a time."""
        samples = self.samples
        bounds = self.store.catalog.starts
        if self._is_by_row:
            samples, bounds = samples.windows(1, label="first"), self.store.catalog.row_starts
        codes = self.store.catalog.subject_codes
        for ids, stored in labels_by_unit(samples.selection.reader):
            recordings = np.searchsorted(bounds, ids, "right") - 1
            yield codes[recordings], np.ascontiguousarray(stored[name] if name else stored)

    def _read_labels(self, name: str, scheme: LabelScheme) -> ClassTable | NumberTable:
        n_subjects = len(self.subjects)
        if scheme.class_names is not None:
            counts = np.zeros((n_subjects, len(scheme.class_names)), np.int64)
            for subjects, stored in self._stored_labels(name):
                classes = scheme.classes_of(stored).reshape(len(stored), -1)
                owners = np.broadcast_to(subjects[:, None], classes.shape)
                known = classes >= 0
                np.add.at(counts, (owners[known], classes[known]), 1)
            return _class_table(name, scheme, counts)
        count, total = np.zeros(n_subjects, np.int64), np.zeros(n_subjects)
        low, high = np.full(n_subjects, np.inf), np.full(n_subjects, -np.inf)
        some: list[NDArray[np.float64]] = []
        n_labels = int((self.n_rows if self._is_by_row else self.n_samples).sum())
        step = max(1, n_labels // _MAX_VALUES)
        for subjects, stored in self._stored_labels(name):
            values = stored.reshape(len(stored), -1).astype(np.float64)
            owners = np.broadcast_to(subjects[:, None], values.shape)[np.isfinite(values)]
            values = values[np.isfinite(values)]
            np.add.at(count, owners, 1)
            np.add.at(total, owners, values)
            np.minimum.at(low, owners, values)
            np.maximum.at(high, owners, values)
            some.append(values[::step])
        mean = np.divide(total, count, out=np.full(n_subjects, np.nan), where=count > 0)
        return NumberTable(name, count, low, mean, high, np.concatenate(some))


def _class_table(name: str, scheme: LabelScheme, counts: IntArray) -> ClassTable:
    names = [str(it) for it in scheme.class_names or ()]
    if len(names) > _MAX_CLASSES:
        order = np.argsort(-counts.sum(axis=0), kind="stable")
        first, rest = np.sort(order[: _MAX_CLASSES - 1]), order[_MAX_CLASSES - 1 :]
        names = [*(names[i] for i in first), f"{len(rest):,} others"]
        counts = np.column_stack([counts[:, first], counts[:, rest].sum(axis=1)])
    return ClassTable(name, names, counts)
