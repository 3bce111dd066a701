"""Counter-based randomness: any value of a random sequence without the values before it.

NumPy's generators promise their raw bits for ever, but not the streams of `permutation`, and
cost ten microseconds to place at a counter. An order of batches has to be the same on every
machine and NumPy, so the few functions it needs are spelt out here, on whole arrays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

UIntArray = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def derive_key(*parts: int) -> np.uint64:
    """Return a 64-bit key that depends on every part, such as (seed, epoch, stream)."""
    words = np.random.SeedSequence([int(part) for part in parts]).generate_state(1, np.uint64)
    return np.uint64(words[0])


def keyed_bits(key: Any, counters: Any) -> UIntArray:
    """Return 64 random bits for each counter: SplitMix64 of Steele, Lea and Flood (2014).

    Parameters
    ----------
    key, counters : uint64, broadcast against each other
        The result at a counter is the same whatever else is asked for.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(np.asarray(counters, np.uint64) * _GOLDEN + np.asarray(key, np.uint64))
        z ^= z >> np.uint64(30)
        z *= _MIX_1
        z ^= z >> np.uint64(27)
        z *= _MIX_2
        z ^= z >> np.uint64(31)
    return z


def keyed_fractions(key: Any, counters: Any) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each counter, with 53 random bits."""
    return (keyed_bits(key, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53
