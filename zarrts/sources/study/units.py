"""Physical units: their spellings, and the factors between those of one quantity."""

import functools
import re
from collections.abc import Mapping

_PREFIXES: Mapping[str, int] = {
    **{"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "c": -2},
    **{"": 0, "k": 3, "M": 6, "G": 9},
}
_BASES = ("V", "T", "g", "A", "S", "F", "W", "Hz", "Ohm", "Pa", "bar", "mol", "m", "s", "L")
_SYMBOL = re.compile(rf"({'|'.join(_PREFIXES)})({'|'.join(_BASES)})")
_WORD = re.compile(r"(femto|pico|nano|micro|milli|centi|kilo|mega|giga|)(volt|tesla|ampere)s?")
_WORD_PREFIXES = {
    **{"femto": "f", "pico": "p", "nano": "n", "micro": "u", "milli": "m", "centi": "c"},
    **{"": "", "kilo": "k", "mega": "M", "giga": "G"},
}
_WORD_BASES = {"volt": "V", "tesla": "T", "ampere": "A"}

# U+00B5 and U+03BC; both in UTF-8 that was read as Latin-1, as the header of an EDF file is; and
# as pyEDFlib writes the first into such a header.
_MICRO = re.compile("\u00c2\u00b5|\u00ce\u00bc|\u00b5|\u03bc|^Au(?=V$)")
_OHM = re.compile("\u03a9|\u2126|ohm|\u00e2\u0084\u00a6|\u00ce\u00a9")
_VOLT = re.compile("^([num]?)v$")


@functools.lru_cache(maxsize=4096)  # of thousands of files, each says it for each channel
def spelled(unit: str) -> str:
    """Return a unit in the one spelling that is compared: "uV" for "\u00b5V" and "microvolts".

    >>> spelled("\u03bcV"), spelled(" mV "), spelled("degC"), spelled("Volts")
    ('uV', 'mV', 'degC', 'V')
    """
    unit = _MICRO.sub("u", unit.strip(" \0"))
    unit = _OHM.sub("Ohm", _VOLT.sub(r"\1V", unit))
    word = _WORD.fullmatch(unit.lower())
    if word is not None:
        return _WORD_PREFIXES[word[1]] + _WORD_BASES[word[2]]
    return unit


def factor(unit: str, to: str) -> float | None:
    """Return what values in `unit` are multiplied by to be in `to`; None if that is not known.

    A power of ten: units of one quantity, in the prefixes of the SI.

    >>> factor("mV", "uV"), factor("uV", "V"), factor("mV", "mT"), factor("uV", "\u00b5V")
    (1000.0, 1e-06, None, 1.0)
    """
    unit, to = spelled(unit), spelled(to)
    if unit == to:
        return 1.0
    parts, others = _SYMBOL.fullmatch(unit), _SYMBOL.fullmatch(to)
    # Powers and quotients, such as m/s2, are in no table: of m^2, a prefix counts twice.
    if parts is None or others is None or parts[2] != others[2]:
        return None
    # From text, which is rounded once: 10.0 ** -6 need not be the nearest float.
    return float(f"1e{_PREFIXES[parts[1]] - _PREFIXES[others[1]]}")
