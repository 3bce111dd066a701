"""Divide samples into parts that share nobody: split, folds, and splits that others made.

Each function returns parts by name, training first; `Samples` checks that they share nothing.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.reading.class_counts import class_counts, class_counts_by_recording
from zarrts.reading.load import load_labels
from zarrts.reading.selection import Selection
from zarrts.splits.grouping import Group, SplitGroups, groups_of, refuse_divided_subjects
from zarrts.splits.hold_out import Folds, Wanted, draw_folds, hold_out
from zarrts.splits.timecuts import LeftOut, Stretches, block, hold_out_last
from zarrts.types import IntArray

Parts = dict[str, Selection]


def split(
    selection: Selection,
    *,
    val: Wanted,
    test: Wanted,
    seed: int,
    stratify: bool,
    group: Group,
    within: str | None,
    gap: int,
    allow_overlap: bool,
) -> Parts:
    """Return "train", and "val" and "test" where they are asked for; see `Samples.split`."""
    _refuse_labels(stratify)
    if within is not None:
        _refuse_with_within(stratify=stratify, group=group)
        return _split_in_time(selection, val, test, within, gap)
    _refuse_gap(gap)
    groups = _groups(selection, group, allow_overlap)
    counts = _class_counts_of(selection, groups) if stratify else None
    parts = hold_out(groups.names, val=val, test=test, seed=seed, counts=counts)
    return _parts_of(selection, groups, parts)


def folds(
    selection: Selection,
    k: Folds,
    *,
    val: int,
    seed: int,
    stratify: bool,
    repeats: int,
    group: Group,
    within: str | None,
    gap: int,
    allow_overlap: bool,
) -> Iterator[Parts]:
    """Yield the parts of each fold; see `Samples.folds`."""
    if _is_splitter(k):
        raise SampleError(
            f"folds() takes a number of folds, or lists of names, not {type(k).__name__}; for "
            "a splitter of scikit-learn: samples.split_by(splitter)."
        )
    _refuse_labels(stratify)
    if within is not None:
        _refuse_with_within(stratify=stratify, group=group, val=val, repeats=repeats - 1)
        yield from _folds_in_time(selection, k, within, gap)
        return
    _refuse_gap(gap)
    groups = _groups(selection, group, allow_overlap)
    counts = _class_counts_of(selection, groups) if stratify else None
    for parts in draw_folds(groups.names, k, val=val, seed=seed, counts=counts, repeats=repeats):
        yield _parts_of(selection, groups, parts)


def split_by(selection: Selection, splitter: Any) -> Iterator[Parts]:
    """Yield train and test as a splitter divides samples; see `Samples.split_by`."""
    if not _is_splitter(splitter):
        raise SampleError(
            f"split_by() takes a splitter of scikit-learn, such as GroupKFold(5), not "
            f"{splitter!r}; for a number of folds, or names: samples.folds({splitter!r})."
        )
    labels = None
    if selection.scheme.class_names is not None:
        stored = load_labels(selection.reader)
        if isinstance(stored, np.ndarray) and stored.ndim == 1 and stored.dtype.names is None:
            labels = stored
    subject = subject_of_each(selection)
    for train, test in splitter.split(np.zeros((len(selection), 1)), labels, groups=subject):
        numbers = {"train": train, "test": test}
        yield {
            name: selection.narrowed(Ranges.of_ids(selection.ids.ids(np.asarray(some))))
            for name, some in numbers.items()
        }


def subject_of_each(selection: Selection) -> "np.ndarray[Any, np.dtype[np.str_]]":
    """Return the name of the subject of each sample, shape (n_samples,)."""
    catalog = selection.store.catalog
    names = np.array(catalog.subjects)[catalog.subject_codes]
    return np.asarray(np.repeat(names, selection.per_recording))


# SplitGroups -----------------------------------------------------------------------------------


def _groups(selection: Selection, group: Group, allow_overlap: bool) -> SplitGroups:
    catalog = selection.store.catalog
    groups = groups_of(catalog, selection.per_recording > 0, group)
    if not allow_overlap:
        refuse_divided_subjects(catalog, groups)
    return groups


def _class_counts_of(selection: Selection, groups: SplitGroups) -> IntArray:
    if selection.scheme.class_names is None:
        raise SampleError("stratify=True needs classes, but these labels are numbers.")
    counts = class_counts_by_recording(selection)
    found = np.zeros((len(groups.names), counts.shape[1]), np.int64)
    of_group = groups.of_recording >= 0
    np.add.at(found, groups.of_recording[of_group], counts[of_group])
    return found


def _parts_of(selection: Selection, groups: SplitGroups, parts: Mapping[str, IntArray]) -> Parts:
    found = {
        name: selection.of_recordings(groups.recordings(members)) for name, members in parts.items()
    }
    if selection.scheme.class_names is not None:
        _warn_of_missing_classes(found)
    return found


# Time -------------------------------------------------------------------------------------


def _stretches(selection: Selection, within: str) -> Stretches:
    """Return the samples of each subject or recording."""
    if within not in ("subject", "recording"):
        raise SampleError(f"within={within!r} is unknown; use 'subject' or 'recording'.")
    groups = _groups(selection, within, allow_overlap=True)
    return Stretches.of(selection.ids, selection.per_recording, groups.of_recording, groups.names)


def _gaps(selection: Selection, stretches: Stretches, gap: int) -> tuple[LeftOut, LeftOut]:
    """Return how many samples to leave out before and after a border: `gap`, or all that share
    a row with the sample behind it.

    Only samples of the selection count: of windows that were chosen, few may overlap.
    """
    if not isinstance(gap, int | np.integer) or gap < 0:
        raise SampleError(f"gap={gap!r} has to be a number of samples, 0 or more.")
    index, ids, sizes = selection.view.index, selection.ids, stretches.sizes

    def before(positions: IntArray) -> IntArray:
        border = stretches.ids(np.minimum(positions, sizes - 1))
        n_sharing = ids.count_below(border) - ids.count_below(index.first_sharing(border))
        return np.where(positions < sizes, np.maximum(n_sharing, gap), gap)

    def after(positions: IntArray) -> IntArray:
        border = stretches.ids(np.maximum(positions - 1, 0))
        n_sharing = ids.count_below(index.last_sharing(border) + 1) - ids.count_below(border + 1)
        return np.where(positions > 0, np.maximum(n_sharing, gap), gap)

    return before, after


def _split_in_time(selection: Selection, val: Wanted, test: Wanted, within: str, gap: int) -> Parts:
    stretches = _stretches(selection, within)
    spans = hold_out_last(
        stretches.sizes,
        val=cast(float | None, val),
        test=cast(float | None, test),
        left_before=_gaps(selection, stretches, gap)[0],
        names=stretches.names,
    )
    return {name: selection.narrowed(stretches.parts(it)) for name, it in spans.items()}


def _folds_in_time(selection: Selection, k: Folds, within: str, gap: int) -> Iterator[Parts]:
    if not isinstance(k, int | np.integer):
        raise SampleError(f"folds({k!r}) within a {within}: give the number of folds.")
    stretches = _stretches(selection, within)
    left_before, left_after = _gaps(selection, stretches, gap)
    # All of them, so that what cannot be is said before the first is used.
    blocks = [
        block(
            stretches.sizes,
            int(k),
            number,
            left_before=left_before,
            left_after=left_after,
            names=stretches.names,
        )
        for number in range(max(1, int(k)))
    ]
    for spans in blocks:
        before, after, inside = (stretches.parts(it) for it in spans)
        yield {
            "train": selection.narrowed(before | after),
            "test": selection.narrowed(inside),
        }


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
        is_number = isinstance(value, int | np.integer)  # False among them
        if value is not None and not (is_number and value == 0):
            raise SampleError(
                f"{name}= and within= exclude each other: in time, nothing is drawn or grouped."
            )


def _warn_of_missing_classes(parts: Parts) -> None:
    train, *others = parts.values()
    have = class_counts(train) > 0
    for other in others:
        lacking = np.flatnonzero((class_counts(other) > 0) & ~have)
        if len(lacking) == 0:
            continue
        counts, catalog = class_counts_by_recording(other), other.store.catalog
        for code in lacking:
            owner = catalog.subjects[catalog.subject_codes[counts[:, code] > 0].min()]
            name = (other.scheme.class_names or [])[code]
            warnings.warn(
                f"The training part has no sample of class {name!r}, which {owner} has: "
                "no network can learn it. Train on a subject that has it.",
                stacklevel=5,
            )
