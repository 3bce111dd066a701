"""Headers and annotations of EDF, EDF+, BDF and BDF+ files.

The formats are those of edfplus.info ("European Data Format", Kemp 1992 and 2003) and of BioSemi:
256 bytes about the file, 256 about each signal, then data records; each holds some samples of
every signal, one signal after the other, as integers of 2 bytes (EDF) or 3 (BDF).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO

from zarrts.errors import SourceError
from zarrts.sources.formats.array_names import told_apart
from zarrts.sources.rows.strided import fill_from

MAX_SIGNALS = 4096
MAX_ANNOTATIONS = 1_000_000

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_MAX_DIGITS = 400
"""In one number. Writers that print the shortest exact decimal have 17, and never more than 310."""
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")


@dataclass(frozen=True)
class Signal:
    """One signal.

    Attributes
    ----------
    name : str
        As the file has it; of several signals of one name, with "#1", "#2", ... after it.
    unit : str
        Physical dimension, such as "uV"; "" where none is given.
    physical, digital : pair of float
        Values that correspond to each other, the least and the greatest; NaN where the header has
        no number. Many files have unused signals without limits: see `refuse_limits`.
    n_samples : int
        In each record.
    offset : int
        Of its bytes in a record.
    """

    name: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[float, float]
    n_samples: int
    offset: int


@dataclass(frozen=True)
class EdfHeader:
    """Header of a file.

    Attributes
    ----------
    signals, annotations : tuple of Signal
        Those of samples, and those of text.
    n_bytes, record_bytes, sample_bytes : int
        Of the header, of a record and of a sample.
    n_records : int
    duration_s : float
        Of a record.
    started : str
        Date and time, as they stand there.
    is_discontinuous : bool
        There are gaps between records.
    """

    signals: tuple[Signal, ...]
    annotations: tuple[Signal, ...]
    n_bytes: int
    record_bytes: int
    sample_bytes: int
    n_records: int
    duration_s: float
    started: str
    is_discontinuous: bool

    def rate_hz(self, signal: Signal) -> float:
        """Return samples per second."""
        return signal.n_samples / self.duration_s

    def started_at(self, where: str) -> datetime:
        """Return date and time of the first record; SourceError if they cannot be read."""
        try:
            return datetime.strptime(self.started, "%d.%m.%y %H.%M.%S")
        except ValueError as error:
            raise SourceError(
                f"{where}: starts at {self.started!r}, which is not a date and time; correct it."
            ) from error


def read_header(stream: BinaryIO, size: int, where: str) -> EdfHeader:
    """Read the header of a file of `size` bytes, and compare it with the size.

    Raises
    ------
    SourceError
        If it is no such file, is damaged, or has not exactly the bytes that it declares.
    """
    head = stream.read(256)
    is_bdf = head[:8] == b"\xffBIOSEMI"
    if len(head) < 256 or not (is_bdf or head[:8].strip() == b"0"):
        raise SourceError(f"{where}: is not an EDF or BDF file; copy or save it again.")
    text = head.decode("latin-1")
    n_signals = _count(text[252:256], "signals", where)
    if not 1 <= n_signals <= MAX_SIGNALS:
        raise SourceError(f"{where}: declares {n_signals:,} signals, not 1 to {MAX_SIGNALS:,}.")
    n_bytes, n_records = 256 * (1 + n_signals), _count(text[236:244], "records", where)
    if _count(text[184:192], "bytes of its header", where) != n_bytes:
        raise SourceError(f"{where}: its header is not of {n_bytes:,} bytes; copy it again.")
    if n_records < 0:
        raise SourceError(f"{where}: was not closed after recording; repair it with its program.")
    duration_s = _number(text[244:252], "duration of a record", where)
    table = stream.read(n_bytes - 256).decode("latin-1")
    if len(table) < n_bytes - 256:
        raise SourceError(f"{where}: ends inside its header; copy it again.")
    sample_bytes = 3 if is_bdf else 2
    signals, offset = [], 0
    for number in range(n_signals):
        it = _signal(table, number, n_signals, offset, where)
        signals.append(it)
        offset += it.n_samples * sample_bytes
    ordinary = [it for it in signals if it.name not in _ANNOTATIONS]
    header = EdfHeader(
        signals=tuple(
            replace(it, name=name)
            for it, name in zip(ordinary, told_apart([it.name for it in ordinary]), strict=True)
        ),
        annotations=tuple(it for it in signals if it.name in _ANNOTATIONS),
        n_bytes=n_bytes,
        record_bytes=offset,
        sample_bytes=sample_bytes,
        n_records=n_records,
        duration_s=duration_s,
        started=f"{text[168:176].strip()} {text[176:184].strip()}",
        is_discontinuous=text[192:197] in ("EDF+D", "BDF+D"),
    )
    declared = n_bytes + n_records * offset
    if declared != size:
        raise SourceError(
            f"{where}: has {size:,} bytes, but its header declares {declared:,} ({n_records:,} "
            f"records of {offset:,}); copy it again."
        )
    if header.signals and not duration_s > 0:
        raise SourceError(f"{where}: its records last {duration_s:g} s; correct the header.")
    return header


def _signal(table: str, number: int, n_signals: int, offset: int, where: str) -> Signal:
    def field(before: int, width: int) -> str:
        start = before * n_signals + number * width
        return table[start : start + width]

    name = field(0, 16).strip()
    about = f"{where}: signal {name!r}"
    limits = [_limit(field(before, 8)) for before in (104, 112, 120, 128)]
    n_samples = _count(field(216, 8), "samples in a record", about)
    if n_samples < 1:
        raise SourceError(f"{about} has {n_samples} samples in a record; correct the header.")
    unit = field(96, 8).strip()
    return Signal(name, unit, (limits[0], limits[1]), (limits[2], limits[3]), n_samples, offset)


def refuse_limits(signals: Sequence[Signal], where: str) -> None:
    """Raise SourceError where limits of signals that are read are equal, or no numbers.

    Their samples would have no value, or all the same one.
    """
    for kind, unit in (("digital", ""), ("physical", " in its unit")):
        pairs = [(it, it.digital if kind == "digital" else it.physical) for it in signals]
        bad = [(it, pair) for it, pair in pairs if not abs(pair[1] - pair[0]) > 0]
        if bad:
            _, (low, high) = bad[0]
            others = [one.name for one in signals if one not in [it for it, _ in bad]]
            shown = "no numbers" if math.isnan(low - high) else f"{low:g} and {high:g}"
            names = ", ".join(dict.fromkeys(it.name for it, _ in bad))
            raise SourceError(
                f"{where}: the {kind} limits of {names} are {shown}, so that no sample has a value"
                f"{unit}; "
                + (
                    f"leave it out with channels={others!r} (--channels), or correct the header."
                    if others
                    else "correct the header."
                )
            )


def _limit(text: str) -> float:
    try:
        return _number(text, "limit", "")
    except SourceError:
        return math.nan


def _number(text: str, what: str, where: str) -> float:
    text = text.strip(" \0")
    if not _NUMBER.fullmatch(text) or len(text) > _MAX_DIGITS or math.isinf(float(text)):
        raise SourceError(
            f"{where}: its {what} {text[:_MAX_DIGITS]!r} is not a number; copy or save it again."
        )
    return float(text)


def _count(text: str, what: str, where: str) -> int:
    value = _number(text, f"number of {what}", where)
    if value != int(value):
        raise SourceError(f"{where}: its number of {what} is {value:g}; copy or save it again.")
    return int(value)


# Annotations -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Annotation:
    """Text about a stretch of time, in seconds from the start of the file."""

    onset_s: float
    duration_s: float
    text: str


def read_annotations(
    stream: BinaryIO, header: EdfHeader, where: str
) -> tuple[list[Annotation], list[float]]:
    """Return the annotations of a file, and when each record starts where that is said.

    Raises
    ------
    SourceError
        If they are damaged, or too many to be held in memory.
    """
    found: list[Annotation] = []
    starts: list[float] = []
    for record in range(header.n_records):
        for number, signal in enumerate(header.annotations):
            raw = bytearray(signal.n_samples * header.sample_bytes)
            offset = header.n_bytes + record * header.record_bytes + signal.offset
            fill_from(stream, offset, memoryview(raw), where)
            lists = list(_lists(bytes(raw), where))
            if number == 0 and lists and lists[0].text == "":
                starts.append(lists[0].onset_s)
            found += (it for it in lists if it.text)
            if len(found) > MAX_ANNOTATIONS:
                raise SourceError(f"{where}: has more than {MAX_ANNOTATIONS:,} annotations.")
    return found, starts


def _lists(raw: bytes, where: str) -> Iterator[Annotation]:
    """Yield what the time-stamped lists in the bytes of one record say."""
    for part in raw.split(b"\0"):
        if not part:
            continue
        head, *texts = part.split(b"\x14")
        onset, _, duration = head.decode("latin-1").partition("\x15")
        if not texts or onset[:1] not in ("+", "-"):
            raise SourceError(f"{where}: its annotations are damaged; copy or save it again.")
        times = [_number(it or "0", "time of an annotation", where) for it in (onset, duration)]
        for text in texts[:-1] or [b""]:
            yield Annotation(times[0], times[1], text.decode("utf-8", "replace").strip())
