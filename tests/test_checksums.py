"""CRC-32C: that of its definition, in one piece or many, with either library."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrts.storage import checksums

POLYNOMIAL = 0x82F63B78  # of Castagnoli, bits reversed


def naive(content: bytes) -> int:
    rest = 0xFFFFFFFF
    for byte in content:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (POLYNOMIAL if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


@pytest.fixture(scope="class", params=["at first", "after many bytes", "many, without awscrt"])
def _library(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        library = checksums._Library()
        patch.setattr(checksums, "_library", library)
        if request.param == "many, without awscrt":
            for name in ("awscrt", "awscrt.checksums"):
                patch.setitem(sys.modules, name, None)
        if request.param != "at first":
            light = library.update(np.empty(0, np.uint8))
            checksums.crc32c(bytes(checksums._FEW_BYTES))
            assert library.update(np.empty(0, np.uint8)) is not light
        yield


@pytest.mark.usefixtures("_library")
class TestBothLibraries:
    def test_the_check_value_of_the_catalogue_of_crcs(self) -> None:
        assert checksums.crc32c(b"123456789") == 0xE3069283

    @given(content=st.binary(max_size=70), cut=st.integers(0, 70))
    def test_any_bytes_in_two_pieces(self, content: bytes, cut: int) -> None:
        first = checksums.crc32c(content[:cut])
        assert checksums.crc32c(content[cut:], first) == naive(content)

    def test_the_memory_of_an_array_that_is_read_only(self) -> None:
        array = np.arange(12, dtype=">i2").reshape(3, 4)
        array.flags.writeable = False
        assert checksums.crc32c(array) == naive(array.tobytes())


@given(st.lists(st.binary(max_size=40), max_size=5), st.binary(max_size=3), st.binary(max_size=9))
def test_the_checksum_of_a_list_follows_from_those_of_its_texts(
    texts: list[bytes], separator: bytes, before: bytes
) -> None:
    of_texts = [(naive(it), len(it)) for it in texts]
    found = checksums.crc32c_of_list(of_texts, separator, naive(before))
    assert found == naive(before + separator.join(texts))


@given(st.binary(max_size=40), st.integers(0, 1 << 40))
def test_the_checksum_of_long_texts_follows_from_their_halves(text: bytes, n_zeros: int) -> None:
    half, rest = divmod(n_zeros, 2)
    of_halves = naive(text)
    for it in (half, half, rest):
        of_halves = checksums.crc32c_of_list([(0, it)], b"", of_halves)
    assert checksums.crc32c_of_list([(0, n_zeros)], b"", naive(text)) == of_halves
