"""Messages of what MATLAB files of all versions hold and what cannot be read."""

_TEXT, _FULL = ("string", "categorical"), ("sparse", "double", "logical")


def remedy(kind: str, name: str) -> str:
    """Return how to save in MATLAB what is of a class that is not read."""
    if kind in _TEXT:
        return f"save it as a cell array of text: {name} = cellstr({name})"
    if kind in _FULL:
        return f"save it as a full array: {name} = full({name})"
    return (
        "save inputs and labels as arrays of numbers, or labels as a cell array of text, each as a "
        "variable of its own"
    )


def of_structs(where: str, n_cells: int, fields: str) -> str:
    """Return the message for a cell of structs."""
    return (
        f"{where}: holds {n_cells:,} structs{f' of {fields}' if fields else ''} in its cells, not "
        "arrays; save what is needed of each as variables of their own, a file for each: x = "
        "data{1}.X; y = data{1}.y; save('s01_run1.mat', 'x', 'y')."
    )
