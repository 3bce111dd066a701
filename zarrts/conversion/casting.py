"""Turn rows of a source into the dtype of the store, and lose nothing without a word."""

from typing import Any

import numpy as np

from zarrts.errors import SourceError
from zarrts.types import AnyArray


def cast_rows(block: AnyArray, dtype: np.dtype[Any], origin: str) -> AnyArray:
    """Return values in the stored dtype; floats may lose digits, nothing else may be lost."""
    if block.dtype == dtype:
        return block
    if dtype.names is not None:
        records = np.empty(block.shape, dtype)
        for name in dtype.names:
            records[name] = cast_rows(block[name], dtype[name].base, f"{origin}: {name}")
        return records
    if dtype.kind == "f" and block.dtype.kind in "fiub":
        try:
            with np.errstate(over="raise"):
                return block.astype(dtype)
        except FloatingPointError as error:
            raise SourceError(
                f"{origin}: holds values beyond the range of {dtype.name} "
                f"(up to {np.finfo(dtype).max:.3g}); keep the precision with dtype='keep'."
            ) from error
    with np.errstate(invalid="ignore", over="ignore"):
        converted = block.astype(dtype)
        # Signs are compared too: -1 becomes 255 as uint8, which becomes -1 again.
        changed = (converted.astype(block.dtype) != block) | ((converted < 0) != (block < 0))
    if changed.any():
        raise SourceError(
            f"{origin}: the value {block[changed][0]} is not representable as {dtype.name}; "
            f"choose another dtype, such as {block.dtype.name}."
        )
    return converted
