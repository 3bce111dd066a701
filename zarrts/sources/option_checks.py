"""Refuse options of sources that cannot be meant so, whatever the others say."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from zarrts.errors import PlanError, SourceError

OVERRIDES = ("channels", "units", "rate_hz")
"""The options that may win over what files say."""


def check_override(override: Any) -> None:
    """Raise PlanError unless all that wins over what files say is one of these options."""
    if isinstance(override, str) or not {*OVERRIDES} >= {*override}:
        raise PlanError(
            f"override={override!r} has to be a list of {', '.join(OVERRIDES)}: the "
            "options that are right where a file says otherwise."
        )


def check_units(units: Any) -> None:
    """Raise PlanError unless units are text: one, one a channel, or those of several inputs."""
    every: Iterable[Any] = (units,) if isinstance(units, str) else units or ()
    if isinstance(units, Mapping):
        every = itertools.chain(*((it,) if isinstance(it, str) else it for it in units.values()))
    if not all(isinstance(unit, str) for unit in every):
        raise PlanError(
            f"units={units!r} has to be one unit, such as 'uV', or a list of one for each channel."
        )


def check_annotations(texts: Any) -> None:
    """Raise SourceError unless texts of annotations are chosen by a list or an expression."""
    if isinstance(texts, str):
        try:
            re.compile(texts)
        except re.error as error:
            raise SourceError(
                f"annotations={texts!r} is not a regular expression ({error}); correct it, or "
                f"give texts in a list: annotations=[{texts!r}]."
            ) from error
    elif texts is not None and not (texts and all(isinstance(it, str) and it for it in texts)):
        raise SourceError(
            f"annotations={texts!r} has to be a list of texts, or a regular expression."
        )


def check_number(name: str, value: Any, kind: type, least: int) -> None:
    """Raise PlanError unless an option is unset, or a number of at least `least`."""
    if value is None:
        return
    is_number = isinstance(value, int | np.integer) or (
        kind is float and isinstance(value, float | np.floating)
    )
    if isinstance(value, bool) or not is_number:
        raise PlanError(f"{name}={value!r} has to be a number.")
    if not value >= least:
        raise PlanError(f"{name}={value} has to be at least {least}.")
