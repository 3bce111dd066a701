"""Recordings of wearables that actipy decodes (`zarrts[actipy]`): .gt3x, .cwa, .bin.

actipy needs Java. It reads such a file from its beginning to its end, within bounded memory, into a
file on the disk. That is done once, when a file is found; rows are read from there. Values are as
the device wrote them: not filtered, calibrated or resampled. Where its clock jumps there is a gap.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.libraries import as_source_error, local_path, needed
from zarrts.sources.formats.signal_file import (
    SignalFile,
    chosen,
    refuse_changes,
    signal_format,
    stamps_of,
)
from zarrts.sources.rows.files import FileStamp, SourceFile, opened
from zarrts.sources.rows.reader import Rows
from zarrts.sources.source_options import SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import AnyArray, Description

DEVICES = {".gt3x": "ActiGraph", ".cwa": "Axivity", ".bin": "GENEActiv"}
UNITS = {
    **{"x": "g", "y": "g", "z": "g", "temperature": "degC"},
    **{"gyro_x": "deg/s", "gyro_y": "deg/s", "gyro_z": "deg/s"},
}
"""Units of columns; light is in counts of the device."""

LEAST_GAP_S = 1.0
"""Shorter steps between time stamps are those of a clock that drifts."""

_GENEACTIV = b"Device Identity"
_PIECE_ROWS = 1 << 15


class Spool:
    """The output of actipy for a file, in a temporary folder that is deleted with this object.

    Its pickle is the name of the source: another process decodes it anew. The lock guards the
    folder; whoever reads has the file open, and keeps what it reads.
    """

    def __init__(self, path: str, label: str) -> None:
        self._path, self._label = path, label
        self._lock = threading.Lock()
        self._folder: str | None = None
        self._finalizer: Any = None
        self.facts: dict[str, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Spool, (self._path, self._label)

    def opened(self) -> BinaryIO:
        """Open the decoded file, behind its header; decodes where that was not done."""
        with self._lock:
            if self._folder is None:
                self._decode()
            file = open(os.path.join(self._folder or "", "data.npy"), "rb")  # noqa: SIM115
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file

    def dtype_and_rows(self) -> tuple[np.dtype[Any], int]:
        """Return the dtype of a decoded row, with a field for each column, and how many."""
        with self.opened() as file:
            file.seek(0)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return dtype, int(shape[0])

    def _decode(self) -> None:
        actipy = needed("actipy.reader", "actipy", "files of wearables", self._label)
        if shutil.which("java") is None:
            raise SourceError(
                f"{self._label}: is read with actipy, which needs Java, and there is no program "
                "java; install a Java runtime, such as openjdk."
            )
        folder = tempfile.mkdtemp(prefix="zarrts-actipy-")
        finalizer = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            with as_source_error(self._label, "actipy"), _quiet():
                self.facts = dict(actipy.java_read_device(self._path, folder, verbose=False))
        except BaseException:
            finalizer()
            raise
        self._folder, self._finalizer = folder, finalizer

    def close(self) -> None:
        """Delete what was decoded; it is made again where it is needed."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._folder = self._finalizer = None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Name the exit status of the decoder, whose own words go to the terminal."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        raise OSError(f"its decoder ended with status {error.returncode}") from error


@dataclass(frozen=True, eq=False)
class ActipyRows(Rows):
    """Samples of some columns, float32.

    Attributes
    ----------
    spool : Spool
    columns : tuple of str
    n_rows : int
    stamps : tuple of FileStamp
    label : str
        How errors name the file.
    """

    spool: Spool
    columns: tuple[str, ...]
    n_rows: int
    stamps: tuple[FileStamp, ...]
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, column)."""
        return (self.n_rows, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, as actipy decodes."""
        return np.dtype(np.float32)

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, len(self.columns)), np.float32)
        refuse_changes(self.stamps)
        dtype, _ = self.spool.dtype_and_rows()
        with self.spool.opened() as file:
            file.seek(start * dtype.itemsize, os.SEEK_CUR)
            for at in range(0, stop - start, _PIECE_ROWS):
                values = np.fromfile(file, dtype, min(_PIECE_ROWS, stop - start - at))
                for column, name in enumerate(self.columns):
                    out[at : at + len(values), column] = values[name]
        return out

    def close(self) -> None:
        """Delete what was decoded."""
        self.spool.close()


