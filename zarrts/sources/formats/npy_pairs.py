"""Pairs of files, one of inputs and one of labels, by their names."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from zarrts.lists import listed
from zarrts.sources.formats.array_names import X_WORDS, Y_WORDS
from zarrts.sources.source_options import Role

ROLES: tuple[Role, Role] = ("x", "y")

_SEPARATORS = "_. -"


@dataclass(frozen=True)
class Pair:
    """Two files that belong together.

    Attributes
    ----------
    folder : str
        That both are in, relative, with "/"; "" at the top.
    name : str
        What their names share; "" where the names are nothing but x and y.
    x, y : str
        Relative paths with "/".
    """

    folder: str
    name: str
    x: str
    y: str


@dataclass(frozen=True)
class Part:
    """One way to read a file's stem: `word` says its role, `rest` is what the files share."""

    role: str
    rest: str
    word: str
    around: tuple[str, str] | None = None
    """The text before and after the word; None where a pattern was matched."""

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Smaller is the better reading: a word at the end before one at the start."""
        is_at_start = self.around is not None and self.around[0] == "" != self.around[1]
        return (is_at_start, len(self.rest), self.role)


@dataclass
class _Group:
    """The files of one folder and one shared name."""

    files: dict[Role, list[tuple[str, Part | None]]] = field(
        default_factory=lambda: {"x": [], "y": []}
    )


def pair_up(
    origins: Iterable[str], *, x: str | None = None, y: str | None = None
) -> tuple[list[Pair], list[str]]:
    """Pair the files of inputs with those of labels, by name, within each folder.

    A file's stem says its part by one of the usual words (`x`, `data`, ...; `y`, `labels`, ...)
    at the end or at the start, after or before one of ``_ - .`` or a space (`s01_x`, `x-s01`), or
    by being that word (`s01/x.npy`). `x` and `y`, where given, replace the usual words; with one
    `*` in it, an option is the pattern of the whole stem and `*` is what the pair shares
    (``x="*_eeg_raw"``). A file without such a word is the missing half of the pair that has
    its name (`s01.npy` and `s01_y.npy`), or that is alone with it in a folder.

    Parameters
    ----------
    origins : iterable of str
        Relative paths with "/".
    x, y : str, optional
        As given by the user.

    Returns
    -------
    pairs, in order of the inputs' paths, and one sentence for each group that is no pair.
    """
    words: dict[Role, tuple[str, ...]] = {
        "x": tuple(X_WORDS) if x is None else (x,),
        "y": tuple(Y_WORDS) if y is None else (y,),
    }
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    unmarked: dict[tuple[str, str], str] = {}
    unmarked_in: dict[str, list[str]] = defaultdict(list)
    for origin in sorted(origins):
        folder, _, file_name = origin.rpartition("/")
        stem = file_name.rpartition(".")[0]
        parts = [part for role in ROLES for part in readings(stem, role, words[role])]
        if parts:
            part = min(parts, key=lambda part: part.rank)
            role: Role = "x" if part.role == "x" else "y"
            groups[folder, part.rest].files[role].append((origin, part))
        else:
            unmarked[folder, stem] = origin
            unmarked_in[folder].append(stem)
    _adopt(groups, unmarked, unmarked_in)
    return _outcome(groups, unmarked, words)


def readings(stem: str, role: str, words: tuple[str, ...]) -> Iterable[Part]:
    """Yield the ways to read a file's stem as that of a role, which some words stand for."""
    for word in words:
        size = len(word)
        if word.count("*") == 1:
            head, tail = word.split("*")
            if size - 1 <= len(stem) and stem.startswith(head) and stem.endswith(tail):
                rest = stem[len(head) : len(stem) - len(tail)]
                yield Part(role, rest.strip(_SEPARATORS), word)
        elif stem.casefold() == word.casefold():
            yield Part(role, "", stem, ("", ""))
        elif _is_word(stem[-size:], word) and stem[-size - 1] in _SEPARATORS:
            before = stem[:-size]
            yield Part(role, before.rstrip(_SEPARATORS), stem[-size:], (before, ""))
        elif _is_word(stem[:size], word) and stem[size] in _SEPARATORS:
            after = stem[size:]
            yield Part(role, after.lstrip(_SEPARATORS), stem[:size], ("", after))


def _is_word(piece: str, word: str) -> bool:
    return len(piece) == len(word) and piece.casefold() == word.casefold()


def _adopt(
    groups: dict[tuple[str, str], _Group],
    unmarked: dict[tuple[str, str], str],
    unmarked_in: dict[str, list[str]],
) -> None:
    """Give each half that is alone the file without a word that must be its other half."""
    groups_in: dict[str, int] = defaultdict(int)
    for folder, _ in groups:
        groups_in[folder] += 1
    for (folder, rest), group in groups.items():
        empty = [role for role in ROLES if not group.files[role]]
        if len(empty) != 1:
            continue
        stems = unmarked_in.get(folder, [])
        is_alone = rest == "" and len(stems) == 1 and groups_in[folder] == 1
        stem = stems[0] if is_alone else rest
        origin = unmarked.pop((folder, stem), None)
        if origin is not None:
            group.files[empty[0]].append((origin, None))


def _outcome(
    groups: dict[tuple[str, str], _Group],
    unmarked: dict[tuple[str, str], str],
    words: dict[Role, tuple[str, ...]],
) -> tuple[list[Pair], list[str]]:
    pairs: list[Pair] = []
    problems: list[str] = []
    for (folder, rest), group in groups.items():
        xs, ys = group.files["x"], group.files["y"]
        if len(xs) == 1 and len(ys) == 1:
            pairs.append(Pair(folder, rest, xs[0][0], ys[0][0]))
        elif not xs or not ys:
            problems.extend(_half(origin, part, words) for origin, part in (*xs, *ys))
        else:
            several = listed(origin for origin, _ in (*xs, *ys))
            problems.append(
                f"{several}: belong together by name, but one file of inputs and one of labels is "
                "needed; say which with x= and y=."
            )
    problems.extend(
        f"{origin}: is neither inputs nor labels by its name; name a pair of files such as "
        "s01_x.npy and s01_y.npy, or say with x= and y= how they are named."
        for origin in unmarked.values()
    )
    pairs.sort(key=lambda pair: pair.x)
    return pairs, problems


def _half(origin: str, part: Part | None, words: dict[Role, tuple[str, ...]]) -> str:
    role: Role = "y" if part is not None and part.role == "y" else "x"
    other: Role = "y" if role == "x" else "x"
    head, _, suffix = origin.rpartition(".")
    folder, slash, stem = head.rpartition("/")
    word = words[other][0]
    rest = stem if part is None else part.rest
    around = (stem + "_", "") if part is None else part.around
    if len(words[other]) > 1:
        word = _counterpart("" if part is None else part.word, other)
    if "*" in word:
        expected = word.replace("*", rest)
    else:
        before, after = (rest + "_", "") if around is None else around
        expected = f"{before}{word}{after}"
    what = {"x": ("inputs", "labels"), "y": ("labels", "inputs")}[role]
    return (
        f"{origin}: holds {what[0]} by its name, but the {what[1]} that belong to it are missing; "
        f"put them beside it as {folder}{slash}{expected}.{suffix}, or say with x= and y= how "
        "the files are named."
    )


def _counterpart(word: str, other: Role) -> str:
    if len(word) == 1:
        return other
    return "labels" if other == "y" else "data"


def folder_name(path: str) -> str:
    """Return the name of the folder that the file at the absolute `path` is in."""
    return os.path.basename(os.path.dirname(path))
