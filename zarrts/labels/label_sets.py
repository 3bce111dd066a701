"""Several arrays of labels: the same as for one, for each by its name."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SampleError, SourceError
from zarrts.keywords import first_names
from zarrts.labels.counting import LabelCounter
from zarrts.labels.scheme import (
    LabelMode,
    LabelScheme,
    extended,
    joint_scheme,
    scheme_of,
    target_function,
)
from zarrts.types import AnyArray, Label, Labels

LabelModes = LabelMode | Mapping[str, LabelMode]
"""The mode of labels: one for all, or one for each of several arrays by name."""


def scheme_of_study(
    counters: Sequence[LabelCounter],
    dtypes: Sequence[np.dtype[Any]],
    class_names: Sequence[Label] | None = None,
    *,
    allows_missing: bool = False,
) -> LabelScheme:
    """Return how the labels of a study are encoded; see `labels.scheme_of`."""
    if not counters[0].parts:
        return scheme_of(counters, dtypes, class_names, allows_missing=allows_missing)
    if class_names is not None:
        raise SourceError(
            "class_names= orders the classes of one array of labels, but there are several; leave "
            "it out."
        )

    def of_part(name: str) -> LabelScheme:
        return scheme_of(*_own(name, counters, dtypes), allows_missing=allows_missing)

    parts = {name: _explained(name, of_part) for name in counters[0].parts}
    return joint_scheme(parts, {name: dtypes[0][name].shape for name in parts})


def extended_scheme(
    scheme: LabelScheme, counters: Sequence[LabelCounter], dtypes: Sequence[np.dtype[Any]]
) -> LabelScheme:
    """Return the scheme of a store to which more labels are added; see `labels.extended`."""
    known, new = scheme.parts.keys(), counters[0].parts.keys()
    if known != new:
        have, want = (", ".join(it) or "one array" for it in (new, known))
        raise SourceError(f"The new labels are {have}, but those in the store {want}.")
    if not known:
        return extended(scheme, counters, dtypes)

    def of_part(name: str) -> LabelScheme:
        return extended(scheme.parts[name], *_own(name, counters, dtypes))

    return replace(scheme, parts={name: _explained(name, of_part) for name in known})


def _own(
    name: str, counters: Sequence[LabelCounter], dtypes: Sequence[np.dtype[Any]]
) -> tuple[list[LabelCounter], list[np.dtype[Any]]]:
    return [it.parts[name] for it in counters], [it[name].base for it in dtypes]


def _explained(name: str, scheme: Callable[[str], LabelScheme]) -> LabelScheme:
    try:
        return scheme(name)
    except SourceError as error:
        raise SourceError(f"Labels {name!r}: {error}") from error


def targets_of(
    scheme: LabelScheme, mode: LabelModes
) -> tuple[Callable[[Any], Labels], str | dict[str, str]]:
    """Return what turns stored labels into targets, and the mode; see `labels.target_function`.

    Of several arrays, both are dictionaries by name.

    Raises
    ------
    SampleError
        If a mode does not fit its labels, or names are lacking.
    """
    if not scheme.parts:
        if not isinstance(mode, str):
            raise SampleError(
                f"label_mode={mode!r} is for several arrays of labels, but there is one; give "
                "'auto', for example."
            )
        function, meaning = target_function(scheme, mode)
        return function, meaning
    modes = dict.fromkeys(scheme.parts, mode) if isinstance(mode, str) else dict(mode)
    if modes.keys() != scheme.parts.keys():
        raise SampleError(
            f"label_mode= has to name each of the labels {', '.join(scheme.parts)} once, not "
            f"{', '.join(map(str, modes))}."
        )
    found = {name: target_function(it, modes[name]) for name, it in scheme.parts.items()}

    def targets(stored: Any) -> Labels:
        return {
            name: function(np.ascontiguousarray(stored[name]))
            for name, (function, _) in found.items()
        }

    return targets, {name: meaning for name, (_, meaning) in found.items()}


def check_named(scheme: LabelScheme, classes: object) -> Mapping[str, Any]:
    """Return classes of several arrays of labels, given for some of these by name.

    Raises
    ------
    SampleError
        If they are no such dictionary.
    """
    if isinstance(classes, Mapping) and classes and classes.keys() <= scheme.parts.keys():
        return classes
    parts = scheme.parts.items()
    name, own = next(((name, it) for name, it in parts if it.class_names), next(iter(parts)))
    raise SampleError(
        f"classes={reprlib.repr(classes)}: there are several arrays of labels, "
        f"{', '.join(scheme.parts)}; say of which the classes are, such as classes="
        f"{{{name!r}: {list(own.class_names or ())[:1]}}}."
    )


def merged_parts(scheme: LabelScheme, classes: Mapping[str, Mapping[Any, Any]]) -> LabelScheme:
    """Return a scheme of several arrays in which some have other classes, by name.

    Raises
    ------
    SampleError
        If a class is unknown, or labels are not classes.
    """
    parts = dict(scheme.parts)
    for name, own in classes.items():
        try:
            parts[name] = parts[name].merged(own)
        except SampleError as error:
            raise SampleError(f"Labels {name!r}: {error}") from error
    return replace(scheme, parts=parts)


def alike(scheme: LabelScheme, other: LabelScheme) -> LabelScheme:
    """Return the scheme of other samples, with classes merged and missing as in `scheme`.

    Where that cannot be, because classes are others, it stays as it is.
    """
    if scheme.parts:
        parts = {
            name: alike(scheme.parts[name], it) if name in scheme.parts else it
            for name, it in other.parts.items()
        }
        return replace(other, parts=parts)
    if scheme.merges is not None and other.class_names == scheme.merges.stored_names:
        return replace(other, class_names=scheme.class_names, merges=scheme.merges)
    if scheme.missing and other.merges is None and other.missing == ():
        return replace(other, missing=scheme.missing)
    return other


def have_same_classes(scheme: LabelScheme, other: LabelScheme) -> bool:
    """Return whether labels have the same classes; of several arrays, also the same names."""
    return scheme.class_names == other.class_names and (
        {name: it.class_names for name, it in scheme.parts.items()}
        == {name: it.class_names for name, it in other.parts.items()}
    )


def describe_classes(scheme: LabelScheme) -> str:
    """Return which classes there are, as part of a sentence."""
    if scheme.parts:
        parts = (f"for {name!r} {describe_classes(it)}" for name, it in scheme.parts.items())
        return ", ".join(parts)
    if scheme.class_names is None:
        return "labels that are numbers"
    return f"the classes {first_names(scheme.class_names)}"


def by_name(stored: AnyArray) -> Labels:
    """Return records of several arrays of labels as a dictionary; other labels as they are."""
    if stored.dtype.names is None:
        return stored
    return {name: np.array(stored[name]) for name in stored.dtype.names}


def each_array(labels: Labels, function: Callable[[AnyArray], AnyArray]) -> Labels:
    """Return labels with a function called on each array."""
    if isinstance(labels, dict):
        return {name: function(it) for name, it in labels.items()}
    return function(labels)
