"""The steps on a study: named, checked where they are made, and as a store keeps them.

A step is a pure value; `sources.steps` does what it says, and `step_records` keeps it in stores.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from zarrts.errors import PlanError
from zarrts.sizes import rows_of_time
from zarrts.sources.step_functions import NamedFunction

Absent = Literal["error", "nan", "drop-recording"]
ABSENT = ("error", "nan", "drop-recording")
METHODS = ("fir", "iir")
_HERTZ = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(k?)(?:hz)?\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _OnInput:
    """The fields that all steps have.

    Attributes
    ----------
    input : str
        Name of the one of several inputs that it is taken on; "" of the only one.
    """

    input: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that is picked: one channel of a file, or the difference of two.

    Attributes
    ----------
    name : str
        What it is called from then on.
    of : tuple of str
        Names that it may have in a file; the first that is there counts.
    minus : tuple of str
        Names of the channel that is subtracted; none where it is no difference.
    """

    name: str
    of: tuple[str, ...]
    minus: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pick(_OnInput):
    """Choose, order and rename channels; see `Study.pick`."""

    columns: tuple[Column, ...]
    absent: Absent = "error"
    reference: Literal["average"] | None = None

    name = "pick"

    def __post_init__(self) -> None:
        names = [it.name for it in self.columns]
        if not names or not all(isinstance(it, str) and it for it in names):
            raise PlanError(f"pick: {names} has to be names of channels, at least one.")
        twice = sorted({it for it in names if names.count(it) > 1})
        if twice:
            raise PlanError(f"pick names {', '.join(twice)} more than once.")
        _check_choice("pick", "absent", self.absent, ABSENT)
        if self.reference is not None:
            _check_choice("pick", "reference", self.reference, ("average",))

    @property
    def wanted(self) -> frozenset[str]:
        """Every name that a channel may have in a file."""
        return frozenset(name for it in self.columns for name in (*it.of, *it.minus))

    @classmethod
    def of(cls, channels: Any, absent: Any = "error", reference: Any = None) -> "Pick":
        """Return the step from what users write; see `Study.pick`."""
        return cls(columns=tuple(_columns(channels)), absent=absent, reference=reference)


@dataclass(frozen=True, kw_only=True)
class Resample(_OnInput):
    """Bring rows to another rate; see `Study.resample`."""

    rate_hz: float

    name = "resample"

    def __post_init__(self) -> None:
        _check_hertz("resample", "rate", self.rate_hz)

    @classmethod
    def of(cls, rate: Any) -> "Resample":
        """Return the step from what users write."""
        return cls(rate_hz=_hertz("resample", "rate", rate) or 0.0)


@dataclass(frozen=True, kw_only=True)
class Filter(_OnInput):
    """Keep a band of frequencies; see `Study.filter`."""

    low_hz: float | None
    high_hz: float | None
    method: Literal["fir", "iir"] = "fir"

    name = "filter"

    def __post_init__(self) -> None:
        low, high = self.low_hz, self.high_hz
        if low is None and high is None:
            raise PlanError("filter: give low, high or both, such as filter(1, 40), in Hz.")
        for which, value in (("low", low), ("high", high)):
            if value is not None:
                _check_hertz("filter", which, value)
        if low is not None and high is not None and low >= high:
            raise PlanError(
                f"filter: low={low:g} has to be below high={high:g}; to take a frequency out, "
                "use notch."
            )
        _check_choice("filter", "method", self.method, METHODS)

    @classmethod
    def of(cls, low: Any, high: Any, method: Any = "fir") -> "Filter":
        """Return the step from what users write."""
        return cls(
            low_hz=_hertz("filter", "low", low),
            high_hz=_hertz("filter", "high", high),
            method=method,
        )


@dataclass(frozen=True, kw_only=True)
class Notch(_OnInput):
    """Take single frequencies out; see `Study.notch`."""

    frequencies_hz: tuple[float, ...]

    name = "notch"

    def __post_init__(self) -> None:
        if not self.frequencies_hz:
            raise PlanError("notch: give a frequency, such as notch(50), in Hz.")
        for value in self.frequencies_hz:
            _check_hertz("notch", "frequency", value)

    @classmethod
    def of(cls, *frequencies: Any) -> "Notch":
        """Return the step from what users write."""
        found = (_hertz("notch", "frequency", it) for it in frequencies)
        return cls(frequencies_hz=tuple(it or 0.0 for it in found))


@dataclass(frozen=True, kw_only=True)
class Map(_OnInput):
    """Call a function with blocks of rows, or with whole recordings; see `Study.map`."""

    function: NamedFunction
    halo: int | str = 0
    whole: bool = False
    channels: tuple[str, ...] | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)

    name = "map"

    def __post_init__(self) -> None:
        n_rows = _rows(self.name, "halo", self.halo)
        if n_rows < 0:
            raise PlanError(f"map: halo={self.halo!r} has to be at least 0.")
        if self.whole and n_rows:
            raise PlanError("map: a whole recording has no halo; leave halo= or whole= out.")

    @classmethod
    def of(
        cls, function: Any, halo: Any = 0, whole: Any = False, channels: Any = None, **keywords: Any
    ) -> "Map":
        """Return the step from what users write."""
        if isinstance(channels, str):
            channels = channels.split(",")
        return cls(
            function=NamedFunction.of(function),
            halo=_counted(halo),
            whole=_truth("whole", whole),
            channels=None if channels is None else tuple(map(str, channels)),
            keywords=_plain_keywords(keywords),
        )


