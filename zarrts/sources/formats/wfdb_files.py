"""Records of PhysioNet in the format of WFDB (`zarrts[wfdb]`), each a header and its data.

Signals of one rate are read, with all their samples: of several rates, `channels=` chooses. Records
of several segments are one recording, NaN where nothing was recorded. Labels are those of one
annotation file beside the header: `annotations="st"` names its suffix.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.libraries import as_source_error, local_path, needed, opening
from zarrts.sources.formats.signal_file import (
    SignalFile,
    chosen,
    signal_format,
    stamps_of,
)
from zarrts.sources.formats.signal_inputs import refuse_several_rates
from zarrts.sources.formats.wfdb_rows import Segment, WfdbRows
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.source_options import SourceOptions
from zarrts.types import Description

NOTHING, NOTE = "~", '"'
ANNOTATORS = (
    *("atr", "st", "ari", "sta", "stb", "stc", "apn", "arousal", "hypn", "man", "ecg", "qrs"),
    *("pwave", "wabp", "wqrs", "al", "in", "event", "marker", "trigger", "breath"),
)
"""Suffixes that annotation files of PhysioNet's databases have."""

_DEFAULT_UNIT = "mV"
_DEFINED, _DEFINITIONS, _END = "## time resolution", "## annotation type definitions", "## end of"
_WIDE = {"32", "524"}
_MAX_NOTES_BYTES = 1 << 20
_MAX_HEADER_BYTES = 16 << 20


