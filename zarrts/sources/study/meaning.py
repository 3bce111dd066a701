"""Bring inputs together whose columns and rows have to mean the same."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zarrts.errors import SourceError
from zarrts.sources.rows.inputs import InputRows
from zarrts.sources.rows.views import AdjustedRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.agreement import Adjusted, agree, unsaid_in
from zarrts.sources.study.standards import Described, Reference, Wanted
from zarrts.types import Description, RowReader


def alike_inputs(
    inputs: Sequence[tuple[str, RowReader, Description]],
    options: SourceOptions,
    reference: Reference | None,
) -> tuple[list[RowReader], Description, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return inputs whose columns and rows mean the same, and what they mean; notes, problems, and
    sentences on what they do not say.

    Of several inputs, each is compared with those of its name.
    """
    names = {it.names for _, it, _ in inputs if isinstance(it, InputRows)}
    check_named(options, next(iter(names)) if len(names) == 1 else ())
    if len(names) != 1 or not all(isinstance(it, InputRows) for _, it, _ in inputs):
        agreed = agree([described(*it) for it in inputs], wanted_of(options, reference))
        pairs = zip(inputs, agreed.adjusted, strict=True)
        changed = [adjusted_rows(x, adjusted) for (_, x, _), adjusted in pairs]
        return changed, agreed.description, agreed.notes, agreed.problems, unsaid_in(agreed)
    columns: dict[str, list[RowReader]] = {}
    parts: dict[str, Description] = {}
    said: list[tuple[tuple[str, ...], ...]] = []
    for name in names.pop():
        own = [
            (f"{origin}: {name}", it.by_name[name], description.of_inputs.get(name, description))
            for origin, it, description in inputs
            if isinstance(it, InputRows)
        ]
        wanted = reference and reference.of_input(name)
        columns[name], parts[name], *texts = alike_inputs(own, options.of_input(name), wanted)
        said.append(tuple(texts))
    notes, problems, unsaid = (
        tuple(text for some in each for text in some) for each in zip(*said, strict=True)
    )
    together: list[RowReader] = [
        it.each({name: columns[name][number] for name in columns})
        for number, (_, it, _) in enumerate(inputs)
        if isinstance(it, InputRows)
    ]
    label_rates = {it.rate_hz for _, _, it in inputs if it.rate_hz is not None}
    label_rate = label_rates.pop() if len(label_rates) == 1 else None
    found = replace(Description.unknown(), parts=parts, rate_hz=label_rate)
    return together, found, notes, problems, unsaid


def wanted_of(options: SourceOptions, reference: Reference | None) -> Wanted:
    """Return what options and a reference ask of columns and rows."""
    return Wanted(
        channels=options.channels,
        units=options.units,
        rate_hz=options.rate_hz,
        override=options.override,
        reference=reference,
        picks=options.channels is not None,
    )


def described(origin: str, x: RowReader, description: Description) -> Described:
    """Return the columns of rows as they are compared."""
    n_columns = x.shape[-1] if len(x.shape) > 1 else 0
    return Described(origin=origin, n_columns=n_columns, description=description)


def adjusted_rows(x: RowReader, adjusted: Adjusted) -> RowReader:
    """Return rows with their columns in order, and in the units that are wanted."""
    if adjusted.is_same:
        return x
    return AdjustedRows(x, adjusted.columns, adjusted.factors)


def check_named(options: SourceOptions, names: Sequence[str]) -> None:
    """Raise SourceError unless what is said by the name of an input is said of these.

    Parameters
    ----------
    names : sequence of str
        None where there is one input without a name.
    """
    given = {"channels": options.channels, "rate_hz": options.rate_hz, "units": options.units}
    there = ", ".join(names) or "one without a name"
    for option, value in given.items():
        if isinstance(value, Mapping):
            unknown = [it for it in value if it not in names and (option, it) != ("rate_hz", "y")]
            if unknown or not names:
                wrong = ", ".join(unknown or value)
                raise SourceError(f"{option}= names {wrong}, but the inputs are: {there}.")
        elif names and isinstance(value, tuple):
            raise SourceError(
                f"{option}= is one list, but there are several inputs: {there}; give a dictionary "
                f"by their names: {option}={{{names[0]!r}: {list(value)!r}}}."
            )
