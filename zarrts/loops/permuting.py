"""Random permutations, of which any value is known without the values before it."""

from typing import Any

import numpy as np

from zarrts.keyed import UIntArray, keyed_bits
from zarrts.loops.library import choice
from zarrts.types import IntArray

_ROUND_KEYS = [np.uint64(n * 0xD6E8FEB86659FD93 % 2**64) for n in range(1, 7)]


def permute(index: Any, size: Any, key: Any) -> IntArray:
    """Return where a random permutation of range(size) sends each index.

    A Feistel network on the next even number of bits, walked until it falls inside the range
    (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    Parameters
    ----------
    index, size, key : integers, broadcast against each other
        0 <= index < size <= 2**53; one (size, key) is one permutation.

    Returns
    -------
    int64, of the common shape. For any size and key, permute(arange(size), size, key) holds
    every number below size once.
    """
    shape = np.broadcast_shapes(np.shape(index), np.shape(size), np.shape(key))

    def flat(values: Any) -> UIntArray:
        return np.broadcast_to(np.asarray(values).astype(np.uint64), shape).reshape(-1)

    sizes, keys, values = flat(size), flat(key), flat(index).copy()
    compiled = choice().compiled
    if compiled is None:
        _walk(values, sizes, keys)
    else:
        compiled.permute(
            values, np.ascontiguousarray(sizes), np.ascontiguousarray(keys), len(values)
        )
    return values.astype(np.int64).reshape(shape)


def _walk(values: UIntArray, sizes: UIntArray, keys: UIntArray) -> None:
    # frexp gives the bit length of size - 1 exactly below 2**53.
    bits = np.frexp(np.maximum(sizes, np.uint64(1)).astype(np.float64) - 1)[1]
    half = np.maximum((bits + 1) // 2, 1).astype(np.uint64)
    outside = np.arange(values.size)
    while outside.size:
        values[outside] = _feistel(values[outside], half[outside], keys[outside])
        outside = outside[values[outside] >= sizes[outside]]


def _feistel(values: UIntArray, half: UIntArray, keys: UIntArray) -> UIntArray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for round_key in _ROUND_KEYS:
        drawn = keyed_bits(keys ^ round_key, right)
        left, right = right, left ^ ((drawn >> np.uint64(32)) & mask)
    return (left << half) | right
