"""Steps as users give them: a list of them, or one for each input, as tuples or as text."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zarrts.errors import PlanError
from zarrts.keywords import did_you_mean
from zarrts.sources.step_options import STEPS, Step, Stored

_ON_INPUT = re.compile(r"\s*([^\s:]+):\s+(.*)", re.DOTALL)


def steps_given(steps: Any) -> tuple[Step, ...]:
    """Return steps from a list of them.

    Parameters
    ----------
    steps : sequence of tuple or str, or a mapping of these by input, or None
        ("filter", 1, 40): the name, then what the method of that name takes, keywords in a
        dictionary at the end; or the text of one, as for the command: "filter 1 40". A text may
        name the input that it is for: "acc: filter 1 20".

    Raises
    ------
    PlanError
        If there is no such step, or it does not take that.
    """
    if steps is None:
        return ()
    if isinstance(steps, Mapping):
        of_inputs = {name: steps_given(some) for name, some in steps.items()}
        return by_input(on_input(step, name) for name, some in of_inputs.items() for step in some)
    if isinstance(steps, str) or not isinstance(steps, Iterable):
        raise PlanError(
            f"steps={steps!r} has to be a list, such as [('filter', 1, 40), ('resample', '100Hz')]."
        )
    return by_input(map(step_given, steps))


def of_input(steps: Sequence[Step], name: str) -> tuple[Step, ...]:
    """Return the steps on one of several inputs, as those on the only one."""
    return tuple(replace(it, input="") for it in steps if it.input == name)


def with_further(
    steps: Sequence[Step],
    further: Sequence[Step],
    taken: Sequence[Step],
    dtypes: Mapping[str, str],
) -> tuple[Step, ...]:
    """Return steps with further ones behind them, and the rounding of stores in between.

    Parameters
    ----------
    taken : sequence of Step
        Those of `steps` that rows of stores are after already.
    dtypes : mapping of str to str
        That of the rows of each input in these stores.
    """
    rounded = [
        Stored(dtype=dtypes[name], input=name)
        for name in sorted({it.input for it in further} & {it.input for it in taken})
        if of_input(steps, name) == of_input(taken, name)
    ]
    return by_input([*steps, *rounded, *further])


def by_input(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps with those of one input together, in their order.

    What is done to one input changes no other: whatever the order in which they are said, the
    store is the same.
    """
    return tuple(sorted(steps, key=lambda it: it.input))


def on_input(step: Step, name: str) -> Step:
    """Return a step that is taken on one of several inputs."""
    if step.input not in ("", name):
        raise PlanError(f"steps= of {name} has a step on {step.input}; name it there.")
    return replace(step, input=str(name))


def step_given(given: Any) -> Step:
    """Return one step; see `steps_given`."""
    if isinstance(given, Step):
        return given
    if isinstance(given, str):
        if match := _ON_INPUT.fullmatch(given):
            return on_input(step_given(match[2]), match[1])
        name, positional, keywords = _words(given)
    elif isinstance(given, Sequence) and given and isinstance(given[0], str):
        name, *positional = given
        takes_keywords = len(positional) > (name == "pick") and isinstance(positional[-1], dict)
        keywords = positional.pop() if takes_keywords else {}
    else:
        raise PlanError(f"{given!r} is not a step; write ('filter', 1, 40), or 'filter 1 40'.")
    if name not in STEPS:
        known = ", ".join(STEPS)
        raise PlanError(f"{name!r} is not a step; there are {known}.{did_you_mean(name, STEPS)}")
    make: Callable[..., Step] = STEPS[name].of
    try:
        return make(*positional, **keywords)
    except TypeError as error:
        problem = re.sub(r"^.*?of\(\)", f"{name}()", str(error))
        raise PlanError(f"{given!r}: {problem}.") from error


_OPTION = re.compile(r"([a-z_]+)=(.*)")


def _words(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return name, values and keywords of a step that is written as text."""
    name, _, rest = text.strip().partition(" ")
    if name == "pick":
        return (name, *_words_of_pick(rest))
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise PlanError(f"{text!r}: {error}.") from error
    found = [(word, _OPTION.fullmatch(word)) for word in words]
    keywords = {match[1]: match[2] for _, match in found if match}
    return name, [word for word, match in found if not match], keywords


def _words_of_pick(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Return columns and keywords: "absent=nan Fpz-Cz=EEG Fpz-Cz|FPZ-CZ, C3-A2=C3 minus A2"."""
    keywords = {}
    while match := re.match(r"\s*(absent|reference)=(\S+)(?:\s+|$)", text):
        keywords[match[1]] = match[2]
        text = text[match.end() :]
    columns: list[Any] = []
    for part in filter(None, (it.strip() for it in text.split(","))):
        name, equals, of = (it.strip() for it in part.partition("="))
        plus, minus, other = (it.strip() for it in of.partition(" minus "))
        if minus:
            columns.append({name: (plus.split("|"), other.split("|"))})
        else:
            columns.append({name: [it.strip() for it in of.split("|")]} if equals else name)
    return [columns], keywords
