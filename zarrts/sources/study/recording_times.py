"""Times of recordings in memory: rate, gaps, and when each of several inputs starts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.rows.inputs import InputRows, InputTime
from zarrts.sources.rows.stamps import read_timing, seconds_of
from zarrts.sources.rows.views import ValueRows
from zarrts.timeline import Gaps, Timing
from zarrts.types import Description, Recording, RowReader

_NUMBERS = (int, float, np.integer, np.floating)

Timed = tuple[RowReader, Gaps | None, float | None, Description]
"""Inputs, with their times; gaps and the first time stamp of all of them; and the rates."""


def timed(recording: Recording, x: RowReader, description: Description, origin: str) -> Timed:
    """Return the times that are given, or follow from time stamps.

    Raises
    ------
    SourceError
        If they are not times of these steps, or are said twice.
    """
    if recording.start_s is not None:
        return _starting(recording, x, description, origin)
    if isinstance(x, InputRows) and isinstance(recording.times, Mapping):
        return _stamped(recording, x, description, origin)
    return x, *_of_one(recording, x.shape[0], description, origin)


def readers_of_times(times: Mapping[str, InputTime]) -> list[RowReader]:
    """Return what a fingerprint has to cover of the times of inputs."""
    readers: list[RowReader] = []
    for name, it in sorted(times.items()):
        readers += [ValueRows(np.array([name])), ValueRows(np.array([it.start_s]))]
        if it.gaps is not None:
            readers += [ValueRows(it.gaps.rows), ValueRows(it.gaps.seconds)]
    return readers


def _starting(recording: Recording, x: RowReader, description: Description, origin: str) -> Timed:
    """Return inputs with the starts that are given; 0 where none is."""
    given = recording.start_s
    if recording.times is not None or recording.gaps is not None:
        said = "times=" if recording.times is not None else "gaps="
        raise SourceError(
            f"{origin}: start_s= and {said} are given; times={{...}}, by the names of inputs, says "
            "both when each starts, and where something is missing."
        )
    if not isinstance(x, InputRows):
        raise SourceError(
            f"{origin}: start_s= is for several inputs that do not start together, but x is one; "
            "leave it out."
        )
    if not isinstance(given, Mapping) or not all(
        isinstance(it, _NUMBERS) and np.isfinite(it) for it in given.values()
    ):
        raise SourceError(
            f"{origin}: start_s={given!r} has to be a dictionary of seconds by the names of its "
            f"inputs, {', '.join(x.names)}."
        )
    _refuse_unknown([*map(str, given)], [*x.names, "y"], "start_s", origin)
    starts = dict.fromkeys(x.names, 0.0) | {str(name): float(it) for name, it in given.items()}
    times = {name: InputTime(it) for name, it in starts.items()}
    return replace(x, times=times), None, None, description


def _refuse_unknown(names: list[str], known: list[str], option: str, origin: str) -> None:
    unknown = [it for it in names if it not in known]
    if unknown:
        raise SourceError(
            f"{origin}: its {option}= names {', '.join(unknown)}, but its inputs are "
            f"{', '.join(it for it in known if it != 'y')}."
        )


def _stamped(recording: Recording, x: InputRows, description: Description, origin: str) -> Timed:
    """Return inputs with starts, gaps and rates that follow from the time stamps of each."""
    if recording.gaps is not None:
        raise SourceError(f"{origin}: gaps follow from times=; leave gaps= out.")
    given = {str(name): it for name, it in recording.times.items()}
    _refuse_unknown([*given], [*x.names], "times", origin)
    lacking = [
        name
        for name, it in x.by_name.items()
        if len(it.shape) > 1 and it.shape[0] > 1 and name not in given
    ]
    if lacking:
        raise SourceError(
            f"{origin}: its times= lack {', '.join(lacking)}; give the times of each input that "
            "changes in time."
        )
    times, parts = {}, dict(description.parts)
    for name, stamps in given.items():
        where = f"{origin}: {name}: times"
        rate_hz = parts[name].rate_hz
        timing = _timing(stamps, x.by_name[name].shape[0], rate_hz, where)
        if rate_hz is None:
            parts[name] = replace(parts[name], rate_hz=timing.rate_hz)
        times[name] = InputTime(timing.first_s or 0.0, timing.gaps)
    return replace(x, times=times), None, None, replace(description, parts=parts)


def _of_one(
    recording: Recording, n_rows: int, description: Description, origin: str
) -> tuple[Gaps | None, float | None, Description]:
    """Return the gaps that are given, or follow from time stamps; and the rate with these."""
    if recording.times is None:
        return _gaps(recording.gaps, n_rows, origin), None, description
    if recording.gaps is not None:
        raise SourceError(f"{origin}: gaps follow from times=; leave gaps= out.")
    if isinstance(recording.times, Mapping):
        raise SourceError(f"{origin}: its times= are by the names of inputs, but x is one input.")
    where = f"{origin}: times"
    timing = _timing(recording.times, n_rows, description.rate_hz, where)
    if description.rate_hz is None:
        description = replace(description, rate_hz=timing.rate_hz)
    return timing.gaps, timing.first_s, description


def _timing(stamps: Any, n_rows: int, rate_hz: float | None, where: str) -> Timing:
    """Return what time stamps say, which fit the rate where that is given."""
    values = stamps.to_numpy() if hasattr(stamps, "to_numpy") else np.asarray(stamps)
    if values.shape != (n_rows,):
        raise SourceError(
            f"{where}: has shape {values.shape}, but each of the {n_rows:,} time steps of x needs "
            "one time."
        )
    timing = read_timing(ValueRows(seconds_of(values, where)), where, rate_hz)
    if rate_hz is not None and timing.rate_hz not in (None, rate_hz):
        raise SourceError(
            f"{where}: are those of {timing.rate_hz:g} Hz, but its rate_hz= is {rate_hz:g}; leave "
            "one of them out."
        )
    return timing


def _gaps(given: Any, n_rows: int, origin: str) -> Gaps | None:
    if given is None:
        return None
    pairs = [it if isinstance(it, tuple | list) else (it, 0.0) for it in given]
    is_pair = [
        len(it) == 2 and isinstance(it[0], int | np.integer) and isinstance(it[1], _NUMBERS)
        for it in pairs
    ]
    if not all(is_pair) or not all(
        0 < row < n_rows and 0 <= lasts < np.inf for row, lasts in pairs
    ):
        raise SourceError(
            f"{origin}: gaps={given!r} has to be a list of time steps, from 1 to {n_rows - 1:,}, "
            "before which something is missing, or of pairs of these and seconds."
        )
    ordered = sorted(pairs)
    rows = [row for row, _ in ordered]
    if len({*rows}) < len(rows):
        raise SourceError(f"{origin}: gaps= names a time step twice; name each once.")
    return Gaps.of(rows, [float(lasts) for _, lasts in ordered])
