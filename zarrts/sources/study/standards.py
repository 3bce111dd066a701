"""Decide which channels, units and rate the recordings of a study have to have."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zarrts.sources.study.units import spelled
from zarrts.types import Description

RATE_TOLERANCE = 2e-6
"""Rates that differ by less, relatively, differ by rounding: the header of an EDF file has 8
characters for the duration of a record, so that 1/3 s is 0.333333 there, and elsewhere .3333333."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """A recording (`origin`) of some columns (0 where rows are single values), as it came in."""

    origin: str
    n_columns: int
    description: Description

    @property
    def units(self) -> tuple[str, ...]:
        """Units in the spelling that is compared; none where nothing is said."""
        return tuple(map(spelled, self.description.units or ()))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The description that others have to fit.

    Attributes
    ----------
    description : Description
        None in it is not known, and nothing has to fit that.
    owner : str
        Whose it is, in messages: "the store has".
    is_all : bool
        What it does not know stays unknown; else it is what most recordings say.
    steps : dict
        Of several inputs that are asked for, the steps in time of each in a row; see
        `AlignedRows`.
    """

    description: Description
    owner: str
    is_all: bool = True
    steps: Mapping[str, int] = field(default_factory=dict)

    def of_input(self, name: str) -> "Reference":
        """Return what one of several inputs has to fit; nothing, where it is not known."""
        unknown = Description.unknown()
        return replace(self, description=self.description.parts.get(name, unknown), steps={})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The demands on recordings: by options, by a reference, or by none of them.

    Attributes
    ----------
    channels, units, rate_hz
        As the options have them; units may be one for all columns.
    override : tuple of str
        Which of these win over what files say.
    reference : Reference, optional
        Comes before the options.
    picks : bool
        The channels that are asked for may be some of those that a file has.
    """

    channels: tuple[str, ...] | None = None
    units: str | tuple[str, ...] | None = None
    rate_hz: float | None = None
    override: tuple[str, ...] = ()
    reference: Reference | None = None
    picks: bool = False


@dataclass(frozen=True)
class Standard:
    """A value that others have to fit.

    Attributes
    ----------
    value
        None where nothing is known.
    but : function of a text
        Returns a clause that says whose it is, such as "the store has Fz, Cz".
    remedy : str
        What to do about a recording that does not fit.
    """

    value: Any = None
    but: Callable[[str], str] = str
    remedy: str = ""


_ORDER = (
    "; their names have to be the same in all files, in any order: choose those that all have with "
    "channels= (--channels)."
)
_AS_THERE = "; the names have to be the same, in any order."
_UNITS = "; no factor between them is known: correct what is saved."
_RATE = (
    "; bring all to one rate with steps=[('resample', '100Hz')] (--step 'resample 100Hz'), or "
    "leave it out."
)


def standard_channels(recordings: Sequence[Described], wanted: Wanted) -> Standard:
    """Return the names of the columns: those asked for, else those that most have."""
    reference = wanted.reference
    if reference is not None and reference.description.channels is not None:
        return _of_reference(reference, "channels", reference.description.channels, _AS_THERE)
    if wanted.channels is not None:
        remedy = f"; leave channels= out, {_wins('channels', 'names them')}."
        return Standard(wanted.channels, lambda text: f"channels= names {text}", remedy)
    if reference is not None and reference.is_all:
        return Standard()
    return _usual(recordings, lambda it: it.channels, _ORDER)


def standard_units(recordings: Sequence[Described], wanted: Wanted) -> Standard:
    """Return the unit of each column: those asked for, else those that most have."""
    reference, counts = wanted.reference, {it.n_columns or 1 for it in recordings}
    if reference is not None and reference.description.units is not None:
        units = tuple(map(spelled, reference.description.units))
        return _of_reference(reference, "units", units, _UNITS)
    if len(counts) != 1 or (reference is not None and reference.is_all):
        return Standard()  # of several counts, another problem is said
    (n_columns,) = counts
    if reference is None and wanted.units is not None:
        given = wanted.units
        found = tuple(map(spelled, (given,) * n_columns if isinstance(given, str) else given))
        remedy = f"; correct one, {_wins('units', 'is right')}."
        return Standard(found, lambda text: f"units= says {text}", remedy)
    said = [units for units in (it.units for it in recordings) if len(units) == n_columns]
    usual = [
        Counter(units[column] for units in said if units[column]).most_common(1)
        for column in range(n_columns)
    ]
    found = tuple(some[0][0] if some else "" for some in usual)
    if not any(found):
        return Standard()
    like = next((f", such as {it.origin}," for it in recordings if it.units == found), "")
    wins = f"{_UNITS.removesuffix('.')}, or say which is right with units= and override=['units']."
    return Standard(found, lambda text: f"most files{like} have {text}", wins)


def standard_rate(recordings: Sequence[Described], wanted: Wanted) -> Standard:
    """Return the rate: the one asked for, else the one that most have."""
    reference = wanted.reference
    if reference is not None and reference.description.rate_hz is not None:
        return _of_reference(
            reference, "rate_hz", reference.description.rate_hz, "; resample it before."
        )
    if wanted.rate_hz is not None:
        remedy = f"; leave rate_hz= out, {_wins('rate_hz', 'is right')}."
        return Standard(wanted.rate_hz, lambda text: f"rate_hz= says {text}", remedy)
    if reference is not None and reference.is_all:
        return Standard()
    return _usual(recordings, lambda it: it.rate_hz, _RATE, are_alike)


def are_alike(rate_hz: float, other_hz: float) -> bool:
    """Return whether two rates differ by rounding at most.

    >>> are_alike(256 / 0.999936, 256 / 0.999937), are_alike(256, 256.01)
    (True, False)
    """
    return abs(rate_hz - other_hz) <= RATE_TOLERANCE * max(rate_hz, other_hz)


def _of_reference(reference: Reference, name: str, value: Any, remedy: str) -> Standard:
    if not reference.is_all:  # a store that is added to
        wins = f"or say override=['{name}'] (--override {name}) where the store is right."
        remedy = f"{remedy.removesuffix('.')}, {wins}"
    return Standard(value, lambda text: f"{reference.owner} {text}", remedy)


def _wins(name: str, what: str) -> str:
    return f"or say override=['{name}'] (--override {name}) where {name}= {what}"


def _usual(
    recordings: Sequence[Described],
    value: Callable[[Description], Any],
    remedy: str,
    alike: Callable[[Any, Any], bool] = lambda one, other: bool(one == other),
) -> Standard:
    """Return what most recordings that say something say."""
    said = [it for it in recordings if value(it.description) is not None]
    if not said:
        return Standard()
    usual = Counter(value(it.description) for it in said).most_common(1)[0][0]
    like = [it.origin for it in said if alike(value(it.description), usual)]
    files = f"{len(like)} of {len(said)} files, such as {like[0]}, have"
    return Standard(usual, lambda text: f"{files} {text}", remedy)
