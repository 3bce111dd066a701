"""Sizes, counts, and times as numbers of rows, as people write them and as they read them."""

import re

import numpy as np

from zarrts.errors import OptionError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_UNITS |= {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|h)\s*")


def parse_size(size: int | str, name: str) -> int:
    """Return a size in bytes from a number or a text such as "512MiB", "1.5 GB" or "8M".

    Raises
    ------
    OptionError
        If it is not a positive size; the message names the option.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(size))
    if isinstance(size, bool) or not match or match[2].lower() not in _UNITS:
        raise OptionError(
            f"{name}={size!r} is not a size; write a number of bytes or, for example, '512MiB'."
        )
    n_bytes = int(float(match[1]) * _UNITS[match[2].lower()])
    if n_bytes < 1:
        raise OptionError(f"{name}={size!r} has to be at least 1 byte.")
    return n_bytes


def format_size(n_bytes: float) -> str:
    """Return a size as people read it: "9.3 MB", "24 GB"; powers of ten, as disks are sold."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            value = n_bytes / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{n_bytes:.0f} bytes"


def format_budget(n_bytes: int) -> str:
    """Return a size as options are written, "512MiB" or "20KiB", rounded up."""
    if n_bytes % 2**30 == 0:
        return f"{n_bytes // 2**30}GiB"
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes % factor == 0 or n_bytes >= 16 * factor:
            return f"{-(-n_bytes // factor)}{unit}"
    return f"{n_bytes}B"


def rows_of_time(name: str, value: int | str, rate_hz: float | None) -> int:
    """Return a number of rows that is given as such, or as a time such as "30s".

    Raises
    ------
    OptionError
        If it is neither, no rate is known, or the time is not a whole number of rows; the message
        names the option.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise OptionError(
            f"{name}={value!r} has to be a number of rows, or a time such as '30s' "
            f"({', '.join(_SECONDS)})."
        )
    if rate_hz is None:
        raise OptionError(
            f"{name}={value!r} is a time, but the rate is not known; count rows, or convert with "
            "rate_hz=."
        )
    rows = float(match[1]) * _SECONDS[match[2]] * rate_hz
    if abs(rows - round(rows)) > 1e-6 * max(1.0, rows):
        raise OptionError(
            f"{name}={value!r} is {rows:g} rows at {rate_hz:g} Hz; choose a time that is a whole "
            "number of them, or count rows."
        )
    return round(rows)


def format_count(n: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun, such as "1 file" or "2 files"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
