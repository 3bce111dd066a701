"""Whatever there is of each input, by its name, and as users get it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def handed_out(of_inputs: Mapping[str, T]) -> T | dict[str, T]:
    """Return what there is of each input as users get it: of the one without a name, that alone."""
    return of_inputs[""] if "" in of_inputs else dict(of_inputs)


def describe_inputs(shape: Any, dtype: Any) -> str:
    """Return shape and dtype of a sample in a few letters; of several inputs, by name."""
    if not isinstance(shape, dict):
        return f"{shape} {dtype}"
    return ", ".join(f"{name} {shape[name]} {dtype[name]}" for name in shape)


def each_input(of_inputs: Any, function: Callable[[Any], Any]) -> Any:
    """Return what users have of inputs with a function called on that of each."""
    if isinstance(of_inputs, dict):
        return {name: function(it) for name, it in of_inputs.items()}
    return function(of_inputs)


def with_masks(x: Any, mask: Any) -> Any:
    """Return x with its mask, as networks get both: a pair, or of several inputs one dictionary.

    The mask of the input "acc" is "acc_mask" there.
    """
    if not isinstance(x, dict):
        return x, mask
    return x | {f"{name}_mask": it for name, it in mask.items()}
