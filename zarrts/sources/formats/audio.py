"""Sound files, WAV and FLAC, read by pieces through soundfile."""

import contextlib
import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.drafts import Draft, Findings, draft_of
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.libraries import needed
from zarrts.sources.rows.array_checks import check_rows
from zarrts.sources.rows.files import SourceFile, Stamp, ahead, opened
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.views import ConstantRows
from zarrts.sources.source_options import Role, SourceOptions
from zarrts.types import AnyArray, Description, RowReader

SIGNAL = "signal"
_WIDE = ("PCM_32", "DOUBLE")
_BLOCK_ROWS = 4096
_UNKNOWN_BYTES = 0xFFFFFFFF  # of a stream whose end was not known when its header was written


@contextlib.contextmanager
def _open_sound(stream: BinaryIO, where: str) -> Iterator[Any]:
    soundfile = needed("soundfile", "audio", "WAV and FLAC files", where)
    try:
        with soundfile.SoundFile(stream) as sound:
            yield sound
    except soundfile.SoundFileError as error:
        raise SourceError(
            f"{where}: cannot be read, or is damaged ({error}); copy or save it again."
        ) from error


@dataclass(frozen=True)
class SoundRows(Rows):
    """Samples of a sound file, (time, channel), from -1 to 1 as soundfile gives them.

    Attributes
    ----------
    stamp : Stamp
    n_frames, n_channels : int
    is_wide : bool
        float64, because float32 does not hold all values.
    label : str
        Name of the file in errors.
    """

    stamp: Stamp
    n_frames: int
    n_channels: int
    is_wide: bool
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.n_frames, self.n_channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, which holds all values of 24 bits, or float64."""
        return np.dtype(np.float64 if self.is_wide else np.float32)

    @property
    def block_rows(self) -> int:
        """As many as a block of FLAC has, about."""
        return max(1, min(_BLOCK_ROWS, self.n_frames))

    def _read(self, start: int, stop: int) -> AnyArray:
        if start == stop:
            return np.empty((0, self.n_channels), self.dtype)
        with (
            self.stamp.open() as raw,
            io.BufferedReader(cast(io.RawIOBase, raw)) as stream,
            _open_sound(stream, self.label) as sound,
        ):
            sound.seek(start)
            found: AnyArray = sound.read(stop - start, dtype=self.dtype.name, always_2d=True)
        if found.shape != (stop - start, self.n_channels):
            raise SourceError(
                f"{self.label}: rows {start:,} to {stop:,} were asked for, but {len(found):,} "
                "came: the file is cut short; copy or save it again."
            )
        return np.ascontiguousarray(found)


@contextlib.contextmanager
def open_contents(file: SourceFile) -> Iterator[Contents]:
    """Give the only array of a sound file.

    Raises
    ------
    SourceError
        If it is damaged, cut short, or soundfile is not installed.
    """
    with opened(file.path, file.origin) as (stream, stamp):
        _refuse_cut(stream, stamp.size, file.origin)
        stream.seek(0)
        with _open_sound(stream, file.origin) as sound:
            rows = SoundRows(
                stamp, sound.frames, sound.channels, sound.subtype in _WIDE, stamp.path
            )
            rate_hz, kind = float(sound.samplerate), f"{sound.format} {sound.subtype}"
    check_rows(rows.shape, file.origin)

    def reader(name: str, role: Role, options: SourceOptions) -> RowReader:
        if role == "y":
            raise SourceError(f"{file.origin}: a sound file holds no labels.")
        if options.axes is not None and tuple(options.axes) != ("time", "channel"):
            raise SourceError(f"{file.origin}: axes= is not needed: sound is (time, channel).")
        return rows

    yield Contents(
        names=(SIGNAL,),
        found=f"a sound file ({kind})",
        shape=lambda name: rows.shape,
        summary=lambda name: f"{name} {rows.shape} {kind}",
        reader=reader,
        description=lambda name, options: Description(channels=None, units=None, rate_hz=rate_hz),
    )


def _refuse_cut(stream: BinaryIO, size: int, where: str) -> None:
    """Raise SourceError where a WAV file holds fewer samples than it declares.

    libsndfile takes what is there without a word.
    """
    head = stream.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
        return  # another format, or nothing; soundfile says which
    order = "<" if head[:4] == b"RIFF" else ">"
    at = 12
    while at + 8 <= size:
        stream.seek(at)
        name, n_bytes = struct.unpack(f"{order}4sI", stream.read(8))
        if name == b"data":
            if n_bytes != _UNKNOWN_BYTES and at + 8 + n_bytes > size:
                raise SourceError(
                    f"{where}: declares {n_bytes:,} bytes of samples, but {size - at - 8:,} are "
                    "there; copy or save it again."
                )
            return
        at += 8 + n_bytes + n_bytes % 2


def _find_drafts(files: Sequence[SourceFile], options: SourceOptions, findings: Findings) -> None:
    def draft(file: SourceFile) -> list[Draft]:
        with open_contents(file) as contents:
            if not options.is_unlabelled:
                raise SourceError(
                    f"{file.origin}: a sound file holds no labels: put it into a folder named as "
                    "its class (folders='classes'), give labels in a table (table=), or say "
                    "y=False (--no-y)."
                )
            found = draft_of(file, contents, options)
            return [replace(found, y=ConstantRows("", 1), labels_per="recording")]

    findings.drafts += findings.collect("file", ahead(files), draft)


FORMAT = Format(
    name="WAV, FLAC",
    suffixes=(".wav", ".flac"),
    open=open_contents,
    group=_find_drafts,
    needs=("soundfile",),
    extra="audio",
)
