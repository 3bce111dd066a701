"""Memory that each thread uses again and again: fresh memory is slow to touch."""

import math
import threading
from typing import Any

import numpy as np

from zarrts.types import AnyArray

_local = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
    """Return an array of anything; the next call of this thread with that name overwrites it."""
    size = math.prod(shape) * dtype.itemsize
    memory: AnyArray | None = getattr(_local, name, None)
    if memory is None or memory.nbytes < size:
        memory = np.empty(-(-size // 8), np.float64)
        setattr(_local, name, memory)
    return memory.view(np.uint8)[:size].view(dtype).reshape(shape)
