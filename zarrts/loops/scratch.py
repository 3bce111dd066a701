"""Memory that each thread uses again and again: fresh memory is slow to touch."""

import math
import threading
from typing import Any

import numpy as np

from zarrts.types import AnyArray

BYTES = np.dtype(np.uint8)
_ALIGNMENT = 64
_local = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
    """Return an array of anything; the next call of this thread with that name overwrites it.

    It starts on a 64-byte boundary: reading a file into an array that starts 16 bytes into a page,
    as large ones do, takes a fifth longer on some processors.
    """
    size = math.prod(shape) * dtype.itemsize
    memory: AnyArray | None = getattr(_local, name, None)
    if memory is None or memory.nbytes < size:
        # What grows once is likely to grow again by a little, as compressed chunks do.
        room = size if memory is None else size + size // 8
        memory = np.empty(room + _ALIGNMENT, np.uint8)
        memory = memory[-memory.ctypes.data % _ALIGNMENT :]
        setattr(_local, name, memory)
    return memory[:size].view(dtype).reshape(shape)
