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
_ROUND_KEYS = [np.uint64(n * 0xD6E8FEB86659FD93 % 2**64) for n in range(1, 7)]


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


def permute(index: Any, size: Any, key: Any) -> NDArray[np.int64]:
    """Return where a random permutation of range(size) sends each index.

    A Feistel network on the next even number of bits, walked until it falls inside the range
    (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    Parameters
    ----------
    index, size, key : integers, broadcast against each other
        0 <= index < size; one (size, key) is one permutation.

    Returns
    -------
    int64, of the common shape. For any size and key, permute(arange(size), size, key) holds
    every number below size once.
    """
    shape = np.broadcast_shapes(np.shape(index), np.shape(size), np.shape(key))

    def flat(values: Any) -> UIntArray:
        return np.broadcast_to(np.asarray(values).astype(np.uint64), shape).reshape(-1)

    sizes, keys, values = flat(size), flat(key), flat(index).copy()
    # frexp gives the bit length of size - 1 exactly below 2**53.
    bits = np.frexp(np.maximum(sizes, np.uint64(1)).astype(np.float64) - 1)[1]
    half = np.maximum((bits + 1) // 2, 1).astype(np.uint64)
    outside = np.arange(values.size)
    while outside.size:
        values[outside] = _feistel(values[outside], half[outside], keys[outside])
        outside = outside[values[outside] >= sizes[outside]]
    return values.astype(np.int64).reshape(shape)


def _feistel(values: UIntArray, half: UIntArray, keys: UIntArray) -> UIntArray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for round_key in _ROUND_KEYS:
        drawn = keyed_bits(keys ^ round_key, right)
        left, right = right, left ^ ((drawn >> np.uint64(32)) & mask)
    return (left << half) | right
