"""The meaning of the columns and rows of one of several inputs, in the root of a store."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zarrts.labels.scheme import LabelScheme, joint_scheme
from zarrts.types import Description


def attributes_of(description: Description) -> dict[str, Any]:
    """Return a description as JSON holds it."""
    return {
        "channels": description.channels and list(description.channels),
        "units": description.units and list(description.units),
        "rate_hz": description.rate_hz,
        "by_hand": sorted(description.by_hand),
    }


def description_of(found: Mapping[str, Any]) -> Description:
    """Return what `attributes_of` returned."""
    channels, units = found["channels"], found["units"]
    return Description(
        channels=None if channels is None else tuple(channels),
        units=None if units is None else tuple(units),
        rate_hz=found["rate_hz"],
        by_hand=frozenset(found["by_hand"]),
    )


def scheme_of(labels: Mapping[str, Any]) -> LabelScheme:
    """Return how labels are stored, from what a store says of them."""
    if "parts" in labels:
        parts = {name: scheme_of(it) for name, it in labels["parts"].items()}
        shapes = {name: tuple(it["shape"]) for name, it in labels["parts"].items()}
        return joint_scheme(parts, shapes)
    names = labels["class_names"]
    return LabelScheme(
        encoding=labels["encoding"],
        dtype=np.dtype(labels["dtype"]),
        class_names=None if names is None else tuple(names),
        allows_missing=labels["encoding"] == "codes",
    )
