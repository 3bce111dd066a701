"""Usual names of inputs and labels, and the choice among the arrays of one file."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

from zarrts.errors import SourceError
from zarrts.keywords import did_you_mean
from zarrts.lists import listed

X_WORDS = (
    *("x", "xs", "data", "input", "inputs", "signal", "signals", "sample", "samples"),
    *("feature", "features", "series", "windows", "epochs"),
)
Y_WORDS = (
    *("y", "ys", "label", "labels", "target", "targets", "class", "classes"),
    *("stage", "stages", "output", "outputs", "hypnogram"),
)
_SETS = ("data", "train", "test", "val", "all")


def _with_sets(letter: str) -> tuple[str, ...]:
    return tuple(name for part in _SETS for name in (f"{letter}_{part}", f"{part}_{letter}"))


X_NAMES = frozenset([*X_WORDS, *_with_sets("x"), "arr_*"])
"""Usual names of inputs, in lower case, with "_" for "-". Test and validation arrays are among
them so that a file with several sets is ambiguous, and none is dropped."""

Y_NAMES = frozenset([*Y_WORDS, *_with_sets("y"), "y_true"])
"""Usual names of labels."""


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names that differ: those that occur twice get "#1", "#2", so that each is chosen."""
    counts = Counter(names)
    taken = {name for name, count in counts.items() if count == 1}
    found = []
    for name in names:
        if counts[name] > 1:
            free = (f"{name}#{number}" for number in itertools.count(1))
            name = next(it for it in free if it not in taken)
            taken.add(name)
        found.append(name)
    return found


def pick(
    names: Sequence[str],
    x: str | None = None,
    y: str | None = None,
    *,
    origin: str,
    describe: Callable[[str], str] = str,
) -> tuple[str, str]:
    """Return the names of inputs and labels among the arrays of one file.

    A name that is given is taken as it is. Otherwise the one usual name (`X_NAMES`, `Y_NAMES`,
    whatever the case) is taken; of exactly two arrays, where one is known, the other is the other.

    Parameters
    ----------
    names : sequence of str
        All arrays of the file.
    x, y : str, optional
        As given by the user.
    origin : str
        How the message names the file.
    describe : callable
        Gives name, shape and dtype of an array; called for the message only.

    Raises
    ------
    SourceError
        If a given name is not there, or if none or several could be meant; lists the arrays.
    """
    if not names:
        raise SourceError(f"{origin}: holds no arrays; save inputs and labels in it.")
    for option, name in (("x", x), ("y", y)):
        if name is not None and name not in names:
            raise SourceError(
                f"{origin}: has no array {name!r}, which {option}= names; "
                f"it holds {listed(map(describe, names))}.{did_you_mean(name, names)}"
            )
    xs = [x] if x is not None else with_usual_name([n for n in names if n != y], X_NAMES)
    ys = [y] if y is not None else with_usual_name([n for n in names if n != x], Y_NAMES)
    if len(names) == 2 and len(xs) + len(ys) == 1:
        other = [name for name in names if name not in (*xs, *ys)]
        xs, ys = xs or other, ys or other
    if len(xs) == 1 and len(ys) == 1:
        return xs[0], ys[0]
    unclear = " and ".join(
        f"{what} ({option}=)"
        for what, option, some in (("inputs", "x", xs), ("labels", "y", ys))
        if len(some) != 1
    )
    raise SourceError(
        f"{origin}: holds {listed(map(describe, names))}, and it is not clear which array is the "
        f"{unclear}; give its name."
    )


def with_usual_name(names: Sequence[str], usual: frozenset[str]) -> list[str]:
    """Return those of some names that are usual ones; else those of fields that are, "S.x"."""
    found = [name for name in names if usual_name(name) in usual]
    return found or [name for name in names if usual_name(name.rpartition(".")[2]) in usual]


def usual_name(name: str) -> str:
    """Return a name as the usual ones are listed: in lower case, with "_" for "-"."""
    return name.casefold().replace("-", "_")
