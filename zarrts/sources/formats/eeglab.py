"""EEGLAB data sets: a `.set` file, and perhaps a `.fdt` file beside it that holds the samples.

A `.set` file is a MATLAB file of one struct, EEG, or of its fields. The samples are its field data:
an array (channel, time) or (channel, time, epoch); or the name of a file of float32, channel by
channel for each time step. Events are counted in samples from 1; an event "boundary" says that
something was cut out before it.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats import matlab
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Draft, Findings
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.edf_labels import labels_of
from zarrts.sources.formats.format import Format
from zarrts.sources.rows.array_checks import check_rows
from zarrts.sources.rows.files import SourceFile, ahead, beside, opened
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.sources.rows.views import ConstantRows, ValueRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import AnyArray, Description, LabelsPer, RowReader

DATA, EVENTS = "data", "events"
_UNIT = "uV"  # in which EEGLAB keeps EEG
_BOUNDARY = "boundary"
_AXES = ("sample", "channel", "time")


@dataclass(frozen=True)
class _DataSet:
    """An opened data set."""

    file: SourceFile
    contents: Contents
    start: str

    @staticmethod
    def of(file: SourceFile, contents: Contents) -> "_DataSet":
        names = contents.names
        start = next((it for it in ("EEG.", "") if f"{it}data" in names), None)
        if start is None or f"{start}srate" not in names:
            raise SourceError(
                f"{file.origin}: holds no data set of EEGLAB, which has the fields data and srate."
            )
        return _DataSet(file, contents, start)

    def values(self, name: str) -> AnyArray | None:
        """Return the values of a small field, None where it is not there or empty."""
        full = self.start + name
        if full not in self.contents.names:
            return None
        try:
            rows = self.contents.reader(full, "y", SourceOptions())
        except SourceError:
            return None  # empty, as MATLAB has it
        if isinstance(rows, RowReader):
            return rows.read(0, rows.shape[0])
        values = [it.read(0, it.shape[0]) for it in rows.readers]
        return np.array([it[0] if len(it) else np.nan for it in values])

    def number(self, name: str, usual: float | None = None) -> float:
        """Return a field that is one number."""
        found = self.values(name)
        if found is None or found.size != 1 or found.dtype.kind not in "iuf":
            if usual is not None:
                return usual
            raise SourceError(f"{self.file.origin}: its {name} is not a number; save it again.")
        return float(found.reshape(-1)[0])

    @property
    def rate_hz(self) -> float:
        rate = self.number("srate")
        if not 0 < rate < math.inf:
            raise SourceError(f"{self.file.origin}: a rate of {rate} Hz is none.")
        return rate

    def rows(self) -> tuple[RowReader, list[Any]]:
        """Return the samples, (time, channel) or (epoch, time, channel), and files beside it."""
        n_channels, n_times = int(self.number("nbchan")), int(self.number("pnts"))
        n_epochs = int(self.number("trials", 1))
        shape = (n_channels, n_times) if n_epochs == 1 else (n_channels, n_times, n_epochs)
        name = f"{self.start}data"
        text = self.values("data") if self._is_text(name) else None
        if text is not None:
            return self._beside(str(text[0]), shape)
        axes = _AXES[1:] if n_epochs == 1 else (*_AXES[1:], "sample")
        rows = self.contents.reader(name, "x", SourceOptions(axes=axes))
        assert isinstance(rows, RowReader)
        expected = shape[::-1]
        if rows.shape != expected:
            raise SourceError(
                f"{self.file.origin}: its data have the shape {rows.shape}, but nbchan, pnts and "
                f"trials say {expected}; save it again."
            )
        return rows, []

    def _is_text(self, name: str) -> bool:
        return self.contents.summary(name).endswith("char")

    def _beside(self, named: str, shape: tuple[int, ...]) -> tuple[RowReader, list[Any]]:
        if os.path.basename(named.replace("\\", "/")) != named:
            raise SourceError(
                f"{self.file.origin}: its samples are in {named!r}, which is not beside it; put "
                "that file into the same folder, and save the data set there."
            )
        # Who renames a data set often forgets what it says of itself.
        stem = self.file.origin.rpartition("/")[2].rpartition(".")[0]
        for name in (named, f"{stem}.fdt"):
            place: Any = beside(self.file.path, name)
            if isinstance(self.file.path, str) and os.path.isfile(place):
                break
        else:
            raise SourceError(
                f"{self.file.origin}: its samples are in {named!r}, which is not there; put that "
                "file beside it (on this machine)."
            )
        where = f"{self.file.origin}: {name}"
        with opened(place, where) as (_, stamp):
            pass
        layout = ByteLayout.of(np.dtype("<f4"), shape[::-1], is_fortran=False)
        if layout.total_bytes != stamp.size:
            raise SourceError(
                f"{where}: has {stamp.size:,} bytes, but {shape} samples of 4 bytes are "
                f"{layout.total_bytes:,}; copy it again."
            )
        # (time, epoch) are one axis there, channels the fastest.
        return StridedRows(stamp, 0, layout, where), [place]

    def description(self) -> Description:
        """Return names of channels, their unit and rate."""
        n_channels = int(self.number("nbchan"))
        labels = self.values("chanlocs.labels")
        is_named = labels is not None and labels.dtype.kind == "U" and len(labels) == n_channels
        names = tuple(map(str, labels)) if is_named and labels is not None else None
        if names is not None and (len({*names}) < len(names) or "" in names):
            names = None
        return Description(channels=names, units=(_UNIT,) * n_channels, rate_hz=self.rate_hz)

    # Events ------------------------------------------------------------------------------------

    def events(self) -> list[tuple[float, float, str]]:
        """Return (row, how many rows, text) of events; rows are counted from 0."""
        latencies, types = self.values("event.latency"), self.values("event.type")
        if latencies is None or types is None or len(latencies) != len(types):
            return []
        durations = self.values("event.duration")
        if durations is None or durations.dtype.kind not in "iuf" or len(durations) != len(types):
            durations = np.zeros(len(types))
        lasting = np.nan_to_num(durations.astype(np.float64))
        rows = latencies.astype(np.float64).reshape(-1) - 1
        texts = [_text(it) for it in types.reshape(-1).tolist()]
        return list(zip(rows.tolist(), lasting.reshape(-1).tolist(), texts, strict=True))

    def gaps(self) -> Gaps | None:
        """Return where something was cut out."""
        found = {
            math.ceil(row): lasting / self.rate_hz
            for row, lasting, text in self.events()
            if text == _BOUNDARY and row > 0
        }
        rows = sorted(found)
        return Gaps.of(rows, [found[it] or math.nan for it in rows])

    def labels(self, n_rows: int, is_epoched: bool, options: SourceOptions) -> RowReader:
        """Return the labels of rows, by events; or of epochs, by what happened at time 0.

        Raises
        ------
        SourceError
            If there are none, or several.
        """
        origin, rate_hz = self.file.origin, self.rate_hz
        events = [it for it in self.events() if it[2] != _BOUNDARY]
        if not is_epoched:
            annotations = [Annotation(row / rate_hz, n / rate_hz, text) for row, n, text in events]
            return labels_of(annotations, rate_hz, n_rows, options, origin)
        n_times = int(self.number("pnts"))
        zero = -self.number("xmin", 0.0) * rate_hz  # row of an epoch at time 0
        texts: list[set[str]] = [set() for _ in range(n_rows)]
        for row, _, text in events:
            number = int(row // n_times)
            if 0 <= number < n_rows and abs(row - number * n_times - zero) < 0.5:
                texts[number].add(text)
        unclear = [number + 1 for number, some in enumerate(texts) if len(some) != 1]
        if unclear:
            raise SourceError(
                f"{origin}: {len(unclear):,} of {n_rows:,} epochs, such as {unclear[0]}, have not "
                "exactly one event at time 0, which would be its label; give labels in a table "
                "(table=), or say y=False (--no-y)."
            )
        return ValueRows(np.array([next(iter(some)) for some in texts], np.str_))


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give samples and events of a data set.

    Raises
    ------
    SourceError
        If it is damaged, or is not one.
    """
    with matlab.open_contents(file) as inside:
        found = _DataSet.of(file, inside)
        rows, more = found.rows()
        check_rows(rows.shape, file.origin)

        def reader(name: str, role: Role, options: SourceOptions) -> RowReader:
            if options.axes is not None:
                raise SourceError(
                    f"{file.origin}: axes= is not needed: data sets of EEGLAB say what they are."
                )
            if name == DATA:
                if role == "y":
                    raise SourceError(f"{file.origin}: its samples cannot be labels.")
                return rows
            return found.labels(rows.shape[0], len(rows.shape) == 3, options)

        yield Contents(
            names=(DATA, EVENTS),
            found="a data set of EEGLAB",
            shape=lambda name: rows.shape,
            summary=lambda name: name,
            reader=reader,
            description=lambda name, options: found.description(),
            more_paths=more,
            gaps=lambda name, options: found.gaps() if len(rows.shape) == 2 else None,
        )


