"""SplitGroups that stay whole in a split: subjects, or what users group them or recordings by."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.keywords import first_names
from zarrts.storage.catalog import Catalog
from zarrts.types import IntArray

Group = str | Mapping[str, Any] | Callable[[str], Any] | Sequence[Any] | None


@dataclass(frozen=True, kw_only=True)
class SplitGroups:
    """The groups of the recordings of a store.

    Attributes
    ----------
    names : tuple of str
        In order of first appearance; groups without selected samples are left out.
    of_recording : int64, shape (n_recordings,)
        Position in `names`; -1 for recordings without selected samples.
    """

    names: tuple[str, ...]
    of_recording: IntArray

    def recordings(self, groups: IntArray) -> IntArray:
        """Return which recordings belong to some groups, given by position, ascending."""
        is_wanted = np.zeros(len(self.names) + 1, bool)  # the last one stands for -1
        is_wanted[groups] = True
        return np.flatnonzero(is_wanted[self.of_recording])


def groups_of(
    catalog: Catalog, is_selected: "np.ndarray[Any, np.dtype[np.bool_]]", group: Group
) -> SplitGroups:
    """Return the groups of all recordings that hold selected samples.

    Parameters
    ----------
    catalog : Catalog
    is_selected : bool, shape (n_recordings,)
    group : None, str, mapping, callable or array
        None or "subject": each subject. "recording": each recording, named by its file. Another
        text: what the study said of each in that column, such as "site". A mapping or callable
        gives the group of a subject's name; an array has one entry for each selected subject, or
        for each recording of the store.

    Raises
    ------
    SampleError
        If a subject has no group, or an array another length.
    """
    subjects = [catalog.subjects[code] for code in catalog.subject_codes]
    selected = np.flatnonzero(is_selected)
    if group is None or (isinstance(group, str) and group == "subject"):
        found = subjects
    elif isinstance(group, str):
        found = (
            _names_of_recordings(catalog)
            if group == "recording"
            else _of_column(catalog, group, selected)
        )
    elif isinstance(group, Mapping):
        lacking = list(dict.fromkeys(subjects[i] for i in selected if subjects[i] not in group))
        if lacking:
            raise SampleError(
                f"group= has no entry for {first_names(lacking)}; name the group of every subject."
            )
        found = [str(group.get(name)) for name in subjects]
    elif callable(group):
        groups = {subjects[i]: str(group(subjects[i])) for i in selected}
        found = [groups.get(name, "") for name in subjects]
    else:
        found = _given(list(group), subjects, selected)
    names = tuple(dict.fromkeys(found[i] for i in selected))
    positions = {name: code for code, name in enumerate(names)}
    codes = np.full(len(subjects), -1, np.int64)
    codes[selected] = [positions[found[i]] for i in selected]
    return SplitGroups(names=names, of_recording=codes)


def _given(group: list[Any], subjects: list[str], selected: IntArray) -> list[str]:
    names = list(dict.fromkeys(subjects[i] for i in selected))
    if len(group) == len(subjects):
        return [str(value) for value in group]
    if len(group) == len(names):
        of_subject = dict(zip(names, group, strict=True))
        return [str(of_subject.get(name)) for name in subjects]
    raise SampleError(
        f"group= has {len(group):,} entries, but there are {len(names):,} subjects in these "
        f"samples, and {len(subjects):,} recordings in the store; give one for each of either."
    )


def _of_column(catalog: Catalog, name: str, selected: IntArray) -> list[str]:
    """Return what a study said of each recording; "" of recordings without selected samples."""
    known = dict.fromkeys(column for it in catalog.recordings for column in it.groups)
    if name not in known:
        columns = "".join(f"{column!r}, " for column in known)
        raise SampleError(
            f"group={name!r} is unknown; use {columns}'subject', 'recording', a dict or function "
            "that gives the group of each subject, or an array."
        )
    chosen = [catalog.recordings[i] for i in selected]
    lacking = [it.source for it in chosen if name not in it.groups]
    if lacking:
        raise SampleError(
            f"group={name!r}: nothing is said of {first_names(lacking)}; leave them out, or give a "
            "dict of the group of each subject."
        )
    return [it.groups.get(name, "") for it in catalog.recordings]


def _names_of_recordings(catalog: Catalog) -> list[str]:
    n_each = Counter(it.source for it in catalog.recordings)
    return [
        it.source if n_each[it.source] == 1 else f"{it.source}#{it.source_start}"
        for it in catalog.recordings
    ]


def refuse_divided_subjects(catalog: Catalog, groups: SplitGroups) -> None:
    """Raise the error of subjects whose recordings are in several groups."""
    selected = groups.of_recording >= 0
    pairs = np.unique(
        np.stack([catalog.subject_codes[selected], groups.of_recording[selected]], axis=1), axis=0
    )
    codes, counts = np.unique(pairs[:, 0], return_counts=True)
    divided = [catalog.subjects[code] for code in codes[counts > 1]]
    if divided:
        raise SampleError(
            f"Recordings of {first_names(divided)} are in several groups, so that a subject would "
            "be on both sides of a split. Group whole subjects; or, if that is meant, "
            "allow_overlap=True."
        )
