"""Counter-based randomness: the same on every machine, and any value by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.keyed import derive_key, keyed_bits, keyed_fractions
from zarrts.loops.permuting import permute

KEYS = st.integers(0, 2**64 - 1)


def splitmix64(state):
    """The reference's next(), in Python integers; returns the value for a state after its step."""
    z = state % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@given(key=KEYS, counter=st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_bits_are_those_of_splitmix64(key, counter):
    expected = splitmix64(key + counter * 0x9E3779B97F4A7C15)
    assert int(keyed_bits(np.uint64(key), np.uint64(counter))) == expected


def test_bits_match_the_published_sequence_of_seed_1234567():
    # From the reference implementation, https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert keyed_bits(np.uint64(1234567), np.arange(1, 6)).tolist() == published


def test_fractions_lie_in_the_half_open_unit_interval_and_fill_it():
    drawn = keyed_fractions(derive_key(1, 2, 3), np.arange(100_000))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=10, range=(0, 1))[0]
    assert np.abs(counts - 10_000).max() < 500  # five standard deviations


@given(size=st.integers(1, 3000), key=KEYS)
@settings(deadline=None, max_examples=60)
def test_permute_is_a_bijection(size, key):
    found = permute(np.arange(size), size, np.uint64(key))
    assert np.array_equal(np.sort(found), np.arange(size))


@given(size=st.integers(1, 2**50), key=KEYS, places=st.lists(st.integers(0, 2**50), min_size=1))
@settings(deadline=None, max_examples=60)
def test_permute_of_one_index_is_that_of_the_whole_array(size, key, places):
    index = np.array([place % size for place in places])
    together = permute(index, size, np.uint64(key))
    assert ((together >= 0) & (together < size)).all()
    assert [int(permute(i, size, np.uint64(key))) for i in index] == together.tolist()
    # One image per index, and the other way round.
    assert len(set(together.tolist())) == len(set(index.tolist()))


def test_permute_takes_another_size_and_key_for_each_index():
    sizes, keys = np.array([1, 5, 64, 65, 1000]), np.arange(5, dtype=np.uint64)
    together = permute(sizes - 1, sizes, keys)
    one_by_one = [int(permute(s - 1, s, k)) for s, k in zip(sizes, keys, strict=True)]
    assert together.tolist() == one_by_one


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_every_place_is_as_likely_for_every_index(size):
    n_keys = 4000
    keys = keyed_bits(derive_key(7), np.arange(n_keys))
    found = permute(np.arange(size)[None, :], size, keys[:, None])
    expected = n_keys / size
    for index in range(size):
        counts = np.bincount(found[:, index], minlength=size)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@given(parts=st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_a_key_depends_on_every_part(parts):
    key = derive_key(*parts)
    assert key == derive_key(*parts)
    for i in range(len(parts)):
        assert derive_key(*parts[:i], parts[i] + 1, *parts[i + 1 :]) != key


# Pinned: if one of these changes, the batches of every seed change.


def test_known_answers():
    assert int(derive_key(0, 0, 0)) == 15793235383387715774
    assert int(derive_key(1, 2, 3)) == 12997252459554536576
    assert permute(np.arange(10), 10, derive_key(0, 0, 0)).tolist() == [
        2,
        3,
        4,
        8,
        1,
        0,
        5,
        7,
        6,
        9,
    ]
    assert permute(np.array([0, 1, 10**12]), 10**15, np.uint64(5)).tolist() == [
        99069380201895,
        323738875827201,
        111318968971563,
    ]
    assert keyed_fractions(np.uint64(9), np.array([0, 1])).tolist() == [
        0.5094668118980413,
        0.6823627349789958,
    ]