def _find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    def draft(file: SourceFile) -> list[Draft]:
        with matlab.open_contents(file) as inside:
            found = _DataSet.of(file, inside)
            rows, more = found.rows()
            check_rows(rows.shape, file.origin)
            is_epoched = len(rows.shape) == 3
            labels_per: LabelsPer = "sample" if is_epoched else "row"
            y: RowReader
            if options.is_unlabelled:
                y = ConstantRows("", rows.shape[0] if is_epoched else 1)
                labels_per = "sample" if is_epoched else "recording"
            else:
                y = found.labels(rows.shape[0], is_epoched, options)
            return [
                Draft(
                    origin=file.origin,
                    name=file.stem,
                    path_name="/".join(part for part in (file.folder, file.stem) if part),
                    paths=(file.path, *more),
                    x=rows,
                    y=y,
                    x_name=DATA,
                    y_name=EVENTS,
                    found=f"a data set of EEGLAB{' with its .fdt file' if more else ''}",
                    description=found.description(),
                    labels_per=labels_per,
                    gaps=None if is_epoched else found.gaps(),
                )
            ]

    findings.drafts += findings.collect("file", ahead(files), draft)


FORMAT = Format(
    name="EEGLAB",
    suffixes=(".set",),
    open=open_contents,
    group=_find_drafts,
    needs=("h5py",),
    extra="mat",
    partial="version 7.3",
)
