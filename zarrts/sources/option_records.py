"""Options and descriptions as plain values, which a store or a spec keeps as JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from zarrts.types import Description


def as_tuple(value: Any) -> Any:
    """Return what is a list of any kind as a tuple, and all else as it is."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    if isinstance(value, Mapping):
        return {name: plain(it) for name, it in value.items()}
    return list(value) if isinstance(value, tuple) else value


def rates_of(rate_hz: float | Mapping[str, float] | None) -> Any:
    """Return one rate, or those of several inputs, as floats; None where none is said."""
    if isinstance(rate_hz, Mapping):
        return {name: float(it) for name, it in rate_hz.items()}
    return None if rate_hz is None else float(rate_hz)


def recorded_description(description: Description) -> dict[str, Any]:
    """Return a description as plain values of JSON."""
    parts = {name: recorded_description(it) for name, it in description.parts.items()}
    return {
        "channels": description.channels and list(description.channels),
        "units": description.units and list(description.units),
        "rate_hz": description.rate_hz,
        "by_hand": sorted(description.by_hand),
        **({"parts": parts} if parts else {}),
    }


def description_from(recorded: Mapping[str, Any] | None) -> Description | None:
    """Return the description that a store or a spec keeps as plain values."""
    return None if recorded is None else _description(recorded)


def _description(recorded: Mapping[str, Any]) -> Description:
    return Description(
        channels=recorded["channels"] and tuple(recorded["channels"]),
        units=recorded["units"] and tuple(recorded["units"]),
        rate_hz=recorded["rate_hz"],
        by_hand=frozenset(recorded["by_hand"]),
        parts={name: _description(it) for name, it in recorded.get("parts", {}).items()},
    )
