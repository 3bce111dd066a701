"""Say what columns and rows have to mean, by options and references, and of which inputs."""

from collections.abc import Mapping, Sequence

from zarrts.errors import SourceError
from zarrts.sources.rows.views import AdjustedRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.agreement import Adjusted
from zarrts.sources.study.standards import Described, Reference, Wanted
from zarrts.types import Description, RowReader


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
    named = dict.fromkeys(it.input for it in options.steps)
    unknown = [it for it in named if it and it not in names]
    if unknown:
        raise SourceError(f"steps= names {', '.join(unknown)}, but the inputs are: {there}.")
    if names and "" in named:
        raise SourceError(
            f"steps= is one list, but there are several inputs: {there}; give a dictionary by "
            f"their names: steps={{{names[0]!r}: [...]}} (--step '{names[0]}: ...')."
        )