class _Record:
    """A record whose headers wfdb has read; `pick` and the rest of what a `SignalFile` needs."""

    def __init__(self, file: SourceFile) -> None:
        self.file, self.origin = file, file.origin
        self.header_path = local_path(file, "wfdb")
        self.path = os.path.splitext(self.header_path)[0]
        self.folder = os.path.dirname(self.path)
        self.wfdb = needed("wfdb", "wfdb", "WFDB records", self.origin)
        whole = self._header(self.path)
        self.headers: list[tuple[str, int, Any]] = []  # path, frames, header
        self.layout_path = ""
        if hasattr(whole, "seg_name"):
            self._read_segments(whole)
        else:
            self.layout = whole
            self.headers.append((self.path, self._length(whole), whole))
        self.fs = float(whole.fs)
        self.names = [it or f"signal {i}" for i, it in enumerate(self.layout.sig_name or (), 1)]
        if not self.names:
            raise SourceError(f"{self.origin}: holds no signals; leave it out.")
        self.per_frame = [int(it or 1) for it in self.layout.samps_per_frame]
        self.units = [it or _DEFAULT_UNIT for it in self.layout.units]
        self.begun = (whole.base_date, whole.base_time)
        self.data = self._data()

    def _header(self, path: str) -> Any:
        with opening(self.origin, "wfdb"):
            return self.wfdb.rdheader(path)

    def _length(self, header: Any) -> int:
        if header.sig_len is None:
            raise SourceError(
                f"{self.origin}: its header does not say how many samples there are; write it anew."
            )
        return int(header.sig_len)

    def _read_segments(self, whole: Any) -> None:
        names, lengths = list(whole.seg_name), [int(it) for it in whole.seg_len]
        layout = None
        for name, length in zip(names, lengths, strict=True):
            if name == NOTHING:
                self.headers.append(("", length, None))
                continue
            path = self._beside(name)
            header = self._header(path)
            if length == 0:  # what all segments may have, in records of a variable layout
                layout, self.layout_path = header, f"{path}.hea"
                continue
            self.headers.append((path, length, header))
        parts = [header for _, _, header in self.headers if header is not None]
        if not parts:
            raise SourceError(f"{self.origin}: all of its segments are empty; leave it out.")
        self.layout = layout or parts[0]

    def _beside(self, name: str) -> str:
        if os.path.basename(name) != name or "\\" in name or name in ("", ".", ".."):
            raise SourceError(f"{self.origin}: names the file {name!r}, which is not beside it.")
        return os.path.join(self.folder, name)

    def _data(self) -> list[str]:
        """Return headers and data of all segments."""
        found = [self.header_path, *([self.layout_path] if self.layout_path else [])]
        for path, _, header in self.headers:
            if header is None:
                continue
            found.append(f"{path}.hea" if path != self.path else self.header_path)
            found += (self._beside(it) for it in dict.fromkeys(header.file_name))
        return list(dict.fromkeys(found))

    def signal_file(self) -> SignalFile:
        """Return it as what all such files are."""
        n_segments = len(self.headers)
        many = f" in {n_segments:,} segments" if n_segments > 1 else ""
        notes = []
        empty = sum(length for _, length, header in self.headers if header is None)
        if empty:
            notes.append(f"has gaps of {empty / self.fs:g} s in all, which are NaN")
        return SignalFile(
            origin=self.origin,
            found=f"a WFDB record of {len(self.names)} signals{many}",
            pick=self.pick,
            annotations=self.annotations,
            names_file=lambda options: self._wanted(options) is not None,
            started=self._started if all(self.begun) else None,
            paths=(*self.data, *self._annotation_paths()),
            notes=tuple(notes),
        )

    def pick(self, options: SourceOptions) -> tuple[WfdbRows, Description]:
        """Return rows and description of the signals that are asked for, which have one rate."""
        picks, by_hand = chosen(self.names, options, self.origin)
        rates = {self.per_frame[at] for at in picks}
        refuse_several_rates(
            [(self.names[at], self.fs * self.per_frame[at]) for at in picks], self.origin
        )
        rows = WfdbRows(
            segments=self._segments(picks),
            per_frame=rates.pop(),
            stamps=stamps_of(self.data, self.origin),
            to=np.dtype(np.float64 if self._is_wide() else np.float32),
            label=self.origin,
        )
        for segment in rows.segments:  # each is as long as it says
            if segment.path:
                last = segment.stop * rows.per_frame
                rows.read(last - 1, last)
        description = Description(
            channels=tuple(self.names[at] for at in picks),
            units=tuple(self.units[at] for at in picks),
            rate_hz=self.fs * rows.per_frame,
            by_hand=by_hand,
        )
        return rows, description

    def _is_wide(self) -> bool:
        return any(
            fmt in _WIDE
            for _, _, header in self.headers
            if header is not None
            for fmt in header.fmt
        )

    def _segments(self, picks: Sequence[int]) -> tuple[Segment, ...]:
        found, at = [], 0
        for path, length, header in self.headers:
            columns = tuple(-1 if header is None else self._column(header, it) for it in picks)
            found.append(Segment(path, at, at + length, columns))
            at += length
        if not at:
            raise SourceError(f"{self.origin}: holds no samples; leave it out.")
        return tuple(found)

    def _column(self, header: Any, at: int) -> int:
        """Return where a segment has a signal; -1 if it has not got it."""
        names = list(header.sig_name)
        if header is self.layout:
            return at
        name = self.layout.sig_name[at]
        if names.count(name) != 1:
            if name in names:
                raise SourceError(f"{self.origin}: a segment has several signals named {name}.")
            return -1
        column = names.index(name)
        unit = header.units[column] or _DEFAULT_UNIT
        per_frame = int(header.samps_per_frame[column] or 1)
        if unit != self.units[at] or per_frame != self.per_frame[at]:
            raise SourceError(
                f"{self.origin}: {name} is in {unit}, {per_frame} samples a frame, in one segment, "
                f"and in {self.units[at]}, {self.per_frame[at]} a frame, in another; save each "
                "segment as a record."
            )
        return column

    # Annotations -------------------------------------------------------------------------------

    def _annotators(self) -> list[str]:
        return [it for it in ANNOTATORS if os.path.isfile(f"{self.path}.{it}")]

    def _annotation_paths(self) -> list[str]:
        return [f"{self.path}.{it}" for it in self._annotators()]

    def annotations(self, options: SourceOptions) -> list[Annotation]:
        """Return the annotations of the file that is asked for, or of the only one.

        Where they carry a text (a stage, a rhythm), it holds until the next one that does; other
        annotations, such as beats, are moments.
        """
        suffix = self._annotator(options)
        if suffix is None:
            return []
        lost = _notes_at_start(f"{self.path}.{suffix}", f"{self.origin} ({suffix})")
        with as_source_error(f"{self.origin} ({suffix})", "wfdb"):
            found = self.wfdb.rdann(self.path, suffix)
        rate_hz = float(found.fs or self.fs)
        end_s = sum(length for _, length, _ in self.headers) / self.fs
        symbols = [*([NOTE] * len(lost)), *found.symbol]
        texts = [*lost, *(str(it or "").strip(" \0") for it in found.aux_note)]
        times = [0.0] * len(lost) + [float(it) / rate_hz for it in found.sample]
        annotations, next_s = [], end_s
        for at in reversed(range(len(times))):
            if texts[at]:
                lasting = max(0.0, next_s - times[at])
                annotations.append(Annotation(times[at], lasting, texts[at]))
                next_s = times[at]
            else:
                annotations.append(Annotation(times[at], 0.0, str(symbols[at])))
        return annotations[::-1]

    def _annotator(self, options: SourceOptions) -> str | None:
        wanted, there = self._wanted(options), self._annotators()
        if wanted is not None:
            return wanted
        if len(there) > 1:
            raise SourceError(
                f"{self.origin}: has several annotation files beside it ({listed(there)}); choose "
                f"one: annotations='{there[0]}' (--annotations {there[0]})."
            )
        return there[0] if there else None

    def _wanted(self, options: SourceOptions) -> str | None:
        """Return the suffix of an annotation file that `annotations=` names, if it does."""
        wanted = options.annotations
        name = wanted[0] if isinstance(wanted, tuple) and len(wanted) == 1 else wanted
        if not isinstance(name, str) or not name.isalnum() or name == "hea":
            return None
        return name if os.path.isfile(f"{self.path}.{name}") else None

    def _started(self) -> datetime:
        return datetime.combine(*self.begun)


