"""Recordings given as arrays in memory, not as files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.carried import names_in, rate_in, units_in
from zarrts.sources.formats.drafts import Findings
from zarrts.sources.rows.array_checks import check_array, check_rows
from zarrts.sources.rows.arrays import ArrayRows
from zarrts.sources.rows.inputs import InputRows, input_rows
from zarrts.sources.rows.label_rows import IntervalRows
from zarrts.sources.rows.masks import MaskRows, mask_rows
from zarrts.sources.rows.records import named_rows
from zarrts.sources.rows.views import ConstantRows, ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.sources.study import fingerprint
from zarrts.sources.study.ragged import differ_in_length
from zarrts.sources.study.recording_times import readers_of_times, timed
from zarrts.types import Description, LabelsPer, Recording, RowReader, SourceRecording

_INTERVAL = ("start", "stop", "label")


def find_recordings(
    recordings: Sequence[Recording], options: SourceOptions, findings: Findings
) -> list[SourceRecording]:
    """Return what recordings in memory hold, in their order; those that are no good are noted."""
    if options.axes is not None and recordings:
        raise SourceError(
            "axes= is about files; bring the arrays of a Recording into the order "
            "(sample, time, channel) before, with numpy.transpose."
        )
    numbered = [
        (it, f"recording {number} ({it.subject})") for number, it in enumerate(recordings, start=1)
    ]
    is_apart = _take_apart(recordings, options)

    def found(recording: Recording, origin: str) -> list[SourceRecording]:
        if is_apart and (series := _series(recording)) is not None:
            _check_count(recording, len(series), origin)
            return [
                _found(_part(recording, number, matrix), f"{origin}[{number}]")
                for number, matrix in enumerate(series)
            ]
        return [_found(recording, origin)]

    return findings.collect("array", numbered, lambda it: found(*it))


def _take_apart(recordings: Sequence[Recording], options: SourceOptions) -> bool:
    """Return whether each matrix of a list, or of an array of them, is a recording of its own.

    As of files: where lists are of several shapes, or asked for as series, and where arrays of
    matrices differ in their lengths and are asked for as series.
    """
    some = [(it, series) for it in recordings if (series := _series(it)) is not None]
    in_lists = [series for it, series in some if not hasattr(it.x, "shape") or _is_object(it.x)]
    shapes = {tuple(matrix.shape) for _, series in some for matrix in series}
    if options.is_series or options.kind == "ragged":
        return bool(in_lists) or differ_in_length(shapes)
    return options.kind == "auto" and bool(in_lists) and len(shapes) > 1


def _series(recording: Recording) -> Sequence[Any] | None:
    """Return the matrices of a list or an array of them; None where it is anything else."""
    x = recording.x
    if isinstance(x, list | tuple) or _is_object(x):
        shapes = [tuple(getattr(it, "shape", ())) for it in x]
        return x if shapes and all(shapes) else None
    shape: tuple[int, ...] = getattr(x, "shape", ())
    if len(shape) < 3 or callable(x) or not _fits(recording.y, shape[0]):
        return None
    return _Stack(x)


class _Stack(Sequence[Any]):
    """The matrices of an array, as views where it has them."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return _Matrix(self._array, number)


class _Matrix:
    """One matrix of an array, which is read when it is sliced."""

    def __init__(self, array: Any, number: int) -> None:
        self._array, self._number = array, number
        self.shape, self.dtype = tuple(array.shape[1:]), array.dtype

    def __getitem__(self, rows: slice) -> Any:
        return self._array[self._number][rows]


