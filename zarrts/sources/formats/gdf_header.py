"""The few fields of a GDF header that MNE does not use as they are meant.

GDF is described in arxiv.org/abs/cs/0608052 (versions 1 and 2): 256 bytes about the file, 256
about each channel, field by field. MNE takes all units of version 1 but "uV" for volts, and joins
channels of several rates wrongly.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from zarrts.errors import SourceError

MAX_CHANNELS = 65_535
_UNITS_AT, _CODES_AT, _SAMPLES_AT = 96, 102, 216
_VOLT, _DECIMALS = 4256, {0: "", 18: "m", 19: "u", 20: "n", 21: "p"}
_PERCENT = {544: "%"}
_SCALED = {"uV": 1e6, "mV": 1e3}


@dataclass(frozen=True, kw_only=True)
class GdfChannels:
    """Units and rates of the channels of a GDF file.

    Attributes
    ----------
    units : tuple of str
        As the file means them; "" where it says none.
    factors : tuple of float
        What makes values in these units of the values that MNE gives.
    n_samples : tuple of int
        In each record.
    """

    units: tuple[str, ...]
    factors: tuple[float, ...]
    n_samples: tuple[int, ...]


def read_channels(stream: BinaryIO, where: str) -> GdfChannels:
    """Read units and rates from the header of a GDF file.

    Raises
    ------
    SourceError
        If it is no such file, or is cut short.
    """
    head = stream.read(256)
    if len(head) < 256 or head[:4] != b"GDF ":
        raise SourceError(f"{where}: is not a GDF file; copy or save it again.")
    try:
        version = float(head[4:8])
    except ValueError as error:
        raise SourceError(f"{where}: is not a GDF file; copy or save it again.") from error
    is_first = version < 1.9
    n_channels = struct.unpack_from("<I" if is_first else "<H", head, 252)[0]
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise SourceError(f"{where}: declares {n_channels:,} channels, which cannot be.")
    table = stream.read(256 * n_channels)
    if len(table) < 256 * n_channels:
        raise SourceError(f"{where}: ends within its header; copy it again.")

    def field(at: int, size: int) -> list[bytes]:
        start = at * n_channels
        return [table[start + i * size : start + (i + 1) * size] for i in range(n_channels)]

    if is_first:
        texts = [it.split(b"\0")[0].decode("latin-1").strip() for it in field(_UNITS_AT, 8)]
        units = tuple(texts)
        # MNE knows microvolts by their first two letters, and nothing else.
        factors = tuple(1e6 if it[:2] == "uV" else 1.0 for it in texts)
    else:
        codes = [struct.unpack("<H", it)[0] for it in field(_CODES_AT, 2)]
        units = tuple(map(_unit, codes))
        factors = tuple(_SCALED.get(it, 1.0) for it in units)
    n_samples = tuple(struct.unpack("<i", it)[0] for it in field(_SAMPLES_AT, 4))
    return GdfChannels(units=units, factors=factors, n_samples=n_samples)


def _unit(code: int) -> str:
    """Return the unit of a code of ISO 11073-10101: a base, and a power of ten in 5 bits."""
    if code & ~31 == _VOLT and code & 31 in _DECIMALS:
        return f"{_DECIMALS[code & 31]}V"
    return _PERCENT.get(code, "")
