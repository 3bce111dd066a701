"""Several inputs of new data, as a network was trained with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zarrts.errors import SourceError
from zarrts.sources.rows.inputs import InputRows, records_of
from zarrts.sources.study.inputs import listed_inputs
from zarrts.types import SourceInput


def choose_inputs(source: SourceInput, names: Sequence[str]) -> SourceInput:
    """Return a recording with some of its inputs.

    Raises
    ------
    SourceError
        If one is not there; names both sides.
    """
    known = source.x.by_name if isinstance(source.x, InputRows) else {}
    if not {*names} <= {*known}:
        raise SourceError(
            f"{source.origin}: has {listed_inputs([*known])}, but the network was trained with "
            f"{listed_inputs(names)}; name them with x=, or as a dictionary of a Recording."
        )
    chosen = {name: known[name] for name in sorted(names)}
    return replace(source, x=InputRows(tuple(chosen), tuple(chosen.values())))


def align_like(source: SourceInput, steps: Mapping[str, int]) -> SourceInput:
    """Return inputs as records of a timeline of which it is known what each has in a row.

    Raises
    ------
    SourceError
        If they are not equally long.
    """
    assert isinstance(source.x, InputRows)
    inputs = source.x.by_name
    rows = {name: inputs[name].shape[0] // it for name, it in steps.items() if it}
    n_rows = min(rows.values())
    if max(rows.values()) - n_rows > (max(steps.values()) > 1):
        shown = ", ".join(f"{inputs[name].shape[0]:,} in {name}" for name in rows)
        each = ", ".join(f"{it:,} of {name}" for name, it in steps.items() if it)
        raise SourceError(
            f"{source.origin}: its inputs are not equally long: {shown}, of which {each} belong "
            "together; cut what is longer."
        )
    return replace(source, x=records_of(inputs, steps, n_rows))
