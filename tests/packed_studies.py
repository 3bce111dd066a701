"""Studies whose values a converter of 16 bits counted."""

from typing import Any

import numpy as np

import zarrts

GAINS = (0.1, 0.195, 1 / 200, 640 / 13107, 2.0**-11)


def counted(
    rng: np.random.Generator, shape: tuple[int, ...], gain: Any, offset: Any, largest: int = 3000
) -> np.ndarray[Any, Any]:
    """Return float32 values of normally distributed counts, as recorders compute them."""
    counts = np.rint(rng.normal(size=shape) * largest / 4).clip(-largest, largest)
    return (counts * gain + offset).astype(np.float32)


def recordings_of(
    kind: str,
    *,
    n_channels: int = 3,
    n_recordings: int = 3,
    seed: int = 0,
    has_nan: bool = False,
    steps_away: int = 0,
    names: str = "s",
) -> list[zarrts.Recording]:
    """Return recordings, each with gains of its own, and offsets of some thousand steps."""
    rng = np.random.default_rng([seed, n_channels])
    made = []
    for number in range(n_recordings):
        n_rows = 23 + 17 * number
        shape = (n_rows, 6, n_channels) if kind == "dense" else (5 * n_rows, n_channels)
        gain = np.array([GAINS[(number + c) % len(GAINS)] for c in range(n_channels)])
        x = counted(rng, shape, gain, gain * steps_away * (1 + np.arange(n_channels)))
        if has_nan and number != 1:
            x[rng.random(x.shape) < 0.02] = np.nan
        y = rng.integers(0, 3, n_rows) if kind == "dense" else number % 2
        made.append(zarrts.Recording(f"{names}{number}", x, y))
    return made
