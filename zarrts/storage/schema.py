"""The schemas of a store: which versions of zarrts can read it.

Schema 1 is what every version reads. A store that needs more of its reader has schema 2 and names
what it needs, so that a version which does not know it refuses the store instead of misreading it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

INPUTS = "inputs"
"""Several arrays of inputs, each at `x/NAME`."""

MASK = "mask"
"""A segment has an array `mask` beside x; without it, rows that are no good pass for good ones."""

GROUPS = "groups"
"""The table of recordings has a column `groups`, which is part of its checksum."""

GAPS = "gaps"
"""The table of recordings has gaps between rows; without these, windows cross them."""

PACKED = "packed"
"""Inputs are 16-bit counts, whose gains and offsets are in the table of recordings."""

STEPS = "steps"
"""Rows are not those of the sources: whoever appends, or predicts, has to take steps first."""

MANY_VERSIONS = "many versions"
"""The root lists of each version what it does not share with the one before it."""

FEATURES: frozenset[str] = frozenset(
    {
        GAPS,
        GROUPS,
        INPUTS,
        MANY_VERSIONS,
        MASK,
        PACKED,
        STEPS,
    }
)
"""The features beyond schema 1 that this version reads."""


def schema_of(needs: Iterable[str]) -> dict[str, Any]:
    """Return the attributes that say which schema a store or a segment has."""
    named = sorted(set(needs))
    return {"schema": 2, "needs": named} if named else {"schema": 1}


def why_unreadable(attributes: Mapping[str, Any]) -> str | None:
    """Return what is beyond this version in a store, or None where it reads all of it."""
    schema = attributes["schema"]
    if schema == 1:
        return None
    if schema != 2:
        return f"has schema {schema}, but this version of zarrts reads schemas 1 and 2"
    needs = set(attributes.get("needs", ()))
    unknown = sorted(needs - FEATURES) if needs else ["more"]
    if not unknown:
        return None
    return f"needs {', '.join(unknown)}, which this version of zarrts does not know"
