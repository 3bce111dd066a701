"""Streams of a file of the Lab Streaming Layer (`zarrts[xdf]`), which pyxdf loads whole.

A stream of numbers at a rate is an array of its own name; streams of text without a rate are
annotations. Time stamps are as they were sent: where they jump there is a gap, and they are not
smoothed, since pyxdf spreads a short gap over the whole recording.
"""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.formats.libraries import local_path, needed, opening
from zarrts.sources.formats.signal_file import (
    ANNOTATIONS,
    SIGNALS,
    chosen,
    refuse_changes,
    signal_format,
    stamps_of,
)
from zarrts.sources.rows.files import FileStamp, SourceFile, opened
from zarrts.sources.rows.reader import Rows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import AnyArray, Description, RowReader

MAX_BYTES = 64 << 20
"""Of a file, all of which is in memory, more than once, while it is read."""

_MAGIC = b"XDF:"
_LEAST_GAP_S = 0.5


class Loaded:
    """The streams of a file, loaded when they are asked for; not part of a pickle."""

    def __init__(self, path: str, origin: str) -> None:
        self._path, self._origin = path, origin
        self._streams: list[dict[str, Any]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Loaded, (self._path, self._origin)

    def streams(self) -> list[dict[str, Any]]:
        """Return all streams, as pyxdf gives them."""
        found = self._streams
        if found is None:
            pyxdf = needed("pyxdf", "xdf", "XDF files", self._origin)
            with opening(self._origin, "pyxdf"):
                found, _ = pyxdf.load_xdf(
                    self._path, dejitter_timestamps=False, synchronize_clocks=True
                )
            self._streams = found
        return found

    def close(self) -> None:
        """Let go of the streams."""
        self._streams = None


@dataclass(frozen=True, eq=False)
class XdfRows(Rows):
    """Samples of some channels of a stream.

    Attributes
    ----------
    loaded : Loaded
    number : int
        Of the stream.
    columns : tuple of int
    n_rows : int
    to : dtype
    stamps : tuple of FileStamp
    label : str
        How errors name the file.
    """

    loaded: Loaded
    number: int
    columns: tuple[int, ...]
    n_rows: int
    to: np.dtype[Any]
    stamps: tuple[FileStamp, ...]
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.n_rows, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the stream has it."""
        return self.to

    def _read(self, start: int, stop: int) -> AnyArray:
        refuse_changes(self.stamps)
        series = self.loaded.streams()[self.number]["time_series"]
        return np.array(series[start:stop][:, list(self.columns)], self.to, order="C")

    def close(self) -> None:
        """Let go of the streams."""
        self.loaded.close()


class _File:
    """A loaded file; used within one `with` block."""

    def __init__(self, file: SourceFile) -> None:
        self.origin, self.path = file.origin, local_path(file, "pyxdf")
        n_bytes = os.path.getsize(self.path)
        if n_bytes > MAX_BYTES:
            raise SourceError(
                f"{self.origin}: has {n_bytes:,} bytes, and pyxdf loads a file whole, which is "
                f"done up to {MAX_BYTES:,}; load it with pyxdf, and give a zarrts.Recording."
            )
        with opened(self.path, self.origin) as (stream, _):
            if stream.read(len(_MAGIC)) != _MAGIC:  # pyxdf would leave it open
                raise SourceError(f"{self.origin}: is not an XDF file; copy it again.")
        self.stamps = stamps_of((self.path,), self.origin)
        self.loaded = Loaded(self.path, self.origin)
        streams = self.loaded.streams()
        are_signals = [
            _rate(it) > 0 and isinstance(it["time_series"], np.ndarray) and len(it["time_series"])
            for it in streams
        ]
        self.marks = [it for it in streams if isinstance(it["time_series"], list)]
        names = [_named(it) for it in streams]
        numbers = [number for number, is_one in enumerate(are_signals) if is_one]
        counts = Counter(names[it] for it in numbers)
        twice = sorted(name for name, n in counts.items() if n > 1)
        if twice or not numbers:
            what = f"several streams named {listed(twice)}" if twice else "no stream of a rate"
            raise SourceError(f"{self.origin}: has {what}; load it with pyxdf instead.")
        for number in numbers:
            n_said, n_rows = _said_rows(streams[number]), len(streams[number]["time_series"])
            if n_said != n_rows:
                said = "nothing says how many were" if n_said is None else f"{n_said:,} were"
                raise SourceError(
                    f"{self.origin}: the stream {names[number]} ends after {n_rows:,} samples, and "
                    f"{said} recorded; copy it again, or load it with pyxdf, and give a "
                    "zarrts.Recording."
                )
        self.streams = (
            {SIGNALS: numbers[0]} if len(numbers) == 1 else {names[it]: it for it in numbers}
        )

    def contents(self) -> Contents:
        """Return the streams of numbers, and the annotations."""
        return Contents(
            names=(*self.streams, ANNOTATIONS),
            found=f"an XDF file of {len(self.streams)} streams, loaded whole",
            shape=lambda name: self._series(name).shape if name in self.streams else (0,),
            summary=self._summary,
            reader=self._reader,
            description=lambda name, options: self._pick(name, options)[1],
            gaps=lambda name, options: self._gaps(name),
            first_s=self._first_s,
        )

    def _summary(self, name: str) -> str:
        return f"{name} {self._series(name).shape}" if name in self.streams else name

    def _series(self, name: str) -> AnyArray:
        series: AnyArray = self.loaded.streams()[self.streams[name]]["time_series"]
        return series

    def _reader(self, name: str, role: Role, options: SourceOptions) -> RowReader:
        if name != ANNOTATIONS:
            if role == "y":
                raise SourceError(f"{self.origin}: its signals cannot be labels.")
            return self._pick(name, options)[0]
        name = options.x if options.x in self.streams else next(iter(self.streams))
        rows, description = self._pick(name, options)
        assert description.rate_hz is not None
        annotations = self._annotations(name)
        n_rows, gaps = rows.shape[0], self._gaps(name)
        return labels_of(annotations, description.rate_hz, n_rows, options, self.origin, gaps=gaps)

    def _pick(self, name: str, options: SourceOptions) -> tuple[XdfRows, Description]:
        number = self.streams[name]
        info = self.loaded.streams()[number]["info"]
        series = self._series(name)
        labels, units = _channels(info, series.shape[1])
        picks, by_hand = chosen(labels, options, self.origin)
        rows = XdfRows(
            self.loaded, number, picks, len(series), series.dtype, self.stamps, self.origin
        )
        return rows, Description(
            channels=tuple(labels[it] for it in picks) if len({*labels}) == len(labels) else None,
            units=tuple(units[it] for it in picks) if any(units) else None,
            rate_hz=_rate(self.loaded.streams()[number]),
            by_hand=by_hand,
        )

    def _first_s(self, name: str) -> float:
        return float(self.loaded.streams()[self.streams[name]]["time_stamps"][0])

    def _gaps(self, name: str) -> Gaps | None:
        if name not in self.streams:
            return None
        stream = self.loaded.streams()[self.streams[name]]
        times, rate_hz = np.asarray(stream["time_stamps"], np.float64), _rate(stream)
        steps = np.diff(times)
        rows = np.flatnonzero(steps > max(_LEAST_GAP_S, 2 / rate_hz)) + 1
        return Gaps.of(rows, steps[rows - 1] - 1 / rate_hz)

    def _annotations(self, name: str) -> list[Annotation]:
        """Return the texts of all streams of text, as moments from the first row on."""
        first_s = self._first_s(name)
        return [
            Annotation(float(at) - first_s, 0.0, str(texts[0]))
            for it in self.marks
            for at, texts in zip(it["time_stamps"], it["time_series"], strict=True)
        ]


def _named(stream: dict[str, Any]) -> str:
    return str((stream["info"].get("name") or [""])[0] or "stream")


def _said_rows(stream: dict[str, Any]) -> int | None:
    """Return how many samples the end of a file says there are; None if there is no end."""
    with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):
        return int(stream["footer"]["info"]["sample_count"][0])
    return None


def _rate(stream: dict[str, Any]) -> float:
    return float((stream["info"].get("nominal_srate") or [0])[0] or 0)


def _channels(info: dict[str, Any], n: int) -> tuple[list[str], list[str]]:
    """Return labels and units of channels; numbers, and nothing, where the stream says none."""
    labels, units = [str(it) for it in range(1, n + 1)], [""] * n
    with contextlib.suppress(KeyError, IndexError, TypeError):
        said = info["desc"][0]["channels"][0]["channel"]
        if len(said) == n:
            labels = [str((it.get("label") or [str(i)])[0]) for i, it in enumerate(said, 1)]
            units = [str((it.get("unit") or [""])[0] or "") for it in said]
    return labels, ["uV" if it == "microvolts" else it for it in units]


FORMAT = signal_format(
    lambda file: _File(file).contents(),
    suffixes=(".xdf",),
    name="XDF",
    needs=("pyxdf",),
    extra="xdf",
)