def _is_object(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1


def _fits(labels: Any, count: int) -> bool:
    of_each = labels.values() if isinstance(labels, Mapping) else [labels]
    return all(
        hasattr(it, "__len__") and not isinstance(it, str) and np.ndim(it) > 0 and len(it) == count
        for it in of_each
    )


def _check_count(recording: Recording, count: int, origin: str) -> None:
    labels = recording.y
    for it in labels.values() if isinstance(labels, Mapping) else [labels]:
        n_labels = len(it) if hasattr(it, "__len__") and not isinstance(it, str) else 1
        if n_labels != count:
            raise SourceError(
                f"{origin}: {count:,} series in x, but {n_labels:,} labels in y; each series "
                "needs one label, or labels for its time steps."
            )
    mask = recording.mask
    if mask is not None and (not hasattr(mask, "__len__") or len(mask) != count):
        raise SourceError(
            f"{origin}: {count:,} series in x, but mask= is not a list of as many masks; give one "
            "for each series."
        )


def _part(recording: Recording, number: int, matrix: Any) -> Recording:
    """Return one matrix as a recording, with its label or those of its time steps."""

    def own(labels: Any) -> Any:
        label = (labels.to_numpy() if hasattr(labels, "to_numpy") else labels)[number]
        is_of_rows = np.ndim(label) > 0 and len(label) == matrix.shape[0]
        return label if is_of_rows else np.asarray(label)[None]

    y, mask = recording.y, recording.mask
    labels = {name: own(it) for name, it in y.items()} if isinstance(y, Mapping) else own(y)
    if (recording.gaps, recording.times, recording.start_s) != (None, None, None):
        raise SourceError(
            f"recording of {recording.subject}: gaps= and times= are of one series, but x holds "
            "several; give a Recording for each."
        )
    return replace(recording, x=matrix, y=labels, mask=None if mask is None else mask[number])


def _found(recording: Recording, origin: str) -> SourceRecording:
    if not (isinstance(recording.subject, str) and recording.subject):
        raise SourceError(f"{origin}: its subject must be a name, not {recording.subject!r}.")
    x = _inputs(recording.x, origin)
    inputs = x.readers if isinstance(x, InputRows) else (x,)
    y, labels_per = _labels(recording.y, x.shape[0], origin)
    mask = _mask(recording.mask, x.shape[0], origin)
    description = _description(recording, origin)
    x, gaps, first_s, description = timed(recording, x, description, origin)
    readers: list[RowReader] = [*inputs, y]
    if isinstance(x, InputRows):
        readers += readers_of_times(x.times)
    if mask is not None:
        readers.append(mask)
    if gaps is not None:
        readers += [ValueRows(gaps.rows), ValueRows(gaps.seconds)]
    return SourceRecording(
        subject=recording.subject,
        origin=origin,
        x=x,
        y=y,
        x_name=", ".join(x.names) if isinstance(x, InputRows) else "x",
        y_name=", ".join(map(str, recording.y)) if isinstance(recording.y, Mapping) else "y",
        size_bytes=0,
        fingerprint=fingerprint.of_readers(readers),
        is_sampled=not callable(recording.x) and fingerprint.are_sampled(readers),
        description=description,
        labels_per=labels_per,
        mask=mask,
        gaps=gaps,
        first_s=first_s,
    )


def _inputs(x: Any, origin: str) -> RowReader:
    """Return the inputs of a recording: several where they are a dictionary."""
    if not isinstance(x, Mapping):
        return _rows(x, "x", origin)
    readers = {}
    for name, it in x.items():
        # A single value is one for all of the recording.
        array = np.asarray(it)[None] if np.ndim(it) == 0 and not callable(it) else it
        readers[str(name)] = _rows(array, "x", f"{origin}: {name}")
    return input_rows(readers, origin)


def _mask(mask: Any, n_rows: int, origin: str) -> MaskRows | None:
    if mask is None:
        return None
    where = f"{origin}: mask"
    return mask_rows(ArrayRows(mask, where), n_rows, where)


def _description(recording: Recording, origin: str) -> Description:
    if not isinstance(recording.x, Mapping):
        return _of_one(recording, origin)
    names = [str(name) for name in recording.x]
    given = {"channels": recording.channels, "units": recording.units, "rate_hz": recording.rate_hz}
    for option, value in given.items():
        if isinstance(value, Mapping):
            known = [*names, "y"] if option == "rate_hz" else names
            unknown = [str(it) for it in value if it not in known]
            if unknown:
                raise SourceError(
                    f"{origin}: its {option}= names {', '.join(unknown)}, but its inputs are "
                    f"{', '.join(names)}."
                )
        elif value is not None and option == "channels":
            raise SourceError(
                f"{origin}: its channels= have to be a dictionary by input, of {', '.join(names)}."
            )

    def own(name: str) -> dict[str, Any]:
        return {
            option: value.get(name) if isinstance(value, Mapping) else value
            for option, value in given.items()
        }

    parts = {name: _of_one(replace(recording, **own(name)), f"{origin}: {name}") for name in names}
    rates = recording.rate_hz
    label_rate = rates.get("y") if isinstance(rates, Mapping) else None
    return replace(
        Description.unknown(),
        parts=parts,
        rate_hz=None if label_rate is None else float(label_rate),
    )


def _of_one(recording: Recording, origin: str) -> Description:
    channels, units, rate_hz = recording.channels, recording.units, recording.rate_hz
    if isinstance(units, str):
        units = (units,)
    for name, given, read in (("channels", channels, names_in), ("units", units, units_in)):
        is_none = isinstance(given, str | Mapping)
        if given is not None and (is_none or read(np.array([*given])) is None):
            raise SourceError(f"{origin}: its {name}= have to be a list of text, not {given!r}.")
    if rate_hz is not None and rate_in(rate_hz) is None:
        raise SourceError(f"{origin}: its rate_hz= has to be a number above 0, not {rate_hz!r}.")
    return Description(
        channels=None if channels is None else tuple(map(str, channels)),
        units=None if units is None else tuple(map(str, units)),
        rate_hz=None if rate_hz is None else float(rate_hz),
    )


def _labels(labels: Any, n_rows: int, origin: str) -> tuple[RowReader, LabelsPer]:
    """Return the labels of a recording, and whether it is said what has one."""
    if labels is None:
        return ConstantRows("", n_rows), "sample"
    if isinstance(labels, Mapping):
        found = {str(name): _labels(it, n_rows, f"{origin}: {name}") for name, it in labels.items()}
        kinds = {labels_per for _, labels_per in found.values()}
        if len(kinds) > 1:
            raise SourceError(
                f"{origin}: some of its labels are one for all rows, and some are not; give all "
                "alike."
            )
        rows = named_rows({name: it for name, (it, _) in found.items()}, origin)
        return rows, kinds.pop()
    if isinstance(labels, str | bool | int | float | np.generic) or _is_single(labels):
        return _rows(np.asarray(labels)[None], "y", origin), "recording"
    names = getattr(getattr(labels, "dtype", None), "names", None)
    if names is not None and {*_INTERVAL} <= {*names}:
        where = f"{origin}: y"
        starts, stops = (labels[name] for name in _INTERVAL[:2])
        of_intervals = _rows(labels[_INTERVAL[2]], "y", origin)
        values = of_intervals.read(0, of_intervals.shape[0])
        return IntervalRows.of(starts, stops, values, n_rows, where), "row"
    return _rows(labels, "y", origin), "sample"


def _is_single(labels: Any) -> bool:
    return isinstance(labels, np.ndarray) and labels.ndim == 0


def _rows(array: object, role: Role, origin: str) -> ArrayRows:
    where = f"{origin}: {role}"
    rows = ArrayRows(array, where)
    check_array(rows.dtype, rows.shape, role, where)
    check_rows(rows.shape, where)
    return rows
