"""Recordings of EEG and MEG in the formats that MNE reads piece by piece (`zarrts[mne]`).

EDF and BDF are not among them: `edf` reads these. Of what MNE gives, the following is mended: all
units of GDF 1 but microvolts, onsets in FIF, which count from another moment than the first row,
and stretches that a FIF file skips, which are NaN. Segments of BrainVision that were joined have
gaps between them. Refused are GDF of several rates, pauses of Persyst, and what MNE loads whole.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.edf_header import Annotation
from zarrts.sources.formats.gdf_header import GdfChannels, read_channels
from zarrts.sources.formats.libraries import local_path, needed, opening
from zarrts.sources.formats.mne_headers import named_in, refuse_pauses, values_in
from zarrts.sources.formats.mne_rows import MneRows, refuse_wrong_pieces
from zarrts.sources.formats.signal_file import SignalFile, chosen, signal_format, stamps_of
from zarrts.sources.rows.files import SourceFile, opened
from zarrts.sources.source_options import SourceOptions
from zarrts.timeline import Gaps
from zarrts.types import Description

MAX_WHOLE_BYTES = 32 << 20
"""Of samples that MNE holds in memory, because it cannot read a file piece by piece."""

SKIPPED = "BAD_ACQ_SKIP"
_HEAD_BYTES = 1 << 16
_SI = {
    **{107: "V", 112: "T", 201: "T/m", 202: "Am", 6: "mol", 10: "mol/m3", 110: "S", 114: "degC"},
    **{1: "m", 3: "s", 4: "A", 7: "rad", 101: "Hz", 103: "Pa", 105: "W", 108: "F", 109: "Ohm"},
}
"""Units by their codes in FIF, as MNE's constants.py has them."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file that MNE reads.

    Attributes
    ----------
    name : str
    reader : str
        The function of `mne.io`.
    is_checked : bool
        Whether pieces of it were compared with the whole, for many files; if not, this is done for
        each file when it is found.
    dtype : str
        Of its samples: float32 holds each value of 24 bits.
    beside : tuple of str
        Suffixes of the other files that belong to one.
    """

    name: str
    reader: str
    is_checked: bool = False
    dtype: str = "float64"
    beside: tuple[str, ...] = ()


_BRAINVISION = Kind(
    name="BrainVision", reader="read_raw_brainvision", is_checked=True, dtype="float32"
)
KINDS = {
    ".vhdr": _BRAINVISION,
    ".ahdr": _BRAINVISION,
    ".fif": Kind(name="FIF", reader="read_raw_fif", is_checked=True),
    ".gdf": Kind(name="GDF", reader="read_raw_gdf", is_checked=True),
    ".cnt": Kind(name="Neuroscan CNT", reader="read_raw_cnt", dtype="float32"),
    ".eeg": Kind(
        name="Nihon Kohden",
        reader="read_raw_nihon",
        dtype="float32",
        beside=(".pnt", ".log", ".21e"),
    ),
    ".lay": Kind(name="Persyst", reader="read_raw_persyst", dtype="float32"),
    ".nedf": Kind(name="Neuroelectrics", reader="read_raw_nedf"),
    ".nxe": Kind(name="Nexstim", reader="read_raw_eximia"),
    ".snirf": Kind(name="SNIRF", reader="read_raw_snirf"),
    ".sqd": Kind(name="KIT", reader="read_raw_kit"),
    ".con": Kind(name="KIT", reader="read_raw_kit"),
    ".cdt": Kind(name="Curry", reader="read_raw_curry", beside=(".cdt.dpa", ".cdt.cef")),
}


class _Recording:
    """A file that MNE has opened; `pick` and the rest of what a `SignalFile` needs."""

    def __init__(self, file: SourceFile, kind: Kind) -> None:
        self.file, self.kind, self.origin = file, kind, file.origin
        self.path = local_path(file, "MNE")
        self.gdf = self._gdf() if kind.name == "GDF" else None
        mne = needed("mne", "mne", f"{kind.name} files", self.origin)
        with opening(self.origin, "MNE"):
            self.raw = getattr(mne.io, kind.reader)(self.path, preload=False, verbose="ERROR")
            self.types: list[str] = self.raw.get_channel_types()
        self.names: list[str] = list(self.raw.ch_names)
        self.rate_hz = float(self.raw.info["sfreq"])
        self.n_rows = int(self.raw.n_times)
        self.paths = self._paths()
        self._refuse_whole()
        self.is_wide = False
        if kind is _BRAINVISION:
            of_samples = "".join(values_in(self.path, "BinaryFormat")).upper()
            self.is_wide = "INT_32" in of_samples
            self._refuse_wrong_count()
            self._refuse_half_rows(4 if "32" in of_samples else 2)
        elif kind.name == "Persyst":
            refuse_pauses(self.path, self.origin)
            self._refuse_half_rows(4 if "7" in values_in(self.path, "DataType") else 2)

    def signal_file(self) -> SignalFile:
        """Return it as what all such files are."""
        return SignalFile(
            origin=self.origin,
            found=f"a {self.kind.name} recording of {len(self.names)} channels, read with MNE",
            pick=self.pick,
            annotations=lambda options: self.annotations(),
            started=self._started if self.raw.info["meas_date"] is not None else None,
            gaps=self._joins(),
            paths=self.paths,
            notes=self.notes(),
        )

    def pick(self, options: SourceOptions) -> tuple[MneRows, Description]:
        """Return rows and description of the channels that are asked for."""
        picks, by_hand = chosen(self.names, options, self.origin)
        units, factors = zip(*(self._unit(at) for at in picks), strict=True)
        rows = MneRows(
            raw=self.raw,
            picks=np.array(picks, np.int64),
            factors=np.array(factors, np.float64),
            skipped=self._skipped(),
            stamps=stamps_of(self.paths, self.origin),
            to=np.dtype(np.float64 if self.is_wide else self.kind.dtype),
            label=self.origin,
        )
        if self.n_rows:
            rows.read(self.n_rows - 1, self.n_rows)  # it is as long as it says
        if not self.kind.is_checked:
            refuse_wrong_pieces(rows, self.origin)
        description = Description(
            channels=tuple(self.names[at] for at in picks),
            units=tuple(units),
            rate_hz=self.rate_hz,
            by_hand=by_hand,
        )
        return rows, description

    def annotations(self) -> list[Annotation]:
        """Return annotations, counted from the first row."""
        found = self.raw.annotations
        # MNE counts from the start of the measurement, which is before the first row in FIF.
        first_s = float(self.raw.first_time)
        return [
            Annotation(float(onset) - first_s, float(duration), str(text))
            for onset, duration, text in zip(
                found.onset, found.duration, found.description, strict=True
            )
            if text != SKIPPED
        ]

    def notes(self) -> tuple[str, ...]:
        """Return what its header says of channels: bad ones, and types where there are several."""
        notes = []
        bads = [name for name in self.names if name in self.raw.info["bads"]]
        if bads:
            notes.append(f"says that {listed(bads)} {'is' if len(bads) == 1 else 'are'} bad")
        counts = Counter(self.types)
        if len(counts) > 1:
            shown = ", ".join(f"{n} {name}" for name, n in counts.most_common())
            notes.append(f"has channels of several types ({shown}); channels= chooses")
        joins = self._joins()
        if joins is not None:
            notes.append(f"has {len(joins.rows):,} joins of segments, which no window crosses")
        if self._skipped():
            n_rows = sum(stop - start for start, stop in self._skipped())
            notes.append(f"skips {n_rows:,} time steps, which are NaN")
        return tuple(notes)

    def _unit(self, at: int) -> tuple[str, float]:
        """Return the unit of a channel in the file, and the factor to it from what MNE gives."""
        if self.gdf is not None:
            return self.gdf.units[at], self.gdf.factors[at]
        si = _SI.get(int(self.raw.info["chs"][at]["unit"]), "")
        own = str(getattr(self.raw, "_orig_units", {}).get(self.names[at], "")).strip()
        own = "" if own == "n/a" else own
        scaled = {"V": 1.0, "mV": 1e3, "µV": 1e6, "uV": 1e6, "nV": 1e9} if si == "V" else {}
        if own in scaled:
            return own, scaled[own]
        if self.kind is _BRAINVISION and own in ("µS", "uS"):
            return own, 1e6
        return (own if self.kind is _BRAINVISION and own else si), 1.0

    def _gdf(self) -> GdfChannels:
        with opened(self.path, self.origin) as (stream, _):
            found = read_channels(stream, self.origin)
        rates = sorted({*found.n_samples})
        if len(rates) > 1:
            shown = " and ".join(map(str, rates))
            raise SourceError(
                f"{self.origin}: its channels have several rates ({shown} samples in a record), of "
                "which MNE gives wrong values; export channels of one rate."
            )
        return found

    def _paths(self) -> tuple[str, ...]:
        """Return all files that it consists of."""
        found = [self.path, *(os.path.abspath(str(it)) for it in self.raw.filenames if it)]
        stem = os.path.splitext(self.path)[0]
        found += (path for it in self.kind.beside if os.path.isfile(path := stem + it))
        if self.kind is _BRAINVISION:
            found += named_in(self.path, "MarkerFile")
        if self.kind.name == "Persyst":
            found += named_in(self.path, "File")
        return tuple(dict.fromkeys(found))

    def _refuse_whole(self) -> None:
        n_bytes = self.n_rows * len(self.names) * 8
        if self.raw.preload and n_bytes > MAX_WHOLE_BYTES:
            raise SourceError(
                f"{self.origin}: MNE cannot read it piece by piece, and {n_bytes:,} bytes in "
                f"memory are more than {MAX_WHOLE_BYTES:,}; export it to another format, such as "
                "EDF or BrainVision."
            )

    def _joins(self) -> Gaps | None:
        """Return the rows where a new segment starts (BrainVision), nobody knows how much later."""
        found = [
            round(it.onset_s * self.rate_hz)
            for it in self.annotations()
            if self.kind is _BRAINVISION and it.text.startswith("New Segment")
        ]
        rows = sorted({it for it in found if 0 < it < self.n_rows})
        return Gaps.of(rows, [0.0] * len(rows))

    def _refuse_wrong_count(self) -> None:
        """Raise SourceError where a header of BrainVision declares another number of samples."""
        points = values_in(self.path, "DataPoints")
        if points and points[0].isdigit() and 0 < int(points[0]) != self.n_rows:
            raise SourceError(
                f"{self.origin}: declares {int(points[0]):,} samples, but {self.n_rows:,} are "
                "there; copy it again."
            )

    def _refuse_half_rows(self, sample_bytes: int) -> None:
        """Raise SourceError where the file of samples does not end with a whole row."""
        data = next((it for it in self.paths if it.lower().endswith((".eeg", ".dat"))), None)
        n_bytes = 0 if data is None else os.path.getsize(data)
        row_bytes = sample_bytes * len(self.names)
        if data is not None and n_bytes % row_bytes:
            raise SourceError(
                f"{self.origin}: {os.path.basename(data)} has {n_bytes:,} bytes, which are not "
                f"whole rows of {row_bytes:,}; copy it again."
            )

    def _skipped(self) -> tuple[tuple[int, int], ...]:
        """Return the rows that the file skips, ascending and apart from each other."""
        found, first_s = self.raw.annotations, float(self.raw.first_time)
        spans = sorted(
            (
                round((float(onset) - first_s) * self.rate_hz),
                round((float(onset) - first_s + float(duration)) * self.rate_hz),
            )
            for onset, duration, text in zip(
                found.onset, found.duration, found.description, strict=True
            )
            if text == SKIPPED
        )
        merged: list[tuple[int, int]] = []
        for start, stop in spans:
            if merged and start <= merged[-1][1]:
                start, stop = merged[-1][0], max(stop, merged.pop()[1])
            merged.append((start, stop))
        return tuple(merged)

    def _started(self) -> datetime:
        started: datetime = self.raw.info["meas_date"]
        return started.replace(tzinfo=None)


def _read(file: SourceFile) -> Contents:
    """Return signals and annotations of a file, one label for each row."""
    kind = next(kind for suffix, kind in KINDS.items() if file.is_kind((suffix,)))
    return _Recording(file, kind).signal_file().contents()


def _parts(files: Sequence[SourceFile]) -> set[str]:
    return {it.origin for it in files if it.is_kind((".eeg", ".fif")) and _is_part(it)}


def _is_part(file: SourceFile) -> bool:
    """Return whether a file is data beside a header, or not the first of a recording that is split.

    A FIF file of more than 2 GB is `s01_raw.fif`, `s01_raw-1.fif`, ..., or, in BIDS,
    `..._split-01_meg.fif`, `..._split-02_meg.fif`, ...; each names the next.
    """
    if not isinstance(file.path, str):
        return False
    stem, suffix = os.path.splitext(file.path)
    if suffix.lower() == ".eeg":
        return any(os.path.isfile(stem + it) for it in (".vhdr", ".VHDR"))
    if suffix.lower() != ".fif":
        return False
    folder, name = os.path.split(file.path)
    split = re.search(r"_split-(\d+)(?=_)", name)
    numbered = re.fullmatch(r"(.*)-(\d+)(\.fif)", name, re.IGNORECASE)
    if split is not None and int(split[1]) > 1:
        before = f"{int(split[1]) - 1:0{len(split[1])}}"
        first = f"{name[: split.start(1)]}{before}{name[split.end(1) :]}"
    elif numbered is not None:
        number = int(numbered[2])
        first = numbered[1] + (f"-{number - 1}" if number > 1 else "") + numbered[3]
    else:
        return False
    return _names_next(os.path.join(folder, first), name)


def _names_next(path: str, name: str) -> bool:
    """Return whether a FIF file names another as the one that follows."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as stream:
        stream.seek(max(0, os.path.getsize(path) - _HEAD_BYTES))
        return name.encode() in stream.read()


FORMATS = tuple(
    signal_format(
        _read,
        name=name,
        needs=("mne",),
        extra="mne",
        suffixes=tuple(suffix for suffix, it in KINDS.items() if it.name == name),
        parts=_parts if name in ("Nihon Kohden", "FIF") else None,
    )
    for name in dict.fromkeys(it.name for it in KINDS.values())
)
