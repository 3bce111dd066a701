"""Compare what recordings say of their columns and rows, and bring them into one form.

`agree` is the one function for that, whichever way recordings come in: a folder, a table, class
folders, a Recording, more of them for a store, new ones for a network, or another store.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from zarrts.lists import listed
from zarrts.sources.study.standards import (
    Described,
    Standard,
    Wanted,
    are_alike,
    standard_channels,
    standard_rate,
    standard_units,
)
from zarrts.sources.study.units import factor
from zarrts.types import Description

_MAX_NAMES = 8


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """The changes that bring a recording into the form of the others; see `AdjustedRows`."""

    columns: tuple[int, ...] | None = None
    factors: tuple[float, ...] | None = None

    @property
    def is_same(self) -> bool:
        """Whether nothing has to be done."""
        return self.columns is None and self.factors is None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Result of `agree`.

    Attributes
    ----------
    description : Description
        Of all of them together.
    adjusted : tuple of Adjusted
        One each.
    problems, notes : tuple of str
        What cannot be brought together, with its remedy; and what is done, or is not known.
    unsaid : dict from name of a field to tuple of str
        The origins that do not say what the others, or the reference, say.
    """

    description: Description
    adjusted: tuple[Adjusted, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    unsaid: dict[str, tuple[str, ...]]


@dataclass
class _Said:
    """Sentences that are collected while recordings are compared."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def agree(recordings: Sequence[Described], wanted: Wanted) -> Agreement:
    """Bring the descriptions of recordings together.

    Columns of another order are put in order by their names, units that differ by a power of ten
    are converted, and what is not known is taken to be as the others are. Each of these is noted,
    and all else that differs is a problem.
    """
    said = _Said()
    known = [_counted(it, wanted, said) for it in recordings]
    channels = standard_channels(known, wanted)
    placed = [_in_order(it, channels, wanted, said) for it in known]
    named = [it for it, _ in placed]
    units = standard_units(named, wanted)
    _refuse_wrong_count(named, units, wanted, said)
    factors = [_in_units(it, units, wanted, said) for it in named]
    rate = standard_rate(known, wanted)
    for it in known:
        _compare_rate(it, rate, wanted, said)
    reference = wanted.reference
    given = {"channels": wanted.channels, "units": wanted.units, "rate_hz": wanted.rate_hz}
    found = Description(
        channels=channels.value,
        units=units.value,
        rate_hz=rate.value,
        by_hand=frozenset(name for name, value in given.items() if value is not None)
        if reference is None
        else reference.description.by_hand,
    )
    unsaid: dict[str, tuple[str, ...]] = {
        name: tuple(it.origin for it in known if name not in it.description.says)
        for name in ("channels", "units", "rate_hz")
        if name in found.says
    }
    return Agreement(
        description=found,
        adjusted=tuple(
            Adjusted(columns=columns, factors=some)
            for (_, columns), some in zip(placed, factors, strict=True)
        ),
        problems=tuple(said.problems),
        notes=(*_counts(known, found, unsaid, wanted.override), *gathered(said.notes)),
        unsaid=unsaid,
    )


def unsaid_in(agreed: Agreement) -> tuple[str, ...]:
    """Return one sentence on what recordings do not say and a reference does, if there is any.

    Nothing is said of what was given by hand, which the files of the training need not say either.
    """
    found = agreed.description
    of_origins: dict[tuple[str, ...], list[str]] = {}
    for name, origins in agreed.unsaid.items():
        if origins and name not in found.by_hand:
            of_origins.setdefault(origins, []).append(name)
    if not of_origins:
        return ()
    known = {
        "channels": f"channels ({_shown(found.channels or ())})",
        "units": f"units ({_shown(dict.fromkeys(filter(None, found.units or ())))})",
        "rate_hz": f"a rate ({found.rate_hz or 0:g} Hz)",
    }
    texts = (
        f"{listed(origins, 4)} {'says' if len(origins) == 1 else 'say'} nothing of "
        f"{' and '.join(known[name] for name in names)}"
        for origins, names in of_origins.items()
    )
    return (f"{'; '.join(texts)}: taken to be as the network was trained with.",)


def _shown(names: Iterable[str]) -> str:
    return listed(names, _MAX_NAMES)


def _counted(it: Described, wanted: Wanted, said: _Said) -> Described:
    """Return a recording with as many names and units as it has columns, or with none."""
    found, n_columns = it.description, it.n_columns or 1
    if found.units is not None and len(found.units) == 1:
        found = replace(found, units=found.units * n_columns)  # one for all
    counted = found
    if found.channels is not None and len(found.channels) != n_columns:
        counted = replace(counted, channels=None)
    if found.units is not None and len(found.units) != n_columns:
        counted = replace(counted, units=None)
    for name, before, after in (
        ("channels", found.channels, counted.channels),
        ("units", found.units, counted.units),
    ):
        if before != after and name not in wanted.override:
            said.problems.append(
                f"{it.origin}: names {len(before or ())} {name} ({_shown(before or ())}), but its "
                f"rows have {n_columns} (the last axis); correct them, or say which axis is which "
                "with axes=."
            )
    return replace(it, description=counted)


# Channels --------------------------------------------------------------------------------------


def _in_order(
    it: Described, standard: Standard, wanted: Wanted, said: _Said
) -> tuple[Described, tuple[int, ...] | None]:
    """Return a recording with its columns in order, and which of the given ones these are."""
    described, theirs = it.description, standard.value
    mine = described.channels
    if theirs is None or mine is None or mine == theirs:
        return it, None
    are_unique = len({*theirs}) == len(theirs) and all(mine.count(name) == 1 for name in theirs)
    if are_unique and (wanted.picks or len(mine) == len(theirs)):
        columns = tuple(map(mine.index, theirs))
        is_asked = wanted.reference is None and wanted.channels is not None
        if len(mine) == len(theirs) and not is_asked:
            text = "its channels are in another order, and are put in order by name"
            said.notes.append(f"{it.origin}: {text}")
        units = described.units and tuple(described.units[column] for column in columns)
        described = replace(described, channels=theirs, units=units)
        return replace(it, n_columns=len(columns), description=described), columns
    shown, others = _apart(mine, theirs)
    if "channels" in wanted.override and len(mine) == len(theirs):
        said.notes.append(f"{it.origin}: its channels {shown} are taken as {others}")
        return replace(it, description=replace(described, channels=theirs)), None
    said.problems.append(
        f"{it.origin}: channels {shown}, but {standard.but(others)}{standard.remedy}"
    )
    return it, None


def _apart(mine: Sequence[str], theirs: Sequence[str]) -> tuple[str, str]:
    """Return two lists of names in words; of long ones, those that differ."""
    if max(len(mine), len(theirs)) <= _MAX_NAMES:
        return ", ".join(mine), ", ".join(theirs)
    if len(mine) != len(theirs):
        return f"({_with_others(mine, theirs)})", _with_others(theirs, mine)
    at = [i for i, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other]
    where = f"{_shown(str(i + 1) for i in at)} (of {len(mine)})"
    return f"{where} are {_shown(mine[i] for i in at)}", _shown(theirs[i] for i in at)


def _with_others(names: Sequence[str], others: Sequence[str]) -> str:
    more = [name for name in names if name not in others]
    return f"{len(names)}, with {_shown(more)}" if more else f"{len(names)}"


# Units -----------------------------------------------------------------------------------------


def _refuse_wrong_count(
    recordings: Sequence[Described], standard: Standard, wanted: Wanted, said: _Said
) -> None:
    n_columns = max((it.n_columns or 1 for it in recordings), default=1)
    is_given = wanted.reference is None and wanted.units is not None
    if is_given and standard.value is not None and len(standard.value) != n_columns:
        said.problems.append(
            f"units= names {len(standard.value)}, but there are {n_columns} channels; give one for "
            "all, or one for each."
        )


def _in_units(
    it: Described, standard: Standard, wanted: Wanted, said: _Said
) -> tuple[float, ...] | None:
    """Return what the columns of a recording are multiplied by."""
    mine, theirs = it.units, standard.value
    if theirs is None or not mine or len(mine) != len(theirs) or mine == theirs:
        return None
    names = it.description.channels or [f"channel {n}" for n in range(1, len(mine) + 1)]
    pairs = list(zip(names, mine, theirs, strict=True))
    if "units" in wanted.override:
        changed = dict.fromkeys(
            f"{one} as {other}" for _, one, other in pairs if one not in ("", other)
        )
        if changed:
            said.notes.append(f"{it.origin}: takes units {_shown(changed)}")
        return None
    factors = [factor(one, other) if one and other else 1.0 for _, one, other in pairs]
    unlike = [pair for pair, by in zip(pairs, factors, strict=True) if by is None]
    if unlike:
        of_unit: dict[str, list[str]] = {}
        for name, one, _ in unlike:
            of_unit.setdefault(one, []).append(name)
        shown = "; ".join(f"{_shown(some)} in {one}" for one, some in of_unit.items())
        others = _shown(dict.fromkeys(other for _, _, other in unlike))
        said.problems.append(f"{it.origin}: {shown}, but {standard.but(others)}{standard.remedy}")
    known = tuple(by for by in factors if by is not None)
    if unlike or {*known} == {1.0}:
        return None
    changed = dict.fromkeys(
        f"{one} to {other} (times {by:,g})"
        for (_, one, other), by in zip(pairs, known, strict=True)
        if by != 1.0
    )
    said.notes.append(f"{it.origin}: converted from {_shown(changed)}")
    return known


# Rates -----------------------------------------------------------------------------------------


def _compare_rate(it: Described, standard: Standard, wanted: Wanted, said: _Said) -> None:
    mine, theirs = it.description.rate_hz, standard.value
    if mine is None or theirs is None or are_alike(mine, theirs):
        return
    shown, other = _rates_apart(mine, theirs)
    if "rate_hz" in wanted.override:
        said.notes.append(f"{it.origin}: its rate of {shown} Hz is taken as {other} Hz")
        return
    said.problems.append(
        f"{it.origin}: a rate of {shown} Hz, but {standard.but(f'{other} Hz')}{standard.remedy}"
    )


def _rates_apart(mine: float, theirs: float) -> tuple[str, str]:
    """Return two rates in words, with as many digits as tell them apart."""
    for digits in (6, 9, 12):
        shown = f"{mine:.{digits}g}", f"{theirs:.{digits}g}"
        if shown[0] != shown[1]:
            return shown
    return repr(mine), repr(theirs)


# Notes -----------------------------------------------------------------------------------------


_WORDS: dict[str, Callable[[Description], tuple[str, str]]] = {
    "channels": lambda it: ("names its channels", "name their channels"),
    "units": lambda it: (f"says {_units(it)}", f"say {_units(it)}"),
    "rate_hz": lambda it: (f"says {it.rate_hz:g} Hz", f"say {it.rate_hz:g} Hz"),
}


def _units(it: Description) -> str:
    return _shown(dict.fromkeys(filter(None, it.units or ())))


def _counts(
    recordings: Sequence[Described],
    found: Description,
    unsaid: dict[str, tuple[str, ...]],
    override: Sequence[str],
) -> list[str]:
    """Return a line for each field that some recordings say and some do not."""
    lines = []
    for name, origins in unsaid.items():
        n_said = len(recordings) - len(origins)
        if not origins or not n_said or name in override:
            continue
        one, many = _WORDS[name](found)
        some = f"1 file {one}" if n_said == 1 else f"{n_said:,} files {many}"
        n_rest = len(origins)
        rest = "1 says nothing, and is" if n_rest == 1 else f"{n_rest:,} say nothing, and are"
        lines.append(
            f"{name.removesuffix('_hz')}: {some}, {rest} taken to be alike: {listed(origins, 4)}"
        )
    return lines


def gathered(notes: Iterable[str]) -> list[str]:
    """Return notes with those of several files that are alike on one line."""
    places: dict[str, list[str]] = {}
    for note in notes:
        place, _, what = note.partition(": ")
        places.setdefault(what, []).append(place)
    return [f"{listed(at, 4)}: {what}" for what, at in places.items()]
