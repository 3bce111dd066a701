"""Refuse options of sources that cannot be meant so, whatever the others say."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from zarrts.errors import PlanError, SourceError

OVERRIDES = ("channels", "units", "rate_hz")
"""The options that may win over what files say."""


def check_arrays(x: Any, y: Any) -> None:
    """Raise SourceError unless arrays of inputs and labels are named, each once."""
    y = None if y is False else y
    if isinstance(x, Mapping):
        for name, it in x.items():
            some = (it,) if isinstance(it, str) else it
            are_names = isinstance(some, tuple) and all(isinstance(of, str) and of for of in some)
            if not (isinstance(name, str) and name and some and are_names):
                raise SourceError(
                    f"x={{{name!r}: {it!r}}}: each input has a name, and is the name of an array, "
                    "or a list of signals or columns: x={'eeg': ['C3', 'C4'], 'emg': ['chin']}."
                )
            twice = sorted({of for of in some if some.count(of) > 1})
            if twice:
                raise SourceError(f"x=: its input {name!r} names {', '.join(twice)} twice.")
        if not x:
            raise SourceError("x={} names no inputs; name some, or leave it out.")
        x = None
    if isinstance(x, tuple):
        if not x or not all(isinstance(name, str) and name for name in x):
            raise SourceError(f"x= must name arrays of inputs, not {list(x)!r}.")
        also = {*y} if isinstance(y, tuple) else {y}
        if len({*x}) < len(x) or also & {*x}:
            raise SourceError(f"x={list(x)!r}: each has to be named once, and not in y= too.")
        x = None
    if isinstance(y, tuple):
        if not y or not all(isinstance(name, str) and name for name in y):
            raise SourceError(f"y= must name arrays of labels, not {list(y)!r}.")
        if x in y or len({*y}) < len(y):
            raise SourceError(f"y={list(y)!r}: each has to be named once, and x not at all.")
    for option, name in (("x", x), ("y", None if isinstance(y, tuple) else y)):
        if name is not None and not (isinstance(name, str) and name):
            raise SourceError(f"{option}= must be the name of one array, not {name!r}.")
    if x is not None and x == y:
        raise SourceError(f"x= and y= both name {x!r}; inputs and labels must differ.")


def check_label_options(y: Any, *, has_table: bool, has_every: bool, has_folders: bool) -> None:
    """Raise SourceError where options say in two ways which labels there are."""
    if has_table and (y is not None or has_every):
        raise SourceError(
            "labels= is a table of intervals that are the labels; leave y= and label_every= out."
        )
    if y is False and (has_every or has_folders):
        said = "label_every=" if has_every else "folders="
        raise SourceError(f"y=False says that there are no labels; leave {said} out.")


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
