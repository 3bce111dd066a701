"""Labels that are given once for each stretch of time, such as a hypnogram's for each 30 s."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from zarrts.errors import SourceError
from zarrts.sizes import rows_of_time
from zarrts.sources.formats.drafts import Draft, Findings, Kind
from zarrts.sources.rows.inputs import InputRows
from zarrts.sources.rows.label_rows import RepeatedRows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import RowReader, SeriesList, SourceRecording

_Labelled = TypeVar("_Labelled", Draft, SourceRecording)


def rows_of_label(options: SourceOptions, carried: Iterable[float | None] = ()) -> int | None:
    """Return how many rows each label is for, or None where nothing is said of it.

    Parameters
    ----------
    carried : iterable of float or None
        Rates that sources carry, of which the first counts where the user names none.

    Raises
    ------
    SourceError
        If it is no number of rows, or a time without a rate.
    """
    if options.label_every is None:
        return None
    rate_hz = options.only_rate_hz or next((it for it in carried if it), None)
    try:
        every = rows_of_time("label_every", options.label_every, rate_hz)
    except ValueError as error:
        raise SourceError(str(error)) from error
    if every < 1:
        raise SourceError(f"label_every={options.label_every!r} has to be at least 1 row.")
    return every


def seconds_of_label(every: int | str) -> float:
    """Return for how much time each label is.

    Raises
    ------
    SourceError
        If it is a number of rows: of several inputs, none is the one that counts.
    """
    if isinstance(every, int):
        raise SourceError(
            f"label_every={every!r} counts rows, but there are several inputs, each with rows of "
            "its own; give a time, such as '30s'."
        )
    try:
        return rows_of_time("label_every", every, 1e6) / 1e6
    except ValueError as error:
        raise SourceError(str(error)) from error


def spread(
    recordings: Sequence[_Labelled], options: SourceOptions, findings: Findings, kind: Kind
) -> list[_Labelled]:
    """Return recordings with a label for each row; those that do not fit are noted.

    Labels that are those of rows already, as intervals are, stay so.

    Raises
    ------
    SourceError
        See `rows_of_label`.
    """
    if options.label_every is None:
        return list(recordings)
    found: list[_Labelled] = []
    rates: list[float | None] = [it.description.rate_hz for it in recordings]
    for it in recordings:
        if it.labels_per == "row" or isinstance(it.x, InputRows):  # which are aligned later
            found.append(it)
            continue
        every = rows_of_label(options, [it.description.rate_hz, *rates])
        assert every is not None
        with findings.noting(kind):
            y: Any = _spread(it, every)  # a list only where it was one, which arrays are not
            found.append(replace(it, y=y, labels_per="row"))
    return found


def _spread(it: Draft | SourceRecording, every: int) -> RowReader | SeriesList:
    """Return labels for each row; of lists of series, for those of each."""
    x, y = it.x, it.y
    if isinstance(x, SeriesList) and isinstance(y, SeriesList):
        if len(x.readers) != len(y.readers):
            return y  # is found out where series become recordings
        numbered = enumerate(zip(x.readers, y.readers, strict=True))
        readers = (
            _of_series(of_y, of_x.shape[0], every, it, f"{it.origin}[{number}]")
            for number, (of_x, of_y) in numbered
        )
        return SeriesList(tuple(readers))
    if isinstance(x, SeriesList) or isinstance(y, SeriesList):
        raise SourceError(
            f"{it.origin}: of {it.x_name!r} and {it.y_name!r}, one is a list of series and one is "
            "not; with label_every=, save a list of labels for each series, or leave it out."
        )
    return _of_series(y, x.shape[0], every, it, it.origin)


def _of_series(
    labels: RowReader, n_rows: int, every: int, it: Draft | SourceRecording, origin: str
) -> RepeatedRows:
    n_labels = labels.shape[0]
    n_full, n_rest = divmod(n_rows, every)
    if n_labels == n_full + bool(n_rest):
        return RepeatedRows(labels, every, n_rows)
    each = f"one for each {every:,} time steps" if every > 1 else "one for each time step"
    rest = f" and one for the {n_rest:,} that remain" if n_rest else ""
    if n_labels == n_full:
        remedy = (
            f"the last {n_rest:,} have no label: cut them off, x[:{n_full * every}], or give them "
            "one too"
        )
    elif n_labels == n_rows:
        remedy = "each time step has a label of its own: leave label_every= out"
    elif n_labels and n_rows % n_labels == 0:
        remedy = (
            f"if each is that of {n_rows // n_labels:,} time steps, say label_every="
            f"{n_rows // n_labels}, or correct rate_hz="
        )
    else:
        remedy = "correct label_every= or rate_hz=, or what is saved"
    raise SourceError(
        f"{origin}: {n_labels:,} labels in {it.y_name!r}, but {n_rows:,} time steps in "
        f"{it.x_name!r} need {n_full + bool(n_rest):,} ({each}{rest}); {remedy}."
    )
