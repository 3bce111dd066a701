"""Channels of a subject that are unlike those of all others: flat, missing, other units, swapped.

What is compared are means and deviations on a logarithmic scale, with the median subject.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zarrts.stats.moments import Moments

_FACTOR = 8.0  # smaller ones are people
_MIN_SUBJECTS = 3
_MAX_CHANNELS = 64  # every two of them are compared
_MISSING = 0.01


@dataclass(frozen=True)
class Oddity:
    """An odd thing about a channel of a subject, in words."""

    subject: str
    channel: str
    text: str


def find_oddities(
    moments: Moments, subjects: Sequence[str], channels: Sequence[str]
) -> list[Oddity]:
    """Return what is odd, in the order of the subjects.

    Parameters
    ----------
    moments : Moments, shape (n_subjects, n_channels)
    """
    std, count = moments.std, moments.count
    found = []
    swapped = _swapped(std)
    usual = _medians(std)
    for s, c in np.argwhere(_is_suspect(moments, std, usual) | (swapped >= 0)):
        total = int(count[s, c] + moments.nan_count[s, c])
        share = moments.nan_count[s, c] / max(1, total)
        if count[s, c] == 0:
            text = "no numbers at all"
        elif std[s, c] == 0:
            text = f"flat: always {moments.min[s, c]:.4g}"
        elif share > _MISSING:
            text = f"{share:.0%} of the values are missing (NaN)"
        elif swapped[s, c] >= 0:
            other = channels[swapped[s, c]]
            text = f"swapped with {other}? It deviates as {other} does with others, and vice versa"
        else:
            ratio = std[s, c] / usual[c]
            times = f"{ratio:,.0f} times" if ratio > 1 else f"a {1 / ratio:,.0f}th of"
            text = (
                f"another unit? Its deviation, {std[s, c]:.4g}, is {times} the usual {usual[c]:.4g}"
            )
        found.append(Oddity(subjects[s], channels[c], text))
    return found


def _medians(std: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the usual deviation of each channel; NaN where none has any."""
    some = np.where(np.isfinite(std) & (std > 0), std, np.nan)
    is_known = ~np.isnan(some).all(axis=0)
    usual = np.full(std.shape[1], np.nan)
    usual[is_known] = np.nanmedian(some[:, is_known], axis=0)
    return usual


def _is_suspect(
    moments: Moments, std: NDArray[np.float64], usual: NDArray[np.float64]
) -> NDArray[np.bool_]:
    total = moments.count + moments.nan_count
    suspect = (total > 0) & ((std == 0) | (moments.nan_count > _MISSING * total))
    if len(std) >= _MIN_SUBJECTS:
        with np.errstate(invalid="ignore"):
            suspect |= (std > _FACTOR * usual) | ((std < usual / _FACTOR) & (std > 0))
    return np.asarray(suspect)


def _swapped(std: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the channel that each channel of each subject seems swapped with, or -1."""
    n_subjects, n_channels = std.shape
    partner = np.full(std.shape, -1, np.int64)
    if n_subjects < _MIN_SUBJECTS or not 1 < n_channels <= _MAX_CHANNELS:
        return partner
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, usual = np.log(std), np.log(_medians(std))
        for i in range(n_channels):
            for j in range(i + 1, n_channels):
                as_named = abs(logs[:, i] - usual[i]) + abs(logs[:, j] - usual[j])
                as_swapped = abs(logs[:, i] - usual[j]) + abs(logs[:, j] - usual[i])
                is_swapped = (as_named > 2 * np.log(_FACTOR / 2)) & (as_swapped < as_named / 4)
                partner[is_swapped, i], partner[is_swapped, j] = j, i
    return partner
