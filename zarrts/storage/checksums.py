"""CRC-32C (Castagnoli), as Zarr's codec crc32c and the lists of a store's files have it."""

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from zarrts.storage.location import Location, open_file
from zarrts.types import AnyArray

_POLYNOMIAL = 0x82F63B78  # of Castagnoli, bits reversed
_Update = Callable[[Any, int], int]
# On so many, awscrt saves the time that its import takes, which stops all threads.
_FEW_BYTES = 512 << 20


def crc32c(content: Any, previous: int = 0) -> int:
    """Return the CRC-32C of bytes or of an array's memory; of all that came before them, too."""
    view = np.frombuffer(content, np.uint8)
    return _library.update(view)(view, previous) if view.size else previous


def crc32c_of_list(texts: Iterable[tuple[int, int]], separator: bytes, previous: int = 0) -> int:
    """Return the CRC-32C of texts with a separator between each two, from those of the texts.

    Parameters
    ----------
    texts : iterable of (int, int)
        Checksum and length in bytes of each.
    previous : int
        Checksum of all that came before them.

    Examples
    --------
    >>> texts = [b"three", b"small", b"texts"]
    >>> of_texts = [(crc32c(it), len(it)) for it in texts]
    >>> crc32c_of_list(of_texts, b", ", crc32c(b"(")) == crc32c(b"(three, small, texts")
    True
    """
    checksum, of_separator, n_between = previous, crc32c(separator), len(separator)
    for number, (of_text, n_bytes) in enumerate(texts):
        if number:
            checksum = _moved(checksum, n_between + n_bytes) ^ _moved(of_separator, n_bytes)
        else:
            checksum = _moved(checksum, n_bytes)
        checksum ^= of_text
    return checksum


def _moved(checksum: int, n_bytes: int) -> int:
    """Return the checksum of a text that many zeros follow, but for those of these zeros."""
    found = 0
    for table in _tables(n_bytes):
        found ^= table[checksum & 15]
        checksum >>= 4
    return found


@lru_cache(256)
def _tables(n_bytes: int) -> tuple[tuple[int, ...], ...]:
    """Return what each value of each four bits, the lowest first, becomes when it is moved.

    The parts of a store are of few lengths, and a product takes ten times as long.
    """
    of_bit = [_shift(n_bytes)]  # bit 31 is x**0
    for _ in range(31):
        of_bit.append(of_bit[-1] >> 1 ^ (_POLYNOMIAL if of_bit[-1] & 1 else 0))
    of_bit.reverse()
    tables = []
    for first in range(0, 32, 4):
        table = [0]
        for bit in of_bit[first : first + 4]:
            table += [bit ^ it for it in table]
        tables.append(tuple(table))
    return tuple(tables)


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials over GF(2), modulo that of Castagnoli.

    Bit 31 is the coefficient of x**0, as in zlib's crc32_combine.
    """
    found = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            found ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return found


def _shift(n_bytes: int) -> int:
    """Return x**(8 * n_bytes), which moves a text that far ahead."""
    found, power = 1 << 31, 1 << 23  # x**0 and x**8
    while n_bytes:
        if n_bytes & 1:
            found = _product(power, found)
        power = _product(power, power)
        n_bytes >>= 1
    return found


def crc32c_of_file(path: Location) -> tuple[int, int]:
    """Return size and CRC-32C of a file, a piece at a time."""
    size = checksum = 0
    with open_file(path) as file:
        piece = np.empty(file.piece_bytes, np.uint8)
        while count := file.read_into(piece, size):
            size += count
            checksum = crc32c(piece[:count], checksum)
    return size, checksum


def _light_update() -> _Update:
    """Return google_crc32c's function, which is imported in a millisecond.

    It takes twice as long as awscrt's, and no other thread can decode meanwhile: it keeps the lock
    of the interpreter.
    """
    from google_crc32c import extend

    return lambda view, previous: int(extend(previous, view))


def _fastest_update() -> _Update:
    """Return awscrt's function, or google_crc32c's where there is no awscrt for the platform."""
    try:
        from awscrt import checksums
    except ImportError:
        return _light_update()
    update: _Update = checksums.crc32c
    return update


class _Library:
    """The function that takes checksums: a light one at first, so that opening a store is fast.

    Once many bytes were checked, it is the fastest one, whose import takes 40 ms. `_lock` is held
    by the one thread that imports it; the others go on with the light one meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._update, self._n_bytes_left = _light_update(), _FEW_BYTES

    def update(self, view: AnyArray) -> _Update:
        """Return the function for the next bytes."""
        # Two threads that count at once may lose some bytes, which does no harm.
        if self._n_bytes_left > 0:
            self._n_bytes_left -= view.size
            if self._n_bytes_left <= 0 and self._lock.acquire(blocking=False):
                self._update = _fastest_update()
        return self._update


_library = _Library()
