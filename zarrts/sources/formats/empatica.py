"""Folders of Empatica's E4: a CSV file for each sensor, as E4 connect exports a session.

The first line of a file is when it starts, the second is its rate, and each further line is a row;
of IBI.csv and tags.csv, the lines have times of their own. Sensors of one rate are read together.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.libraries import local_path
from zarrts.sources.formats.signal_file import SignalFile, chosen, signal_format
from zarrts.sources.formats.signal_inputs import refuse_several_rates
from zarrts.sources.rows.files import SourceFile, Stamp, opened
from zarrts.sources.rows.reader import Rows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import AnyArray, Description, IntArray

SENSORS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "ACC.csv": (("ACC x", "g", 1 / 64), ("ACC y", "g", 1 / 64), ("ACC z", "g", 1 / 64)),
    "BVP.csv": (("BVP", "", 1.0),),
    "EDA.csv": (("EDA", "uS", 1.0),),
    "HR.csv": (("HR", "bpm", 1.0),),
    "TEMP.csv": (("TEMP", "degC", 1.0),),
}
"""Name, unit and scale of the columns of each file; acceleration is in 1/64 g."""

TAGS = "tags.csv"
ALL_FILES = (*SENSORS, TAGS, "IBI.csv", "info.txt")

_EVERY = 1 << 12  # rows between those whose place is known
_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 256
_LEAST_START_S, _MOST_HZ = 1e9, 1024  # the year 2001; no sensor of an E4 is above 64 Hz


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensor:
    """A file of a sensor, indexed.

    Attributes
    ----------
    name : str
        Of the file.
    stamp : Stamp
    start_s, rate_hz : float
        Seconds since 1970, rows per second.
    places : int64
        Where every 4,096th row begins in the file, and where the last one ends.
    n_rows : int
    label : str
        How errors name the file.
    """

    name: str
    stamp: Stamp
    start_s: float
    rate_hz: float
    places: IntArray
    n_rows: int
    label: str

    def read(self, start: int, stop: int) -> AnyArray:
        """Return rows, float64, shape (stop - start, columns)."""
        n_columns = len(SENSORS[self.name])
        first, last = start // _EVERY, -(-stop // _EVERY)
        begin, end = int(self.places[first]), int(self.places[last])
        with self.stamp.open() as file:
            file.seek(begin)
            text = file.read(end - begin)
        try:
            numbers = text.replace(b"\n", b",").rstrip(b",\r").split(b",")
            rows: AnyArray = np.array(numbers, np.float64).reshape(-1, n_columns)
        except ValueError as error:
            raise SourceError(
                f"{self.label}: a line is not of {n_columns} numbers ({error}); copy it again."
            ) from error
        scales = np.array([scale for _, _, scale in SENSORS[self.name]])
        values: AnyArray = rows[start - first * _EVERY : stop - first * _EVERY] * scales
        return values


@dataclass(frozen=True, eq=False)
class EmpaticaRows(Rows):
    """Samples of sensors of one rate, float32, from the latest of their starts on.

    Attributes
    ----------
    parts : tuple of (Sensor, int, tuple of int)
        A sensor, its row that is the first of these, and which of its columns these are.
    n_rows : int
    label : str
        How errors name the folder.
    """

    parts: tuple[tuple[Sensor, int, tuple[int, ...]], ...]
    n_rows: int
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.n_rows, sum(len(columns) for _, _, columns in self.parts))

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, which has more digits than the files."""
        return np.dtype(np.float32)

    @property
    def block_rows(self) -> int:
        """As many rows as lie between known places."""
        return max(1, min(_EVERY, self.n_rows))

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, self.shape[1]), np.float32)
        for at in range(start, stop, 8 * _EVERY):
            upto, column = min(stop, at + 8 * _EVERY), 0
            for sensor, first, columns in self.parts:
                values = sensor.read(first + at, first + upto)[:, columns]
                out[at - start : upto - start, column : column + len(columns)] = values
                column += len(columns)
        return out


