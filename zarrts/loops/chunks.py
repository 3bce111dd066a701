"""Read and decode several chunks in one call of the compiled library, where it can do that.

It calls the function of C-Blosc that numcodecs holds. Where numcodecs shows it to nobody, as on
Windows, and on processors without an instruction for CRC-32C, there is no `reader`.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from zarrts.loops.library import choice
from zarrts.loops.scratch import BYTES, scratch
from zarrts.types import AnyArray

MOST_CHUNKS = 64
"""That are read by one call, as in the C source."""

Wanted = tuple[int, int, int, int, AnyArray]
"""Number of an open file, offset and size in it, checksum as written (-1: not known), memory."""

Reader = Callable[[list[Wanted]], int]


@functools.cache
def reader() -> Reader | None:
    """Return what reads chunks of Blosc with a CRC-32C behind them, or None if nothing can.

    It fills the memory of each chunk and returns how many of the first it read; the next one is
    not as it should be, or its codec is another. Any number of threads may call it.
    """
    compiled = choice().compiled
    if compiled is None or not compiled.READS_CHUNKS:
        return None
    decompress = _function_of_blosc()
    if decompress is None:
        return None
    address = ctypes.cast(decompress, ctypes.c_void_p).value

    def read(wanted: list[Wanted]) -> int:
        longest = max(size for _, _, size, _, _ in wanted)
        n_read: int = compiled.read_chunks(address, scratch("encoded", (longest,), BYTES), wanted)
        return n_read

    return read


@functools.cache
def _function_of_blosc() -> Any:
    from numcodecs import blosc

    try:
        return ctypes.CDLL(blosc.__file__).blosc_decompress_ctx
    except (OSError, AttributeError):
        return None
