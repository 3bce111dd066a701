"""The coefficients of filters.

Those of `filter` and `notch` are the ones that MNE designs by default (mne.filter.create_filter
with fir_design="firwin" and fir_window="hamming"): for each edge a windowed sinc that is as long as
the edge is steep, 3.3 / transition. Those of `resample` are a sinc with a Kaiser window.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zarrts.errors import SourceError
from zarrts.sources.step_options import Filter, Notch

Taps = NDArray[np.float64]

_HAMMING_LENGTH = 3.3
_NOTCH_EDGE_HZ = 0.5
_NOTCH_SHARE = 1 / 200
_ATTENUATION_DB = 80.0
_TRANSITION = 0.2  # of the lower Nyquist frequency: what is above 0.8 of it is weakened
_MAX_TERMS = (100, 1_000, 10_000)
_MAX_COEFFICIENTS = 4_000_000
_RATE_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Response:
    """A frequency response: gains of 0 or 1 at frequencies from 0 to Nyquist, as fractions of it.

    Attributes
    ----------
    frequencies, gains : tuple of float
    n_taps : int
        Odd.
    """

    frequencies: tuple[float, ...]
    gains: tuple[int, ...]
    n_taps: int


def response_of(step: Filter | Notch, rate_hz: float) -> Response:
    """Return the response of a step at some rate.

    Raises
    ------
    SourceError
        If a frequency is not below half of the rate.
    """
    nyquist_hz = rate_hz / 2
    if isinstance(step, Notch):
        return _notched(step, rate_hz)
    low, high = step.low_hz, step.high_hz
    refuse_beyond(step.name, [it for it in (low, high) if it is not None], rate_hz)
    points: list[tuple[float, int]] = []
    edges = []
    if low is not None:
        edges.append(edge := min(max(0.25 * low, 2.0), low))
        points += [(low - edge, 0), (low, 1)]
    else:
        points.append((0.0, 1))
    if high is not None:
        edges.append(edge := min(max(0.25 * high, 2.0), nyquist_hz - high))
        points += [(high, 1), (high + edge, 0)]
    return _response(points, min(edges), rate_hz)


def _notched(step: Notch, rate_hz: float) -> Response:
    points: list[tuple[float, int]] = []
    for frequency in sorted(step.frequencies_hz):
        inner = frequency * _NOTCH_SHARE / 2
        outer = inner + _NOTCH_EDGE_HZ
        refuse_beyond("notch", [frequency + outer], rate_hz)
        if frequency <= outer or (points and points[-1][0] > frequency - outer):
            raise SourceError(
                f"notch at {frequency:g} Hz needs {outer:g} Hz on both sides, apart from 0 and "
                "from the next one; use filter, or notch twice."
            )
        points += [(frequency - outer, 1), (frequency - inner, 0)]
        points += [(frequency + inner, 0), (frequency + outer, 1)]
    return _response(points, _NOTCH_EDGE_HZ, rate_hz)


def _response(points: list[tuple[float, int]], edge_hz: float, rate_hz: float) -> Response:
    nyquist_hz = rate_hz / 2
    if points[0][0] != 0:
        points = [(0.0, points[0][1]), *points]
    if points[-1][0] != nyquist_hz:
        points = [*points, (nyquist_hz, points[-1][1])]
    n_taps = math.ceil(_HAMMING_LENGTH / edge_hz * rate_hz)
    frequencies = tuple(frequency / nyquist_hz for frequency, _ in points)
    return Response(frequencies, tuple(gain for _, gain in points), n_taps | 1)


def refuse_beyond(step: str, frequencies_hz: list[float], rate_hz: float) -> None:
    """Raise SourceError unless frequencies are below half of a rate."""
    for frequency in frequencies_hz:
        if frequency >= rate_hz / 2:
            raise SourceError(
                f"{step}: {frequency:g} Hz has to be below half of the rate of {rate_hz:g} Hz, "
                f"which is {rate_hz / 2:g} Hz"
            )


@lru_cache(maxsize=64)
def taps_of(response: Response) -> Taps:
    """Return the coefficients of a response, symmetric around the middle one."""
    frequencies, gains, n_taps = response.frequencies, response.gains, response.n_taps
    taps = np.zeros(n_taps)
    later, gain_later = frequencies[-1], gains[-1]
    if gain_later == 1:
        taps[n_taps // 2] = 1.0
    for frequency, gain in zip(frequencies[-2::-1], gains[-2::-1], strict=True):
        if gain != gain_later:
            width = (later - frequency) / 2
            n_edge = round(_HAMMING_LENGTH / width) | 1
            offset = (n_taps - n_edge) // 2
            edge = _low_pass((later + frequency) / 2, n_edge)
            taps[offset : n_taps - offset] += edge if gain else -edge
        later, gain_later = frequency, gain
    taps.flags.writeable = False
    return taps


def _low_pass(cutoff: float, n_taps: int) -> Taps:
    """Return a windowed sinc of gain 1 at 0; the cutoff is a fraction of Nyquist."""
    steps = np.arange(n_taps) - (n_taps - 1) / 2
    taps = cutoff * np.sinc(cutoff * steps) * np.hamming(n_taps)
    return np.asarray(taps / taps.sum())


@lru_cache(maxsize=64)
def spectrum_of(response: Response, n_fft: int) -> NDArray[np.complex128]:
    """Return the Fourier transform of the coefficients of a response."""
    found = np.fft.rfft(taps_of(response), n_fft)
    found.flags.writeable = False
    return found


# Rates -----------------------------------------------------------------------------------------


def ratio_of(rate_hz: float, to_hz: float) -> Fraction:
    """Return a ratio of rates as a fraction of small whole numbers.

    Raises
    ------
    SourceError
        If there is none.
    """
    # As decimals are written: 0.1 Hz is a tenth.
    exact = Fraction(repr(float(to_hz))) / Fraction(repr(float(rate_hz)))
    for most in _MAX_TERMS:
        found = exact.limit_denominator(most)
        if found and abs(found / exact - 1) <= _RATE_TOLERANCE:
            break
    else:
        raise SourceError(
            f"resample: {rate_hz:.9g} Hz is too far from {to_hz:g} Hz; resample twice"
        )
    up, down = found.numerator, found.denominator
    if up * (2 * _reach(up, down) + 1) > _MAX_COEFFICIENTS:
        raise SourceError(
            f"resample: {rate_hz:.9g} Hz to {to_hz:g} Hz is a ratio of {up:,} to {down:,}, which "
            "needs too many coefficients; say the nominal rate with rate_hz= and "
            "override=['rate_hz'], or resample twice, first to a rate between them"
        )
    return found


def _reach(up: int, down: int) -> int:
    return -(-_half_length(up, down) // up)


def _half_length(up: int, down: int) -> int:
    """Return half the length of the filter, in steps of `up` times the rate of the source."""
    width = _TRANSITION * 0.5 * min(1.0, up / down)  # in cycles for each source row
    return math.ceil((_ATTENUATION_DB - 7.95) / (2.285 * 2 * math.pi * width) / 2 * up)


@lru_cache(maxsize=16)
def branches_of(up: int, down: int) -> Taps:
    """Return the coefficients that resample by up / down, one row for each phase.

    Output j is at the time of source row j * down / up: between row i = j * down // up and the
    next. It is the sum of coefficients k times rows i - reach + k, of the branch j * down % up,
    where reach is half of what a branch has. Each branch sums to 1, so that an offset stays what
    it is.

    Returns
    -------
    float64, shape (up, 2 * reach + 1)
    """
    lowest = 0.5 * min(1.0, up / down)  # the lower Nyquist, in cycles for each source row
    cutoff = lowest * (1 - _TRANSITION / 2)
    half, reach = _half_length(up, down), _reach(up, down)
    phases, columns = np.arange(up)[:, None], np.arange(2 * reach + 1)[None]
    steps = phases + (reach - columns) * up  # of the rate that is up times the source's
    beta = 0.1102 * (_ATTENUATION_DB - 8.7)
    inside = np.clip(1 - (steps / half) ** 2, 0, None)
    window = np.where(np.abs(steps) <= half, np.i0(beta * np.sqrt(inside)), 0.0)
    branches = np.sinc(2 * cutoff * steps / up) * window
    branches /= branches.sum(axis=1, keepdims=True)
    branches.flags.writeable = False
    return np.asarray(branches)


def n_resampled(n_rows: int, ratio: Fraction) -> int:
    """Return how many rows so many become: those whose time is before the end of the last one."""
    return -(-n_rows * ratio.numerator // ratio.denominator)
