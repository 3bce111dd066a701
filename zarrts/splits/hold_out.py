"""Divide subjects into training, validation and test: always whole subjects."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.keyed import derive_key, keyed_bits
from zarrts.keywords import unknown_names
from zarrts.splits.stratified import even_parts
from zarrts.types import IntArray

Wanted = Sequence[str] | str | int | float | None
Folds = int | Sequence[Sequence[str]] | None
_NUMBERS = (int, float, np.integer)


def hold_out(
    subjects: Sequence[str],
    *,
    val: Wanted = None,
    test: Wanted = None,
    seed: int = 0,
    counts: IntArray | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return the subjects of each part: "train" first, then "val" and "test" where asked for.

    Parameters
    ----------
    subjects : sequence of str
        All of them, in the order of the store.
    val, test : names, a count, or a fraction
        Names are taken as they are; counts and fractions are drawn at random from the rest.
        A fraction of the subjects is rounded to the nearest count, at least 1.
    seed : int
        Of the draw.
    counts : int64, shape (n_subjects, n_classes), optional
        Labels of each class that each subject has. Where given, those who are drawn are swapped
        until every part has about the same proportions.

    Returns
    -------
    dict of str to tuple of str; no subject is in two parts, and together they hold every subject.

    Raises
    ------
    SampleError
        If a name is unknown or asked for twice, or nothing is left to train on.
    """
    wanted = {name: part for name, part in (("val", val), ("test", test)) if part is not None}
    if not wanted:
        raise SampleError("Say what to hold out: split(test=['s03']), split(val=2, test=0.2), ...")
    chosen: dict[str, tuple[str, ...]] = {}
    for name, part in wanted.items():
        if not isinstance(part, _NUMBERS):
            named_here = [part] if isinstance(part, str) else list(part)
            chosen[name] = _check_names(named_here, subjects, name)
    named = [subject for part in chosen.values() for subject in part]
    twice = {subject for subject in named if named.count(subject) > 1}
    if twice:
        raise SampleError(f"{', '.join(sorted(twice))} would be in two parts; name each once.")
    rest = [subject for subject in subjects if subject not in set(named)]
    order = np.argsort(keyed_bits(derive_key(seed, 0, 0), np.arange(len(rest))))
    owner = np.full(len(rest), -1)  # of the subjects as drawn: which part takes them
    names = [name for name, part in wanted.items() if isinstance(part, _NUMBERS)]
    done = 0
    for number, name in enumerate(names):
        count = _count(wanted[name], len(subjects), name)
        if done + count > len(rest):
            raise SampleError(
                f"{name}={wanted[name]} asks for {count} subjects, but only {len(rest) - done} of "
                f"{len(subjects)} are left; hold out fewer."
            )
        owner[done : done + count] = number
        done += count
    if counts is not None and 0 < done < len(rest):
        positions = {subject: i for i, subject in enumerate(subjects)}
        of_drawn = counts[[positions[rest[i]] for i in order]]
        owner = even_parts(of_drawn, owner + 1) - 1
    for number, name in enumerate(names):
        taken = {rest[i] for i in order[owner == number]}
        chosen[name] = tuple(subject for subject in subjects if subject in taken)
    held = {subject for part in chosen.values() for subject in part}
    train = tuple(subject for subject in subjects if subject not in held)
    if not train:
        raise SampleError(
            f"Holding out {len(held)} of {len(subjects)} subjects leaves none to train on; "
            "hold out fewer, or divide each in time: within='subject'."
        )
    return {"train": train, **{name: chosen[name] for name in wanted}}


def _check_names(names: Sequence[str], subjects: Sequence[str], part: str) -> tuple[str, ...]:
    unknown = [str(name) for name in names if name not in set(subjects)]
    if unknown:
        raise SampleError(unknown_names(f"{part}: no subject", unknown, subjects))
    if not names:
        some = ", ".join(subjects[:10]) + (" ..." if len(subjects) > 10 else "")
        raise SampleError(f"{part}: an empty list; the subjects are {some}.")
    wanted = set(names)
    return tuple(subject for subject in subjects if subject in wanted)