def _find_gaps(spool: Spool, rate_hz: float, label: str) -> Gaps | None:
    """Return the rows before which time stamps jump.

    Raises
    ------
    SourceError
        If time goes backwards by more than the clock drifts.
    """
    rows: list[int] = []
    seconds: list[float] = []
    dtype, n_rows = spool.dtype_and_rows()
    last, least = None, max(LEAST_GAP_S, 2 / rate_hz)
    with spool.opened() as file:
        for start in range(0, n_rows, _PIECE_ROWS):
            values = np.fromfile(file, dtype, min(_PIECE_ROWS, n_rows - start))
            times = values["time"].astype("M8[ns]").astype(np.int64) / 1e9
            steps = np.diff(times, prepend=times[0] if last is None else last)
            if (steps < -LEAST_GAP_S).any():
                row = start + int(np.argmax(steps < -LEAST_GAP_S))
                raise SourceError(
                    f"{label}: goes back in time by {-steps[row - start]:g} s at row {row:,}; read "
                    "it with actipy, and give what is right as zarrts.Recording."
                )
            jumps = np.flatnonzero(steps > least)
            rows += (start + jumps).tolist()
            seconds += (steps[jumps] - 1 / rate_hz).tolist()
            last = times[-1]
    return Gaps.of(rows, seconds)


class _Recording:
    """A decoded file; used within one `with` block."""

    def __init__(self, file: SourceFile) -> None:
        self.origin = file.origin
        self.path = local_path(file, "actipy")
        suffix = next(it for it in DEVICES if file.is_kind((it,)))
        self.device = DEVICES[suffix]
        self.stamps = stamps_of((self.path,), self.origin)
        self.spool = Spool(self.path, self.origin)
        dtype, self.n_decoded = self.spool.dtype_and_rows()
        facts = self.spool.facts
        self.rate_hz = float(facts["SampleRate"])
        if facts["ReadErrors"] or not self.n_decoded or self.rate_hz <= 0:
            raise SourceError(
                f"{self.origin}: actipy met {facts['ReadErrors']} errors and read "
                f"{self.n_decoded:,} rows of it; copy it again, or read it with actipy, and give "
                "what is right as zarrts.Recording."
            )
        self.columns = [it for it in dtype.names or () if it != "time"]
        self.gaps = _find_gaps(self.spool, self.rate_hz, self.origin)

    def signal_file(self) -> SignalFile:
        """Return it as what all such files are."""
        notes = []
        if self.gaps is not None:
            n_gaps, lost_s = len(self.gaps.rows), float(self.gaps.seconds.sum())
            shown = f"{n_gaps:,} gap{'s' if n_gaps > 1 else ''}"
            notes.append(f"has {shown} of {lost_s:g} s in all, which no window crosses")
        return SignalFile(
            origin=self.origin,
            found=f"a recording of {self.device}, decoded by actipy into a temporary file",
            pick=self.pick,
            annotations=lambda options: (),
            gaps=self.gaps,
            paths=(self.path,),
            notes=tuple(notes),
        )

    def pick(self, options: SourceOptions) -> tuple[ActipyRows, Description]:
        """Return rows and description of the columns that are asked for."""
        picks, by_hand = chosen(self.columns, options, self.origin)
        names = tuple(self.columns[at] for at in picks)
        rows = ActipyRows(self.spool, names, self.n_decoded, self.stamps, self.origin)
        description = Description(
            channels=names,
            units=tuple(UNITS.get(it, "") for it in names),
            rate_hz=self.rate_hz,
            by_hand=by_hand,
        )
        return rows, description


def _is_one(file: SourceFile) -> bool:
    """Return whether a `.bin` file is of a GENEActiv, whose text begins so."""
    if not file.is_kind((".bin",)):
        return True
    with opened(file.path, file.origin) as (stream, _):
        return stream.read(len(_GENEACTIV)) == _GENEACTIV


FORMATS = tuple(
    signal_format(
        lambda file: _Recording(file).signal_file().contents(),
        name=device,
        needs=("actipy",),
        extra="actipy",
        suffixes=(suffix,),
        recognises=_is_one,
    )
    for suffix, device in DEVICES.items()
)
