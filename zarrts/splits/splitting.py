"""Divide samples into parts that share nobody: split, folds, and splits that others made."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SampleError
from zarrts.keywords import first_names, refuse_positional, refuse_unknown
from zarrts.labels.scheme import LabelScheme
from zarrts.reading.contents import Contents
from zarrts.samples.cuts import View
from zarrts.samples.units import Ranges
from zarrts.splits.disjoint import Split
from zarrts.splits.grouping import Group, Groups, groups_of, refuse_divided_subjects
from zarrts.splits.hold_out import Folds, Wanted, folds, hold_out
from zarrts.splits.timecuts import Stretches, block, check_blocks, hold_out_last
from zarrts.types import AnyArray, IntArray, Labels


class Divisible:
    """Samples that can be divided; `Samples` is one, and adds all else."""

    store: Contents
    selection: Ranges
    view: View
    scheme: LabelScheme

    def __len__(self) -> int:
        return len(self.selection)

    @property
    def subject_codes(self) -> IntArray:
        """Positions in `store.subjects` of the subjects that these samples belong to, ascending."""
        raise NotImplementedError

    @cached_property
    def per_recording(self) -> IntArray:
        """How many of these samples each recording of the store holds."""
        raise NotImplementedError

    @property
    def subject(self) -> AnyArray:
        """Subject of each sample."""
        raise NotImplementedError

    @property
    def class_counts(self) -> IntArray:
        """How many labels of each class these samples have, shape (n_classes,)."""
        raise NotImplementedError

    def class_counts_by_recording(self) -> IntArray:
        """Return the same for each recording of the store, shape (n_recordings, n_classes)."""
        raise NotImplementedError

    def load_labels(self) -> Labels | list[Labels]:
        """Return the labels of all of these samples, as stored, in RAM."""
        raise NotImplementedError

    @property
    def starts(self) -> IntArray:
        """First id of each recording of the store, selected or not, and the number of ids."""
        raise NotImplementedError

    def narrowed(self, selection: Ranges) -> Self:
        """Return those of these samples whose ids are in a set."""
        raise NotImplementedError

    def of_recordings(self, chosen: IntArray | NDArray[np.bool_]) -> Self:
        """Return those of these samples that belong to some recordings of the store."""
        raise NotImplementedError

    def split(
        self,
        *given: object,
        val: Wanted = None,
        test: Wanted = None,
        seed: int = 0,
        stratify: bool = False,
        group: Group = None,
        within: str | None = None,
        gap: int = 0,
        allow_overlap: bool = False,
        **unknown: object,
    ) -> Split[Self]:
        """Divide by subjects: (train, test), (train, val) or (train, val, test).

        Parameters
        ----------
        val, test : names, a count or a fraction of subjects
            Always whole subjects. Counts and fractions are drawn with `seed`, and what a
            fraction came to is printed.
        stratify : bool
            Whom counts and fractions draw is chosen so that all parts have about the same
            proportions of classes.
        group : "recording", dict, callable or array, optional
            What stays whole (and is named, counted and drawn) instead of the subject: the group
            of each subject, or of each recording of the store.
        within : "subject" or "recording", optional
            Divide each subject (or recording) in time instead: its first samples train, the last
            are held out. `val` and `test` are fractions or counts of its samples then. Everybody
            is on all sides.
        gap : int
            With `within`: samples left out between two parts, because neighbours are alike; of
            windows that overlap, at least so many that no row is in two parts.
        allow_overlap : bool
            Recordings of one subject may be in several groups.

        Raises
        ------
        SampleError
            If a name is unknown, or no subject is left to train on.
        """
        refuse_positional("split", given, "test={0}", "val={0}")
        refuse_unknown(self.split, unknown)
        _refuse_labels(stratify)
        if within is not None:
            _refuse_with_within(stratify=stratify, group=group)
            return self._split_in_time(val, test, within, gap)
        _refuse_gap(gap)
        groups = self._groups(group, allow_overlap)
        counts = self._class_counts_of(groups) if stratify else None
        parts = hold_out(groups.names, val=val, test=test, seed=seed, counts=counts)
        found = self._as_split(groups, parts, allow_overlap)
        for name, wanted in (("val", val), ("test", test)):
            if isinstance(wanted, float):
                n_held = len(found[found.names.index(name)])
                print(
                    f"{name}: {wanted} of {len(groups.names):,} subjects is {len(parts[name]):,}: "
                    f"{first_names([groups.names[i] for i in parts[name]])}, "
                    f"{n_held / len(self):.0%} of samples"
                )
        return found

    def folds(
        self,
        k: Folds = None,
        *,
        val: int = 0,
        seed: int = 0,
        stratify: bool = False,
        repeats: int = 1,
        group: Group = None,
        within: str | None = None,
        gap: int = 0,
        allow_overlap: bool = False,
        **unknown: object,
    ) -> Iterator[Split[Self]]:
        """Yield (train, test) of each fold, or (train, val, test) with val=1 or more.

        Without `k`, leaves one subject out at a time; with it, k groups of subjects drawn at
        random. Every subject is tested once. Folds of folds: `train.folds(...)`.

        Parameters
        ----------
        k : int, or list of lists of names
            Who is tested in each fold; whom a list does not name is always trained on.
        val : int
            Subjects that validate: those tested in the folds after.
        stratify : bool
            Draw folds of about the same proportions of classes.
        repeats : int
            Draw all folds so many times.
        group, within, gap, allow_overlap
            As for `split`. Within subjects, fold i tests the i-th of k stretches of each, and
            `gap` samples before and after it are left out.
        """
        refuse_unknown(self.folds, unknown)
        if _is_splitter(k):
            raise SampleError(
                f"folds() takes a number of folds, or lists of names, not {type(k).__name__}; for "
                "a splitter of scikit-learn: samples.split_by(splitter)."
            )
        _refuse_labels(stratify)
        if within is not None:
            _refuse_with_within(stratify=stratify, group=group, val=val, repeats=repeats - 1)
            yield from self._folds_in_time(k, within, gap)
            return
        _refuse_gap(gap)
        groups = self._groups(group, allow_overlap)
        counts = self._class_counts_of(groups) if stratify else None
        found = folds(groups.names, k, val=val, seed=seed, counts=counts, repeats=repeats)
        for parts in found:
            yield self._as_split(groups, parts, allow_overlap)

    def split_by(self, splitter: Any, *, allow_overlap: bool = False) -> Iterator[Split[Self]]:
        """Yield (train, test) as a splitter of scikit-learn divides these samples.

        It is given the subject of each sample as `groups`, and classes as `y`.

        Raises
        ------
        SampleError
            If it puts a subject on both sides, as those without "Group" in their names do; or
            is no splitter.
        """
        if not _is_splitter(splitter):
            raise SampleError(
                f"split_by() takes a splitter of scikit-learn, such as GroupKFold(5), not "
                f"{splitter!r}; for a number of folds, or names: samples.folds({splitter!r})."
            )
        labels = None
        if self.scheme.class_names is not None:
            stored = self.load_labels()
            if isinstance(stored, np.ndarray) and stored.ndim == 1:
                labels = stored
        positions = np.zeros((len(self), 1))
        for train, test in splitter.split(positions, labels, groups=self.subject):
            yield Split(
                train=self.narrowed(Ranges.of_ids(self.selection.ids(np.asarray(train)))),
                test=self.narrowed(Ranges.of_ids(self.selection.ids(np.asarray(test)))),
                allow_overlap=allow_overlap,
            )

    # Groups ------------------------------------------------------------------------------

    def _groups(self, group: Group, allow_overlap: bool) -> Groups:
        catalog = self.store.catalog
        groups = groups_of(catalog, self.per_recording > 0, group)
        if not allow_overlap:
            refuse_divided_subjects(catalog, groups)
        return groups

    def _class_counts_of(self, groups: Groups) -> IntArray:
        if self.scheme.class_names is None:
            raise SampleError("stratify=True needs classes, but these labels are numbers.")
        counts = self.class_counts_by_recording()
        found = np.zeros((len(groups.names), counts.shape[1]), np.int64)
        of_group = groups.of_recording >= 0
        np.add.at(found, groups.of_recording[of_group], counts[of_group])
        return found

    def _as_split(
        self, groups: Groups, parts: Mapping[str, IntArray], allow_overlap: bool
    ) -> Split[Self]:
        chosen = {
            name: self.of_recordings(groups.recordings(members)) for name, members in parts.items()
        }
        found = Split(allow_overlap=allow_overlap, **chosen)
        if self.scheme.class_names is not None:
            _warn_of_missing_classes(found[0], found[1:])
        return found

    # Time --------------------------------------------------------------------------------

    def _whole_gap(self, gap: int) -> int:
        """Return how many samples to leave out between parts, so that no two share a row."""
        if not isinstance(gap, int | np.integer) or gap < 0:
            raise SampleError(f"gap={gap!r} has to be a number of samples, 0 or more.")
        return max(int(gap), self.view.index.n_sharing)

    def _stretches(self, within: str) -> Stretches:
        """Return the samples of each subject or recording."""
        if within not in ("subject", "recording"):
            raise SampleError(f"within={within!r} is unknown; use 'subject' or 'recording'.")
        groups = self._groups(within, allow_overlap=True)
        return Stretches.of(self.selection, self.per_recording, groups.of_recording, groups.names)

    def _split_in_time(self, val: Wanted, test: Wanted, within: str, gap: int) -> Split[Self]:
        gap = self._whole_gap(gap)
        stretches = self._stretches(within)
        spans = [
            hold_out_last(
                size,
                val=cast(float | None, val),
                test=cast(float | None, test),
                gap=gap,
                who=name,
            )
            for name, size in zip(stretches.names, stretches.sizes.tolist(), strict=True)
        ]
        parts = {
            name: self.narrowed(stretches.parts([of_each[name] for of_each in spans]))
            for name in spans[0]
        }
        return Split(allow_overlap=True, **parts)

    def _folds_in_time(self, k: Folds, within: str, gap: int) -> Iterator[Split[Self]]:
        gap = self._whole_gap(gap)
        if not isinstance(k, int | np.integer):
            raise SampleError(f"folds({k!r}) within a {within}: give the number of folds.")
        stretches = self._stretches(within)
        each = list(zip(stretches.names, stretches.sizes.tolist(), strict=True))
        for name, size in each:
            check_blocks(size, int(k), gap=gap, who=name)
        for number in range(int(k)):
            found = [block(size, int(k), number, gap=gap) for _, size in each]
            before, after, inside = (stretches.parts(it) for it in zip(*found, strict=True))
            yield Split(
                train=self.narrowed(before | after),
                test=self.narrowed(inside),
                allow_overlap=True,
            )


def _is_splitter(it: object) -> bool:
    return hasattr(it, "split") and not isinstance(it, str)


def _refuse_labels(stratify: object) -> None:
    if not isinstance(stratify, bool | np.bool_):
        raise SampleError(
            f"stratify is a {type(stratify).__name__}, but has to be True or False: the classes "
            "are those of the store."
        )


def _refuse_gap(gap: int) -> None:
    if gap:
        raise SampleError(f"gap={gap} needs within='subject': whole subjects have no neighbours.")


def _refuse_with_within(**others: object) -> None:
    for name, value in others.items():
        if value:
            raise SampleError(
                f"{name}= and within= exclude each other: in time, nothing is drawn or grouped."
            )


def _warn_of_missing_classes(train: Divisible, others: Sequence[Divisible]) -> None:
    have = train.class_counts > 0
    for other in others:
        lacking = np.flatnonzero((other.class_counts > 0) & ~have)
        if len(lacking) == 0:
            continue
        counts, catalog = other.class_counts_by_recording(), other.store.catalog
        for code in lacking:
            owner = catalog.subjects[catalog.subject_codes[counts[:, code] > 0].min()]
            name = (other.scheme.class_names or [])[code]
            warnings.warn(
                f"The training part has no sample of class {name!r}, which {owner} has: "
                "no network can learn it. Train on a subject that has it.",
                stacklevel=4,
            )
