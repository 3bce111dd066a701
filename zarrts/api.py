"""The two functions that everything starts with: `convert` and `open`."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.conversion import run
from zarrts.errors import PlanError
from zarrts.keywords import refuse_unknown
from zarrts.plan import warn_of_axes
from zarrts.prepare import ConvertOptions, prepare
from zarrts.progress import show_progress
from zarrts.sizes import parse_size
from zarrts.study import Store, open_store

open = open_store


def convert(
    source: Any,
    target: str | Path,
    *,
    subject: Any = None,
    x: str | None = None,
    y: str | None = None,
    kind: str = "auto",
    axes: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    rate_hz: float | None = None,
    dtype: Any = "auto",
    memory: int | str = "1GiB",
    chunk: int | str = "1MiB",
    shard: int | str = "64MiB",
    codec: str = "lz4",
    workers: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
    **unknown: object,
) -> Store:
    """Turn the files of a study into one compressed store, and open it.

    The same sources and options again find the complete store and return at once; after a crash
    they go on with what was finished before it.

    Parameters
    ----------
    source : path, glob pattern, or a list of them or of Recording
        A folder is searched for `.npz` and `.npy` files.
    target : path
        Folder of the store to be made.
    subject : str, callable or mapping, optional
        Who a file belongs to: a regular expression that is searched in its path (group 1, or
        all that matches), a function of the path, a mapping from path or name, or the path of
        a CSV file with columns file and subject. By default each file is one subject.
    x, y : str, optional
        Names of the arrays of inputs and labels, where they are not obvious.
    kind : str
        "dense": x[i] is sample i, whatever the number of axes. "auto": the same, but 2-D
        arrays, which could be something else, are refused.
    axes : sequence of str, optional
        What the axes of x are, such as ("sample", "channel", "time"); stored as
        (sample, time, channel).
    channels : sequence of str, optional
        Names of the channels, the last axis.
    rate_hz : float, optional
        Time steps per second.
    dtype : str or NumPy dtype
        "auto": float64 becomes float32, the rest is kept; "keep"; or a dtype.
    memory : size
        Bounds the memory that the conversion takes, whatever the size of the files.
    chunk, shard : size
        How much is read at once, and how large the files of the store are.
    codec : str
        "lz4" is fastest to read, "zstd" is smaller, "none" does not compress.
    workers : int, optional
        Parts that are written at once; as many as there are processors by default.
    overwrite : bool
        Replace a store of other sources or options, once the new one is complete.
    restart : bool
        Give up what an unfinished conversion of other sources or options left.
    progress : bool
        Show a progress bar, if there is a terminal.

    Returns
    -------
    Store

    Raises
    ------
    SourceError
        Naming every file that cannot be used, and why; nothing is written.
    PlanError
        Where memory, disk space, an option or the target forbids it.
    """
    refuse_unknown("convert", unknown)
    options = ConvertOptions(
        subject=subject,
        x=x,
        y=y,
        kind=kind,
        axes=_names("axes", axes),
        channels=_names("channels", channels),
        rate_hz=float(rate_hz) if isinstance(rate_hz, np.number) else rate_hz,
        dtype=dtype if isinstance(dtype, str) else _dtype_name(dtype),
        memory_bytes=_size("memory", memory),
        chunk_bytes=_size("chunk", chunk),
        shard_bytes=_size("shard", shard),
        codec=codec,
        workers=workers,
        overwrite=overwrite,
        restart=restart,
    )
    prepared = prepare(source, target, options)
    if not prepared.is_done:
        for warning in warn_of_axes(prepared.layout.sample_shape, options.axes is not None):
            warnings.warn(warning, stacklevel=2)
        with show_progress(prepared.raw_bytes, prepared.layout.n_samples, progress) as on_rows:
            run(prepared, on_rows)
    return open_store(target)


def _names(option: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(names, str):
        raise PlanError(f"{option}={names!r} is one text; give a list of names: {names.split(',')}")
    return tuple(names) if names is not None and len(names) else None


def _dtype_name(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).str)
    except TypeError as error:
        raise PlanError(
            f"dtype={dtype!r} is no NumPy dtype; use 'float32', for example."
        ) from error


def _size(option: str, size: int | str) -> int:
    try:
        return parse_size(size, option)
    except ValueError as error:
        raise PlanError(str(error)) from error