def _indexed(file: SourceFile) -> Sensor:
    """Read the head of a file, and find where rows begin."""
    name = os.path.basename(file.origin)
    with opened(file.path, file.origin) as (stream, stamp):
        start_s, rate_hz = (_first_number(stream, file.origin) for _ in range(2))
        if not (np.isfinite(start_s) and 0 < rate_hz < np.inf):
            raise SourceError(f"{file.origin}: a rate of {rate_hz:g} Hz cannot be; copy it again.")
        at, n_rows, ended = stream.tell(), 0, True
        places = [at]
        while block := stream.read(_BLOCK_BYTES):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1
            wanted = np.arange(-n_rows % _EVERY - 1, len(ends), _EVERY)
            places += (at + ends[wanted[wanted >= 0]]).tolist()
            n_rows, at, ended = n_rows + len(ends), at + len(block), block[-1:] == b"\n"
        n_rows += not ended
    places += [at] * (-(-n_rows // _EVERY) + 1 - len(places))
    return Sensor(
        name=name,
        stamp=stamp,
        start_s=start_s,
        rate_hz=rate_hz,
        places=np.array(places, np.int64),
        n_rows=n_rows,
        label=file.origin,
    )


def _first_number(stream: BinaryIO, where: str) -> float:
    line = stream.readline(_HEAD_BYTES)
    try:
        return float(line.split(b",")[0])
    except ValueError as error:
        raise SourceError(
            f"{where}: its first lines are not start and rate, as those of an E4 are."
        ) from error


def _is_one(file: SourceFile) -> bool:
    """Return whether a file has the name of one, and begins with a start and a rate."""
    if os.path.basename(file.origin) not in SENSORS or not isinstance(file.path, str):
        return False
    with opened(file.path, file.origin) as (stream, _):
        try:
            start_s, rate_hz = (_first_number(stream, file.origin) for _ in range(2))
        except SourceError:
            return False
    return start_s > _LEAST_START_S and 0 < rate_hz <= _MOST_HZ


def _beside(file: SourceFile) -> dict[str, SourceFile]:
    """Return the files of a folder that are those of an E4, by name."""
    folder = os.path.dirname(local_path(file, "a folder of Empatica"))
    found = {}
    for name in ALL_FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            origin = f"{file.folder}/{name}" if file.folder else name
            found[name] = SourceFile(path, origin, name)
    return found


def _signal_file(file: SourceFile) -> SignalFile:
    folder, by_name = file.folder or file.origin, _beside(file)
    sensors = [_indexed(by_name[name]) for name in SENSORS if name in by_name]
    sensors = [it for it in sensors if it.n_rows]
    if not sensors:
        raise SourceError(f"{folder}: all of its files of sensors are empty; leave it out.")
    names = [name for it in sensors for name, _, _ in SENSORS[it.name]]
    return SignalFile(
        origin=folder,
        name=os.path.basename(os.path.dirname(str(file.path))),
        found=f"a folder of an Empatica E4 of {len(sensors)} sensors",
        pick=partial(_pick, folder, sensors, names),
        first_s=lambda options: _chosen(folder, sensors, names, options)[3],
        annotations=partial(_annotations, folder, sensors, names, by_name.get(TAGS)),
        paths=tuple(it.path for it in by_name.values() if isinstance(it.path, str)),
    )


def _chosen(
    folder: str, sensors: Sequence[Sensor], names: Sequence[str], options: SourceOptions
) -> tuple[list[tuple[Sensor, tuple[int, ...]]], tuple[int, ...], frozenset[str], float]:
    """Return sensors with their columns, the picks, what is by hand, and when rows start."""
    picks, by_hand = chosen(names, options, folder)
    of_name = [(it, at) for it in sensors for at in range(len(SENSORS[it.name]))]
    found: list[tuple[Sensor, tuple[int, ...]]] = []
    for pick in picks:
        sensor, column = of_name[pick]
        if found and found[-1][0] is sensor:
            found[-1] = (sensor, (*found[-1][1], column))
        else:
            found.append((sensor, (column,)))
    refuse_several_rates([(names[it], of_name[it][0].rate_hz) for it in picks], folder)
    return found, picks, by_hand, max(it.start_s for it, _ in found)


def _pick(
    folder: str, sensors: Sequence[Sensor], names: Sequence[str], options: SourceOptions
) -> tuple[EmpaticaRows, Description]:
    found, picks, by_hand, start_s = _chosen(folder, sensors, names, options)
    rate_hz = found[0][0].rate_hz
    parts = tuple((it, round((start_s - it.start_s) * rate_hz), columns) for it, columns in found)
    n_rows = min(it.n_rows - first for it, first, _ in parts)
    if n_rows <= 0:
        raise SourceError(f"{folder}: its sensors were never on at the same time; choose one.")
    units = [unit for it in sensors for _, unit, _ in SENSORS[it.name]]
    return EmpaticaRows(parts, n_rows, folder), Description(
        channels=tuple(names[it] for it in picks),
        units=tuple(units[it] for it in picks),
        rate_hz=rate_hz,
        by_hand=by_hand,
    )


def _annotations(
    folder: str,
    sensors: Sequence[Sensor],
    names: Sequence[str],
    tags: SourceFile | None,
    options: SourceOptions,
) -> list[Annotation]:
    """Return the moments at which the button was pressed."""
    start_s = _chosen(folder, sensors, names, options)[3]
    if tags is None:
        return []
    with opened(tags.path, tags.origin) as (stream, _):
        lines = stream.read(_BLOCK_BYTES).split()
    try:
        return [Annotation(float(it) - start_s, 0.0, "tag") for it in lines]
    except ValueError as error:
        raise SourceError(f"{tags.origin}: a line is not a time ({error}).") from error


def _parts(files: Sequence[SourceFile]) -> set[str]:
    """Return all files of each folder but the one that stands for it."""
    folders: dict[str, list[str]] = {}
    for file in files:
        if os.path.basename(file.origin) in SENSORS:
            folders.setdefault(file.folder, []).append(file.origin)
    return {it for some in folders.values() for it in sorted(some)[1:]}


FORMAT = signal_format(
    lambda file: _signal_file(file).contents(),
    suffixes=tuple(it.lower() for it in SENSORS),
    parts=_parts,
    recognises=_is_one,
    name="Empatica E4",
)