def _parts(files: Sequence[SourceFile]) -> Collection[str]:
    """Return segments of records, and other kinds of files that hold the data of one."""
    named: set[str] = set()
    for file in files:
        if file.is_kind((".hea",)) and isinstance(file.path, str):
            named.update(f"{file.folder}/{it}" for it in _named_in(file.path))
    return {it.origin for it in files if f"{it.folder}/{os.path.basename(it.origin)}" in named}


def _named_in(path: str) -> Iterator[str]:
    """Yield the names of files in a header; of a segment, that of its header."""
    try:
        if os.path.getsize(path) > _MAX_HEADER_BYTES:
            return
        with open(path, encoding="latin-1") as stream:
            lines = [it.strip() for it in stream if it.strip() and not it.startswith("#")]
    except OSError:
        return  # whoever opens the record says it
    if not lines:
        return
    is_multiple = "/" in lines[0].split()[0]
    for line in lines[1:]:
        name = line.split()[0]
        if name != NOTHING:
            yield f"{name}.hea" if is_multiple else name


def _notes_at_start(path: str, where: str) -> list[str]:
    """Return the texts of notes at sample 0, which wfdb takes for definitions and drops.

    An annotation file is of words of 16 bits: a code in the upper 6, in the lower 10 the samples
    since the last annotation, or for code 63 the length of a text (wfdb.io, annotation files).

    Raises
    ------
    SourceError
        If such a note looks like a definition and is none, over which wfdb would never end.
    """
    with open(path, "rb") as stream:
        head = stream.read(_MAX_NOTES_BYTES)
    notes, at, sample = [], 0, 0
    while at + 2 <= len(head):
        word = int.from_bytes(head[at : at + 2], "little")
        code, number, at = word >> 10, word & 1023, at + 2
        if code == 63:
            notes.append(head[at : at + number].decode("latin-1").strip(" \0"))
            at += number + number % 2
        elif code == 59:  # so many samples later, in 32 bits, the upper ones first
            upper, lower = (int.from_bytes(head[at + i : at + i + 2], "little") for i in (0, 2))
            sample += ((upper << 16 | lower) ^ 1 << 31) - (1 << 31)
            at += 4
        elif code < 59:
            sample += number
            if word == 0 or (code and sample > 0):
                break  # the end, or what comes later
    found, is_inside = [], False
    for text in notes:
        if text.startswith((_DEFINITIONS, _END)):
            is_inside = text.startswith(_DEFINITIONS)
        elif text.startswith("## ") and not text.startswith(_DEFINED):
            raise SourceError(f"{where}: begins with the note {text!r}, which wfdb cannot read.")
        elif not is_inside and not text.startswith(_DEFINED) and text:
            found.append(text)
    return found


FORMAT = signal_format(
    lambda file: _Record(file).signal_file().contents(),
    name="WFDB",
    needs=("wfdb",),
    extra="wfdb",
    suffixes=(".hea",),
    parts=_parts,
)
