"""Steps as a store and a spec keep them: dictionaries of plain values, the name under "step"."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from zarrts.sources.step_functions import NamedFunction
from zarrts.sources.step_options import STEPS, Column, Map, Notch, Pick, Step


def recorded_steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return what a store keeps of steps, as plain values of JSON."""
    return [{"step": it.name, **_on_input(_plain(it))} for it in steps]


def _on_input(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the same without the name of an input, where there is one without a name."""
    return plain if plain["input"] else {name: it for name, it in plain.items() if name != "input"}


def _plain(value: Any) -> dict[str, Any]:
    found = {it.name: getattr(value, it.name) for it in fields(value)}
    return {
        name: [_plain(one) if isinstance(one, Column) else one for one in it]
        if isinstance(it, tuple)
        else it.recorded()
        if isinstance(it, NamedFunction)
        else dict(it)
        if isinstance(it, Mapping)
        else it
        for name, it in found.items()
    }


def steps_from_recorded(
    recorded: Sequence[Mapping[str, Any]], functions: Mapping[str, Any] | None = None
) -> tuple[Step, ...]:
    """Return the steps that a store keeps.

    Parameters
    ----------
    functions : mapping, optional
        From the name of a function that `map` calls to the function, where it cannot be imported.

    Raises
    ------
    PlanError
        If a function is not there, or is another one than it was.
    """
    return tuple(_from_recorded(it, functions or {}) for it in recorded)


def _from_recorded(recorded: Mapping[str, Any], functions: Mapping[str, Any]) -> Step:
    values = {name: it for name, it in recorded.items() if name != "step"}
    kind = STEPS[recorded["step"]]
    if kind is Pick:
        values["columns"] = tuple(
            Column(name=it["name"], of=tuple(it["of"]), minus=tuple(it["minus"]))
            for it in values["columns"]
        )
    if kind is Map:
        values["function"] = NamedFunction.from_recorded(values["function"], functions)
        values["channels"] = values["channels"] and tuple(values["channels"])
    if kind is Notch:
        values["frequencies_hz"] = tuple(values["frequencies_hz"])
    return kind(**values)


# In words --------------------------------------------------------------------------------------


def described_steps(recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return steps that a store keeps in words, one each; no function is looked for."""
    return [
        f"{it['input']}: {_described(it)}" if it.get("input") else _described(it) for it in recorded
    ]


def _described(it: Mapping[str, Any]) -> str:
    name = str(it["step"])
    if name == "pick":
        columns = [
            f"{one['name']} ({one['of'][0]} minus {one['minus'][0]})"
            if one["minus"]
            else one["name"]
            for one in it["columns"]
        ]
        reference = " minus their mean" if it.get("reference") else ""
        return f"pick {', '.join(columns)}{reference}"
    if name == "resample":
        return f"resample {it['rate_hz']:g} Hz"
    if name == "filter":
        method = " (IIR)" if it["method"] == "iir" else ""
        return f"filter {band(it['low_hz'], it['high_hz'])}{method}"
    if name == "stored":
        return f"stored as {it['dtype']}"
    if name == "notch":
        return f"notch {', '.join(f'{one:g}' for one in it['frequencies_hz'])} Hz"
    return f"{name} {it['function']['path']}" if name == "map" else f"clean {faults(it)}"


def faults(it: Mapping[str, Any]) -> str:
    """Return in words what a step `clean` masks."""
    units = {name: "" if isinstance(it[name], str) else " rows" for name in ("flat", "around")}
    found = [
        f"flat for {it['flat']}{units['flat']}" if it["flat"] is not None else "",
        f"beyond {it['amplitude']:g}" if it["amplitude"] is not None else "",
        "NaN" if it["nan"] else "",
        f"and {it['around']}{units['around']} around" if it["around"] else "",
    ]
    return ", ".join(filter(None, found))


def band(low_hz: float | None, high_hz: float | None) -> str:
    """Return a band of frequencies in words."""
    if high_hz is None:
        return f"above {low_hz:g} Hz"
    if low_hz is None:
        return f"below {high_hz:g} Hz"
    return f"{low_hz:g} to {high_hz:g} Hz"
