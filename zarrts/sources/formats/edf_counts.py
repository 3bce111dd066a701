"""The integers of an EDF file, which are what it holds: its values are these times a gain."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.sources.formats.edf_header import EdfHeader, Signal
from zarrts.sources.rows.counted import Counted
from zarrts.sources.rows.files import Stamp
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import fill_from
from zarrts.types import AnyArray

_COUNT_BYTES = 2
_EVERY = np.arange(-(1 << 15), 1 << 15, dtype=np.float64)


@dataclass(frozen=True)
class EdfCounts(Rows):
    """Samples of some signals of one rate, as the integers that the file holds.

    Attributes
    ----------
    stamp : Stamp
    header : EdfHeader
        Of an EDF file: its integers are of 16 bits.
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
    def shape(self) -> tuple[int, ...]:
        """Shape (time, channel)."""
        return (self.header.n_records * self.signals[0].n_samples, len(self.signals))

    @property
    def dtype(self) -> np.dtype[Any]:
        """int16."""
        return np.dtype(np.int16)

    @property
    def block_rows(self) -> int:
        """Rows of a record."""
        return max(1, min(self.signals[0].n_samples, self.shape[0]))

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
