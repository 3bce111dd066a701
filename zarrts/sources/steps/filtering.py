"""Rows that are filtered, with zero phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.sources.step_options import Filter
from zarrts.sources.steps.filters import Response, spectrum_of, taps_of
from zarrts.sources.steps.frames import FramedRows
from zarrts.sources.steps.runs import Run, cuts_in, extended, runs_in
from zarrts.sources.steps.whole import WholeRows
from zarrts.types import AnyArray

_MIN_FFT = 4096
_GROUP_BYTES = 4 << 20  # of some columns, transformed together
_IIR_ORDER = 4


@dataclass(frozen=True)
class FirRows(FramedRows):
    """Rows after a filter of finite length, which is centred on each.

    Attributes
    ----------
    response : Response
    bounds : tuple of int
        The rows where stretches of consecutive rows begin, and the number of rows.
    """

    response: Response
    bounds: tuple[int, ...]

    label = "filtered rows"

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transforms of whole frames."""
        return max(_MIN_FFT, 1 << (4 * self.response.n_taps - 1).bit_length())

    @property
    def frame_rows(self) -> int:
        """As many as one transform gives."""
        return self.n_fft - self.response.n_taps + 1

    @property
    def working_bytes(self) -> int:
        """Bytes for the calculation of a frame, and for the frame that is kept."""
        return 3 * self.n_fft * self.rows.shape[1] * 8 + 4 * _GROUP_BYTES

    def _frame(self, number: int) -> AnyArray:
        n_rows, half = self.shape[0], self.response.n_taps // 2
        start = number * self.frame_rows
        stop = min(start + self.frame_rows, n_rows)
        low, high = max(0, start - half), min(n_rows, stop + half)
        window = self.rows.read(low, high).astype(np.float64, copy=False)
        out = np.full((stop - start, *window.shape[1:]), np.nan)
        for run in runs_in(window, cuts_in(self.bounds, low, high)):
            self._filter(run, window, out, start - low)
        return out

    def _filter(self, run: Run, window: AnyArray, out: AnyArray, first: int) -> None:
        """Filter what of a run lies in a frame, whose first row is row `first` of the window."""
        begin, end = max(run.start, first), min(run.stop, first + len(out))
        if begin >= end:
            return
        half, n_fft = self.response.n_taps // 2, self.n_fft
        if run.is_first and run.is_last:  # beyond its own length on both sides, a run is zero
            half = min(half, 2 * (run.stop - run.start))
        low, high = max(run.start, begin - half), min(run.stop, end + half)
        rows = window[low:high, run.columns]
        source = extended(rows, low - (begin - half), end + half - high)
        if half < self.response.n_taps // 2:
            found = _with_middle(self.response, half, source)
        else:
            found = _by_spectrum(self.response, n_fft, source)
        out[begin - first : end - first, run.columns] = found


def _by_spectrum(response: Response, n_fft: int, source: AnyArray) -> AnyArray:
    """Return the rows of `source` that a filter covers wholly."""
    n_out = len(source) - response.n_taps + 1
    out = np.empty((n_out, source.shape[1]))
    spectrum = spectrum_of(response, n_fft)
    step = max(1, _GROUP_BYTES // (n_fft * 8))
    for column in range(0, source.shape[1], step):
        columns = slice(column, column + step)
        values = np.fft.rfft(np.ascontiguousarray(source[:, columns].T), n_fft)
        values *= spectrum
        filtered = np.fft.irfft(values, n_fft)
        out[:, columns] = filtered[:, response.n_taps - 1 : response.n_taps - 1 + n_out].T
    return out


def _with_middle(response: Response, half: int, source: AnyArray) -> AnyArray:
    """Return the same of a short run, where no more than `half` taps on each side meet a value."""
    middle = response.n_taps // 2
    taps = taps_of(response)[middle - half : middle + half + 1]
    n_fft = 1 << (len(source) - 1).bit_length()
    values = np.fft.rfft(np.ascontiguousarray(source.T), n_fft)
    values *= np.fft.rfft(taps, n_fft)
    return np.asarray(np.fft.irfft(values, n_fft)[:, 2 * half : len(source)].T)


# Forward and backward --------------------------------------------------------------------------


@dataclass(frozen=True)
class IirRows(WholeRows):
    """Rows of whole recordings, filtered forward and backward.

    Attributes
    ----------
    step : Filter or Notch
    rate_hz : float
    """

    step: Filter
    rate_hz: float

    label = "filtered rows"

    def _whole(self, rows: AnyArray, bounds: Sequence[int]) -> AnyArray:
        signal = scipy_signal("filter with method='iir'")
        sections = _sections(signal, self.step, self.rate_hz)
        # As scipy pads by default; of a run that is shorter, as much as it has.
        n_zeros = min((sections[:, 2] == 0).sum(), (sections[:, 5] == 0).sum())
        n_edge = 3 * (2 * len(sections) + 1 - n_zeros)
        out = np.full(rows.shape, np.nan)
        for run in runs_in(rows, list(bounds)):
            part = rows[run.start : run.stop, run.columns]
            out[run.start : run.stop, run.columns] = signal.sosfiltfilt(
                sections, part, axis=0, padlen=min(int(n_edge), len(part) - 1)
            )
        return out


def _sections(signal: Any, step: Filter, rate_hz: float) -> AnyArray:
    low, high = step.low_hz, step.high_hz
    kind = "bandpass" if low and high else "highpass" if low else "lowpass"
    edges = [it for it in (low, high) if it is not None]
    return np.asarray(
        signal.butter(
            _IIR_ORDER, edges if len(edges) > 1 else edges[0], kind, fs=rate_hz, output="sos"
        )
    )


def scipy_signal(what: str) -> Any:
    """Return scipy.signal.

    Raises
    ------
    SourceError
        If it is not installed; names the extra.
    """
    try:
        from scipy import signal
    except ImportError as error:
        raise SourceError(
            f"{what} needs SciPy; install it: python -m pip install 'zarrts[filter]'."
        ) from error
    return signal
