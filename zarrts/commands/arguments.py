"""Options of the command that several subcommands share, and how their values are read."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from zarrts.sizes import parse_size
from zarrts.types import FOLDERS


class Size(click.ParamType):  # type: ignore[type-arg]
    """A size such as 64MiB, in bytes."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number of bytes; a usage error if it is not a size."""
        try:
            return parse_size(value, param.name)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def names_of(context: Any, parameter: Any, value: str | None) -> tuple[str, ...] | None:
    """Return names that are separated by commas."""
    return tuple(name.strip() for name in value.split(",")) if value else None


def names_or_expression(
    context: Any, parameter: Any, value: str | None
) -> tuple[str, ...] | str | None:
    """Return names that are separated by commas, or what stands between slashes."""
    if value and len(value) > 2 and value[0] == value[-1] == "/":
        return value[1:-1]
    return names_of(context, parameter, value)


def name_or_names(context: Any, parameter: Any, value: str | None) -> str | tuple[str, ...] | None:
    """Return a name, or names that are separated by commas."""
    return names_of(context, parameter, value) if value and "," in value else value


def inputs_of(
    context: Any, parameter: Any, values: tuple[str, ...]
) -> str | tuple[str, ...] | dict[str, tuple[str, ...] | str] | None:
    """Return a name, or names that are separated by commas; or each NAME=WHAT,... as an input."""
    if len(values) == 1 and "=" not in values[0]:
        return name_or_names(context, parameter, values[0])
    pairs = [value.partition("=") for value in values]
    names = [name.strip() for name, _, _ in pairs]
    if not all(name and what for name, _, what in pairs) or len({*names}) < len(names):
        raise click.BadParameter(
            "give it once, or once for each of several inputs, with a name of each: --x "
            "'eeg=C3,C4' --x emg=chin"
        )
    every = (name_or_names(context, parameter, what) for _, _, what in pairs)
    return {name: what for name, what in zip(names, every, strict=True) if what} or None


def _rows_or_time(context: Any, parameter: Any, value: str | None) -> int | str | None:
    return int(value) if value and value.isdecimal() else value


def _rate_or_rates(
    context: Any, parameter: Any, value: str | None
) -> float | dict[str, float] | None:
    """Return a rate, or those of several inputs by name."""
    if value is None:
        return None
    pairs = [part.partition("=") for part in value.split(",")]
    try:
        if pairs[0][1]:
            return {name.strip(): float(rate) for name, _, rate in pairs}
        return float(value)
    except ValueError as error:
        raise click.BadParameter("write a number, or NAME=NUMBER,NAME=NUMBER") from error


