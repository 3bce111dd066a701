"""Rows of signals of EDF and BDF files: values, and the integers that the file holds.

Values are these integers times a gain, plus an offset.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.formats.edf_header import EdfHeader, Signal
from zarrts.sources.rows.counted import Counted
from zarrts.sources.rows.files import Stamp
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import fill_from
from zarrts.types import AnyArray, Description

_COUNT_BYTES = 2
_EVERY = np.arange(-(1 << 15), 1 << 15, dtype=np.float64)


@dataclass(frozen=True)
class EdfSignals(Rows):
    """Samples of some signals of one rate.

    Attributes
    ----------
    stamp : Stamp
    header : EdfHeader
    signals : tuple of Signal
        One a column.
    label : str
        How errors name the file.
    """

    stamp: Stamp
    header: EdfHeader
    signals: tuple[Signal, ...]
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.header.n_records * self.signals[0].n_samples, len(self.signals))

    @property
    def block_rows(self) -> int:
        """Rows of a record."""
        return max(1, min(self.signals[0].n_samples, self.shape[0]))


@dataclass(frozen=True)
class EdfRows(EdfSignals):
    """Samples in the units of the file."""

    def description(self, *, is_by_hand: bool) -> Description:
        """Return names, units and rate; the names are by hand where `channels=` chose signals."""
        return Description(
            channels=tuple(it.name for it in self.signals),
            units=tuple(it.unit for it in self.signals),
            rate_hz=self.header.rate_hz(self.signals[0]),
            by_hand=frozenset(["channels"]) if is_by_hand else frozenset(),
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, which holds every value of 24 bits."""
        return np.dtype(np.float32)

    @property
    def counted(self) -> Counted | None:
        """The integers of the file, where they are of 16 bits."""
        if self.header.sample_bytes > _COUNT_BYTES:
            return None
        return EdfCounts(self.stamp, self.header, self.signals, self.label).counted

    def _read(self, start: int, stop: int) -> AnyArray:
        out = np.empty((stop - start, len(self.signals)), np.float32)
        if start == stop:
            return out
        with self.stamp.open() as file:
            n_samples = self.signals[0].n_samples
            # As the bytes lie: a file at an address is read by blocks.
            for record in range(start // n_samples, -(-stop // n_samples)):
                first = record * n_samples
                begin, end = max(start, first) - first, min(stop, first + n_samples) - first
                part = out[first + begin - start : first + end - start]
                for column, signal in enumerate(self.signals):
                    part[:, column] = self._values(file, signal, record, begin, end)
        return out

    def _values(self, file: Any, signal: Signal, record: int, begin: int, end: int) -> AnyArray:
        """Return samples `begin` to `end` of a signal in one record."""
        header, width = self.header, self.header.sample_bytes
        low, high = signal.digital
        least, most = signal.physical
        gain = (most - least) / (high - low)
        offset = header.n_bytes + record * header.record_bytes + signal.offset
        raw = np.empty((end - begin) * width, np.uint8)
        fill_from(file, offset + begin * width, raw.data, self.label)
        return (_integers(raw, width) - low) * gain + least


@dataclass(frozen=True)
class EdfCounts(EdfSignals):
    """Samples as the integers that the file holds, which is an EDF file: they are of 16 bits."""

    @property
    def counted(self) -> Counted | None:
        """These and their gains; None where values are not quite those of counts.

        A reader computes (count - low) * gain + least, which rounds otherwise than
        count * gain + offset does: all 65,536 counts of a signal are compared.
        """
        found: dict[object, tuple[float, float] | None] = {}
        for signal in self.signals:
            limits = signal.digital, signal.physical
            if limits not in found:
                found[limits] = _gain_and_offset(signal)
        pairs = [found[it.digital, it.physical] for it in self.signals]
        known = [it for it in pairs if it is not None]
        if len(known) < len(pairs):
            return None
        gain, offset = zip(*known, strict=True)
        return Counted(self, gain, offset)

    @property
    def dtype(self) -> np.dtype[Any]:
        """int16."""
        return np.dtype(np.int16)

    def _read(self, start: int, stop: int) -> AnyArray:
        header, signals = self.header, self.signals
        n_samples = signals[0].n_samples
        if start == stop:
            return np.empty((0, len(signals)), np.int16)
        first, last = start // n_samples, -(-stop // n_samples)
        out = np.empty((last - first, n_samples, len(signals)), np.int16)
        with self.stamp.open() as file:
            if 2 * len(signals) * n_samples * _COUNT_BYTES < header.record_bytes:
                self._fill_by_signal(file, first, out)
            else:
                self._fill_by_record(file, first, out)
        return np.ascontiguousarray(
            out.reshape(-1, len(signals))[start - first * n_samples : stop - first * n_samples]
        )

    def _fill_by_record(self, file: Any, first: int, out: AnyArray) -> None:
        """Read whole records, one after the other."""
        header, signals = self.header, self.signals
        size = signals[0].n_samples * _COUNT_BYTES
        raw = np.empty((len(out), header.record_bytes), np.uint8)
        fill_from(
            file,
            header.n_bytes + first * header.record_bytes,
            raw.reshape(-1).data,
            self.label,
        )
        offsets = np.array([it.offset for it in signals])
        if (np.diff(offsets) == size).all():  # a turn of columns into rows, at the speed of memory
            some = raw[:, offsets[0] : offsets[0] + size * len(signals)]
            some = np.ascontiguousarray(some).view("<i2").reshape(len(out), len(signals), -1)
            np.copyto(out, some.transpose(0, 2, 1))
            return
        for column, offset in enumerate(offsets.tolist()):
            part = np.ascontiguousarray(raw[:, offset : offset + size])
            out[:, :, column] = part.view("<i2")

    def _fill_by_signal(self, file: Any, first: int, out: AnyArray) -> None:
        """Read what is needed of each record: a small part of it."""
        header = self.header
        raw = np.empty(out.shape[1] * _COUNT_BYTES, np.uint8)
        for number, record in enumerate(out):
            begin = header.n_bytes + (first + number) * header.record_bytes
            for column, signal in enumerate(self.signals):
                fill_from(file, begin + signal.offset, raw.data, self.label)
                record[:, column] = raw.view("<i2")


def _gain_and_offset(signal: Signal) -> tuple[float, float] | None:
    (low, high), (least, most) = signal.digital, signal.physical
    gain = (most - least) / (high - low)
    values = ((_EVERY - low) * gain + least).astype(np.float32)
    for offset in (least - low * gain, most - high * gain):
        same = (_EVERY * gain + offset).astype(np.float32) == values
        if gain != 0 and np.isfinite(values).all() and same.all():
            return gain, offset
    return None


def _integers(raw: AnyArray, width: int) -> AnyArray:
    """Return little-endian signed integers of 2 or 3 bytes as float64."""
    if width == 2:
        return raw.view("<i2").astype(np.float64)
    parts = raw.reshape(-1, 3).astype(np.int32)
    values = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
    return (values - ((values & 0x800000) << 1)).astype(np.float64)
