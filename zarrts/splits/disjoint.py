"""Parts of one study that share no subject, and how to make sure of it."""

from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from zarrts.errors import SampleError
from zarrts.keywords import first_names
from zarrts.reading.contents import Contents
from zarrts.samples.cuts import View
from zarrts.samples.units import Ranges
from zarrts.sizes import format_count
from zarrts.splits.split_files import write_split
from zarrts.types import IntArray


class Part(Protocol):
    """What a split knows of its parts."""

    store: Contents
    selection: Ranges
    view: View

    def __len__(self) -> int: ...

    @property
    def subject_codes(self) -> IntArray:
        """Positions in `store.subjects` of the subjects that these samples belong to, ascending."""
        ...


S = TypeVar("S", bound=Part)


class Split(tuple[S, ...]):
    """Parts of one study that share no subject, training first; unpacks like a tuple.

    zarrts.Split(train=one, test=other) checks parts that you chose yourself.

    Parameters
    ----------
    allow_overlap : bool
        Parts may share subjects and recordings; never samples.
    train, val, test, ... : Samples
        By name.

    Raises
    ------
    SampleError
        If two parts have something in common.
    """

    names: tuple[str, ...]

    def __new__(cls, *, allow_overlap: bool = False, **parts: S) -> "Split[S]":
        """Check the parts, and hold them."""
        if not parts:
            raise SampleError("A split needs parts: Split(train=..., test=...).")
        assert_disjoint(**parts, allow_overlap=allow_overlap)
        self = super().__new__(cls, parts.values())
        self.names = tuple(parts)
        return self

    def __getattr__(self, name: str) -> S:
        """Return a part by its name."""
        if name != "names" and name in self.names:
            return self[self.names.index(name)]
        raise AttributeError(f"this split has no part {name!r}")

    def __reduce__(self) -> Any:
        return _rebuilt, (self.names, tuple(self))

    def __repr__(self) -> str:
        parts = (
            f"{name}: {format_count(len(part), 'sample')} of "
            f"{format_count(len(part.subject_codes), 'subject')}"
            for name, part in zip(self.names, self, strict=True)
        )
        return f"<zarrts.Split of {self[0].store.path}: {'; '.join(parts)}>"

    def save(self, path: str | Path) -> None:
        """Save which samples are in which part, as JSON; `store.load_split(path)` reads it.

        Raises
        ------
        SampleError
            If the samples are windows: what is saved is a split of recordings.
        """
        if self[0].view is not self[0].store.view:
            raise SampleError(
                "Only a split of whole recordings can be saved: save it before windows are cut, "
                "and cut them from each part."
            )
        parts = {name: part.selection for name, part in zip(self.names, self, strict=True)}
        write_split(Path(path), self[0].store, parts)


def _rebuilt(names: tuple[str, ...], parts: tuple[Any, ...]) -> Split[Any]:
    return Split(allow_overlap=True, **dict(zip(names, parts, strict=True)))


def assert_disjoint(*unnamed: Part, allow_overlap: bool = False, **named: Part) -> None:
    """Raise an error if parts of a study share samples, recordings or subjects.

    Parameters
    ----------
    parts : Samples
        Of one store; by name, if messages shall name them.
    allow_overlap : bool
        Parts may share subjects and recordings; never samples.

    Raises
    ------
    SampleError
        If two parts have something in common, or are of different stores.
    """
    parts = {**{f"part {number}": part for number, part in enumerate(unnamed)}, **named}
    checked: dict[str, Part] = {}
    for name, part in parts.items():
        for other_name, other in checked.items():
            if part.store is not other.store and _identity(part) != _identity(other):
                raise SampleError(
                    f"{name} is of {part.store.path}, version {part.store.version}, but "
                    f"{other_name} of {other.store.path}, version {other.store.version}; parts of "
                    "one split come from one store."
                )
            if part.view.key != other.view.key:
                raise SampleError(
                    f"{other_name} and {name} are not cut alike; split before windows are cut, or "
                    "cut all parts into the same windows."
                )
            _refuse_overlap(f"{other_name} and {name}", other, part, allow_overlap)
        checked[name] = part


def _identity(part: Part) -> tuple[str, int]:
    return part.store.header.write_id, part.store.version


def _refuse_overlap(names: str, one: Part, other: Part, allow_overlap: bool) -> None:
    n_shared = len(one.selection & other.selection)
    if n_shared:
        raise SampleError(
            f"{names} share {format_count(n_shared, 'sample')}; no sample may be in two parts."
        )
    shared = np.intersect1d(one.subject_codes, other.subject_codes, assume_unique=True)
    if len(shared) and not allow_overlap:
        known = one.store.catalog.subjects
        raise SampleError(
            f"{names} share the subjects {first_names([known[code] for code in shared])}: the "
            "network would be tested on people whom it knows. Divide by subjects; or, if that is "
            "meant, allow_overlap=True."
        )