def value_or_values(context: Any, parameter: Any, value: str) -> str | dict[str, str]:
    """Return a word, or those of several inputs by name."""
    if "=" not in value:
        return value
    pairs = [part.partition("=") for part in value.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise click.BadParameter("write a value, or NAME=VALUE,NAME=VALUE")
    return {name.strip(): word.strip() for name, _, word in pairs}


def _options_of(context: Any, parameter: Any, values: tuple[str, ...]) -> dict[str, Any] | None:
    """Return options, each given as NAME=VALUE or ADDRESS:NAME=VALUE; a value is not shown."""
    pairs = [value.partition("=") for value in values]
    if not all(name and equals for name, equals, _ in pairs):
        raise click.BadParameter("write NAME=VALUE, such as endpoint_url=https://s3.lab.org")
    found: dict[str, Any] = {}
    for name, _, value in pairs:
        start, _, word = name.rpartition(":")
        if "://" in name and not word.startswith("//"):
            found.setdefault(start, {})[word] = value
        else:
            found[name] = value
    return found or None


def _steps_of(context: Any, parameter: Any, values: tuple[str, ...]) -> tuple[Any, ...]:
    """Return steps, each written as its name and what it takes."""
    from zarrts.sources.step_lists import steps_given

    return steps_given(values)


storage_options = click.option(
    "--storage-options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_options_of,
    help="An option of a bucket, such as endpoint_url=https://s3.lab.org; for one address only: "
    "s3://raw:anon=true. Give it once for each. Credentials are better kept in the environment.",
)


def source_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what files hold and whose they are."""
    options = [
        click.option(
            "--folders",
            type=click.Choice(FOLDERS),
            default="auto",
            show_default=True,
            help="What folders stand for, from the top.",
        ),
        click.option("--subject", help="Who a file belongs to: regular expression, or a CSV file."),
        click.option(
            "--x",
            multiple=True,
            callback=inputs_of,
            metavar="NAME,...|INPUT=NAME,...",
            help="Name of the array of inputs, where it is not obvious; several with commas. Of "
            "CSV and Parquet files the columns. Of several inputs made of signals or columns, "
            "once for each: --x eeg=C3,C4 --x emg=chin.",
        ),
        click.option(
            "--labels",
            help="CSV file of labels: subject (or file), start, stop, label.",
        ),
        click.option(
            "--y",
            callback=name_or_names,
            help="Name of the array of labels, where it is not obvious; several with commas.",
        ),
        click.option(
            "--no-y", is_flag=True, help="There are no labels, whatever arrays the files hold."
        ),
        click.option("--table", help="CSV file: subject, x, y (or label), start, stop."),
        click.option("--follow-links", is_flag=True, help="Search linked folders, too."),
        click.option(
            "--kind",
            type=click.Choice(["auto", "dense", "ragged"]),
            default="auto",
            show_default=True,
            help="dense: x[i] is sample i, in 2-D arrays as well. ragged: x is one long series.",
        ),
        click.option(
            "--label-every",
            metavar="TIME|ROWS",
            callback=_rows_or_time,
            help="Each label is for so long: 30s, or 3000 (time steps).",
        ),
        click.option(
            "--override",
            callback=lambda *given: names_of(*given) or (),
            help="Which of channels, rate_hz and units are right where a file says otherwise.",
        ),
        click.option("--axes", callback=names_of, help="Axes of x, such as sample,channel,time."),
    ]

    @wraps(function)
    def with_labels(*args: Any, y: str | tuple[str, ...] | None, no_y: bool, **rest: Any) -> None:
        if no_y and y is not None:
            raise click.UsageError("--y names labels, and --no-y says that there are none.")
        function(*args, y=False if no_y else y, **rest)

    decorated: Callable[..., None] = with_labels
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def content_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what is in files, and what their values mean."""
    options = [
        click.option(
            "--class-names",
            callback=names_of,
            help="All classes, in the order of their codes; 0,1,2 for floats that are classes.",
        ),
        click.option("--channels", callback=names_of, help="Names of the channels, with commas."),
        click.option(
            "--rate-hz",
            callback=_rate_or_rates,
            metavar="HZ|NAME=HZ,...",
            help="Time steps per second; of several inputs acc=50,hr=1.",
        ),
        click.option(
            "--units", callback=name_or_names, help="Unit of the channels, such as uV; or of each."
        ),
        click.option(
            "--annotations",
            callback=names_or_expression,
            metavar="TEXTS|/REGEX/",
            help="EDF annotations that are labels: texts with commas, or /expression/.",
        ),
        click.option("--unlabelled", metavar="NAME", help="A class for what has no label."),
        click.option(
            "--time", metavar="COLUMN", help="When each row of a CSV or Parquet file was."
        ),
        click.option("--missing", type=float, help="A value of x that is missing, such as -32768."),
        click.option(
            "--missing-chunks",
            type=click.Choice(["fill"]),
            help="fill: what was never written into Zarr is its fill value, and not an error.",
        ),
        click.option(
            "--step",
            "--steps",
            "steps",
            multiple=True,
            callback=_steps_of,
            metavar="STEP",
            help="Done before anything is stored, such as 'filter 1 40' or 'resample 100Hz'; give "
            "it once for each, in their order. Of one of several inputs: 'acc: filter 1 20'.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def worker_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say who writes the parts of a store."""
    options = [
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Parts written at once; by default one for each processor.",
        ),
        click.option(
            "--scheduler",
            help="Who writes them: a Dask scheduler (tcp://host:8786, or its .json file), or "
            "processes: as many on this machine as --workers says. Threads by default.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