def _count(part: Any, n_subjects: int, name: str) -> int:
    is_count = isinstance(part, int | np.integer) and not isinstance(part, bool)
    if part <= 0 or not (is_count or (isinstance(part, float) and part < 1)):
        raise SampleError(
            f"{name}={part!r}: give names, a count of subjects (1 or more), or a fraction between "
            "0 and 1."
        )
    return int(part) if is_count else max(1, round(part * n_subjects))


def folds(
    subjects: Sequence[str],
    k: Folds = None,
    *,
    val: int = 0,
    seed: int = 0,
    counts: IntArray | None = None,
    repeats: int = 1,
) -> Iterator[dict[str, tuple[str, ...]]]:
    """Yield the parts of each fold: "train", "val" (if asked for) and "test".

    Every subject is tested in exactly one fold of each repetition.

    Parameters
    ----------
    k : int, sequence of sequences of names, or None
        Number of folds, of nearly equal numbers of subjects drawn at random; or who is tested in
        each, where whom nobody names is always trained on; None leaves one subject out at a time,
        in the order of the store.
    val : int
        Subjects of each fold that validate: those tested in the folds after it.
    counts : int64, shape (n_subjects, n_classes), optional
        Labels of each class that each subject has. Where given, every fold gets about the same
        proportions.
    repeats : int
        How often all folds are drawn, each time anew.
    """
    n_subjects = len(subjects)
    if n_subjects < 2:
        raise SampleError("Folds need at least 2 subjects.")
    if repeats < 1 or (repeats > 1 and not isinstance(k, int | np.integer)):
        raise SampleError(
            f"repeats={repeats}: folds(k, repeats=...) draws k groups of subjects 1 or more times; "
            "with nothing drawn, each time would be the same."
        )
    for repetition in range(repeats):
        groups = _groups(subjects, k, seed, repetition, counts)
        tested = np.concatenate(groups)
        never = np.setdiff1d(np.arange(n_subjects), tested)
        for number, test in enumerate(groups):
            after = np.concatenate([*groups[number + 1 :], *groups[:number], never])
            if not 0 <= val < len(after):
                raise SampleError(
                    f"val={val}: of {n_subjects} subjects, {len(after)} are not tested in a fold, "
                    "and at least one has to be trained on."
                )
            parts = {"train": after[val:], "test": test}
            if val:
                parts = {"train": after[val:], "val": after[:val], "test": test}
            yield {
                name: tuple(subjects[i] for i in sorted(members)) for name, members in parts.items()
            }


def _groups(
    subjects: Sequence[str], k: Folds, seed: int, repetition: int, counts: IntArray | None
) -> list[IntArray]:
    """Return the positions of those who are tested in each fold."""
    n_subjects = len(subjects)
    if k is None:
        return np.array_split(np.arange(n_subjects), n_subjects)
    if not isinstance(k, int | np.integer):
        return _given_groups(subjects, k)
    if not 2 <= k <= n_subjects:
        raise SampleError(
            f"folds({k}) of {n_subjects} subjects: the number of folds has to lie between 2 and "
            f"{n_subjects}."
        )
    order = np.argsort(keyed_bits(derive_key(seed, repetition, 1), np.arange(n_subjects)))
    if counts is None:
        return np.array_split(order, k)
    drawn = np.concatenate(
        [np.full(len(it), number) for number, it in enumerate(np.array_split(order, k))]
    )
    parts = even_parts(counts[order], drawn)
    return [order[parts == number] for number in range(k)]


def _given_groups(subjects: Sequence[str], given: Sequence[Sequence[str]]) -> list[IntArray]:
    if isinstance(given, str) or not given:
        raise SampleError(f"folds({given!r}): give a number, or a list of lists of names.")
    groups = [
        _check_names([names] if isinstance(names, str) else list(names), subjects, f"fold {number}")
        for number, names in enumerate(given)
    ]
    named = [name for names in groups for name in names]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise SampleError(f"{', '.join(twice)} would be tested in two folds; name each once.")
    if len(named) == len(subjects) == len(groups[0]):
        raise SampleError("One fold that tests every subject leaves none to train on.")
    positions = {subject: i for i, subject in enumerate(subjects)}
    return [np.array([positions[name] for name in names], np.int64) for names in groups]
