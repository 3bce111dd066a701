"""The option `pack`: whether inputs may be stored as 16-bit counts, and with what error."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zarrts.errors import PlanError
from zarrts.sources.study.units import factor
from zarrts.storage.schema import PACKED
from zarrts.storage.store import StoreHeader
from zarrts.types import Description

OnePack = str | float | Literal[False]
Pack = OnePack | Mapping[str, OnePack]

_AMOUNT = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_OFF = ("no", "false", "off")


@dataclass(frozen=True)
class PackOption:
    """The option `pack`, as understood.

    Attributes
    ----------
    is_off : bool
        Values are stored as they are.
    error : float
        The largest error; 0 where nothing may be lost.
    unit : str
        Of the error; "" where it is that of the data.
    """

    is_off: bool = False
    error: float = 0.0
    unit: str = ""

    @staticmethod
    def of(pack: Any) -> "PackOption":
        """Return what a value of the option means.

        Raises
        ------
        PlanError
            If it means nothing.
        """
        if pack is False or (isinstance(pack, str) and pack.lower() in _OFF):
            return PackOption(is_off=True)
        if pack == "auto" or pack is None:
            return PackOption()
        amount = _AMOUNT.fullmatch(pack) if isinstance(pack, str) else None
        if amount is not None:
            try:
                error, unit = float(amount[1]), amount[2]
            except ValueError:
                raise PlanError(_why_wrong(pack)) from None
        elif isinstance(pack, str | bool):
            raise PlanError(_why_wrong(pack))
        else:
            try:
                error, unit = float(pack), ""
            except (TypeError, ValueError):
                raise PlanError(_why_wrong(pack)) from None
        if not (error > 0 and math.isfinite(error)):
            raise PlanError(_why_wrong(pack))
        return PackOption(error=error, unit=unit)

    @property
    def recorded(self) -> str | float:
        """The form in which a store that is packed so keeps the option."""
        if not self.error:
            return "auto"
        return f"{self.error!r}{self.unit}" if self.unit else self.error

    def tolerance(self, description: Description, n_channels: int, name: str = "") -> float:
        """Return the largest error in the unit of the data.

        Parameters
        ----------
        name : str
            Of the input, where there are several.

        Raises
        ------
        PlanError
            If channels are in other units, or in several.
        """
        if not self.unit:
            return self.error
        units = description.units or ("",) * n_channels
        factors = {unit: factor(self.unit, unit) for unit in dict.fromkeys(units)}
        unlike = [repr(unit) for unit, it in factors.items() if it is None]
        if unlike or len({*factors.values()}) > 1:
            shown = ", ".join(unlike or [repr(unit) for unit in factors])
            there = f"{name} has" if name else "there are"
            other = "name the inputs that it is for, as pack={'NAME': ...}, " if name else ""
            raise PlanError(
                f"pack={self.error:g}{self.unit} is an error in {self.unit}, but {there} "
                f"channels in {shown}; {other}give a number in the unit of all of them, choose "
                "channels of one unit with channels= (--channels), or say units= (--units)."
            )
        known = next(iter(factors.values()))
        assert known is not None
        return self.error * known


@dataclass(frozen=True)
class PackOptions:
    """The option `pack` for each input, as understood.

    Attributes
    ----------
    of_all : PackOption
        Of inputs that are not named.
    named : dict of PackOption
        Of some of several inputs, by name.
    """

    of_all: PackOption = PackOption()
    named: Mapping[str, PackOption] = field(default_factory=dict)

    @staticmethod
    def of(pack: Any) -> "PackOptions":
        """Return what a value of the option means.

        Raises
        ------
        PlanError
            If it means nothing.
        """
        if isinstance(pack, Mapping):
            return PackOptions(named={name: PackOption.of(it) for name, it in pack.items()})
        return PackOptions(PackOption.of(pack))

    def of_input(self, name: str) -> PackOption:
        """Return what is meant of an input; "" is the only one."""
        return self.named.get(name, self.of_all)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise PlanError where an input is named that is not there."""
        known = [*names]
        unknown = [name for name in self.named if name not in known]
        if unknown and known == [""]:
            raise PlanError(
                f"pack= names the inputs {', '.join(unknown)}, but there is one input without a "
                "name; give its value alone."
            )
        if unknown:
            raise PlanError(
                f"pack= names {', '.join(unknown)}, but the inputs are {', '.join(known)}."
            )

    @property
    def is_lossless(self) -> bool:
        """Whether no value of any input may be changed."""
        return not any(it.error for it in (self.of_all, *self.named.values()))

    def within(self, store: StoreHeader | None) -> "PackOptions":
        """Return what is meant of inputs that are added to a store: as they are there."""
        if store is None:
            return self
        # Of those that are values there, versions that cannot read counts go on reading it.
        off, named = PackOption(is_off=True), dict[str, PackOption]()
        # In a store of a thousand parts, all of them would be asked, where none is packed.
        for it in store.segments if PACKED in store.needs else ():
            told = it.options.get("pack", "auto")
            for name in it.packed:
                kept = told.get(name, "auto") if isinstance(told, Mapping) else told
                named.setdefault(name, PackOption.of(kept))
        return PackOptions(off, named)


def _why_wrong(pack: Any) -> str:
    return (
        f"pack={pack!r} is unknown; use 'auto' (16-bit counts where nothing is lost), False "
        "(--pack no), or the largest error that rounding may make: a number above 0 in the unit "
        "of the data, or one with its unit, such as '0.1uV'."
    )