@dataclass(frozen=True, kw_only=True)
class Stored(_OnInput):
    """Round values as a store that held them did, before further steps were taken on its rows.

    So whoever takes all steps on the files again, as `verify` does, gets the same values.
    """

    dtype: str

    name = "stored"

    def __post_init__(self) -> None:
        try:
            is_number = np.dtype(self.dtype).kind in "biuf"
        except TypeError:
            is_number = False
        if not is_number:
            raise PlanError(f"stored: {self.dtype!r} is not the dtype of numbers, as 'float32' is.")

    @classmethod
    def of(cls, dtype: Any) -> "Stored":
        """Return the step from what users write."""
        return cls(dtype=str(dtype))


@dataclass(frozen=True, kw_only=True)
class Clean(_OnInput):
    """Mask rows that are no good; see `Study.clean`."""

    flat: int | str | None = None
    amplitude: float | None = None
    nan: bool = True
    around: int | str = 0

    name = "clean"

    def __post_init__(self) -> None:
        for option, given in (("flat", self.flat), ("around", self.around)):
            if given is not None and _rows(self.name, option, given) < (option == "flat"):
                raise PlanError(f"clean: {option}={given!r} is no time; leave it out.")
        amplitude = self.amplitude
        if amplitude is not None and not (amplitude > 0 and math.isfinite(amplitude)):
            raise PlanError(f"clean: amplitude={amplitude} has to be above 0, and finite.")
        if self.flat is None and amplitude is None and not self.nan:
            raise PlanError("clean: say what is no good: flat=, amplitude= or nan=True.")

    @classmethod
    def of(cls, flat: Any = None, amplitude: Any = None, nan: Any = True, around: Any = 0) -> Self:
        """Return the step from what users write."""
        try:
            limit = None if amplitude is None else float(amplitude)
        except (TypeError, ValueError) as error:
            raise PlanError(f"clean: amplitude={amplitude!r} has to be a number.") from error
        return cls(
            flat=_counted(flat), amplitude=limit, nan=_truth("nan", nan), around=_counted(around)
        )


Step = Pick | Resample | Filter | Notch | Map | Clean | Stored
_KINDS: tuple[type[Step], ...] = (Pick, Resample, Filter, Notch, Map, Clean, Stored)
STEPS: Mapping[str, type[Step]] = {kind.name: kind for kind in _KINDS}
"""The kinds of steps by name."""


# Values as users give them ----------------------------------------------------------------------


def _columns(channels: Any) -> Iterable[Column]:
    if isinstance(channels, str):
        raise PlanError(f"pick: {channels!r} is one text; give a list of names: [{channels!r}].")
    if isinstance(channels, Mapping):
        for name, of in channels.items():
            yield _column(name, of)
        return
    if not isinstance(channels, Iterable):
        raise PlanError(f"pick: {channels!r} has to be a list of names, or a dictionary.")
    for it in channels:
        if isinstance(it, Mapping):
            yield from _columns(it)
        else:
            yield _column(it, it)


def _column(name: Any, of: Any) -> Column:
    if isinstance(of, tuple):
        if len(of) != 2:
            raise PlanError(f"pick: {name!r} is the difference of two channels, not of {len(of)}.")
        plus, minus = map(_names, of)
        return Column(name=name, of=plus, minus=minus)
    others = _names(of)
    return Column(name=name, of=tuple(dict.fromkeys((name, *others))))


def _names(given: Any) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else ()
    if not names or not all(isinstance(it, str) and it for it in names):
        raise PlanError(
            f"pick: {given!r} has to be the name of a channel, a list of names that it may have, "
            "or a tuple of two channels, for their difference."
        )
    return names


def _hertz(step: str, which: str, given: Any) -> float | None:
    if given is None or (isinstance(given, str) and given.lower() in ("none", "-")):
        return None
    if isinstance(given, bool) or not isinstance(given, str | int | float | np.number):
        raise PlanError(f"{step}: {which}={given!r} has to be a frequency, such as 100 or '100Hz'.")
    if not isinstance(given, str):
        return float(given)
    match = _HERTZ.fullmatch(given)
    if match is None:
        raise PlanError(f"{step}: {which}={given!r} has to be a frequency, such as 100 or '100Hz'.")
    return float(match[1]) * (1000 if match[2] else 1)


def _rows(step: str, option: str, given: int | str) -> int:
    """Return a number of rows, or of nanoseconds, so that any time is a whole number."""
    try:
        return rows_of_time(option, given, 1e9)
    except ValueError as error:
        raise PlanError(f"{step}: {error}") from error


def _counted(given: Any) -> Any:
    """Return a number of rows that is given as text as a number."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


def _truth(option: str, given: Any) -> bool:
    """Return True or False, as such or as text."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    found = words.get(given.lower()) if isinstance(given, str) else given
    if not isinstance(found, bool):
        raise PlanError(f"{option}={given!r} has to be True or False.")
    return found


def _check_hertz(step: str, which: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise PlanError(f"{step}: {which}={value:g} Hz has to be above 0, and finite.")


def _check_choice(step: str, option: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise PlanError(f"{step}: {option}={value!r} is unknown; use {listed}.")


def _plain_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords of a function that JSON can hold."""
    for name, value in keywords.items():
        if not isinstance(value, str | int | float | bool | None):
            raise PlanError(
                f"map: {name}={value!r} has to be text, a number, True, False or None, which a "
                "store can keep."
            )
    return dict(keywords)
