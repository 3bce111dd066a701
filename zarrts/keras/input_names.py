"""The inputs of a network, and those of batches: their names have to be the same."""

from collections.abc import Sequence
from typing import Any

from zarrts.errors import SampleError


def refuse_other_inputs(model: Any, names: Sequence[str] | None) -> None:
    """Refuse batches whose inputs are not those of a network, where it names its own.

    Parameters
    ----------
    names : sequence of str, or None
        Of the inputs of batches; None where a batch is one array.

    Raises
    ------
    SampleError
        That names both sides.
    """
    expected = _names_of(model)
    if names is None or expected is None:
        return
    takes_one = len(expected) == 1 and not isinstance(_structure_of(model), dict | list | tuple)
    if {*expected} == {*names} and not takes_one:
        return
    if takes_one:
        (name,) = expected
        one = name if name in names else names[0]
        raise SampleError(
            f"The network has one input, {name}, but batches have {', '.join(names)}; choose one "
            f"with inputs={one!r}, or give the network an input for each, named alike."
        )
    raise SampleError(
        f"The inputs of the network are {', '.join(expected)}, but those of batches are "
        f"{', '.join(names)}; name them alike, keras.Input(shape, name={names[0]!r}), or choose "
        "some with inputs=."
    )


def _structure_of(model: Any) -> Any:
    return getattr(model, "_inputs_struct", None)


def _names_of(model: Any) -> list[str] | None:
    structure = _structure_of(model)
    if isinstance(structure, dict):
        return [str(name) for name in structure]
    try:
        inputs = model.inputs
    except (AttributeError, ValueError):  # a network that is not built yet
        return None
    return [it.name for it in inputs] if inputs else None
