"""Divide subjects into training, validation and test: always whole subjects."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.keyed import derive_key, keyed_bits
from zarrts.keywords import first_names, unknown_names
from zarrts.splits.stratified import even_parts
from zarrts.types import IntArray

Wanted = Sequence[str] | str | int | float | None
Folds = int | Sequence[Sequence[str]] | None
_NUMBERS = (int, float, np.number, np.bool_)


def hold_out(
    subjects: Sequence[str],
    *,
    val: Wanted = None,
    test: Wanted = None,
    seed: int = 0,
    counts: IntArray | None = None,
) -> dict[str, IntArray]:
    """Return who is in each part: "train" first, then "val" and "test" where asked for.

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
    dict of str to int64: positions in `subjects`, ascending; each is in exactly one part.

    Raises
    ------
    SampleError
        If a name is unknown or asked for twice, or nothing is left to train on.
    """
    wanted = {
        name: part[()] if isinstance(part, np.ndarray) and part.ndim == 0 else part
        for name, part in (("val", val), ("test", test))
        if part is not None
    }
    _check_seed(seed)
    if not wanted:
        raise SampleError("Say what to hold out: split(test=['s03']), split(val=2, test=0.2), ...")
    owner = np.full(len(subjects), -1)  # of each subject: which part holds it, in `wanted`
    for number, (name, part) in enumerate(wanted.items()):
        if not isinstance(part, _NUMBERS):
            chosen = _positions(part, subjects, name)
            twice = [subjects[i] for i in chosen[owner[chosen] >= 0]]
            if twice:
                raise SampleError(f"{first_names(twice)} would be in two parts; name each once.")
            owner[chosen] = number
    rest = np.flatnonzero(owner < 0)
    order = rest[np.argsort(keyed_bits(derive_key(seed, 0, 0), np.arange(len(rest))))]
    drawn = np.full(len(rest), -1)  # the same, of those who are drawn from, in the order drawn
    done = 0
    for number, (name, part) in enumerate(wanted.items()):
        if not isinstance(part, _NUMBERS):
            continue
        count = _count(part, len(subjects), name)
        if done + count > len(rest):
            raise SampleError(
                f"{name}={part} asks for {count:,} subjects, but only {len(rest) - done:,} of "
                f"{len(subjects):,} are left; hold out fewer."
            )
        drawn[done : done + count] = number
        done += count
    if counts is not None and 0 < done < len(rest):
        numbers, parts = np.unique(drawn, return_inverse=True)
        drawn = numbers[even_parts(counts[order], parts)]
    owner[order] = drawn
    train = np.flatnonzero(owner < 0)
    if len(train) == 0:
        raise SampleError(
            f"Holding out {len(subjects):,} of {len(subjects):,} subjects leaves none to train on; "
            "hold out fewer, or divide each in time: within='subject'."
        )
    held = {name: np.flatnonzero(owner == number) for number, name in enumerate(wanted)}
    return {"train": train, **held}


def _positions(names: Sequence[str] | str, subjects: Sequence[str], part: str) -> IntArray:
    """Return where some names are among all subjects, ascending."""
    names = [names] if isinstance(names, str) else list(names)
    known = {subject: i for i, subject in enumerate(subjects)}
    unknown = [str(name) for name in names if name not in known]
    if unknown:
        raise SampleError(unknown_names(f"{part}: no subject", unknown, subjects))
    if not names:
        raise SampleError(f"{part}: an empty list; the subjects are {first_names(subjects)}.")
    return np.unique(np.array([known[name] for name in names], np.int64))


def _count(part: Any, n_subjects: int, name: str) -> int:
    is_count = isinstance(part, int | np.integer) and not isinstance(part, bool)
    if part <= 0 or not (is_count or (isinstance(part, float | np.floating) and part < 1)):
        raise SampleError(
            f"{name}={part!r}: give names, a count of subjects (1 or more), or a fraction between "
            "0 and 1."
        )
    return int(part) if is_count else max(1, round(part * n_subjects))


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise SampleError(
            f"seed={seed!r} has to be a whole number of 0 or more: the same seed draws the same "
            "subjects again."
        )


def draw_folds(
    subjects: Sequence[str],
    k: Folds = None,
    *,
    val: int = 0,
    seed: int = 0,
    counts: IntArray | None = None,
    repeats: int = 1,
) -> Iterator[dict[str, IntArray]]:
    """Yield the parts of each fold, as `hold_out`: "train", "val" (if asked for) and "test".

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
    _check_seed(seed)
    n_subjects = len(subjects)
    if n_subjects < 2:
        raise SampleError("Folds need at least 2 subjects.")
    if repeats < 1 or (repeats > 1 and not isinstance(k, int | np.integer)):
        raise SampleError(
            f"repeats={repeats}: folds(k, repeats=...) draws k groups of subjects 1 or more times; "
            "with nothing drawn, each time would be the same."
        )
    for repetition in range(repeats):
        tested, stops = _groups(subjects, k, seed, repetition, counts)
        never = np.setdiff1d(np.arange(n_subjects), tested)
        for start, stop in zip([0, *stops[:-1]], stops, strict=True):
            after = np.concatenate([tested[stop:], tested[:start], never])
            if not 0 <= val < len(after):
                raise SampleError(
                    f"val={val}: of {n_subjects:,} subjects, {len(after):,} are not tested in a "
                    "fold, and at least one has to be trained on."
                )
            parts = {"train": after[val:], "val": after[:val], "test": tested[start:stop]}
            yield {name: np.sort(part) for name, part in parts.items() if val or name != "val"}


def _groups(
    subjects: Sequence[str], k: Folds, seed: int, repetition: int, counts: IntArray | None
) -> tuple[IntArray, list[int]]:
    """Return who is tested, by position, fold after fold, and where each fold stops."""
    n_subjects = len(subjects)
    if k is None:
        return np.arange(n_subjects), list(range(1, n_subjects + 1))
    if not isinstance(k, int | np.integer):
        return _given_groups(subjects, k)
    if not 2 <= k <= n_subjects:
        raise SampleError(
            f"folds({k}) of {n_subjects:,} subjects: the number of folds has to lie between 2 and "
            f"{n_subjects:,}."
        )
    order = np.argsort(keyed_bits(derive_key(seed, repetition, 1), np.arange(n_subjects)))
    sizes = np.full(k, n_subjects // k)
    sizes[: n_subjects % k] += 1
    if counts is not None:
        parts = even_parts(counts[order], np.repeat(np.arange(k), sizes))
        order = order[np.argsort(parts, kind="stable")]
    return order, np.cumsum(sizes).tolist()


def _given_groups(
    subjects: Sequence[str], given: Sequence[Sequence[str]]
) -> tuple[IntArray, list[int]]:
    if isinstance(given, str) or not hasattr(given, "__len__") or not len(given):
        raise SampleError(f"folds({given!r}): give a number, or a list of lists of names.")
    groups = [_positions(names, subjects, f"fold {number}") for number, names in enumerate(given)]
    tested = np.concatenate(groups)
    twice = [subjects[i] for i in np.flatnonzero(np.bincount(tested) > 1).tolist()]
    if twice:
        raise SampleError(f"{first_names(twice)} would be tested in two folds; name each once.")
    if len(tested) == len(subjects) == len(groups[0]):
        raise SampleError("One fold that tests every subject leaves none to train on.")
    return tested, np.cumsum([len(it) for it in groups]).tolist()
