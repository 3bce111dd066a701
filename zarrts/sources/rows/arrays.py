"""None and NaN among values that are objects: what they become as text and as numbers."""

from collections.abc import Sequence
from typing import Any


def filled(values: Sequence[Any]) -> list[Any]:
    """Return values with "" for None and NaN among text, and NaN for None among numbers.

    Both are labels that are missing. Other values stay as they are, None alone included.
    """
    present = [value for value in values if not _is_absent(value)]
    if len(present) == len(values) or not present:
        return list(values)
    if all(isinstance(value, str) for value in present):
        return ["" if _is_absent(value) else value for value in values]
    if all(isinstance(value, bool | int | float) for value in present):
        return [float("nan") if value is None else float(value) for value in values]
    return list(values)


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
