"""Divide subjects into training, validation and test: always whole subjects."""

from collections.abc import Iterator, Sequence

import numpy as np

from zarrts.errors import SampleError
from zarrts.keyed import derive_key, keyed_bits

Wanted = Sequence[str] | str | int | float | None
_NUMBERS = (int, float, np.integer)


def hold_out(
    subjects: Sequence[str], *, val: Wanted = None, test: Wanted = None, seed: int = 0
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
    drawn = [rest[i] for i in np.argsort(keyed_bits(derive_key(seed, 0, 0), np.arange(len(rest))))]
    for name, part in wanted.items():
        if isinstance(part, _NUMBERS):
            count = _count(part, len(subjects), name)
            taken, drawn = drawn[:count], drawn[count:]
            if len(taken) < count:
                raise SampleError(
                    f"{name}={part} asks for {count} subjects, but only {len(taken)} of "
                    f"{len(subjects)} are left; hold out fewer."
                )
            chosen[name] = tuple(subject for subject in subjects if subject in set(taken))
    held = {subject for part in chosen.values() for subject in part}
    train = tuple(subject for subject in subjects if subject not in held)
    if not train:
        raise SampleError(
            f"Holding out {len(held)} of {len(subjects)} subjects leaves none to train on; "
            "hold out fewer."
        )
    return {"train": train, **{name: chosen[name] for name in wanted}}


def _check_names(names: Sequence[str], subjects: Sequence[str], part: str) -> tuple[str, ...]:
    unknown = [str(name) for name in names if name not in set(subjects)]
    if unknown or not names:
        some = ", ".join(subjects[:10]) + (" ..." if len(subjects) > 10 else "")
        what = f"no subject named {', '.join(unknown)}" if unknown else "an empty list"
        raise SampleError(f"{part}: {what}; the subjects are {some}.")
    wanted = set(names)
    return tuple(subject for subject in subjects if subject in wanted)


def _count(part: int | float, n_subjects: int, name: str) -> int:
    is_count = isinstance(part, int | np.integer) and not isinstance(part, bool)
    if part <= 0 or not (is_count or (isinstance(part, float) and part < 1)):
        raise SampleError(
            f"{name}={part!r}: give names, a count of subjects (1 or more), or a fraction between "
            "0 and 1."
        )
    return int(part) if is_count else max(1, round(part * n_subjects))


def folds(
    subjects: Sequence[str], k: int | None = None, *, val: int = 0, seed: int = 0
) -> Iterator[dict[str, tuple[str, ...]]]:
    """Yield the parts of each fold: "train", "val" (if asked for) and "test".

    Every subject is tested in exactly one fold.

    Parameters
    ----------
    k : int, or None
        Number of folds, of nearly equal numbers of subjects drawn at random; None leaves one
        subject out at a time, in the order of the store.
    val : int
        Subjects of each fold that validate: those tested in the folds after it.
    """
    n_subjects = len(subjects)
    if k is not None and not 2 <= k <= n_subjects:
        raise SampleError(
            f"folds({k}) of {n_subjects} subjects: the number of folds has to lie between 2 and "
            f"{n_subjects}."
        )
    if n_subjects < 2:
        raise SampleError("Folds need at least 2 subjects.")
    order = np.arange(n_subjects)
    if k is not None:
        order = np.argsort(keyed_bits(derive_key(seed, 0, 1), order))
    groups = np.array_split(order, k or n_subjects)
    for number, test in enumerate(groups):
        after = np.concatenate([*groups[number + 1 :], *groups[:number]])
        if not 0 <= val < len(after):
            raise SampleError(
                f"val={val}: of {n_subjects} subjects, {len(after)} are not tested in a fold, and "
                "at least one has to be trained on."
            )
        parts = {"train": after[val:], "test": test}
        if val:
            parts = {"train": after[val:], "val": after[:val], "test": test}
        yield {name: tuple(subjects[i] for i in sorted(members)) for name, members in parts.items()}
