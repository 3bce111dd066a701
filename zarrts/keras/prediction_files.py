"""The files that predictions are written to as they come, out of core."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.system import rename_over
from zarrts.types import IntArray


def new_values(
    partial: Path | None, shape: tuple[int, ...], dtype: Any, target: Path | None
) -> Any:
    """Return room for predictions: in memory, or in a file that is not there yet.

    Raises
    ------
    SampleError
        If the file is there already.
    """
    if partial is None or target is None:
        return np.empty(shape, dtype)
    if target.exists():
        raise SampleError(f"out={str(target)!r} is there already; choose another name.")
    if target.suffix == ".npy":
        return np.lib.format.open_memmap(partial, "w+", dtype, shape)
    import zarr

    return zarr.create_array(
        str(partial), name="prediction", shape=shape, dtype=dtype, overwrite=True
    )


def shortened(values: Any, n_samples: int, partial: Path | None) -> tuple[Any, Path | None]:
    """Return the first predictions alone, and the file that they are in now, if in any."""
    if partial is None:
        return values[:n_samples], None
    if not isinstance(values, np.memmap):
        values.resize((n_samples, *values.shape[1:]))
        return values, partial
    # What is mapped cannot be shortened, nor replaced on Windows.
    fewer = partial.with_name(f"{partial.name}.fewer")
    kept = np.lib.format.open_memmap(fewer, "w+", values.dtype, (n_samples, *values.shape[1:]))
    kept[:] = values[:n_samples]
    with contextlib.suppress(OSError):
        partial.unlink()
    return kept, fewer


def publish_values(partial: Path, target: Path, ids: IntArray) -> Any:
    """Give the file its name, and return the predictions in it."""
    if target.suffix == ".npy":
        rename_over(partial, target)
        return np.load(target, mmap_mode="r")
    import zarr

    group = zarr.open_group(str(partial), mode="a")
    group.create_array("sample_id", data=ids)
    rename_over(partial, target)
    return zarr.open_group(str(target), mode="r")["prediction"]
