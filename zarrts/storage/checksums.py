"""CRC-32C (Castagnoli), as Zarr's codec crc32c and the lists of a store's files have it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from zarrts.storage.location import Location, open_file

_Update = Callable[[Any, int], int]


def crc32c(content: Any, previous: int = 0) -> int:
    """Return the CRC-32C of bytes or of an array's memory; of all that came before them, too."""
    view = np.frombuffer(content, np.uint8)
    return _update(view, previous) if view.size else previous


def crc32c_of_file(path: Location) -> tuple[int, int]:
    """Return size and CRC-32C of a file, a piece at a time."""
    size = checksum = 0
    with open_file(path) as file:
        piece = np.empty(file.piece_bytes, np.uint8)
        while count := file.read_into(piece, size):
            size += count
            checksum = crc32c(piece[:count], checksum)
    return size, checksum


def _fastest_update() -> _Update:
    """Return awscrt's function, or google_crc32c's where there is no awscrt for the platform.

    Google's takes twice as long, and no other thread can decode meanwhile: it keeps the lock of
    the interpreter.
    """
    try:
        from awscrt import checksums
    except ImportError:
        from google_crc32c import extend

        return lambda view, previous: int(extend(previous, view))
    update: _Update = checksums.crc32c
    return update


_update = _fastest_update()
